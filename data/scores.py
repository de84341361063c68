"""What a recogniser makes of utterances, and how well a text fits them: the figures that cleaning and labelling use."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from data.manifest import Utterance
from data.text import Normalizer, get_normalizer
from decode.greedy import greedy_decode
from decode.likelihood import log_likelihood
from decode.words import split_words
from silero_like.audio import SAMPLE_RATE, load_audio
from silero_like.batching import batches_by_length
from silero_like.errors import AudioError
from silero_like.evaluation.edits import edit_distance
from silero_like.evaluation.scoring import LANGS_WITHOUT_SPACES
from silero_like.recognizer import Recognizer

Array = npt.NDArray[np.float32]

SCORES_VERSION = 1
"""Raised whenever the figures come out differently, so that older ones are not taken for new."""
MAX_MISFIT = 99.0
"""Of a label that is impossible: it has more tokens than the audio has room for."""


@dataclass(frozen=True, kw_only=True)
class Heard:
    """What was heard in an utterance."""

    text: str
    """Text of the decoder."""
    confidence: float | None = None
    """In [0, 1], as `Transcript.confidence`; None from a recogniser that gives none."""
    greedy: str | None = None
    """Text of greedy decoding, without a language model, if another decoder of ours made `text`."""
    misfit: float | None = None
    """Nats a token by which the label is less probable than what greedy decoding hears, at most `MAX_MISFIT`; None
    without a label."""

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values; None is left out."""
        return {key: value for key, value in dataclasses.asdict(self).items() if value is not None}


class Listener:
    """Hears utterances with a model of ours, short ones in batches.

    Args:
        recognizer: the model with its decoder.
        with_label: also tell how well the label of each utterance fits.
    """

    def __init__(self, recognizer: Recognizer, *, with_label: bool = False) -> None:
        self._recognizer, self._with_label = recognizer, with_label
        self.normalizer = get_normalizer(recognizer.config.normalizer)

    def __call__(self, utterances: Sequence[Utterance]) -> list[Heard | Exception]:
        """Return what was heard in each utterance, or why it could not be read."""
        heard: dict[int, Heard | Exception] = {}
        waveforms: dict[int, Array] = {}
        for number, utterance in enumerate(utterances):
            try:
                waveforms[number] = load_speech(utterance)
            except Exception as error:  # noqa: BLE001 - whatever it is, the other recordings go on
                heard[number] = error
        for batch in batches_by_length(waveforms):
            try:
                for number, log_probs in zip(batch, self._log_probs([waveforms[n] for n in batch]), strict=True):
                    heard[number] = self._heard(log_probs, len(waveforms[number]) / SAMPLE_RATE, utterances[number])
            except Exception as error:  # noqa: BLE001 - the same
                heard |= dict.fromkeys(batch, error)
        return [heard[number] for number in range(len(utterances))]

    def _log_probs(self, waveforms: Sequence[Array]) -> list[Array]:
        runtime = self._recognizer.runtime
        if len(waveforms) > 1:
            return runtime.log_probs_batch(waveforms)
        return [np.concatenate(list(runtime.stream_log_probs([waveforms[0]])))]

    def _heard(self, log_probs: Array, duration_s: float, utterance: Utterance) -> Heard:
        recognizer = self._recognizer
        blank_id, tokenizer = recognizer.config.blank_id, recognizer.tokenizer
        transcript = recognizer.transcribe_log_probs([log_probs], lambda: duration_s)
        greedy = greedy_decode(log_probs, blank_id)
        misfit = None
        if self._with_label:
            label = tokenizer.encode(self.normalizer(utterance.text))
            likelihoods = (log_likelihood(log_probs, ids, blank_id) for ids in (greedy, label))
            misfit = _per_token(*likelihoods, n_tokens=len(label))
        return Heard(
            text=transcript.text,
            confidence=round(transcript.confidence, 4),
            greedy=None if recognizer.decoder.name == "greedy" else tokenizer.decode(greedy),
            misfit=misfit,
        )


@dataclass(frozen=True)
class TextDistance:
    """Compares texts in characters, as CER does: normalised, with single spaces or, in Mandarin, none."""

    normalizer: Normalizer

    @cached_property
    def _space(self) -> str:
        return "" if self.normalizer.name in LANGS_WITHOUT_SPACES else " "

    def plain(self, text: str) -> str:
        """Return the characters that count."""
        return self._space.join(self.words(text))

    def words(self, text: str) -> list[str]:
        """Return the words; every Chinese character is one."""
        return split_words(self.normalizer(text))

    def cer(self, reference: str, hypothesis: str) -> float:
        """Return the character error rate of one text; an empty reference counts as one character."""
        plain = self.plain(reference)
        return edit_distance(plain, self.plain(hypothesis)) / max(1, len(plain))

    def disagreement(self, a: str, b: str) -> float:
        """Return the characters to change over those of the longer text: 0 for equal texts, at most 1.

        >>> TextDistance(get_normalizer("en")).disagreement("Four cats!", "for cats")
        0.1111111111111111
        """
        plain = self.plain(a), self.plain(b)
        return edit_distance(*plain) / max(1, *map(len, plain))


def load_speech(utterance: Utterance) -> Array:
    """Read the audio of an utterance: float32 `(N,)`, 16 kHz, N at least 1.

    Raises:
        AudioError: unreadable, or the recording ends before the utterance begins.
    """
    waveform = load_audio(utterance.audio_path, offset_s=utterance.offset_s, duration_s=utterance.duration_s)
    if not len(waveform):
        raise AudioError(
            f"{utterance.audio_path}: no audio at {utterance.offset_s:g} s: get the whole recording, or mend the "
            "manifest"
        )
    return waveform


def model_key(model: Path, lm: Path | None, settings: Sequence[object]) -> str:
    """Return what tells a bundle and its settings from any other: what it hears follows from these."""
    checksums = hashlib.sha256((model / "checksums.json").read_bytes()).hexdigest()
    about_lm = (lm, lm.stat().st_size, lm.stat().st_mtime_ns) if lm else ()
    return json.dumps([SCORES_VERSION, checksums, *map(str, about_lm), *map(str, settings)])


def _per_token(best: float, label: float, *, n_tokens: int) -> float:
    """Return the nats by which a label is less probable than the best text, per token of the label."""
    return round(min(MAX_MISFIT, max(0.0, best - label) / max(1, n_tokens)), 4)
