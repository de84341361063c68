"""Fixtures for all tests: the speech corpus, the bundled model, a small checkpoint; and the order of the files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from silero_like.model.encoder import Recognizer

ROOT = Path(__file__).resolve().parent.parent
LONG = (
    "test_static.py",
    "test_export.py",
    "test_sherpa.py",
    "test_start.py",
    "test_distributed.py",
    "test_loop.py",
    "test_robustness.py",
    "test_quantize.py",
    "test_serve.py",
    "test_serve_page.py",
    "test_moonshine.py",
)
"""Files that begin first: one that began last would keep a single worker busy."""

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: the workers share the cores


def find_corpus() -> Path | None:
    """Return the corpus folder, from `SILERO_LIKE_CORPUS` or beside the checkout."""
    path = Path(os.environ.get("SILERO_LIKE_CORPUS") or ROOT.parent / "shared" / "corpus")
    return path if (path / "audiobook.dev.jsonl").is_file() else None


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Run what is named in one process: it starts sooner, and output and debugger work."""
    named = config.option.keyword or any("::" in argument for argument in config.args)
    return 0 if named else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG))


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("corpus") and find_corpus() is None:
        pytest.skip("no speech corpus: set SILERO_LIKE_CORPUS")
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("no CUDA device")


@pytest.fixture(scope="session")
def corpus_path() -> Path:
    """The corpus folder; mark the test `corpus`."""
    path = find_corpus()
    assert path is not None
    return path


@pytest.fixture(scope="session")
def bundled_model() -> Path:
    """Folder of the bundled English model."""
    from silero_like.bundle import BUNDLED_PATH

    return BUNDLED_PATH


@pytest.fixture(scope="session")
def shared_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of a run share."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


@pytest.fixture(scope="session")
def _convert_once(shared_path: Path) -> Iterator[None]:
    """Let equal models be converted to ONNX once, for all tests and workers: torch takes some ten seconds for one."""
    pytest.importorskip("torch", reason="export needs the train extra")
    import onnx

    from silero_like import export
    from silero_like.writers import write_atomically

    convert = export.convert

    def convert_once(model: Recognizer) -> onnx.ModelProto:
        digest = hashlib.sha256(repr(model.config).encode())
        for name, value in model.state_dict().items():
            digest.update(name.encode() + value.numpy().tobytes())
        kept = shared_path / f"{digest.hexdigest()}.onnx"
        if not kept.exists():
            write_atomically(kept, convert(model).SerializeToString())
        return onnx.load(kept)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "convert", convert_once)
        yield


@pytest.fixture(scope="session")
def small_checkpoint(_convert_once: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a small untrained model with every kind of layer, whose head is sharp, so that it has texts."""
    import torch

    from data.text import get_normalizer
    from silero_like.model.config import ModelConfig
    from silero_like.model.encoder import Recognizer
    from silero_like.tokenizer import train_tokenizer
    from train.checkpoint import Checkpoint, Progress, write_checkpoint

    folder = tmp_path_factory.mktemp("checkpoint")
    tokenizer = train_tokenizer(["ab ba", "abba", "b a"], folder / "tokenizer.model", vocab_size=6)
    shape = {"width": 64, "n_conv_blocks": 2, "n_attention_blocks": 1, "n_heads": 2, "attention_frames": 8}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Recognizer(ModelConfig(n_labels=tokenizer.n_labels, **shape))
        with torch.no_grad():
            model.head[1].weight *= 4
    card = {"licence": "CC0", "attributions": ["Somebody, CC0"], "limits": ["Hears nothing."]}
    checkpoint = Checkpoint(
        model={},
        average=dict(model.state_dict()),
        optimizer={},
        tokenizer=tokenizer.model,
        model_config=model.config.to_dict(),
        recipe={"name": "small-test", "model": {"preset": "tiny"}, "card": card},
        provenance={"lang": "en", "normalizer": get_normalizer("en").label, "hours": {"tones": 0.01}, "seed": 7},
        progress=Progress(step=12, audio_s=36, train_s=60),
        scaler={},
        metrics={},
        feed={},
        feed_tensors={},
    )
    write_checkpoint(folder / "best.safetensors", checkpoint)
    return folder / "best.safetensors"
