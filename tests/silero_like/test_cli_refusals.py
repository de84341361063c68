"""What commands refuse before the work, and what they tell of input that is wrong."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result

from silero_like.cli import main

JUNK = bytes(range(256)) * 20


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert "Traceback" not in result.output and "--debug" not in result.output
    return result


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Two recordings of noise, a second each."""
    rows = []
    for number, text in enumerate(("one two", "three")):
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, np.random.default_rng(number).standard_normal(16000) * 0.01, 16000)
        rows.append({"audio_filepath": path.name, "duration": 1.0, "text": text, "domain": "a", "lang": "en"})
    return write(tmp_path / "manifest.jsonl", *rows)


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """Transcripts of both."""
    path = tmp_path / "theirs.txt"
    path.write_text("0 one two\n1 three\n")
    return path


# outputs


@pytest.mark.parametrize(
    "command",
    [
        "evaluate MANIFEST --json OUT",
        "evaluate MANIFEST --utterances OUT",
        "evaluate MANIFEST --html OUT",
        "compare MANIFEST MANIFEST --json OUT",
        "transcribe x.wav --output-dir OUT",
        "data pack MANIFEST OUT",
        "tokenizer train MANIFEST --output OUT",
    ],
)
def test_an_output_without_a_place_is_refused_before_the_work(command: str, manifest: Path) -> None:
    out = manifest / "out"  # a folder of the manifest's name there is not
    result = run(*command.replace("MANIFEST", str(manifest)).replace("OUT", str(out)).split())
    assert result.exit_code == 2
    assert f"{out}: {manifest} is no folder" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    "command",
    [
        "evaluate MANIFEST --json MANIFEST",
        "evaluate MANIFEST --cache MANIFEST",
        "evaluate MANIFEST --hypotheses THEIRS --utterances THEIRS",
        "evaluate MANIFEST --keywords THEIRS --html THEIRS",
        "compare MANIFEST MANIFEST --json MANIFEST",
        "transcribe WAV --failures WAV",
        "bench --audio WAV --json WAV",
        "tokenizer train THEIRS --output THEIRS",
        "lm info THEIRS --json THEIRS",
        "lm tune MANIFEST --lm THEIRS --json THEIRS",
        "lm hotwords MANIFEST --hotwords THEIRS --json THEIRS",
        "data stats MANIFEST --json MANIFEST",
        "data report MANIFEST --html MANIFEST",
    ],
)
def test_no_input_is_replaced_by_a_result(command: str, manifest: Path, theirs: Path, tmp_path: Path) -> None:
    names = {"MANIFEST": str(manifest), "THEIRS": str(theirs), "WAV": str(tmp_path / "0.wav")}
    before = [Path(name).read_bytes() for name in names.values()]
    result = run(*(names.get(part, part) for part in command.split()))
    assert result.exit_code == 2
    assert "this would replace" in result.stderr
    assert [Path(name).read_bytes() for name in names.values()] == before


def test_an_export_goes_beside_its_source(tmp_path: Path) -> None:
    for out_dir in (tmp_path, tmp_path / "new" / "export"):
        result = run("export", tmp_path, out_dir, "--layout", "sherpa-onnx")
        assert (result.exit_code, "is what is to be read, or in it" in result.stderr) == (2, True)
        assert not list(tmp_path.iterdir())


def test_a_device_is_not_replaced_by_a_file(manifest: Path, theirs: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    result = run("evaluate", manifest, "--hypotheses", theirs, "--json", tmp_path / "pipe")
    assert result.exit_code == 2
    assert "found a device or a pipe" in result.stderr


def test_a_result_that_cannot_be_written_does_not_cost_the_others(
    manifest: Path, theirs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, content: bytes) -> int:
        if "full" in self.name:
            raise OSError(28, "No space left on device", str(self))
        return works(self, content)

    works = Path.write_bytes
    monkeypatch.setattr(Path, "write_bytes", full)
    outputs = ("--json", tmp_path / "full.json", "--utterances", tmp_path / "lines.jsonl")
    result = run("evaluate", manifest, "--hypotheses", theirs, *outputs)
    assert result.exit_code == 1
    assert f"Error: {tmp_path / 'full.json'}: " in result.stderr and "No space left" in result.stderr
    assert len((tmp_path / "lines.jsonl").read_text().splitlines()) == 2


# options of evaluate


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--hypotheses", "THEIRS", "--lm", "none"], "--lm is for models of this project"),
        (["--hypotheses", "THEIRS", "--hotwords", "THEIRS"], "--hotwords is for models of this project"),
        (["--command", "true {audio}", "--beam-width", "5"], "leave it out with --command"),
        (["--peer", "pocketsphinx", "--decoder", "beam"], "--decoder is for models of this project"),
        (["--lang", "ru"], "--lang ru: the model is for en"),
        (["--embed-audio"], "give --html, too"),
        (["--json", "x", "--html", "x"], "got one twice"),
    ],
)
def test_options_that_would_do_nothing_are_refused(
    arguments: list[str], message: str, manifest: Path, theirs: Path
) -> None:
    result = run("evaluate", manifest, *(str(theirs) if part == "THEIRS" else part for part in arguments))
    assert result.exit_code == 2
    assert message in result.stderr


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("no-such-program {audio}", "found none of the name no-such-program"),
        ('true "{audio}', "No closing quotation"),
        ("", "expected {audio} in the command"),
    ],
)
def test_a_command_that_cannot_run_is_refused_before_the_work(line: str, message: str, manifest: Path) -> None:
    result = run("evaluate", manifest, "--command", line)
    assert result.exit_code == 1
    assert message in result.stderr
    assert result.stdout == ""


def test_bad_rows_of_the_training_data_are_told(manifest: Path, theirs: Path, tmp_path: Path) -> None:
    training = tmp_path / "training.jsonl"
    training.write_text(manifest.read_text() + "nonsense\n")
    result = run("evaluate", manifest, "--hypotheses", theirs, "--training-data", training)
    assert result.exit_code == 1
    assert f"{training}:3: not JSON" in result.stderr
    assert "micro" in result.stdout
    training.write_text("\n")
    result = run("evaluate", manifest, "--hypotheses", theirs, "--training-data", training)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "got no usable row" in result.stderr


@pytest.mark.parametrize(
    "command",
    [
        "forecast FOLDER --at nan",
        "export FOLDER x --quantize int8 --tolerance NaN",
        "data clean MANIFEST --out x --worst nan",
        "data pseudo-label MANIFEST x.jsonl --min-confidence nan",
    ],
)
def test_nan_lies_within_no_limits(command: str, manifest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(manifest.parent)
    names = {"MANIFEST": str(manifest), "FOLDER": str(manifest.parent)}
    result = run(*(names.get(part, part) for part in command.split()))
    assert result.exit_code == 2
    assert "expected a number, got nan" in result.stderr.lower()


# recordings and manifests


def test_a_recording_that_is_cut_short_is_told(manifest: Path, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    write(manifest, {**rows[0], "duration": 1.4}, {**rows[1], "duration": 6.0}, {**rows[1], "offset": 7.5})
    result = run("evaluate", manifest)
    assert result.exit_code == 1
    assert f"{tmp_path / '0.wav'}" not in result.stderr  # a rounded duration is nothing to tell
    assert f"{tmp_path / '1.wav'}: 1.00 s of audio, where the manifest has 6.00 s, so words" in result.stderr
    assert f"{tmp_path / '1.wav'} at 7.5 s: 0.00 s of audio" in result.stderr
    micro = next(line.split() for line in result.stdout.splitlines() if line.startswith("micro"))
    assert micro[1] == "2"


def test_a_file_that_is_no_manifest_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "talk.flac").write_bytes(JUNK)
    result = run("evaluate", tmp_path / "talk.flac")
    assert result.exit_code == 1
    assert "talk.flac:1: not JSON" in result.stderr and "is this a manifest?" in result.stderr
    assert len(result.stderr.splitlines()) == 2


# transcripts of other systems, and compare


def test_words_of_another_recording_are_told_once(manifest: Path, tmp_path: Path) -> None:
    (tmp_path / "theirs.ctm").write_text("other 1 0.1 0.2 a\n" * 50 + "0 1 0.1 0.2 one\n")
    result = run("evaluate", manifest, "--hypotheses", tmp_path / "theirs.ctm")
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        f"Error: {tmp_path / 'theirs.ctm'}:1: other is not in the manifests (49 more such lines)",
        f"Error: {tmp_path / 'theirs.ctm'}: no hypothesis for {tmp_path / '1.wav'}, which counts as an empty one",
        "2 problems",
    ]


def test_a_line_separator_inside_a_text_ends_no_line(manifest: Path, tmp_path: Path) -> None:
    rows = [{"audio_filepath": f"{number}.wav", "pred_text": "one\u2028two"} for number in range(2)]
    path = tmp_path / "theirs.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    result = run("evaluate", manifest, "--hypotheses", path)
    assert (result.exit_code, result.stderr) == (0, "")


LINE = {"audio_filepath": "/a.wav", "text": "a b", "pred_text": "a c"}


@pytest.mark.parametrize(
    "wrong", [{"duration": "x"}, {"offset": "nan"}, {"domain": 5}, {"speaker": ["s"]}, {"normalizer": 5}, {"system": 7}]
)
def test_compare_tells_of_lines_that_it_cannot_use(wrong: dict[str, Any], tmp_path: Path) -> None:
    good, bad = write(tmp_path / "good.jsonl", LINE), write(tmp_path / "bad.jsonl", LINE, {**LINE, **wrong})
    result = run("compare", good, bad)
    assert result.exit_code == 1
    assert f"{bad}:2: expected a JSON object" in result.stderr
    assert "micro" in result.stdout
    (tmp_path / "nested.jsonl").write_text("[" * 100_000 + "\n" + json.dumps(LINE))
    assert "nested.jsonl:1: expected a JSON object" in run("compare", good, tmp_path / "nested.jsonl").stderr


@pytest.mark.parametrize("content", [JUNK, b"{\n}\n" * 50, b"", b"[1]"])
def test_compare_refuses_another_kind_of_file_in_one_line(content: bytes, tmp_path: Path) -> None:
    good, bad = write(tmp_path / "good.jsonl", LINE), tmp_path / "bad.json"
    bad.write_bytes(content)
    result = run("compare", good, bad)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.count("\n") == 1
    assert f"{bad}: no line is good" in result.stderr


def test_compare_reads_the_keywords_before_the_work(tmp_path: Path) -> None:
    good = write(tmp_path / "good.jsonl", LINE)
    (tmp_path / "words.txt").write_bytes(JUNK)
    result = run("compare", good, good, "--keywords", tmp_path / "words.txt")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "cannot read the keywords" in result.stderr


# transcribe


def test_a_transcript_that_cannot_be_written_does_not_stop_the_batch(manifest: Path, tmp_path: Path) -> None:
    (tmp_path / "out" / "0.txt").mkdir(parents=True)
    result = run("transcribe", tmp_path / "0.wav", tmp_path / "1.wav", "--output-dir", tmp_path / "out")
    assert result.exit_code == 1
    assert f"Error: {tmp_path / '0.wav'}: " in result.stderr and "Is a directory" in result.stderr
    assert (tmp_path / "out" / "1.txt").is_file()
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"0.txt", "1.txt"}


@pytest.mark.parametrize("options", [["--beam-width", "5"], ["--hotwords", "WORDS"], ["--lm", "x.bin"]])
def test_options_of_the_beam_search_are_not_for_greedy(options: list[str], tmp_path: Path) -> None:
    words = tmp_path / "words.txt"
    words.write_text("one\n")
    options = [str(words) if option == "WORDS" else option for option in options]
    result = run("transcribe", tmp_path / "x.wav", "--decoder", "greedy", *options)
    assert result.exit_code == 2
    assert f"{options[0]} is for the decoder beam" in result.stderr


def test_a_beam_width_asks_for_a_beam_search(manifest: Path, tmp_path: Path) -> None:
    result = run("evaluate", manifest, "--beam-width", "5", "--json", tmp_path / "out.json")
    assert result.exit_code == 0
    assert json.loads((tmp_path / "out.json").read_text())["decoder"] == "beam"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("good\nпривет\n".encode(), "got 'привет': remove it"),
        (JUNK, "expected UTF-8 text"),
        (b"\n \n", "no hotword in it"),
    ],
)
def test_hotwords_that_cannot_be_used_are_named(content: bytes, message: str, manifest: Path, tmp_path: Path) -> None:
    words = tmp_path / "words.txt"
    words.write_bytes(content)
    result = run("transcribe", tmp_path / "0.wav", "--hotwords", words)
    assert f"{words}: " in result.stderr and message in result.stderr
    assert result.exit_code == (0 if "no hotword" in message else 1)
