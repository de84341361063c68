"""``silero-like lm``, as a user calls it."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from lm.arpa import read_arpa
from lm.interpolate import largest_deviation
from silero_like.bundle import BUNDLED_PATH, load_bundle
from silero_like.cli import main

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
BOOK = "The cat sat. The dog ran!\nA cat ran; a dog sat.\nMr. Dog saw 2 cats\n" * 4


def run(*arguments: object, input_text: str | None = None) -> Result:
    return CliRunner().invoke(main, ["lm", *map(str, arguments)], input=input_text)


@pytest.fixture
def book(tmp_path: Path) -> Path:
    path = tmp_path / "book.txt"
    path.write_text(BOOK)
    return path


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    rows = [
        {"audio_filepath": f"{n}.wav", "duration": 1, "text": text, "lang": "en", "domain": "digits"}
        for n, text in enumerate(["one two", "two one", "One.", "two two one"])
    ]
    path = tmp_path / "digits.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


@pytest.fixture
def models(book: Path, digits: Path, tmp_path: Path) -> list[Path]:
    paths = [tmp_path / "book.arpa", tmp_path / "digits.arpa.gz"]
    for text, path in zip((book, digits), paths, strict=True):
        assert run("build", text, "--output", path).exit_code == 0
    return paths


def test_build_info_and_interpolate(models: list[Path], book: Path, digits: Path, tmp_path: Path) -> None:
    mixed, report = tmp_path / "mixed.arpa", tmp_path / "report.json"
    done = run("interpolate", *models, "--fit", digits, "--output", mixed)
    assert done.exit_code == 0, done.output
    assert done.stdout == ""
    assert "weights for digits: 0." in done.stderr and "weights for all: 0." in done.stderr
    done = run("info", mixed, digits, book, "--json", report)
    assert done.exit_code == 0, done.output
    found = json.loads(report.read_text())
    assert found["order"] == 3
    assert found["ngrams"] == [len(grams) for grams in read_arpa(mixed).orders]
    assert found["texts"]["digits"]["unknown_rate"] == found["texts"]["book"]["unknown_rate"] == 0
    assert found["texts"]["digits"]["perplexity"] < found["texts"]["book"]["perplexity"]
    assert "digits" in done.stdout
    assert largest_deviation(read_arpa(mixed)) < 1e-4


def test_neither_a_text_nor_a_model_is_replaced(models: list[Path], tmp_path: Path) -> None:
    text, before = tmp_path / "text.arpa", models[0].read_bytes()
    text.write_text(BOOK)
    for command in (("build", text), ("interpolate", *models, text, "--weights", "1 1 1")):
        done = run(*command, "--output", command[1])
        assert (done.exit_code, "this would replace" in done.stderr) == (2, True), done.output
    assert (text.read_text(), models[0].read_bytes()) == (BOOK, before)


def test_mixing_by_context(models: list[Path], digits: Path, book: Path, tmp_path: Path) -> None:
    perplexities = {}
    for option in ("--lang=en", "--by-context"):
        mixed, report = tmp_path / "mixed.arpa", tmp_path / "report.json"
        done = run("interpolate", *models, "--fit", digits, "--fit", book, option, "--output", mixed)
        assert done.exit_code == 0, done.output
        assert run("info", mixed, digits, book, "--json", report).exit_code == 0
        perplexities[option] = {name: x["perplexity"] for name, x in json.loads(report.read_text())["texts"].items()}
    for name in ("digits", "book"):
        assert perplexities["--by-context"][name] < perplexities["--lang=en"][name]


def test_spoken_lines_make_a_model(digits: Path, tmp_path: Path) -> None:
    done = run("spoken", digits, "--lines", 300)
    assert done.exit_code == 0, done.output
    assert done.stdout.count("\n") == 300
    assert "\nt w o\n" in done.stdout
    assert run("spoken", digits, "--lines", 300).stdout == done.stdout != run("spoken", "--seed", 1).stdout
    done = run("build", "-", "--output", tmp_path / "model.arpa", input_text=done.stdout)
    assert done.exit_code == 0, done.output


def test_standard_input_pruning_and_a_binary(tmp_path: Path) -> None:
    output = tmp_path / "model.bin"
    done = run("build", "-", "--prune", "0, 0, 3", "--structure", "trie", "--output", output, input_text=BOOK)
    assert done.exit_code == 0, done.output
    assert f"{output}: " in done.stderr
    done = run("info", output)
    assert "quantized trie" in done.stdout
    counts = next(line for line in done.stdout.splitlines() if line.startswith("ngrams")).split()[1:]
    assert len(counts) == 3 and int(counts[2]) > 0


def test_repeated_lines_and_limited_vocabulary(book: Path, tmp_path: Path) -> None:
    output = tmp_path / "model.arpa"
    done = run("build", book, "--drop-repeated", "--limit-vocab", 3, "--output", output)
    assert done.exit_code == 0, done.output
    assert "in 3 lines (9 repeated ones left out)" in done.stderr
    assert "order 2: fixed discounts 0.5 1.0 1.5" in done.stderr
    assert len(read_arpa(output).words) == 3 + 3
    words = tmp_path / "words.txt"
    words.write_text("\ufeffcat dog elephant\n")  # a byte order mark is no part of a word
    assert run("build", book, "--limit-vocab", words, "--output", output).exit_code == 0
    assert {*read_arpa(output).words[3:]} == {"cat", "dog"}


def test_other_languages(tmp_path: Path) -> None:
    for lang, text, words in (("ru", "Ёлка! Да", {"елка", "да"}), ("zh", "你好，你", {"你", "好"})):
        output = tmp_path / f"{lang}.arpa"
        done = run("build", "-", "--lang", lang, "--output", output, input_text=text)
        assert done.exit_code == 0, done.output
        assert {*read_arpa(output).words[3:]} == words


def test_the_two_estimators_agree(book: Path, tmp_path: Path) -> None:
    if shutil.which("lmplz") is None:
        pytest.skip("lmplz is not on the PATH")
    for suffix in ("arpa", "arpa.gz", "bin"):
        for estimator in ("builtin", "lmplz"):
            output = tmp_path / f"{estimator}.{suffix}"
            done = run("build", book, "--estimator", estimator, "--limit-vocab", 5, "--output", output)
            assert done.exit_code == 0, done.output
    assert [len(x) for x in read_arpa(tmp_path / "lmplz.arpa").orders] == [
        len(x) for x in read_arpa(tmp_path / "builtin.arpa.gz").orders
    ]
    assert (tmp_path / "lmplz.bin").stat().st_size == (tmp_path / "builtin.bin").stat().st_size


def test_bad_rows_fail_in_part(digits: Path, tmp_path: Path) -> None:
    digits.write_text(digits.read_text() + "\nnonsense\n")
    done = run("build", digits, "--output", tmp_path / "model.arpa")
    assert done.exit_code == 1
    assert f"Error: {digits}:5: not JSON" in done.stderr
    assert (tmp_path / "model.arpa").exists()


BAD_INPUT = ("leaves no word", "order 2 or more", "no text normaliser 'xx'", "expected \\data\\")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["build", "BOOK", "--output", "model.txt"], "expected a name that ends in one of .arpa"),
        (["build", "BOOK", "--prune", "0 x", "--output", "m.arpa"], "expected numbers separated by spaces"),
        (["build", "BOOK", "--prune", "1", "--output", "m.arpa"], "pruning thresholds"),
        (["build", "BOOK", "--limit-vocab", "some", "--output", "m.arpa"], "expected a number of words or a file"),
        (["build", "BOOK", "--limit-vocab", "0", "--output", "m.arpa"], "leaves no word"),
        (["build", "BOOK", "--order", "1", "--output", "m.bin"], "order 2 or more"),
        (["build", "BOOK", "--lang", "xx", "--output", "m.arpa"], "no text normaliser 'xx'"),
        (["build", "BOOK", "--lang", "ru", "--order", "6", "--output", "m.arpa"], None),
        (["build", "BOOK", "--limit-vocab", "²", "--output", "m.arpa"], "expected a number of words or a file"),
        (["info", "BOOK"], "expected \\data\\"),
        (["interpolate", "BOOK", "--weights", "1", "--output", "m.arpa"], "expected two or more models"),
        (["interpolate", "BOOK", "BOOK", "--output", "m.arpa"], "expected either --weights or --fit"),
        (["interpolate", "BOOK", "BOOK", "--weights", "1 1", "--output", "m.arpa"], "expected \\data\\"),
        (["build", "BOOK", "--prune", "", "--output", "m.arpa"], "expected numbers separated by spaces"),
        (["build", "BOOK", "--structure", "trie", "--output", "m.arpa"], "--structure is for KenLM binaries"),
        (["build", "BOOK", "--decimals", "3", "--output", "m.bin"], "--decimals is for ARPA files"),
        (["build", "BOOK", "--decimals", "3", "--estimator", "lmplz", "--output", "m.arpa"], "the builtin estimator"),
        (["interpolate", "BOOK", "BOOK", "--weights", "", "--output", "m.arpa"], "expected numbers separated"),
        (["interpolate", "BOOK", "BOOK", "--weights", "1", "--output", "m.arpa"], "expected 2 weights"),
        (["interpolate", "BOOK", "BOOK", "--weights", "nan 1", "--output", "m.arpa"], "expected 2 weights"),
    ],
)
def test_wrong_use(book: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str | None) -> None:
    monkeypatch.chdir(book.parent)
    done = run(*(str(book) if part == "BOOK" else part for part in arguments))
    if message is None:
        assert done.exit_code == 0
    else:
        assert done.exit_code == (1 if message in BAD_INPUT else 2)
        assert message in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("text", ["", "\n\n", "!!! ... ---\n"])
def test_text_without_a_word(tmp_path: Path, text: str) -> None:
    done = run("build", "-", "--output", tmp_path / "model.arpa", input_text=text)
    assert done.exit_code == 1
    assert "the text holds no word" in done.stderr


def test_standard_input_is_read_once(tmp_path: Path) -> None:
    done = run("build", "-", "-", "--output", tmp_path / "model.arpa", input_text=BOOK)
    assert done.exit_code == 1
    assert "standard input can be read only once" in done.stderr


def test_packed_standard_input(tmp_path: Path) -> None:
    arguments = ["lm", "build", "-", "--output", str(tmp_path / "model.arpa")]
    done = CliRunner().invoke(main, arguments, input=gzip.compress(BOOK.encode()))
    assert done.exit_code == 0, done.output
    assert "cat" in read_arpa(tmp_path / "model.arpa").words


def test_text_without_a_word_has_no_perplexity(models: list[Path], tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("!\n")
    done = run("info", models[0], tmp_path / "empty.txt")
    assert done.exit_code == 0
    assert "empty: no word" in done.stderr
    assert "empty" not in done.stdout.split("text", 1)[1]


def test_a_vocabulary_that_is_no_text(book: Path, tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_bytes(b"caf\xe9\n")
    done = run("build", book, "--limit-vocab", tmp_path / "words.txt", "--output", tmp_path / "model.arpa")
    assert done.exit_code == 1
    assert "words.txt: expected UTF-8 text" in done.stderr
    (tmp_path / "words.gz").write_bytes(gzip.compress(b"cat dog\n")[:-12])
    done = run("build", book, "--limit-vocab", tmp_path / "words.gz", "--output", tmp_path / "model.arpa")
    assert done.exit_code == 1
    assert "words.gz: a damaged or truncated .gz file" in done.stderr


def test_truncated_model(models: list[Path], book: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.arpa.gz"
    damaged.write_bytes(gzip.compress(models[0].read_bytes()[:-40]))
    done = run("info", damaged, book)
    assert done.exit_code == 1
    assert "the file ends too early: it is truncated" in done.stderr


def test_a_truncated_binary_has_no_info(models: list[Path], book: Path, tmp_path: Path) -> None:
    binary = tmp_path / "book.bin"
    for structure in ("probing", "trie"):
        assert run("build", book, "--structure", structure, "--output", binary).exit_code == 0
        whole = binary.read_bytes()
        for n_bytes in (len(whole) // 2, len(whole) - 3):
            binary.write_bytes(whole[:n_bytes])
            done = run("info", binary)
            assert (done.exit_code, done.stdout) == (1, ""), (structure, n_bytes)
            assert "book.bin: not a language model, or a damaged one" in done.stderr


def test_info_goes_on_after_a_text_that_it_cannot_read(models: list[Path], book: Path, tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9\n")
    (tmp_path / "rows.jsonl").write_text("nonsense\n")
    report = tmp_path / "report.json"
    done = run("info", models[0], tmp_path / "latin.txt", tmp_path / "rows.jsonl", book, "--json", report)
    assert done.exit_code == 1
    assert "latin.txt: expected UTF-8 text" in done.stderr and "rows.jsonl:1: not JSON" in done.stderr
    assert done.stderr.endswith("2 problems\n")
    assert json.loads(report.read_text())["texts"].keys() == {"book"}


def test_rows_of_another_language_are_no_failure(digits: Path, tmp_path: Path) -> None:
    row = {"audio_filepath": "x.wav", "duration": 1, "text": "да", "lang": "ru"}
    digits.write_text(f"{digits.read_text()}\n{json.dumps(row)}\n")
    done = run("build", digits, "--output", tmp_path / "model.arpa")
    assert done.exit_code == 0
    assert "1 rows are not in en and were left out" in done.stderr


@pytest.mark.parametrize("command", ["interpolate", "spoken"])
def test_bad_rows_are_told_and_the_rest_is_done(command: str, models: list[Path], digits: Path, tmp_path: Path) -> None:
    digits.write_text(digits.read_text() + "\nnonsense\n")
    mixed = tmp_path / "mixed.arpa"
    arguments = [digits, "--lines", 2] if command == "spoken" else [*models, "--fit", digits, "--output", mixed]
    done = run(command, *arguments)
    assert done.exit_code == 1
    assert f"Error: {digits}:5: not JSON" in done.stderr
    assert mixed.exists() if command == "interpolate" else done.stdout.count("\n") == 2


@pytest.fixture
def sample_lm(tmp_path: Path) -> Path:
    """Give a language model of what the samples say."""
    lines = (SAMPLES / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    done = run(
        "build", "-", "--output", tmp_path / "lm.bin", input_text="\n".join(json.loads(x)["text"] for x in lines)
    )
    assert done.exit_code == 0, done.output
    return tmp_path / "lm.bin"


def test_tune_on_the_samples(sample_lm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle, store = tmp_path / "bundle", tmp_path / "log-probs"
    shutil.copytree(BUNDLED_PATH, bundle)
    arguments = ["tune", SAMPLES / "manifest.jsonl", "--model", bundle, "--lm", sample_lm, "--beam-width", 8]
    arguments += ["--log-probs", store]
    reports = []
    for options in ([], ["--save"]):
        report = tmp_path / "report.json"
        done = run(*arguments, "--json", report, "--plot", tmp_path / "surface.png", *options)
        assert done.exit_code == 0, done.output
        assert "alpha" in done.stdout and "mean" in done.stdout and "pruning" in done.stdout
        reports.append(json.loads(report.read_text()))
        monkeypatch.setattr("silero_like.runtime.Runtime.stream_log_probs", None)  # the second run has them stored
    (found,) = reports[1]
    assert found["decoder"] == reports[0][0]["decoder"]
    assert found["macro_wer"] < found["macro_wer_without"]  # the model was built from the references
    is_changed = (found["decoder"]["confidence_temperature"], found["decoder"]["confidence_offset"]) != (1, 0)
    assert (found["calibration_error"] < found["calibration_error_without"]) == is_changed and "ECE" in done.stdout
    surface = found["surface"]
    shape = [len(surface[name]) for name in ("unk_scores", "alphas", "betas")]
    assert list(np.shape(surface["macro_wer"])) == shape
    assert (tmp_path / "surface.png").stat().st_size > 1000
    loaded = load_bundle(bundle)
    assert loaded.decoder == found["decoder"]
    assert loaded.lm_path is not None and loaded.lm_path.read_bytes() == sample_lm.read_bytes()
    monkeypatch.undo()
    store.write_bytes(store.read_bytes()[:500])
    done = run(*arguments)
    assert done.exit_code == 1
    assert "expected log-probs that this command stored: name a new file" in done.stderr


def test_hotwords_grow(tmp_path: Path) -> None:
    """On the samples without a language model: said words are found more often."""
    words, report, plot = tmp_path / "words.txt", tmp_path / "report.json", tmp_path / "curve.png"
    texts = [json.loads(x)["text"] for x in (SAMPLES / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]
    words.write_text("\n".join([*{word for text in texts for word in text.split() if len(word) > 5}, "Zebra\t5"]))
    arguments = ["hotwords", SAMPLES / "manifest.jsonl", "--lm", "none", "--beam-width", 8, "--hotwords", words]
    done = run(*arguments, "--scale", 0, "--scale", 1, "--scale", 4, "--json", report, "--plot", plot)
    assert done.exit_code == 0, done.output
    points = json.loads(report.read_text())
    assert [point["scale"] for point in points] == [0, 1, 4] and len({point["n_said"] for point in points}) == 1
    assert points[0]["recall"] <= points[1]["recall"] <= 1
    assert points[0]["n_recognised"] < points[2]["n_recognised"] and points[2]["recall"] > points[0]["recall"]
    assert f"{points[1]['recall']:.1%}" in done.stdout.splitlines()[2] and plot.stat().st_size > 1000
    words.write_text("\n")
    done = run(*arguments)
    assert done.exit_code == 1 and "words.txt: no hotword in it" in done.stderr


def test_tune_tells_of_audio_that_it_cannot_read(sample_lm: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "dev.jsonl"
    rows = [
        {"audio_filepath": name, "duration": 6, "text": "a b"} for name in ("gone.wav", str(SAMPLES / "audiobook.opus"))
    ]
    manifest.write_text("\n".join(map(json.dumps, rows)))
    done = run("tune", manifest, "--lm", sample_lm, "--beam-width", 2)
    assert done.exit_code == 1 and "mean" in done.stdout, done.output
    assert "gone.wav" in done.stderr and "taken as empty" in done.stderr


def test_tune_looks_at_the_models_before_the_work(
    sample_lm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("silero_like.runtime.Runtime.stream_log_probs", None)
    (tmp_path / "text.bin").write_text("no model\n")
    (tmp_path / "cut.bin").write_bytes(sample_lm.read_bytes()[:-3])
    for name in ("text.bin", "cut.bin"):
        done = run("tune", SAMPLES / "manifest.jsonl", "--lm", sample_lm, "--lm", tmp_path / name)
        assert done.exit_code == 1
        assert f"{name}: not a language model, or a damaged one" in done.stderr
        assert "--debug" not in done.stderr


def test_tune_saves_binaries_only_and_says_so_before_the_work(models: list[Path]) -> None:
    done = run("tune", SAMPLES / "manifest.jsonl", "--lm", models[0], "--save")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "--save puts a KenLM binary into the bundle" in done.stderr


def test_tune_does_not_tune_on_nothing(sample_lm: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.wav").touch()
    (tmp_path / "dev.jsonl").write_text('{"audio_filepath": "empty.wav", "duration": 1, "text": "a"}\n')
    done = run("tune", tmp_path / "dev.jsonl", "--lm", sample_lm, "--beam-width", 2)
    assert (done.exit_code, done.stdout) == (1, "")
    assert "empty.wav: 0 bytes" in done.stderr and "no usable row in the manifests" in done.stderr


def test_tune_needs_a_usable_row(sample_lm: Path, tmp_path: Path) -> None:
    (tmp_path / "dev.jsonl").write_text('{"audio_filepath": "x.wav", "duration": 1, "text": "нет", "lang": "ru"}\n')
    done = run("tune", tmp_path / "dev.jsonl", "--lm", sample_lm)
    assert done.exit_code == 1
    assert "no usable row in the manifests" in done.stderr
