"""What hostile and broken clients do: they get a 4xx or a closed connection, and nothing of theirs stays."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import socket
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="needs the [serve] extra")

from benchmarks.serving import memory_mb as tree_memory_mb
from silero_like.cli.decoder_options import read_hotword_lines
from silero_like.serve import server
from silero_like.serve.settings import ServeSettings
from tests.silero_like.serving import (
    BOUNDARY,
    PATH,
    ROOT,
    Served,
    encode,
    multipart,
    run_command,
    serving,
    wait_until,
)

if TYPE_CHECKING:
    from conftest import StandIn

MAX_BYTES = 200_000
MAX_DURATION_S = 20.0
UPLOAD_S = 0.5
HEAD = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary={BOUNDARY}\r\n".encode()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The temporary folder of the server and its workers."""
    path, patch = tmp_path_factory.mktemp("temporary"), pytest.MonkeyPatch()
    patch.setenv("TMPDIR", str(path))
    patch.setattr(tempfile, "tempdir", str(path))
    yield path
    patch.undo()


@pytest.fixture(scope="module")
def served(tone_settings: ServeSettings, folder: Path) -> Iterator[Served]:
    settings = replace(
        tone_settings, max_upload_bytes=MAX_BYTES, max_duration_s=MAX_DURATION_S, upload_timeout_s=UPLOAD_S
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server, "SILENT_S", 0.3)
        with serving(settings) as running:
            yield running


@pytest.fixture(autouse=True)
def nothing_stays(served: Served, _stand_in: StandIn, folder: Path) -> Iterator[None]:
    """After every test the server works, holds no request, and its temporary folder is empty."""
    yield
    assert served.transcribe(encode(_stand_in.speak("one"))).json == {"text": "one"}
    assert served.pool.n_admitted == 0
    assert list(folder.iterdir()) == []


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ")[1])


def send(served: Served, *parts: bytes, pause_s: float = 0.0) -> bytes:
    """Send bytes as they are; return the answer, or nothing where there is none."""
    with socket.create_connection(("127.0.0.1", served.port), timeout=20) as connection:
        try:
            for part in parts:
                connection.sendall(part)
                time.sleep(pause_s)
        except OSError:  # it has stopped listening
            pass
        answer = b""
        with contextlib.suppress(ConnectionResetError):  # behind an answer, when it has not read all
            while part := connection.recv(65536):
                answer += part
                head, _, body = answer.partition(b"\r\n\r\n")  # which may come one after the other
                length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
                if length and len(body) >= int(length[1]):
                    break
        return answer


def test_an_upload_that_says_it_is_too_large(served: Served) -> None:
    answer = send(served, HEAD + b"Content-Length: 1000000000\r\n\r\n")
    assert status_of(answer) == 413 and b"upload_too_large" in answer


def test_an_endless_upload(served: Served) -> None:
    start = multipart(b"")[: -len(BOUNDARY) - 8]
    chunk = b"10000\r\n" + b"\0" * 0x10000 + b"\r\n"
    head = HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + f"{len(start):x}\r\n".encode() + start + b"\r\n"
    answer = send(served, head, *[chunk] * 100)
    assert status_of(answer) == 413


def test_a_field_without_end(served: Served) -> None:
    body = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="model"\r\n\r\n'.encode() + b"a" * 190_000
    answer = send(served, HEAD + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
    assert status_of(answer) == 400


def test_a_slow_upload(served: Served) -> None:
    answer = send(
        served, HEAD + b"Content-Length: 1000\r\n\r\n", *(b"-", b"-", b"l", b"i", b"m", b"i"), pause_s=UPLOAD_S / 4
    )
    assert status_of(answer) == 408 and b"upload_too_slow" in answer


def test_many_uploads_that_do_not_end_hold_only_so_much(served: Served) -> None:
    part = HEAD + f"Content-Length: {MAX_BYTES}\r\n\r\n".encode() + multipart(b"\0" * (MAX_BYTES - 5000))[:-100]
    with contextlib.ExitStack() as closing:
        connect = partial(socket.create_connection, ("127.0.0.1", served.port), timeout=20)
        connections = [closing.enter_context(connect()) for _ in range(13)]
        for connection in connections:
            connection.sendall(part)
        statuses = [status_of(connection.recv(65536)) for connection in connections]
    assert set(statuses) == {408, 429} and statuses.count(429) >= 2


@pytest.mark.parametrize("said", [b"", b"POST /v1/audio/tran", b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /he"])
def test_a_client_that_says_nothing_more(served: Served, said: bytes) -> None:
    with socket.create_connection(("127.0.0.1", served.port), timeout=20) as connection:
        connection.sendall(said)
        while connection.recv(65536):
            pass  # until it is closed


def test_a_client_that_leaves_amid_an_upload(served: Served) -> None:
    body = multipart(b"\0" * 150_000)
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", served.port), timeout=20) as connection:
            connection.sendall(HEAD + f"Content-Length: {len(body)}\r\n\r\n".encode() + body[:100_000])
    wait_until(lambda: served.server._state.held.n_bytes == 0)  # together they may be all that may be held at once


def test_a_client_that_leaves_before_the_answer(served: Served, _stand_in: StandIn) -> None:  # noqa: PT019
    body = multipart(encode(_stand_in.speak("one two")))
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", served.port), timeout=20) as connection:
            connection.sendall(HEAD + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
    wait_until(lambda: served.pool.n_admitted == 0)


@pytest.mark.parametrize(
    "filename",
    [
        "../../../../etc/passwd",
        "/etc/passwd",
        "-",
        "a.raw",
        "a.wav\0.sh",
        "..",
        "",
        "http://127.0.0.1/a.wav",
        "a" * 3000,
    ],
)
def test_names_are_only_names(served: Served, filename: str, _stand_in: StandIn) -> None:  # noqa: PT019
    reply = served.transcribe(encode(_stand_in.speak("two")), filename)
    assert (reply.status, reply.json) in ((200, {"text": "two"}), (400, reply.json))
    assert b"root:" not in reply.body


TEXT = "не звук, 不是声音, not sound\n".encode() * 3000


def flac_bomb() -> bytes:
    """Ten minutes of silence in a few kilobytes."""
    return encode(np.zeros(600 * 16000, np.float32), "FLAC")


def lying_flac() -> bytes:
    """A second that claims to be 2**36 - 1 samples: the last 36 bits before the checksum of the header block."""
    data = bytearray(encode(np.zeros(16000, np.float32), "FLAC"))
    data[21] |= 0x0F
    data[22:26] = b"\xff" * 4
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (TEXT, 400, "invalid_audio"),
        (TEXT * 3, 413, "upload_too_large"),
        (b"", 400, "invalid_audio"),
        (b"RIFF\xff\xff\xff\xffWAVEfmt ", 400, "invalid_audio"),
        (flac_bomb(), 413, "audio_too_long"),
        (lying_flac(), 400, "invalid_audio"),
        (os.urandom(50_000), 400, "invalid_audio"),
    ],
    ids=["text", "much text", "nothing", "a header", "flac bomb", "lying flac", "noise"],
)
def test_what_is_no_speech(served: Served, data: bytes, status: int, code: str) -> None:
    reply = served.transcribe(data)
    assert (reply.status, reply.code) == (status, code)


@pytest.mark.parametrize("scheme", ["file://", "", "http://127.0.0.1:{port}"])
def test_a_playlist_opens_nothing(served: Served, tmp_path: Path, scheme: str, _stand_in: StandIn) -> None:  # noqa: PT019
    secret = tmp_path / "secret.wav"
    secret.write_bytes(encode(_stand_in.speak("three")))
    address = scheme.format(port=served.port) + str(secret)
    lists = [
        f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{address}\n#EXT-X-ENDLIST\n",
        f"ffconcat version 1.0\nfile '{address}'\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=audio 5004 RTP/AVP 0\n",
    ]
    for text, name in itertools.product(lists, ["a.m3u8", "a.mp4", "a.wav"]):
        reply = served.transcribe(text.encode(), name)
        assert (reply.status, reply.code) == (400, "invalid_audio")
        assert "timed out" not in reply.json["error"]["message"]


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("application/json", b'{"file": "a.wav"', 415),
        ("", b"x", 415),
        ("multipart/form-data", b"x", 400),
        (f"multipart/form-data; boundary={BOUNDARY}", b"garbage", 400),
        (f"multipart/form-data; boundary={BOUNDARY}", multipart(b"")[:60], 400),
        (f"multipart/form-data; boundary={BOUNDARY}", multipart(b"").replace(b'"file"', b'"other"'), 400),
        (f"multipart/form-data; boundary={BOUNDARY}", multipart(b"").replace(b"; filename", b"; x"), 400),
    ],
)
def test_wrong_forms(served: Served, content_type: str, body: bytes, status: int) -> None:
    reply = served.call("POST", PATH, body, {"Content-Type": content_type})
    assert reply.status == status and reply.json["error"]["message"]


def memory_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 1e6


def test_many_bad_requests_leave_memory_as_it_was(served: Served) -> None:
    (worker,) = served.pool._workers
    assert worker._process.pid
    pids = [os.getpid(), worker._process.pid]
    bad = [TEXT, b"", flac_bomb(), os.urandom(100_000)]

    def round_() -> list[float]:
        for number in range(40):
            assert 400 <= served.transcribe(bad[number % len(bad)], f"{number}.mp4").status < 500
        return [memory_mb(pid) for pid in pids]

    before = round_()
    after = round_()
    assert all(new - old < 10 for old, new in zip(before, after, strict=True)), (before, after)


@pytest.mark.parametrize(
    "request_",
    [b"NONSENSE\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", b"A" * 200_000, b"GET /\r\n" + b"a: b\r\n" * 9000],
)
def test_what_is_no_http(served: Served, request_: bytes) -> None:
    answer = send(served, request_)
    assert answer == b"" or 400 <= status_of(answer) < 500


def test_error_objects_are_json_whatever_they_quote(served: Served) -> None:
    reply = served.transcribe(b"", model='"}<script>\u2028')
    assert reply.status == 404 and "<script>" in json.loads(reply.body)["error"]["message"]


@pytest.mark.slow
def test_the_whole_list_at_full_size(bundled_model: Path, tmp_path: Path) -> None:
    """Against the command with its own limits: a gigabyte, 100 MB of text, bombs, a thousand bad requests."""
    with run_command(["--port", "0", "--workers", "1"], {"TMPDIR": str(tmp_path)}) as process:
        assert process.stderr is not None
        port = int(json.loads(process.stderr.readline())["address"].rsplit(":", 1)[1])
        log = Thread(target=process.stderr.read, daemon=True)
        log.start()
        running = Served(None, ServeSettings(models={}, read_hotwords=read_hotword_lines), None, port)  # type: ignore[arg-type]
        sample = (ROOT / "samples/audiobook.opus").read_bytes()
        text = running.transcribe(sample).json["text"]
        bad = [TEXT, b"", lying_flac(), os.urandom(100_000), b"RIFF"]
        million = b"100000\r\n" + b"a" * (1 << 20) + b"\r\n"
        start = multipart(b"")[: -len(BOUNDARY) - 8]
        head = HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + f"{len(start):x}\r\n".encode() + start + b"\r\n"
        declared = HEAD + b"Content-Length: 1000000000\r\n\r\n"
        two_hours = encode(np.zeros(2 * 3600 * 8000, np.float32), "FLAC", 8000)
        memory = []
        for _ in range(3):  # what the first round leaves is what the buffers of the one worker take; the rest no more
            assert status_of(send(running, declared, *[b"a" * (1 << 20)] * 1000)) == 413
            assert status_of(send(running, head, *[million] * 1000)) == 413
            assert running.transcribe(b"some text " * 9_900_000).status == 400
            assert running.transcribe(two_hours).code == "audio_too_long"
            with ThreadPoolExecutor(8) as threads:
                statuses = threads.map(lambda n: running.transcribe(bad[n % len(bad)], "../x").status, range(500))
                assert {status // 100 for status in statuses} == {4}
            assert running.transcribe(sample).json["text"] == text
            memory.append(tree_memory_mb(process.pid))
            assert list(tmp_path.iterdir()) == []
        print("resident memory after each round, MB:", memory)
        assert memory[2] < memory[0] + 30
        process.terminate()
        assert process.wait(60) == 0
