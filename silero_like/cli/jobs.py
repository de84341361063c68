"""Work in several processes that share what was loaded before they began."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>

Task = tuple[int, list[int]]  # a group's number, and which of its items are to be done


@dataclass
class _Worker:
    process: BaseProcess
    connection: Connection
    task: Task = (0, [])


class Jobs(Generic[Item, Result]):
    """Does groups of items in processes and gives the results in the order of the groups.

    The processes are forks: what `work` refers to, a model above all, is in memory once. When one dies, of a lack of
    memory perhaps, the items of its group are done again one by one, so that only the guilty one fails.

    Args:
        work: makes one result of each item of a group. Results travel between processes, so they must pickle.
        failed: makes the result of an item whose process died, given how.
        n_jobs: processes.
    """

    def __init__(
        self,
        work: Callable[[Sequence[Item]], Sequence[Result]],
        failed: Callable[[Item, str], Result],
        n_jobs: int,
    ) -> None:
        self._work, self._failed, self._n_jobs = work, failed, n_jobs
        self._context = multiprocessing.get_context("fork")
        self._idle: list[_Worker] = []
        self._busy: dict[Connection, _Worker] = {}

    def run(self, groups: Sequence[Sequence[Item]]) -> Iterator[tuple[Item, Result]]:
        """Yield (item, result), in order, each as soon as all before it are there."""
        tasks: deque[Task] = deque((number, list(range(len(group)))) for number, group in enumerate(groups))
        results: list[dict[int, Result]] = [{} for _ in groups]
        try:
            for number, group in enumerate(groups):
                while len(results[number]) < len(group):
                    self._assign(tasks, groups)
                    self._collect(tasks, groups, results)
                for position, item in enumerate(group):
                    yield item, results[number].pop(position)
                results[number].clear()
        finally:
            self._end()

    def _assign(self, tasks: deque[Task], groups: Sequence[Sequence[Item]]) -> None:
        while tasks and len(self._busy) < self._n_jobs:
            worker = self._idle.pop() if self._idle else self._begin()
            worker.task = tasks.popleft()
            number, positions = worker.task
            worker.connection.send([groups[number][position] for position in positions])
            self._busy[worker.connection] = worker

    def _collect(
        self,
        tasks: deque[Task],
        groups: Sequence[Sequence[Item]],
        results: list[dict[int, Result]],
    ) -> None:
        """Wait until some worker is done, or has died."""
        for ready in wait(list(self._busy)):
            assert isinstance(ready, Connection)
            worker = self._busy.pop(ready)
            number, positions = worker.task
            try:
                results[number] |= zip(positions, ready.recv(), strict=True)
                self._idle.append(worker)
            except EOFError:
                worker.process.join()
                if len(positions) > 1:
                    tasks.extendleft((number, [position]) for position in reversed(positions))
                    continue
                item, reason = groups[number][positions[0]], _reason(worker.process.exitcode)
                results[number][positions[0]] = self._failed(item, reason)

    def _begin(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_serve, args=(self._work, ours, theirs), daemon=True)
        process.start()
        theirs.close()  # a worker holds its own end alone, so its death ends the pipe
        return _Worker(process, ours)

    def _end(self) -> None:
        for worker in (*self._idle, *self._busy.values()):
            worker.process.terminate()
            worker.process.join()
            worker.connection.close()


def _serve(work: Callable[[Sequence[Item]], Sequence[Result]], ours: Connection, theirs: Connection) -> None:
    """Do what comes through the pipe until its other end is gone."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)  # the parent says what is to be said of an interruption
    ours.close()
    _end_with_parent()
    while True:
        try:
            items = theirs.recv()
        except EOFError:
            return
        results = work(items)
        try:
            theirs.send(results)
        except BrokenPipeError:  # the parent was killed
            return


def _end_with_parent() -> None:
    """Ask Linux to kill this process when its parent is killed, rather than when it next looks at the pipe."""
    import ctypes

    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _reason(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        name = signal.Signals(-exit_code).name
        return f"its process was ended by {name}: use fewer --jobs if memory ran out"
    return f"its process ended with exit code {exit_code}: run it alone to see why"
