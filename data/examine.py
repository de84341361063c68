"""Decode an utterance once and keep what it shows: measures, a hash of its samples, a fingerprint."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from data.manifest import Utterance
from data.measures import Measures, Waveform, fingerprint, measure
from data.text import NORMALIZERS
from decode.words import HAN_CHARACTER
from silero_like.audio import SAMPLE_RATE, load_audio
from silero_like.errors import SileroLikeError

VERSION = 1
"""Of what is measured: raised whenever anything comes out differently, so that what a cache holds is measured again."""
BEYOND_S = 1.0
"""Read past the declared end, to see whether the recording goes on."""
ROUNDING_S = 0.05
"""A recording that ends this soon after its declared end ends there: durations are often rounded."""
LETTERS_A_HAN_CHARACTER = 3
"""A syllable's: so that one limit serves all scripts."""


@dataclass(frozen=True, kw_only=True)
class Examined:
    """What an utterance's audio shows."""

    measures: Measures
    """Of the samples between offset and declared end."""
    found_s: float
    """Audio there is from the offset on, in seconds; at most `BEYOND_S` past the declared end is looked at."""
    sha256: str
    """Hash of the decoded samples, at 16 kHz and 16 bits, in hex."""
    fingerprint: str
    """`data.measures.fingerprint` in hex."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A row of a manifest beside what its audio shows."""

    manifest: Path
    """The manifest."""
    line: int
    """Its line there, from 1."""
    utterance: Utterance
    """What the row says."""
    examined: Examined | None = None
    """None when the audio cannot be read."""
    problem: str = ""
    """Why not."""

    @property
    def where(self) -> str:
        """The row's name, ``path:line``."""
        return f"{self.manifest}:{self.line}"

    @property
    def duration_s(self) -> float:
        """Length of the audio in seconds; the declared one where it cannot be read."""
        return self.examined.measures.duration_s if self.examined else self.utterance.duration_s

    @cached_property
    def text(self) -> str:
        """The text as a model would learn it, where its language has a normaliser; else lower-cased."""
        normalizer = NORMALIZERS.get(self.utterance.lang.partition("-")[0].lower())
        return normalizer(self.utterance.text) if normalizer else " ".join(self.utterance.text.casefold().split())

    @cached_property
    def n_chars(self) -> int:
        """Characters of the text, without spaces."""
        return len(self.text) - self.text.count(" ")

    @property
    def chars_per_s(self) -> float:
        """Characters a second."""
        return self.n_chars / self.duration_s

    @cached_property
    def n_letters(self) -> int:
        """Characters of the text, a Han character counted as three."""
        return self.n_chars + (LETTERS_A_HAN_CHARACTER - 1) * len(HAN_CHARACTER.findall(self.text))

    @property
    def letters_per_s(self) -> float:
        """Letters a second, as `n_letters` counts them."""
        return self.n_letters / self.duration_s


def examine(utterance: Utterance) -> Examined:
    """Decode an utterance and look at it.

    Raises:
        SileroLikeError: the audio cannot be read, or there is none from the offset on.
    """
    waveform, found_s = _read(utterance)
    return Examined(
        measures=measure(waveform, SAMPLE_RATE),
        found_s=found_s,
        sha256=_hash_samples(waveform),
        fingerprint=fingerprint(waveform, SAMPLE_RATE).tobytes().hex(),
    )


def read_waveform(utterance: Utterance) -> Waveform:
    """Decode an utterance, float32 `(N,)`, N at least 1, at 16 kHz; errors are those of `examine`."""
    return _read(utterance)[0]


def fingerprint_of(examined: Examined) -> npt.NDArray[np.int8]:
    """Return the fingerprint as int8 `(64,)`."""
    return np.frombuffer(bytes.fromhex(examined.fingerprint), np.int8)


def _read(utterance: Utterance) -> tuple[Waveform, float]:
    """Return an utterance's samples, and the seconds there are from its offset on."""
    wanted_s = utterance.duration_s + BEYOND_S
    waveform = load_audio(utterance.audio_path, offset_s=utterance.offset_s, duration_s=wanted_s)
    if not len(waveform):
        raise SileroLikeError(
            f"{utterance.audio_path}: no audio from {utterance.offset_s} s on: expected {utterance.duration_s} s; "
            "is it the recording that the manifest means?"
        )
    found_s = len(waveform) / SAMPLE_RATE
    if found_s > utterance.duration_s + ROUNDING_S:
        waveform = waveform[: max(1, round(utterance.duration_s * SAMPLE_RATE))]
    return waveform, found_s


def _hash_samples(waveform: Waveform) -> str:
    samples = np.clip(np.rint(waveform * 32768), -32768, 32767).astype("<i2")
    return hashlib.sha256(samples.tobytes()).hexdigest()
