"""Cut long recordings into utterances at their pauses, by a voice activity detector."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from silero_like.audio import SAMPLE_RATE
from silero_like.vad import BLOCK, block_probabilities

Array = npt.NDArray[np.float32]

CUT_VERSION = 1
"""Raised whenever recordings are cut otherwise."""
THRESHOLD = 0.5
"""Probability from which a block is speech: what the detector's own users take."""
PAUSE_S = 0.6
"""Seconds of silence that end an utterance."""
LEAD_S = 0.25
"""Seconds of silence that an utterance keeps at each end."""
MIN_SPEECH_S = 0.2
"""Less speech than this between two pauses is a click."""

_BLOCK_S = BLOCK / SAMPLE_RATE
_SMOOTHED_BLOCKS = 9  # a place to cut where nobody pauses: the least speech-like quarter of a second


@dataclass(frozen=True)
class Stretch:
    """A part of a recording, in seconds."""

    start_s: float
    duration_s: float


def cut_at_pauses(
    chunks: Iterable[Array], speech_probability: Callable[[Array], float], *, max_s: float
) -> list[Stretch]:
    """Find the utterances of a recording; what is no speech is left out.

    Args:
        chunks: successive parts `(n,)` of the waveform, float32, mono, 16 kHz.
        speech_probability: of a block `(512,)`; `silero_like.vad.silero_detector` makes one.
        max_s: an utterance without a pause is cut when it is longer, where it is least like speech.
    """
    probabilities = np.array(block_probabilities(chunks, speech_probability))
    pieces: list[tuple[int, int]] = []
    lead = round(LEAD_S / _BLOCK_S)
    for begin, end in voiced_blocks(probabilities, pause_s=PAUSE_S, min_speech_s=MIN_SPEECH_S):
        wide = max(0, begin - lead), min(len(probabilities), end + lead)
        pieces += _shortened(probabilities, *wide, int(max_s / _BLOCK_S))
    return [Stretch(round(start * _BLOCK_S, 3), round((end - start) * _BLOCK_S, 3)) for start, end in pieces]


def voiced_blocks(
    probabilities: npt.NDArray[np.float64], *, pause_s: float, min_speech_s: float
) -> list[tuple[int, int]]:
    """Return blocks [start, end) of speech between pauses; with less speech than `min_speech_s` it is a click."""
    speech = np.flatnonzero(probabilities >= THRESHOLD)
    groups: Sequence[npt.NDArray[np.int64]] = np.split(
        speech, 1 + np.flatnonzero(np.diff(speech) > round(pause_s / _BLOCK_S))
    )
    least = max(1, round(min_speech_s / _BLOCK_S))
    return [(int(group[0]), int(group[-1]) + 1) for group in groups if len(group) >= least]


def _shortened(probabilities: npt.NDArray[np.float64], start: int, end: int, n_max: int) -> list[tuple[int, int]]:
    """Halve a stretch, about, until no part is longer than it may be."""
    if end - start <= n_max:
        return [(start, end)]
    smooth = np.convolve(probabilities[start:end], np.full(_SMOOTHED_BLOCKS, 1 / _SMOOTHED_BLOCKS), "same")
    quarter = (end - start) // 4
    cut = start + quarter + int(smooth[quarter : end - start - quarter].argmin())
    return [*_shortened(probabilities, start, cut, n_max), *_shortened(probabilities, cut, end, n_max)]
