"""Augmentation with one knob: its configuration, the chain of effects on a waveform, and SpecAugment on features.

`AugmentConfig.strength` from 0 (nothing is changed) to 1 sets all effects; each can be set by itself. Every random
function takes its generator. What a single effect does is told in `data.effects`.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from data.effects import (
    EffectsBank,
    add_noise,
    add_reverb,
    change_speed,
    clip_loudest,
    random_codec,
    random_gain,
    telephone_band,
    telephone_codec,
)
from silero_like.audio import SAMPLE_RATE, Waveform
from silero_like.errors import ConfigError

if TYPE_CHECKING:  # a recipe is read without torch
    import torch

__all__ = [
    "AugmentConfig",
    "Augmentation",
    "EffectsBank",
    "augment_waveform",
    "change_speed",
    "random_gain",
    "resolve",
    "spec_augment",
]

_BOUNDS = {
    "strength": 1,
    "gain_db": 60,
    "frequency_warp": 0.5,
    "frequency_masks": 100,
    "frequency_mask_bins": 1000,
    "time_masks_per_s": 100,
    "time_mask_frames": 10000,
    "noise_probability": 1,
    "reverb_probability": 1,
    "telephone_probability": 1,
    "codec_probability": 1,
    "clip_probability": 1,
}
"""Field -> largest value; the smallest is 0."""
_SPEED_BOUNDS = (0.5, 2.0)
_SNR_BOUNDS_DB = (-40.0, 100.0)
_CLIPPED_SHARE = (0.001, 0.05)  # of the samples of an utterance, where it is clipped
_FRAMES_PER_S = 100
_WARP_KNEE_HZ = 4800.0


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """How the same utterance is made different each time. `strength` sets what is None."""

    strength: float = 0.5
    """0 leaves every utterance as it is, 1 is the most."""
    noise: str | None = None
    """JSON index of noise clips and room responses, relative to the data root; environment variables are expanded.
    Without it there is no noise and no reverberation."""
    speeds: list[float] | None = None
    """Speed (and pitch) factors, drawn with equal probability; five, evenly spaced in 1 +- 0.2 x strength."""
    gain_db: float | None = None
    """Uniform random gain of plus or minus this many decibels; 20 x strength."""
    noise_probability: float | None = None
    """Share of the utterances that get noise; 0.5 x strength."""
    noise_snr_db: list[float] | None = None
    """Lowest and highest ratio of active speech to noise, in dB; 30 - 25 x strength and 30."""
    reverb_probability: float | None = None
    """Share that is placed in a room; 0.3 x strength."""
    clip_probability: float | None = None
    """Share whose peaks are cut off; 0.1 x strength."""
    telephone_probability: float | None = None
    """Share limited to the band of a telephone line, 300 to 3400 Hz; 0.3 x strength."""
    codec_probability: float | None = None
    """Share sent through mu-law, MP3 or Opus, at 8 kHz if also through the telephone; 0.15 x strength."""
    frequency_warp: float | None = None
    """Vocal tract length: largest share by which frequencies are stretched or squeezed, as if by another speaker;
    0.2 x strength."""
    frequency_masks: int | None = None
    """SpecAugment: masks over mel bins; 2."""
    frequency_mask_bins: int | None = None
    """Widest frequency mask; 40 x strength."""
    time_masks_per_s: float | None = None
    """SpecAugment: masks over time, as a rate, so that short and long utterances are treated alike; 1.2 x strength."""
    time_mask_frames: int | None = None
    """Longest time mask, in frames of 10 ms; 50 x strength."""

    def __post_init__(self) -> None:
        for name, highest in _BOUNDS.items():
            value = getattr(self, name)
            if value is not None and not 0 <= value <= highest:  # NaN compares false
                raise ConfigError(f"augment.{name}: expected 0 to {highest}, got {value}")
        if self.speeds is not None:
            _check_list("speeds", self.speeds, _SPEED_BOUNDS, "[1.0] changes no speed")
        if self.noise_snr_db is not None:
            _check_list("noise_snr_db", self.noise_snr_db, _SNR_BOUNDS_DB, "give the lowest and the highest")
            if len(self.noise_snr_db) != 2 or self.noise_snr_db[0] > self.noise_snr_db[1]:
                raise ConfigError(f"augment.noise_snr_db: expected [lowest, highest], got {self.noise_snr_db}")
        for name in ("noise_probability", "noise_snr_db", "reverb_probability"):
            if getattr(self, name) and not self.noise:
                raise ConfigError(
                    f"augment.{name} needs sound files: name their index in augment.noise, or leave it out"
                )


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """The values of an `AugmentConfig`, none of them open; the fields are explained there."""

    speeds: tuple[float, ...]
    gain_db: float
    noise_probability: float
    noise_snr_db: tuple[float, float]
    reverb_probability: float
    clip_probability: float
    telephone_probability: float
    codec_probability: float
    frequency_warp: float
    frequency_masks: int
    frequency_mask_bins: int
    time_masks_per_s: float
    time_mask_frames: int


def resolve(config: AugmentConfig) -> Augmentation:
    """Derive from the strength what the configuration leaves open.

    >>> resolve(AugmentConfig(strength=0.5)).speeds
    (0.9, 0.95, 1.0, 1.05, 1.1)
    """
    strength = config.strength
    derived = Augmentation(
        speeds=tuple(sorted({round(1 + step * strength, 3) for step in (-0.2, -0.1, 0.0, 0.1, 0.2)})),
        gain_db=20 * strength,
        noise_probability=0.5 * strength,
        noise_snr_db=(30 - 25 * strength, 30.0),
        reverb_probability=0.3 * strength,
        clip_probability=0.1 * strength,
        telephone_probability=0.3 * strength,
        codec_probability=0.15 * strength,
        frequency_warp=0.2 * strength,
        frequency_masks=2,
        frequency_mask_bins=round(40 * strength),
        time_masks_per_s=1.2 * strength,
        time_mask_frames=round(50 * strength),
    )
    given: dict[str, Any] = {}
    for spec in dataclasses.fields(Augmentation):
        value = getattr(config, spec.name)
        if value is not None:
            given[spec.name] = tuple(value) if isinstance(value, list) else value
    return dataclasses.replace(derived, **given)


def augment_waveform(
    waveform: Waveform, augmentation: Augmentation, bank: EffectsBank | None, generator: np.random.Generator
) -> Waveform:
    """Send an utterance through a room with noise, an input that may clip, and a line; its speed is the sampler's.

    Args:
        waveform: float32 `(N,)`, mono, 16 kHz, in [-1, 1]; N may be 0.
        augmentation: how often and how much.
        bank: noise and room responses; None leaves out noise and reverberation.

    Returns:
        float32 `(N,)`, of the same timing, finite; the gain may take it beyond [-1, 1].
    """
    if not len(waveform):
        return waveform
    if bank and bank.responses and generator.random() < augmentation.reverb_probability:
        waveform = add_reverb(waveform, bank.responses[generator.integers(len(bank.responses))])
    if bank and bank.noises and generator.random() < augmentation.noise_probability:
        noise = bank.noises[generator.integers(len(bank.noises))]
        waveform = add_noise(waveform, noise, generator.uniform(*augmentation.noise_snr_db), generator)
    if generator.random() < augmentation.clip_probability:
        waveform = clip_loudest(waveform, generator.uniform(*_CLIPPED_SHARE))
    waveform = random_gain(waveform, augmentation.gain_db, generator)
    return _through_a_line(waveform, augmentation, generator)


def spec_augment(
    features: torch.Tensor, n_frames: npt.NDArray[np.int64], augmentation: Augmentation, generator: np.random.Generator
) -> torch.Tensor:
    """Warp frequencies, then set random mel bins and stretches of time to zero, the mean of normalised features.

    See Jaitly and Hinton, "Vocal Tract Length Perturbation (VTLP) improves speech recognition", 2013, and Park et al.,
    "SpecAugment", 2019.

    Args:
        features: float32 `(B, T, F)`, normalised, 100 frames a second.
        n_frames: `(B,)` valid frames; time masks fall inside them and none covers more than a quarter.

    Returns:
        A changed copy of `features`.
    """
    if augmentation.frequency_warp:
        widest = augmentation.frequency_warp
        features = warp_frequencies(features, generator.uniform(1 - widest, 1 + widest, len(features)))
    n_batch, n_total, n_mels = features.shape
    bins = np.full(n_batch, n_mels)
    widest_bins = np.minimum(bins, augmentation.frequency_mask_bins)
    keep_bins = _keep(np.full(n_batch, augmentation.frequency_masks), widest_bins, bins, n_mels, generator)
    widest_frames = np.minimum(n_frames // 4, augmentation.time_mask_frames)
    n_time_masks = generator.poisson(augmentation.time_masks_per_s * n_frames / _FRAMES_PER_S)
    keep_frames = _keep(n_time_masks, widest_frames, n_frames, n_total, generator)
    masked = features * features.new_tensor(keep_bins)[:, None, :]
    return masked.mul_(features.new_tensor(keep_frames)[:, :, None])


def warp_frequencies(features: torch.Tensor, factors: npt.NDArray[np.float64]) -> torch.Tensor:
    """Read the mel bins of each row at frequencies `factors` `(B,)` times as high; 8 kHz stays where it is.

    Up to 4.8 kHz (or so that no frequency above that is reached) the stretch is uniform, above it is what is left over.

    Args:
        features: float32 `(B, T, F)`, Slaney mel bins from 0 to 8 kHz.

    Returns:
        float32 `(B, T, F)`; bins between two others are interpolated.
    """
    from silero_like.model.frontend import mel_edges_hz

    n_mels, nyquist = features.shape[2], SAMPLE_RATE / 2
    centres = mel_edges_hz(n_mels).numpy()[1:-1]
    scale = factors[:, None]
    knee = _WARP_KNEE_HZ * np.minimum(scale, 1) / scale
    beyond = nyquist - (nyquist - scale * knee) / (nyquist - knee) * (nyquist - centres)
    warped = np.where(centres <= knee, scale * centres, beyond)
    positions = np.interp(warped, centres, np.arange(n_mels))
    lower = np.minimum(positions.astype(np.int64), n_mels - 2)
    weights = np.zeros((len(factors), n_mels, n_mels), np.float32)
    row, column = np.indices(lower.shape)
    weights[row, lower, column] = 1 - (positions - lower)
    weights[row, lower + 1, column] = positions - lower
    return features @ features.new_tensor(weights)


def _keep(
    n_masks: npt.NDArray[np.int64],
    widest: npt.NDArray[np.int64],
    lengths: npt.NDArray[np.int64],
    n_total: int,
    generator: np.random.Generator,
) -> npt.NDArray[np.bool_]:
    """Return bool `(B, n_total)`, False where one of a row's masks, 0 to `widest` wide and inside `lengths`, lies."""
    rows = np.repeat(np.arange(len(n_masks)), n_masks)
    widths = generator.integers(0, widest[rows] + 1)
    starts = generator.integers(0, lengths[rows] - widths + 1)
    steps = np.zeros((len(n_masks), n_total + 1), np.int32)
    np.add.at(steps, (rows, starts), 1)
    np.add.at(steps, (rows, starts + widths), -1)
    keep: npt.NDArray[np.bool_] = steps[:, :n_total].cumsum(axis=1) == 0
    return keep


def _through_a_line(waveform: Waveform, augmentation: Augmentation, generator: np.random.Generator) -> Waveform:
    coded = generator.random() < augmentation.codec_probability
    if generator.random() < augmentation.telephone_probability:
        return telephone_codec(waveform, generator) if coded else telephone_band(waveform)
    return random_codec(waveform, SAMPLE_RATE, generator) if coded else waveform


def _check_list(name: str, values: list[float], bounds: tuple[float, float], cure: str) -> None:
    if not values or not all(math.isfinite(value) and bounds[0] <= value <= bounds[1] for value in values):
        raise ConfigError(f"augment.{name}: expected numbers from {bounds[0]} to {bounds[1]}, got {values}: {cure}")
