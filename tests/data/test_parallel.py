"""Threads ahead of their consumer: order, bounds, errors."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from data.parallel import AHEAD, ordered_map


@pytest.mark.parametrize("jobs", [1, 3])
@pytest.mark.parametrize("group", [1, 7])
def test_order_and_how_far_ahead(jobs: int, group: int) -> None:
    taken = []

    def items() -> Iterator[int]:
        for number in range(300):
            taken.append(number)
            yield number

    results = ordered_map(lambda number: number * 2, items(), jobs, group=group)
    assert taken == []
    first = [next(results) for _ in range(10)]
    assert first == [(number, number * 2) for number in range(10)]
    assert len(taken) <= 10 + group * (AHEAD * jobs + 1)
    assert [result for _, result in results] == [number * 2 for number in range(10, 300)]


def test_threads_work_at_a_time() -> None:
    both = threading.Barrier(2, timeout=20)
    assert len(list(ordered_map(lambda _: both.wait(), range(2), 2))) == 2


def test_an_error_comes_at_its_turn_and_ends_it() -> None:
    done = []

    def work(number: int) -> int:
        done.append(number)
        return 10 // (5 - number)

    results = ordered_map(work, range(1000), 1)
    assert [result for _, result in (next(results) for _ in range(5))] == [2, 2, 3, 5, 10]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert len(done) < 20 and list(results) == []
