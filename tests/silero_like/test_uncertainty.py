"""Intervals and paired tests: simulated experiments, cases worked by hand, the errors."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from silero_like.evaluation.uncertainty import Blocks, compare_rates, holm, make_blocks, rate_interval, sign_flip_test

Integers = npt.NDArray[np.int64]

EXPERIMENTS = [300, pytest.param(1000, marks=pytest.mark.slow)]
"""How often an experiment is repeated: enough to see a wrong formula, and as often as the bars ask for."""


def interval(errors: Integers, lengths: Integers, generator: np.random.Generator) -> tuple[float, float] | None:
    return rate_interval([Blocks(np.stack([errors, lengths], axis=1), "utterance")], (0, 1), generator)


@pytest.mark.parametrize("n_experiments", EXPERIMENTS)
@pytest.mark.parametrize(("n_blocks", "n_words"), [(120, (2, 20)), (25, (40, 320))], ids=["utterances", "speakers"])
def test_intervals_cover_the_truth_in_95_of_100_experiments(
    n_blocks: int, n_words: tuple[int, int], n_experiments: int
) -> None:
    """Every block has an error rate of its own, of mean 0.2; the bar is 93 to 97 %."""
    generator = np.random.default_rng(7)
    n_covered = 0
    for _ in range(n_experiments):
        lengths = generator.integers(*n_words, n_blocks)
        errors = generator.binomial(lengths, generator.beta(1.5, 6, n_blocks))
        low, high = interval(errors, lengths, generator) or (1.0, 0.0)
        n_covered += low <= 0.2 <= high
    assert 0.93 <= n_covered / n_experiments <= 0.97


@pytest.mark.parametrize(
    ("n_blocks", "n_experiments"), [(8, 1000), (100, 300), pytest.param(100, 1000, marks=pytest.mark.slow)]
)
def test_the_paired_test_raises_a_false_alarm_in_5_of_100_experiments(n_blocks: int, n_experiments: int) -> None:
    """Two equal systems that err on the same hard utterances; the bar is 3 to 7 %."""
    generator = np.random.default_rng(8)
    lengths = generator.integers(10, 60, (n_experiments, n_blocks))
    hard = generator.beta(1.5, 6, lengths.shape)
    a, b = generator.binomial(lengths, hard), generator.binomial(lengths, hard)
    n_alarms = sum(sign_flip_test(row, generator) <= 0.05 for row in b - a)
    assert 0.03 <= n_alarms / n_experiments <= 0.07


def test_a_difference_of_the_detectable_size_is_shown_in_about_80_of_100_experiments() -> None:
    generator = np.random.default_rng(9)
    lengths = np.full(400, 10)
    first = compare_rates([_blocks(generator, lengths, 0.0)], generator)
    n_shown = sum(
        compare_rates([_blocks(generator, lengths, first.detectable)], generator).p <= 0.05 for _ in range(200)
    )
    # 0.8 is exact only if the first draw's spread is the true one: its error of 5 % shifts the share by 0.04.
    assert n_shown / 200 == pytest.approx(0.8, abs=0.1)


def _blocks(generator: np.random.Generator, lengths: np.ndarray, shift: float) -> Blocks:
    errors = [generator.binomial(lengths, rate) for rate in (0.3, 0.3 - shift)]
    return Blocks(np.stack([*errors, lengths], axis=1), "utterance")


def test_the_interval_agrees_with_a_plain_bootstrap_where_that_is_good() -> None:
    generator = np.random.default_rng(5)
    errors, lengths = generator.integers(0, 6, size=400), np.full(400, 5)
    means = [generator.choice(errors, 400).mean() / 5 for _ in range(2000)]
    # 0.01: the spread of a 2.5 % quantile over 1,000 resamples is about 0.001 here, the skewness shifts it by as much.
    assert interval(errors, lengths, generator) == pytest.approx(np.percentile(means, [2.5, 97.5]), abs=0.01)


def test_all_domains_together_are_resampled_domain_by_domain() -> None:
    """A hard and an easy domain in fixed shares: only what varies within them makes the mean unsure."""
    generator = np.random.default_rng(3)
    n_covered, widths = 0, []
    for _ in range(300):
        parts = []
        for rate in (0.5, 0.05):
            lengths = generator.integers(5, 15, 60)
            errors = generator.binomial(lengths, rate)
            parts.append(Blocks(np.stack([errors, lengths], axis=1), "utterance"))
        low, high = rate_interval(parts, (0, 1), generator, [0.5, 0.5]) or (1.0, 0.0)
        n_covered += low <= 0.275 <= high
        widths.append(high - low)
    assert 0.92 <= n_covered / 300 <= 0.98  # three standard errors about 0.95 are 0.038
    # Four standard errors of a mean of two binomial rates over 600 words each.
    assert np.mean(widths) == pytest.approx(3.92 * np.sqrt(0.5 * 0.5 + 0.05 * 0.95) / 2 / np.sqrt(600), rel=0.1)


def test_no_error_at_all_is_not_certainty() -> None:
    found = interval(np.zeros(50, int), np.full(50, 2), np.random.default_rng(0))
    # 5e-4: the normal quantiles are those of 1,000 ranks.
    assert found == pytest.approx((0, 0.0362), abs=5e-4)  # Clopper and Pearson: 1 - 0.025^(1/100)


def test_one_block_and_no_words_have_no_interval() -> None:
    generator = np.random.default_rng(0)
    assert interval(np.array([1]), np.array([2]), generator) is None
    assert interval(np.array([1, 1]), np.array([0, 0]), generator) is None


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=2, max_size=12))
def test_the_interval_holds_the_rate_whatever_the_counts(blocks: list[tuple[int, int]]) -> None:
    errors, lengths = np.array(blocks).T
    found = interval(errors, lengths, np.random.default_rng(0))
    if found is not None:
        rate = errors.sum() / lengths.sum()
        assert 0 <= found[0] <= rate + 1e-9
        assert rate - 1e-9 <= found[1] < np.inf


def test_blocks_are_speakers_when_there_are_six_and_all_are_named() -> None:
    speakers = [*"abcdef", "a"]
    blocks = make_blocks(speakers, [[1, 10]] * 7)
    assert blocks.by == "speaker"
    assert blocks.sums.tolist() == [[2, 20], *([[1, 10]] * 5)]
    assert make_blocks([*"abcde", "a"], [[1, 10]] * 6).by == "utterance"
    assert make_blocks([*"abcdef", ""], [[1, 10]] * 7).by == "utterance"


def test_a_paired_test_by_hand() -> None:
    differences = np.array([1] * 6)
    assert sign_flip_test(differences, np.random.default_rng(0)) == pytest.approx(2 / 64, abs=0.01)  # 5 spreads
    assert sign_flip_test(np.array([0, 0]), np.random.default_rng(0)) == 1.0
    assert sign_flip_test(np.array([1, -1]), np.random.default_rng(0)) == 1.0


def test_a_difference_has_its_sign_and_its_interval() -> None:
    blocks = Blocks(np.array([[2, 1, 10], [3, 1, 10], [2, 2, 10], [4, 1, 10]]), "utterance")
    difference = compare_rates([blocks], np.random.default_rng(0))
    assert (difference.rate_a, difference.rate_b) == (11 / 40, 5 / 40)
    assert difference.value == pytest.approx(-6 / 40)
    assert difference.ci95[0] < -6 / 40 < difference.ci95[1]
    assert difference.to_dict()["difference"] == difference.value


def test_holm_by_hand() -> None:
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([]) == []
