"""`silero-like data segment`, `subtitles` and `align` as a user meets them, with a model that hears tones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from click.testing import CliRunner, Result

import data.utterances
from data.manifest import read_manifest
from silero_like.cli import main

if TYPE_CHECKING:
    from conftest import StandIn

SENTENCES = ["One two three.", "Four, five!", "six seven one", "TWO four six", "Seven five three?"]

TAIL_S = 0.4  # speech is taken to end behind its last token, which in this voice it does not


def run(*arguments: str | Path | float) -> Result:
    return CliRunner().invoke(main, ["data", *map(str, arguments)])


def speak(stand_in: StandIn, path: Path, sentences: list[str] = SENTENCES) -> list[tuple[float, float]]:
    """Write a recording of sentences with pauses; return when each is said."""
    parts: list[npt.NDArray[np.floating]] = [np.zeros(16000)]
    spans = []
    for sentence in sentences:
        wave = stand_in.speak("".join(c for c in sentence.lower() if c.isalpha() or c == " "))
        start = sum(map(len, parts)) / 16000 + 0.16
        parts += [wave, np.zeros(12800)]
        spans.append((start, sum(map(len, parts)) / 16000 - 0.96))
    soundfile.write(path, np.concatenate(parts), 16000)
    return spans


@pytest.fixture
def recording(stand_in: StandIn, tmp_path: Path) -> Path:
    path = tmp_path / "talk.wav"
    speak(stand_in, path)
    return path


def write_lines(path: Path, lines: list[str]) -> Path:
    path.write_text("".join(line + "\n" for line in lines))
    return path


def test_segment_keeps_what_is_said_and_drops_the_rest(stand_in: StandIn, tmp_path: Path) -> None:
    spans = speak(stand_in, tmp_path / "talk.wav")
    text = write_lines(
        tmp_path / "talk.txt", [*SENTENCES[:2], "seven six five four three two one", "...", *SENTENCES[3:]]
    )
    out, listed = tmp_path / "out.jsonl", tmp_path / "all.jsonl"
    result = run("segment", tmp_path / "talk.wav", text, out, "--model", stand_in.path, "--all", listed)
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    assert summary["dropped"]["no words"] == 1 and sum(summary["dropped"].values()) == 2
    assert (summary["sentences"], summary["utterances"], summary["failed"]) == (6, 4, 0)
    rows = read_manifest(out).utterances
    assert [row.text for row in rows] == [SENTENCES[number] for number in (0, 1, 3, 4)]
    for row, (start, end) in zip(rows, [spans[number] for number in (0, 1, 3, 4)], strict=True):
        assert row.offset_s == pytest.approx(start, abs=TAIL_S) and row.offset_s + row.duration_s == pytest.approx(
            end, abs=TAIL_S
        )
        assert row.annotation == "aligned" and row.quality is not None and -1 < row.quality <= 0
    assert [json.loads(line)["dropped"] == "" for line in listed.read_text().splitlines()] == [
        True,
        True,
        False,
        False,
        True,
        True,
    ]
    assert not list(tmp_path.glob(".*partial"))


def test_a_manifest_of_recordings_resumes_without_doing_work_twice(
    stand_in: StandIn, recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    speak(stand_in, tmp_path / "other.wav", SENTENCES[:2])
    rows: list[dict[str, Any]] = [
        {
            "audio_filepath": "talk.wav",
            "duration": 9.0,
            "text": "\n".join(SENTENCES),
            "domain": "talks",
            "speaker": "ann",
        },
        {"audio_filepath": "other.wav", "duration": 4.0, "text": "One two three. Four five!"},
    ]
    manifest = write_lines(tmp_path / "talks.jsonl", [json.dumps(row) for row in rows])
    out = tmp_path / "out.jsonl"
    make = data.utterances.make_utterances
    done: list[str] = []

    def stop_at_the_second(segmenter: Any, request: Any) -> Any:
        done.append(request.like.audio_path.name)
        if len(done) == 2:
            raise KeyboardInterrupt
        return make(segmenter, request)

    monkeypatch.setattr(data.utterances, "make_utterances", stop_at_the_second)
    assert run("segment", manifest, out, "--model", stand_in.path).exit_code == 1
    assert not out.exists()
    result = run("segment", manifest, out, "--model", stand_in.path)
    assert (result.exit_code, done) == (0, ["talk.wav", "other.wav", "other.wav"])
    assert "1 of 2 recordings were done before" in result.stderr
    kept = read_manifest(out).utterances
    assert [(row.domain, row.speaker) for row in kept] == [("talks", "ann")] * 5 + [("default", "")] * 2


def test_a_damaged_recording_does_not_stop_the_others(stand_in: StandIn, recording: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.wav").write_bytes(b"RIFF")
    rows = [{"audio_filepath": name, "duration": 9.0, "text": "\n".join(SENTENCES)} for name in ("bad.wav", "talk.wav")]
    manifest = write_lines(tmp_path / "talks.jsonl", [*(json.dumps(row) for row in rows), "no row"])
    result = run("segment", manifest, tmp_path / "out.jsonl", "--model", stand_in.path, "--jobs", 2)
    assert result.exit_code == 1
    assert "bad.wav: not audio" in result.stderr and "2 of 3 recordings failed" in result.stderr
    assert json.loads(result.stdout)["utterances"] == 5 and len(read_manifest(tmp_path / "out.jsonl").utterances) == 5


def stamp(seconds: float) -> str:
    return f"00:00:{int(seconds):02},{round(seconds % 1 * 1000):03}"


def subtitles(path: Path, spans: list[tuple[float, float]], texts: list[str], drift: float, shift: float) -> Path:
    cues = [
        f"{stamp(a * drift + shift)} --> {stamp(b * drift + shift)}\n{text}\n"
        for (a, b), text in zip(spans, texts, strict=True)
    ]
    return write_lines(path, ["00:00:00,000 --> 00:00:00,900\n[music]\n", *cues])


def test_subtitles_with_drift_and_a_wrong_line(stand_in: StandIn, tmp_path: Path) -> None:
    spans = speak(stand_in, tmp_path / "film.wav")
    texts = [f"<i>{text}</i> (laughs)" for text in SENTENCES]
    texts[2] = ">> BOB: five three three five three three five five"
    subs = subtitles(tmp_path / "film.en.srt", spans, texts, 1.04, 1.5)
    strict: list[str | float] = [
        "--min-score",
        -3.0,
    ]  # to this model silence is nearly a word
    for inputs in ([tmp_path / "film.wav", subs], [tmp_path]):
        out = tmp_path / "out.jsonl"
        result = run("subtitles", *inputs, out, "--model", stand_in.path, "--min-duration", 0, *strict)
        assert result.exit_code == 0, result.output
        rows = read_manifest(out).utterances
        assert [row.text for row in rows] == [SENTENCES[number] for number in (0, 1, 3, 4)]
        assert {row.annotation for row in rows} == {"subtitles"}
        assert [row.offset_s for row in rows] == pytest.approx(
            [spans[number][0] for number in (0, 1, 3, 4)], abs=TAIL_S
        )
        (shift,) = json.loads(result.stdout)["shift_s"]
        assert shift[0] == pytest.approx(-1.9, abs=0.5)
    result = run(
        "subtitles", tmp_path, tmp_path / "joined.jsonl", "--model", stand_in.path, "--min-duration", 4, *strict
    )
    assert [row.text for row in read_manifest(tmp_path / "joined.jsonl").utterances] == [
        " ".join(SENTENCES[:2]),
        " ".join(SENTENCES[3:]),
    ]


def test_align_writes_a_file_for_each_recording_once(stand_in: StandIn, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    spans = speak(stand_in, tmp_path / "a" / "talk.wav")
    rows = [
        {"audio_filepath": "a/talk.wav", "offset": start - 0.16, "duration": end - start + 0.32, "text": text}
        for text, (start, end) in zip(SENTENCES, spans, strict=True)
    ]
    rows.append({"audio_filepath": "a/talk.wav", "offset": 0.5, "duration": 0.1, "text": "one two three"})
    manifest = write_lines(tmp_path / "rows.jsonl", [json.dumps(row) for row in rows[:5]])
    result = run("align", manifest, tmp_path / "times", "--model", stand_in.path)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == {"recordings": 1, "done_before": 0, "failed": 0, "words": 14}
    lines = (tmp_path / "times" / "a" / "talk.ctm").read_text().splitlines()
    assert lines[0].split()[:2] == ["talk", "1"] and [line.split()[4] for line in lines[:5]] == [
        "one",
        "two",
        "three",
        "four",
        "five",
    ]
    assert float(lines[3].split()[2]) == pytest.approx(spans[1][0], abs=0.1)
    assert json.loads(run("align", manifest, tmp_path / "times", "--model", stand_in.path).stdout)["done_before"] == 1
    run("align", manifest, tmp_path / "times", "--model", stand_in.path, "--format", "textgrid")
    assert 'name = "words"' in (tmp_path / "times" / "a" / "talk.TextGrid").read_text()
    (tmp_path / "bad.wav").write_text("no audio")
    rows.append({"audio_filepath": "bad.wav", "duration": 1.0, "text": "one"})
    manifest = write_lines(tmp_path / "rows.jsonl", [json.dumps(row) for row in rows])
    result = run("align", manifest, tmp_path / "again", "--model", stand_in.path, "--jobs", 2)
    assert result.exit_code == 1 and json.loads(result.stdout)["words"] == 14
    assert "too short for the text 'one two three'" in result.stderr and "bad.wav: not audio" in result.stderr
    assert [path.name for path in (tmp_path / "again").rglob("*.ctm")] == ["talk.ctm"]
    assert (tmp_path / "again" / "a" / "talk.ctm").read_text().splitlines() == lines


def test_wrong_usage_and_bad_input(stand_in: StandIn, recording: Path, tmp_path: Path) -> None:
    out, text = tmp_path / "out.jsonl", write_lines(tmp_path / "a.txt", ["one"])
    (tmp_path / "empty").mkdir()
    cases: list[tuple[list[str | Path], int, str]] = [
        (["segment", recording, out], 2, "expected RECORDING TEXT OUT.jsonl, or MANIFEST.jsonl OUT.jsonl"),
        (["segment", recording, text, text, out], 2, "expected RECORDING TEXT"),
        (["segment", recording, write_lines(tmp_path / "b.txt", [""]), out], 1, "no text in it"),
        (["subtitles", recording, out], 2, "expected MEDIA SUBS OUT.jsonl, or FOLDER"),
        (["subtitles", tmp_path / "empty", out], 2, "no .srt or .vtt file"),
        (["subtitles", recording, text, out], 1, "expected an SRT or WebVTT file"),
        (["segment", recording, text, recording], 2, "would replace"),
        (["segment", recording, text, out, "--all", text], 2, "would replace"),
        (["segment", recording, text, out, "--all", out], 2, "would replace"),
        (["subtitles", recording, text, text], 2, "would replace"),
        (["subtitles", recording, text, out, "--max-duration", "1", "--min-duration", "2"], 2, "is above --max-dur"),
        (["segment", recording, text, out, "--min-score", "0.5"], 2, "--min-score"),
    ]
    for arguments, code, message in cases:
        result = run(*arguments, "--model", stand_in.path)
        assert (result.exit_code, message in result.stderr) == (code, True), (arguments, result.output)
    for command in ("segment", "subtitles", "align"):
        assert f"silero-like data {command} " in run(command, "--help").stdout
