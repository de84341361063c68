"""Count n-grams of all orders at once, as modified Kneser-Ney needs them, in bounded memory.

Words are handled in ranges of ids, so many at a time as fit: the n-grams that end with them, of every order, can be
counted without the rest of the text (Heafield et al., 2013, sort by the last word for the same reason). Text and counts
lie in temporary files that are mapped into memory; the system may put them out whenever it needs the room.
"""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike

from lm.corpus import Corpus, Progress, no_progress
from lm.model import BOS, EOS, WORD_BITS, WORD_MASK, Ints, blocks

BYTES_A_WORD = 80  # of working memory, for each running word of a range
N_COUNTED = 5  # n-grams with an adjusted count of 0 to 4 are counted


@dataclass(frozen=True)
class Counts:
    """The M n-grams of one order of a text, in suffix order (see ``lm.model``)."""

    keys: Ints
    """int64 ``(M,)``, as in ``lm.model.NGrams``."""
    contexts: Ints
    """``(M,)``, as in ``lm.model.NGrams``."""
    adjusted: Ints
    """int64 ``(M,)``: how many different words precede it; in the highest order and after <s>, how often it occurs."""
    pruned: Ints
    """bool ``(M,)``: to be left out of the model."""
    n_by_count: Ints
    """int64 ``(5,)``: how many n-grams have an adjusted count of 0, 1, 2, 3, 4, pruned ones too."""

    def __len__(self) -> int:
        return len(self.keys)


def count_ngrams(
    corpus: Corpus,
    order: int,
    *,
    prune: Sequence[int],
    dropped_words: Ints,
    memory_mb: int,
    progress: Progress = no_progress,
) -> list[Counts]:
    """Count the n-grams of orders 1 to ``order``.

    Args:
        corpus: the text.
        order: the highest order.
        prune: for each order, n-grams that occur so often or less are marked as pruned; never falling.
        dropped_words: bool ``(V,)``: n-grams with any of these words are marked as pruned.
        memory_mb: working memory in MiB. All occurrences of a word must fit: it is exceeded when one word makes up
            more than ``memory_mb * 13,000`` of the text.
        progress: called after each step.
    """
    unigrams = _unigrams(corpus, dropped_words, order)
    levels = [_Level(corpus.tokens) for _ in range(order - 1)]
    n_done, n_total = 0, len(corpus.tokens) - corpus.n_lines
    for positions in _ranges(corpus, memory_mb * 2**20 // BYTES_A_WORD) if levels else ():
        _count_range(corpus.tokens, positions, unigrams, levels, prune)
        n_done += len(positions)
        progress("counting n-grams", n_done, n_total)
    return _finish(corpus, unigrams, levels)


@dataclass(frozen=True)
class _Unigrams:
    adjusted: Ints
    pruned: Ints


class _Spool:
    """An array that grows on disk."""

    def __init__(self, dtype: DTypeLike) -> None:
        self.dtype = np.dtype(dtype)
        self.size = 0
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - open until array() maps it

    def append(self, values: Ints) -> None:
        np.ascontiguousarray(values, self.dtype).tofile(self._file)
        self.size += len(values)

    def array(self) -> Ints:
        """Return all of it; nothing can be appended any more."""
        with self._file as file:
            return np.memmap(file, self.dtype, "r") if self.size else np.zeros(0, self.dtype)


class _Level:
    """What is known so far of the n-grams of one order."""

    def __init__(self, tokens: Ints) -> None:
        self.keys, self.adjusted, self.pruned = _Spool(np.int64), _Spool(np.int64), _Spool(bool)
        self.positions = _Spool(np.int64)  # where one of an n-gram's occurrences ends
        with tempfile.TemporaryFile() as file:  # which n-gram ends at each position
            self.ids = np.memmap(file, np.int64, "w+", shape=tokens.shape)
        self.last_raw = 0


def _unigrams(corpus: Corpus, dropped_words: Ints, order: int) -> _Unigrams:
    adjusted = np.zeros_like(corpus.counts) if order > 1 else corpus.counts.copy()
    adjusted[BOS] = 0
    return _Unigrams(adjusted, dropped_words)


def _ranges(corpus: Corpus, n_words: int) -> Iterator[Ints]:
    """Yield the positions of the words of one range of ids after the other, up to ``n_words`` unless of one word."""
    before = np.cumsum(corpus.counts) - corpus.counts
    low = EOS
    while low < len(corpus.words):
        high = max(low + 1, int(np.searchsorted(before + corpus.counts, before[low] + n_words, "right")))
        parts = []
        for block in blocks(len(corpus.tokens)):
            tokens = corpus.tokens[block]
            parts.append(np.flatnonzero((tokens >= low) & (tokens < high)) + block.start)
        yield np.concatenate(parts)
        low = high


def _count_range(
    tokens: Ints, positions: Ints, unigrams: _Unigrams, levels: list[_Level], prune: Sequence[int]
) -> None:
    """Count the n-grams, of 2 words and more, that end at these positions.

    At each order the positions are sorted by n-gram, each order starting from the sorting of the one below.
    """
    ids, n_below = tokens[positions].astype(np.int64), 0
    raw_below, begins_below, pruned_below = unigrams.adjusted, unigrams.pruned, unigrams.pruned
    for n, level in enumerate(levels, start=2):
        keys = ids << WORD_BITS | tokens[positions - (n - 1)]
        by_key = np.argsort(keys)
        keys, positions = keys[by_key], positions[by_key]
        is_first = np.ones(len(keys), bool)
        is_first[1:] = keys[1:] != keys[:-1]
        starts = np.flatnonzero(is_first)
        raw = np.diff(starts, append=len(keys))
        after_bos = (keys & WORD_MASK) == BOS
        ids = np.cumsum(is_first) - 1 + level.keys.size
        if level is not levels[-1]:
            level.ids[positions] = ids
        unique = keys[starts]
        lower = (unique >> WORD_BITS) - n_below
        if n == 2:
            unigrams.adjusted[:] += np.bincount(lower, minlength=len(unigrams.adjusted))
        else:
            types = np.bincount(lower, minlength=len(raw_below))
            levels[n - 3].adjusted.append(np.where(begins_below, raw_below, types))
        pruned = (raw <= prune[n - 1]) | pruned_below[lower] | unigrams.pruned[unique & WORD_MASK]
        n_below = level.keys.size
        level.keys.append(unique)
        level.positions.append(positions[starts])
        level.pruned.append(pruned)
        level.last_raw = int(raw[-1]) if len(raw) else level.last_raw
        raw_below, begins_below, pruned_below = raw, after_bos[starts], pruned
        ids, positions = ids[~after_bos], positions[~after_bos]  # nothing comes before the start of a sentence
    levels[-1].adjusted.append(raw)


def _finish(corpus: Corpus, unigrams: _Unigrams, levels: list[_Level]) -> list[Counts]:
    n_words = len(corpus.words)
    last = int(corpus.counts[-1]) if levels else None
    result = [
        Counts(
            np.arange(n_words, dtype=np.int64),
            np.zeros(n_words, np.int64),
            unigrams.adjusted,
            unigrams.pruned,
            _count_counts(unigrams.adjusted, last),
        )
    ]
    for n, level in enumerate(levels, start=2):
        keys, adjusted = level.keys.array(), level.adjusted.array()
        follows = last is not None and len(keys) and n <= len(levels) and keys[-1] >> WORD_BITS == len(result[-1]) - 1
        last = level.last_raw if follows else None
        contexts = _Spool(np.int64)
        positions = level.positions.array()
        for block in blocks(len(keys)):
            contexts.append(keys[block] & WORD_MASK if n == 2 else levels[n - 3].ids[positions[block] - 1])
        result.append(Counts(keys, contexts.array(), adjusted, level.pruned.array(), _count_counts(adjusted, last)))
    return result


def _count_counts(adjusted: Ints, last: int | None) -> Ints:
    """Count the adjusted counts below ``N_COUNTED``.

    KenLM's lmplz takes the plain count instead of the adjusted one for the last n-gram of each order below the highest
    that ends the text's last n-gram in suffix order (the end of its AdjustCounts::Run). It matters on small texts only,
    and is repeated here so that the models are equal there, too.
    """
    n_by_count = np.zeros(N_COUNTED + 1, np.int64)
    for block in blocks(len(adjusted)):
        n_by_count += np.bincount(np.minimum(adjusted[block], N_COUNTED), minlength=N_COUNTED + 1)
    if last is not None:
        n_by_count[min(int(adjusted[-1]), N_COUNTED)] -= 1
        n_by_count[min(last, N_COUNTED)] += 1
    return n_by_count[:N_COUNTED]
