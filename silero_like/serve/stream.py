"""Live speech over a WebSocket: PCM in, partial and final results out, as JSON."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from typing import Annotated, Any, Literal, TypeVar

from fastapi import FastAPI, WebSocket
from pydantic import Field, ValidationError
from starlette.websockets import WebSocketDisconnect

from silero_like.serve.guard import check_token, is_foreign, is_token
from silero_like.serve.live import LiveStream, Results
from silero_like.serve.messages import OpenStream
from silero_like.serve.observe import Metrics, log
from silero_like.serve.pool import Pool
from silero_like.serve.refusals import ServeError, error_object
from silero_like.serve.selection import Search, find_model
from silero_like.serve.settings import ServeSettings

Message = TypeVar("Message")

PATH = "/v1/stream"
MAX_MESSAGE_BYTES = 1 << 20
"""Of one message: half a minute at 16 kHz."""

# Reasons of RFC 6455 and the registry after it.
_DONE, _REFUSED, _FAULT, _RESTART, _LATER = 1000, 1008, 1011, 1012, 1013


class Start(Search):
    """The first message, a JSON object; every field but the type may be left out."""

    type: Literal["start"]
    sample_rate: Annotated[int, Field(ge=4000, le=384000)] = 16000
    latency_s: Annotated[float, Field(ge=0.16, le=5.0)] = 0.56
    token: str | None = None


def add_stream(app: FastAPI, settings: ServeSettings, pool: Pool, metrics: Metrics, draining: asyncio.Event) -> None:
    """Add the endpoint."""

    @app.websocket(PATH)
    async def stream(socket: WebSocket) -> None:
        await socket.accept()
        session = _Session(socket, settings, pool, draining)
        code = _FAULT
        try:
            code = await session.run()
        except ServeError as error:
            code = _LATER if error.status_code in (429, 503) else _FAULT if error.status_code >= 500 else _REFUSED
            await session.send({"type": "error", **error_object(error.status_code, error.code, error.detail)})
        except WebSocketDisconnect as error:
            code = error.code
        finally:
            metrics.audio.labels(session.model, "live").inc(session.audio_s)
            fields: dict[str, object] = {"text": " ".join(session.texts)} if settings.log_transcripts else {}
            log("stream", code=code, model=session.model, audio_seconds=round(session.audio_s, 3), **fields)
            await session.close(code)


class _Session:
    """One connection."""

    def __init__(self, socket: WebSocket, settings: ServeSettings, pool: Pool, draining: asyncio.Event) -> None:
        self._socket, self._settings, self._pool, self._draining = socket, settings, pool, draining
        self.model = ""
        self.audio_s = 0.0
        self.texts: list[str] = []

    async def run(self) -> int:
        """Serve it to its end; return the code to close with."""
        start = await self._start()
        self.model = find_model(start.model, self._pool)
        options = start.options(self.model)
        request = OpenStream(stream_id=0, options=options, latency_s=start.latency_s, sample_rate=start.sample_rate)
        async with self._pool.open_stream(request) as stream:
            await self.send({"type": "started", "model": self.model})
            code = await self._hear(stream, start.sample_rate)
            await self._tell(await stream.finish())
        await self.send({"type": "done", "duration": round(self.audio_s, 3)})
        return code

    async def _start(self) -> Start:
        """Read the first message, and check that the client may come in."""
        headers = dict(self._socket.headers)
        if is_foreign(headers):
            raise ServeError(403, "foreign_origin", "expected a page of this server, got one of another site")
        message = await self._next()
        try:
            start = Start.model_validate_json(message if isinstance(message, str) else b"")
        except ValidationError as error:
            message = f'expected {{"type": "start", ...}} first; {first_problem(error)}'
            raise ServeError(400, "invalid_value", message) from error
        if start.token is None or self._settings.token is None:
            check_token(headers, self._settings.token)
        elif not is_token(start.token, self._settings.token):
            raise ServeError(401, "invalid_api_key", "expected the right token in the first message")
        return start

    async def _hear(self, stream: LiveStream, sample_rate: int) -> int:
        """Pass audio on until the end; return the code to close with."""
        while not self._draining.is_set():
            message = await self._next()
            if isinstance(message, bytes):
                self.audio_s += samples_in(message) / sample_rate
                await self._tell(await stream.feed(message))
            elif message is not None:
                if _type(message) != "end":
                    raise ServeError(400, "invalid_value", 'expected audio or {"type": "end"}: end and begin anew')
                return _DONE
        return _RESTART

    async def _next(self) -> str | bytes | None:
        """Return the next message; None when the server is to end.

        Raises:
            WebSocketDisconnect: the client has gone.
            ServeError: nothing came.
        """
        message = await wait_for_client(self._socket.receive(), self._draining, self._settings.idle_s)
        if message is None:
            return None
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message["code"])
        text, data = message.get("text"), message.get("bytes")
        return text if text is not None else data

    async def _tell(self, results: Results) -> None:
        for result in results:
            kind = "final" if result["is_final"] else "partial"
            if kind == "final":
                self.texts.append(str(result["text"]))
            await self.send({"type": kind, **{key: value for key, value in result.items() if key != "is_final"}})

    async def send(self, values: dict[str, object]) -> None:
        """Send a JSON object.

        Raises:
            WebSocketDisconnect: the client has gone.
        """
        await self._socket.send_text(json.dumps(values, ensure_ascii=False))

    async def close(self, code: int) -> None:
        """Close the connection, unless the client has."""
        try:
            await self._socket.close(code)
        except (RuntimeError, WebSocketDisconnect):
            return


async def wait_for_client(
    message: Coroutine[Any, Any, Message], draining: asyncio.Event, idle_s: float
) -> Message | None:
    """Wait for what a client sends next; None when the server is to end.

    Raises:
        ServeError: nothing came.
    """
    receive, drain = asyncio.ensure_future(message), asyncio.ensure_future(draining.wait())
    try:
        await asyncio.wait([receive, drain], timeout=idle_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        drain.cancel()
        if not receive.done():
            receive.cancel()
    if receive.done():
        return receive.result()
    if draining.is_set():
        return None
    raise ServeError(408, "idle", f"nothing came for {idle_s:g} s: begin anew")


def samples_in(pcm: bytes) -> int:
    """Return the number of 16-bit samples.

    Raises:
        ServeError: half a sample.
    """
    if len(pcm) % 2:
        raise ServeError(400, "invalid_value", "expected 16-bit samples, got half a sample: send whole ones")
    return len(pcm) // 2


def first_problem(error: ValidationError) -> str:
    """Say where the first of the problems is, and what."""
    first = error.errors()[0]
    return f"{'.'.join(str(part) for part in first['loc']) or 'it'}: {first['msg']}"


def _type(message: str) -> object:
    try:
        values = json.loads(message)
    except (ValueError, RecursionError):
        return None
    return values.get("type") if isinstance(values, dict) else None
