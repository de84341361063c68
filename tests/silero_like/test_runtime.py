"""The runtime: windows stitch to exactly the whole, padding and batch change nothing, bad models are refused."""

from __future__ import annotations

import dataclasses
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest

from silero_like.bundle import Bundle, load_bundle, write_checksums
from silero_like.errors import BundleError
from silero_like.runtime import Runtime

if TYPE_CHECKING:
    from conftest import StandIn

Array = npt.NDArray[np.float32]
EXACT = 1e-4  # float32 rounding: the order of summation may differ with the shape of the input


def _noise(n_samples: int, seed: int = 3) -> Array:
    """Return noise, so loud that it moves the stand-in's scores by whole units."""
    return np.random.default_rng(seed).uniform(-5, 5, n_samples).astype(np.float32)


def _chunks(waveform: Array, n_samples: int) -> Iterator[Array]:
    return (waveform[start : start + n_samples] for start in range(0, len(waveform), n_samples))


def _with_config(bundle: Bundle, **changes: Any) -> Bundle:
    return dataclasses.replace(bundle, config=dataclasses.replace(bundle.config, **changes))


def test_log_probs_are_a_distribution_with_the_blank_in_silence(stand_in: StandIn) -> None:
    log_probs = Runtime(load_bundle(stand_in.path)).log_probs(np.zeros(16000, np.float32))
    assert log_probs.shape == (13, stand_in.tokenizer.n_labels)  # ceil(16000 / 1280)
    assert log_probs.dtype == np.float32
    np.testing.assert_allclose(np.exp(log_probs).sum(axis=1), 1, atol=1e-5)
    assert (log_probs.argmax(axis=1) == stand_in.tokenizer.blank_id).all()


@pytest.mark.parametrize("n_samples", [1, 160, 1279, 1280])
def test_very_short(stand_in: StandIn, n_samples: int) -> None:
    runtime = Runtime(load_bundle(stand_in.path))
    assert runtime.log_probs(_noise(n_samples)).shape == (1, stand_in.tokenizer.n_labels)
    assert sum(len(part) for part in runtime.stream_log_probs([_noise(n_samples)])) == 1


def test_no_samples_give_no_frames(stand_in: StandIn) -> None:
    runtime = Runtime(load_bundle(stand_in.path))
    empty = np.zeros(0, np.float32)
    assert runtime.log_probs(empty).shape == (0, stand_in.tokenizer.n_labels)
    assert [len(rows) for rows in runtime.log_probs_batch([empty, _noise(3000), empty])] == [0, 3, 0]
    assert runtime.log_probs_batch([]) == []
    assert list(runtime.stream_log_probs([])) == []
    assert sum(len(part) for part in runtime.stream_log_probs([empty])) == 0


def test_a_batch_equals_each_alone_in_any_order(stand_in: StandIn) -> None:
    runtime = Runtime(load_bundle(stand_in.path))
    waveforms = [_noise(n_samples, seed=n_samples) for n_samples in (20000, 100, 0, 51234, 1281)]
    alone = [runtime.log_probs(waveform) for waveform in waveforms]
    for together, expected in (
        (runtime.log_probs_batch(waveforms), alone),
        (runtime.log_probs_batch(waveforms[::-1]), alone[::-1]),
    ):
        for found, wanted in zip(together, expected, strict=True):
            np.testing.assert_allclose(found, wanted, atol=EXACT)


@pytest.mark.parametrize("n_samples", [0, 1280, 14 * 1280, 14 * 1280 + 1, 15 * 1280, 50_001, 200_000])
@pytest.mark.parametrize("n_chunk", [701, 16000, 10**6])
@pytest.mark.parametrize("window_s", [0.0, 1.12, 2.0, 100.0])
def test_windows_stitch_to_the_whole(stand_in: StandIn, n_samples: int, n_chunk: int, window_s: float) -> None:
    runtime = Runtime(load_bundle(stand_in.path))
    waveform = _noise(n_samples)
    parts = list(runtime.stream_log_probs(_chunks(waveform, n_chunk), window_s))
    whole = runtime.log_probs(waveform)
    np.testing.assert_allclose(np.concatenate([whole[:0], *parts]), whole, atol=EXACT)
    if n_samples > 60 * 1280 and window_s < 3:
        assert len(parts) > 3


@pytest.mark.parametrize("change", [{"context_frames": 1}, {"block_frames": 1}])
def test_the_stitching_test_would_notice(stand_in: StandIn, change: dict[str, int]) -> None:
    runtime = Runtime(_with_config(load_bundle(stand_in.path), **change))
    waveform = _noise(200_000)
    parts = np.concatenate(list(runtime.stream_log_probs([waveform], 1.05)))
    assert parts.shape == runtime.log_probs(waveform).shape
    assert np.abs(parts - runtime.log_probs(waveform)).max() > 10 * EXACT


@pytest.fixture(scope="module")
def exported(small_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Export a small untrained model of every kind of layer."""
    from silero_like.export import export_bundle
    from train.bundling import bundle_arguments
    from train.checkpoint import read_checkpoint

    folder = tmp_path_factory.mktemp("exported") / "bundle"
    return load_bundle(export_bundle(folder, **bundle_arguments(read_checkpoint(small_checkpoint))))


@pytest.mark.parametrize("n_samples", [1, 160, 16_000, 639_999, 640_000, 640_100])
def test_an_exported_model_stitches_too(exported: Bundle, n_samples: int) -> None:
    runtime = Runtime(exported)
    context_s = runtime.config.context_frames * runtime.config.frame_s
    waveform = 0.1 * _noise(n_samples)
    parts = list(runtime.stream_log_probs(_chunks(waveform, 16_000), 2 * context_s + 2))
    whole = runtime.log_probs(waveform)
    assert len(whole) == pytest.approx(n_samples / 1280, abs=1)
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=EXACT)
    assert n_samples < 600_000 or len(parts) > 2
    padded = runtime.log_probs_batch([waveform, _noise(30_000), waveform[:0]])[0]
    np.testing.assert_allclose(padded, whole, atol=EXACT)


def test_a_window_holds_what_was_asked_for(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = Runtime(load_bundle(stand_in.path))
    seen: list[int] = []
    whole = runtime.log_probs

    def record(waveform: Array) -> Array:
        seen.append(len(waveform))
        return whole(waveform)

    monkeypatch.setattr(runtime, "log_probs", record)
    list(runtime.stream_log_probs([_noise(160_000)], 2.0))
    assert len(seen) > 3
    assert max(seen) <= 32_000
    seen.clear()
    list(runtime.stream_log_probs([_noise(24_000)], 2.0))
    assert seen == [24_000]


def test_memory_does_not_grow_with_the_recording(stand_in: StandIn) -> None:
    runtime = Runtime(load_bundle(stand_in.path))
    second = _noise(16_000)
    peaks = []
    for n_seconds in (60, 600):
        tracemalloc.start()
        for _ in runtime.stream_log_probs((second for _ in range(n_seconds)), 10.0):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0] + 100_000


def test_threads_are_the_session_s_own(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[onnxruntime.SessionOptions] = []
    session = onnxruntime.InferenceSession

    def record(path: str, options: onnxruntime.SessionOptions, **rest: object) -> object:
        seen.append(options)
        return session(path, options, **rest)

    monkeypatch.setattr(onnxruntime, "InferenceSession", record)
    Runtime(load_bundle(stand_in.path))
    Runtime(load_bundle(stand_in.path), n_threads=2)
    assert [options.intra_op_num_threads for options in seen] == [1, 2]
    assert {options.inter_op_num_threads for options in seen} == {1}
    assert {options.get_session_config_entry("session.intra_op.allow_spinning") for options in seen} == {"0"}


@pytest.mark.parametrize("damage", [b"", b"not a graph", None])
def test_a_model_that_cannot_be_loaded(stand_in: StandIn, damage: bytes | None) -> None:
    model = stand_in.path / "model.onnx"
    model.write_bytes(model.read_bytes()[:-999] if damage is None else damage)
    write_checksums(stand_in.path)
    with pytest.raises(BundleError, match=r"model\.onnx: ONNX Runtime cannot load it .*: export the bundle again"):
        Runtime(load_bundle(stand_in.path))


def test_a_model_of_another_shape(stand_in: StandIn) -> None:
    bundle = load_bundle(stand_in.path)
    n_labels = bundle.config.n_labels
    with pytest.raises(BundleError, match=f"expected {n_labels + 1} labels as in config.json, found {n_labels}"):
        Runtime(_with_config(bundle, n_labels=n_labels + 1, blank_id=n_labels))
    onnx = pytest.importorskip("onnx")
    graph = onnx.load(bundle.model_path)
    graph.graph.output.pop()
    bundle.model_path.write_bytes(graph.SerializeToString())
    with pytest.raises(BundleError, match=r"expected inputs .* and outputs .*'log_prob_lengths'\], found"):
        Runtime(bundle)
