"""A back-off n-gram model in memory: sorted arrays that every other module of the package reads or makes.

The n-grams of an order are sorted by their words from the last to the first ("suffix order"). Each one's ``key`` holds
the index, in the order below, of the n-gram without its first word, and that first word. So keys are 64 bits whatever
the order, sorting them sorts the n-grams, and the lower-order probability that an n-gram is mixed with is one look-up.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[Any]
Floats = NDArray[Any]

UNK, BOS, EOS = 0, 1, 2
SPECIAL_WORDS = ("<unk>", "<s>", "</s>")
MAX_ORDER = 6  # KenLM's, as the `kenlm` module is compiled
WORD_BITS = 24
WORD_MASK = (1 << WORD_BITS) - 1
MAX_WORDS = 1 << WORD_BITS
BLOCK = 1 << 20  # n-grams worked on at a time: bounds the temporary arrays


class LanguageModelError(ValueError):
    """A text no model can be made of, or a damaged model file; the message says found, expected, cure."""


@dataclass(frozen=True)
class NGrams:
    """The M n-grams of one order, in suffix order."""

    keys: Ints
    """int64 ``(M,)``, rising: suffix's index ``<< WORD_BITS | first word``; in order 1 the word itself."""
    contexts: Ints
    """``(M,)``: index, in the order below, of the n-gram without its last word; zeros in order 1."""
    log_probs: Floats
    """float32 ``(M,)``: log10 of the last word's probability after the words before it."""
    backoffs: Floats
    """float32 ``(M,)``: log10 of the factor to the lower-order probability of unlisted next words; 0 if no context."""

    def __len__(self) -> int:
        return len(self.keys)


@dataclass(frozen=True)
class Model:
    """A back-off model; ``orders[n - 1]`` are its n-grams of n words."""

    words: list[str]
    """By id; the first three are ``SPECIAL_WORDS``."""
    orders: list[NGrams]


def word_columns(orders: list[NGrams], order: int, rows: Ints) -> list[Ints]:
    """Return the words of some n-grams: ``order`` arrays of word ids, first words first."""
    columns = []
    for grams in reversed(orders[1:order]):
        keys = grams.keys[rows]
        columns.append(keys & WORD_MASK)
        rows = keys >> WORD_BITS
    return [*columns, rows]


def find(keys: Ints, wanted: Ints) -> Ints:
    """Return the index of each wanted key in the rising ``keys``, -1 where it is not there."""
    if not len(keys):
        return np.full(len(wanted), -1, np.int64)
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[at] == wanted, at, -1)


def context_keys(lower: NGrams, keys: Ints) -> Ints:
    """Return the key, in the order below, of each n-gram's context: the first n - 1 words of n."""
    contexts: Ints = lower.contexts[keys >> WORD_BITS].astype(np.int64) << WORD_BITS | keys & WORD_MASK
    return contexts


def never_continued(model: Model) -> list[float]:
    """Return, for each order but the highest, the share of n-grams that no longer one begins with; 0 if not pruned.

    N-grams that nothing can follow, </s> and <unk> being their last word, do not count.
    """
    shares = []
    for n, longer in enumerate(model.orders[1:], start=1):
        last = word_columns(model.orders, n, np.arange(len(model.orders[n - 1])))[-1]
        continued = np.zeros(len(last), bool)
        continued[longer.contexts] = True
        can_be = (last != UNK) & (last != EOS)
        shares.append(float((~continued[can_be]).mean()) if can_be.any() else 0.0)
    return shares


def blocks(size: int, length: int = BLOCK) -> Iterator[slice]:
    """Cut ``range(size)`` into slices.

    >>> list(blocks(5, 2))
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    for start in range(0, size, length):
        yield slice(start, min(start + length, size))
