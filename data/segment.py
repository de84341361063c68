"""A long recording and its text -> utterances, each with a score.

1. Hear: log_probs of the whole recording.
2. Place: passages that are heard as they are written bound where each sentence can lie (`data.anchors`); within these
   bounds the best path over all sentences says where each lies, or that it was not said (`decode.segment`).
3. Widen: speech begins a little before the first token's frame and ends behind the last one's, by its letters.
4. Judge: each sentence is heard once more, alone as in training (`data.judge`). It is dropped if it does not suit what
   is heard, or suits it little better than other text would.
5. Place again: the others alone, since what is not said may have taken speech from them. Those are dropped that lie
   elsewhere when they are heard alone.

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
from data.judge import Judge, Verdict
from data.text import get_normalizer
from decode.align import Alignment
from decode.greedy import greedy_align
from decode.segment import segment
from decode.words import WORD_START, Word, group_words
from silero_like.audio import SAMPLE_RATE, stream_audio
from silero_like.recognizer import Recognizer

Array = npt.NDArray[np.float32]
Span = tuple[float, float]

MIN_SCORE = -5.0
"""Sentences below are dropped. Text that is not said scores -7 where a model understands the speech, -3 where not."""
EVIDENCE = 0.3
"""What a nat of evidence is worth: score and evidence together must reach 0, or less if a lower score is asked for. A
short sentence has little evidence, so it must be heard well. Chosen on half of the dev sets."""
MAX_DOUBT_S = 0.5
"""Sentences one of whose edges lies further elsewhere when they are heard alone are dropped."""
MARGIN_S = 15.0
"""Seconds by which the anchors that bound a sentence are at least away from it."""
FULL_SEARCH_S = 300.0
"""Shorter recordings are searched without bounds."""
HEAD_S, TAIL_S, LETTER_S = 0.08, 0.15, 0.04
"""Speech begins so long before its first token, and ends so long behind its last one, with so much for each letter of
that: a token's frame lies amid what it stands for. Fitted on training speech; looking for the silence by its level
placed the edges worse in noise."""
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
    """Why it is not to be used: "no words", "not found", "low score", "like other text", "unsure where"; "" for a good
    one."""
    start: float = 0.0
    end: float = 0.0
    score: float = 0.0
    """At most 0, higher is better: `data.judge`."""
    words: tuple[Word, ...] = ()
    """Of the normalised text."""


@dataclass
class _Draft:
    """What is known of a sentence so far."""

    alignment: Alignment | None
    span: Span | None
    verdict: Verdict | None
    dropped: str

    @property
    def score(self) -> float:
        return self.verdict.score if self.verdict else 0.0


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
        self._judge = Judge(self._runtime, self.pieces)

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
        self,
        path: str | Path,
        texts: Sequence[str],
        *,
        min_score: float | None = None,
        known: float = 0.0,
        channel: int | None = None,
    ) -> tuple[list[Sentence], float]:
        """Find sentences in a recording.

        Args:
            path: the recording.
            texts: its sentences, as they are written, in order.
            min_score: lower scores are dropped; None for `MIN_SCORE`. A lower one also asks for less evidence.
            known: evidence that they are said where they are found, in nats, known from elsewhere.
            channel: the 0-based channel to take; the mean of all when None.

        Returns:
            every sentence, in order, and the duration of the recording in seconds.

        Raises:
            AudioError: as `stream_audio`.
        """
        heard = self.hear(path, channel)
        chunks = stream_audio(path, window_s=_CHUNK_S, channel=channel)
        return self.find_in(heard, chunks, texts, min_score=min_score, known=known), heard.duration_s

    def find_in(
        self,
        heard: Heard,
        chunks: Iterable[Array],
        texts: Sequence[str],
        *,
        min_score: float | None = None,
        known: float = 0.0,
    ) -> list[Sentence]:
        """Find sentences in a recording that has been heard; `chunks` are the parts of its waveform."""
        token_ids = [self.tokens(text) for text in texts]
        numbers = [number for number, ids in enumerate(token_ids) if ids]
        spoken = [token_ids[number] for number in numbers]
        drafts = self._judged(heard, chunks, spoken)
        for draft in drafts:
            if draft.verdict:
                draft.dropped = _why_dropped(draft.verdict, MIN_SCORE if min_score is None else min_score, known)
        self._place_again(heard, drafts)
        sentences = [Sentence(text, "no words") for text in texts]
        for number, draft in zip(numbers, drafts, strict=True):
            span, words = draft.span or (0.0, 0.0), self._words(draft)
            sentences[number] = Sentence(texts[number], draft.dropped, *span, draft.score, words)
        return sentences

    def _judged(self, heard: Heard, chunks: Iterable[Array], token_ids: Sequence[Sequence[int]]) -> list[_Draft]:
        placed = self.place(heard, token_ids)
        spans = self.spans(heard, placed)
        verdicts = self._judge.verdicts(chunks, [one for one in placed if one], [span for span in spans if span])
        drafts = []
        for alignment, span in zip(placed, spans, strict=True):
            verdict = next(verdicts) if alignment else None
            drafts.append(_Draft(alignment, span, verdict, "" if verdict else "not found"))
        return drafts

    def _place_again(self, heard: Heard, drafts: Sequence[_Draft]) -> None:
        """Place the good sentences without the others, which may have taken speech from them."""
        good = [draft for draft in drafts if not draft.dropped]
        placed = self.place(heard, [draft.alignment.token_ids for draft in good if draft.alignment])
        for draft, alignment, span in zip(good, placed, self.spans(heard, placed), strict=True):
            if alignment is None:
                draft.dropped = "not found"
                continue
            draft.alignment, draft.span = alignment, span
            if draft.verdict and draft.verdict.doubt_s(alignment.edges(self._frame_s)) > MAX_DOUBT_S:
                draft.dropped = "unsure where"

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
        tokens = [alignment.edges(self._frame_s) for alignment in placed if alignment]
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

    def _words(self, draft: _Draft) -> tuple[Word, ...]:
        """Return the words, the first and the last of them reaching to the edges."""
        if draft.alignment is None or draft.span is None:
            return ()
        pieces = [self.pieces[token_id] for token_id in draft.alignment.token_ids]
        words = group_words(pieces, draft.alignment, self._frame_s)
        words[:1] = [dataclasses.replace(word, start=draft.span[0]) for word in words[:1]]
        words[-1:] = [dataclasses.replace(word, end=draft.span[1]) for word in words[-1:]]
        return tuple(words)


def _why_dropped(verdict: Verdict, min_score: float, known: float) -> str:
    if verdict.score < min_score:
        return "low score"
    suits = verdict.score + EVIDENCE * (verdict.evidence + known) >= min(0.0, min_score - MIN_SCORE)
    return "" if suits else "like other text"
