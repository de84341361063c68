"""Memory of a training process."""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from silero_like.model.config import SAMPLE_RATE
from silero_like.model.encoder import Recognizer
from train.batches import Batch, collate
from train.objective import Objective
from train.shapes import padded_samples

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3  # glibc's malloc.h
LARGE = 1 << 30
CUDA_CONTEXT = 700_000_000
CARD = 11e9  # bytes of the cards that the recipes are made for
SHORT_LIVED = 0.1  # tensors that live only within a layer, as a share of the activations
MADE_UP_S = padded_samples(5 * SAMPLE_RATE) / SAMPLE_RATE


def keep_freed_memory() -> bool:
    """Tell glibc to keep freed memory for the next allocation; return whether it is glibc and agreed.

    By default glibc gives every freed tensor of more than a few MB back to the kernel, and each training step faults
    the same pages in again, which took a third of a step on a small machine. The process stays at its peak size.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return all(mallopt(name, LARGE) == 1 for name in (M_MMAP_THRESHOLD, M_TRIM_THRESHOLD))


@dataclass(frozen=True)
class MemoryEstimate:
    """What a training step needs on a GPU."""

    state: int
    """Bytes of weights, averaged weights, gradients and two moments of AdamW in float32, and of copies in 16 bits."""
    per_second: float
    """Bytes that the backward pass reads, for each second of the padded batch."""
    batch_s: float
    """Seconds of audio in the padded batch."""

    @property
    def activations(self) -> float:
        """Bytes that the backward pass of a full batch reads."""
        return self.per_second * self.batch_s

    @property
    def overhead(self) -> float:
        """Bytes of the CUDA context and its libraries, roughly, and of short-lived tensors."""
        return CUDA_CONTEXT + SHORT_LIVED * self.activations

    @property
    def total(self) -> float:
        """All of it."""
        return self.state + self.activations + self.overhead

    def largest_batch_s(self, memory: float) -> float:
        """Return the seconds of audio in a batch that fill `memory` bytes; 0 when the weights alone do."""
        return max(0.0, (memory - self.state - CUDA_CONTEXT) / (self.per_second * (1 + SHORT_LIVED)))

    def __str__(self) -> str:
        parts = ", ".join(f"{name} {getattr(self, name) / 1e9:.2f}" for name in ("state", "activations", "overhead"))
        return (
            f"about {self.total / 1e9:.1f} GB a process on a GPU ({parts}); {CARD / 1e9:.0f} GB hold a loop.batch_s of "
            f"{self.largest_batch_s(CARD):.0f}"
        )


def estimate_memory(objective: Objective, batch_s: float) -> MemoryEstimate:
    """Estimate the memory of a training step from two passes over a few made-up seconds.

    What autograd keeps for the backward pass is counted, storage by storage. The part that grows with the batch is
    scaled to `batch_s`; the rest, such as the copies of the weights that autocast makes, is counted once.
    """
    small, large = 2, 4
    less, more = (_kept_bytes(objective, n_utterances) for n_utterances in (small, large))
    per_second = (more - less) / (large - small) / MADE_UP_S
    fixed = round(less - per_second * small * MADE_UP_S)
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in objective.parameters()]
    state = sum(20 * size if learns else 8 * size for size, learns in sizes)
    return MemoryEstimate(state + fixed, per_second, batch_s)


def _kept_bytes(objective: Objective, n_utterances: int) -> int:
    """Return the bytes that autograd keeps for the backward pass of a made-up batch, parameters not counted."""
    batch = made_up_batch(objective.model, n_utterances=n_utterances, duration_s=MADE_UP_S)
    own = {value.untyped_storage().data_ptr() for value in (*objective.parameters(), *objective.buffers())}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    device = next(objective.parameters()).device
    with torch.random.fork_rng(devices=[]), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        learned = objective(batch.to(device), np.random.default_rng(0))  # `learned` keeps the storages apart
    total = sum(kept.values())
    del learned
    return total


def made_up_batch(model: Recognizer, *, n_utterances: int, duration_s: float) -> Batch:
    """Return noise with made-up labels, for dry runs and estimates."""
    generator = np.random.default_rng(0)
    waveforms = 0.1 * generator.standard_normal((n_utterances, int(duration_s * SAMPLE_RATE))).astype(np.float32)
    labels = generator.integers(0, model.config.n_labels - 1, size=(n_utterances, max(1, int(2 * duration_s))))
    return collate(list(waveforms), labels.tolist(), range(n_utterances))
