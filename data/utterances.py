"""One long recording with its sentences or subtitles -> rows of a manifest."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from data.lengths import Piece, fit_lengths
from data.manifest import Utterance
from data.segment import Segmenter, Sentence
from data.subtitles import Cue

MAX_STRAY_S = 4.0
"""A cue may be so much further from where it was heard than the cues around it are."""
CUE_EVIDENCE = 8.0
"""Nats that a cue's time, from which it must not stray, is worth as evidence that it is said where it was heard."""
N_AROUND = 10
"""Cues on each side that it is compared with."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """A recording to be cut into utterances."""

    like: Utterance
    """What its rows have in common; its own duration, offset and text do not matter."""
    texts: tuple[str, ...]
    """Sentences, in the order in which they are said."""
    cues: tuple[Cue, ...] = ()
    """Of subtitles, one for each sentence; none for a plain text."""
    min_score: float | None = None
    """Sentences below are dropped; None for the default."""
    shortest_s: float = 0.0
    """Shorter utterances are joined to neighbours, or left out."""
    longest_s: float = 30.0
    """Longer utterances are cut, or left out."""
    channel: int | None = None
    """The 0-based channel; the mean of all when None."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """The utterances of one recording."""

    kept: tuple[Utterance, ...]
    """By time, each with offset and, as quality, its score."""
    sentences: tuple[Sentence, ...]
    """All sentences, in their order, with what became of each."""
    n_dropped: dict[str, int]
    """Sentences and utterances left out, by reason."""
    duration_s: float
    """Of the recording."""
    shift_s: tuple[float, float] | None = None
    """How much later than their first and their last cues the speech of subtitles is."""

    def to_json(self) -> dict[str, Any]:
        """Return JSON values; the words of the sentences are left out."""
        kept = [{**dataclasses.asdict(row), "audio_path": str(row.audio_path)} for row in self.kept]
        sentences = [dataclasses.asdict(dataclasses.replace(sentence, words=())) for sentence in self.sentences]
        return {**vars(self), "kept": kept, "sentences": sentences}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Found:
        """Undo `to_json`."""
        kept = tuple(Utterance(**{**row, "audio_path": Path(row["audio_path"])}) for row in values["kept"])
        sentences = tuple(Sentence(**{**sentence, "words": ()}) for sentence in values["sentences"])
        shift_s = tuple(values["shift_s"]) if values["shift_s"] else None
        return cls(**{**values, "kept": kept, "sentences": sentences, "shift_s": shift_s})


def make_utterances(segmenter: Segmenter, request: Request) -> Found:
    """Find the sentences of a recording and make utterances of the good ones.

    Raises:
        AudioError: the recording cannot be read.
    """
    sentences, duration_s = segmenter.find(
        request.like.audio_path,
        request.texts,
        min_score=request.min_score,
        known=CUE_EVIDENCE if request.cues else 0.0,
        channel=request.channel,
    )
    if request.cues:
        sentences = without_strays(sentences, request.cues)
    lengths_s = request.shortest_s, request.longest_s
    fitted = fit_lengths(_pieces(sentences), *lengths_s, segmenter.normalize)
    n_dropped = Counter(sentence.dropped for sentence in sentences if sentence.dropped)
    n_dropped["too short"] = sum(piece.duration_s < lengths_s[0] for piece in fitted)
    n_dropped["too long"] = sum(piece.duration_s > lengths_s[1] for piece in fitted)
    kept = [piece for piece in fitted if lengths_s[0] <= piece.duration_s <= lengths_s[1]]
    return Found(
        kept=tuple(_row(piece, request.like) for piece in kept),
        sentences=tuple(sentences),
        n_dropped={reason: n for reason, n in sorted(n_dropped.items()) if n},
        duration_s=duration_s,
        shift_s=_shifts(sentences, request.cues),
    )


def without_strays(sentences: Sequence[Sentence], cues: Sequence[Cue]) -> list[Sentence]:
    """Drop sentences that were heard too far from their cues, as the cues around them go.

    So subtitles may begin early or late, run fast or slow, or skip an advertisement.
    """
    found = [number for number, sentence in enumerate(sentences) if not sentence.dropped]
    shifts = [sentences[number].start - cues[number].start for number in found]
    checked = list(sentences)
    for place, number in enumerate(found):
        before, behind = shifts[max(0, place - N_AROUND) : place], shifts[place + 1 : place + 1 + N_AROUND]
        strays = [abs(shifts[place] - median(side)) > MAX_STRAY_S for side in (before, behind) if side]
        if strays and all(strays):
            checked[number] = dataclasses.replace(sentences[number], dropped="far from its cue")
    return checked


def _shifts(sentences: Sequence[Sentence], cues: Sequence[Cue]) -> tuple[float, float] | None:
    pairs = zip(sentences, cues, strict=False)
    shifts = [sentence.start - cue.start for sentence, cue in pairs if not sentence.dropped]
    if not shifts:
        return None
    return round(median(shifts[:N_AROUND]), 2), round(median(shifts[-N_AROUND:]), 2)


def _pieces(sentences: Sequence[Sentence]) -> list[Piece]:
    pieces, follows = [], False
    for sentence in sentences:
        if not sentence.dropped:
            pieces.append(Piece(sentence.start, sentence.end, sentence.text, sentence.score, sentence.words, follows))
        follows = not sentence.dropped
    return pieces


def _row(piece: Piece, like: Utterance) -> Utterance:
    return dataclasses.replace(
        like,
        offset_s=round(piece.start, 3),
        duration_s=round(piece.duration_s, 3),
        text=piece.text,
        quality=round(piece.score, 3),
    )
