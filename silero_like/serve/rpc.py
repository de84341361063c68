"""gRPC: the service of `speech.proto`, with the workers, limits and token that the HTTP server has."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
import traceback
from collections.abc import Awaitable, Callable
from typing import IO, TYPE_CHECKING, Any, Literal

import grpc
from pydantic import ValidationError

from silero_like.serve.guard import BODIES, check_token
from silero_like.serve.health import Health
from silero_like.serve.messages import Answer, OpenStream, Transcription
from silero_like.serve.observe import log, log_error
from silero_like.serve.refusals import ServeError
from silero_like.serve.rpc_messages import checked, given_fields, reader, to_bytes
from silero_like.serve.selection import Search, check_language, find_model
from silero_like.serve.speech_pb2 import (
    ListModelsRequest,
    ListModelsResponse,
    Model,
    Options,
    RecognizeRequest,
    RecognizeResponse,
    StreamingRecognizeRequest,
    StreamingRecognizeResponse,
)
from silero_like.serve.stream import MAX_MESSAGE_BYTES, Start, first_problem, samples_in, wait_for_client

if TYPE_CHECKING:
    from silero_like.serve.app import State

SERVICE = "silero_like.v1.Speech"
MAX_CALLS = 512
IDLE_CONNECTION_S = 60

_STATUS = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    404: grpc.StatusCode.NOT_FOUND,
    408: grpc.StatusCode.DEADLINE_EXCEEDED,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    499: grpc.StatusCode.CANCELLED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
"""Of the statuses that HTTP gives; others are INTERNAL."""

Context = Any  # grpc.aio.ServicerContext, which has no types


def make_rpc_server(state: State, host: str, port: int) -> tuple[Any, int]:
    """Make a server that listens and has not started, in the running event loop; return the port, too.

    Raises:
        RuntimeError: the address cannot be had.
    """
    server = grpc.aio.server(
        maximum_concurrent_rpcs=MAX_CALLS,
        options=[
            ("grpc.max_receive_message_length", state.settings.max_upload_bytes),
            ("grpc.max_connection_idle_ms", IDLE_CONNECTION_S * 1000),
            ("grpc.so_reuseport", 0),  # a port that is taken is an error
            ("grpc.compression_enabled_algorithms_bitset", 1),  # none: what unfolds would pass the limit of bytes
        ],
    )
    server.add_generic_rpc_handlers((Speech(state).handler(), Health(state, SERVICE).handler()))
    return server, server.add_insecure_port(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")


class Speech:
    """The service.

    Recognize is unary in `speech.proto`, and streaming here: on the wire the two are the same, but so a call is
    looked at before its message is read.

    Args:
        state: what the HTTP application has, too.
    """

    def __init__(self, state: State) -> None:
        self._state, self._settings, self._pool = state, state.settings, state.pool
        self._readers = asyncio.Semaphore(BODIES)

    def handler(self) -> Any:
        """Return what a server is given."""
        recognize = grpc.stream_unary_rpc_method_handler(
            self._guarded("Recognize", self._recognize), reader(RecognizeRequest), to_bytes
        )
        stream = grpc.stream_stream_rpc_method_handler(
            self._guarded("StreamingRecognize", self._stream), reader(StreamingRecognizeRequest), to_bytes
        )
        models = grpc.stream_unary_rpc_method_handler(
            self._guarded("ListModels", self._list_models), reader(ListModelsRequest), to_bytes
        )
        methods = {"Recognize": recognize, "StreamingRecognize": stream, "ListModels": models}
        return grpc.method_handlers_generic_handler(SERVICE, methods)

    def _guarded(
        self, method: str, work: Callable[[Context, dict[str, object]], Awaitable[Any]]
    ) -> Callable[[Any, Context], Awaitable[Any]]:
        """Let a method pass the token's check, the log and the figures; its refusals become statuses."""
        path = f"/{SERVICE}/{method}"

        async def call(_: Any, context: Context) -> Any:
            start, status, fields = time.monotonic(), grpc.StatusCode.INTERNAL, dict[str, object]()
            try:
                check_token(dict(context.invocation_metadata()), self._settings.token)
                response = await work(context, fields)
                status = grpc.StatusCode.OK
                return response
            except ServeError as error:
                status = _STATUS.get(error.status_code, grpc.StatusCode.INTERNAL)
                await context.abort(status, error.detail, _trailers(error))
            except asyncio.CancelledError:
                status = grpc.StatusCode.CANCELLED
                raise
            except Exception as error:  # noqa: BLE001 - the client is told no more than that
                log_error("fault", "".join(traceback.format_exception(error)))
                await context.abort(status, "the server failed at this request: its log tells why")
            finally:
                seconds = time.monotonic() - start
                self._state.metrics.requests.labels(path, status.name).inc()
                self._state.metrics.seconds.labels(path).observe(seconds)
                log("rpc", path=path, status=status.name, seconds=round(seconds, 3), **fields)

        return call

    async def _recognize(self, context: Context, fields: dict[str, object]) -> RecognizeResponse:
        self._pool.check_room()
        request = await self._first(context)
        name, search = self._search(request.options)
        fields |= {"bytes": len(request.audio), "model": name}
        asked = Transcription(options=search.options(name), format="verbose_json", words=True, segments=False)
        answer = await self._transcribe(asked, request)
        self._state.metrics.audio.labels(name, "file").inc(answer.audio_s)
        fields["audio_seconds"] = round(answer.audio_s, 3)
        if self._settings.log_transcripts:
            fields["text"] = answer.text
        found = json.loads(answer.body)
        found = {key: found[key] for key in ("duration", "text", "confidence", "words")}
        return RecognizeResponse(model=name, language=self._pool.models[name].lang, **found)

    async def _transcribe(self, asked: Transcription, request: RecognizeRequest) -> Answer:
        """Let a worker do it; if the client goes, it is not begun, or else brought to its end and forgotten."""
        is_wanted = True

        async def ask() -> bool:
            return is_wanted

        async def work() -> Answer:
            n_bytes = len(request.audio)
            try:
                self._state.held.add(n_bytes)
                with await asyncio.to_thread(_in_a_file, request.audio) as file:
                    request.ClearField("audio")
                    return await self._pool.transcribe(asked, file.fileno(), ask)
            finally:
                self._state.held.n_bytes -= n_bytes

        working = asyncio.ensure_future(work())
        working.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody may be there to ask
        try:
            return await asyncio.shield(working)
        finally:
            is_wanted = False

    async def _stream(self, context: Context, fields: dict[str, object]) -> None:
        first = await self._first(context)
        if first.WhichOneof("request") != "start":
            raise ServeError(400, "invalid_value", "expected start in the first message")
        given = given_fields(first.start)
        name, search = self._search(given.pop("options", Options()))
        try:
            start = Start.model_validate({**search.model_dump(), **given, "type": "start"})
        except ValidationError as error:
            raise ServeError(400, "invalid_value", f"start: {first_problem(error)}") from error
        asked = OpenStream(
            stream_id=0, options=search.options(name), latency_s=start.latency_s, sample_rate=start.sample_rate
        )
        fields |= {"model": name, "audio_seconds": 0.0}
        audio_s, texts, pcm = 0.0, list[str](), None

        async def tell(results: tuple[dict[str, Any], ...]) -> None:
            for result in results:
                texts.extend([result["text"]] if result["is_final"] else [])
                await context.write(StreamingRecognizeResponse(**result))

        try:
            async with self._pool.open_stream(asked) as stream:
                while isinstance(pcm := await self._next(context), bytes):
                    audio_s += samples_in(pcm) / start.sample_rate
                    await tell(await stream.feed(pcm))
                await tell(await stream.finish())
        finally:
            self._state.metrics.audio.labels(name, "live").inc(audio_s)
            fields["audio_seconds"] = round(audio_s, 3)
            if self._settings.log_transcripts:
                fields["text"] = " ".join(texts)
        if pcm is None:
            raise ServeError(503, "ending", "the server is ending: these were its last results; begin anew")

    async def _list_models(self, context: Context, fields: dict[str, object]) -> ListModelsResponse:
        await self._first(context)
        models = [
            Model(name=name, language=info.lang, engine=info.engine, bundle=info.bundle_name)
            for name, info in self._pool.models.items()
        ]
        return ListModelsResponse(models=models)

    async def _first(self, context: Context) -> Any:
        """Read the first message; few are read at once, as each may be large.

        Raises:
            ServeError: it has not come in time, or not at all.
        """
        timeout_s = self._settings.upload_timeout_s
        try:
            message = await asyncio.wait_for(self._read_in_turn(context), timeout_s)
        except asyncio.TimeoutError:
            text = f"the request was not there after {timeout_s:g} s: send it faster, or smaller"
            raise ServeError(408, "upload_too_slow", text) from None
        if message is grpc.aio.EOF:
            raise ServeError(400, "invalid_value", "expected a message, got none")
        return checked(message)

    async def _read_in_turn(self, context: Context) -> Any:
        async with self._readers:
            return await context.read()

    async def _next(self, context: Context) -> bytes | Literal["end"] | None:
        """Return the next samples, "end" behind the last, or None when the server is to end."""
        message = await wait_for_client(context.read(), self._state.draining, self._settings.idle_s)
        if message is None:
            return None
        if message is grpc.aio.EOF:
            return "end"
        if checked(message).WhichOneof("request") != "pcm":
            raise ServeError(400, "invalid_value", "expected pcm after start: begin anew for another start")
        pcm: bytes = message.pcm
        if len(pcm) > MAX_MESSAGE_BYTES:
            text = f"expected at most {MAX_MESSAGE_BYTES} bytes of pcm in a message, got {len(pcm)}: send less at once"
            raise ServeError(413, "message_too_large", text)
        return pcm

    def _search(self, options: Options) -> tuple[str, Search]:
        """Check options; return the model's name and how to search."""
        given = given_fields(options)
        language = given.pop("language", None)
        name = find_model(given.get("model"), self._pool)
        check_language(language, self._pool.models[name])
        try:
            return name, Search.model_validate(given)
        except ValidationError as error:
            raise ServeError(400, "invalid_value", f"options: {first_problem(error)}") from error


def _in_a_file(data: bytes) -> IO[bytes]:
    file = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the worker has read it
    file.write(data)
    file.seek(0)
    return file


def _trailers(error: ServeError) -> tuple[tuple[str, str], ...]:
    headers = error.headers or {}
    return (("code", error.code), *((("retry-after", headers["Retry-After"]),) if "Retry-After" in headers else ()))
