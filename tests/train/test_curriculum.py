"""The curriculum against simulated learners: what it draws is answered by a made-up CER."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest

from train.config import CurriculumConfig
from train.curriculum import Curriculum, Observation, prior_difficulty

N = 400
HARDNESS = np.linspace(0, 1, N)  # of the utterances of a simulated domain, in a random order below
Learner = Callable[[int, int], float]
"""(round, utterance) -> CER."""


def simulate(
    learner: Learner, rounds: int, *, seed: int = 0, draws: int = 60, chars: int = 60, **settings: object
) -> tuple[Curriculum, list[float], list[tuple[float, float]]]:
    """Run a curriculum of one domain; return it, the running CER and the window of each round."""
    generator = np.random.default_rng(seed)
    curriculum = Curriculum(CurriculumConfig(**settings), ["calls"] * N, np.full(N, 0.5))  # type: ignore[arg-type]
    cers, windows = [], []
    for number in range(rounds):
        progress = number / rounds
        drawn = generator.choice(np.flatnonzero(curriculum.admitted(progress)), size=draws)
        observations = [
            Observation(int(i), int(generator.binomial(chars, np.clip(learner(number, int(i)), 0, 1))), chars)
            for i in drawn
        ]
        curriculum.observe(observations, progress)
        window = curriculum.window("calls", progress)
        cers.append(curriculum.states["calls"].cer or 0.0)
        windows.append((window.low, window.high))
    return curriculum, cers, windows


def held(cers: list[float], target: float) -> float:
    """Share of rounds within 2 points of the target."""
    return float(np.mean([abs(cer - target) <= 0.02 for cer in cers]))


def test_a_learner_that_improves_is_held_at_the_target_while_the_window_moves_to_the_hard_end() -> None:
    def learner(number: int, index: int) -> float:  # hard ones fall from 60 % to 25 %, easy ones to 0
        return float(HARDNESS[index] * (0.25 + 0.35 * np.exp(-number / 200)))

    _, cers, windows = simulate(learner, 600, target_cer=0.15)
    assert held(cers[100:], 0.15) > 0.8
    assert windows[100][1] < 1 or windows[100][0] < windows[-1][0]  # the lower end has risen
    assert windows[-1][0] > 0 and windows[-1][1] == 1


def test_a_learner_that_gets_worse_is_given_easier_speech() -> None:
    def learner(number: int, index: int) -> float:
        return float(HARDNESS[index] * (0.25 if number < 300 else 0.4))

    _, cers, windows = simulate(learner, 600, target_cer=0.15)
    assert held(cers[100:300], 0.15) > 0.8 and held(cers[400:], 0.15) > 0.8
    assert windows[299][0] > windows[599][0]


def test_a_beginner_starts_with_the_easiest_and_the_window_opens() -> None:
    def learner(number: int, index: int) -> float:
        return float(np.exp(-number / 60) + 0.15 * HARDNESS[index])

    curriculum, _, windows = simulate(learner, 400, target_cer=0.10, easiest=0.3)
    assert windows[0] == pytest.approx((0.0, 0.3), abs=0.01)
    assert windows[-1][1] == 1.0
    assert curriculum.states["calls"].reached


def test_a_target_out_of_reach_opens_the_domain_instead_of_starving_it() -> None:
    curriculum, cers, windows = simulate(lambda number, index: 0.6, 200, target_cer=0.10, easiest=0.3, open_by=0.5)
    assert min(cers) > 0.5 and not curriculum.states["calls"].reached
    highs = [high for _, high in windows]
    assert highs[0] == pytest.approx(0.3, abs=0.01) and highs == sorted(highs)
    assert windows[100] == pytest.approx((0.0, 1.0), abs=0.01)


def test_a_domain_that_reaches_its_target_late_does_not_fall_back_to_its_easiest_part() -> None:
    def learner(number: int, index: int) -> float:
        return float((0.1 + 0.8 * HARDNESS[index]) * np.exp(-number / 100))

    curriculum, _, windows = simulate(learner, 300, target_cer=0.10)
    first = next(number for number, (low, _) in enumerate(windows) if low > 0)
    assert first > 60 and windows[first - 1] == (0.0, 1.0)  # open_by is a fifth of the run
    assert min(high for _, high in windows[60:]) > 0.9 and curriculum.states["calls"].reached


def test_without_focus_shares_stay() -> None:
    curriculum = Curriculum(CurriculumConfig(focus=0), ["a", "b"], np.zeros(2))
    curriculum.observe([Observation(0, 30, 100), Observation(1, 1, 100)], 0.0)
    assert curriculum.shares({"a": 0.5, "b": 0.5}) == {"a": 0.5, "b": 0.5}


def test_a_learned_domain_is_drawn_on_its_hardest_part() -> None:
    _, _, windows = simulate(lambda number, index: 0.01, 200, target_cer=0.10)
    assert windows[-1] == pytest.approx((0.9, 1.0), abs=0.01)  # `hardest` is 0.1


def test_shares_follow_the_distance_to_the_target() -> None:
    curriculum = Curriculum(CurriculumConfig(target_cer=0.1, least_share=0.1, focus=2), ["a", "b", "c"], np.zeros(3))
    base = {"a": 0.5, "b": 0.25, "c": 0.25}
    assert curriculum.shares(base) == base  # nothing is known
    curriculum.observe([Observation(0, 30, 100), Observation(1, 60, 100), Observation(2, 1, 100)], 0.0)
    weights = {"a": 0.5 * 0.5**2, "b": 0.25 * 1.0, "c": 0.25 * 0.1}  # 30 %, 60 % and 1 %, the last at the least share
    total = sum(weights.values())
    assert curriculum.shares(base) == pytest.approx({name: weight / total for name, weight in weights.items()})


def test_domains_have_their_own_targets_and_do_not_disturb_each_other() -> None:
    config = CurriculumConfig(target_cer=0.2, targets={"clean": 0.05})
    curriculum = Curriculum(config, ["calls"] * 50 + ["clean"] * 50, np.linspace(0, 1, 100))
    for number in range(100):
        observations = [Observation(i, 6, 60) for i in np.flatnonzero(curriculum.admitted(number / 100))]
        curriculum.observe(observations, number / 100)
    report = curriculum.report(1.0)
    assert report["calls"]["target"] == 0.2 and report["clean"]["target"] == 0.05
    assert (
        curriculum.states["calls"].level == pytest.approx(1) and not curriculum.states["clean"].reached
    )  # 10 % < 20 %, > 5 %
    shares = curriculum.shares({"calls": 0.5, "clean": 0.5})
    assert shares["calls"] == pytest.approx(0.2, abs=0.01)  # half of its target beside twice: a quarter as interesting


def test_every_domain_admits_something_at_all_times() -> None:
    curriculum = Curriculum(CurriculumConfig(easiest=0.01, hardest=0.01), ["a", "b", "b"], np.array([0.5, 0.1, 0.9]))
    for level in (-1.0, 0.0, 1.0):
        curriculum.states["a"].level = curriculum.states["b"].level = level
        admitted = curriculum.admitted(0.0)
        assert admitted[0] and admitted[1:].any()


def test_suspects_are_the_utterances_with_swapped_labels() -> None:
    wrong = {7, 100, 333}

    def learner(number: int, index: int) -> float:
        return 1.0 if index in wrong else float(np.exp(-number / 20) + 0.15)

    curriculum, _, _ = simulate(learner, 150, draws=120, target_cer=0.3)
    assert {suspect.index for suspect in curriculum.suspects()} == wrong
    hopeless, _, _ = simulate(lambda number, index: 1.0, 150, draws=120)
    assert hopeless.suspects() == []  # nobody learns: nobody stands out


def test_state_travels_through_json() -> None:
    curriculum, _, _ = simulate(lambda number, index: float(HARDNESS[index]), 30, target_cer=0.2)
    saved = json.loads(json.dumps(curriculum.state_dict()))
    other = Curriculum(curriculum.config, curriculum.domains, curriculum.prior)
    other.load_state(saved, curriculum.cer, curriculum.count)
    assert other.states == curriculum.states and other.hypotheses == curriculum.hypotheses
    np.testing.assert_array_equal(other.admitted(0.4), curriculum.admitted(0.4))


def test_prior_puts_short_and_trusted_first_within_a_domain() -> None:
    durations = np.array([1.0, 2.0, 3.0, 100.0, 200.0])
    domains = ["a", "a", "a", "b", "b"]
    np.testing.assert_allclose(prior_difficulty(durations, domains, [None] * 5), [0, 0.5, 1, 0, 1])
    rated = prior_difficulty(durations, domains, [0.1, None, 0.9, None, None])
    assert rated[0] == pytest.approx((0 + 1 - 0) / 2) and rated[2] == pytest.approx((1 + 1 - 1) / 2)
