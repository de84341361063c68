"""uvicorn as it is used here: clients that say nothing are dropped, and SIGTERM lets requests and streams finish."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
from collections.abc import Iterator
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from silero_like.serve.app import State, make_app
from silero_like.serve.observe import log, log_error, log_to
from silero_like.serve.settings import ServeSettings
from silero_like.serve.stream import MAX_MESSAGE_BYTES

SILENT_S = 15.0
"""A connection without a request is dropped after one to two times as long."""
MAX_CONNECTIONS = 512

_DRAIN_STREAMS_S = 5.0


def run_server(settings: ServeSettings, *, host: str, port: int, grpc_port: int | None = None) -> bool:
    """Serve until SIGTERM or SIGINT; tell whether it came to that: false if the address cannot be had.

    Raises:
        WorkerError: the models cannot be loaded.
    """
    log_to(sys.stderr)
    server = make_server(settings, host=host, port=port, grpc_port=grpc_port)
    with contextlib.suppress(SystemExit):  # uvicorn's; the log has the reason
        server.run()
    return server.started


def make_server(settings: ServeSettings, *, host: str, port: int, grpc_port: int | None = None) -> Server:
    """Make a server that has not started; with gRPC if a port is given for it."""
    app = make_app(settings)
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=_Protocol,
        ws="websockets-sansio",
        ws_max_size=MAX_MESSAGE_BYTES,
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_graceful_shutdown=round(settings.drain_s),
    )
    return Server(config, app.state.shared, grpc_port)


class Server(uvicorn.Server):
    """Ends in order: streams give their last results, requests are answered, then workers end.

    Args:
        config: of uvicorn.
        state: of the application.
        grpc_port: where gRPC listens; 0 takes a free one, None is no gRPC.
    """

    def __init__(self, config: uvicorn.Config, state: State, grpc_port: int | None = None) -> None:
        super().__init__(config)
        self._state, self.grpc_port = state, grpc_port
        self._rpc: Any = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the workers, then listen; tell where."""
        if self.grpc_port is not None:
            self._bind_rpc(self.grpc_port)
        await self._state.pool.start()
        await super().startup(sockets)
        for server in self.servers:
            for listener in server.sockets:
                log("listening", address="http://{}:{}".format(*listener.getsockname()[:2]))
        if self._rpc and self.started:
            await self._rpc.start()
            log("listening", address=f"grpc://{self.config.host}:{self.grpc_port}")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End."""
        log("draining")
        self._state.draining.set()
        if self._rpc:
            self._state.calls = asyncio.ensure_future(self._rpc.stop(self._state.settings.drain_s))
        until = asyncio.get_running_loop().time() + _DRAIN_STREAMS_S
        while self._state.pool.n_streams and asyncio.get_running_loop().time() < until:
            await asyncio.sleep(0.05)
        await super().shutdown(sockets)
        log("ended")

    def _bind_rpc(self, port: int) -> None:
        from silero_like.serve.rpc import make_rpc_server  # of the extra [grpc]

        try:
            self._rpc, self.grpc_port = make_rpc_server(self._state, self.config.host, port)
        except RuntimeError as error:
            log_error("grpc_failed", error)
            sys.exit(1)  # as uvicorn does where HTTP's port is taken

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """End at SIGINT and SIGTERM with exit code 0; uvicorn would raise them again at the end."""
        with contextlib.ExitStack() as restore:
            for number in (signal.SIGINT, signal.SIGTERM):
                with contextlib.suppress(ValueError):  # not in the main thread: the caller ends the server
                    restore.callback(signal.signal, number, signal.signal(number, self.handle_exit))
            yield


class _Protocol(H11Protocol):
    """Drops connections on which no request comes, or whose answered request's body does not end."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._watch(self)

    def _watch(self, before: object) -> None:
        """Look whether anything has been asked since the cycle that the look before saw."""
        if self.transport.is_closing() or self.transport.get_protocol() is not self:
            return
        is_silent = self.cycle is None or self.cycle.response_complete
        if is_silent and self.cycle is before:
            self.transport.close()
            return
        self.loop.call_later(SILENT_S, self._watch, self.cycle)
