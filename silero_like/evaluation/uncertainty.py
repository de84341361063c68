"""How sure an error rate is, and whether two systems differ: resampling of speakers, or else of utterances.

What is resampled is a block: errors and reference length of one speaker, because the errors of a speaker go together
(Bisani and Ney, ICASSP 2004; Liu and Peng, arXiv:1912.09508). Where a domain has fewer than `MIN_SPEAKERS` speakers, or
some utterance names none, single utterances are the blocks, and the figures speak for those speakers only.
"""

from collections.abc import Sequence
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
NORMAL = NormalDist()
TINY = 1e-12


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


def rate_interval(
    parts: Sequence[Blocks], columns: tuple[int, int], generator: np.random.Generator, weights: Sequence[float] = (1.0,)
) -> tuple[float, float] | None:
    """Return the 95 % interval of a weighted mean of rates, one a part; None where a part has nothing to resample.

    The studentised bootstrap: a resample's distance from the rate is measured in its own standard errors, which keeps
    the coverage near 95 % for few blocks and skewed errors, where percentiles of the rate are too narrow. Every part
    (domain) is resampled by itself, so that their shares stay as they are.

    Args:
        parts: blocks of each part.
        columns: of the blocks: errors, reference length. A part's rate is the ratio of their sums.
        weights: of the parts.
    """
    pairs = [part.sums[:, columns] for part in parts]
    if any(len(pair) < 2 or not pair[:, 1].any() for pair in pairs):
        return None
    low, high = _interval(pairs, weights, generator)
    return max(low, 0.0), high


def compare_rates(parts: Sequence[Blocks], generator: np.random.Generator) -> Difference:
    """Compare two systems; the columns of the blocks are A's errors, B's errors and the reference length.

    The test draws, for each block, which of the two error counts is whose (Fisher-Pitman, or approximate
    randomisation): exact when the systems are equal, for any distribution of errors.
    """
    pairs = [np.stack([part.sums[:, 1] - part.sums[:, 0], part.sums[:, 2]], axis=1) for part in parts]
    sums = sum(part.sums.sum(axis=0) for part in parts)
    total = max(int(sums[2]), 1)
    weights = [float(pair[:, 1].sum()) / total for pair in pairs]
    errors = (_standard_error(*_distinct(pair)) for pair in pairs)
    variance = sum((weight * error) ** 2 for weight, error in zip(weights, errors, strict=True))
    return Difference(
        rate_a=float(sums[0]) / total,
        rate_b=float(sums[1]) / total,
        ci95=_interval(pairs, weights, generator),
        p=sign_flip_test(np.concatenate(pairs)[:, 0], generator),
        detectable=(NORMAL.inv_cdf(1 - ALPHA / 2) + NORMAL.inv_cdf(POWER)) * sqrt(variance),
        by=all_by(parts),
    )


def all_by(parts: Sequence[Blocks]) -> Literal["speaker", "utterance"]:
    """Tell what the blocks of all parts are: speakers only if they are in every part."""
    return "speaker" if all(part.by == "speaker" for part in parts) else "utterance"


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


def _interval(
    pairs: Sequence[Integers], weights: Sequence[float], generator: np.random.Generator
) -> tuple[float, float]:
    """Studentised bootstrap of a weighted mean of ratios of sums; the errors, in column 0, may be negative."""
    rate = variance = 0.0
    away, variances = np.zeros(N_RESAMPLES), np.zeros(N_RESAMPLES)
    for pair, weight in zip(pairs, weights, strict=True):
        if not weight:
            continue
        one, error, ones, errors = _resample(pair, generator)
        rate, variance = rate + weight * one, variance + (weight * error) ** 2
        away, variances = away + weight * (ones - one), variances + (weight * errors) ** 2
    distances = np.sort(_divide(away, np.sqrt(variances)))
    cut = int(ALPHA / 2 * N_RESAMPLES)
    low, high = np.clip(distances[[cut, -1 - cut]], -MAX_STANDARD_ERRORS, MAX_STANDARD_ERRORS).tolist()
    return rate - high * sqrt(variance), rate - low * sqrt(variance)


def _resample(pair: Integers, generator: np.random.Generator) -> tuple[float, float, Floats, Floats]:
    """Return rate and standard error of errors and lengths `(n_blocks, 2)`, and those of every resample."""
    distinct, numbers = _distinct(pair)
    n_blocks, total = len(pair), int(pair[:, 1].sum())
    rate, error = float(pair[:, 0].sum() / total), _standard_error(distinct, numbers)
    if error < TINY:  # all blocks alike, as when there are no errors: what so many words could have hidden
        error = (1 - (ALPHA / 2) ** (1 / total)) / NORMAL.inv_cdf(1 - ALPHA / 2)
        normal = np.array([NORMAL.inv_cdf((rank + 0.5) / N_RESAMPLES) for rank in range(N_RESAMPLES)])
        return rate, error, rate + error * generator.permutation(normal), np.full(N_RESAMPLES, error)
    errors, lengths = distinct.astype(np.float64).T
    moments = np.stack([errors, lengths, errors * errors, errors * lengths, lengths * lengths], axis=1)
    n_at_once = max(1, MAX_DRAWS // len(numbers))
    sizes = [min(n_at_once, N_RESAMPLES - start) for start in range(0, N_RESAMPLES, n_at_once)]
    draws = (generator.multinomial(n_blocks, numbers / n_blocks, size=size) for size in sizes)
    e, n, ee, en, nn = np.concatenate([draw @ moments for draw in draws]).T
    n = np.where(n > 0, n, np.inf)  # a resample without words has the rate 0 and no spread
    rates = e / n
    squares = np.maximum(ee - 2 * rates * en + rates**2 * nn, 0)
    return rate, error, rates, np.sqrt(squares * n_blocks / (n_blocks - 1)) / n


def _distinct(pair: Integers) -> tuple[Integers, Integers]:
    """Return the different rows and how often each occurs: drawing equal blocks together saves time and memory."""
    rows, numbers = np.unique(pair, axis=0, return_counts=True)
    return rows, numbers


def _divide(away: Floats, error: Floats) -> Floats:
    """Divide; what has no standard error is beyond every limit, or 0 where it is not away at all."""
    far = np.where(np.abs(away) < TINY, 0.0, np.copysign(np.inf, away))
    return np.divide(away, error, out=far, where=error > TINY)


def _standard_error(pairs: Integers, numbers: Integers) -> float:
    """Linearised standard error of a ratio of sums; `pairs` `(K, 2)` of errors and length occur `numbers` times."""
    errors, lengths = pairs.T
    n_blocks, total = int(numbers.sum()), float(numbers @ lengths)
    if n_blocks < 2 or not total:
        return 0.0
    residuals = errors - lengths * (float(numbers @ errors) / total)
    return sqrt(float(numbers @ residuals**2) * n_blocks / (n_blocks - 1)) / total
