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

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3  # glibc's malloc.h
LARGE = 1 << 30
CUDA_CONTEXT = 700_000_000


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
    """What a training step needs, in bytes."""

    state: int
    """Weights, averaged weights, gradients and two moments of AdamW, all float32."""
    activations: int
    """What the backward pass of a full batch reads."""
    overhead: int
    """What the CUDA context and libraries take, roughly, and short-lived tensors."""

    @property
    def total(self) -> int:
        """All of it."""
        return self.state + self.activations + self.overhead

    def __str__(self) -> str:
        parts = ", ".join(f"{name} {getattr(self, name) / 1e9:.2f}" for name in ("state", "activations", "overhead"))
        return f"about {self.total / 1e9:.1f} GB a process on a GPU ({parts})"


def estimate_memory(objective: Objective, batch_s: float) -> MemoryEstimate:
    """Estimate the memory of a training step from one pass over a few made-up seconds.

    What autograd keeps for the backward pass is counted, storage by storage, and scaled to `batch_s`: every layer's
    part grows linearly with the length of the batch.
    """
    batch = made_up_batch(objective.model, n_utterances=2, duration_s=5.0)
    kept: dict[int, int] = {}
    own = {parameter.untyped_storage().data_ptr() for parameter in objective.parameters()}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    device = next(objective.parameters()).device
    with torch.random.fork_rng(devices=[]), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        learned = objective(batch.to(device), np.random.default_rng(0))  # `learned` keeps the storages apart
    activations = int(sum(kept.values()) / batch.audio_s * batch_s)
    del learned
    n_parameters = sum(parameter.numel() for parameter in objective.parameters())
    return MemoryEstimate(20 * n_parameters, activations, CUDA_CONTEXT + activations // 10)


def made_up_batch(model: Recognizer, *, n_utterances: int, duration_s: float) -> Batch:
    """Return noise with made-up labels, for dry runs and estimates."""
    generator = np.random.default_rng(0)
    waveforms = 0.1 * generator.standard_normal((n_utterances, int(duration_s * SAMPLE_RATE))).astype(np.float32)
    labels = generator.integers(0, model.config.n_labels - 1, size=(n_utterances, max(1, int(2 * duration_s))))
    return collate(list(waveforms), labels.tolist(), range(n_utterances))
