"""What a server is told when it starts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from silero_like.engines import ModelSource

HotwordReader = Callable[[Sequence[str], str], dict[str, float]]
"""From lines (a phrase, and perhaps a tab and its weight) and a language code to what `load` takes as hotwords. Raises
`ConfigError`; a function of a module, because it is sent to other processes."""


@dataclass(frozen=True, kw_only=True)
class ServeSettings:
    """Models and limits of one server."""

    models: Mapping[str, ModelSource]
    """By the names that requests give; the first is for requests that give none."""
    read_hotwords: HotwordReader
    """Reads a request's hotwords."""
    language_models: Mapping[str, Path] = field(default_factory=dict)
    """Language models by the names that requests may give; a request never names a file."""
    workers: int = 2
    """Processes that transcribe; one more serves the live streams."""
    max_queue: int = 64
    """Requests that may wait for a worker; further ones are told to come back."""
    max_upload_bytes: int = 100 << 20
    """Bytes of a request's body."""
    max_duration_s: float = 3600.0
    """Seconds of audio in one upload, counted while it is decoded."""
    upload_timeout_s: float = 120.0
    """Seconds in which a body must have come."""
    timeout_s: float = 300.0
    """Seconds from there to the answer, waiting included."""
    max_streams: int = 16
    """Live streams at once."""
    idle_s: float = 60.0
    """Seconds without audio after which a live stream is closed."""
    drain_s: float = 30.0
    """Seconds that requests get to finish when the server is told to end."""
    reload_s: float = 2.0
    """Seconds between looks at whether a bundle has changed."""
    token: str | None = field(default=None, repr=False)
    """What requests must carry as bearer token, if anything."""
    log_transcripts: bool = False
    """Write what was said into the log."""
