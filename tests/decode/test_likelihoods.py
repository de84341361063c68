"""Likelihoods of texts against the sum over all paths."""

from __future__ import annotations

import itertools

import numpy as np

from decode.greedy import collapse
from decode.likelihood import log_likelihoods


def test_equals_the_sum_over_all_paths() -> None:
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
