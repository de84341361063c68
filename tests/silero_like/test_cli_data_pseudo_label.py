"""`silero-like data pseudo-label` as a user meets it."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result

import silero_like.vad
from data.manifest import Utterance, read_manifest
from data.scores import Listener
from silero_like.cli import main
from tests.silero_like.conftest import StandIn

TEXTS = ["one two", "three four five", "six", "seven one"]


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["data", "pseudo-label", *map(str, arguments)])


@pytest.fixture
def speech(stand_in: StandIn, tmp_path: Path) -> Path:
    """A manifest without texts, of a speaker and a domain."""
    rows = [{"text": "", "said": text, "speaker": "ann", "domain": "calls", "lang": "en"} for text in TEXTS]
    path = stand_in.record(tmp_path / "in" / "speech.jsonl", rows)
    path.write_text(path.read_text().replace('"text": "", ', ""))
    return path


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out" / "labelled.jsonl"


def rows_of(path: Path) -> tuple[Utterance, ...]:
    manifest = read_manifest(path)
    assert not manifest.problems
    return manifest.utterances


def test_a_model_labels_a_manifest(stand_in: StandIn, speech: Path, out: Path) -> None:
    result = run(speech, out, "--model", stand_in.path)
    assert (result.exit_code, result.stderr) == (0, "")
    rows = rows_of(out)
    assert [row.text for row in rows] == TEXTS
    assert {(row.annotation, row.speaker, row.domain, row.lang) for row in rows} == {("pseudo", "ann", "calls", "en")}
    assert all(0.9 < (row.quality or 0) <= 1 for row in rows)


def test_filters_and_their_report(stand_in: StandIn, speech: Path, out: Path) -> None:
    probe = stand_in.record(speech.with_name("probe.jsonl"), [{"text": "one two", "said": "one"}, {"text": "six"}])
    report_path = out.with_name("report.json")
    options = [
        "--min-confidence",
        "0.5",
        "--rare",
        "1",
        "--rare-speaker-s",
        "0",
        "--probe",
        probe,
        "--json",
        report_path,
    ]
    result = run(speech, out, "--model", stand_in.path, *options)
    assert result.exit_code == 0, result.output
    report = json.loads(report_path.read_text())
    assert report["teachers"] == ["stand-in"]
    assert list(report["filters"]) == ["none", "empty", "confidence", "rare", "all together"]
    assert report["filters"]["all together"]["utterances"] == len(rows_of(out))
    assert report["probe"]["filters"]["none"]["cer"] == pytest.approx(4 / 10)
    assert report["domains"]["calls"]["utterances"] == 4
    assert "probe: hours kept" in result.stdout.splitlines()[0]


def test_nothing_is_heard_twice(stand_in: StandIn, speech: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(speech, out, "--model", stand_in.path)
    monkeypatch.setattr(Listener, "__call__", lambda *_: pytest.fail("heard again"))
    result = run(speech, out, "--model", stand_in.path, "--rate", "90", "99")
    assert (result.exit_code, len(rows_of(out))) == (0, 0)
    assert result.stderr == "stand-in: 4 of 4 utterances heard before\n"


def test_a_file_and_a_model(stand_in: StandIn, speech: Path, out: Path) -> None:
    """A larger model's transcripts teach; our own model has a veto."""
    large = speech.with_name("large.jsonl")
    texts = ["One, two.", "three for five", None, "never"]
    lines = [{"path": f"speech-{n}.wav", "text": text} for n, text in enumerate(texts) if text]
    large.write_text("".join(json.dumps(line) + "\n" for line in lines))
    options = ["--transcripts", large, "--model", stand_in.path, "--max-disagreement", "0.1"]
    result = run(speech, out, *options)
    assert (result.exit_code, result.stderr) == (
        0,
        f"{large}: no text for 1 of 4 utterances, which are left out\n",
    )
    assert [row.text for row in rows_of(out)] == ["One, two.", "three for five"]


@pytest.mark.parametrize(("lang", "text"), [("en", "hello"), ("ru", "привет, ёж"), ("zh", "我用 Python")])
def test_any_command_in_any_language(speech: Path, out: Path, lang: str, text: str) -> None:
    speech.write_text(speech.read_text().replace('"lang": "en"', f'"lang": "{lang}"'))
    program = f"import sys; assert sys.argv[1].endswith('.wav'); sys.stdout.buffer.write({text!r}.encode())"
    command = f"{shlex.quote(sys.executable)} -c {shlex.quote(program)} {{audio}}"
    result = run(speech, out, "--command", command, "--lang", lang)
    assert (result.exit_code, result.stderr) == (0, "")
    assert {(row.text, row.lang, row.quality) for row in rows_of(out)} == {(text, lang, None)}
    again = run(speech, out, "--command", command, "--lang", lang, "--min-confidence", "0.5")
    assert (again.exit_code, "no teacher says how sure it is" in again.stderr) == (2, True)


def test_audio_is_cut_where_it_pauses(
    stand_in: StandIn, tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_detectors = 0

    def detector() -> Any:
        nonlocal n_detectors
        n_detectors += 1
        return lambda block: float(abs(block).max() > 0.01)

    monkeypatch.setattr(silero_like.vad, "silero_detector", detector)
    pause = np.zeros(32000, np.float32)
    folder = tmp_path / "audio"
    folder.mkdir()
    long = np.concatenate([stand_in.speak(TEXTS[1]), pause, stand_in.speak(TEXTS[3]), pause])
    soundfile.write(folder / "long.wav", long, 16000)
    soundfile.write(folder / "short.wav", stand_in.speak(TEXTS[2]), 16000)
    (folder / "broken.wav").write_bytes(b"no")
    result = run(folder, out, "--model", stand_in.path, "--max-s", "8", "--domain", "calls")
    assert (result.exit_code, result.stderr.count("Error:")) == (1, 1), result.stderr
    rows = rows_of(out)
    assert [(row.text, row.audio_path.name, row.domain) for row in rows] == [
        (TEXTS[1], "long.wav", "calls"),
        (TEXTS[3], "long.wav", "calls"),
        (TEXTS[2], "short.wav", "calls"),
    ]
    assert rows[0].offset_s < rows[0].offset_s + rows[0].duration_s < rows[1].offset_s
    assert n_detectors == 1
    run(folder, out, "--model", stand_in.path, "--max-s", "8")
    assert n_detectors == 1


def test_rows_in_other_languages_are_left_out(stand_in: StandIn, speech: Path, out: Path) -> None:
    speech.write_text(speech.read_text().replace('"lang": "en"', '"lang": "ru"', 1))
    result = run(speech, out, "--model", stand_in.path)
    assert result.stderr == f"{speech}: 1 rows are not in en: left out\n"
    assert len(rows_of(out)) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--known", "SPEECH"], "--known is for --rare"),
        (["--rare-speaker-s", "3"], "--rare-speaker-s is for --rare"),
        (["--rate", "3", "1"], "two rising numbers"),
        (["--transcripts", "SPEECH"], "give --lang"),
        (["--transcripts", "SPEECH", "--lang", "en", "--lm", "none"], "for models of this project"),
        (["--model", "BUNDLE", "--lang", "ru"], "the model is for en: leave --lang out"),
        (["--model", "BUNDLE", "--max-disagreement", "0.1"], "nothing to compare with"),
    ],
)
def test_wrong_usage(stand_in: StandIn, speech: Path, out: Path, options: list[str], message: str) -> None:
    places = {"SPEECH": str(speech), "BUNDLE": str(stand_in.path)}
    result = run(speech, out, *(places.get(option, option) for option in options))
    assert (result.exit_code, message in result.stderr) == (2, True), result.stderr
    assert not out.exists()


def test_an_input_is_not_replaced(speech: Path) -> None:
    result = run(speech, speech)
    assert (result.exit_code, "would replace" in result.stderr) == (2, True)
