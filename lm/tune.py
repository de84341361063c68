"""Find the weights of a language model in the beam search, many settings from one pass of decoding.

Each utterance is decoded a few times with a wide beam; the union of what comes out is its list of candidates. Under any
setting, a candidate's score is the sum of its parts times their weights, so a whole surface of settings is computed
from the same lists. What no list holds cannot be found that way: check the chosen setting by decoding with it. That is
done with several prunings, which do not show in the lists.
"""

import itertools
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from decode.beam import BeamConfig, BeamSearch
from decode.lexicon import Lexicon
from decode.lm import Ngram, WordScorer
from decode.words import split_words
from lm.corpus import Progress, no_progress
from lm.model import Floats, Ints, LanguageModelError

GATHERING_ALPHAS = (0.0, 0.4, 0.9)  # from the plain acoustic model to one that trusts the language model
LN_10 = float(np.log(10.0))
MAX_RISE = 0.01  # of any domain's word error rate over that without a language model
MAX_LOSS = 0.001  # of the mean word error rate, for a faster search
PRUNINGS = ((-9.0, -18.0), (-7.5, -15.0), (-6.0, -12.0), (-5.0, -10.0), (-4.0, -8.0), (-3.0, -6.0))
"""``token_min_log_prob`` and ``beam_prune_log_prob`` to try, the loosest first."""


@dataclass(frozen=True)
class Utterances:
    """What is decoded, and what should come out."""

    log_probs: Sequence[Floats]
    """``(T, V)`` natural log-probabilities of each."""
    references: Sequence[str]
    """Normalised text of each."""
    domains: Sequence[str]
    """Domain of each."""


@dataclass(frozen=True)
class Candidates:
    """The N hypotheses of U utterances."""

    utterance_ids: Ints
    """``(N,)``, rising."""
    log_probs: Floats
    """``(N,)`` natural log-probability of the tokens given the audio."""
    lm_log_probs: Floats
    """``(N,)`` natural log-probability of the text, with that of <unk> for unknown words, and of its end."""
    n_words: Ints
    """``(N,)``."""
    n_unknown: Ints
    """``(N,)`` words that the language model does not know."""
    errors: Ints
    """``(N,)`` word errors."""


@dataclass(frozen=True)
class Surface:
    """Word error rates over a grid of settings, as fractions."""

    unk_scores: Floats
    """``(U,)``."""
    alphas: Floats
    """``(A,)``."""
    betas: Floats
    """``(B,)``."""
    domains: list[str]
    """D names, sorted."""
    wer: Floats
    """``(D, U, A, B)``."""
    without: Floats
    """``(D,)``: of the candidates that are best by the audio alone."""

    @property
    def macro(self) -> Floats:
        """Mean over the domains, ``(U, A, B)``."""
        mean: Floats = self.wer.mean(axis=0)
        return mean

    def best(self) -> tuple[int, int, int]:
        """Return the indexes of unk_score, alpha and beta with the lowest mean over the domains.

        A setting counts together with its neighbours in alpha and beta, so that a lucky one is not chosen. Settings
        under which a domain's rate rises by more than 1 point over that of the audio alone are passed over, unless all
        are such.
        """
        fits = (self.wer <= self.without[:, None, None, None] + MAX_RISE).all(axis=0)
        padded = np.pad(self.macro, ((0, 0), (1, 1), (1, 1)), mode="edge")
        smooth = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (1, 2)).mean(axis=(-2, -1))
        rates = np.where(fits, smooth, np.inf) if fits.any() else smooth
        unk_id, alpha_id, beta_id = np.unravel_index(int(rates.argmin()), rates.shape)
        return int(unk_id), int(alpha_id), int(beta_id)


@dataclass(frozen=True)
class Decoded:
    """What decoding with one setting gave."""

    config: BeamConfig
    """The setting."""
    wer: dict[str, float]
    """By domain, as a fraction."""
    cpu_s: float
    """Processor time."""

    @property
    def macro(self) -> float:
        """Mean over the domains."""
        return sum(self.wer.values()) / len(self.wer)


def gather(
    utterances: Utterances,
    *,
    ngram: Ngram,
    lexicon: Lexicon,
    scorer: Any,
    pieces: Sequence[str],
    spell: Callable[[Sequence[int]], str],
    count_errors: Callable[[Sequence[str], Sequence[str]], int],
    config: BeamConfig,
    n_best: int = 50,
    progress: Progress = no_progress,
) -> Candidates:
    """Decode all utterances with several weights and collect what comes out.

    Args:
        utterances: log-probs and references.
        ngram: the language model, for the search.
        lexicon: its words.
        scorer: the same model, loaded by ``lm.perplexity.load_kenlm``.
        pieces: the tokens' pieces.
        spell: turns token ids into text.
        count_errors: word errors of a reference's words and a hypothesis' words.
        config: how to search; alpha is varied.
        n_best: hypotheses kept of each search.
        progress: called after each utterance.

    Raises:
        ValueError: log-probs that do not fit the pieces, or words that the pieces cannot spell.
    """
    searches = []
    for alpha in GATHERING_ALPHAS:
        varied = replace(config, alpha=alpha)
        scorers = [WordScorer(ngram, lexicon, pieces, varied)] if alpha else []
        searches.append(BeamSearch(len(pieces) + 1, len(pieces), varied, scorers))
    rows: list[tuple[float, ...]] = []
    for number, (log_probs, reference) in enumerate(zip(utterances.log_probs, utterances.references, strict=True)):
        expected = split_words(reference)
        for log_prob, text in _candidates(searches, log_probs, n_best, spell):
            words = split_words(text)
            scores = list(scorer.full_scores(" ".join(words)))
            rows.append(
                (
                    number,
                    log_prob,
                    LN_10 * sum(score[0] for score in scores),
                    len(words),
                    sum(bool(score[2]) for score in scores),
                    count_errors(expected, words),
                )
            )
        progress("decoding", number + 1, len(utterances.references))
    table = np.array(rows, np.float64).reshape(-1, 6)
    ids = table[:, [0, 3, 4, 5]].astype(np.int64).T
    return Candidates(ids[0], table[:, 1], table[:, 2], ids[1], ids[2], ids[3])


def surface(
    candidates: Candidates, utterances: Utterances, unk_scores: Floats, alphas: Floats, betas: Floats
) -> Surface:
    """Return the word error rates of every choice of weights.

    Raises:
        LanguageModelError: a domain without a word in its references.
    """
    names, domain_ids = np.unique(utterances.domains, return_inverse=True)
    n_words = np.array([len(split_words(reference)) for reference in utterances.references])
    totals = np.bincount(domain_ids, n_words)
    if not totals.all():
        raise LanguageModelError(
            f"no word in the references of {names[int(totals.argmin())]}: add some that have words"
        )
    starts = np.searchsorted(candidates.utterance_ids, np.arange(len(n_words) + 1))

    def rates(scores: Floats) -> Floats:
        best = [start + int(scores[start:end].argmax()) for start, end in itertools.pairwise(starts)]
        return np.bincount(domain_ids, candidates.errors[best]) / totals

    shape = (len(unk_scores), len(alphas), len(betas))
    wer = np.empty((len(names), *shape))
    for unk_id, alpha_id, beta_id in np.ndindex(shape):
        scores = candidates.log_probs + alphas[alpha_id] * candidates.lm_log_probs
        scores = scores + betas[beta_id] * candidates.n_words + unk_scores[unk_id] * candidates.n_unknown
        wer[:, unk_id, alpha_id, beta_id] = rates(scores)
    return Surface(unk_scores, alphas, betas, names.tolist(), wer, rates(candidates.log_probs))


def decode(
    utterances: Utterances,
    search: BeamSearch,
    spell: Callable[[Sequence[int]], str],
    count_errors: Callable[[Sequence[str], Sequence[str]], int],
    progress: Progress = no_progress,
) -> Decoded:
    """Return what a search really makes of the utterances; arguments as of ``gather``."""
    errors: dict[str, int] = {}
    n_words: dict[str, int] = {}
    cpu_s = 0.0
    rows = zip(utterances.log_probs, utterances.references, utterances.domains, strict=True)
    for number, (log_probs, reference, domain) in enumerate(rows, start=1):
        start = time.process_time()
        search.begin()
        search.step(log_probs)
        token_ids = search.end()[0].token_ids
        cpu_s += time.process_time() - start
        expected = split_words(reference)
        errors[domain] = errors.get(domain, 0) + count_errors(expected, split_words(spell(token_ids)))
        n_words[domain] = n_words.get(domain, 0) + len(expected)
        progress("checking", number, len(utterances.references))
    return Decoded(search.config, {domain: errors[domain] / n_words[domain] for domain in sorted(errors)}, cpu_s)


def tightest(tried: Sequence[Decoded]) -> Decoded:
    """Return the tightest pruning that costs nearly nothing, of some that are given from the loosest to the tightest.

    Its mean rate, and those between it and the best, are at most 0.1 points above the best.

    >>> tried = [Decoded(BeamConfig(beam_width=n), {"x": wer}, 1.0) for n, wer in ((9, 0.1), (5, 0.1005), (2, 0.2))]
    >>> tightest(tried).config.beam_width
    5
    """
    rates = [each.macro for each in tried]
    best = rates.index(min(rates))
    return list(itertools.takewhile(lambda each: each.macro <= rates[best] + MAX_LOSS, tried[best:]))[-1]


def _candidates(
    searches: Iterable[BeamSearch], log_probs: Floats, n_best: int, spell: Callable[[Sequence[int]], str]
) -> list[tuple[float, str]]:
    """Return the different hypotheses of all searches: log-probability and text."""
    found: dict[tuple[int, ...], float] = {}
    for search in searches:
        search.begin()
        search.step(log_probs)
        for hypothesis in search.end(n_best):
            known = found.get(hypothesis.token_ids, -np.inf)
            found[hypothesis.token_ids] = max(known, hypothesis.log_prob)  # what a narrow beam lost is too low
    return [(log_prob, spell(token_ids)) for token_ids, log_prob in found.items()]
