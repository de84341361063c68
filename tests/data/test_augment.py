import numpy as np
import pytest
import torch

from data.augment import change_speed, random_gain, spec_augment


def tone(hz: float, seconds: float = 1.0) -> np.ndarray:
    return np.sin(2 * np.pi * hz * np.arange(int(16000 * seconds)) / 16000).astype(np.float32)


@pytest.mark.parametrize("speed", [0.9, 1.1, 2.0])
def test_speed_moves_length_and_pitch(speed: float) -> None:
    played = change_speed(tone(1000), speed, 16000)
    assert len(played) == pytest.approx(16000 / speed, abs=1)
    spectrum = np.abs(np.fft.rfft(played * np.hanning(len(played))))
    assert np.argmax(spectrum) * 16000 / len(played) == pytest.approx(1000 * speed, abs=2)


def test_speed_one_is_the_identity() -> None:
    waveform = tone(440)
    assert change_speed(waveform, 1.0, 16000) is waveform


def test_gain_stays_within_its_bound_and_zero_is_the_identity() -> None:
    generator = np.random.default_rng(0)
    waveform = tone(440)
    gains = [np.abs(random_gain(waveform, 6, generator)).max() / np.abs(waveform).max() for _ in range(200)]
    assert 10 ** (-6 / 20) - 1e-6 <= min(gains) < 0.6 and 1.8 < max(gains) <= 10 ** (6 / 20) + 1e-6
    np.testing.assert_array_equal(random_gain(waveform, 0, generator), waveform)


def augment(features: torch.Tensor, n_frames: list[int], seed: int = 0, **values: float) -> torch.Tensor:
    settings = {"frequency_masks": 2, "frequency_mask_bins": 10, "time_masks_per_s": 2.0, "time_mask_frames": 20}
    return spec_augment(
        features,
        np.array(n_frames),
        generator=np.random.default_rng(seed),
        **{**settings, **values},  # type: ignore[arg-type]
    )


def test_spec_augment_masks_whole_bins_and_frames() -> None:
    features = torch.ones(3, 300, 80)
    masked = augment(features, [300, 300, 300])
    assert torch.equal(features, torch.ones(3, 300, 80))  # a copy
    assert set(masked.unique().tolist()) == {0.0, 1.0}
    for row in masked:
        bins, frames = row.amax(0), row.amax(1)
        assert torch.equal(row, frames[:, None] * bins[None, :])
        assert int((bins == 0).sum()) <= 20


def test_time_masks_fall_inside_the_utterance_and_leave_most_of_it() -> None:
    masked = augment(torch.ones(1, 1000, 80), [40], frequency_masks=0, time_masks_per_s=2.0)
    assert bool((masked[0, 40:] == 1).all())
    shares = []
    for seed in range(50):
        masked = augment(torch.ones(1, 40, 80), [40], seed=seed, frequency_masks=0, time_masks_per_s=2.0)
        shares.append(float((masked == 0).float().mean()))
    assert 0 < np.mean(shares) < 0.25


def test_spec_augment_switched_off_is_the_identity_and_seeds_count() -> None:
    features = torch.randn(2, 200, 80)
    assert torch.equal(augment(features, [200, 200], frequency_masks=0, time_masks_per_s=0), features)
    assert torch.equal(augment(features, [200, 200], seed=1), augment(features, [200, 200], seed=1))
    assert not torch.equal(augment(features, [200, 200], seed=1), augment(features, [200, 200], seed=2))
