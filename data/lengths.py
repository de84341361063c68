"""Utterances of a useful length: short neighbours joined, long ones cut at their pauses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from decode.words import TEXT_WORD, Word, split_words

MAX_GAP_S = 1.0
"""Utterances further apart are not joined."""
RUN_ON_S = 0.15
"""Utterances that are nearer than this, as when a subtitle changes amid a sentence, are joined if there is room."""


@dataclass(frozen=True)
class Piece:
    """An utterance that may be joined or cut; times in seconds."""

    start: float
    end: float
    text: str
    score: float
    words: tuple[Word, ...]
    """Of the normalised text."""
    follows: bool = False
    """Nothing was left out between it and the one before."""

    @property
    def duration_s(self) -> float:
        """Its length."""
        return self.end - self.start


def fit_lengths(
    pieces: Sequence[Piece], shortest_s: float, longest_s: float, normalize: Callable[[str], str]
) -> list[Piece]:
    """Join and cut utterances, in their order, so that each lasts between two lengths where that can be.

    Args:
        pieces: sorted by time.
        shortest_s: shorter ones are joined to a neighbour in reach.
        longest_s: longer ones are cut between two words, at the longest pause.
        normalize: from text as written to the text of ``words``.
    """
    joined: list[Piece] = []
    for piece in (part for whole in pieces for part in _cut(whole, longest_s, normalize)):
        if joined and _belong(joined[-1], piece, shortest_s, longest_s):
            joined[-1] = _join(joined[-1], piece)
        else:
            joined.append(piece)
    return joined


def _belong(a: Piece, b: Piece, shortest_s: float, longest_s: float) -> bool:
    gap = b.start - a.end
    if not b.follows or gap > MAX_GAP_S or b.end - a.start > longest_s:
        return False
    return min(a.duration_s, b.duration_s) < shortest_s or (gap < RUN_ON_S and shortest_s > 0)


def _join(a: Piece, b: Piece) -> Piece:
    from decode.words import HAN_CHARACTER

    space = "" if HAN_CHARACTER.search(a.text[-1:]) or HAN_CHARACTER.search(b.text[:1]) else " "
    score = min(a.score, b.score)
    return Piece(a.start, b.end, f"{a.text}{space}{b.text}", score, a.words + b.words, a.follows)


def _cut(piece: Piece, longest_s: float, normalize: Callable[[str], str]) -> Iterator[Piece]:
    """Halve a piece at its longest pause, nearer the middle first, until it is short enough or cannot be cut."""
    counts = _word_counts(piece.text, normalize)
    if piece.duration_s <= longest_s or len(piece.words) < 2 or sum(n for _, n in counts) != len(piece.words):
        yield piece
        return
    places = []
    n_words = 0
    for end, n in counts[:-1]:
        n_words += n
        if n and 0 < n_words < len(piece.words):
            before, behind = piece.words[n_words - 1].end, piece.words[n_words].start
            middle = abs((before + behind) / 2 - (piece.start + piece.end) / 2) / piece.duration_s
            places.append((behind - before - middle, end, n_words, (before + behind) / 2))
    if not places:
        yield piece
        return
    _, end, n_words, time = max(places)
    a = replace(piece, end=time, text=piece.text[:end].strip(), words=piece.words[:n_words])
    b = replace(piece, start=time, text=piece.text[end:].strip(), words=piece.words[n_words:], follows=True)
    yield from _cut(a, longest_s, normalize)
    yield from _cut(b, longest_s, normalize)


def _word_counts(text: str, normalize: Callable[[str], str]) -> list[tuple[int, int]]:
    """Return, for each word as written, where it ends and how many words it becomes."""
    return [(found.end(), len(split_words(normalize(found[0])))) for found in TEXT_WORD.finditer(text)]
