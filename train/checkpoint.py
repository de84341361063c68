"""Checkpoints: one safetensors file with weights, averaged weights, optimizer state and how they came to be.

Nothing is pickled. A checkpoint is written to a temporary file, synced and renamed, so that a kill at any moment leaves
either the old file or the new one.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from silero_like.errors import ConfigError

CHECKPOINT_FORMAT = 2
ABOUT = ("model_config", "recipe", "provenance", "scaler", "metrics", "feed")


@dataclass(frozen=True)
class Progress:
    """Where a run stands."""

    step: int = 0
    audio_s: float = 0.0
    """Seconds of audio learned from, all processes."""
    train_s: float = 0.0
    """Seconds spent training, evaluation and interruptions not counted."""
    best_cer: float = float("inf")
    """Lowest micro-averaged dev CER so far."""
    skipped_steps: int = 0
    """Steps left out because loss or gradient was not finite."""
    blank_steps: int = 0
    """Steps in a row, up to now, whose whole output was blank."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint in memory."""

    model: dict[str, Tensor]
    average: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    """`exp_avg.NAME`, `exp_avg_sq.NAME` and `step.NAME` of every parameter."""
    tokenizer: bytes
    model_config: dict[str, Any]
    recipe: dict[str, Any]
    provenance: dict[str, Any]
    """Command, seed, versions, data hashes and hours."""
    progress: Progress
    scaler: dict[str, Any]
    """State of the fp16 loss scaler; empty without one."""
    metrics: dict[str, Any]
    """Evaluation of the averaged weights, when this checkpoint was evaluated."""
    feed: dict[str, Any]
    """State of sampler and curriculum, plain values."""
    feed_tensors: dict[str, Tensor]
    """State of sampler and curriculum, tensors."""


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write atomically; on failure the previous file is untouched and no temporary file is left."""
    tensors = {f"model.{name}": value for name, value in checkpoint.model.items()}
    tensors |= {f"average.{name}": value for name, value in checkpoint.average.items()}
    tensors |= {f"optimizer.{name}": value for name, value in checkpoint.optimizer.items()}
    tensors |= {f"feed.{name}": value for name, value in checkpoint.feed_tensors.items()}
    tensors["tokenizer"] = torch.frombuffer(bytearray(checkpoint.tokenizer), dtype=torch.uint8)
    about = {name: getattr(checkpoint, name) for name in ABOUT}
    about |= {"format": CHECKPOINT_FORMAT, "progress": dataclasses.asdict(checkpoint.progress)}
    payload = save(
        {name: value.detach().cpu().contiguous() for name, value in tensors.items()}, {"about": json.dumps(about)}
    )
    temporary = path.with_name(f".{path.name}.tmp")  # one name: the next write replaces what a kill left
    try:
        with temporary.open("wb") as stream:
            stream.write(payload)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_unfinished(folder: Path) -> None:
    """Remove what kills during a write have left, if no later write of that name has replaced it."""
    for path in folder.glob(".*.safetensors.tmp"):
        path.unlink(missing_ok=True)


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        ConfigError: missing, damaged, or of a newer format.
    """
    try:
        with safe_open(str(path), framework="pt") as stream:
            about = json.loads((stream.metadata() or {})["about"])
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118 - not a dict
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such checkpoint") from error
    except (SafetensorError, KeyError, OSError, ValueError) as error:
        raise ConfigError(f"{path}: not a checkpoint of this project, or a damaged one: {error}") from error
    if about["format"] != CHECKPOINT_FORMAT:
        raise ConfigError(
            f"{path}: checkpoint format {about['format']}, this version reads {CHECKPOINT_FORMAT}: "
            "use the version that wrote it, for example to export it as a bundle"
        )
    return Checkpoint(
        model=_with_prefix(tensors, "model."),
        average=_with_prefix(tensors, "average."),
        optimizer=_with_prefix(tensors, "optimizer."),
        tokenizer=tensors["tokenizer"].numpy().tobytes(),
        progress=Progress(**about["progress"]),
        feed_tensors=_with_prefix(tensors, "feed."),
        **{name: about[name] for name in ABOUT},
    )


def optimizer_tensors(
    optimizer: torch.optim.Optimizer, parameters: Mapping[str, torch.nn.Parameter]
) -> dict[str, Tensor]:
    """Flatten the optimizer's state to `KEY.PARAMETER_NAME` tensors."""
    return {
        f"{key}.{name}": value
        for name, parameter in parameters.items()
        for key, value in optimizer.state[parameter].items()
    }


def restore_optimizer(
    optimizer: torch.optim.Optimizer, parameters: Mapping[str, torch.nn.Parameter], tensors: Mapping[str, Tensor]
) -> None:
    """Put flattened state back."""
    keys = sorted({name.partition(".")[0] for name in tensors})
    for name, parameter in parameters.items():
        state = {key: tensors[f"{key}.{name}"] for key in keys if f"{key}.{name}" in tensors}
        optimizer.state[parameter] = {
            key: value if key == "step" else value.to(parameter.device) for key, value in state.items()
        }


def _with_prefix(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
