"""Who speaks when: the turns of a conversation whose speakers have a channel each."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from silero_like.subtitles import Spaced, joined, spaced_words

if TYPE_CHECKING:
    from silero_like.recognizer import Transcript

TURN_PAUSE_S = 0.5
"""A pause in which another channel may take the turn."""


@dataclass(frozen=True)
class Turn:
    """What is said on one channel before another one follows."""

    channel: int
    """From 1."""
    text: str


def make_turns(channels: Sequence[Transcript]) -> list[Turn]:
    """Divide what is said into turns, in the order in which they begin."""
    pieces = [
        (number, piece) for number, channel in enumerate(channels, start=1) for piece in _pieces(spaced_words(channel))
    ]
    pieces.sort(key=lambda numbered: numbered[1][0][0].start)
    return [
        Turn(number, joined([spaced for _, piece in turn for spaced in piece]))
        for number, turn in itertools.groupby(pieces, key=lambda numbered: numbered[0])
    ]


def _pieces(spaced: Iterable[Spaced]) -> Iterator[list[Spaced]]:
    """Divide the words of a channel at its pauses."""
    piece: list[Spaced] = []
    for word, space in spaced:
        if piece and word.start - piece[-1][0].end >= TURN_PAUSE_S:
            yield piece
            piece = []
        piece.append((word, space))
    if piece:
        yield piece
