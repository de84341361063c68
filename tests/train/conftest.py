"""A made-up language for training tests: every letter is a tone, so that a tiny model can learn it in seconds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

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
