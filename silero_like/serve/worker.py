"""A process that recognises: it loads the models, then does what comes through a pipe until the pipe's end."""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Iterator
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from silero_like.audio import SAMPLE_RATE, stream_audio
from silero_like.errors import AudioError, SileroLikeError
from silero_like.serve.answers import render_answer
from silero_like.serve.messages import (
    Answer,
    CloseStream,
    Feed,
    Heard,
    OpenStream,
    Ready,
    Refusal,
    Reply,
    Request,
    Transcription,
)
from silero_like.serve.models import serve_model
from silero_like.serve.settings import ServeSettings
from silero_like.streaming import Stream, StreamResult

Array = npt.NDArray[np.float32]

_CHUNK_S = 10.0


class TooLongError(AudioError):
    """More audio than the server takes."""


def work(connection: Connection, settings: ServeSettings) -> None:
    """Load the models, tell so, and answer requests; the process's whole life."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # sent to the whole group; the server decides
        signal.signal(number, signal.SIG_IGN)
    try:
        worker = Worker(settings)
    except Exception as error:  # noqa: BLE001 - told to the server, which ends or keeps the models it has
        connection.send(refusal(error))
        return
    connection.send(Ready({name: model.info for name, model in worker.models.items()}))
    while True:
        try:
            request = connection.recv()
            file = os.fdopen(recv_handle(connection), "rb") if isinstance(request, Transcription) else None
        except EOFError:
            return
        connection.send(worker.answer(request, file))


class Worker:
    """The models, and the live streams that are open."""

    def __init__(self, settings: ServeSettings) -> None:
        self._settings = settings
        self.models = {name: serve_model(source, settings) for name, source in settings.models.items()}
        self._streams: dict[int, Stream] = {}

    def answer(self, request: Request, file: BinaryIO | None = None) -> Reply:
        """Do what is asked; whatever goes wrong becomes a `Refusal`."""
        try:
            if isinstance(request, Transcription):
                assert file is not None
                with file:
                    return self._transcribe(request, file)
            return Heard(tuple(result.to_dict() for result in self._hear(request)))
        except Exception as error:  # noqa: BLE001 - one bad request must not end the others
            return refusal(error)

    def _transcribe(self, request: Transcription, file: BinaryIO) -> Answer:
        model = self.models[request.options.model]
        chunks = _limited(stream_audio(file, window_s=_CHUNK_S), self._settings.max_duration_s)
        transcript = model.engine(request.options).transcribe_chunks(chunks)
        return render_answer(transcript, request, model.info.lang)

    def _hear(self, request: OpenStream | Feed | CloseStream) -> list[StreamResult]:
        if isinstance(request, OpenStream):
            recognizer = self.models[request.options.model].recognizer(request.options)
            self._streams[request.stream_id] = recognizer.stream(
                latency_s=request.latency_s, sample_rate=request.sample_rate
            )
            return []
        if isinstance(request, CloseStream):
            stream = self._streams.pop(request.stream_id, None)
            return stream.finish() if stream and request.is_wanted else []
        samples: Array = np.frombuffer(request.pcm, "<i2").astype(np.float32) / np.float32(32768)
        return self._streams[request.stream_id].accept_waveform(samples)


def refusal(error: Exception) -> Refusal:
    """Put an error into words for the client: bad input by its own, a fault of ours in general ones."""
    if isinstance(error, TooLongError):
        return Refusal(413, "audio_too_long", str(error))
    if isinstance(error, SileroLikeError):
        return Refusal(400, "invalid_audio" if isinstance(error, AudioError) else "invalid_value", str(error))
    trace = "".join(traceback.format_exception(error))
    return Refusal(500, "internal_error", "the server failed at this request: its log tells why", trace)


def _limited(chunks: Iterator[Array], max_duration_s: float) -> Iterator[Array]:
    """Pass chunks on while they are not too long together, whatever the file says of its length."""
    n_samples = 0
    for chunk in chunks:
        n_samples += len(chunk)
        if n_samples > max_duration_s * SAMPLE_RATE:
            raise TooLongError(f"more than {max_duration_s:g} s of audio: expected less; send it in parts")
        yield chunk
