"""From utterances to padded batches, prepared ahead of the training step by threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch

from data.augment import Augmentation, EffectsBank, augment_waveform, change_speed
from data.manifest import Utterance
from data.store import AudioStore
from silero_like.audio import SAMPLE_RATE
from train.sampler import Draw
from train.shapes import padded_samples
from train.targets import Soft, SoftTargets, pad_soft

Task = TypeVar("Task")
Loaded = TypeVar("Loaded")


@dataclass(frozen=True)
class Example:
    """A training utterance with its labels."""

    utterance: Utterance
    text: str
    """Normalised."""
    token_ids: tuple[int, ...]
    is_replay: bool = False
    """Whether it comes from an old domain that fine-tuning replays."""

    @property
    def domain(self) -> str:
        """What it is drawn by: its domain; replayed ones are told apart."""
        return f"{self.utterance.domain} (replay)" if self.is_replay else self.utterance.domain


@dataclass(frozen=True)
class Batch:
    """A zero-padded batch."""

    waveform: torch.Tensor
    """float32 `(B, N)`."""
    lengths: torch.Tensor
    """int64 `(B,)`, samples."""
    labels: torch.Tensor
    """int64 `(sum L,)`, concatenated."""
    label_lengths: torch.Tensor
    """int64 `(B,)`."""
    indices: tuple[int, ...]
    """Positions of the utterances in the training set; empty when nothing could be read."""
    audio_s: float
    """Seconds of audio, padding not counted."""
    n_labels: int
    """sum L."""
    soft: Soft | None = None
    """A teacher's word on every frame, `(B, T, K)`, when one is imitated."""

    def to(self, device: torch.device) -> Batch:
        """Return the batch with its tensors on `device`."""
        if device.type == "cpu":
            return self
        return replace(
            self,
            waveform=self.waveform.to(device, non_blocking=True),
            lengths=self.lengths.to(device, non_blocking=True),
            labels=self.labels.to(device, non_blocking=True),
            label_lengths=self.label_lengths.to(device, non_blocking=True),
            soft=self.soft and Soft(*(part.to(device, non_blocking=True) for part in self.soft)),
        )

    def halves(self) -> tuple[Batch, ...]:
        """Cut the batch in two, for when it does not fit the memory; a single utterance stays whole."""
        if len(self.lengths) == 1:
            return (self,)
        middle, cut = len(self.lengths) // 2, int(self.label_lengths[: len(self.lengths) // 2].sum())
        return self._part(slice(None, middle), slice(None, cut)), self._part(slice(middle, None), slice(cut, None))

    def _part(self, rows: slice, labels: slice) -> Batch:
        lengths = self.lengths[rows]
        waveform = self.waveform[rows, : int(lengths.max())]
        samples, token_ids = int(lengths.sum()), self.labels[labels]
        return Batch(
            waveform, lengths, token_ids, self.label_lengths[rows], self.indices[rows],
            samples / SAMPLE_RATE, len(token_ids), self.soft and Soft(self.soft.labels[rows], self.soft.probs[rows]),
        )  # fmt: skip


def collate(
    waveforms: Sequence[npt.NDArray[np.float32]], labels: Sequence[Sequence[int]], indices: Sequence[int]
) -> Batch:
    """Pad float32 `(N,)` waveforms with zeros into one batch of a common shape (train/shapes.py)."""
    lengths = [len(waveform) for waveform in waveforms]
    padded = np.zeros((len(waveforms), padded_samples(max(lengths, default=0))), np.float32)
    for row, waveform in enumerate(waveforms):
        padded[row, : len(waveform)] = waveform
    flat = [token for row in labels for token in row]
    return Batch(
        waveform=torch.from_numpy(padded),
        lengths=torch.tensor(lengths, dtype=torch.int64),
        labels=torch.tensor(flat, dtype=torch.int64),
        label_lengths=torch.tensor([len(row) for row in labels], dtype=torch.int64),
        indices=tuple(indices),
        audio_s=sum(lengths) / SAMPLE_RATE,
        n_labels=len(flat),
    )


def make_batch(
    draws: Sequence[Draw],
    examples: Sequence[Example],
    store: AudioStore,
    augmentation: Augmentation,
    bank: EffectsBank | None,
    seed: tuple[int, ...],
    targets: SoftTargets | None = None,
) -> Batch:
    """Load and augment the utterances of a batch; unreadable ones are left out and counted.

    A batch of which nothing can be read becomes a moment of silence without labels, so that the other ranks of a run,
    which step together, are not kept waiting.
    """
    generator = np.random.default_rng(seed)
    waveforms, labels, indices, soft = [], [], [], []
    for draw in draws:
        example = examples[draw.index]
        waveform = store.load(draw.index, example.utterance)
        if waveform is None:
            continue
        waveform = change_speed(waveform, draw.speed, SAMPLE_RATE)
        waveforms.append(augment_waveform(waveform, augmentation, bank, generator))
        labels.append(example.token_ids)
        indices.append(draw.index)
        soft.append(targets.find(example.utterance, draw.speed) if targets else None)
    if not waveforms:
        return collate([np.zeros(SAMPLE_RATE // 10, np.float32)], [()], [])
    return replace(collate(waveforms, labels, indices), soft=pad_soft(soft))


def load_ahead(tasks: Iterable[Task], load: Callable[[Task], Loaded], *, depth: int, workers: int) -> Iterator[Loaded]:
    """Yield `load(task)` of every task in order, worked on by threads that stay up to `depth` tasks ahead."""
    pool = ThreadPoolExecutor(workers, thread_name_prefix="batch-loader")
    pending: deque[Future[Loaded]] = deque()
    try:
        for task in tasks:
            pending.append(pool.submit(load, task))
            if len(pending) > depth:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
