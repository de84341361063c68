"""A made-up language for training tests: every letter is a tone, so that a tiny model can learn it in seconds.

And processes that are killed, with all that they have started, when a test ends.
"""

from __future__ import annotations

import json
import os
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

ROOT = Path(__file__).parents[2]
TONES_HZ = {"a": 400, "b": 800, "c": 1500, "d": 2600}


def write_corpus(folder: Path, n_utterances: int = 24) -> Path:
    """Write tone utterances and `train.jsonl`; return the manifest's path."""
    generator = np.random.default_rng(5)
    rows = []
    for number in range(n_utterances):
        word = "".join(generator.choice(list(TONES_HZ), size=2 + number % 3))
        time_s = np.arange(4800) / 16000
        tones = [np.concatenate([np.zeros(1600), 0.3 * np.sin(2 * np.pi * TONES_HZ[x] * time_s)]) for x in word]
        waveform = np.concatenate([*tones, np.zeros(1600)]) + 0.001 * generator.standard_normal(6400 * len(word) + 1600)
        soundfile.write(folder / f"{number}.wav", waveform, 16000)
        rows.append(
            {
                "audio_filepath": f"{number}.wav",
                "duration": len(waveform) / 16000,
                "text": " ".join(word),
                "domain": "tones",
            }
        )
    path = folder / "train.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


class Started:
    """The processes that were started with an environment, and all that they have started. Needs Linux."""

    def __init__(self) -> None:
        self.mark = f"STARTED_BY={uuid.uuid4().hex}"
        name, value = self.mark.split("=")
        self.environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), name: value}

    def pids(self) -> list[int]:
        """Return those that are running; one that has ended has no environment any more."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # ended just now, or another user's
                if self.mark.encode() in (folder / "environ").read_bytes():
                    found.append(int(folder.name))
        return found

    def kill(self) -> None:
        """Kill all of them at once, as when a machine goes down."""
        while pids := self.pids():
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)


@pytest.fixture(scope="module")
def started() -> Iterator[Callable[[], Started]]:
    """Give environments to start processes in; what is left of them is killed at the end."""
    every: list[Started] = []

    def begin() -> Started:
        every.append(Started())
        return every[-1]

    yield begin
    for one in every:
        one.kill()


@pytest.fixture(scope="session")
def tone_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with 24 tone utterances and their manifest."""
    folder = tmp_path_factory.mktemp("tones")
    write_corpus(folder)
    return folder


@pytest.fixture
def recipe_path(tone_corpus: Path, tmp_path: Path) -> Path:
    """A recipe that trains a very small model on the tones."""
    recipe = {
        "name": "tones",
        "output_dir": str(tmp_path / "run"),
        "seed": 3,
        "data": {"root": str(tone_corpus), "train": ["train.jsonl"], "dev": ["train.jsonl"]},
        "tokenizer": {"vocab_size": 10},
        "model": {
            "overrides": {
                "width": 32, "n_conv_blocks": 2, "n_attention_blocks": 1, "n_heads": 2, "se_every": 1, "dropout": 0.05,
            }
        },
        "augment": {
            "strength": 0.2, "speeds": [0.95, 1.0], "gain_db": 3, "frequency_masks": 1, "frequency_mask_bins": 4,
        },
        "sampling": {"round_batches": 3},
        "optimizer": {"peak_lr": 0.01, "warmup_steps": 10, "total_steps": 8, "ema_decay": 0.9},
        "loop": {
            "batch_s": 8, "precision": "fp32", "log_every": 2, "eval_every": 1000, "checkpoint_every": 4, "threads": 1,
            "tensorboard": False, "bundle": False,
        },
    }  # fmt: skip
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return path
