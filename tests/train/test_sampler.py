from collections import Counter

import numpy as np
import pytest

from silero_like.errors import ConfigError
from train.sampler import DomainSampler, Draw, Position, domain_shares
from train.shapes import padded_samples

GENERATOR = np.random.default_rng(0)
DOMAINS = ["calls"] * 300 + ["talks"] * 60 + ["digits"] * 40
DURATIONS = np.concatenate([GENERATOR.uniform(1, 6, 300), GENERATOR.uniform(5, 12, 60), GENERATOR.uniform(0.3, 1, 40)])
EQUAL = {"calls": 1 / 3, "digits": 1 / 3, "talks": 1 / 3}
ALL = np.ones(400, np.bool_)


def sampler(world_size: int = 1, seed: int = 1, **changes: float) -> DomainSampler:
    settings = {"batch_s": 40.0, "round_batches": 10, **changes}
    return DomainSampler(
        DURATIONS, DOMAINS, speeds=[0.9, 1.0, 1.1], seed=seed, world_size=world_size, **settings  # type: ignore[arg-type]
    )  # fmt: skip


def rounds(source: DomainSampler, n: int, shares: dict[str, float] = EQUAL) -> list[list[list[list[Draw]]]]:
    """Plan some rounds: round, rank, batch, draw."""
    position, planned = source.start(), []
    for _ in range(n):
        ranks, position = source.plan(position, shares, ALL)
        planned.append(ranks)
    return planned


def flat(planned: list[list[list[list[Draw]]]]) -> list[int]:
    return [draw.index for ranks in planned for batches in ranks for batch in batches for draw in batch]


def test_shares_are_equal_by_default_natural_at_temperature_1_and_between_otherwise() -> None:
    counts = {"calls": 900, "digits": 100}
    assert domain_shares(counts, {}, None) == {"calls": 0.5, "digits": 0.5}
    assert domain_shares(counts, {}, 1.0) == pytest.approx({"calls": 0.9, "digits": 0.1})
    assert domain_shares(counts, {}, 2.0) == pytest.approx({"calls": 0.75, "digits": 0.25})  # 30 : 10
    assert domain_shares(counts, {"calls": 1, "digits": 4}, 1.0) == pytest.approx({"calls": 0.2, "digits": 0.8})


@pytest.mark.parametrize("weights", [{"calls": 1.0}, {"calls": 1.0, "digits": 1.0, "radio": 1.0}])
def test_weights_must_name_every_domain_and_no_other(weights: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=r"domain '(digits|radio)': the domains are calls, digits"):
        domain_shares({"calls": 9, "digits": 1}, weights, None)


@pytest.mark.parametrize("shares", [EQUAL, {"calls": 0.7, "digits": 0.2, "talks": 0.1}])
def test_observed_draws_follow_the_shares(shares: dict[str, float]) -> None:
    drawn = flat(rounds(sampler(), 30, shares))
    counts = Counter(DOMAINS[index] for index in drawn)
    for name, share in shares.items():  # five standard deviations of a binomial
        assert abs(counts[name] / len(drawn) - share) < 5 * (share * (1 - share) / len(drawn)) ** 0.5


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_a_pass_through_a_domain_draws_everything_once_on_all_ranks_together(world_size: int) -> None:
    planned = rounds(sampler(world_size), 60)
    for name in EQUAL:
        members = {index for index, domain in enumerate(DOMAINS) if domain == name}
        counts = Counter(index for index in flat(planned) if index in members)
        assert max(counts.values()) - min(counts[index] for index in members) <= 1


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_ranks_get_equally_many_batches_and_nothing_is_lost(world_size: int) -> None:
    source = sampler(world_size)
    for ranks in rounds(source, 5):
        assert len(ranks) == world_size and len({len(batches) for batches in ranks}) == 1
        audio_s = sum(DURATIONS[d.index] / d.speed for batches in ranks for batch in batches for d in batch)
        assert audio_s >= source.round_s  # what was drawn for the round is in it


def test_padded_seconds_stay_within_the_budget() -> None:
    for ranks in rounds(sampler(2), 10):
        for batch in (batch for batches in ranks for batch in batches):
            longest = max(DURATIONS[draw.index] / draw.speed for draw in batch)
            assert longest * len(batch) <= 40 + 1e-9 or len(batch) == 1


def test_a_round_is_a_function_of_seed_and_position() -> None:
    first, again, other = rounds(sampler(), 6), rounds(sampler(), 6), rounds(sampler(seed=2), 6)
    assert first == again
    assert flat(first) != flat(other)
    resumed, position = sampler(), sampler().start()
    for _ in range(4):
        _, position = resumed.plan(position, EQUAL, ALL)
    assert sampler().plan(position, EQUAL, ALL)[0] == first[4]  # a new sampler, from the position alone


def test_only_admitted_utterances_are_drawn() -> None:
    admitted = ALL.copy()
    admitted[10:300] = False
    ranks, position = sampler().plan(Position(0, (0, 0, 0), (0, 0, 0)), EQUAL, admitted)
    drawn = Counter(flat([ranks]))
    assert not set(drawn) & set(range(10, 300)) and len(drawn) > 10
    assert position.passes[0] >= 1  # the ten admitted calls were gone through more than once


def test_a_domain_of_one_utterance_and_an_utterance_longer_than_the_budget_do_no_harm() -> None:
    source = DomainSampler(
        np.array([100.0, 1.0, 1.0]), ["a", "b", "b"], batch_s=10, round_batches=20, speeds=[1.0], seed=0, world_size=2
    )
    ranks, _ = source.plan(source.start(), {"a": 0.5, "b": 0.5}, np.ones(3, np.bool_))
    assert len(ranks[0]) == len(ranks[1]) > 0
    assert all(len(batch) == 1 for batches in ranks for batch in batches if batch[0].index == 0)


def test_batches_come_in_few_shapes() -> None:
    durations_s = np.random.default_rng(0).uniform(0.5, 16, 20000)
    source = DomainSampler(durations_s, ["a"] * 20000, batch_s=60, round_batches=2500, speeds=[1.0], seed=0)
    ranks, _ = source.plan(source.start(), {"a": 1.0}, np.ones(20000, np.bool_))
    shapes = Counter(
        (len(batch), max(padded_samples(round(durations_s[draw.index] * 16000)) for draw in batch)) for batch in ranks[0]
    )
    assert shapes.total() > 2000 and len(shapes) < 120
    assert all(n * samples <= 60 * 16000 for n, samples in shapes if n > 1)


def test_speeds_are_drawn_about_equally() -> None:
    counts = Counter(d.speed for ranks in rounds(sampler(), 60) for batch in ranks[0] for d in batch)
    n = sum(counts.values())
    assert sorted(counts) == [0.9, 1.0, 1.1]
    assert all(abs(count / n - 1 / 3) < 5 * (2 / 9 / n) ** 0.5 for count in counts.values())
