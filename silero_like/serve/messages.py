"""What the server and its worker processes say to each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

AnswerFormat = Literal["json", "text", "srt", "vtt", "verbose_json"]


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to recognise; a worker keeps the decoders of the last few."""

    model: str
    decoder: str | None = None
    beam_width: int | None = None
    lm: str | None = None
    """Name of a language model, "none", or None for the bundle's own."""
    hotwords: tuple[str, ...] = ()
    """Lines: a phrase, and perhaps a tab and its weight."""


@dataclass(frozen=True, kw_only=True)
class Transcription:
    """Transcribe the file whose descriptor follows; answered by `Answer`."""

    options: Options
    format: AnswerFormat = "json"
    words: bool = False
    """Of verbose_json: give words."""
    segments: bool = True
    """Of verbose_json: give segments."""


@dataclass(frozen=True, kw_only=True)
class OpenStream:
    """Begin a live stream; answered by `Heard` without results."""

    stream_id: int
    options: Options
    latency_s: float
    sample_rate: int


@dataclass(frozen=True)
class Feed:
    """The next samples of a stream, 16-bit little-endian mono; answered by `Heard`."""

    stream_id: int
    pcm: bytes


@dataclass(frozen=True)
class CloseStream:
    """The end of a stream; answered by `Heard`."""

    stream_id: int
    is_wanted: bool = True
    """False: forget it without a last result."""


Request = Transcription | OpenStream | Feed | CloseStream


@dataclass(frozen=True)
class ModelInfo:
    """What is told about a model that is being served."""

    lang: str
    """Empty if it is not known."""
    bundle_name: str
    created: int
    """Seconds since 1970."""
    engine: str
    """What runs it: one of `silero_like.engines.ENGINES`."""


@dataclass(frozen=True)
class Ready:
    """A worker has loaded its models."""

    models: dict[str, ModelInfo]


@dataclass(frozen=True)
class Answer:
    """A transcript as it goes to the client."""

    media_type: str
    body: str
    audio_s: float
    text: str


@dataclass(frozen=True)
class Heard:
    """Results of a live stream, as JSON values."""

    results: tuple[dict[str, object], ...] = ()


@dataclass(frozen=True)
class Refusal:
    """Why something was not done, with the HTTP status and OpenAI's short code for it."""

    status: int
    code: str
    message: str
    trace: str = ""
    """Where it came from, if it is a fault of ours."""


Reply = Ready | Answer | Heard | Refusal
