"""Transcripts as OpenAI's transcription endpoint gives them."""

from __future__ import annotations

import json
import zlib
from math import isnan, log
from typing import Any

from silero_like.recognizer import Transcript
from silero_like.serve.messages import Answer, Transcription
from silero_like.subtitles import Cue, make_cues
from silero_like.writers import render

LANGUAGE_NAMES = {"en": "english", "ru": "russian", "zh": "chinese"}
"""verbose_json names languages like this; other codes are given as they are."""

_MEDIA_TYPES = {"json": "application/json", "verbose_json": "application/json", "vtt": "text/vtt; charset=utf-8"}


def render_answer(transcript: Transcript, request: Transcription, lang: str) -> Answer:
    """Render a transcript in the format that was asked for."""
    if request.format == "json":
        body = json.dumps({"text": transcript.text}, ensure_ascii=False)
    elif request.format == "verbose_json":
        body = json.dumps(_verbose(transcript, request, lang), ensure_ascii=False)
    else:
        body = render(transcript, "txt" if request.format == "text" else request.format) + "\n"
    media_type = _MEDIA_TYPES.get(request.format, "text/plain; charset=utf-8")
    return Answer(media_type, body, transcript.duration, transcript.text)


def _verbose(transcript: Transcript, request: Transcription, lang: str) -> dict[str, Any]:
    """Return verbose_json; `confidence` is an addition of ours."""
    values = transcript.to_dict()
    verbose: dict[str, Any] = {
        "task": "transcribe",
        "language": LANGUAGE_NAMES.get(lang, lang),
        "duration": values["duration"],
        "text": transcript.text,
        "confidence": values["confidence"],
    }
    if request.words:
        verbose["words"] = values["words"]
    if request.segments:
        verbose["segments"] = [_segment(number, cue) for number, cue in enumerate(make_cues(transcript))]
    return verbose


def _segment(number: int, cue: Cue) -> dict[str, Any]:
    """Return a segment with all of OpenAI's fields; those that have no meaning here are 0 or empty."""
    confidence, data = sum(word.confidence for word in cue.words) / len(cue.words), cue.text.encode()
    is_known = not isnan(confidence)
    return {
        "id": number,
        "seek": 0,
        "start": round(cue.words[0].start, 3),
        "end": round(cue.words[-1].end, 3),
        "text": cue.text,
        "tokens": [],
        "temperature": 0.0,
        "avg_logprob": round(log(max(confidence, 1e-9)), 4) if is_known else 0.0,
        "compression_ratio": round(len(data) / len(zlib.compress(data)), 4),
        "no_speech_prob": 0.0,
        "confidence": round(confidence, 4) if is_known else None,
    }
