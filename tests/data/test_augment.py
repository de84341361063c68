import dataclasses
import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from data.augment import (
    Augmentation,
    AugmentConfig,
    EffectsBank,
    augment_waveform,
    resolve,
    spec_augment,
    warp_frequencies,
)
from silero_like.errors import ConfigError
from silero_like.model.frontend import mel_edges_hz

ROOT = Path(__file__).resolve().parents[2]
EVERY_EFFECT = AugmentConfig(
    strength=1.0,
    noise="index.json",
    noise_probability=1.0,
    reverb_probability=1.0,
    telephone_probability=1.0,
    codec_probability=1.0,
    clip_probability=1.0,
)


@pytest.fixture(scope="module")
def bank() -> EffectsBank:
    generator = np.random.default_rng(1)
    noises = [generator.integers(-9000, 9000, n).astype(np.int16) for n in (50, 40000)]
    response = np.exp(-np.arange(4000) / 800) * generator.standard_normal(4000)
    return EffectsBank(tuple(noises), (np.concatenate([[5], response]).astype(np.float32),))


def speech_like(n_samples: int = 16000, seed: int = 0) -> np.ndarray:
    """Bursts of noise with pauses between them."""
    waveform = 0.1 * np.random.default_rng(seed).standard_normal(n_samples)
    waveform[(np.arange(n_samples) // 2000) % 3 == 1] = 0
    return waveform.astype(np.float32)


def augmentation(**values: Any) -> Augmentation:
    return dataclasses.replace(resolve(AugmentConfig(strength=0)), **values)


def test_strength_zero_changes_no_bit(bank: EffectsBank) -> None:
    nothing = resolve(AugmentConfig(strength=0))
    assert nothing.speeds == (1.0,)
    features = torch.randn(3, 200, 80)
    for seed in range(20):
        generator = np.random.default_rng(seed)
        assert augment_waveform(speech_like(), nothing, bank, generator).tobytes() == speech_like().tobytes()
        assert torch.equal(spec_augment(features, np.array([200, 7, 0]), nothing, generator), features)


def test_half_strength_is_the_published_scale() -> None:
    half = resolve(AugmentConfig())
    assert half.speeds == (0.9, 0.95, 1.0, 1.05, 1.1) and half.gain_db == 10 and half.noise_snr_db == (17.5, 30)
    assert (half.frequency_masks, half.frequency_mask_bins) == (2, 20)
    assert (half.time_masks_per_s, half.time_mask_frames) == (0.6, 25)


def test_every_effect_grows_with_the_strength() -> None:
    steps = [resolve(AugmentConfig(strength=strength)) for strength in (0, 0.1, 0.2, 0.5, 0.9, 1)]
    grown = {
        name: [getattr(step, name) for step in steps]
        for name in Augmentation.__dataclass_fields__
        if name not in ("speeds", "noise_snr_db", "frequency_masks")
    }
    grown["fastest"] = [step.speeds[-1] for step in steps]
    grown["slowest"] = [-step.speeds[0] for step in steps]
    grown["noise"] = [-step.noise_snr_db[0] for step in steps]
    for name, values in grown.items():
        assert all(a < b for a, b in itertools.pairwise(values)), (name, values)
    assert {step.frequency_masks for step in steps} == {2} and {step.noise_snr_db[1] for step in steps} == {30}


def test_one_effect_can_be_set_by_itself() -> None:
    resolved = resolve(AugmentConfig(strength=0, speeds=[1.0, 0.9], gain_db=3, time_mask_frames=0))
    assert resolved == augmentation(speeds=(1.0, 0.9), gain_db=3)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"strength": 1.01}, "augment.strength: expected 0 to 1, got 1.01"),
        ({"strength": float("nan")}, "augment.strength"),
        ({"codec_probability": -0.1}, "augment.codec_probability: expected 0 to 1"),
        ({"frequency_masks": -1}, "augment.frequency_masks"),
        ({"speeds": []}, r"augment.speeds: expected numbers from 0.5 to 2.0, got \[\]: \[1.0\] changes"),
        ({"speeds": [1.0, 0.0]}, "augment.speeds"),
        ({"noise": "i", "noise_snr_db": [20, 5]}, r"augment.noise_snr_db: expected \[lowest, highest\]"),
        ({"noise": "i", "noise_snr_db": [5]}, "augment.noise_snr_db"),
        ({"noise": "i", "noise_snr_db": [5, float("inf")]}, "augment.noise_snr_db"),
        ({"noise_probability": 0.5}, "augment.noise_probability needs sound files: name their index"),
        ({"reverb_probability": 0.5}, "augment.reverb_probability needs"),
    ],
)
def test_impossible_values_are_errors_by_name(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        AugmentConfig(**values)


def test_the_generator_decides(bank: EffectsBank) -> None:
    every = resolve(EVERY_EFFECT)
    outputs = [augment_waveform(speech_like(), every, bank, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert outputs[0].tobytes() == outputs[1].tobytes()
    assert not np.array_equal(outputs[0], outputs[2])


@pytest.mark.parametrize("n_samples", [0, 1, 2, 100, 319, 321, 16001])
@pytest.mark.parametrize("with_bank", [False, True])
def test_any_length_and_silence_stay_finite_and_in_scale(n_samples: int, with_bank: bool, bank: EffectsBank) -> None:
    for seed, waveform in enumerate([np.zeros(n_samples, np.float32), speech_like(n_samples), speech_like(n_samples)]):
        before = waveform.copy()
        generator = np.random.default_rng(seed)
        augmented = augment_waveform(waveform, resolve(EVERY_EFFECT), bank if with_bank else None, generator)
        assert augmented.dtype == np.float32 and augmented.shape == (n_samples,)
        assert np.isfinite(augmented).all()
        # 20 dB of gain, doubled where noise at 5 dB, filters and codecs overshoot
        assert np.abs(augmented).max(initial=0) <= 20 * np.abs(waveform).max(initial=0) + 0.01
        np.testing.assert_array_equal(waveform, before)


@pytest.mark.parametrize("effect", ["noise", "reverb", "clip", "telephone", "codec"])
def test_an_effect_comes_as_often_as_its_probability_says(effect: str, bank: EffectsBank) -> None:
    sometimes = augmentation(**{f"{effect}_probability": 0.3})
    waveform = speech_like(500)
    generator = np.random.default_rng(0)
    changed = [not np.array_equal(augment_waveform(waveform, sometimes, bank, generator), waveform) for _ in range(500)]
    assert np.mean(changed) == pytest.approx(0.3, abs=0.08)  # four standard deviations of 500 draws


def test_without_a_bank_there_is_no_noise_and_no_room() -> None:
    every = augmentation(noise_probability=1.0, reverb_probability=1.0)
    waveform = speech_like()
    assert np.array_equal(augment_waveform(waveform, every, None, np.random.default_rng(0)), waveform)


def mask(features: torch.Tensor, n_frames: list[int], seed: int = 0, **values: Any) -> torch.Tensor:
    settings = {"frequency_masks": 2, "frequency_mask_bins": 10, "time_masks_per_s": 2.0, "time_mask_frames": 20}
    return spec_augment(
        features, np.array(n_frames), augmentation(**{**settings, **values}), np.random.default_rng(seed)
    )


def test_spec_augment_masks_whole_bins_and_frames() -> None:
    features = torch.ones(3, 300, 80)
    masked = mask(features, [300, 300, 300])
    assert torch.equal(features, torch.ones(3, 300, 80))  # a copy
    assert set(masked.unique().tolist()) == {0.0, 1.0}
    for row in masked:
        bins, frames = row.amax(0), row.amax(1)
        assert torch.equal(row, frames[:, None] * bins[None, :])
        assert int((bins == 0).sum()) <= 20


def test_mask_widths_are_uniform_up_to_the_widest() -> None:
    masked = mask(torch.ones(4000, 1, 80), [1] * 4000, frequency_masks=1, time_masks_per_s=0.0)
    widths = (masked[:, 0] == 0).sum(1).numpy()
    assert set(widths) == set(range(11))
    assert np.bincount(widths).min() > 4000 / 11 * 0.75  # 363 expected, standard deviation 18


def test_masks_wider_than_the_features_are_cut() -> None:
    assert mask(torch.ones(2, 8, 20), [8, 8], frequency_mask_bins=1000, time_mask_frames=5000).shape == (2, 8, 20)


def test_time_masks_fall_inside_the_utterance_and_leave_most_of_it() -> None:
    masked = mask(torch.ones(1, 1000, 80), [40], frequency_masks=0)
    assert bool((masked[0, 40:] == 1).all())
    shares = []
    for seed in range(50):
        masked = mask(torch.ones(1, 40, 80), [40], seed=seed, frequency_masks=0)
        shares.append(float((masked == 0).float().mean()))
    assert 0 < np.mean(shares) < 0.25


def test_short_and_long_utterances_lose_the_same_share_of_time() -> None:
    masked = mask(torch.ones(400, 1600, 1), [200] * 200 + [1600] * 200, frequency_masks=0, time_masks_per_s=1.0)
    short, long = float((masked[:200, :200] == 0).float().mean()), float((masked[200:] == 0).float().mean())
    assert short == pytest.approx(0.1, abs=0.025)  # 1 mask a second of 10 frames on average; some overlap
    assert long == pytest.approx(short, abs=0.02)


def test_spec_augment_seeds_count() -> None:
    features = torch.randn(2, 200, 80)
    assert torch.equal(mask(features, [200, 200], seed=1), mask(features, [200, 200], seed=1))
    assert not torch.equal(mask(features, [200, 200], seed=1), mask(features, [200, 200], seed=2))


def test_the_configuration_is_read_without_torch() -> None:
    code = "import sys, data.augment; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_a_warp_moves_a_formant_and_leaves_the_ends() -> None:
    centres = mel_edges_hz(80).numpy()[1:-1]
    peak = int(np.abs(centres - 1000).argmin())
    features = torch.zeros(3, 5, 80)
    features[:, :, peak] = 1
    features[:, :, -1] = 2
    warped = warp_frequencies(features, np.array([1.0, 1.1, 0.8]))
    torch.testing.assert_close(warped[0], features[0])
    for row, factor in ((1, 1.1), (2, 0.8)):
        found = float((warped[row, 0, :70] * torch.from_numpy(centres[:70])).sum() / warped[row, 0, :70].sum())
        assert found == pytest.approx(centres[peak] / factor, rel=0.02)  # read 1.1 times as high: it comes from below
    assert (warped[:, :, -1] > 1.3).all()
    assert (warped[1:].max(dim=2).values <= 2).all()  # an interpolation


def test_the_warp_is_drawn_for_every_row_and_follows_its_knob() -> None:
    only_warp = dataclasses.replace(resolve(AugmentConfig(strength=0)), frequency_warp=0.1)
    features = torch.linspace(0, 1, 80).repeat(4, 9, 1)
    n_frames = np.full(4, 9)
    first, second = (spec_augment(features, n_frames, only_warp, np.random.default_rng(seed)) for seed in (0, 1))
    assert not torch.equal(first, second) and not torch.equal(first[0], first[1])
    assert torch.equal(first, spec_augment(features, n_frames, only_warp, np.random.default_rng(0)))
    assert torch.equal(
        features, spec_augment(features, n_frames, resolve(AugmentConfig(strength=0)), np.random.default_rng(0))
    )
    assert resolve(AugmentConfig(strength=0.5)).frequency_warp == pytest.approx(0.1)
