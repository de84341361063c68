"""The reference output of a bundle catches a machine that computes something else."""

import json

import numpy as np
import numpy.typing as npt
import pytest

from silero_like.reference import check_reference, make_reference, reference_waveform

Array = npt.NDArray[np.float32]


class FakeRuntime:
    """Fixed log-probs `(T, V)` that depend on the waveform only through its length."""

    def __init__(self, seed: int = 0, noise: float = 0.0, n_frames: int = 25, n_labels: int = 9) -> None:
        logits = np.random.default_rng(seed).normal(size=(n_frames, n_labels))
        logits += noise * np.random.default_rng(99).uniform(-1, 1, size=logits.shape)
        self.output: Array = (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))).astype(np.float32)

    def log_probs(self, waveform: Array) -> Array:
        assert waveform.shape == (32000,)
        return self.output


def test_waveform_is_a_two_second_chirp() -> None:
    waveform = reference_waveform()
    assert waveform.dtype == np.float32
    assert waveform.shape == (32000,)
    assert np.abs(waveform).max() == pytest.approx(0.3, abs=1e-3)
    spectrum = np.abs(np.fft.rfft(waveform))
    hertz = np.fft.rfftfreq(32000, 1 / 16000)
    inside = (hertz > 90) & (hertz < 4010)
    assert (spectrum[inside] ** 2).sum() > 0.99 * (spectrum**2).sum()


def test_reference_survives_json_and_rounding() -> None:
    stored = json.loads(json.dumps(make_reference(FakeRuntime())))
    assert stored["frames"] == 25
    assert check_reference(FakeRuntime(noise=1e-3), stored) is None


@pytest.mark.parametrize(
    ("runtime", "expected"),
    [
        (FakeRuntime(n_frames=24), "expected 25 frames, got 24"),
        (FakeRuntime(seed=1), "best label's log-prob differs"),
        (FakeRuntime(noise=0.5), "differs"),
        (FakeRuntime(n_labels=2), "labels"),
    ],
)
def test_other_output_is_told(runtime: FakeRuntime, expected: str) -> None:
    assert expected in str(check_reference(runtime, make_reference(FakeRuntime())))


def test_not_finite_is_told() -> None:
    runtime = FakeRuntime()
    runtime.output[3, 2] = np.nan
    assert check_reference(runtime, make_reference(FakeRuntime())) == "log-probs are not finite"


def test_other_signal_is_told() -> None:
    assert "made by another version" in str(check_reference(FakeRuntime(), {"signal": "noise"}))
