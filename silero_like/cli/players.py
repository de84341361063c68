"""Where the players of a page find their recordings: beside it, or in it."""

from __future__ import annotations

import base64
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from data.manifest import Utterance


def link_to(utterance: Utterance, html_path: Path) -> str:
    """Return where the recording lies, seen from the page."""
    link = quote(os.path.relpath(utterance.audio_path, html_path.parent.resolve()))
    end_s = utterance.offset_s + utterance.duration_s
    return f"{link}#t={utterance.offset_s:g},{end_s:g}" if utterance.offset_s else link


def as_address(waveform: npt.NDArray[np.float32]) -> str:
    """Return a waveform at 16 kHz, coded as Opus, as an address; some 5 kB for each second."""
    import soundfile

    from silero_like.audio import SAMPLE_RATE

    buffer = io.BytesIO()
    soundfile.write(buffer, waveform, SAMPLE_RATE, format="OGG", subtype="OPUS")
    return "data:audio/ogg;base64," + base64.b64encode(buffer.getvalue()).decode()
