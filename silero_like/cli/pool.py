"""Give groups of items to workers that may be lost, and take exactly one result for each item."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeVar

from silero_like.errors import SileroLikeError

Item = TypeVar("Item")
Result = TypeVar("Result")
Item_contra = TypeVar("Item_contra", contravariant=True)

TRIES = 3
"""Workers that may be lost with a group before its items go one by one, and then with an item before it fails."""
NOTICE_S = 30.0
"""Without a worker for so long, it is told that we wait."""
SPARE_STARTS = 10
"""Workers that may be lost before they are ready, one after the other, beside three times all of them."""


@dataclass(frozen=True)
class Event(Generic[Result]):
    """What became of a worker: it can begin, it has done its group, or it is lost."""

    worker: int
    kind: Literal["ready", "done", "lost"]
    results: Sequence[Result] = ()
    """Of a group that is done, in its order."""
    reason: str = ""
    """Why it is lost."""


class Cluster(Protocol[Item_contra, Result]):
    """Machines that can run workers."""

    def begin(self) -> int:
        """Ask for a worker, and return its number; that it is ready is an event."""

    def send(self, worker: int, group: Sequence[Item_contra]) -> None:
        """Let a worker that is ready and idle do a group."""

    def wait(self, timeout_s: float) -> list[Event[Result]]:
        """Return what has happened, at least one event, or none after a while."""

    def end(self) -> None:
        """End all workers."""


@dataclass
class _Task(Generic[Item]):
    group: Sequence[Item]
    n_lost: int = 0


class Pool(Generic[Item, Result]):
    """Does groups of items on a cluster and gives the results as they come.

    A group whose worker is lost, with its machine perhaps, is done again whole, so that it comes out the same. When
    that has happened `TRIES` times its items go one by one, so that only the guilty one fails.

    Args:
        cluster: runs the workers.
        failed: makes the result of an item whose workers were lost, given how.
        n_workers: wanted; lost ones are replaced.
        tell: is told what is lost and what is waited for.
    """

    def __init__(
        self,
        cluster: Cluster[Item, Result],
        failed: Callable[[Item, str], Result],
        n_workers: int,
        tell: Callable[[str], None],
    ) -> None:
        self._cluster, self._failed, self._n_workers, self._tell = cluster, failed, n_workers, tell
        self._tasks: deque[_Task[Item]] = deque()
        self._starting: set[int] = set()
        self._idle: set[int] = set()
        self._busy: dict[int, _Task[Item]] = {}
        self._n_stillborn = 0

    def run(self, groups: Sequence[Sequence[Item]]) -> Iterator[tuple[Item, Result]]:
        """Yield every item with its result, once.

        Raises:
            SileroLikeError: the cluster gives no worker that lives long enough to begin.
        """
        self._tasks.extend(_Task(group) for group in groups if group)
        try:
            while self._tasks or self._busy:
                self._begin()
                self._assign()
                events = self._cluster.wait(NOTICE_S)
                if not events and not self._busy:
                    self._tell("no worker yet: waiting for a free CPU of the cluster")
                for event in events:
                    yield from self._take(event)
        finally:
            self._cluster.end()

    def _begin(self) -> None:
        n_useful = min(self._n_workers, len(self._tasks) + len(self._busy))
        for _ in range(n_useful - len(self._starting) - len(self._idle) - len(self._busy)):
            self._starting.add(self._cluster.begin())

    def _assign(self) -> None:
        while self._tasks and self._idle:
            worker, task = self._idle.pop(), self._tasks.popleft()
            self._busy[worker] = task
            self._cluster.send(worker, task.group)

    def _take(self, event: Event[Result]) -> Iterator[tuple[Item, Result]]:
        worker = event.worker
        if worker in self._starting:
            self._start(event)
        elif event.kind == "done":
            task = self._busy.pop(worker)
            self._idle.add(worker)
            yield from zip(task.group, event.results, strict=True)
        else:
            yield from self._again(self._busy.pop(worker), event.reason)

    def _start(self, event: Event[Result]) -> None:
        """Count a worker that is ready, or, if it is lost already, how often that happens; `_begin` replaces it."""
        self._starting.remove(event.worker)
        if event.kind == "ready":
            self._idle.add(event.worker)
            self._n_stillborn = 0
            return
        self._n_stillborn += 1
        if self._n_stillborn > 3 * self._n_workers + SPARE_STARTS:
            raise SileroLikeError(f"no worker of the cluster stays alive ({event.reason}): look at its nodes")

    def _again(self, task: _Task[Item], reason: str) -> Iterator[tuple[Item, Result]]:
        """See to it that a task whose worker is lost is done by another, as often as is reasonable."""
        task.n_lost += 1
        n_items = len(task.group)
        if task.n_lost < TRIES:
            self._tell(f"a worker was lost ({reason}): its group of {n_items} is done again")
            self._tasks.appendleft(task)
        elif n_items > 1:
            self._tell(f"{TRIES} workers were lost with one group: its {n_items} go one by one")
            self._tasks.extendleft(_Task([item]) for item in reversed(task.group))
        else:
            yield task.group[0], self._failed(task.group[0], f"{TRIES} workers were lost with it, the last: {reason}")
