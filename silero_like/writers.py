"""Transcripts as text: the formats that `silero-like transcribe` writes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from silero_like.recognizer import Transcript

FORMATS = ("txt", "json", "jsonl")


def render(transcript: Transcript, format: str) -> str:
    """Return one transcript in a format of `FORMATS`, without a newline at the end."""
    if format == "txt":
        return transcript.text
    if format == "json":
        return json.dumps(transcript.to_dict(), ensure_ascii=False, indent=2)
    if format == "jsonl":
        return json.dumps(transcript.to_dict(), ensure_ascii=False)
    raise ValueError(f"expected a format among {', '.join(FORMATS)}, got {format!r}")
