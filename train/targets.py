"""Soft targets: what a teacher says of every frame of the training speech, its best labels at each speed.

They are computed once and kept in one safetensors file: `labels` uint16 `(F, K)` and `log_probs` float16 `(F, K)`, the
frames of all utterances one after the other; the metadata tells where each lies, what made them and for which labels.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from torch import Tensor

from data.manifest import Utterance
from silero_like.errors import ConfigError
from silero_like.model.config import ModelConfig

N_BEST = 8
"""Labels kept of a frame: the rest of a CTC model's probability is below a hundredth."""


class Soft(NamedTuple):
    """A teacher's word on some frames; padding has probability 0 everywhere."""

    labels: Tensor
    """int64 `(..., T, K)`."""
    probs: Tensor
    """float32 `(..., T, K)`, together 1 in every frame."""


@dataclass(frozen=True)
class Key:
    """An utterance as it was played to the teacher."""

    audio_filepath: str
    """Relative to the data root."""
    offset_s: float
    speed: float

    @classmethod
    def of(cls, utterance: Utterance, speed: float, root: Path) -> Key:
        """Return the key of an utterance of the manifests in `root`."""
        return cls(os.path.relpath(utterance.audio_path, root), round(utterance.offset_s, 4), round(speed, 4))


class SoftTargets:
    """The soft targets of a training set, in memory."""

    def __init__(self, path: str | Path, root: Path) -> None:
        """Read the targets of the manifests in `root`.

        Raises:
            ConfigError: missing, or not such a file.
        """
        try:
            with safe_open(str(path), framework="numpy") as stream:
                about = json.loads((stream.metadata() or {})["about"])
                self._labels, self._log_probs = stream.get_tensor("labels"), stream.get_tensor("log_probs")
        except FileNotFoundError as error:
            raise ConfigError(f"{path}: no such soft targets: make them with `silero-like distill`") from error
        except (SafetensorError, KeyError, OSError, ValueError) as error:
            raise ConfigError(f"{path}: not soft targets of this project, or damaged ones: {error}") from error
        self._root = root
        self.frame_s: float = about.get("frame_s", 0.08)
        """Seconds between the frames."""
        self.teacher: str = about["teacher"]
        self.tokenizer_sha256: str = about["tokenizer_sha256"]
        ends = np.cumsum([n_frames for *_, n_frames in about["utterances"]])
        self._spans = {
            Key(*key): (int(end) - n_frames, int(end))
            for (*key, n_frames), end in zip(about["utterances"], ends, strict=True)
        }

    def __contains__(self, key: object) -> bool:
        """Whether the teacher was asked."""
        return key in self._spans

    def find(self, utterance: Utterance, speed: float) -> Soft | None:
        """Return the targets of an utterance, `(T, K)`, or None where the teacher was not asked, or could not read."""
        start, end = self._spans.get(Key.of(utterance, speed, self._root), (0, 0))
        if start == end:
            return None
        log_probs = torch.from_numpy(self._log_probs[start:end].astype(np.float32))
        return Soft(torch.from_numpy(self._labels[start:end].astype(np.int64)), log_probs.softmax(-1))


def check_grid(targets: SoftTargets, config: ModelConfig) -> None:
    """See that targets stand on a model's frames.

    Raises:
        ConfigError: they do not.
    """
    if targets.frame_s != config.frame_s:
        raise ConfigError(
            f"distill.targets: {targets.teacher} says its word every {1000 * targets.frame_s:.0f} ms, the model every "
            f"{1000 * config.frame_s:.0f} ms: set model.overrides.stride, or take other targets"
        )


def pad_soft(rows: Sequence[Soft | None]) -> Soft | None:
    """Put utterances together as `(B, T, K)`; those without targets, and padding, get probability 0."""
    found = [row for row in rows if row is not None]
    if not found:
        return None
    shape = len(rows), max(len(row.labels) for row in found), found[0].labels.shape[1]
    labels, probs = torch.zeros(shape, dtype=torch.int64), torch.zeros(shape)
    for number, row in enumerate(rows):
        if row is not None:
            labels[number, : len(row.labels)], probs[number, : len(row.probs)] = row
    return Soft(labels, probs)


def write_soft_targets(
    path: Path,
    utterances: Iterable[tuple[Key, npt.NDArray[np.float32]]],
    *,
    teacher: str,
    tokenizer_sha256: str,
    frame_s: float,
) -> None:
    """Write soft targets atomically: for each utterance its key and the teacher's log-probs, float32 `(T, V)`.

    What could not be read has a T of 0. Frames are `frame_s` seconds apart.
    """
    labels, log_probs, rows = [], [], []
    for key, full in utterances:
        n_best = min(N_BEST, full.shape[1])
        best = np.argpartition(-full, n_best - 1, axis=1)[:, :n_best]
        labels.append(best.astype(np.uint16))
        log_probs.append(np.maximum(np.take_along_axis(full, best, 1), -60).astype(np.float16))
        rows.append((key.audio_filepath, key.offset_s, key.speed, len(full)))
    about: dict[str, Any] = {"teacher": teacher, "tokenizer_sha256": tokenizer_sha256, "frame_s": frame_s}
    about["utterances"] = rows
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        tensors = {"labels": np.concatenate(labels), "log_probs": np.concatenate(log_probs)}
        save_file(tensors, str(temporary), {"about": json.dumps(about)})
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def imitation(log_probs: Tensor, soft: Soft) -> Tensor:
    """Return how far a student is from its teacher: KL(teacher || student) over the teacher's best labels.

    Frame by frame (Hinton et al., 2015), so both must stand on one frame grid: then the student also takes over where
    the teacher puts each label, which CTC alone leaves open.

    Args:
        log_probs: `(B, T, V)` of the student.
        soft: `(B, T', K)`; T and T' may differ by rounding, the shorter counts.

    Returns:
        Scalar: summed over the frames of the batch that have targets.
    """
    n_frames = min(log_probs.shape[1], soft.labels.shape[1])
    labels, probs = soft.labels[:, :n_frames], soft.probs[:, :n_frames]
    own = log_probs[:, :n_frames].gather(2, labels)
    distance: Tensor = (torch.special.xlogy(probs, probs) - probs * own).sum()
    return distance
