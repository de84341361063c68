"""Mix n-gram models linearly into one: p(w | h) = sum of weight_i p_i(w | h).

The weights are the same everywhere or, by context, in part in proportion to weight_i p_i(h): after "two four", a model
of numbers counts for most (the dynamic mixture of SRILM's -bayes; here h is what the n-gram holds of it, so that the
result is an n-gram model again). The other part keeps every model in play, as one sentence can hold prose and numbers.

The mixture lists the n-grams of all models. Theirs are the probabilities of the formula; what is not listed gets a
back-off, computed so that each context's probabilities sum to one. A word that a model does not know has probability 0
in that model, whose <unk> adds to the mixture's <unk> (as SRILM does; Stolcke, 2002).
"""

from collections.abc import Sequence

import numpy as np

from lm.model import (
    BOS,
    SPECIAL_WORDS,
    WORD_BITS,
    WORD_MASK,
    Floats,
    Ints,
    LanguageModelError,
    Model,
    NGrams,
    context_keys,
    find,
)

MIN_BACKOFF_MASS = 1e-7  # an ARPA file's rounded numbers can sum to a little more than one
MIN_LOWER_MASS = 1e-5  # the unlisted words' share, below which it says nothing and the back-off is 1
MIN_LOG_PROB = -99.0
TINY = 1e-300  # in place of zero, to divide by
EVERYWHERE = 0.3
"""Part of the weights by context that is the same in all contexts. More of it makes digit strings and spelling less
probable (perplexity of random digits 27, 33, 40 and 116 for parts of 0, 0.3, 0.5 and 1 in a mixture of books,
transcripts and numbers), less of it makes mixed sentences so ("bin blue at f two now", not in any of the texts: 2,719,
1,654, 1,496 and 1,325); prose does not mind."""


def interpolate(models: Sequence[Model], weights: Sequence[float], *, by_context: bool = False) -> Model:
    """Mix models.

    Args:
        models: two or more, of any orders.
        weights: one a model, at least 0; they are scaled to sum to one.
        by_context: in each context, weigh each model by the probability that it gives to the context, too.

    Raises:
        LanguageModelError: weights that do not fit.
    """
    shares = check_weights(weights, len(models))
    words = [*SPECIAL_WORDS, *dict.fromkeys(word for model in models for word in model.words[len(SPECIAL_WORDS) :])]
    ids = {word: number for number, word in enumerate(words)}
    parts = [_Part(model, np.array([ids[word] for word in model.words]), len(words)) for model in models]
    probs = _mix([np.full(len(words), share) for share in shares], parts)
    probs[BOS] = 1.0
    orders: list[NGrams] = []
    grams = NGrams(np.arange(len(words)), np.zeros(len(words), np.int64), _log10(probs), np.zeros(0))
    for n in range(2, max(len(model.orders) for model in models) + 1):
        keys = np.unique(np.concatenate([part.keys(n) for part in parts]))
        contexts = find(grams.keys, context_keys(grams, keys))
        suffixes = keys >> WORD_BITS
        shares_here = _context_shares(shares, parts) if by_context else np.repeat(shares[:, None], len(grams), axis=1)
        for part in parts:
            part.rise(n, keys, contexts)
        upper = _mix(shares_here[:, contexts], parts)
        backoffs, scales = _normalize(upper, probs[suffixes], contexts, len(grams))
        upper *= scales[contexts]
        orders.append(NGrams(grams.keys, grams.contexts, grams.log_probs, _log10(backoffs)))
        grams, probs = NGrams(keys, contexts, _log10(upper), np.zeros(0)), upper
    return Model(
        words, [*orders, NGrams(grams.keys, grams.contexts, grams.log_probs, np.zeros(len(grams), np.float32))]
    )


def fit_weights(
    log_probs: Floats,
    known: Ints,
    counts: Floats,
    *,
    contexts: Floats | None = None,
    n_rounds: int = 500,
    tolerance: float = 1e-6,
) -> Floats:
    """Find the weights under which a text is most probable, by expectation maximisation.

    Weights by context, whose sum over the models is in the formula, take the step of iterative scaling instead: each
    weight times what its model explains over what it was given.

    Args:
        log_probs: ``(K, T)`` log10 probabilities of each word of the text under each of K models.
        known: bool ``(K, T)``, whether the model knows the word; words that none knows are left out.
        counts: ``(T,)``, how much each word counts.
        contexts: ``(K, T)`` log10 probabilities of the words before each word, for weights by context.
        n_rounds: at most so many steps.
        tolerance: stop when no weight changes by more.

    Returns:
        float64 ``(K,)``, summing to one.

    Raises:
        LanguageModelError: no model knows any word.
    """
    used = known.any(axis=0)
    probs = np.where(known, 10.0 ** np.asarray(log_probs, np.float64), 0.0)[:, used]
    if not probs.shape[1]:
        raise LanguageModelError("no word of the text to fit is in any of the models: check its language")
    before, everywhere = (np.ones_like(probs), 1.0) if contexts is None else (_relative(contexts[:, used]), EVERYWHERE)
    parts = counts[used] / counts[used].sum()
    weights = np.full(len(probs), 1 / len(probs))
    for _ in range(n_rounds):
        fixed = np.repeat(weights[:, None], probs.shape[1], axis=1)
        moving = _shared(fixed * before)
        per_word = probs / np.maximum((_blend(moving, fixed, everywhere) * probs).sum(axis=0), TINY)
        gained = _blend(moving, fixed, everywhere) * per_word
        given = moving * (1 - everywhere) * (moving * per_word).sum(axis=0)
        given += fixed * everywhere * (fixed * per_word).sum(axis=0)
        new = weights * (gained @ parts) / np.maximum(given @ parts, TINY)
        new /= new.sum()
        change = np.abs(new - weights).max()
        weights = new
        if change < tolerance:
            break
    return weights


def largest_deviation(model: Model) -> float:
    """Return how far from one, at most, the probabilities of all words after a context sum, over all contexts."""
    probs = 10.0 ** model.orders[0].log_probs.astype(np.float64)
    probs[BOS] = 0.0  # nothing predicts it
    sums = np.array([probs.sum()])
    worst = float(np.abs(sums - 1).max())
    for lower, grams in zip(model.orders, model.orders[1:], strict=False):
        shorter = sums[lower.keys >> WORD_BITS]  # 0, the empty context, for the words themselves
        upper = 10.0 ** grams.log_probs.astype(np.float64)
        listed = np.bincount(grams.contexts, upper, len(lower))
        listed_below = np.bincount(grams.contexts, probs[grams.keys >> WORD_BITS], len(lower))
        sums = listed + 10.0 ** lower.backoffs.astype(np.float64) * (shorter - listed_below)
        worst = max(worst, float(np.abs(sums - 1).max(initial=0.0)))
        probs = upper
    return worst


class _Part:
    """One model in the mixture's terms: its n-grams' places among the mixture's, and what it says to all of them."""

    def __init__(self, model: Model, word_ids: Ints, n_words: int) -> None:
        self._orders, self._word_ids, self._places = model.orders, word_ids, word_ids
        self.log_probs = np.full(n_words, -np.inf)
        self.log_probs[word_ids] = model.orders[0].log_probs
        self.joint = self.log_probs.copy()  # of all words of an n-gram; nothing predicts <s>, so it has 1
        self.joint[BOS] = 0.0

    def keys(self, n: int) -> Ints:
        """Return its n-grams' keys of order n (2 and up) in the mixture."""
        if n > len(self._orders):
            return np.zeros(0, np.int64)
        keys = self._orders[n - 1].keys
        shifted: Ints = self._places[keys >> WORD_BITS] << WORD_BITS | self._word_ids[keys & WORD_MASK]
        return shifted

    def rise(self, n: int, keys: Ints, contexts: Ints) -> None:
        """Go from order n - 1 to order n, whose n-grams in the mixture these are."""
        backoffs = np.zeros(len(self.log_probs))
        if n <= len(self._orders):
            backoffs[self._places] = self._orders[n - 2].backoffs
        self.log_probs = backoffs[contexts] + self.log_probs[keys >> WORD_BITS]
        self._places = find(keys, self.keys(n))
        if n <= len(self._orders):
            self.log_probs[self._places] = self._orders[n - 1].log_probs
        self.joint = self.joint[contexts] + self.log_probs


def check_weights(weights: Sequence[float], n_models: int) -> Floats:
    """Return the weights, scaled to sum to one.

    Raises:
        LanguageModelError: not one for each model, or not at least 0, or all 0.
    """
    shares = np.array(weights, np.float64)
    if len(shares) != n_models or (shares < 0).any() or not shares.sum() > 0 or not np.isfinite(shares).all():
        raise LanguageModelError(f"expected {n_models} weights of at least 0, got {' '.join(map(str, weights))}")
    normalized: Floats = shares / shares.sum()
    return normalized


def _context_shares(shares: Floats, parts: list[_Part]) -> Floats:
    """Return each model's weight after each n-gram of the order that the parts are at, ``(K, M)``."""
    moving = _shared(shares[:, None] * _relative(np.stack([part.joint for part in parts])))
    return _blend(moving, shares[:, None], EVERYWHERE)


def _blend(moving: Floats, fixed: Floats, everywhere: float) -> Floats:
    blended: Floats = (1 - everywhere) * moving + everywhere * fixed
    return blended


def _relative(log_probs: Floats) -> Floats:
    """Return probabilities ``(K, M)`` over the highest of each column; ones where all are 0."""
    highest = log_probs.max(axis=0)
    is_known = np.isfinite(highest)
    return np.where(is_known, 10.0 ** (log_probs - np.where(is_known, highest, 0)), 1.0)


def _shared(values: Floats) -> Floats:
    """Scale the columns of ``(K, M)`` to sum to one; those of zeros stay."""
    shared: Floats = values / np.maximum(values.sum(axis=0), TINY)
    return shared


def _mix(shares: Sequence[Floats] | Floats, parts: list[_Part]) -> Floats:
    """Return the weighted mean of what the parts say; the shares are ``(K, M)``."""
    mixed: Floats = sum((share * 10.0**part.log_probs for share, part in zip(shares, parts, strict=True)), np.zeros(1))
    return mixed


def _normalize(upper: Floats, lower: Floats, contexts: Ints, n_contexts: int) -> tuple[Floats, Floats]:
    """Return, for each context, its back-off, and the factor of its listed probabilities (1, but for rounding).

    Args:
        upper: probabilities of the listed n-grams.
        lower: probabilities of their last words after the shorter context.
        contexts: their contexts.
        n_contexts: how many contexts there are.
    """
    listed = np.bincount(contexts, upper, n_contexts)
    lower_mass = np.maximum(1 - np.bincount(contexts, lower, n_contexts), 0)
    is_context = np.bincount(contexts, minlength=n_contexts) > 0
    spread = lower_mass < MIN_LOWER_MASS
    mass = np.where(spread, lower_mass, np.maximum(1 - listed, MIN_BACKOFF_MASS))
    backoffs, scales = np.ones(n_contexts), np.ones(n_contexts)
    plain = is_context & ~spread
    backoffs[plain] = mass[plain] / lower_mass[plain]
    has_share = listed > 0  # not where all of its n-grams come from a model of weight 0
    scales[has_share] = (1 - mass[has_share]) / listed[has_share]
    return backoffs, scales


def _log10(probs: Floats) -> Floats:
    with np.errstate(divide="ignore"):
        logs: Floats = np.maximum(np.log10(probs), MIN_LOG_PROB).astype(np.float32)
    return logs
