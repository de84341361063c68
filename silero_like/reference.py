"""A bundle's reference output: what it gave for a known signal when it was made, so that a machine can check itself.

`reference.json` of a bundle holds it. A processor that computes wrongly, a broken ONNX Runtime or a graph that does not
fit its configuration shows here before it shows as bad transcripts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from silero_like.audio import SAMPLE_RATE

SIGNAL = "chirp"
DURATION_S = 2.0
START_HZ, END_HZ = 100.0, 4000.0
AMPLITUDE = 0.3
TOLERANCE = 0.05
"""Largest change of a log-prob: vector widths of processors give 1e-3, a wrong graph whole units."""


class LogProbs(Protocol):
    """What is needed of a `Runtime`."""

    def log_probs(self, waveform: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return log-probs `(T, V)` of a waveform `(N,)`."""


def reference_waveform() -> npt.NDArray[np.float32]:
    """Return two seconds of a chirp, 100 Hz to 4 kHz: float32 `(32000,)`, mono, 16 kHz, peak 0.3."""
    time_s = np.arange(round(DURATION_S * SAMPLE_RATE)) / SAMPLE_RATE
    rate = (END_HZ - START_HZ) / DURATION_S  # Hz a second
    phase = 2 * np.pi * (START_HZ * time_s + rate / 2 * time_s**2)
    return (AMPLITUDE * np.sin(phase)).astype(np.float32)


def make_reference(runtime: LogProbs) -> dict[str, Any]:
    """Run the reference signal and describe what came out, as JSON values.

    Returns:
        `signal`, `frames` (T), `argmax` (T labels), `max_log_probs` (T, theirs) and `log_probs_sum` (over all frames
        and labels).
    """
    log_probs = runtime.log_probs(reference_waveform())
    return {
        "signal": SIGNAL,
        "frames": len(log_probs),
        "argmax": [int(label) for label in log_probs.argmax(axis=1)],
        "max_log_probs": [round(float(value), 4) for value in log_probs.max(axis=1)],
        "log_probs_sum": float(log_probs.sum(dtype=np.float64)),
    }


def check_reference(runtime: LogProbs, stored: Mapping[str, Any]) -> str | None:
    """Compare this machine's output with the stored one; return what differs, or None.

    The stored best labels are compared by their log-probs, so that two labels a hair apart may change places.
    """
    if stored.get("signal") != SIGNAL:
        return f"expected the reference signal {SIGNAL!r}, got {stored.get('signal')!r}: made by another version"
    log_probs = runtime.log_probs(reference_waveform())
    if len(log_probs) != stored["frames"]:
        return f"expected {stored['frames']} frames, got {len(log_probs)}"
    if not np.isfinite(log_probs).all():
        return "log-probs are not finite"
    if max(stored["argmax"], default=0) >= log_probs.shape[1]:
        return f"expected label {max(stored['argmax'])}, got only {log_probs.shape[1]} labels"
    best = np.take_along_axis(log_probs, np.array(stored["argmax"], dtype=np.int64)[:, None], axis=1)[:, 0]
    worst = float(np.abs(best - stored["max_log_probs"]).max(initial=0.0))
    if worst > TOLERANCE:
        return f"a best label's log-prob differs by {worst:.3g}, more than {TOLERANCE}"
    mean_change = abs(float(log_probs.sum(dtype=np.float64)) - stored["log_probs_sum"]) / max(1, log_probs.size)
    return f"log-probs differ by {mean_change:.3g} on average" if mean_change > TOLERANCE else None
