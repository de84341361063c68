"""The training objective: from a padded batch to a loss and to what the model reads in it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from data.augment import Augmentation, spec_augment
from silero_like.errors import ConfigError
from silero_like.model.encoder import ModelOutput, Recognizer
from train.batches import Batch
from train.targets import Soft, imitation

PRECISIONS = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


class Learned(NamedTuple):
    """What one pass over a batch gives."""

    loss: Tensor
    """Scalar: -log p(labels | audio), summed over the batch and divided by its number of labels."""
    labels: Tensor
    """int64 `(B, T)`: best label of every frame, the greedy path."""
    lengths: Tensor
    """int64 `(B,)`: valid frames."""


class Objective(nn.Module):
    """CTC loss of the output and, with a smaller weight, of the inner head."""

    def __init__(
        self,
        model: Recognizer,
        *,
        inner_weight: float,
        precision: str,
        augmentation: Augmentation,
        compiled: bool,
        consistency_weight: float = 0.0,
        distill_weight: float = 0.0,
    ) -> None:
        super().__init__()
        if compiled and next(model.parameters()).device.type == "cpu":
            raise ConfigError(  # PyTorch 2.13 fails on its convolutions when the length of a batch changes
                "loop.compile works on a GPU only: set loop.compile=false"
            )
        self.model = model
        self.encode = torch.compile(model.encode, dynamic=True) if compiled else model.encode
        self.inner_weight, self.consistency_weight = inner_weight, consistency_weight
        self.distill_weight = distill_weight
        self.dtype = PRECISIONS[precision]
        self.augmentation = augmentation

    def forward(self, batch: Batch, generator: np.random.Generator) -> Learned:
        """Return loss and greedy path of a batch; `generator` draws the masks of SpecAugment."""
        copies = 2 if self.consistency_weight else 1
        output = self._encode(batch, copies, generator)
        loss = self._ctc(output.log_probs, output.lengths, batch, copies)
        if output.inner_log_probs is not None and self.inner_weight:
            inner = self._ctc(output.inner_log_probs, output.lengths, batch, copies)
            loss = (1 - self.inner_weight) * loss + self.inner_weight * inner
        if self.consistency_weight:
            loss = loss + self.consistency_weight * disagreement(output.log_probs, output.lengths)
        if batch.soft:
            loss = (1 - self.distill_weight) * loss + self.distill_weight * self._imitation(output, batch.soft, copies)
        rows = len(batch.lengths)  # of the first copy
        labels = output.log_probs[:rows].detach().argmax(-1)
        return Learned(loss / max(1, batch.n_labels), labels, output.lengths[:rows])

    def _imitation(self, output: ModelOutput, soft: Soft, copies: int) -> Tensor:
        """Return the distance from the teacher, of the output and, with its share, of the inner head."""
        soft = Soft(soft.labels.repeat(copies, 1, 1), soft.probs.repeat(copies, 1, 1))
        loss = imitation(output.log_probs, soft)
        if output.inner_log_probs is not None and self.inner_weight:
            inner = imitation(output.inner_log_probs, soft)
            loss = (1 - self.inner_weight) * loss + self.inner_weight * inner
        return loss / copies

    def _encode(self, batch: Batch, copies: int, generator: np.random.Generator) -> ModelOutput:
        """Return log-probs of all copies, `(copies * B, T, n_labels)`; each is masked in its own way."""
        with torch.no_grad():
            bf16 = self.dtype == torch.bfloat16
            features, n_frames = self.model.frontend(batch.waveform, batch.lengths, bf16=bf16)
            features, n_frames = features.repeat(copies, 1, 1), n_frames.repeat(copies)
            features = spec_augment(features, n_frames.cpu().numpy(), self.augmentation, generator)
        with torch.autocast(features.device.type, dtype=self.dtype, enabled=self.dtype != torch.float32):
            output: ModelOutput = self.encode(features, n_frames)
        return output

    def _ctc(self, log_probs: Tensor, lengths: Tensor, batch: Batch, copies: int) -> Tensor:
        loss = nn.functional.ctc_loss(
            log_probs.transpose(0, 1),
            batch.labels.repeat(copies),
            lengths,
            batch.label_lengths.repeat(copies),
            blank=self.model.config.n_labels - 1,
            reduction="sum",
            zero_infinity=True,
        )
        return loss / copies


def disagreement(log_probs: Tensor, lengths: Tensor) -> Tensor:
    """Return how differently two copies of a batch are read: the consistency term of CR-CTC (Yao et al., 2025).

    Args:
        log_probs: `(2 B, T, n_labels)`, the copies one after the other.
        lengths: `(2 B,)` valid frames.

    Returns:
        Scalar: mean of KL(first || second) and KL(second || first), each with a fixed first argument, summed over the
        valid frames of the batch.
    """
    first, second = log_probs.chunk(2)
    valid = torch.arange(first.shape[1], device=lengths.device) < lengths[: len(first), None]
    fixed = torch.cat([first, second]).detach()
    divergence = (fixed.exp() * (fixed - torch.cat([second, first]))).sum(-1)
    return 0.5 * (divergence * valid.repeat(2, 1)).sum()
