"""The words of a language model, and what their beginnings promise."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from decode.transitions import Floats
from decode.words import HAN_CHARACTER, PIECE_PART, WORD_START

LAST_CHARACTER = "\U0010ffff"


@dataclass(frozen=True)
class Lexicon:
    """Words that count as known.

    Attributes:
        words: sorted, without ``<s>``, ``</s>`` and ``<unk>``.
        log_probs: `(n,)`, the unigram ln p of each.
    """

    words: Sequence[str]
    log_probs: Floats

    @classmethod
    def of(cls, unigrams: Mapping[str, float]) -> Lexicon:
        """Make a lexicon of words and their unigram ln p."""
        words = sorted(unigrams)
        return cls(words, np.array([unigrams[word] for word in words], dtype=np.float64))

    def __contains__(self, word: str) -> bool:
        place = bisect_left(self.words, word)
        return place < len(self.words) and self.words[place] == word

    def best(self, beginning: str) -> float | None:
        """Return the highest unigram ln p among the words that begin so; None if no word does."""
        first = bisect_left(self.words, beginning)
        if first == len(self.words) or not self.words[first].startswith(beginning):
            return None
        last = bisect_left(self.words, beginning + LAST_CHARACTER, first)
        return float(self.log_probs[first:last].max())


def marked(piece: str) -> str:
    """Return a piece with a mark before every word, and around Chinese characters: each is a word of its own.

    >>> [marked(piece).replace(WORD_START, "_") for piece in (WORD_START + "he", "llo", "明天", "ok吗")]
    ['_he', 'llo', '_明__天_', 'ok_吗_']
    """
    parts = PIECE_PART.findall(piece)
    return "".join(
        f"{WORD_START}{part.lstrip(WORD_START)}{WORD_START}" if HAN_CHARACTER.search(part) else part for part in parts
    )
