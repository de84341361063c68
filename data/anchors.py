"""Where a long text lies in a long recording, roughly: passages that are heard as they are written.

Greedy recognition is compared with the text by letters, so that it serves for weak models and for any language. A run
of letters that occurs once in each is an anchor; the longest chain of anchors in the order of both bounds where every
token can lie.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from decode.align import Alignment
from decode.segment import BLOCK_FRAMES, Corridor
from decode.words import WORD_START

BITS = 30.0
"""Information of an anchor's letters: two texts of 50,000 letters have about two such runs in common by chance."""
MAX_BITS_A_LETTER = 2.7
"""Of running text in an alphabet; of one with more letters half of what they could carry is taken."""
DOUBT = 3
"""So many anchors in a row may be false: the corridor is bounded by the next one behind them."""


@dataclass(frozen=True)
class Anchor:
    """A place that is heard as it is written."""

    frame: int
    token: int
    """Counted through the whole text."""


@dataclass(frozen=True)
class _Letters:
    text: str
    tokens: npt.NDArray[np.int64]  # which token each letter belongs to


def find_anchors(heard: Alignment, token_ids: Sequence[int], pieces: Sequence[str]) -> list[Anchor]:
    """Find passages of a text in what was heard.

    Args:
        heard: the greedy alignment of the recording.
        token_ids: of the whole text.
        pieces: of the tokenizer, by token id.

    Returns:
        anchors whose frames and tokens both rise.
    """
    there, here = _letters(token_ids, pieces), _letters(heard.token_ids, pieces)
    n = _run_length(there.text)
    written, spoken = _unique_runs(there.text, n), _unique_runs(here.text, n)
    pairs = sorted((spoken[run], place) for run, place in written.items() if run in spoken)
    chain = _longest_rising(pairs)
    frames = heard.start_frames
    return [Anchor(int(frames[here.tokens[a]]), int(there.tokens[b])) for a, b in _thinned(chain)]


def corridor_of(anchors: Sequence[Anchor], n_frames: int, n_tokens: int, margin_frames: int) -> Corridor:
    """Bound the tokens of each block of frames by the anchors on both sides, at least a margin away."""
    frames = [anchor.frame for anchor in anchors]
    first, last = [], []
    for start in range(0, n_frames, BLOCK_FRAMES):
        before = bisect.bisect_right(frames, start - margin_frames) - DOUBT
        behind = bisect.bisect_left(frames, start + BLOCK_FRAMES + margin_frames) + DOUBT - 1
        first.append(anchors[before].token if before >= 0 else 0)
        last.append(anchors[behind].token + 1 if behind < len(anchors) else n_tokens)
    first[:1], last[-1:] = [0], [n_tokens]
    return Corridor(np.array(first, np.int64), np.array(last, np.int64))


def _letters(token_ids: Sequence[int], pieces: Sequence[str]) -> _Letters:
    texts = [pieces[token_id].replace(WORD_START, "") for token_id in token_ids]
    return _Letters("".join(texts), np.repeat(np.arange(len(texts)), [len(text) for text in texts]))


def _run_length(text: str) -> int:
    bits = max(min(MAX_BITS_A_LETTER, math.log2(1 + len(set(text)))), math.log2(1 + len(set(text))) / 2)
    return math.ceil(BITS / bits)


def _unique_runs(text: str, n: int) -> dict[str, int]:
    """Return the place of every run of n letters that occurs once."""
    places: dict[str, int] = {}
    for place in range(len(text) - n + 1):
        run = text[place : place + n]
        places[run] = -1 if run in places else place
    return {run: place for run, place in places.items() if place >= 0}


def _longest_rising(pairs: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the longest chain that rises in both places, of pairs sorted by the first."""
    ends: list[int] = []  # the lowest second place that ends a chain of each length
    holders: list[int] = []
    before: list[int] = []
    for index, (_, place) in enumerate(pairs):
        length = bisect.bisect_left(ends, place)
        before.append(holders[length - 1] if length else -1)
        ends[length:] = [place, *ends[length + 1 :]]
        holders[length:] = [index, *holders[length + 1 :]]
    chain, index = [], holders[-1] if holders else -1
    while index >= 0:
        chain.append(pairs[index])
        index = before[index]
    return chain[::-1]


def _thinned(chain: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Keep one pair of each passage: of runs that overlap."""
    kept: list[tuple[int, int]] = []
    last = (-2, -2)
    for pair in chain:
        if (pair[0] - last[0], pair[1] - last[1]) != (1, 1):
            kept.append(pair)
        last = pair
    return kept
