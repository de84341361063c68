import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

torch = pytest.importorskip("torch", reason="export needs the train extra")

from silero_like import load  # noqa: E402
from silero_like.bundle import load_bundle  # noqa: E402
from silero_like.cli import main  # noqa: E402
from silero_like.errors import BundleError  # noqa: E402
from silero_like.export import check_parity, export_bundle  # noqa: E402
from silero_like.model.config import FRAME_SAMPLES, from_dict  # noqa: E402
from silero_like.model.encoder import Recognizer  # noqa: E402
from silero_like.reference import check_reference  # noqa: E402
from silero_like.runtime import Runtime  # noqa: E402
from train.checkpoint import read_checkpoint  # noqa: E402


def run_export(checkpoint: Path, out: Path, *options: str) -> None:
    result = CliRunner().invoke(main, ["export", str(checkpoint), str(out), *options])
    assert result.exit_code == 0, result.output


@pytest.fixture(scope="module")
def full(small_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that the command has written."""
    path = tmp_path_factory.mktemp("full") / "bundle"
    run_export(small_checkpoint, path)
    return path


@pytest.fixture(scope="module")
def half(small_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another, with weights for fine-tuning: the graph's are float16 then."""
    path = tmp_path_factory.mktemp("half") / "bundle"
    run_export(small_checkpoint, path, "--weights", "int8")
    return path


@pytest.mark.parametrize("kind", ["full", "half"])
def test_a_checkpoint_becomes_a_bundle_that_loads_and_agrees_with_torch(
    kind: str, request: pytest.FixtureRequest
) -> None:
    path: Path = request.getfixturevalue(kind)
    bundle = load_bundle(path)
    assert (bundle.config.name, bundle.config.lang, bundle.config.training["steps"]) == ("small-test", "en", 12)
    runtime = Runtime(bundle)
    assert check_reference(runtime, json.loads((path / "reference.json").read_text())) is None
    card = (path / "MODEL_CARD.md").read_text()
    assert all(text in card for text in ("small-test", "Somebody, CC0", "Hears nothing.", "seed: 7", "Not measured."))
    transcript = load(path).transcribe(np.zeros(16000, np.float32))
    assert transcript.duration == 1.0


def test_half_weights_are_half_the_size(full: Path, half: Path) -> None:
    assert weight_bytes(half / "model.onnx") < 0.6 * weight_bytes(full / "model.onnx")
    waveform = 0.1 * np.random.default_rng(0).standard_normal(30000).astype(np.float32)
    exact, rounded = (Runtime(load_bundle(path)).log_probs(waveform) for path in (full, half))
    np.testing.assert_allclose(exact, rounded, atol=0.02)  # float16 keeps 11 bits of a weight
    assert not np.array_equal(exact, rounded)


def weight_bytes(path: Path) -> int:
    """Bytes of the weights of a graph, the frontend's exact kernels left out."""
    onnx = pytest.importorskip("onnx")
    frontend = {200 * 257, 257 * 80}
    tensors = onnx.load(path).graph.initializer
    return sum(len(t.raw_data) for t in tensors if int(np.prod(t.dims)) not in frontend)


def test_long_recordings_are_stitched_exactly(full: Path) -> None:
    runtime = Runtime(load_bundle(full))
    waveform = 0.1 * np.random.default_rng(1).standard_normal(90 * FRAME_SAMPLES * 8 + 777).astype(np.float32)
    parts = list(runtime.stream_log_probs(np.array_split(waveform, 13), window_s=20))
    assert len(parts) > 3
    np.testing.assert_allclose(np.concatenate(parts), runtime.log_probs(waveform), atol=1e-4)


def test_a_graph_that_differs_from_torch_is_refused(small_checkpoint: Path, full: Path) -> None:
    runtime = Runtime(load_bundle(full))
    torch.manual_seed(1)  # other weights than those exported
    with pytest.raises(BundleError, match="differs from torch"):
        check_parity(Recognizer(from_dict(read_checkpoint(small_checkpoint).model_config)).eval(), runtime)


def test_a_folder_in_use_is_left_alone(small_checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    result = CliRunner().invoke(main, ["export", str(small_checkpoint), str(tmp_path)])
    assert result.exit_code == 1 and "not empty and not a bundle" in result.output
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_failed_export_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="unknown model field"):
        export_bundle(
            tmp_path / "bundle",
            weights={},
            model_config={"n_labels": 5, "colour": 1},
            tokenizer_model=b"",
            name="x",
            preset="tiny",
            lang="en",
            normalizer="en-1",
            training={},
            metrics={},
            model_card="",
        )
    assert not list(tmp_path.iterdir())
