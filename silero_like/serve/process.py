"""A worker process as the server sees it."""

from __future__ import annotations

import multiprocessing
import signal
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.reduction import send_handle

from silero_like.errors import SileroLikeError
from silero_like.serve.messages import ModelInfo, Ready, Refusal, Reply, Request
from silero_like.serve.settings import ServeSettings
from silero_like.serve.worker import work

START_S = 120.0  # a worker that has not loaded its models after so long never will

_JOIN_S = 2.0


class WorkerError(SileroLikeError):
    """A worker did not start, or its process has ended."""


class WorkerProcess:
    """A process that was started and has loaded the models. Its methods block; `call` is for one thread at a time.

    Started anew ("spawn"), not forked: the server has threads, and files that a fork would hold open.

    Raises:
        WorkerError: it cannot load the models.
    """

    def __init__(self, settings: ServeSettings) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=work, args=(theirs, settings), daemon=True)
        self._process.start()
        theirs.close()  # the worker holds its own end alone, so its death ends the pipe
        self._was_killed = False
        try:
            reply = self._connection.recv() if self._connection.poll(START_S) else Refusal(500, "", "no answer")
        except EOFError:
            reply = Refusal(500, "", self._fate())
        if not isinstance(reply, Ready):
            self.end()
            raise WorkerError(reply.trace if reply.status == 500 and reply.trace else reply.message)
        self.models: dict[str, ModelInfo] = reply.models

    @property
    def is_alive(self) -> bool:
        """Whether it can be given work."""
        return self._process.is_alive() and not self._was_killed

    def call(self, request: Request, descriptor: int | None = None) -> Reply:
        """Let it answer a request, with a file's descriptor where the request needs one.

        Raises:
            WorkerError: its process has ended, of a lack of memory perhaps, or because `kill` was called.
        """
        try:
            self._connection.send(request)
            if descriptor is not None:
                assert self._process.pid is not None
                send_handle(self._connection, descriptor, self._process.pid)
            reply: Reply = self._connection.recv()
        except (EOFError, OSError) as error:
            raise WorkerError(self._fate()) from error
        return reply

    def kill(self) -> None:
        """End it at once, whatever it is doing; `call` in another thread then fails."""
        self._was_killed = True
        self._process.kill()

    def end(self) -> None:
        """Let it end, which it does when it is idle; kill it if not."""
        self._connection.close()
        self._process.join(_JOIN_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _fate(self) -> str:
        self._process.join(_JOIN_S)
        code = self._process.exitcode
        how = f"exit code {code}" if code is None or code >= 0 else signal.Signals(-code).name
        return f"the worker's process ended ({how})"


def make_threads(settings: ServeSettings) -> ThreadPoolExecutor:
    """Return threads enough for every worker's call, while old workers give way to new ones too."""
    return ThreadPoolExecutor(4 * (settings.workers + 1), "serve")
