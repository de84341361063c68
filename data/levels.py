"""Where speech begins and ends: levels of 10 ms, and edges moved into the silence beside them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from silero_like.audio import SAMPLE_RATE

Array = npt.NDArray[np.float32]

HOP_S = 0.01
"""Seconds a level stands for."""
QUIET_S = 0.2
"""A silence lasts at least so long; shorter ones are part of speech."""
REACH_S = 0.3
"""An edge is looked for so far outside the nearest token; noise hides silence, and tokens are near the edges anyway."""
SLACK_S = 0.1
"""And so far inside it: a token's frame may begin before its sound does."""
USUAL_TAIL_S = 0.2
"""The last sound usually ends so long after its token; a first sound begins with its token."""
FLOOR_WINDOW_S = 3.0
"""The level of silence is that of the quietest tenth so far on both sides."""
QUIET_SHARE = 0.3
"""Silence is what lies below this share of the way, in dB, from the level of silence to that of the speech."""
MIN_RISE_DB, MAX_RISE_DB = 3.0, 10.0

_HOP = round(HOP_S * SAMPLE_RATE)
_SMOOTH = 5  # levels averaged: 50 ms, longer than a period of a voice


class LevelMeter:
    """Measures a waveform that comes in parts of any size, brightened so that hum and rumble count little."""

    def __init__(self) -> None:
        self._rest = np.zeros(0, np.float32)
        self._last = np.float32(0)
        self._energies: list[Array] = []

    def add(self, chunk: Array) -> None:
        """Take the next part `(n,)`."""
        bright = chunk - np.float32(0.9) * np.concatenate([[self._last], chunk[:-1]]) if len(chunk) else chunk
        self._last = chunk[-1] if len(chunk) else self._last
        samples = np.concatenate([self._rest, bright.astype(np.float32)])
        n_whole = len(samples) // _HOP
        self._energies.append(np.mean(samples[: n_whole * _HOP].reshape(-1, _HOP) ** 2, axis=1))
        self._rest = samples[n_whole * _HOP :]

    def levels(self) -> Array:
        """Return dB of every 10 ms so far, averaged over 50 ms."""
        energies = np.concatenate([np.zeros(0, np.float32), *self._energies])
        if len(energies) >= _SMOOTH:
            energies = np.convolve(energies, np.full(_SMOOTH, 1 / _SMOOTH, np.float32), "same")
        levels: Array = (10 * np.log10(energies + 1e-9)).astype(np.float32)
        return levels


def find_edges(levels: Array, first_s: float, last_s: float, free_s: tuple[float, float]) -> tuple[float, float]:
    """Move the edges of speech outwards, from its first and last token to the silence beside them.

    Args:
        levels: dB of every 10 ms of the recording.
        first_s: when the first token begins.
        last_s: when the last token ends.
        free_s: other speech ends before the first of these times and begins behind the second.

    Returns:
        when the speech begins and ends, in seconds. Where no silence is found near a token the edge is where
        it usually is.
    """
    first, last = round(first_s / HOP_S), max(round(last_s / HOP_S), round(first_s / HOP_S) + 1)
    threshold = _threshold(levels, first, last)
    reach, slack = round(REACH_S / HOP_S), round(SLACK_S / HOP_S)
    low, high = max(0, round(free_s[0] / HOP_S)), min(len(levels), round(free_s[1] / HOP_S))
    inner, outer = min(last, first + slack), max(first, last - slack)
    before = _silence(levels[low:inner][::-1], threshold)
    behind = _silence(levels[outer:high], threshold)
    start = inner - before if before <= reach + slack else max(low, first)
    end = outer + behind if behind <= reach + slack else min(high, last + round(USUAL_TAIL_S / HOP_S))
    return start * HOP_S, max(end, start + 1) * HOP_S


def _threshold(levels: Array, first: int, last: int) -> float:
    window = round(FLOOR_WINDOW_S / HOP_S)
    floor = float(np.percentile(levels[max(0, first - window) : last + window], 10))
    loud = float(np.percentile(levels[first:last], 80)) if len(levels[first:last]) else floor
    return floor + min(max(QUIET_SHARE * (loud - floor), MIN_RISE_DB), MAX_RISE_DB)


def _silence(levels: Array, threshold: float) -> int:
    """Return where the first silence begins; behind the end if there is none."""
    n_quiet = round(QUIET_S / HOP_S)
    bounds = np.concatenate([[-1], np.flatnonzero(levels >= threshold), [len(levels)]])
    long = np.flatnonzero(np.diff(bounds) > n_quiet)
    return int(bounds[long[0]]) + 1 if len(long) else len(levels) + n_quiet + round((REACH_S + SLACK_S) / HOP_S)
