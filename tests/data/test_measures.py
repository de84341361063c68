"""Measures of recordings, held to signals whose values are known."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile

from data.measures import (
    correlate,
    estimate_bandwidth,
    estimate_snr,
    find_clipping,
    find_silence,
    fingerprint,
    fingerprint_distance,
    frame_levels,
    measure,
)
from silero_like.audio import load_audio

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
RATE = 16000
Waveform = npt.NDArray[np.float32]


def noise(n_samples: int, seed: int = 0) -> Waveform:
    """White, with a root mean square of 1."""
    return np.random.default_rng(seed).standard_normal(n_samples).astype(np.float32)


def low_passed(waveform: Waveform, hz: float) -> Waveform:
    spectrum = np.fft.rfft(waveform)
    spectrum[round(hz * len(waveform) / RATE) :] = 0
    return np.fft.irfft(spectrum, len(waveform)).astype(np.float32)


def syllables(seed: int = 0, seconds: int = 4) -> Waveform:
    """Noise in bursts of random loudness and colour, silence between them."""
    generator = np.random.default_rng(seed)
    parts = []
    for number in range(8 * seconds):
        burst = low_passed(noise(2000, 100 * seed + number), generator.uniform(500, 7000))
        parts.append(burst * (0.1 * generator.uniform(0.2, 1) if generator.uniform() < 0.7 else 0))
    return np.concatenate(parts).astype(np.float32)


def coded(waveform: Waveform, format: str, subtype: str) -> Waveform:
    buffer = io.BytesIO()
    soundfile.write(buffer, waveform, RATE, format=format, subtype=subtype)
    buffer.seek(0)
    decoded: Waveform = soundfile.read(buffer, dtype="float32")[0]
    return decoded


@pytest.mark.parametrize("snr_db", [3.0, 10.0, 20.0, 40.0])
def test_snr_of_bursts_in_noise(snr_db: float) -> None:
    """Bursts half the time. 1 dB: a frame of 400 samples varies by 0.3 dB, and percentiles lie beyond the means."""
    speech = 0.1 * noise(64000) * (np.arange(64000) // 8000 % 2)
    mixed = speech + 0.1 * 10 ** (-snr_db / 20) * noise(64000, 1)
    assert estimate_snr(frame_levels(mixed.astype(np.float32), RATE)) == pytest.approx(snr_db, abs=1)


def test_snr_without_anything_that_stands_out() -> None:
    assert estimate_snr(frame_levels(0.1 * noise(RATE), RATE)) == 0
    assert estimate_snr(frame_levels(np.zeros(RATE, np.float32), RATE)) == 0


def test_silence_put_around_a_noisy_recording_does_not_make_it_clean() -> None:
    speech = 0.1 * noise(64000) * (np.arange(64000) // 8000 % 2) + 0.01 * noise(64000, 1)
    padded = np.pad(speech, 32000).astype(np.float32)
    assert estimate_snr(frame_levels(padded, RATE)) == pytest.approx(20, abs=1)


@pytest.mark.parametrize("hz", [1000.0, 3400.0, 6000.0])
def test_bandwidth_of_low_passed_noise(hz: float) -> None:
    """300 Hz: the window's leakage falls below -65 dB after some eight bins of 31 Hz."""
    assert estimate_bandwidth(low_passed(noise(64000), hz), RATE) == pytest.approx(hz, abs=300)


def test_bandwidth_of_white_noise_and_of_silence() -> None:
    assert estimate_bandwidth(noise(RATE), RATE) == 8000
    assert estimate_bandwidth(np.zeros(RATE, np.float32), RATE) == 0


@pytest.mark.parametrize("top", [0.1, 0.5, 0.9])
def test_a_clipped_sine_is_flat_for_a_known_share_of_its_period(top: float) -> None:
    sine = 0.98 * np.sin(2 * np.pi * 110 * np.arange(RATE) / RATE).astype(np.float32)
    assert find_clipping(sine) == 0
    share = 1 - 2 / np.pi * np.arcsin(top / 0.98)
    assert find_clipping(np.clip(sine, -top, top)) == pytest.approx(
        share, abs=0.015
    )  # half a sample at each end of a top


def test_clipping_on_one_side_is_found_and_at_full_scale_through_a_codec() -> None:
    sine = 0.9 * np.sin(2 * np.pi * 110 * np.arange(RATE) / RATE).astype(np.float32)
    one_sided = find_clipping(np.minimum(sine, 0.45).astype(np.float32))
    assert one_sided == pytest.approx(1 / 3, abs=0.01)
    loud = np.clip(20 * syllables(), -1, 1)
    assert find_clipping(loud) > 0.1
    assert find_clipping(coded(loud, "OGG", "OPUS")) > 0.05
    assert find_clipping(coded(0.2 * loud, "OGG", "OPUS")) < 0.001  # as the docstring says


def test_quiet_or_steady_samples_are_not_clipped() -> None:
    assert find_clipping(np.zeros(RATE, np.float32)) == 0
    assert find_clipping(np.repeat(noise(4000), 4) * np.float32(0.001)) == 0


def test_silence_is_a_share_of_the_time() -> None:
    waveform = 0.1 * noise(4 * RATE)
    waveform[RATE : 2 * RATE] = 0
    waveform[3 * RATE :] *= 0.01  # 40 dB down
    levels = frame_levels(waveform, RATE)
    assert find_silence(levels) == 0.5
    assert find_silence(frame_levels((waveform + 0.03 * noise(4 * RATE, 1)).astype(np.float32), RATE)) == 0


def test_levels() -> None:
    square = np.full(RATE, 0.1, np.float32)
    square[::2] *= -1
    assert frame_levels(square, RATE) == pytest.approx(np.full(40, -20), abs=1e-4)
    assert len(frame_levels(square[:10], RATE)) == 1


@pytest.mark.parametrize("n_samples", [1, 399, 400, 401])
def test_the_shortest_recordings_are_measured(n_samples: int) -> None:
    found = measure(0.1 * noise(n_samples), RATE)
    assert found.duration_s == n_samples / RATE
    assert all(np.isfinite(value) for value in vars(found).values())
    assert fingerprint(0.1 * noise(n_samples), RATE).shape == (64,)


@pytest.mark.parametrize(("format", "subtype"), [("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III"), ("OGG", "VORBIS")])
def test_a_fingerprint_survives_a_codec_and_another_level(format: str, subtype: str) -> None:
    """Far below the 2 dB and above the 0.9 that `data.check` asks for, while another recording lies far beyond them."""
    waveform, other = (load_audio(SAMPLES / name, duration_s=4.0) for name in ("audiobook.opus", "commonvoice.opus"))
    copy = coded(np.float32(0.5) * waveform, format, subtype)[: len(waveform)]
    prints = np.stack([fingerprint(copy, RATE), fingerprint(other, RATE)])
    distances = fingerprint_distance(fingerprint(waveform, RATE), prints)
    assert distances[0] < 1
    assert correlate(waveform, copy) > 0.95
    assert correlate(waveform, other) < 0.3
    assert distances[1] > 3


def test_correlation_knows_a_copy_at_any_shift_and_level() -> None:
    waveform = syllables()
    assert correlate(waveform, -3 * waveform) == pytest.approx(1, abs=1e-4)
    assert correlate(waveform, np.pad(waveform, (1000, 0))) == pytest.approx(1, abs=1e-3)
    mixed = waveform + waveform.std() * noise(len(waveform))
    assert correlate(waveform, mixed) == pytest.approx(np.sqrt(0.5), abs=0.01)
    assert correlate(waveform, np.zeros(1, np.float32)) == 0
