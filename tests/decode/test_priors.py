from __future__ import annotations

import numpy as np
import pytest

from decode.beam import BeamSearch, beam_decode
from decode.config import BeamConfig
from decode.priors import FLOOR, check_log_priors, find_log_priors, take_back

NO_PRUNING = {"beam_prune_log_prob": -1e9, "token_min_log_prob": -1e9, "blank_skip": 1, "recombine": False}


def test_priors_are_means_over_frames_not_over_utterances() -> None:
    long, short = np.log([[0.9, 0.1]] * 3), np.log([[0.5, 0.5]])
    assert find_log_priors([long, short, np.zeros((0, 2))]) == pytest.approx(np.log([0.8, 0.2]), abs=1e-4)
    with np.errstate(divide="ignore"):
        assert find_log_priors([np.log([[1.0, 0.0]])]) == pytest.approx([0, np.log(FLOOR)], abs=1e-4)


def test_what_is_left_is_a_distribution_and_equal_priors_change_nothing() -> None:
    log_probs = np.log(np.random.default_rng(0).dirichlet(np.ones(5), 20))
    left = take_back(log_probs, np.log([0.1, 0.2, 0.3, 0.2, 0.2]), 0.4)
    np.testing.assert_allclose(np.exp(left).sum(axis=1), 1)
    assert np.abs(left - log_probs).max() > 0.1
    np.testing.assert_allclose(take_back(log_probs, np.full(5, np.log(0.2)), 0.7), log_probs)
    np.testing.assert_allclose(take_back(left, np.log([0.1, 0.2, 0.3, 0.2, 0.2]), -0.4), log_probs)


def test_impossible_labels_stay_impossible() -> None:
    with np.errstate(divide="ignore"):
        left = take_back(np.log([[1.0, 0.0, 0.0]]), np.log([0.5, 0.4, 0.1]), 0.5)
    assert left.tolist() == [[0, -np.inf, -np.inf]]


def test_the_search_hears_a_rare_token_that_its_prior_had_hidden() -> None:
    """Of one frame: 0.5 blank, 0.3 of a frequent token, 0.2 of a rare one; divided by the priors the rare one wins."""
    log_probs, log_priors = np.log([[0.3, 0.2, 0.5]]), tuple(np.log([0.4, 0.1, 0.5]).tolist())
    assert beam_decode(log_probs, 2, BeamConfig(log_priors=log_priors))[0].token_ids == ()
    found = beam_decode(log_probs, 2, BeamConfig(log_priors=log_priors, prior_weight=1.0))[0]
    assert found.token_ids == (1,) and np.exp(found.log_prob) == pytest.approx(2 / (0.75 + 2 + 1))


@pytest.mark.parametrize("n_cut", [1, 3, 12])
def test_it_is_the_search_on_what_is_left_however_the_frames_are_cut(n_cut: int) -> None:
    generator = np.random.default_rng(1)
    log_probs, priors = np.log(generator.dirichlet(np.ones(4), 12)), np.log(generator.dirichlet(np.ones(4)))
    expected = beam_decode(take_back(log_probs, priors, 0.6), 3, BeamConfig(**NO_PRUNING), n_best=9)
    search = BeamSearch(4, 3, BeamConfig(**NO_PRUNING, prior_weight=0.6, log_priors=tuple(priors.tolist())))
    for start in range(0, 12, n_cut):
        search.step(log_probs[start : start + n_cut])
    found = search.end(9)
    assert [each.token_ids for each in found] == [each.token_ids for each in expected]
    assert [each.log_prob for each in found] == pytest.approx([each.log_prob for each in expected])


def test_priors_of_other_labels_are_refused() -> None:
    with pytest.raises(ValueError, match="expected log_priors of 3 labels, got 2: tune the search again"):
        check_log_priors((-1.0, -1.0), 3)
    with pytest.raises(ValueError, match="expected log_priors of 3 labels, got 2"):
        beam_decode(np.log([[0.3, 0.2, 0.5]]), 2, BeamConfig(log_priors=(-1.0, -1.0), prior_weight=0.1))
    beam_decode(np.log([[0.3, 0.2, 0.5]]), 2, BeamConfig(log_priors=(-1.0, -1.0)))  # not used
