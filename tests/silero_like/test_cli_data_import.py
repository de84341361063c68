"""`silero-like data import`, `export` and `split` as a user meets them."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result

from data.exporter import EXPORTERS
from data.readers import READERS
from data.split import KEYS
from data.summary import Summary
from data.verbalize import VERBALIZERS
from silero_like.cli import data_import, main
from silero_like.cli.data import data
from silero_like.cli.progress import ProgressLine


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["data", *map(str, arguments)])


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A folder with a good pair for each language, and one recording without a text."""
    for speaker, text in (("anna", "5 мая"), ("bob", "$5.50"), ("li", "2个 OK"), ("x", "")):
        path = tmp_path / "corpus" / speaker / "a.wav"
        path.parent.mkdir(parents=True)
        soundfile.write(path, np.zeros(8000), 16000)
        if text:
            path.with_suffix(".txt").write_text(text, encoding="utf-8")
    return tmp_path / "corpus"


def test_the_names_are_those_that_there_are() -> None:
    assert set(data_import.FORMATS) == set(READERS)
    assert set(data_import.EXPORTS) == set(EXPORTERS)
    by = next(option for option in data_import.split.params if option.name == "by")
    assert set(by.type.choices) == set(KEYS)  # type: ignore[attr-defined]
    for name in READERS:
        assert f"\n  {name} " in run("import", "--help").stdout


def test_import_tells_and_counts(corpus: Path, tmp_path: Path) -> None:
    out, summary = tmp_path / "out.jsonl", tmp_path / "summary.json"
    result = run("import", "folder", corpus, out, "--speaker-from", "folder", "--json", summary)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.splitlines() == [
        f"{out}: 3 utterances, 0.00 h",
        "Error: no text file: 1 of 4 rows",
        f"  {corpus}/x/a.wav: no text file: expected a.txt beside it",
    ]
    told = json.loads(summary.read_text())
    assert (told["rows"], told["utterances"], told["refused"]) == (4, 3, {"no text file": 1})
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert rows[0] == {
        "audio_filepath": "corpus/anna/a.wav", "duration": 0.5, "text": "5 мая", "speaker": "anna",
        "domain": "default", "lang": "", "source": "",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("lang", "expected"), [("ru", "пятого мая"), ("en", "five dollars and fifty cents"), ("zh", "两个 хорошо")]
)
def test_import_with_words_and_rules(corpus: Path, tmp_path: Path, lang: str, expected: str) -> None:
    rules = tmp_path / "rules.tsv"
    rules.write_text("# mine\nOK\tхорошо\n", encoding="utf-8")
    out = tmp_path / "out.jsonl"
    result = run("import", "folder", corpus, out, "--lang", lang, "--verbalize", "--rules", rules)
    assert "texts edited: 3" in result.stderr
    assert expected in [json.loads(line)["text"] for line in out.read_text(encoding="utf-8").splitlines()]


def test_nothing_good_leaves_what_there_was(tmp_path: Path) -> None:
    out, empty = tmp_path / "out.jsonl", tmp_path / "empty"
    empty.mkdir()
    out.write_text("precious")
    result = run("import", "folder", empty, out)
    assert result.exit_code == 1 and result.stderr == f"Error: {out}: no row of 0 is good\n"
    assert out.read_text() == "precious" and [path.name for path in tmp_path.iterdir()].count("out.jsonl") == 1


def test_the_summary_says_how_texts_were_edited(corpus: Path, tmp_path: Path) -> None:
    summary = tmp_path / "s.json"
    for options, labels in (([], []), (["--verbalize", "--lang", "ru"], ["en-words-1", "ru-words-1", "zh-words-1"])):
        run("import", "folder", corpus, tmp_path / "out.jsonl", "--json", summary, *options)
        assert json.loads(summary.read_text())["verbalizers"] == labels


def test_what_is_read_is_not_replaced(corpus: Path, tmp_path: Path) -> None:
    run("import", "folder", corpus, tmp_path / "all.jsonl")
    manifest, before = tmp_path / "all.jsonl", (tmp_path / "all.jsonl").read_bytes()
    for arguments in (["import", "nemo", manifest, manifest], ["export", "nemo", manifest, manifest]):
        result = run(*arguments)
        assert result.exit_code == 2 and f"would replace {manifest}" in result.stderr
    assert run("check", manifest, "--write-clean", manifest).exit_code == 2
    assert manifest.read_bytes() == before


def test_words_need_a_language(corpus: Path, tmp_path: Path) -> None:
    result = run("import", "folder", corpus, tmp_path / "out.jsonl", "--verbalize")
    assert result.exit_code == 1
    assert "Error: text cannot be edited: 3 of 4 rows" in result.stderr
    assert "expected en, ru, zh: name it with --lang" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nemo", "{corpus}"], 2, "expected a manifest, set.jsonl"),
        (["folder", "{corpus}/anna/a.wav"], 2, "expected a folder with x.wav and x.txt"),
        (["folder", "{corpus}", "--speaker-from", "("], 2, "no regular expression"),
        (["folder", "{corpus}", "--encoding", "klingon"], 2, "unknown encoding: klingon"),
        (["folder", "{corpus}", "--rules", "{corpus}/anna/a.txt"], 2, "a.txt:1: expected 'from<TAB>to', got '5 мая'"),
        (["librispeech", "{corpus}"], 1, "no *.trans.txt in it"),
        (["nonsense", "{corpus}"], 2, "'nonsense' is not one of"),
    ],
)
def test_wrong_usage(corpus: Path, tmp_path: Path, arguments: list[str], code: int, message: str) -> None:
    first, source, *rest = [part.format(corpus=corpus) for part in arguments]
    result = run("import", first, source, tmp_path / "out.jsonl", *rest)
    assert (result.exit_code, result.stdout) == (code, "")
    assert message in result.stderr and "Traceback" not in result.stderr
    assert not (tmp_path / "out.jsonl").exists()


def test_split_and_export(corpus: Path, tmp_path: Path) -> None:
    run("import", "folder", corpus, tmp_path / "all.jsonl", "--speaker-from", r"^(\w+)/")
    summary = tmp_path / "split.json"
    result = run("split", tmp_path / "all.jsonl", "--dev", "0.4", "--test", "0", "--json", summary)
    assert result.exit_code == 0
    (tmp_path / "bad.jsonl").write_text((tmp_path / "all.jsonl").read_text(encoding="utf-8") + "\n[]\n")
    bad = run("split", tmp_path / "bad.jsonl")
    assert bad.exit_code == 1 and "Error: expected a JSON object: 1 of 4 rows\n" in bad.stderr
    told = json.loads(summary.read_text())["manifests"][str(tmp_path / "all.jsonl")]
    assert told["train"]["speakers"] + told["dev"]["speakers"] == 3
    assert f"all.jsonl: dev: {told['dev']['utterances']} utterances, 0.00 h, speakers: " in result.stderr
    for name in EXPORTERS:
        result = run("export", name, tmp_path / "all.train.jsonl", tmp_path / name)
        assert (result.exit_code, result.stdout) == (0, "")
    assert (tmp_path / "kaldi" / "text").read_text(encoding="utf-8").count("\n") == told["train"]["utterances"]
    again = run("export", "kaldi", tmp_path / "all.jsonl", tmp_path / "kaldi")
    assert again.exit_code == 1 and "not empty" in again.stderr
    (corpus / "bob" / "a.wav").unlink()
    lost = run("export", "nemo", tmp_path / "all.jsonl", tmp_path / "nemo2")
    assert lost.exit_code == 1 and "Error: no audio file: 1 of 3 rows" in lost.stderr
    assert (tmp_path / "nemo2").read_text().count("\n") == 2


PAGE = (Path(__file__).resolve().parents[2] / "docs" / "data.md").read_text(encoding="utf-8")


def test_the_page_is_true() -> None:
    """Every command and option that docs/data.md shows exists, and its examples of numbers in words come out so."""
    lines = [shlex.split(line) for code in re.findall(r"```sh\n(.*?)```", PAGE, re.S) for line in code.splitlines()]
    assert len(lines) > 10
    for program, group, name, *arguments in lines:
        assert (program, group) == ("silero-like", "data")
        options = {option for parameter in data.commands[name].params for option in parameter.opts}
        assert {argument for argument in arguments if argument.startswith("--")} <= options
    for name in data_import.FORMATS:
        assert f"| `{name}` |" in PAGE
    examples = re.findall(r"^\| (in 1999.*|9 мая.*|2024年.*) \| (.*) \|$", PAGE, re.M)
    for (written, spoken), verbalizer in zip(examples, VERBALIZERS.values(), strict=True):
        separator = "；" if "；" in written else "; "
        assert [verbalizer(part) for part in written.split(separator)] == spoken.split(separator)


def test_progress_on_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with ProgressLine() as line:
        advance = data_import.progress(line)
        for _ in range(5):
            advance(Summary(utterances=3, audio_s=7200.0))
    assert capsys.readouterr().err == "\r\033[K3 rows, 2.00 h, 0 refused\r\033[K"
    monkeypatch.setattr("sys.stderr.isatty", lambda: False)
    with ProgressLine() as line:
        data_import.progress(line)(Summary())
    assert capsys.readouterr().err == ""


@pytest.mark.corpus
def test_the_corpus_splits_by_speaker(corpus_path: Path, tmp_path: Path) -> None:
    manifests = sorted(corpus_path.glob("*.dev.jsonl"))
    result = run("split", *manifests, "--dev", "0.3", "--test", "0.2", "--out-dir", tmp_path)
    assert result.exit_code == 0
    rows = {}
    for path in tmp_path.glob("*.jsonl"):
        part = path.name.split(".")[-2]
        for line in path.read_text(encoding="utf-8").splitlines():
            assert rows.setdefault(json.loads(line)["speaker"], part) == part
    assert len(rows) > 50 and set(rows.values()) == {"train", "dev", "test"}
