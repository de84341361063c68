import numpy as np
import pytest

from train.sampler import epoch_batches

DURATIONS = np.random.default_rng(0).uniform(0.3, 12, size=400)


def draw(epoch: int = 0, rank: int = 0, world_size: int = 1, seed: int = 1) -> list[list[int]]:
    batches = epoch_batches(
        DURATIONS, batch_s=60, speeds=[0.9, 1.0, 1.1], seed=seed, epoch=epoch, rank=rank, world_size=world_size
    )
    return [[draw.index for draw in batch] for batch in batches]


def test_one_pass_draws_every_utterance_once() -> None:
    assert sorted(index for batch in draw() for index in batch) == list(range(400))


def test_padded_seconds_stay_within_the_budget() -> None:
    for batch in epoch_batches(DURATIONS, batch_s=60, speeds=[0.9, 1.1], seed=1, epoch=0):
        longest = max(DURATIONS[draw.index] / draw.speed for draw in batch)
        assert longest * len(batch) <= 60 + 1e-9 or len(batch) == 1


def test_order_is_a_function_of_seed_and_epoch() -> None:
    assert draw() == draw()
    assert draw() != draw(epoch=1)
    assert draw() != draw(seed=2)


@pytest.mark.parametrize("world_size", [2, 3])
def test_ranks_share_a_pass_without_overlap_and_in_equal_numbers(world_size: int) -> None:
    ranks = [draw(rank=rank, world_size=world_size) for rank in range(world_size)]
    assert len({len(batches) for batches in ranks}) == 1
    seen = [index for batches in ranks for batch in batches for index in batch]
    assert len(seen) == len(set(seen))
    whole = [index for batch in draw()[: len(ranks[0]) * world_size] for index in batch]
    assert sorted(seen) == sorted(whole)


def test_an_utterance_longer_than_the_budget_is_a_batch_of_its_own() -> None:
    batches = epoch_batches(np.array([100.0, 1.0, 1.0]), batch_s=10, speeds=[1.0], seed=0, epoch=0)
    assert sorted(len(batch) for batch in batches) == [1, 2]


def test_speeds_are_drawn_about_equally() -> None:
    batches = epoch_batches(np.ones(3000), batch_s=60, speeds=[0.9, 1.0, 1.1], seed=4, epoch=2)
    speeds, counts = np.unique([draw.speed for batch in batches for draw in batch], return_counts=True)
    assert speeds.tolist() == [0.9, 1.0, 1.1]
    assert np.all(np.abs(counts - 1000) < 130)  # five standard deviations of a binomial
