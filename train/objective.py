"""The training objective: one module from a padded batch to a loss, so that DistributedDataParallel can wrap it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from data.augment import spec_augment
from silero_like.model.encoder import ModelOutput, Recognizer
from train.batches import Batch
from train.config import AugmentConfig

PRECISIONS = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


class Objective(nn.Module):
    """CTC loss of the output and, with a smaller weight, of the inner head, per label."""

    def __init__(self, model: Recognizer, *, inner_weight: float, precision: str, augment: AugmentConfig) -> None:
        super().__init__()
        self.model = model
        self.inner_weight = inner_weight
        self.dtype = PRECISIONS[precision]
        self.augment = augment

    def forward(self, batch: Batch, generator: np.random.Generator) -> Tensor:
        """Return the loss, a scalar: sum of -log p(labels | audio) over the batch divided by its number of labels."""
        output = self._encode(batch, generator)
        loss = self._ctc(output.log_probs, output.lengths, batch)
        if output.inner_log_probs is not None:
            inner = self._ctc(output.inner_log_probs, output.lengths, batch)
            loss = (1 - self.inner_weight) * loss + self.inner_weight * inner
        return loss / max(1, int(batch.label_lengths.sum()))

    def _encode(self, batch: Batch, generator: np.random.Generator) -> ModelOutput:
        with torch.no_grad():
            features, n_frames = self.model.frontend(
                batch.waveform, batch.lengths, bf16=self.dtype == torch.bfloat16
            )
            features = spec_augment(
                features,
                n_frames.cpu().numpy(),
                frequency_masks=self.augment.frequency_masks,
                frequency_mask_bins=self.augment.frequency_mask_bins,
                time_masks_per_s=self.augment.time_masks_per_s,
                time_mask_frames=self.augment.time_mask_frames,
                generator=generator,
            )
        device = features.device.type
        with torch.autocast(device, dtype=self.dtype, enabled=self.dtype != torch.float32):
            return self.model.encode(features, n_frames)

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
