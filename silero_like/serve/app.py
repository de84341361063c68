"""The HTTP application: OpenAI's transcription endpoint, and what operators ask of a server."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Annotated, Literal

from fastapi import FastAPI, File, Form, Request, Response, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException

import silero_like
from silero_like.serve.guard import TRANSCRIPTIONS, Guard, Held
from silero_like.serve.messages import AnswerFormat, Options, Transcription
from silero_like.serve.observe import Metrics
from silero_like.serve.pool import Pool
from silero_like.serve.refusals import ServeError, error_object, respond
from silero_like.serve.selection import MAX_BEAM_WIDTH, check_language, find_model
from silero_like.serve.settings import ServeSettings
from silero_like.serve.stream import add_stream

PAGE_PATH = Path(__file__).parent / "page.html"
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline' blob:; connect-src 'self'; "
    "media-src blob:; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The page loads nothing from anywhere and may talk to this server only."""


class State:
    """What the application's parts share."""

    def __init__(self, settings: ServeSettings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.held = Held(settings)
        self.pool = Pool(settings, lambda event: self.metrics.events.labels(event).inc())
        self.draining = asyncio.Event()
        """Set when the server is told to end."""
        self.calls: asyncio.Future[None] | None = None
        """Done when the last call of gRPC has ended, if there is gRPC; the workers must live till then."""
        self.metrics.gauge("requests_admitted", "At work or waiting.", lambda: self.pool.n_admitted)
        self.metrics.gauge("streams", "Live streams that are open.", lambda: self.pool.n_streams)


def make_app(settings: ServeSettings) -> FastAPI:
    """Make the application; whoever runs it starts the workers. `app.state.shared` is a `State`."""
    state = State(settings)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        watch = asyncio.get_running_loop().create_task(state.pool.watch())
        with _on_hangup(state.pool):
            yield
        watch.cancel()
        if state.calls:
            await state.calls
        await state.pool.close()

    app = FastAPI(title="silero_like", version=silero_like.__version__, lifespan=lifespan, redoc_url=None)
    app.state.shared = state
    app.add_middleware(Guard, settings=settings, pool=state.pool, metrics=state.metrics, held=state.held)
    _add_errors(app)
    _add_operations(app, state)
    _add_models(app, state)
    _add_transcriptions(app, state)
    add_stream(app, settings, state.pool, state.metrics, state.draining)
    return app


def _add_transcriptions(app: FastAPI, state: State) -> None:
    @app.post(TRANSCRIPTIONS, response_class=Response, summary="Transcribe an audio file")
    async def transcribe(
        request: Request,
        file: Annotated[UploadFile, File(description="wav, flac, ogg, opus, mp3; m4a, mp4, webm where PyAV is there")],
        model: Annotated[str | None, Form(description="as /v1/models names it; the first if left out")] = None,
        language: Annotated[str | None, Form(description="refused if it is not the model's")] = None,
        response_format: Annotated[AnswerFormat, Form()] = "json",
        timestamp_granularities: Annotated[
            list[Literal["word", "segment"]] | None, Form(alias="timestamp_granularities[]")
        ] = None,
        decoder: Annotated[Literal["greedy", "beam"] | None, Form()] = None,
        beam_width: Annotated[int | None, Form(ge=1, le=MAX_BEAM_WIDTH)] = None,
        lm: Annotated[str | None, Form(description="none, or a name that the server was started with")] = None,
        hotwords: Annotated[list[str] | None, Form(description="phrases, one a line, perhaps a tab, a weight")] = None,
        hotwords_list: Annotated[list[str] | None, Form(alias="hotwords[]", include_in_schema=False)] = None,
        stream: Annotated[bool, Form(description="expected false: for live results there is /v1/stream")] = False,
        prompt: Annotated[str | None, Form(description="not used; hotwords are what helps")] = None,
        temperature: Annotated[float | None, Form(description="not used: nothing is drawn at random")] = None,
    ) -> Response:
        """Answer with OpenAI's objects; prompt and temperature are taken and not used."""
        if stream:
            raise ServeError(400, "invalid_value", "expected stream false: for live results there is /v1/stream")
        name = find_model(model, state.pool)
        check_language(language, state.pool.models[name])
        lines = "\n".join([*(hotwords or []), *(hotwords_list or [])]).splitlines()
        options = Options(model=name, decoder=decoder, beam_width=beam_width, lm=lm or None, hotwords=tuple(lines))
        granularities = timestamp_granularities or ["segment"]
        asked = Transcription(
            options=options,
            format=response_format,
            words="word" in granularities,
            segments="segment" in granularities,
        )

        async def is_wanted() -> bool:
            return not await request.is_disconnected()

        answer = await state.pool.transcribe(asked, file.file.fileno(), is_wanted)
        state.metrics.audio.labels(name, "file").inc(answer.audio_s)
        fields = {"model": name, "audio_seconds": round(answer.audio_s, 3)}
        request.scope["fields"] |= fields | ({"text": answer.text} if state.settings.log_transcripts else {})
        return Response(answer.body, media_type=answer.media_type)


def _add_models(app: FastAPI, state: State) -> None:
    def describe(name: str) -> dict[str, object]:
        info = state.pool.models[name]
        return {
            "id": name,
            "object": "model",
            "created": info.created,
            "owned_by": "silero_like",
            "language": info.lang,
            "engine": info.engine,
            "bundle": info.bundle_name,
        }

    @app.get("/v1/models", summary="List the models")
    async def models() -> dict[str, object]:
        return {"object": "list", "data": [describe(name) for name in state.pool.models]}

    @app.get("/v1/models/{name}", summary="Describe a model")
    async def model(name: str) -> dict[str, object]:
        return describe(find_model(name, state.pool))


def _add_operations(app: FastAPI, state: State) -> None:
    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    async def page() -> HTMLResponse:
        return HTMLResponse(PAGE_PATH.read_bytes(), headers={"Content-Security-Policy": POLICY})

    @app.get("/healthz", summary="Is the server alive?")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz", summary="Can it serve requests?")
    async def readyz() -> JSONResponse:
        status = "draining" if state.draining.is_set() else "ok" if state.pool.is_ready else "starting"
        return JSONResponse({"status": status}, 200 if status == "ok" else 503)

    @app.get("/metrics", response_class=Response, summary="Figures for Prometheus")
    async def metrics() -> Response:
        return Response(state.metrics.render(), media_type=CONTENT_TYPE_LATEST)


def _add_errors(app: FastAPI) -> None:
    """Let every error have OpenAI's shape."""

    @app.exception_handler(ServeError)
    async def refused(request: Request, error: ServeError) -> JSONResponse:
        return respond(error)

    @app.exception_handler(HTTPException)
    async def failed(request: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse(error_object(error.status_code, None, str(error.detail)), error.status_code, error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:])
        return JSONResponse(error_object(400, "invalid_value", f"{where}: {first['msg']}"), 400)

    @app.exception_handler(Exception)
    async def fault(request: Request, error: Exception) -> JSONResponse:
        return JSONResponse(
            error_object(500, "internal_error", "the server failed: its log tells why"), 500
        )  # uvicorn logs it


@contextlib.contextmanager
def _on_hangup(pool: Pool) -> Iterator[None]:
    """Load the models anew on SIGHUP, where signals can be had: in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, lambda: pool.begin(pool.reload()))
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)
