"""Transcripts as text: the formats that `silero-like transcribe` writes."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from silero_like.subtitles import render_srt, render_vtt
from silero_like.timings import render_ctm, render_textgrid, render_tsv
from silero_like.turns import make_turns

if TYPE_CHECKING:
    from silero_like.recognizer import Transcript


WORDS_AT_ONCE = 1000


def render(transcript: Transcript, format: str) -> str:
    """Return one transcript in a format of `FORMATS`, without a newline at the end.

    ``txt`` is the text alone; ``json`` and ``jsonl`` hold the same object, spread over lines or on a single one;
    ``srt`` and ``vtt`` are subtitles (`silero_like.subtitles`); ``tsv``, ``ctm`` and ``textgrid`` tell when what is
    said (`silero_like.timings`).

    Raises:
        ValueError: an unknown format.
    """
    if format not in RENDERERS:
        raise ValueError(f"expected a format among {', '.join(FORMATS)}, got {format!r}")
    return RENDERERS[format](transcript)


def write_transcript(transcript: Transcript, path: Path, format: str) -> None:
    """Write one transcript to a file in UTF-8, whole or not at all; folders on the way are made.

    What cannot be encoded (a file name that is not UTF-8) gets question marks.

    Raises:
        ValueError: an unknown format.
        OSError: the file cannot be written; what stood there before stays.
    """
    write_atomically(path, render(transcript, format) + "\n")


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file, text in UTF-8, through a temporary one beside it, making folders on the way.

    Raises:
        OSError: the file cannot be written; what stood there before stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "replace"))
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def suffix_of(format: str) -> str:
    """Return how names of files of a format end."""
    return ".TextGrid" if format == "textgrid" else f".{format}"


def _txt(transcript: Transcript) -> str:
    """Return the text, of separate channels a turn a line."""
    if transcript.channels is None:
        return transcript.text
    return "\n".join(f"channel {turn.channel}: {turn.text}" for turn in make_turns(transcript.channels))


def _json(transcript: Transcript) -> str:
    return _with_words(transcript, 2, ",\n    ", "\n    {}\n  ")


def _jsonl(transcript: Transcript) -> str:
    return _with_words(transcript, None, ", ", "{}")


def _with_words(transcript: Transcript, indent: int | None, between: str, around: str) -> str:
    """Return the JSON object; its words are made some at a time: those of ten hours are large as objects."""
    frame = json.dumps(dataclasses.replace(transcript, words=()).to_dict(), ensure_ascii=False, indent=indent)
    words = []
    for start in range(0, len(transcript.words), WORDS_AT_ONCE):
        some = dataclasses.replace(transcript, words=transcript.words[start : start + WORDS_AT_ONCE]).to_dict()
        words += [json.dumps(word, ensure_ascii=False, indent=indent).replace("\n", "\n    ") for word in some["words"]]
    if not words:
        return frame
    listed = around.format(between.join(words))
    return frame.replace('"words": []', f'"words": [{listed}]', 1)  # no string holds this: its quotes are escaped


RENDERERS: Mapping[str, Callable[[Transcript], str]] = {
    "txt": _txt,
    "json": _json,
    "jsonl": _jsonl,
    "srt": render_srt,
    "vtt": render_vtt,
    "tsv": render_tsv,
    "ctm": render_ctm,
    "textgrid": render_textgrid,
}
FORMATS = tuple(RENDERERS)
