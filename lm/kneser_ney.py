"""Estimate interpolated modified Kneser-Ney models, equal to those of KenLM's lmplz.

With a(g) the adjusted count of an n-gram g = (h, w), h' the context h without its first word, and D the discounts of
the order, |V| the kept words, <unk> and </s> (Chen and Goodman, 1998; Heafield et al., "Scalable Modified Kneser-Ney
Language Model Estimation", 2013):

    p(w | h) = (a(h w) - D(a(h w))) / sum_x a(h x)  +  gamma(h) p(w | h'),      p(w | no context at all) = 1 / |V|
    gamma(h) = (sum of D(a(h x)) over the kept n-grams + sum of a(h x) over the pruned ones) / sum_x a(h x)

gamma(h) is also the back-off of h. Pruning looks at plain counts, and takes place after the adjusted counts and the
discounts are known.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lm.corpus import Corpus, Progress, no_progress
from lm.counts import Counts, count_ngrams
from lm.model import (
    BOS,
    EOS,
    MAX_ORDER,
    UNK,
    WORD_BITS,
    WORD_MASK,
    Floats,
    Ints,
    LanguageModelError,
    Model,
    NGrams,
    blocks,
)

FALLBACK_DISCOUNTS = (0.5, 1.0, 1.5)  # those of lmplz --discount_fallback


@dataclass(frozen=True)
class Discounts:
    """What is taken from adjusted counts of 1, 2, and 3 or more."""

    values: tuple[float, float, float]
    """The three."""
    problem: str
    """Why the closed form gave none, and the fallback stands here; "" when it did."""


@dataclass(frozen=True)
class Estimate:
    """A model and how it came about."""

    model: Model
    discounts: list[Discounts]
    """Of each order."""
    n_before_pruning: list[int]
    """N-grams of each order that the text has."""


def estimate(
    corpus: Corpus,
    order: int,
    *,
    prune: Sequence[int] = (),
    keep_words: Ints | None = None,
    memory_mb: int = 1024,
    progress: Progress = no_progress,
) -> Estimate:
    """Estimate a model of a text.

    Args:
        corpus: the text.
        order: longest n-grams, 1 to 6.
        prune: for each order, leave out n-grams that occur so often or less; 0 for words; the last value holds for
            the orders that follow.
        keep_words: bool ``(V,)``: leave out the other words (never the sentence marks), and n-grams that hold them.
        memory_mb: working memory in MiB.
        progress: called now and then.

    Raises:
        LanguageModelError: impossible options, or no line that is long enough for the order.
    """
    prune = check_pruning(prune, order)
    dropped = np.zeros(len(corpus.words), bool) if keep_words is None else ~keep_words
    dropped[[UNK, BOS, EOS]] = False
    if dropped[EOS + 1 :].all():
        raise LanguageModelError("the vocabulary limit leaves no word of the text: raise it, or check its list")
    counts = count_ngrams(corpus, order, prune=prune, dropped_words=dropped, memory_mb=memory_mb, progress=progress)
    if not len(counts[-1]):
        longest = next(n for n in range(order, 0, -1) if len(counts[n - 1]))
        raise LanguageModelError(
            f"order {order}, but no line of the text has {order - 2} words: the text supports at most order {longest}"
        )
    discounts = [_discounts(counts_of.n_by_count, n) for n, counts_of in enumerate(counts, start=1)]
    model = _interpolate(corpus.words, counts, [np.array([0.0, *found.values]) for found in discounts], progress)
    return Estimate(model, discounts, [len(counts_of) for counts_of in counts])


def check_pruning(prune: Sequence[int], order: int) -> list[int]:
    """Return one pruning threshold an order.

    >>> check_pruning([0, 1], 4)
    [0, 1, 1, 1]

    Raises:
        LanguageModelError: order outside 1 to 6; more thresholds than orders, a falling one, or one for words.
    """
    if not 1 <= order <= MAX_ORDER:
        raise LanguageModelError(f"expected an order of 1 to {MAX_ORDER}, got {order}")
    full = [*(prune or [0])]
    full += [full[-1]] * (order - len(full))
    if len(full) > order or full[0] != 0 or full != sorted(full):
        raise LanguageModelError(
            f"expected at most {order} pruning thresholds (one an order) that start with 0 and never fall, "
            f"got {' '.join(map(str, prune))}; words are limited by the vocabulary limit"
        )
    return full


def _discounts(n_by_count: Ints, order: int) -> Discounts:
    """Estimate discounts in closed form (Chen and Goodman, equation 26), or fall back as lmplz can."""
    n = [int(number) for number in n_by_count]
    missing = next((count for count in (1, 2, 3) if not n[count]), None)
    if missing:
        return Discounts(FALLBACK_DISCOUNTS, f"the text has no {order}-gram with an adjusted count of {missing}")
    y = n[1] / (n[1] + 2 * n[2])
    values = [count - (count + 1) * y * n[count + 1] / n[count] for count in (1, 2, 3)]
    if any(not 0 <= value <= count for count, value in enumerate(values, start=1)):
        text = ", ".join(f"{value:.3f}" for value in values)
        return Discounts(FALLBACK_DISCOUNTS, f"the {order}-grams' discounts {text} are not within 0 and the count")
    return Discounts((values[0], values[1], values[2]), "")


def _interpolate(words: list[str], counts: list[Counts], discounts: list[Floats], progress: Progress) -> Model:
    """Turn counts into probabilities and back-offs, order by order, and leave out what is pruned."""
    kept_words = np.flatnonzero(~counts[0].pruned)
    new_word = _ranks(counts[0].pruned)
    lower_probs = _unigram_probs(counts[0], discounts[0], len(kept_words))
    grams = NGrams(np.arange(len(kept_words)), np.zeros(len(kept_words), np.int64), _log10(lower_probs), np.zeros(0))
    orders: list[NGrams] = []
    ranks = new_word
    for n, counted in enumerate(counts[1:], start=2):
        below = counts[n - 2]
        totals, gammas = _context_sums(counted, discounts[n - 1], len(below))
        is_context = (totals > 0) & ~below.pruned
        backoffs = np.ones(len(below))
        backoffs[is_context] = gammas[is_context] / totals[is_context]
        orders.append(NGrams(grams.keys, grams.contexts, grams.log_probs, _log10(backoffs[~below.pruned])))
        parts = []
        for block in blocks(len(counted)):
            kept = ~counted.pruned[block]
            keys, contexts = counted.keys[block][kept], counted.contexts[block][kept]
            adjusted = counted.adjusted[block][kept]
            suffixes = ranks[keys >> WORD_BITS]
            probs = (adjusted - discounts[n - 1][np.minimum(adjusted, 3)]) / totals[contexts]
            probs += backoffs[contexts] * lower_probs[suffixes]
            parts.append((suffixes << WORD_BITS | new_word[keys & WORD_MASK], ranks[contexts], probs))
            progress(f"estimating order {n}", block.stop, len(counted))
        keys, contexts, lower_probs = (np.concatenate(column) for column in zip(*parts, strict=True))
        grams = NGrams(keys, contexts, _log10(lower_probs), np.zeros(0))
        ranks = _ranks(counted.pruned)
    orders.append(NGrams(grams.keys, grams.contexts, grams.log_probs, np.zeros(len(grams), np.float32)))
    return Model([words[number] for number in kept_words], orders)


def _unigram_probs(counted: Counts, discounts: Floats, n_kept: int) -> Floats:
    """Return the kept words' probabilities; <s>, which nothing predicts, has 1."""
    totals, gammas = _context_sums(counted, discounts, 1)
    adjusted = counted.adjusted[~counted.pruned]
    probs: Floats = (adjusted - discounts[np.minimum(adjusted, 3)]) / totals[0]
    probs += gammas[0] / totals[0] / (n_kept - 1)  # <s> is not among those that share
    probs[BOS] = 1.0
    return probs


def _context_sums(counted: Counts, discounts: Floats, n_contexts: int) -> tuple[Floats, Floats]:
    """Return, for each context, the sum of the adjusted counts, and the part of it that lower orders get."""
    totals, gammas = np.zeros(n_contexts), np.zeros(n_contexts)
    for block in blocks(len(counted)):
        adjusted, contexts = counted.adjusted[block], counted.contexts[block]
        np.add.at(totals, contexts, adjusted)
        discounted = discounts[np.minimum(adjusted, 3)]
        np.add.at(gammas, contexts, np.where(counted.pruned[block], adjusted, discounted))
    return totals, gammas


def _ranks(pruned: Ints) -> Ints:
    """Return the index among the kept ones of each n-gram."""
    ranks: Ints = np.cumsum(~pruned) - 1
    return ranks


def _log10(values: Floats) -> Floats:
    logs: Floats = np.log10(values).astype(np.float32)
    return logs
