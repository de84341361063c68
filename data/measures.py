"""What the samples of an utterance tell of its recording: level, noise, bandwidth, clipping, silence; NumPy only.

All are estimates from the mixture alone. ``tests/data/test_measures.py`` holds them to signals of known values.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

Waveform = npt.NDArray[np.float32]
Array = npt.NDArray[np.float64]

FRAME_S = 0.025
# Of the levels of frames: pauses lie below the first percentile, speech above the second.
NOISE_PERCENTILE, SPEECH_PERCENTILE = 10, 90
DIGITAL_SILENCE_DB = -90.0  # dBFS; a 16-bit recording's own dither lies at about -96
FLOOR_DB = -100.0
MAX_SNR_DB = 100.0
# Speech falls by some 50 dB up to 8 kHz; what was recorded with a narrower band falls by much more at its edge.
BANDWIDTH_RANGE_DB = 65.0
N_FFT = 512
FULL_SCALE = 0.99
FLAT_STEP = 1.001 / 32768  # a step of 16 bits
FLAT_SAMPLES = 3
MIN_CLIPPING_LEVEL = 0.05
QUIET_DB, QUIETER_BY_DB = -60.0, 30.0
FINGERPRINT_SLICES = 16
FINGERPRINT_EDGES_HZ = (100, 400, 1000, 2000, 3600)  # what a telephone line passes, so that its copies compare
FINGERPRINT_STEP_DB = 0.5


@dataclass(frozen=True, kw_only=True)
class Measures:
    """What was measured of an utterance."""

    duration_s: float
    """Of the samples, in seconds."""
    level_db: float
    """Level of its speech, dB below full scale."""
    snr_db: float
    """As `estimate_snr`."""
    bandwidth_hz: float
    """As `estimate_bandwidth`."""
    clipped_share: float
    """As `find_clipping`, in [0, 1]."""
    silence_share: float
    """As `find_silence`, in [0, 1]."""


def measure(waveform: Waveform, sample_rate: int) -> Measures:
    """Measure a waveform, float32 `(N,)` in [-1, 1], N at least 1."""
    levels = frame_levels(waveform, sample_rate)
    return Measures(
        duration_s=len(waveform) / sample_rate,
        level_db=float(np.percentile(levels, SPEECH_PERCENTILE)),
        snr_db=estimate_snr(levels),
        bandwidth_hz=estimate_bandwidth(waveform, sample_rate),
        clipped_share=find_clipping(waveform),
        silence_share=find_silence(levels),
    )


def frame_levels(waveform: Waveform, sample_rate: int) -> Array:
    """Return the level of every frame of 25 ms, float64 `(T,)` in dB of full scale, T at least 1, at least -100.

    The frames do not overlap; a rest at the end that fills none is left out.
    """
    energies = (_frames(waveform, sample_rate) ** 2).mean(axis=1)
    levels: Array = 10 * np.log10(np.maximum(energies, 10 ** (FLOOR_DB / 10)))
    return levels


def power_spectrogram(waveform: Waveform, sample_rate: int) -> Array:
    """Return the power spectrum of every frame of 25 ms under a Hann window, float64 `(T, 257)`."""
    frames = _frames(waveform, sample_rate)
    power: Array = np.abs(np.fft.rfft(frames * np.hanning(frames.shape[1]), N_FFT)) ** 2
    return power


def estimate_snr(levels: Array) -> float:
    """Estimate the signal-to-noise ratio from the levels of frames `(T,)`, in dB, in [0, 100].

    Percentiles of frame levels, as in NIST's STNR measure: the 10th is taken for noise, the 90th for speech and noise
    together. Frames of digital silence are left out: they were put there later. It needs pauses, so tightly cut clips
    look noisy; 0 dB says that nothing stands out.
    """
    sounding = levels[levels > DIGITAL_SILENCE_DB]
    if not len(sounding):
        return 0.0
    noise, loud = 10 ** (np.percentile(sounding, [NOISE_PERCENTILE, SPEECH_PERCENTILE]) / 10)
    return float(np.clip(10 * np.log10(max((loud - noise) / noise, 1.0)), 0.0, MAX_SNR_DB))


def estimate_bandwidth(waveform: Waveform, sample_rate: int) -> float:
    """Return the highest frequency, in Hz, whose mean power lies within 65 dB of the strongest's; 0 for silence.

    What passed a narrower channel (a telephone, a codec) ends at
    its edge; noise that was added behind the channel hides it.
    """
    power = power_spectrogram(waveform, sample_rate).mean(axis=0)
    if power.max() < 1e-20:
        return 0.0
    loud = np.flatnonzero(power >= power.max() * 10 ** (-BANDWIDTH_RANGE_DB / 10))
    return float(loud[-1] * sample_rate / N_FFT)


def find_clipping(waveform: Waveform) -> float:
    """Return the share of samples that are clipped, in [0, 1].

    A sample is clipped when it is within 1 % of full scale (or beyond, where a codec overshot), or in a flat top:
    three and more neighbours at the highest or lowest value, within a step of 16 bits. What was clipped below full
    scale and coded with losses since is not found: its tops are no longer flat.
    """
    clipped = np.abs(waveform) >= FULL_SCALE
    for side in (waveform, -waveform):
        if (top := float(side.max())) >= MIN_CLIPPING_LEVEL:
            clipped |= _in_runs(side >= top - FLAT_STEP)
    return float(clipped.mean())


def find_silence(levels: Array) -> float:
    """Return the share of frames `(T,)` that are silent: below -60 dBFS, or 30 dB below the speech's level.

    In noise that is louder than this, pauses do not count.
    """
    limit = max(QUIET_DB, float(np.percentile(levels, SPEECH_PERCENTILE)) - QUIETER_BY_DB)
    return float((levels < limit).mean())


def fingerprint(waveform: Waveform, sample_rate: int) -> npt.NDArray[np.int8]:
    """Return the course of the energy in four bands, int8 `(64,)` in half decibels about its mean.

    It survives coding with losses, another level and a telephone's band; not another cut, speed or added noise. It
    finds what may be a copy; `correlate` tells whether it is.
    """
    power = power_spectrogram(waveform, sample_rate)
    edges = [round(hz * N_FFT / sample_rate) for hz in FINGERPRINT_EDGES_HZ]
    bands = np.add.reduceat(power, edges, axis=1)[:, :-1]  # (T, 4); the last lies above the highest edge
    bounds = np.linspace(0, len(bands), FINGERPRINT_SLICES + 1)
    levels = np.array([bands[int(low) : max(int(low) + 1, int(high))].mean(axis=0) for low, high in pairwise(bounds)])
    levels = 10 * np.log10(np.maximum(levels, max(1e-12, levels.max() * 1e-5)))  # below -50 dB lies the codec's own
    steps = np.clip(np.rint((levels - levels.mean()) / FINGERPRINT_STEP_DB), -127, 127)
    flat: npt.NDArray[np.int8] = steps.astype(np.int8).ravel()
    return flat


def fingerprint_distance(one: npt.NDArray[np.int8], others: npt.NDArray[np.int8]) -> Array:
    """Return the mean difference of a fingerprint `(64,)` to others `(K, 64)` in dB, float64 `(K,)`."""
    distances: Array = np.abs(others.astype(np.int16) - one.astype(np.int16)).mean(axis=1) * FINGERPRINT_STEP_DB
    return distances


def correlate(one: Waveform, other: Waveform) -> float:
    """Return the largest normalised cross-correlation of two waveforms `(N,)`, `(M,)` over all shifts, in [0, 1].

    1 for a copy, at any level and shift; two recordings of the same words lie far below.
    """
    n_fft = 1 << (len(one) + len(other) - 1).bit_length()
    product = np.fft.rfft(one - one.mean(), n_fft) * np.conj(np.fft.rfft(other - other.mean(), n_fft))
    energy = len(one) * float(one.var()) * len(other) * float(other.var())
    return float(np.abs(np.fft.irfft(product, n_fft)).max() / max(np.sqrt(energy), 1e-12))


def _frames(waveform: Waveform, sample_rate: int) -> Array:
    """Cut into frames, float64 `(T, FRAME_S * sample_rate)`; what is shorter than one is filled with zeros."""
    size = int(FRAME_S * sample_rate)
    if len(waveform) < size:
        waveform = np.pad(waveform, (0, size - len(waveform)))
    return waveform[: len(waveform) // size * size].reshape(-1, size).astype(np.float64)


def _in_runs(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Keep of `(N,)` what is true for `FLAT_SAMPLES` neighbours and more."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    kept = np.zeros(len(mask), np.bool_)
    for start, stop in edges.reshape(-1, 2):
        kept[start:stop] = stop - start >= FLAT_SAMPLES
    return kept
