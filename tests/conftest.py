"""Fixtures for all tests: the speech corpus and the bundled model."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def find_corpus() -> Path | None:
    """Return the corpus folder, from `SILERO_LIKE_CORPUS` or beside the checkout."""
    path = Path(os.environ.get("SILERO_LIKE_CORPUS") or ROOT.parent / "shared" / "corpus")
    return path if (path / "audiobook.dev.jsonl").is_file() else None


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
