"""gRPC: a real client hears what the command line and the recogniser's own stream hear, within the same limits."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest
from click.testing import CliRunner

grpc = pytest.importorskip("grpc", reason="needs the [grpc] extra")
pytest.importorskip("grpc_health", reason="needs the [grpc] extra")
pytest.importorskip("fastapi", reason="needs the [serve] extra")

from grpc_health.v1 import health_pb2, health_pb2_grpc  # noqa: E402

from decode.words import Word  # noqa: E402
from silero_like import load  # noqa: E402
from silero_like.cli import main  # noqa: E402
from silero_like.recognizer import Transcript  # noqa: E402
from silero_like.serve import rpc, speech_pb2_grpc  # noqa: E402
from silero_like.serve.answers import render_answer  # noqa: E402
from silero_like.serve.messages import Answer, Transcription  # noqa: E402
from silero_like.serve.server import make_server  # noqa: E402
from silero_like.serve.settings import ServeSettings  # noqa: E402
from silero_like.serve.speech_pb2 import (  # noqa: E402
    ListModelsRequest,
    Options,
    RecognizeRequest,
    Start,
    StreamingRecognizeRequest,
)
from tests.silero_like.serving import Served, encode, serving, wait_until  # noqa: E402

if TYPE_CHECKING:
    from conftest import StandIn

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "a secret"
ALLOWED = [("authorization", f"Bearer {TOKEN}")]
MAX_BYTES = 2_000_000
UPLOAD_S = 0.5
Pcm = npt.NDArray[np.int16]


@pytest.fixture(scope="module")
def served(tone_settings: ServeSettings) -> Iterator[Served]:
    settings = replace(
        tone_settings,
        max_queue=1,
        max_streams=2,
        max_upload_bytes=MAX_BYTES,
        max_duration_s=20.0,
        upload_timeout_s=UPLOAD_S,
        idle_s=1.5,
        token=TOKEN,
    )
    with serving(settings, grpc_port=0) as running:
        yield running


@pytest.fixture
def channel(served: Served, speech: bytes) -> Iterator[Any]:
    """A connection; after every test the server works and holds no request."""
    with grpc.insecure_channel(f"127.0.0.1:{served.grpc_port}") as channel:
        yield channel
        wait_until(lambda: served.pool.n_admitted == served.pool.n_streams == 0)
        assert recognize(channel, speech).text == "one two three"


@pytest.fixture(scope="module")
def speech(_stand_in: StandIn) -> bytes:
    return encode(_stand_in.speak("one two three"))


def recognize(channel: Any, audio: bytes, metadata: Any = ALLOWED, **options: Any) -> Any:
    request = RecognizeRequest(options=Options(**options), audio=audio)
    return speech_pb2_grpc.SpeechStub(channel).Recognize(request, metadata=metadata, timeout=20)


def messages(samples: Pcm, n_chunk: int = 1600, **start: Any) -> Iterator[StreamingRecognizeRequest]:
    yield StreamingRecognizeRequest(start=Start(**start))
    for begin in range(0, len(samples), n_chunk):
        yield StreamingRecognizeRequest(pcm=samples[begin : begin + n_chunk].tobytes())


def hear(channel: Any, requests: Iterator[Any]) -> Any:
    return speech_pb2_grpc.SpeechStub(channel).StreamingRecognize(requests, metadata=ALLOWED, timeout=20)


def refused(call: Callable[[], Any]) -> tuple[str, str | None, str]:
    """Return the status, the short name for programs, and the message."""
    with pytest.raises(grpc.RpcError) as error:
        call()
    return error.value.code().name, dict(error.value.trailing_metadata()).get("code"), error.value.details()


def test_a_file_gives_what_the_command_line_gives(served: Served, channel: Any, speech: bytes, tmp_path: Path) -> None:
    path = tmp_path / "speech.wav"
    path.write_bytes(speech)
    model = served.settings.models["tones"].path
    arguments = ["transcribe", str(path), "--model", str(model), "--format", "json"]
    expected = json.loads(CliRunner().invoke(main, arguments).stdout)
    found = recognize(channel, speech, model="tones", language="en-GB")
    assert (found.text, found.duration, found.confidence) == (
        expected["text"], expected["duration"], expected["confidence"]
    )  # fmt: skip
    assert (found.model, found.language) == ("tones", "en")
    assert [
        {"word": word.word, "start": word.start, "end": word.end, "confidence": word.confidence} for word in found.words
    ] == expected["words"]
    assert 'requests_total{path="/silero_like.v1.Speech/Recognize",status="OK"}' in served.get("/metrics").body.decode()


@pytest.mark.parametrize("words", [["see", "you"], ["до", "завтра"], ["明", "天"]])
def test_every_language_and_words_without_confidence(
    served: Served, channel: Any, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def transcribe(asked: Transcription, *_: Any) -> Answer:
        said = tuple(Word(word, 0.5 * n, 0.5 * n + 0.25, math.nan) for n, word in enumerate(words))
        return render_answer(Transcript("", 1.5, " ".join(words), math.nan, said, "m"), asked, "")

    monkeypatch.setattr(served.pool, "transcribe", transcribe)
    found = recognize(channel, b"")
    monkeypatch.undo()
    assert found.text == " ".join(words) and [word.word for word in found.words] == words
    assert (found.words[1].start, found.words[1].end, found.duration) == (0.5, 0.75, 1.5)
    assert not found.HasField("confidence") and not found.words[0].HasField("confidence")


def test_each_request_may_have_its_own_search(channel: Any, stand_in: StandIn) -> None:
    unclear = encode(stand_in.speak("one two", n_tone=1) * np.float32(0.55))
    plain = recognize(channel, unclear).text
    assert "two" in plain
    assert (
        "two" not in recognize(channel, unclear, hotwords=["two\t-300"], decoder="beam", beam_width=8, lm="none").text
    )
    assert recognize(channel, unclear).text == plain


def test_what_is_served_and_how_it_is(channel: Any) -> None:
    (model,) = speech_pb2_grpc.SpeechStub(channel).ListModels(ListModelsRequest(), metadata=ALLOWED).models
    assert (model.name, model.language, model.engine, model.bundle) == ("tones", "en", "silero_like", "stand-in")
    health = health_pb2_grpc.HealthStub(channel)
    for service in ("", "silero_like.v1.Speech"):
        answer = health.Check(health_pb2.HealthCheckRequest(service=service))  # without the token
        assert health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status) == "SERVING"
    assert refused(lambda: health.Check(health_pb2.HealthCheckRequest(service="x")))[0] == "NOT_FOUND"


@pytest.mark.parametrize(
    ("options", "status", "code", "message"),
    [
        ({"model": "x"}, "NOT_FOUND", "model_not_found", "expected a model among tones"),
        ({"language": "zh"}, "INVALID_ARGUMENT", "wrong_language", "expected language en"),
        ({"decoder": "fast"}, "INVALID_ARGUMENT", "invalid_value", "options: decoder: "),
        ({"beam_width": 10**6}, "INVALID_ARGUMENT", "invalid_value", "options: beam_width: "),
        ({"lm": "/etc/passwd"}, "INVALID_ARGUMENT", "invalid_value", "expected an lm among none"),
        ({"decoder": "greedy", "hotwords": ["one"]}, "INVALID_ARGUMENT", "invalid_value", "take beam"),
        ({"hotwords": ["one\tmuch"]}, "INVALID_ARGUMENT", "invalid_value", "hotword"),
    ],
)
def test_wrong_options_are_told(
    channel: Any, speech: bytes, options: dict[str, Any], status: str, code: str, message: str
) -> None:
    found = refused(lambda: recognize(channel, speech, **options))
    assert found[:2] == (status, code) and message in found[2]


@pytest.mark.parametrize(
    ("audio", "status", "code"),
    [
        (b"", "INVALID_ARGUMENT", "invalid_audio"),
        (b"not sound" * 1000, "INVALID_ARGUMENT", "invalid_audio"),
        (encode(np.zeros(30 * 16000, np.float32), "FLAC"), "RESOURCE_EXHAUSTED", "audio_too_long"),
        (bytes(MAX_BYTES), "RESOURCE_EXHAUSTED", None),
        (bytes(3 * MAX_BYTES), "RESOURCE_EXHAUSTED", None),
    ],
    ids=["nothing", "text", "too long", "too large", "much too large"],
)
def test_what_is_no_speech_or_too_much(channel: Any, audio: bytes, status: str, code: str | None) -> None:
    assert refused(lambda: recognize(channel, audio))[:2] == (status, code)


@pytest.mark.parametrize("metadata", [(), [("authorization", "Bearer wrong")], [("authorization", "")]])
def test_without_the_token_nothing_is_served_nor_read(channel: Any, speech: bytes, metadata: Any) -> None:
    expected = ("UNAUTHENTICATED", "invalid_api_key")
    assert refused(lambda: recognize(channel, speech, metadata))[:2] == expected
    assert refused(lambda: recognize(channel, bytes(3 * MAX_BYTES), metadata))[:2] == expected
    stream = speech_pb2_grpc.SpeechStub(channel).StreamingRecognize(iter([]), metadata=metadata)
    assert refused(lambda: list(stream))[0] == "UNAUTHENTICATED"


def test_bytes_that_are_no_message_and_methods_that_are_none(channel: Any) -> None:
    call = channel.unary_unary("/silero_like.v1.Speech/Recognize")
    found = refused(lambda: call(b"\xff" * 100, metadata=ALLOWED, timeout=5))
    assert found[:2] == ("INVALID_ARGUMENT", "invalid_value") and "speech.proto" in found[2]
    stream = channel.stream_stream("/silero_like.v1.Speech/StreamingRecognize")
    parts = [StreamingRecognizeRequest(start=Start()).SerializeToString(), b"\xff" * 100]
    assert refused(lambda: list(stream(iter(parts), metadata=ALLOWED, timeout=5)))[0] == "INVALID_ARGUMENT"
    call = channel.unary_unary("/silero_like.v1.Speech/Nothing")
    assert refused(lambda: call(b"", metadata=ALLOWED, timeout=5))[0] == "UNIMPLEMENTED"


def test_what_unfolds_is_not_taken(served: Served, channel: Any, speech: bytes) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{served.grpc_port}", compression=grpc.Compression.Gzip) as packed:
        assert refused(lambda: recognize(packed, speech))[0] == "UNIMPLEMENTED"
        assert refused(lambda: recognize(packed, bytes(5 * MAX_BYTES)))[0] == "UNIMPLEMENTED"


def test_too_much_at_once(served: Served, channel: Any, speech: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    held = served.server._state.held
    monkeypatch.setattr(held, "_n_most", len(speech) - 1)
    assert refused(lambda: recognize(channel, speech))[:2] == ("RESOURCE_EXHAUSTED", "uploads_full")
    assert held.n_bytes == 0


def test_a_request_that_does_not_come(channel: Any) -> None:
    waiting, end = threading.Event(), threading.Event()

    def nothing() -> Iterator[bytes]:
        waiting.set()
        end.wait(20)
        yield from ()

    call = channel.stream_unary("/silero_like.v1.Speech/Recognize")
    found = refused(lambda: call(nothing(), metadata=ALLOWED, timeout=20))
    end.set()
    assert waiting.is_set() and found[:2] == ("DEADLINE_EXCEEDED", "upload_too_slow")
    assert refused(lambda: call(iter([]), metadata=ALLOWED, timeout=20))[0] == "INVALID_ARGUMENT"


def cancelled(served: Served) -> int:
    counter = r'_total\{path="/silero_like.v1.Speech/Recognize",status="CANCELLED"\} (\d+)'
    return sum(map(int, re.findall(counter, served.get("/metrics").body.decode())))


def test_a_full_queue_a_client_that_leaves_and_one_in_a_hurry(served: Served, channel: Any, speech: bytes) -> None:
    (worker,) = served.pool._workers
    pid = worker._process.pid
    assert pid
    stub, request = speech_pb2_grpc.SpeechStub(channel), RecognizeRequest(audio=speech)
    n_cancelled = cancelled(served)
    os.kill(pid, signal.SIGSTOP)
    try:
        first = stub.Recognize.future(request, metadata=ALLOWED)
        wait_until(lambda: served.pool.n_admitted == 1)
        second = stub.Recognize.future(request, metadata=ALLOWED, timeout=0.3)
        wait_until(lambda: served.pool.n_admitted == 2)
        with pytest.raises(grpc.RpcError) as error:
            stub.Recognize(request, metadata=ALLOWED)
        trailers = dict(error.value.trailing_metadata())
        assert error.value.code().name == "RESOURCE_EXHAUSTED" and trailers["code"] == "queue_full"
        assert 1 <= int(trailers["retry-after"]) <= 60
        assert second.code().name == "DEADLINE_EXCEEDED"
        first.cancel()
        wait_until(lambda: cancelled(served) == n_cancelled + 2)
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_until(lambda: served.pool.n_admitted == 0)
    assert served.pool._workers == {worker}  # nobody's leaving cost a worker


@pytest.mark.parametrize("n_chunk", [1000, 16000])
def test_a_stream_hears_what_a_stream_hears(served: Served, channel: Any, two_turns: Pcm, n_chunk: int) -> None:
    stream = load(served.settings.models["tones"].path).stream()
    expected = [*stream.accept_waveform((two_turns / np.float32(32768)).astype(np.float32)), *stream.finish()]
    found = list(hear(channel, messages(two_turns, n_chunk)))
    assert [result.text for result in found if result.is_final] == ["one two", "three"]
    assert [(r.segment, r.is_final, r.text, r.confidence) for r in found] == [
        (r.segment, r.is_final, r.text, round(r.confidence, 4)) for r in expected
    ]
    assert [[(w.word, w.start, w.end) for w in r.words] for r in found] == [
        [(w.word, round(w.start, 3), round(w.end, 3)) for w in r.words] for r in expected
    ]


def test_streams_take_options_and_other_rates(channel: Any, two_turns: Pcm) -> None:
    slow = hear(channel, messages(np.repeat(two_turns, 2), sample_rate=32000, latency_s=0.4))
    assert [result.text for result in slow if result.is_final] == ["one two", "three"]
    found = hear(channel, messages(two_turns // 2, options=Options(hotwords=["two\t-300"])))
    assert "two" not in next(result.text for result in found if result.is_final)


@pytest.mark.parametrize(
    ("requests", "status", "message"),
    [
        ([], "INVALID_ARGUMENT", "expected a message"),
        ([StreamingRecognizeRequest()], "INVALID_ARGUMENT", "expected start"),
        ([StreamingRecognizeRequest(pcm=b"\0\0")], "INVALID_ARGUMENT", "expected start"),
        ([Start(latency_s=9)], "INVALID_ARGUMENT", "start: latency_s"),
        ([Start(sample_rate=10)], "INVALID_ARGUMENT", "start: sample_rate"),
        ([Start(options=Options(model="x"))], "NOT_FOUND", "expected a model among tones"),
        ([Start(options=Options(lm="x"))], "INVALID_ARGUMENT", "expected an lm"),
        ([Start(), Start()], "INVALID_ARGUMENT", "expected pcm"),
        ([Start(), b"\0"], "INVALID_ARGUMENT", "half a sample"),
        ([Start(), bytes(2 << 20)], "RESOURCE_EXHAUSTED", ""),
        ([Start(), bytes(3 << 19)], "RESOURCE_EXHAUSTED", "send less at once"),
    ],
)
def test_a_wrong_stream(channel: Any, requests: list[Any], status: str, message: str) -> None:
    def all_() -> Iterator[Any]:
        for request in requests:
            key = {Start: "start", bytes: "pcm"}.get(type(request))
            yield StreamingRecognizeRequest(**{key: request}) if key else request

    found = refused(lambda: list(hear(channel, all_())))
    assert found[0] == status and message in found[2]


def test_silence_on_the_line_too_many_streams_and_a_client_that_leaves(served: Served, channel: Any) -> None:
    end = threading.Event()

    def silent() -> Iterator[Any]:
        yield StreamingRecognizeRequest(start=Start())
        end.wait(20)

    first, second = hear(channel, silent()), hear(channel, silent())
    wait_until(lambda: served.pool.n_streams == 2)
    assert refused(lambda: list(hear(channel, messages(np.zeros(0, np.int16)))))[1] == "too_many_streams"
    second.cancel()
    wait_until(lambda: served.pool.n_streams < 2)
    assert refused(lambda: list(first))[:2] == ("DEADLINE_EXCEEDED", "idle")
    end.set()


def test_a_port_that_is_taken_ends_the_start(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as taken, pytest.raises(SystemExit) as end:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        make_server(served.settings, host="127.0.0.1", port=0, grpc_port=port).run()
    assert end.value.code == 1
    (record,) = [record for record in caplog.records if record.getMessage() == "grpc_failed"]
    assert str(port) in record.__dict__["fields"]["reason"]


def test_the_code_is_what_grpcio_tools_make_of_the_proto(tmp_path: Path) -> None:
    tools = pytest.importorskip("grpc_tools", reason="needs the [dev] extra")
    assert tools
    command = "python -m grpc_tools.protoc -I. {} silero_like/serve/speech.proto"
    outputs = "--python_out={0} --pyi_out={0} --grpc_python_out={0}"
    arguments = command.format(outputs.format(tmp_path)).split()[1:]
    subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True)
    made = sorted((tmp_path / "silero_like" / "serve").iterdir())
    assert [path.name for path in made] == ["speech_pb2.py", "speech_pb2.pyi", "speech_pb2_grpc.py"]
    for path in made:
        kept = ROOT / "silero_like" / "serve" / path.name
        assert path.read_text() == kept.read_text(), f"{kept}: run {command.format(outputs.format('.'))}"
    assert rpc.SERVICE in (ROOT / "silero_like/serve/speech_pb2_grpc.py").read_text()


def test_the_end_of_the_server_waits_for_a_call_and_gives_a_streams_last_result(
    served: Served, two_turns: Pcm, speech: bytes
) -> None:
    """The last test: the server ends with it."""
    end = threading.Event()

    def talk() -> Iterator[Any]:
        yield StreamingRecognizeRequest(start=Start())
        yield StreamingRecognizeRequest(pcm=two_turns[: len(two_turns) // 3].tobytes())
        end.wait(20)

    (worker,) = served.pool._workers
    assert worker._process.pid
    with grpc.insecure_channel(f"127.0.0.1:{served.grpc_port}") as channel:
        stub = speech_pb2_grpc.SpeechStub(channel)
        stream = stub.StreamingRecognize(talk(), metadata=ALLOWED, timeout=20)
        assert not next(stream).is_final
        os.kill(worker._process.pid, signal.SIGSTOP)
        waiting = stub.Recognize.future(RecognizeRequest(audio=speech), metadata=ALLOWED, timeout=20)
        wait_until(lambda: served.pool.n_admitted == 1)
        served.server.should_exit = True
        said: list[Any] = []
        assert refused(lambda: said.extend(stream))[:2] == ("UNAVAILABLE", "ending")
        assert [result.is_final for result in said][-1:] == [True]
        os.kill(worker._process.pid, signal.SIGCONT)
        assert waiting.result().text == "one two three"
        end.set()
        with pytest.raises(grpc.RpcError) as error:
            stub.ListModels(ListModelsRequest(), metadata=ALLOWED, timeout=5)
        assert error.value.code().name == "UNAVAILABLE"
