"""Threads that work ahead of whoever takes their results, in order and in bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

AHEAD = 4
"""Groups of items for each thread that are under way or wait to be taken."""


def ordered_map(
    work: Callable[[Item], Result], items: Iterable[Item], jobs: int, *, group: int = 1
) -> Iterator[tuple[Item, Result]]:
    """Yield (item, work(item)) in the order of the items, which are read only a little ahead.

    Args:
        work: called in threads, for several items at a time.
        items: any number of them.
        jobs: threads, at least 1.
        group: items that a thread takes at once; more where each is little work.

    Raises:
        Whatever `work` or `items` raises, when its turn comes.

    >>> list(ordered_map(len, ["a", "bb"], 2))
    [('a', 1), ('bb', 2)]
    """
    items = iter(items)
    with ThreadPoolExecutor(jobs) as pool:
        ahead: deque[tuple[list[Item], Future[list[Result]]]] = deque()
        try:
            while True:
                while len(ahead) < AHEAD * jobs and (batch := list(islice(items, group))):
                    ahead.append((batch, pool.submit(lambda batch: [work(item) for item in batch], batch)))
                if not ahead:
                    return
                batch, done = ahead.popleft()
                yield from zip(batch, done.result(), strict=True)
        finally:  # after an error or an interruption nothing new is begun
            pool.shutdown(cancel_futures=True)
