"""Augmentation of waveforms and features. Every function takes its random generator."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import soxr
import torch


def change_speed(waveform: npt.NDArray[np.float32], speed: float, sample_rate: int) -> npt.NDArray[np.float32]:
    """Play float32 `(N,)` `speed` times as fast (pitch moves too): `(N / speed,)`."""
    if speed == 1.0:
        return waveform
    return np.asarray(soxr.resample(waveform, sample_rate * speed, sample_rate), dtype=np.float32)


def random_gain(
    waveform: npt.NDArray[np.float32], max_db: float, generator: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Scale float32 `(N,)` by a uniform gain of plus or minus `max_db`; not clipped."""
    return (waveform * np.float32(10 ** (generator.uniform(-max_db, max_db) / 20))).astype(np.float32, copy=False)


def spec_augment(
    features: torch.Tensor,
    n_frames: npt.NDArray[np.int64],
    *,
    frequency_masks: int,
    frequency_mask_bins: int,
    time_masks_per_s: float,
    time_mask_frames: int,
    generator: np.random.Generator,
) -> torch.Tensor:
    """Set random mel bins and stretches of time to zero, the mean of normalised features (Park et al., 2019).

    Args:
        features: float32 `(B, T, F)`, normalised, 100 frames a second.
        n_frames: `(B,)` valid frames; time masks fall inside them and none covers more than a quarter.

    Returns:
        A masked copy of `features`.
    """
    n_batch, n_total, n_mels = features.shape
    keep_bins = np.ones((n_batch, 1, n_mels), np.float32)
    keep_frames = np.ones((n_batch, n_total, 1), np.float32)
    for row, valid in enumerate(n_frames):
        for _ in range(frequency_masks):
            width = int(generator.integers(0, frequency_mask_bins + 1))
            start = int(generator.integers(0, n_mels - width + 1))
            keep_bins[row, :, start : start + width] = 0
        for _ in range(generator.poisson(time_masks_per_s * valid / 100)):
            width = int(generator.integers(0, min(time_mask_frames, valid // 4) + 1))
            start = int(generator.integers(0, valid - width + 1))
            keep_frames[row, start : start + width] = 0
    return (
        features * torch.from_numpy(keep_bins).to(features.device) * torch.from_numpy(keep_frames).to(features.device)
    )
