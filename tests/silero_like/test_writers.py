"""Transcript formats and whole-file writing."""

import dataclasses
import json
import os
from pathlib import Path

import pytest

from decode.words import Word
from silero_like import writers
from silero_like.recognizer import Transcript
from silero_like.writers import FORMATS, render, write_transcript

TRANSCRIPT = Transcript(
    audio_filepath="a/день.wav",
    duration=1.5,
    text="день 好",
    confidence=0.75,
    words=(Word("день", 0.08, 0.4, 0.9), Word("好", 0.48, 0.56, 0.6)),
    model="tiny",
)


def test_txt_is_the_text() -> None:
    assert render(TRANSCRIPT, "txt") == "день 好"


@pytest.mark.parametrize("format", ["json", "jsonl"])
def test_json_holds_the_documented_fields_in_order(format: str) -> None:
    text = render(TRANSCRIPT, format)
    values = json.loads(text)
    assert list(values) == ["audio_filepath", "duration", "text", "confidence", "words", "model"]
    assert values["words"][0] == {"word": "день", "start": 0.08, "end": 0.4, "confidence": 0.9}
    assert "день 好" in text  # readable, not escaped
    assert ("\n" in text) == (format == "json")


@pytest.mark.parametrize("n_words", [0, 1, 2, 5])
def test_words_made_some_at_a_time_give_the_same_json(n_words: int, monkeypatch: pytest.MonkeyPatch) -> None:
    words = tuple(Word(f'{n}, "words": [] и 词\n  {{}}', n / 3, n / 3 + 0.1, 0.5) for n in range(n_words))
    transcript = dataclasses.replace(TRANSCRIPT, text='a "words": [] b {}', words=words)
    monkeypatch.setattr(writers, "WORDS_AT_ONCE", 2)
    assert render(transcript, "json") == json.dumps(transcript.to_dict(), ensure_ascii=False, indent=2)
    assert render(transcript, "jsonl") == json.dumps(transcript.to_dict(), ensure_ascii=False)


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected a format among txt, json, .*, textgrid, got 'docx'"):
        write_transcript(TRANSCRIPT, tmp_path / "new" / "a.docx", "docx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("format", FORMATS)
def test_a_file_holds_what_is_rendered(format: str, tmp_path: Path) -> None:
    path = tmp_path / "deep" / f"a.{format}"
    write_transcript(TRANSCRIPT, path, format)
    assert path.read_text(encoding="utf-8") == render(TRANSCRIPT, format) + "\n"
    assert list(path.parent.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail(*args: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_transcript(TRANSCRIPT, path, "txt")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_name_that_is_not_utf8_is_written_with_question_marks(tmp_path: Path) -> None:
    odd = Transcript(os.fsdecode(b"\xff.wav"), 0.0, "", 0.0, (), "tiny")
    write_transcript(odd, tmp_path / "a.json", "json")
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))["audio_filepath"] == "?.wav"
