"""From manifests to padded batches, prepared ahead of the training step by a thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from data.augment import change_speed, random_gain
from data.manifest import Utterance
from silero_like.audio import SAMPLE_RATE, load_audio
from silero_like.errors import AudioError
from train.config import AugmentConfig
from train.sampler import Draw


@dataclass(frozen=True)
class Example:
    """A training utterance with its labels."""

    utterance: Utterance
    token_ids: tuple[int, ...]


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
    """Positions of the utterances in the training set."""

    def to(self, device: torch.device) -> Batch:
        """Return the batch with its tensors on `device`."""
        return Batch(
            self.waveform.to(device),
            self.lengths.to(device),
            self.labels.to(device),
            self.label_lengths.to(device),
            self.indices,
        )

    @property
    def audio_s(self) -> float:
        """Seconds of audio, padding not counted."""
        return int(self.lengths.sum()) / SAMPLE_RATE


@dataclass
class AudioCache:
    """Decoded audio in memory as int16, up to a bound; what does not fit is decoded each time."""

    max_bytes: int
    stored: dict[int, npt.NDArray[np.int16]] = field(default_factory=dict)
    n_bytes: int = 0
    unreadable: dict[int, str] = field(default_factory=dict)

    def load(self, index: int, utterance: Utterance) -> npt.NDArray[np.float32] | None:
        """Return float32 `(N,)`, or None (counted in `unreadable`) when the audio cannot be read."""
        if index in self.stored:
            return _to_float(self.stored[index])
        if index in self.unreadable:
            return None
        try:
            waveform = load_audio(utterance.audio_path, offset_s=utterance.offset_s, duration_s=utterance.duration_s)
        except AudioError as error:
            self.unreadable[index] = str(error)
            return None
        quantized = np.clip(np.rint(waveform * 32768), -32768, 32767).astype(np.int16)
        if self.n_bytes + quantized.nbytes <= self.max_bytes:
            self.stored[index] = quantized
            self.n_bytes += quantized.nbytes
        return _to_float(quantized)


def collate(
    waveforms: Sequence[npt.NDArray[np.float32]], labels: Sequence[Sequence[int]], indices: Sequence[int]
) -> Batch:
    """Pad float32 `(N,)` waveforms with zeros into one batch."""
    lengths = torch.tensor([len(w) for w in waveforms], dtype=torch.int64)
    padded = np.zeros((len(waveforms), max((len(w) for w in waveforms), default=0)), np.float32)
    for row, waveform in enumerate(waveforms):
        padded[row, : len(waveform)] = waveform
    flat = torch.tensor([token for row in labels for token in row], dtype=torch.int64)
    label_lengths = torch.tensor([len(row) for row in labels], dtype=torch.int64)
    return Batch(torch.from_numpy(padded), lengths, flat, label_lengths, tuple(indices))


def make_batch(
    draws: Sequence[Draw], examples: Sequence[Example], cache: AudioCache, augment: AugmentConfig, seed: tuple[int, ...]
) -> Batch:
    """Load, speed-perturb and scale the utterances of a batch; unreadable ones are left out and counted.

    A batch of which nothing can be read becomes a moment of silence without labels, so that the other ranks of a run,
    which step together, are not kept waiting.
    """
    generator = np.random.default_rng(seed)
    waveforms, labels, indices = [], [], []
    for draw in draws:
        example = examples[draw.index]
        waveform = cache.load(draw.index, example.utterance)
        if waveform is None:
            continue
        waveform = random_gain(change_speed(waveform, draw.speed, SAMPLE_RATE), augment.gain_db, generator)
        waveforms.append(waveform)
        labels.append(example.token_ids)
        indices.append(draw.index)
    if not waveforms:
        return collate([np.zeros(SAMPLE_RATE // 10, np.float32)], [()], [])
    return collate(waveforms, labels, indices)


def prefetch(batches: Iterator[Batch], depth: int) -> Iterator[Batch]:
    """Run an iterator of batches in a thread that stays `depth` batches ahead; its errors are raised here."""
    ready: queue.Queue[Batch | BaseException | None] = queue.Queue(maxsize=depth)
    stop = threading.Event()

    def put(item: Batch | BaseException | None) -> bool:
        while not stop.is_set():
            try:
                ready.put(item, timeout=0.2)
            except queue.Full:
                continue
            return True
        return False

    def work() -> None:
        try:
            for batch in batches:
                if not put(batch):
                    return
            put(None)
        except BaseException as error:  # noqa: BLE001 - handed to the training thread, which raises it
            put(error)

    thread = threading.Thread(target=work, daemon=True, name="batch-loader")
    thread.start()
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stop.set()
        thread.join(timeout=10)


def _to_float(quantized: npt.NDArray[np.int16]) -> npt.NDArray[np.float32]:
    return quantized.astype(np.float32) / np.float32(32768)
