"""The training objective: from a padded batch to a loss and to what the model reads in it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from data.augment import Augmentation, spec_augment
from silero_like.model.encoder import ModelOutput, Recognizer
from train.batches import Batch

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
        self, model: Recognizer, *, inner_weight: float, precision: str, augmentation: Augmentation, compiled: bool
    ) -> None:
        super().__init__()
        self.model = model
        self.encode = torch.compile(model.encode, dynamic=True) if compiled else model.encode
        self.inner_weight = inner_weight
        self.dtype = PRECISIONS[precision]
        self.augmentation = augmentation

    def forward(self, batch: Batch, generator: np.random.Generator) -> Learned:
        """Return loss and greedy path of a batch; `generator` draws the masks of SpecAugment."""
        output = self._encode(batch, generator)
        loss = self._ctc(output.log_probs, output.lengths, batch)
        if output.inner_log_probs is not None and self.inner_weight:
            inner = self._ctc(output.inner_log_probs, output.lengths, batch)
            loss = (1 - self.inner_weight) * loss + self.inner_weight * inner
        return Learned(loss / max(1, batch.n_labels), output.log_probs.detach().argmax(-1), output.lengths)

    def _encode(self, batch: Batch, generator: np.random.Generator) -> ModelOutput:
        with torch.no_grad():
            bf16 = self.dtype == torch.bfloat16
            features, n_frames = self.model.frontend(batch.waveform, batch.lengths, bf16=bf16)
            features = spec_augment(features, n_frames.cpu().numpy(), self.augmentation, generator)
        with torch.autocast(features.device.type, dtype=self.dtype, enabled=self.dtype != torch.float32):
            output: ModelOutput = self.encode(features, n_frames)
        return output

    def _ctc(self, log_probs: Tensor, lengths: Tensor, batch: Batch) -> Tensor:
        return nn.functional.ctc_loss(
            log_probs.transpose(0, 1),
            batch.labels,
            lengths,
            batch.label_lengths,
            blank=self.model.config.n_labels - 1,
            reduction="sum",
            zero_infinity=True,
        )
