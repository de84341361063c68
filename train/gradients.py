"""The gradients of a batch: of all of it at once or, where that does not fit the memory, piece by piece."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from silero_like.errors import ConfigError
from train.batches import Batch
from train.objective import Learned, Objective


def add_gradients(
    objective: Objective, scaler: torch.amp.GradScaler, batch: Batch, device: torch.device, seed: tuple[int, int, int]
) -> tuple[Learned, bool]:
    """Add a batch's gradients to those of the parameters; return what it showed, and whether it had to be cut.

    A batch that does not fit the GPU's memory is halved as often as it takes.

    Args:
        objective: the loss; the gradients are those of its model.
        scaler: multiplies the loss under fp16.
        batch: of any size.
        device: where it is to be read.
        seed: of dropout and SpecAugment's masks: seed of the run, step, rank.

    Raises:
        ConfigError: one utterance alone does not fit.
    """
    pieces = [batch]
    while True:
        torch.manual_seed(hash(seed) % 2**63)  # dropout: a function of the step
        generator = np.random.default_rng(seed)
        try:
            learned = []
            for piece in pieces:
                part = objective(piece.to(device), generator)
                share = piece.n_labels / max(1, batch.n_labels)
                loss = part.loss * share if share != 1 else part.loss
                scaler.scale(loss).backward()
                learned.append(part._replace(loss=loss.detach()))
            return _joined(learned), len(pieces) > 1
        except torch.OutOfMemoryError as error:
            objective.zero_grad()
            if all(len(piece.lengths) == 1 for piece in pieces):
                longest_s = max(piece.audio_s for piece in pieces)
                raise ConfigError(
                    f"one utterance of {longest_s:.1f} s does not fit the memory: lower data.max_duration_s, or take "
                    "a smaller model.preset"
                ) from error
        if device.type == "cuda":
            torch.cuda.empty_cache()
        pieces = [half for piece in pieces for half in piece.halves()]


def _joined(parts: list[Learned]) -> Learned:
    """Put the pieces of a batch together again."""
    if len(parts) == 1:
        return parts[0]
    n_frames = max(part.labels.shape[1] for part in parts)
    labels = [nn.functional.pad(part.labels, (0, n_frames - part.labels.shape[1])) for part in parts]
    loss = torch.stack([part.loss for part in parts]).sum()
    return Learned(loss, torch.cat(labels), torch.cat([part.lengths for part in parts]))
