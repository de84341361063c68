"""How sure an error rate is, and whether two systems differ: resampling of speakers, or else of utterances.

What is resampled is a block: errors and reference length of one speaker, because the errors of a speaker go together
(Bisani and Ney, ICASSP 2004; Liu and Peng, arXiv:1912.09508). Where a domain has fewer than `MIN_SPEAKERS` speakers, or
some utterance names none, single utterances are the blocks, and the figures speak for those speakers only.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

N_RESAMPLES = 1000
# With five, no sequence of signs is rarer than 2 in 32: a paired test could never reach 5 %.
MIN_SPEAKERS = 6
# Resamples of a few blocks can have nearly no spread, and a studentised value without bound.
MAX_STANDARD_ERRORS = 6.0
N_FLIPS = 10_000
# Integers drawn at once: bounds the memory to some 25 MB, however many blocks there are.
MAX_DRAWS = 3_000_000
ALPHA, POWER = 0.05, 0.8


@dataclass(frozen=True)
class Blocks:
    """Integer sums `(n_blocks, n_columns)` over what is resampled together."""

    sums: Integers
    by: Literal["speaker", "utterance"]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Two systems on the same utterances: B's error rate minus A's."""

    rate_a: float
    rate_b: float
    ci95: tuple[float, float]
    """95 % bootstrap interval of the difference."""
    p: float
    """How often a difference this large would come up if the systems were equal (paired permutation test)."""
    detectable: float
    """The smallest true difference that a set of this size and these systems would show in 80 % of tries."""
    by: Literal["speaker", "utterance"]
    """What was resampled."""

    @property
    def value(self) -> float:
        """B's rate minus A's: negative when B is better."""
        return self.rate_b - self.rate_a

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        shown = {name: getattr(self, name) for name in ("rate_a", "rate_b", "p", "detectable", "by")}
        return {**shown, "difference": self.value, "difference_ci95": list(self.ci95)}


def make_blocks(speakers: Sequence[str], values: npt.ArrayLike) -> Blocks:
    """Sum the rows of `values` over speakers; `speakers` and `values` `(n, n_columns)` have an entry an utterance."""
    values = np.asarray(values, dtype=np.int64)
    names = sorted(set(speakers))
    if len(names) < MIN_SPEAKERS or not names[0]:
        return Blocks(values, "utterance")
    numbers = {name: number for number, name in enumerate(names)}
    sums = np.zeros((len(names), values.shape[1]), dtype=np.int64)
    np.add.at(sums, [numbers[speaker] for speaker in speakers], values)
    return Blocks(sums, "speaker")


def rate_interval(errors: Integers, lengths: Integers, generator: np.random.Generator) -> tuple[float, float] | None:
    """Return the 95 % interval of sum(errors) / sum(lengths) over blocks; None with fewer than two, or no length.

    The studentised bootstrap: a resample's distance from the rate is measured in its own standard errors, which keeps
    the coverage near 95 % for few blocks and skewed errors, where percentiles of the rate are too narrow.
    """
    if len(errors) < 2 or not lengths.any():
        return None
    low, high = _interval(errors, lengths, generator)
    return max(low, 0.0), high


def compare_rates(blocks: Blocks, generator: np.random.Generator) -> Difference:
    """Compare two systems; the columns of `blocks` are A's errors, B's errors and the reference length.

    The test draws, for each block, which of the two error counts is whose (Fisher-Pitman, or approximate
    randomisation): exact when the systems are equal, for any distribution of errors.
    """
    a, b, lengths = blocks.sums.T
    total, differences = max(int(lengths.sum()), 1), b - a
    return Difference(
        rate_a=float(a.sum() / total),
        rate_b=float(b.sum() / total),
        ci95=_interval(differences, lengths, generator),
        p=sign_flip_test(differences, generator),
        detectable=(NormalDist().inv_cdf(1 - ALPHA / 2) + NormalDist().inv_cdf(POWER))
        * _standard_error(np.stack([differences, lengths], axis=1), np.ones(len(a), dtype=np.int64)),
        by=blocks.by,
    )


def sign_flip_test(differences: Integers, generator: np.random.Generator) -> float:
    """Return the two-sided p-value of sum(differences) when the sign of each is a coin's.

    Differences of one size are drawn together, as a binomial, so a hundred thousand utterances take no longer.

    >>> sign_flip_test(np.array([3, 0, 1, 2, 2, 1]), np.random.default_rng(0)) < 0.1  # 2 of 32
    True
    """
    sizes, numbers = np.unique(np.abs(differences[differences != 0]), return_counts=True)
    heads = generator.binomial(numbers, 0.5, size=(N_FLIPS, len(sizes)))
    sums = (2 * heads - numbers) @ sizes
    return float((1 + np.sum(np.abs(sums) >= abs(differences.sum()))) / (1 + N_FLIPS))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust the p-values of several tests so that any false alarm among them has the stated chance (Holm 1979).

    >>> holm([0.01, 0.4, 0.02])
    [0.03, 0.4, 0.04]
    """
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def _interval(errors: Integers, lengths: Integers, generator: np.random.Generator) -> tuple[float, float]:
    """Studentised bootstrap of a ratio of sums; `errors` may be negative."""
    total = int(lengths.sum())
    if not total:
        return 0.0, 0.0
    # Equal blocks are drawn together: the same distribution, in less time and memory.
    pairs, numbers = np.unique(np.stack([errors, lengths], axis=1), axis=0, return_counts=True)
    rate, error = float(errors.sum() / total), _standard_error(pairs, numbers)
    if error < 1e-12:  # all blocks alike, as when there are no errors: what so many words could have hidden
        hidden = 1 - (ALPHA / 2) ** (1 / total)
        return rate - hidden, rate + hidden
    distances = np.sort(np.concatenate(list(_distances(pairs, numbers, rate, generator))))
    cut = int(ALPHA / 2 * len(distances))
    low, high = np.clip(distances[[cut, -1 - cut]], -MAX_STANDARD_ERRORS, MAX_STANDARD_ERRORS).tolist()
    return rate - high * error, rate - low * error


def _distances(pairs: Integers, numbers: Integers, rate: float, generator: np.random.Generator) -> Iterator[Floats]:
    """Yield arrays of (resampled rate - rate) / (its standard error)."""
    n_blocks, n_at_once = int(numbers.sum()), max(1, MAX_DRAWS // len(numbers))
    errors, lengths = pairs.astype(np.float64).T
    moments = np.stack([errors, lengths, errors * errors, errors * lengths, lengths * lengths], axis=1)
    for n_done in range(0, N_RESAMPLES, n_at_once):
        draws = generator.multinomial(n_blocks, numbers / n_blocks, size=min(n_at_once, N_RESAMPLES - n_done))
        e, n, ee, en, nn = (draws @ moments)[draws @ lengths > 0].T
        rates = e / n
        squares = np.maximum(ee - 2 * rates * en + rates**2 * nn, 0)
        errors_of_rates = np.sqrt(squares * n_blocks / (n_blocks - 1)) / n
        yield _divide(rates - rate, errors_of_rates)


def _divide(away: Floats, error: Floats) -> Floats:
    """Divide; what has no standard error is beyond every limit, or 0 where it is not away at all."""
    far = np.where(np.abs(away) < 1e-12, 0.0, np.copysign(np.inf, away))
    return np.divide(away, error, out=far, where=error > 1e-12)


def _standard_error(pairs: Integers, numbers: Integers) -> float:
    """Linearised standard error of a ratio of sums; `pairs` `(K, 2)` of errors and length occur `numbers` times."""
    errors, lengths = pairs.T
    n_blocks, total = int(numbers.sum()), float(numbers @ lengths)
    if n_blocks < 2 or not total:
        return 0.0
    residuals = errors - lengths * (float(numbers @ errors) / total)
    return sqrt(float(numbers @ residuals**2) * n_blocks / (n_blocks - 1)) / total
