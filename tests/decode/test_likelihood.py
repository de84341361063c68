"""Likelihoods of texts against the sum over every path."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest

from decode.greedy import collapse
from decode.likelihood import log_likelihood, log_likelihoods


@pytest.mark.parametrize("n_frames", range(6))
def test_it_is_the_sum_over_all_paths(n_frames: int) -> None:
    probabilities = np.random.default_rng(n_frames).dirichlet(np.ones(3), n_frames).reshape(n_frames, 3)
    totals: Counter[tuple[int, ...]] = Counter()
    for path in itertools.product(range(3), repeat=n_frames):
        frames = range(n_frames)
        totals[tuple(collapse(np.array(path, np.int64), 2))] += float(np.prod(probabilities[frames, path]))
    for tokens in [(), (0,), (0, 0), (0, 1), (1, 1, 0), (0, 1, 0), (1, 0, 1, 0, 1, 0)]:
        found = np.exp(log_likelihood(np.log(probabilities), tokens, blank_id=2))
        assert found == pytest.approx(totals[tokens], abs=1e-12)


def test_no_probability_at_all() -> None:
    with np.errstate(divide="ignore"):
        log_probs = np.log(np.array([[0.0, 1.0], [0.0, 1.0]]))
    assert log_likelihood(log_probs, [0], blank_id=1) == -np.inf
    assert log_likelihood(log_probs, [], blank_id=1) == 0.0


@pytest.mark.parametrize("tokens", [[1], [2], [-1]])
def test_labels_that_cannot_be(tokens: list[int]) -> None:
    with pytest.raises(ValueError, match=r"expected token_ids in \[0, 2\) without the blank 1"):
        log_likelihood(np.zeros((3, 2)), tokens, blank_id=1)


def test_several_texts_at_once() -> None:
    log_probs = np.log(np.random.default_rng(0).dirichlet(np.ones(3), 5))
    totals: dict[tuple[int, ...], float] = {}
    for path in itertools.product(range(3), repeat=5):
        text = tuple(collapse(np.array(path), 2))
        totals[text] = totals.get(text, 0.0) + float(np.exp(log_probs[np.arange(5), path].sum()))
    texts = sorted(totals)
    found = log_likelihoods(log_probs, texts, 2, floor=100)
    np.testing.assert_allclose(np.exp(found), [totals[text] for text in texts], rtol=1e-9)


def test_a_floor_bounds_what_a_wrong_label_costs_and_long_texts_are_impossible() -> None:
    log_probs = np.log(np.eye(3)[[0, 2, 0]] + 1e-30)
    wrong, right, too_long = log_likelihoods(log_probs, [[1, 1], [0, 0], [0, 1, 0, 1]], 2, floor=4.0)
    assert abs(right) < 0.1
    assert -8.1 < wrong < -7.0
    assert too_long < -1e20
