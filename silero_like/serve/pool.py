"""The worker processes: a bounded queue before them, time-outs, replacements for those that die, new models."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

from silero_like.serve.live import Live, LiveStream
from silero_like.serve.messages import Answer, ModelInfo, OpenStream, Refusal, Transcription
from silero_like.serve.observe import log_error
from silero_like.serve.process import WorkerError, WorkerProcess, make_threads
from silero_like.serve.refusals import ServeError, from_refusal
from silero_like.serve.settings import ServeSettings

Signature = tuple[tuple[tuple[str, int, int], ...], ...]

_RETRY_S = 1.0  # before another worker is started in place of one that would not
_MAX_RETRY_AFTER_S = 60.0


class Pool:
    """All workers of a server; every method is to be called in the event loop.

    Args:
        settings: what they load, how many they are, and the limits.
        on_event: called with "restart" when a worker took the place of one that died, "reload" after new models.
    """

    def __init__(self, settings: ServeSettings, on_event: Callable[[str], None] = lambda event: None) -> None:
        self._settings, self._on_event = settings, on_event
        self._threads = make_threads(settings)
        self._workers: set[WorkerProcess] = set()
        self._idle: asyncio.Queue[WorkerProcess] = asyncio.Queue()
        self._live: Live | None = None
        self._service_s = 1.0  # a running mean of how long a request takes a worker
        self._tasks: set[asyncio.Task[None]] = set()
        self._changing = asyncio.Lock()  # one reload or replacement at a time
        self._next_stream = 0
        self.n_admitted = 0
        """Requests that are at work or waiting."""
        self.n_streams = 0
        """Live streams that are open."""
        self.models: dict[str, ModelInfo] = {}
        """What is served, the default first."""

    @property
    def is_ready(self) -> bool:
        """Whether requests and streams can be served."""
        return bool(self._workers) and self._live is not None

    async def start(self) -> None:
        """Start all workers, or new ones in place of the old, which finish what they are doing.

        Raises:
            WorkerError: the models cannot be loaded; the old workers go on.
        """
        async with self._changing:
            live, *started = await self._start_workers(self._settings.workers + 1)
            while not self._idle.empty():
                self._end(self._idle.get_nowait())
            self._workers = set(started)
            for worker in started:
                self._idle.put_nowait(worker)
            self._take_live(live)
            self.models = live.models

    async def close(self) -> None:
        """End all workers; what they are doing is lost."""
        for task in self._tasks:
            task.cancel()
        for worker in self._workers:
            self._end(worker)
        if self._live:
            self._end(self._live.worker)
        await asyncio.to_thread(self._threads.shutdown)

    async def watch(self) -> None:
        """Load the models anew whenever a file of theirs has changed, and nothing has since the look before."""
        served = seen = await asyncio.to_thread(self._look)
        while True:
            await asyncio.sleep(self._settings.reload_s)
            before, seen = seen, await asyncio.to_thread(self._look)
            if seen == before != served:
                await self.reload()
                served = seen

    async def reload(self) -> None:
        """Put workers with new models in place of the old; if they cannot be loaded, the old go on."""
        try:
            await self.start()
        except WorkerError as error:
            log_error("reload_failed", error)
            return
        self._on_event("reload")

    def check_room(self) -> None:
        """Refuse a request if the queue is full.

        Raises:
            ServeError: 429, with an estimate of when there will be room.
        """
        n_waiting = self.n_admitted - self._settings.workers
        if n_waiting >= self._settings.max_queue:
            wait_s = min(_MAX_RETRY_AFTER_S, self._service_s * (n_waiting + 1) / self._settings.workers)
            message = f"{n_waiting} requests are waiting, as many as may: come again after Retry-After seconds"
            raise ServeError(429, "queue_full", message, retry_after_s=wait_s)

    async def transcribe(
        self, request: Transcription, descriptor: int, is_wanted: Callable[[], Awaitable[bool]]
    ) -> Answer:
        """Let a worker transcribe an open file.

        Args:
            request: how.
            descriptor: of the file; the worker gets its own.
            is_wanted: asked when a worker is free; if not, nothing is done.

        Raises:
            ServeError: refused, too late, no longer wanted, or the worker died.
        """
        self.check_room()
        self.n_admitted += 1
        try:
            reply = await asyncio.wait_for(self._run(request, descriptor, is_wanted), self._settings.timeout_s)
        except asyncio.TimeoutError:
            message = f"no result within {self._settings.timeout_s:g} s: send less audio, or come again later"
            raise ServeError(504, "timeout", message) from None
        finally:
            self.n_admitted -= 1
        if isinstance(reply, Refusal):
            if reply.trace:
                log_error("fault", reply.trace)
            raise from_refusal(reply)
        return reply

    @contextlib.asynccontextmanager
    async def open_stream(self, request: OpenStream) -> AsyncIterator[LiveStream]:
        """Open a live stream, and forget it at the end of the block; the request's number is replaced.

        Raises:
            ServeError: too many streams, options that do not go together, or the worker died.
        """
        if self.n_streams >= self._settings.max_streams:
            message = f"{self.n_streams} streams are open, as many as may: come again later"
            raise ServeError(429, "too_many_streams", message, retry_after_s=10)
        if self._live is None:
            raise ServeError(503, "restarting", "the worker of live streams is starting: come again", retry_after_s=2)
        live = self._live
        self.n_streams += 1
        live.n_streams += 1
        self._next_stream += 1
        stream = LiveStream(live, self._next_stream)
        try:
            await stream.open(request)
            yield stream
        finally:
            self.n_streams -= 1
            live.n_streams -= 1
            with contextlib.suppress(ServeError):
                await asyncio.shield(stream.drop())
            self._settle_live(live)

    async def _run(
        self, request: Transcription, descriptor: int, is_wanted: Callable[[], Awaitable[bool]]
    ) -> Answer | Refusal:
        worker = await self._idle.get()
        loop = asyncio.get_running_loop()
        try:
            if not await is_wanted():
                raise ServeError(499, "gone", "the client has gone")
            start = loop.time()
            reply = await loop.run_in_executor(self._threads, worker.call, request, descriptor)
            self._service_s += 0.1 * (loop.time() - start - self._service_s)
        except asyncio.CancelledError:  # too late
            worker.kill()
            raise
        except WorkerError as error:
            log_error("worker_died", error)
            return Refusal(500, "worker_died", f"{error} while it transcribed this recording: send it in parts")
        finally:
            self._release(worker)
        assert isinstance(reply, Answer | Refusal)
        return reply

    def _release(self, worker: WorkerProcess) -> None:
        """Take a worker back, end it if there are newer ones, or replace it if it died."""
        is_current = worker in self._workers
        if is_current and worker.is_alive:
            self._idle.put_nowait(worker)
            return
        self._workers.discard(worker)
        self._end(worker)
        if is_current:
            self.begin(self._replace())

    async def _replace(self) -> None:
        """Start what is missing until all are there."""
        while True:
            async with self._changing:
                n_missing = self._settings.workers - len(self._workers)
                if not n_missing and self._live:
                    return
                try:
                    (worker,) = await self._start_workers(1)
                except WorkerError as error:
                    log_error("start_failed", error)
                    await asyncio.sleep(_RETRY_S)
                    continue
                self._on_event("restart")
                if n_missing:
                    self._workers.add(worker)
                    self._idle.put_nowait(worker)
                else:
                    self._take_live(worker)

    def _take_live(self, worker: WorkerProcess) -> None:
        """Give new streams to another worker; the old one ends with its last stream."""
        old, self._live = self._live, Live(worker, self._threads)
        if old:
            self._settle_live(old)

    def _settle_live(self, live: Live) -> None:
        """Replace a live worker that died; end one that is not needed any more."""
        if live is self._live and not live.worker.is_alive:
            self._live = None
            self.begin(self._replace())
        if live is not self._live and live.n_streams == 0:
            self._end(live.worker)

    async def _start_workers(self, n: int) -> list[WorkerProcess]:
        """Start some workers at the same time; if one fails, none stays."""
        loop = asyncio.get_running_loop()
        starts = (loop.run_in_executor(self._threads, WorkerProcess, self._settings) for _ in range(n))
        started = await asyncio.gather(*starts, return_exceptions=True)
        workers = [worker for worker in started if isinstance(worker, WorkerProcess)]
        for error in started:
            if isinstance(error, BaseException):
                self._end(*workers)
                raise error
        return workers

    def _end(self, *workers: WorkerProcess) -> None:
        for worker in workers:
            self._threads.submit(worker.end)

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something beside the requests, held so that it is not lost."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _look(self) -> Signature:
        """Return what tells whether a bundle or language model has changed; a missing one has no files."""
        sources = [source.path for source in self._settings.models.values()]
        folders = [sorted(path.rglob("*")) for path in sources if path]
        files = [*folders, *([path] for path in self._settings.language_models.values())]
        return tuple(tuple(_stamp(path) for path in paths) for paths in files)


def _stamp(path: Path) -> tuple[str, int, int]:
    try:
        status = path.stat()
    except OSError:
        return path.name, 0, 0
    return path.name, status.st_mtime_ns, status.st_size
