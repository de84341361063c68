"""Live streams: all of them in one process of their own, so that no long recording stands before them."""

from __future__ import annotations

import asyncio
import dataclasses
from concurrent.futures import Executor

from silero_like.serve.messages import CloseStream, Feed, Heard, OpenStream, Refusal, Request
from silero_like.serve.process import WorkerError, WorkerProcess
from silero_like.serve.refusals import ServeError, from_refusal

STEP_TIMEOUT_S = 30.0  # a step takes milliseconds; a worker that needs so long hangs

Results = tuple[dict[str, object], ...]


class Live:
    """The worker of live streams, which take turns.

    Args:
        worker: its process.
        threads: where its calls wait.
    """

    def __init__(self, worker: WorkerProcess, threads: Executor) -> None:
        self.worker = worker
        self.n_streams = 0
        """Streams that are open."""
        self._threads = threads
        self._turn = asyncio.Lock()

    async def call(self, request: Request) -> Results:
        """Let the worker take one step.

        Raises:
            ServeError: refused, too late, or the worker died; after the latter two it is dead.
        """
        async with self._turn:
            reply = asyncio.get_running_loop().run_in_executor(self._threads, self.worker.call, request)
            try:
                found = await asyncio.wait_for(asyncio.shield(reply), STEP_TIMEOUT_S)
            except (asyncio.TimeoutError, WorkerError) as error:
                self.worker.kill()
                message = "the worker of live streams died: begin again"
                raise ServeError(500, "worker_died", message) from error
            except asyncio.CancelledError:  # the reply must be read all the same
                await asyncio.wait([reply], timeout=STEP_TIMEOUT_S)
                raise
        if isinstance(found, Refusal):
            raise from_refusal(found)
        assert isinstance(found, Heard)
        return found.results


class LiveStream:
    """One stream."""

    def __init__(self, live: Live, stream_id: int) -> None:
        self._live, self._id, self._is_open = live, stream_id, False

    async def open(self, request: OpenStream) -> None:
        """Begin; the request gets the stream's number."""
        self._is_open = True  # whoever is cancelled while he waits has a stream to be forgotten all the same
        await self._live.call(dataclasses.replace(request, stream_id=self._id))

    async def feed(self, pcm: bytes) -> Results:
        """Take samples, 16-bit little-endian mono; return the results that they bring."""
        return await self._live.call(Feed(self._id, pcm))

    async def finish(self) -> Results:
        """End the stream; return its last results."""
        results = await self._live.call(CloseStream(self._id))
        self._is_open = False
        return results

    async def drop(self) -> None:
        """Forget it, if it has not ended by itself."""
        if self._is_open and self._live.worker.is_alive:
            await self._live.call(CloseStream(self._id, is_wanted=False))
