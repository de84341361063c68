"""A long recording and its text -> utterances, each with a score.

1. Hear: log_probs of the whole recording.
2. Place: passages that are heard as they are written bound where each sentence can lie (`data.anchors`); within these
   bounds the best path over all sentences says where each lies, or that it was not said (`decode.segment`).
3. Widen: speech begins a little before the first token's frame and ends behind the last one's, by its letters.
4. Judge: each sentence is heard once more, alone as in training. Its score is ln P(text | speech), relative to the best
   path of the model, a token: 0 where the model hears just what is written, -7 and less for text that is not said.

Time and memory grow with the length of the recording, not with its square.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from data.anchors import corridor_of, find_anchors
from data.text import get_normalizer
from decode.align import Alignment
from decode.greedy import greedy_align
from decode.likelihood import log_likelihoods
from decode.segment import segment
from decode.words import WORD_START, Word, group_words
from silero_like.audio import SAMPLE_RATE, stream_audio
from silero_like.recognizer import Recognizer

Array = npt.NDArray[np.float32]
Span = tuple[float, float]

MIN_SCORE = -5.0
"""Sentences below are dropped. Chosen on training speech joined with noise, with texts swapped, missing and extra."""
MARGIN_S = 15.0
"""Seconds by which the anchors that bound a sentence are at least away from it."""
FULL_SEARCH_S = 300.0
"""Shorter recordings are searched without bounds."""
HEAD_S, TAIL_S, LETTER_S = 0.08, 0.15, 0.04
"""Speech begins so long before its first token, and ends so long behind its last one, with so much for each letter of
that: a token's frame lies amid what it stands for. Fitted on training speech; looking for the silence by its level
placed the edges worse in noise."""
LEAD_S = 0.4
"""Of what lies around a sentence, so much at most is heard with it; less where other sentences are nearer."""
MIN_LEAD_S = 0.1

_CHUNK_S = 10.0  # seconds of audio decoded at a time


@dataclass(frozen=True)
class Heard:
    """What the model makes of a recording."""

    log_probs: npt.NDArray[np.float16]
    """`(T, V)`: 23 MB an hour with 257 labels at 80 ms."""
    duration_s: float


@dataclass(frozen=True)
class Sentence:
    """A sentence of the text, and where it was found; times in seconds."""

    text: str
    """As it was written."""
    dropped: str = ""
    """Why it is not to be used: "no words", "not found", "low score"; "" for a good one."""
    start: float = 0.0
    end: float = 0.0
    score: float = 0.0
    """At most 0, higher is better; how it is made stands at the head of the module."""
    words: tuple[Word, ...] = ()
    """Of the normalised text."""


class Segmenter:
    """Finds the sentences of texts in recordings.

    Args:
        recognizer: its model and tokens are used; its decoder is not.
    """

    def __init__(self, recognizer: Recognizer) -> None:
        self._runtime, self._tokenizer = recognizer.runtime, recognizer.tokenizer
        self._frame_s, self._blank_id = recognizer.config.frame_s, recognizer.config.blank_id
        self.normalize = get_normalizer(recognizer.config.normalizer)
        self.pieces = self._tokenizer.pieces

    def hear(self, path: str | Path, channel: int | None = None) -> Heard:
        """Run the model over a recording.

        Raises:
            AudioError: as `stream_audio`.
        """
        n_samples = 0

        def counted() -> Iterator[Array]:
            nonlocal n_samples
            for chunk in stream_audio(path, window_s=_CHUNK_S, channel=channel):
                n_samples += len(chunk)
                yield chunk

        parts = [part.astype(np.float16) for part in self._runtime.stream_log_probs(counted())]
        empty = np.zeros((0, self._tokenizer.n_labels), np.float16)
        return Heard(np.concatenate([empty, *parts]), n_samples / SAMPLE_RATE)

    def tokens(self, text: str) -> list[int]:
        """Return the tokens of a sentence as it is written."""
        return self._tokenizer.encode(self.normalize(text))

    def find(
        self, path: str | Path, texts: Sequence[str], *, min_score: float | None = None, channel: int | None = None
    ) -> tuple[list[Sentence], float]:
        """Find sentences in a recording.

        Args:
            path: the recording.
            texts: its sentences, as they are written, in order.
            min_score: lower scores are dropped; None for `MIN_SCORE`.
            channel: the 0-based channel to take; the mean of all when None.

        Returns:
            every sentence, in order, and the duration of the recording in seconds.

        Raises:
            AudioError: as `stream_audio`.
        """
        heard = self.hear(path, channel)
        chunks = stream_audio(path, window_s=_CHUNK_S, channel=channel)
        return self.find_in(heard, chunks, texts, min_score=min_score), heard.duration_s

    def find_in(
        self, heard: Heard, chunks: Iterable[Array], texts: Sequence[str], *, min_score: float | None = None
    ) -> list[Sentence]:
        """Find sentences in a recording that has been heard; `chunks` are the parts of its waveform."""
        threshold = MIN_SCORE if min_score is None else min_score
        token_ids = [self.tokens(text) for text in texts]
        numbers = [number for number, ids in enumerate(token_ids) if ids]
        spoken = [token_ids[number] for number in numbers]
        placed = self.place(heard, spoken)
        spans = self.spans(heard, placed)
        scores = self.scores(chunks, spans, spoken)
        sentences = [Sentence(text, "no words") for text in texts]
        for number, alignment, span, score in zip(numbers, placed, spans, scores, strict=True):
            if alignment is None or span is None:
                sentences[number] = Sentence(texts[number], "not found")
                continue
            dropped = "low score" if score < threshold else ""
            sentences[number] = Sentence(texts[number], dropped, *span, score, self._words(alignment, span))
        return sentences

    def place(self, heard: Heard, token_ids: Sequence[Sequence[int]]) -> list[Alignment | None]:
        """Find the frames of each sentence, None where it was not said."""
        flat = [token_id for ids in token_ids for token_id in ids]
        corridor = None
        if heard.duration_s > FULL_SEARCH_S:
            anchors = find_anchors(greedy_align(heard.log_probs, self._blank_id), flat, self._tokenizer.pieces)
            corridor = corridor_of(anchors, len(heard.log_probs), len(flat), round(MARGIN_S / self._frame_s))
        return segment(heard.log_probs, token_ids, self._blank_id, corridor)

    def spans(self, heard: Heard, placed: Sequence[Alignment | None]) -> list[Span | None]:
        """Return start and end, in seconds, of each sentence that was placed."""
        tokens = [self._span(alignment) for alignment in placed if alignment]
        ends, starts = [0.0, *(end for _, end in tokens)], [*(start for start, _ in tokens), heard.duration_s]
        spans: list[Span | None] = []
        number = 0
        for alignment in placed:
            if alignment is None:
                spans.append(None)
                continue
            tail_s = TAIL_S + LETTER_S * len(self.pieces[alignment.token_ids[-1]].strip(WORD_START))
            start = max(tokens[number][0] - HEAD_S, min(ends[number], tokens[number][0]))
            spans.append((start, min(tokens[number][1] + tail_s, starts[number + 1])))
            number += 1
        return spans

    def scores(
        self, chunks: Iterable[Array], spans: Sequence[Span | None], token_ids: Sequence[Sequence[int]]
    ) -> list[float]:
        """Hear each sentence that was placed alone, and compare it with its text; 0 for the others.

        Args:
            chunks: the waveform of the recording, in parts.
            spans: of each sentence, rising.
            token_ids: of each sentence.
        """
        waveforms = cut(chunks, _windows([span for span in spans if span]))
        return [self._score(next(waveforms), ids) if span else 0.0 for span, ids in zip(spans, token_ids, strict=True)]

    def _score(self, waveform: Array, token_ids: Sequence[int]) -> float:
        log_probs = self._runtime.log_probs(waveform)
        if len(log_probs) < len(token_ids):
            return -np.inf
        best = float(log_probs.max(axis=1).sum())
        log_p = float(log_likelihoods(log_probs, [token_ids], self._blank_id)[0])  # of all paths: it may exceed one
        return min(0.0, log_p - best) / len(token_ids)

    def _span(self, alignment: Alignment) -> Span:
        return float(alignment.start_frames[0]) * self._frame_s, float(alignment.end_frames[-1]) * self._frame_s

    def _words(self, alignment: Alignment, span: Span) -> tuple[Word, ...]:
        """Return the words, the first and the last of them reaching to the edges."""
        pieces = [self._tokenizer.pieces[token_id] for token_id in alignment.token_ids]
        words = group_words(pieces, alignment, self._frame_s)
        words[:1] = [dataclasses.replace(word, start=span[0]) for word in words[:1]]
        words[-1:] = [dataclasses.replace(word, end=span[1]) for word in words[-1:]]
        return tuple(words)


def cut(chunks: Iterable[Array], windows: Sequence[Span]) -> Iterator[Array]:
    """Yield the waveform of each window, in seconds, of one that comes in parts; the windows start ever later."""
    pending = np.zeros(0, np.float32)
    n_gone = 0
    source = iter(chunks)
    for start_s, end_s in windows:
        start, end = round(start_s * SAMPLE_RATE), round(end_s * SAMPLE_RATE)
        while n_gone + len(pending) < end and (chunk := next(source, None)) is not None:
            n_old = min(len(pending), max(0, start - n_gone))
            pending = np.concatenate([pending[n_old:], chunk])
            n_gone += n_old
        yield pending[max(0, start - n_gone) : end - n_gone]


def _windows(spans: Sequence[Span]) -> list[Span]:
    """Widen each span by what lies between it and its neighbours, within bounds."""
    windows = []
    for number, (start, end) in enumerate(spans):
        before = spans[number - 1][1] if number else 0.0
        behind = spans[number + 1][0] if number + 1 < len(spans) else np.inf
        low = max(start - LEAD_S, min(before, start - MIN_LEAD_S), 0.0)
        windows.append((low, min(end + LEAD_S, max(behind, end + MIN_LEAD_S))))
    return windows
