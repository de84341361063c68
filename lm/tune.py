"""Find the weights of a language model in the beam search, many settings from one pass of decoding.

Each utterance is decoded a few times; the union of what comes out is its list of candidates. Under any setting, a
candidate's score is the sum of its parts times their weights, so a whole surface of settings is computed from the same
lists. What no list holds cannot be found that way. So the setting that looks best is decoded with, its hypotheses join
the lists, and the surface is computed again, until the best setting has been decoded with (as in Och, "Minimum error
rate training", ACL 2003). The prunings, which do not show in the lists, are tried one after the other.
"""

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from decode.beam import BeamSearch
from decode.config import BeamConfig
from decode.lexicon import Lexicon
from decode.lm import Ngram, WordScorer
from decode.words import split_words
from lm.corpus import Progress, no_progress
from lm.model import Floats
from lm.surface import Candidates, Surface, Utterances, surface

FIRST_WEIGHTS = ((0.3, 1.0), (0.6, 3.0), (1.0, 2.0), (1.0, 6.0))
"""alpha and beta that the lists are begun with, after the acoustic model alone."""
MAX_ROUNDS = 10
PRIOR_WEIGHTS = (0.0, 0.2, 0.4, 0.6)
"""``prior_weight`` to try."""
N_BEST = 50  # hypotheses of each search that join the lists
LN_10 = float(np.log(10.0))
MAX_LOSS = 0.001  # of the mean word error rate, for a faster search
PRUNINGS = ((-9.0, -18.0), (-7.5, -15.0), (-6.0, -12.0), (-5.0, -10.0), (-4.0, -8.0), (-3.0, -6.0))
"""``token_min_log_prob`` and ``beam_prune_log_prob`` to try, the loosest first."""


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


@dataclass(frozen=True)
class Task:
    """What is to be decoded, and all that decoding and scoring need."""

    utterances: Utterances
    """Log-probs and references."""
    ngram: Ngram
    """The language model, for the search."""
    lexicon: Lexicon
    """Its words."""
    scorer: Any
    """The same model, loaded by ``lm.perplexity.load_kenlm``."""
    pieces: Sequence[str]
    """The tokens' pieces; the blank is the label behind them."""
    spell: Callable[[Sequence[int]], str]
    """Turns token ids into text."""
    count_errors: Callable[[Sequence[str], Sequence[str]], int]
    """Word errors of a reference's words and a hypothesis' words."""

    def search(self, config: BeamConfig, *, with_lm: bool = True) -> BeamSearch:
        """Return a fresh search.

        Raises:
            ValueError: words that the pieces cannot spell.
        """
        scorers = [WordScorer(self.ngram, self.lexicon, self.pieces, config)] if with_lm else []
        return BeamSearch(len(self.pieces) + 1, len(self.pieces), config, scorers)


class Lists:
    """The candidates of a task's utterances, each once, with their parts."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._references = [split_words(reference) for reference in task.utterances.references]
        self._found: list[dict[tuple[int, ...], list[float]]] = [{} for _ in self._references]

    def extend(self, search: BeamSearch, n_best: int = N_BEST, progress: Progress = no_progress) -> None:
        """Decode all utterances and add what comes out.

        Raises:
            ValueError: log-probs that do not fit the pieces.
        """
        for number, log_probs in enumerate(self._task.utterances.log_probs):
            found = self._found[number]
            search.begin()
            search.step(log_probs)
            for hypothesis in search.end(n_best):
                token_ids, log_prob = hypothesis.token_ids, hypothesis.log_prob
                if token_ids in found:
                    found[token_ids][0] = max(found[token_ids][0], log_prob)  # what a narrow beam lost is too low
                else:
                    found[token_ids] = [log_prob, *self._parts(number, token_ids)]
            progress("decoding", number + 1, len(self._found))

    def candidates(self) -> Candidates:
        """Return what was found."""
        utterance_ids = np.repeat(np.arange(len(self._found)), [len(found) for found in self._found])
        table = np.array([row for found in self._found for row in found.values()], np.float64).reshape(-1, 5)
        ids = table[:, 2:].astype(np.int64).T
        return Candidates(utterance_ids, table[:, 0], table[:, 1], *ids)

    def _parts(self, number: int, token_ids: tuple[int, ...]) -> list[float]:
        """Return the language model's log-probability, the words, the unknown ones, and the errors."""
        words = split_words(self._task.spell(token_ids))
        scores = list(self._task.scorer.full_scores(" ".join(words)))
        n_unknown = sum(bool(score[2]) for score in scores)
        errors = self._task.count_errors(self._references[number], words)
        return [LN_10 * sum(score[0] for score in scores), len(words), n_unknown, errors]


def find_weights(
    task: Task,
    config: BeamConfig,
    grid: tuple[Floats, Floats, Floats],
    progress: Progress = no_progress,
) -> tuple[Surface, BeamConfig]:
    """Return the surface over a grid, and the config with its best weights.

    Args:
        task: what is decoded.
        config: how to search; the weights are varied.
        grid: values of unk_score, alpha and beta.
        progress: called after each utterance.

    Raises:
        ValueError: log-probs that do not fit the pieces, or words that the pieces cannot spell.
        LanguageModelError: a domain without a word in its references.
    """
    lists, whole = Lists(task), replace(config, recombine=False)  # the scores of what is recombined are estimates
    lists.extend(task.search(whole, with_lm=False), progress=progress)
    for alpha, beta in FIRST_WEIGHTS:
        lists.extend(task.search(replace(whole, alpha=alpha, beta=beta)), progress=progress)
    tried: set[BeamConfig] = set()
    for _ in range(MAX_ROUNDS):
        found = surface(lists.candidates(), task.utterances, *grid)
        unk_score, alpha, beta = (values[index] for values, index in zip(grid, found.best(), strict=True))
        best = replace(config, unk_score=float(unk_score), alpha=float(alpha), beta=float(beta))
        if best in tried:
            break
        tried.add(best)
        lists.extend(task.search(replace(best, recombine=False)), progress=progress)
    return found, best


def find_settings(
    task: Task,
    config: BeamConfig,
    grid: tuple[Floats, Floats, Floats],
    prior_weights: Sequence[float] = PRIOR_WEIGHTS,
    progress: Progress = no_progress,
) -> tuple[Surface, BeamConfig]:
    """Do as `find_weights` under every weight of the labels' priors; return what decodes best, the first if many do.

    The surface's rates without a language model are those under the first weight.
    """
    found = [find_weights(task, replace(config, prior_weight=weight), grid, progress) for weight in prior_weights]
    macros = [decode(task, best, progress).macro for _, best in found]
    rates, best = found[macros.index(min(macros))]
    return replace(rates, without=found[0][0].without), best


def decode(task: Task, config: BeamConfig, progress: Progress = no_progress) -> Decoded:
    """Return what a search with the language model really makes of the utterances."""
    errors: dict[str, int] = {}
    n_words: dict[str, int] = {}
    cpu_s, search, utterances = 0.0, task.search(config), task.utterances
    rows = zip(utterances.log_probs, utterances.references, utterances.domains, strict=True)
    for number, (log_probs, reference, domain) in enumerate(rows, start=1):
        start = time.process_time()
        search.begin()
        search.step(log_probs)
        token_ids = search.end()[0].token_ids
        cpu_s += time.process_time() - start
        expected = split_words(reference)
        errors[domain] = errors.get(domain, 0) + task.count_errors(expected, split_words(task.spell(token_ids)))
        n_words[domain] = n_words.get(domain, 0) + len(expected)
        progress("checking", number, len(utterances.references))
    return Decoded(config, {domain: errors[domain] / n_words[domain] for domain in sorted(errors)}, cpu_s)


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
