"""Audio for training: plain WAV files, as in packs, are memory-mapped; all else is decoded and cached up to a bound."""

from __future__ import annotations

import os
import struct
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from data.manifest import Utterance
from silero_like.audio import SAMPLE_RATE, load_audio
from silero_like.errors import AudioError

Samples = npt.NDArray[np.int16]
Waveform = npt.NDArray[np.float32]

HEADER_BYTES = 44
MAX_MAPS = 256
"""Files mapped at a time: each keeps a file descriptor open, and 1,024 of those is a common limit."""

_HEADER = struct.Struct("<4sI4s4sIHHIIHH4sI")
_STREAMED_BYTES = 0x7FFFF000  # programs that write to a pipe claim this much or more: such a length says nothing


def wav_header(n_samples: int) -> bytes:
    """Return the header of a plain WAV file: 16 kHz, mono, 16 bits, nothing before the samples but these 44 bytes."""
    n_bytes = 2 * n_samples
    about = (b"fmt ", 16, 1, 1, SAMPLE_RATE, 2 * SAMPLE_RATE, 2, 16)  # 1: PCM, 1: mono, 2: bytes a sample
    return _HEADER.pack(b"RIFF", HEADER_BYTES - 8 + n_bytes, b"WAVE", *about, b"data", n_bytes)


def decode(utterance: Utterance) -> Samples:
    """Decode an utterance to int16 `(N,)`, N at least 1, at 16 kHz.

    Raises:
        AudioError: unreadable, or the recording ends before the utterance begins.
        MissingExtraError: as `load_audio`.
    """
    path = utterance.audio_path
    waveform = load_audio(path, offset_s=utterance.offset_s, duration_s=utterance.duration_s)
    return _not_empty(np.clip(np.rint(waveform * 32768), -32768, 32767).astype(np.int16), utterance)


@dataclass
class AudioStore:
    """Reads utterances as float32 waveforms; several threads may call `load` at once.

    A plain WAV file (see `wav_header`) is mapped into memory and read without decoding or caching. Other audio is
    decoded and kept as int16 up to `max_bytes`; what does not fit is decoded each time.
    """

    max_bytes: int
    stored: dict[int, Samples] = field(default_factory=dict)
    n_bytes: int = 0
    unreadable: dict[int, str] = field(default_factory=dict)
    """Index of an utterance -> why it cannot be read."""
    _maps: OrderedDict[Path, tuple[tuple[int, ...], Samples]] = field(default_factory=OrderedDict, repr=False)
    _coded: set[Path] = field(default_factory=set, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def load(self, index: int, utterance: Utterance) -> Waveform | None:
        """Return float32 `(N,)`, or None (told in `unreadable`) when the audio cannot be read."""
        if index in self.unreadable:
            return None
        try:
            samples = self._samples(index, utterance)
        except AudioError as error:
            with self._lock:
                self.unreadable[index] = str(error)
            return None
        return np.multiply(samples, np.float32(1 / 32768), dtype=np.float32)

    def _samples(self, index: int, utterance: Utterance) -> Samples:
        if (known := self.stored.get(index)) is not None:
            return known
        if (mapped := self._mapped(utterance.audio_path)) is not None:
            start = round(utterance.offset_s * SAMPLE_RATE)
            return _not_empty(mapped[start : start + round(utterance.duration_s * SAMPLE_RATE)], utterance)
        samples = decode(utterance)
        with self._lock:
            if index not in self.stored and self.n_bytes + samples.nbytes <= self.max_bytes:
                self.stored[index] = samples
                self.n_bytes += samples.nbytes
        return samples

    def _mapped(self, path: Path) -> Samples | None:
        """Return all samples of a plain WAV file, None for any other file.

        Memory mapped from a file that has shrunk since kills the process when it is touched, so each call asks for the
        file's size, and a file that has changed is looked at anew.
        """
        if path in self._coded:
            return None
        try:
            stat = os.stat(path)
        except OSError:
            return None  # decoding says what is wrong
        version = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
        with self._lock:
            if path in self._maps and self._maps[path][0] == version:
                self._maps.move_to_end(path)
                return self._maps[path][1]
        samples = _map_wav(path)
        with self._lock:
            if samples is None:
                self._coded.add(path)
                return None
            self._maps[path] = version, samples
            self._maps.move_to_end(path)
            if len(self._maps) > MAX_MAPS:
                self._maps.popitem(last=False)
        return samples


def _map_wav(path: Path) -> Samples | None:
    """Map the samples of a plain WAV file; None for any other.

    Raises:
        AudioError: the file is shorter than its header says.
    """
    plain = wav_header(0)
    try:
        with path.open("rb") as file:
            header = file.read(HEADER_BYTES)
            n_bytes = int.from_bytes(header[40:], "little")
            if header[:4] + header[8:40] != plain[:4] + plain[8:40] or not 0 < n_bytes < _STREAMED_BYTES:
                return None
            size = os.fstat(file.fileno()).st_size
            if size < HEADER_BYTES + n_bytes:
                raise AudioError(
                    f"{path}: truncated: {size} bytes, its header says {HEADER_BYTES + n_bytes}: get a whole copy, or "
                    "pack it again"
                )
            return np.asarray(np.memmap(file, "<i2", "r", HEADER_BYTES, shape=(n_bytes // 2,)))
    except OSError:
        return None  # decoding says what is wrong


def _not_empty(samples: Samples, utterance: Utterance) -> Samples:
    if not len(samples):
        raise AudioError(
            f"{utterance.audio_path}: no audio from {utterance.offset_s} s on: expected {utterance.duration_s} s; "
            "is it the recording that the manifest means?"
        )
    return samples
