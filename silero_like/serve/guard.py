"""What every HTTP request passes before the application: token, size and time limits, the log and the figures."""

from __future__ import annotations

import asyncio
import hmac
import time
import uuid
from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from silero_like.serve.observe import Metrics, log
from silero_like.serve.pool import Pool
from silero_like.serve.refusals import ServeError, respond
from silero_like.serve.settings import ServeSettings

TRANSCRIPTIONS = "/v1/audio/transcriptions"

BODIES = 10
"""Bodies of the greatest size that may be held at once."""


class Held:
    """The bytes of all bodies, and of all messages of gRPC, that have been read and not been answered.

    Args:
        settings: tell how many there may be.
    """

    def __init__(self, settings: ServeSettings) -> None:
        self._n_most, self.n_bytes = BODIES * settings.max_upload_bytes, 0

    def add(self, n_bytes: int) -> None:
        """Take note of bytes; whoever does also takes them off `n_bytes`, refused or not.

        Raises:
            ServeError: 429, they are too many now.
        """
        self.n_bytes += n_bytes
        if self.n_bytes > self._n_most:
            raise ServeError(429, "uploads_full", "too many uploads at once: come again", retry_after_s=5)


class Guard:
    """ASGI middleware around the application.

    Args:
        app: the application.
        settings: token and limits.
        pool: refuses uploads, before they are read, while its queue is full.
        metrics: where requests are counted.
        held: where the bytes of their bodies are.
    """

    def __init__(self, app: ASGIApp, *, settings: ServeSettings, pool: Pool, metrics: Metrics, held: Held) -> None:
        self._app, self._settings, self._pool, self._metrics, self._held = app, settings, pool, metrics, held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = time.monotonic(), 500
        scope["fields"] = fields = {"id": uuid.uuid4().hex[:12]}
        body = _Body(receive, self)

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", fields["id"].encode())]
            await send(message)

        try:
            self._check(scope)
            await self._app(scope, body.receive, answer)
        except ServeError as error:
            await respond(error)(scope, receive, answer)
        finally:
            self._held.n_bytes -= body.n_bytes
            path = getattr(scope.get("route"), "path", "other")
            seconds = time.monotonic() - start
            self._metrics.requests.labels(path, str(status)).inc()
            self._metrics.seconds.labels(path).observe(seconds)
            log(
                "request",
                method=scope["method"],
                path=path,
                status=status,
                seconds=round(seconds, 3),
                bytes=body.n_bytes,
                **fields,
            )

    def count(self, n_bytes: int, n_total: int) -> None:
        """Take note of bytes of a body that has so many now.

        Raises:
            ServeError: it, or all bodies together, are too large.
        """
        self._held.add(n_bytes)
        if n_total > self._settings.max_upload_bytes:
            raise self._too_large()

    def _check(self, scope: Scope) -> None:
        """Refuse what can be refused before the body is read."""
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if scope["path"].startswith("/v1/"):
            check_token(headers, self._settings.token)
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length) > self._settings.max_upload_bytes:
            raise self._too_large()
        if scope["path"] == TRANSCRIPTIONS and scope["method"] == "POST":
            content_type = headers.get("content-type", "nothing")
            if not content_type.lower().startswith("multipart/form-data"):
                message = f"expected multipart/form-data with a part named file, got {content_type[:80]}"
                raise ServeError(415, "wrong_content_type", message)
            self._pool.check_room()

    def _too_large(self) -> ServeError:
        message = f"expected at most {self._settings.max_upload_bytes} bytes, got more: send opus or flac, or parts"
        return ServeError(413, "upload_too_large", message)

    @property
    def upload_timeout_s(self) -> float:
        """Seconds for a body to come."""
        return self._settings.upload_timeout_s


class _Body:
    """Counts a body while it is read, whatever length was declared, and waits for it no longer than it may take."""

    def __init__(self, receive: Receive, guard: Guard) -> None:
        self._receive, self._guard = receive, guard
        self._until = time.monotonic() + guard.upload_timeout_s
        self._is_read = False
        self.n_bytes = 0

    async def receive(self) -> Message:
        """Return the next message.

        Raises:
            ServeError: too many bytes, or too late.
        """
        if self._is_read:  # what comes now is the client's leaving
            return await self._receive()
        try:
            message = await asyncio.wait_for(self._receive(), max(0.0, self._until - time.monotonic()))
        except asyncio.TimeoutError:
            message_ = f"the body was not there after {self._guard.upload_timeout_s:g} s: send it faster, or smaller"
            raise ServeError(408, "upload_too_slow", message_) from None
        n_bytes = len(message.get("body", b""))
        self.n_bytes += n_bytes
        self._is_read = not message.get("more_body", False)
        self._guard.count(n_bytes, self.n_bytes)
        return message


def check_token(headers: Mapping[str, str], token: str | None) -> None:
    """Compare a request's bearer token with the server's.

    Raises:
        ServeError: another one or none, where there is to be one.
    """
    given = headers.get("authorization", "")
    if token is not None and not is_token(given.removeprefix("Bearer ").strip(), token):
        raise ServeError(401, "invalid_api_key", "expected the header Authorization: Bearer TOKEN with the right token")


def is_token(given: str, token: str) -> bool:
    """Compare in a time that does not tell how much is right."""
    return hmac.compare_digest(given.encode(), token.encode())


def is_foreign(headers: Mapping[str, str]) -> bool:
    """Tell whether a browser sends this for the page of another site."""
    origin = headers.get("origin")
    return origin is not None and urlsplit(origin).netloc != headers.get("host")
