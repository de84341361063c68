"""Where the work of a command is done: here, in processes of this machine, or on a Ray cluster."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import click

from silero_like.cli.batch import Failure
from silero_like.cli.jobs import Jobs
from silero_like.cli.option_group import option_group

Item = TypeVar("Item")
Result = TypeVar("Result")
Work = Callable[[Sequence[Item]], Sequence[Result | Failure]]

GROUP = 16
"""Items that go to a worker together; a worker that is lost has as many done again."""


@dataclass(frozen=True, kw_only=True)
class Workers:
    """Does groups of items: one after the other, in processes, or on a cluster."""

    jobs: int | None = None
    """Processes; None for one here, for one a CPU of a cluster."""
    is_ray: bool = False
    """Whether a Ray cluster does the work."""
    address: str | None = None
    """The cluster's; None to let Ray find or start one."""

    def shares(self, n_items: int) -> int:
        """Return the number of parts that work is to be divided into, at least: it does not depend on the cluster."""
        return max(1, n_items // GROUP) if self.is_ray else self.jobs or 1

    def run(
        self,
        groups: Sequence[Sequence[Item]],
        work: Work[Item, Result],
        name: Callable[[Item], str],
        open_work: Callable[[], Work[Item, Result]] | None = None,
    ) -> Iterator[tuple[Item, Result | Failure]]:
        """Yield each item, once, with its result: in order, but from a cluster as they come.

        Args:
            groups: items that are done together.
            work: makes one result of each item of a group, here or in a fork of this process.
            name: of an item, for what is said of a worker that died of it.
            open_work: makes `work` on another machine, in this folder if it is there; None where `work` itself can
                travel. It, the items and the results must pickle.

        Raises:
            MissingExtraError: ray is not installed.
            SileroLikeError: no cluster at the address, or no worker of it can begin.
        """

        def failed(item: Item, reason: str) -> Failure:
            return Failure(f"{name(item)}: {reason}")

        if self.is_ray and groups:
            from silero_like.cli.pool import Pool
            from silero_like.cli.ray_cluster import RayCluster

            cluster = RayCluster(open_work or functools.partial(_given, work), self.address)
            yield from Pool(cluster, failed, self.jobs or cluster.n_cpus, _tell).run(groups)
        elif self.jobs and min(self.jobs, len(groups)) > 1:
            yield from Jobs(work, failed, min(self.jobs, len(groups))).run(groups)
        else:
            for group in groups:
                yield from zip(group, work(group), strict=True)


def _make_workers(engine: str, address: str | None, jobs: int | None) -> Workers:
    if address and engine != "ray":
        raise click.UsageError("--address is for a Ray cluster: give --engine ray, too")
    return Workers(jobs=jobs, is_ray=engine == "ray", address=address)


worker_options = option_group(
    "workers",
    _make_workers,
    click.option(
        "--engine",
        type=click.Choice(["local", "ray"]),
        default="local",
        show_default=True,
        help="Where to work: on this machine, or on a Ray cluster (extra [ray]).",
    ),
    click.option(
        "--address",
        help="Head of the Ray cluster, HOST:PORT or auto [default: $RAY_ADDRESS, one that runs here, or a new one].",
    ),
    click.option(
        "--jobs", type=click.IntRange(min=1), help="Processes [default: 1; of Ray, one a CPU of the cluster]."
    ),
)
"""--engine, --address and --jobs, as `workers`."""


def in_order(items: Iterable[Item], done: Iterable[tuple[Item, Result]]) -> Iterator[tuple[Item, Result]]:
    """Yield what is done, of items that all differ, in their order; what comes early is held back.

    >>> list(in_order("abc", [("b", 2), ("a", 1), ("c", 3)]))
    [('a', 1), ('b', 2), ('c', 3)]
    """
    held: dict[Item, Result] = {}
    results = iter(done)
    for item in items:
        while item not in held:
            other, result = next(results)
            held[other] = result
        yield item, held.pop(item)


def _given(work: Work[Item, Result]) -> Work[Item, Result]:
    return work


def _tell(message: str) -> None:
    click.echo("\r\033[K" * sys.stderr.isatty() + message, err=True)
