"""When each word of a recording is said, as CTM and as Praat's TextGrid."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from data.manifest import Utterance
from data.text import get_normalizer
from decode.align_long import align_long
from decode.words import Word, group_words
from silero_like.audio import SAMPLE_RATE, load_audio
from silero_like.errors import AudioError
from silero_like.recognizer import Recognizer


class WordAligner:
    """Finds the words of utterances whose text is known.

    Args:
        recognizer: its model and tokens are used; its decoder is not.
    """

    def __init__(self, recognizer: Recognizer) -> None:
        self._runtime, self._tokenizer = recognizer.runtime, recognizer.tokenizer
        self._config = recognizer.config
        self._normalizer = get_normalizer(recognizer.config.normalizer)

    def words(self, utterance: Utterance) -> list[Word]:
        """Return the words of an utterance with their times in its recording.

        Raises:
            AudioError: it cannot be read, or is too short for its text.
        """
        waveform = load_audio(utterance.audio_path, offset_s=utterance.offset_s, duration_s=utterance.duration_s)
        empty = np.zeros((0, self._config.n_labels), np.float32)
        log_probs = np.concatenate([empty, *self._runtime.stream_log_probs([waveform])])
        token_ids = self._tokenizer.encode(self._normalizer(utterance.text))
        try:
            alignment = align_long(log_probs, token_ids, self._config.blank_id)
        except ValueError as error:
            raise AudioError(
                f"{utterance.audio_path}: at {utterance.offset_s:.2f} s: {len(waveform) / SAMPLE_RATE:.2f} s of audio "
                f"are too short for the text {utterance.text[:40]!r}: correct the row"
            ) from error
        pieces = [self._tokenizer.pieces[token_id] for token_id in alignment.token_ids]
        return group_words(pieces, alignment, self._config.frame_s, utterance.offset_s)


def ctm(name: str, words: Sequence[Word]) -> str:
    """Return a line a word: recording, channel, start, duration, word, confidence (NIST's format).

    >>> ctm("talk", [Word("hi", 0.5, 0.75, 0.9)])
    'talk 1 0.500 0.250 hi 0.9000\\n'
    """
    name = "_".join(name.split())
    lines = (f"{name} 1 {w.start:.3f} {w.end - w.start:.3f} {w.word} {w.confidence:.4f}\n" for w in words)
    return "".join(lines)


def textgrid(utterances: Sequence[tuple[float, float, str]], words: Sequence[Word], duration_s: float) -> str:
    """Return a TextGrid with a tier of utterances (start, end, text) and one of words, gaps filled as Praat wants."""
    spoken = [(word.start, word.end, word.word) for word in words]
    end_s = max([duration_s, *(end for _, end, _ in [*utterances, *spoken])])
    tiers = [_tier(1, "utterances", utterances, end_s), _tier(2, "words", spoken, end_s)]
    head = f'File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin = 0\nxmax = {end_s:.3f}\n'
    return head + "tiers? <exists>\nsize = 2\nitem []:\n" + "".join(tiers)


def _tier(number: int, name: str, spans: Sequence[tuple[float, float, str]], end_s: float) -> str:
    filled = _filled(spans, end_s)
    text = f'    item [{number}]:\n        class = "IntervalTier"\n        name = "{name}"\n        xmin = 0\n'
    text += f"        xmax = {end_s:.3f}\n        intervals: size = {len(filled)}\n"
    for place, (start, end, words) in enumerate(filled, start=1):
        words = words.replace('"', '""')
        text += f"        intervals [{place}]:\n            xmin = {start:.3f}\n            xmax = {end:.3f}\n"
        text += f'            text = "{words}"\n'
    return text


def _filled(spans: Sequence[tuple[float, float, str]], end_s: float) -> list[tuple[float, float, str]]:
    """Return intervals that follow one another without gap or overlap, from 0 to the end."""
    filled: list[tuple[float, float, str]] = []
    at = 0.0
    for start, end, text in sorted(spans):
        start = max(start, at)
        if end - start < 0.0005:
            continue
        if start - at >= 0.0005:
            filled.append((at, start, ""))
        filled.append((start, end, text))
        at = end
    if end_s - at >= 0.0005:
        filled.append((at, end_s, ""))
    return filled
