"""Live speech over a WebSocket: what it hears is what the recogniser's own stream hears."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("fastapi", reason="needs the [serve] extra")

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from silero_like import load
from silero_like.serve.settings import ServeSettings
from tests.silero_like.serving import Served, serving, wait_until

if TYPE_CHECKING:
    pass

TOKEN = "a secret"
START = {"type": "start", "token": TOKEN}


@pytest.fixture(scope="module")
def served(tone_settings: ServeSettings) -> Iterator[Served]:
    with serving(replace(tone_settings, max_streams=2, idle_s=1.5, token=TOKEN)) as running:
        yield running


@contextlib.contextmanager
def talking(served: Served, start: Any = START, **options: Any) -> Iterator[ClientConnection]:
    """Connect, and say the first message unless it is None."""
    with connect(f"ws://127.0.0.1:{served.port}/v1/stream", **options) as socket:
        if start is not None:
            socket.send(start if isinstance(start, str | bytes) else json.dumps(start))
        yield socket


def rest(socket: ClientConnection) -> tuple[list[dict[str, Any]], int]:
    """Return all messages until the end, and the code that it ended with."""
    messages = []
    try:
        while True:
            messages.append(json.loads(socket.recv(timeout=20)))
    except ConnectionClosed as closed:
        return messages, closed.rcvd.code if closed.rcvd else 0


def hear(served: Served, samples: npt.NDArray[np.int16], n_chunk: int = 1600, **start: Any) -> list[dict[str, Any]]:
    with talking(served, START | start) as socket:
        for begin in range(0, len(samples), n_chunk):
            socket.send(samples[begin : begin + n_chunk].tobytes())
        socket.send('{"type": "end"}')
        (started, *results, done), code = rest(socket)
    assert (started, code) == ({"type": "started", "model": "tones"}, 1000)
    assert done == {"type": "done", "duration": round(len(samples) / start.get("sample_rate", 16000), 3)}
    return results


@pytest.mark.parametrize("n_chunk", [1000, 16000])
def test_it_hears_what_a_stream_hears(served: Served, two_turns: npt.NDArray[np.int16], n_chunk: int) -> None:
    stream = load(served.settings.models["tones"].path).stream()
    expected = [*stream.accept_waveform((two_turns / np.float32(32768)).astype(np.float32)), *stream.finish()]
    results = hear(served, two_turns, n_chunk)
    assert [result["text"] for result in results if result["type"] == "final"] == ["one two", "three"]
    assert [{**result, "type": None} for result in results] == [
        {"type": None, **{key: value for key, value in result.to_dict().items() if key != "is_final"}}
        for result in expected
    ]


def test_streams_do_not_hear_each_other(served: Served, two_turns: npt.NDArray[np.int16]) -> None:
    with talking(served) as first, talking(served, START | {"latency_s": 1.0}) as second:
        for begin in range(0, len(two_turns), 3200):
            first.send(two_turns[begin : begin + 3200].tobytes())
            second.send(np.zeros(3200, "<i2").tobytes())
        first.send('{"type": "end"}')
        second.send('{"type": "end"}')
        assert [result["text"] for result in rest(first)[0] if result["type"] == "final"] == ["one two", "three"]
        assert [message["type"] for message in rest(second)[0]] == ["started", "done"]


def test_other_rates_and_hotwords(served: Served, two_turns: npt.NDArray[np.int16]) -> None:
    slow = np.repeat(two_turns, 2)
    finals = [r["text"] for r in hear(served, slow, sample_rate=32000) if r["type"] == "final"]
    assert finals == ["one two", "three"]
    finals = [r["text"] for r in hear(served, two_turns // 2, hotwords=["two\t-300"]) if r["type"] == "final"]
    assert "two" not in finals[0]


@pytest.mark.parametrize(
    ("first", "message"),
    [
        ("{", "JSON"),
        ("[]", "start"),
        ("[" * 100_000, "JSON"),
        (b"\0\0", "start"),
        (START | {"latency_s": 9}, "latency_s"),
        (START | {"hotword": []}, "hotword"),
        (START | {"model": "x"}, "expected a model among tones"),
        (START | {"lm": "/etc/passwd"}, "expected an lm among none"),
        (START | {"token": "wrong"}, "token"),
        ({"type": "start"}, "token"),
    ],
)
def test_a_wrong_beginning(served: Served, first: Any, message: str) -> None:
    with talking(served, first) as socket:
        (error,), code = rest(socket)
    assert code == 1008 and error["type"] == "error" and message in error["error"]["message"]


def test_a_header_may_carry_the_token(served: Served) -> None:
    with talking(served, {"type": "start"}, additional_headers={"Authorization": f"Bearer {TOKEN}"}) as socket:
        assert json.loads(socket.recv())["type"] == "started"


def test_pages_of_other_sites_are_refused(served: Served) -> None:
    with talking(served, None, origin="https://elsewhere.example") as socket:  # type: ignore[arg-type]
        assert rest(socket)[0][0]["error"]["code"] == "foreign_origin"
    with talking(served, origin=f"http://127.0.0.1:{served.port}") as socket:  # type: ignore[arg-type]
        assert json.loads(socket.recv())["type"] == "started"


@pytest.mark.parametrize("second", [b"\0", '{"type": "what"}', "no json"])
def test_a_wrong_continuation(served: Served, second: str | bytes) -> None:
    with talking(served) as socket:
        socket.send(second)
        (_, error), code = rest(socket)
    assert (error["type"], code) == ("error", 1008)


def test_silence_on_the_line_and_too_many_streams(served: Served) -> None:
    with talking(served) as first, talking(served) as second:
        assert json.loads(first.recv())["type"] == json.loads(second.recv())["type"] == "started"
        with talking(served) as third:
            (error,), code = rest(third)
            assert (error["error"]["code"], code) == ("too_many_streams", 1013)
        assert rest(first)[0][0]["error"]["code"] == "idle"
    wait_until(lambda: served.pool.n_streams == 0)


def test_a_client_that_leaves_frees_its_stream(served: Served) -> None:
    for _ in range(4):
        with talking(served) as socket:
            socket.recv()
            socket.send(b"\0" * 6400)
            socket.close_socket()
        wait_until(lambda: served.pool.n_streams == 0)


def test_a_message_that_is_too_large(served: Served) -> None:
    with talking(served) as socket:
        socket.send(b"\0" * (2 << 20))
        assert rest(socket)[1] == 1009
    wait_until(lambda: served.pool.n_streams == 0)


def test_when_the_worker_dies_others_can_begin(served: Served, two_turns: npt.NDArray[np.int16]) -> None:
    with talking(served) as socket:
        socket.recv()
        assert served.pool._live
        served.pool._live.worker.kill()
        socket.send(two_turns.tobytes())
        assert rest(socket)[1] == 1011
    wait_until(lambda: served.pool.is_ready)
    assert [r["text"] for r in hear(served, two_turns) if r["type"] == "final"] == ["one two", "three"]


def test_the_end_of_the_server_gives_the_last_result(
    tone_settings: ServeSettings,
    two_turns: npt.NDArray[np.int16],
) -> None:
    with serving(tone_settings) as running, talking(running, {"type": "start"}) as socket:
        socket.send(two_turns[: len(two_turns) // 3].tobytes())
        assert [json.loads(socket.recv())["type"] for _ in range(2)] == ["started", "partial"]
        running.server.should_exit = True
        messages, code = rest(socket)
    assert [message["type"] for message in messages][-2:] == ["final", "done"] and code == 1012
