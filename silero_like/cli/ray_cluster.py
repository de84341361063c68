"""Workers on a Ray cluster: an actor for each, which loads what it needs once."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import silero_like
from silero_like.cli.pool import Event
from silero_like.errors import MissingExtraError, SileroLikeError

KNOCK_S = 10.0
PLAIN_REASONS = {
    "ActorUnavailableError": "it cannot be reached",
    "OutOfMemoryError": "its node ran out of memory",
}
REASON_SIGNS = ("No module named", "died because", "dead because", "died")
"""What the lines hold that tell why, in Ray's long messages; the best first."""

Item = TypeVar("Item")
Result = TypeVar("Result")
Work = Callable[[Sequence[Item]], Sequence[Result]]


class RayCluster(Generic[Item, Result]):
    """A `silero_like.cli.pool.Cluster` of Ray actors of one CPU each, spread over the nodes.

    Args:
        open_work: makes, on a worker, what does a group. It must pickle.
        address: the cluster's head, "auto", or None for Ray's own rule.

    Raises:
        MissingExtraError: ray is not installed.
        SileroLikeError: no cluster at the address.
    """

    def __init__(self, open_work: Callable[[], Work[Item, Result]], address: str | None) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a cluster that is begun here reports to nobody
        os.environ.setdefault(
            "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0"
        )  # Ray's rule of tomorrow: no warning of today's
        try:
            import ray
        except ModuleNotFoundError as error:
            raise MissingExtraError("--engine ray needs ray: pip install 'silero_like[ray]'") from error
        self._ray = ray
        try:
            _knock(address or os.environ.get("RAY_ADDRESS", ""))
            ray.init(address=address, log_to_driver=False, logging_level="ERROR")
        except Exception as error:
            first = (str(error).splitlines() or [type(error).__name__])[0]
            raise SileroLikeError(f"no Ray cluster at {address or 'this machine'}: {first}") from error
        self._actor: Any = ray.remote(num_cpus=1, max_restarts=0, scheduling_strategy="SPREAD")(Worker)
        self._begin = ray.put((os.getcwd(), silero_like.__version__, open_work))
        self._actors: dict[int, Any] = {}
        self._pending: dict[Any, int] = {}
        self._ready: set[int] = set()
        self._n_begun = 0

    @property
    def n_cpus(self) -> int:
        """CPUs of all nodes there are now."""
        return max(1, int(self._ray.cluster_resources().get("CPU", 1)))

    def begin(self) -> int:
        """Ask for an actor; it waits until a node has a free CPU."""
        worker = self._n_begun
        self._n_begun += 1
        self._actors[worker] = actor = self._actor.remote()
        self._pending[actor.open.remote(self._begin)] = worker
        return worker

    def send(self, worker: int, group: Sequence[Item]) -> None:
        """Send a group to an actor."""
        self._pending[self._actors[worker].work.remote(group)] = worker

    def wait(self, timeout_s: float) -> list[Event[Result]]:
        """Return what has happened.

        Raises:
            SileroLikeError: a worker cannot load what it needs, so no other could.
        """
        done, _ = self._ray.wait(list(self._pending), num_returns=1, timeout=timeout_s)
        return [self._event(reference) for reference in done]

    def end(self) -> None:
        """Leave the cluster, which ends the actors; a cluster that was begun here ends too."""
        self._ray.shutdown()

    def _event(self, reference: Any) -> Event[Result]:
        worker = self._pending.pop(reference)
        is_ready = worker in self._ready
        try:
            results = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            cause = getattr(error, "cause", None)
            if not is_ready and (cause or "No module named" in str(error)):
                reason = cause or f"{_reason(error)}: install the same packages on every node"
                raise SileroLikeError(f"a worker of the cluster cannot begin: {reason}") from error
            self._ray.kill(self._actors.pop(worker))
            return Event(worker, "lost", reason=_reason(cause or error))
        self._ready.add(worker)
        return Event(worker, "done", results) if is_ready else Event(worker, "ready")


def _knock(address: str) -> None:
    """See whether anybody is at HOST:PORT: Ray would try for minutes.

    Raises:
        OSError: nobody is.
    """
    host, separator, port = address.rpartition(":")
    if separator and port.isdigit() and "/" not in host:
        socket.create_connection((host.strip("[]"), int(port)), KNOCK_S).close()


class Worker(Generic[Item, Result]):
    """What runs in an actor."""

    def open(self, begin: tuple[str, str, Callable[[], Work[Item, Result]]]) -> None:
        """Load what is needed, in the folder where the command was given if there is one of that name.

        Raises:
            SileroLikeError: another version of this package.
        """
        folder, version, open_work = begin
        if version != silero_like.__version__:
            node = os.uname().nodename
            raise SileroLikeError(
                f"{node} has silero_like {silero_like.__version__}, the command is of {version}: install one version"
            )
        with contextlib.suppress(OSError):  # then relative paths are not found, and that is told
            os.chdir(folder)
        self._work = open_work()

    def work(self, group: Sequence[Item]) -> Sequence[Result]:
        """Do a group."""
        return self._work(group)


def _reason(error: BaseException) -> str:
    """Return the part of Ray's long messages that says what happened."""
    kind = type(error).__name__
    if kind in PLAIN_REASONS:
        return PLAIN_REASONS[kind]
    lines = [line.strip() for line in str(error).splitlines()]
    told = [line for sign in REASON_SIGNS for line in lines if sign in line]
    return (told[0].partition(". ")[0] if told else f"{kind}: {''.join(lines[:1])}")[:200]
