"""Word error rates over a grid of weights, from lists of hypotheses whose scores are known part by part."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from decode.words import split_words
from lm.model import Floats, Ints, LanguageModelError

MAX_RISE = 0.01  # of any domain's word error rate over that without a language model


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
