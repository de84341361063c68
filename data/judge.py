"""Each sentence that was placed in a recording is heard once more, alone as in training: is it said, and just there?

Its score is ln P(text | speech), relative to the best path of the model, a token. Where a model understands nothing,
any text scores well; so its evidence is how much more probable the sentence is than other text of its length.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from decode.align import Alignment
from decode.likelihood import log_likelihoods
from decode.segment import Costs, segment
from decode.words import WORD_START
from silero_like.audio import SAMPLE_RATE
from silero_like.runtime import Runtime

Array = npt.NDArray[np.float32]
Span = tuple[float, float]

LEAD_S = 0.4
"""Of what lies around a sentence, so much at most is heard with it for its score, up to the sentences on both sides: a
word of half a second is understood worse amid seconds of noise."""
REACH_S = 3.0
"""The same, to see where it lies."""
MIN_LEAD_S = 0.1
"""So much is heard even of a neighbour."""
N_RIVALS = 40
"""Other texts that a sentence is compared with."""
FAR = 99.0
"""Bounds scores and evidence, so that they can be written as JSON."""

_ALONE = Costs(pause=0.25, other_speech=2.0, left_out=FAR)
"""Between its neighbours a sentence cannot drift far: pauses may cost less, and it has been found already."""


@dataclass(frozen=True)
class Verdict:
    """What the second hearing of a sentence says."""

    score: float
    """At most 0: the model hears just what is written."""
    evidence: float
    """ln P(text | speech) less that of other text, of all its tokens together; above 0 it suits better than most."""
    edges: Span
    """Where its first token begins and its last one ends when it is heard alone, in seconds."""

    def doubt_s(self, edges: Span) -> float:
        """Return how far other edges are from these."""
        return max(abs(edges[0] - self.edges[0]), abs(edges[1] - self.edges[1]))


class Judge:
    """Hears sentences alone.

    Args:
        runtime: the model.
        pieces: of its tokenizer, by token id.
    """

    def __init__(self, runtime: Runtime, pieces: Sequence[str]) -> None:
        self._runtime = runtime
        self._frame_s, self._blank_id = runtime.config.frame_s, runtime.config.blank_id
        self._is_begin = np.array([piece.startswith(WORD_START) for piece in pieces])

    def verdicts(
        self, chunks: Iterable[Array], placed: Sequence[Alignment], spans: Sequence[Span]
    ) -> Iterator[Verdict]:
        """Yield what is to be said of each sentence.

        Args:
            chunks: the waveform of the recording, in parts.
            placed: the sentences that were found, rising.
            spans: where each begins and ends, in seconds.
        """
        near, far = _windows(spans, LEAD_S), _windows(spans, REACH_S)
        rivals = _Rivals.among([token_id for alignment in placed for token_id in alignment.token_ids], self._is_begin)
        for alignment, (start, end), (low, high), waveform in zip(placed, near, far, cut(chunks, far), strict=True):
            alone = waveform[round((start - low) * SAMPLE_RATE) : round((min(end, high) - low) * SAMPLE_RATE)]
            score, evidence = self._compare(self._runtime.log_probs(alone), alignment.token_ids, rivals)
            edges = self._edges(self._runtime.log_probs(waveform), alignment.token_ids)
            yield Verdict(score, evidence, (low + edges[0], low + edges[1]))

    def _compare(self, log_probs: Array, token_ids: tuple[int, ...], rivals: _Rivals) -> tuple[float, float]:
        """Return score and evidence."""
        if len(log_probs) < len(token_ids):
            return -FAR, -FAR
        ours, *theirs = log_likelihoods(log_probs, [token_ids, *rivals.of(token_ids)], self._blank_id)
        best = float(log_probs.max(axis=1).sum())
        score = min(0.0, ours - best) / len(token_ids)  # of all paths: together they may exceed the best one
        evidence = ours - np.logaddexp.reduce(theirs) + math.log(len(theirs)) if theirs else FAR
        return max(-FAR, score), float(np.clip(evidence, -FAR, FAR))

    def _edges(self, log_probs: Array, token_ids: Sequence[int]) -> Span:
        alone = segment(log_probs, [token_ids], self._blank_id, costs=_ALONE)[0]
        return alone.edges(self._frame_s) if alone else (-FAR, -FAR)


@dataclass(frozen=True)
class _Rivals:
    """Other texts: parts of the whole one, from words all over it on."""

    tokens: npt.NDArray[np.int64]
    begins: npt.NDArray[np.int64]

    @classmethod
    def among(cls, token_ids: Sequence[int], is_begin: npt.NDArray[np.bool_]) -> _Rivals:
        tokens = np.array(token_ids, np.int64)
        begins = np.flatnonzero(is_begin[tokens])
        if len(begins) < N_RIVALS:  # a short text, or one in a script without spaces
            begins = np.arange(len(tokens))
        chosen = np.linspace(0, len(begins) - 1, min(N_RIVALS, len(begins)))
        return cls(tokens, begins[chosen.astype(np.int64)])

    def of(self, token_ids: tuple[int, ...]) -> list[tuple[int, ...]]:
        """Return the texts of as many tokens; the last word of the text is followed by its first."""
        places = self.begins[:, None] + np.arange(len(token_ids))
        rows = np.take(self.tokens, places, mode="wrap").tolist()
        return [rival for rival in dict.fromkeys(map(tuple, rows)) if rival != token_ids]


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


def _windows(spans: Sequence[Span], reach_s: float) -> list[Span]:
    """Widen each span by what lies between it and its neighbours, within bounds."""
    windows = []
    for number, (start, end) in enumerate(spans):
        before = spans[number - 1][1] if number else 0.0
        behind = spans[number + 1][0] if number + 1 < len(spans) else np.inf
        low = max(start - reach_s, min(before, start - MIN_LEAD_S), 0.0)
        windows.append((low, min(end + reach_s, max(behind, end + MIN_LEAD_S))))
    return windows
