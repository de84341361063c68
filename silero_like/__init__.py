"""Small speech recognisers for ordinary CPUs: ``from silero_like import load``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from silero_like.recognizer import Recognizer

__all__ = ["__version__", "load"]
__version__ = "0.1.0"

# ONNX Runtime reports to its maker, and looks for this when it is imported, which comes later.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def load(
    path: str | Path | None = None,
    *,
    n_threads: int = 1,
    decoder: str | None = None,
    lm_path: str | Path | None = None,
    beam_width: int | None = None,
    hotwords: Mapping[str, float] | None = None,
) -> Recognizer:
    """Load a model bundle, the bundled English one by default; see `silero_like.recognizer.load`."""
    from silero_like.recognizer import load as load_recognizer  # ONNX Runtime is imported when it is needed

    return load_recognizer(
        path, n_threads=n_threads, decoder=decoder, lm_path=lm_path, beam_width=beam_width, hotwords=hotwords
    )
