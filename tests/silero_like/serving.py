"""A server for tests: in a thread of the test's process, with worker processes, on a free port of this machine."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile

from silero_like.engines import OWN, ModelSource
from silero_like.serve.pool import Pool
from silero_like.serve.server import Server, make_server
from silero_like.serve.settings import ServeSettings

BOUNDARY = "limit"
ROOT = Path(__file__).resolve().parent.parent.parent
PATH = "/v1/audio/transcriptions"


@dataclass(frozen=True)
class Reply:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body's JSON."""
        return json.loads(self.body)

    @property
    def code(self) -> str | None:
        """The short name of an error."""
        error = self.json["error"]
        assert set(error) == {"message", "type", "param", "code"} and error["message"]
        return str(error["code"])


@dataclass(frozen=True)
class Served:
    """A server that runs."""

    server: Server
    settings: ServeSettings
    pool: Pool
    port: int
    grpc_port: int = 0

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def call(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Reply:
        """Make a request with the server's token."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            token = {"Authorization": f"Bearer {self.settings.token}"} if self.settings.token else {}
            connection.request(method, path, body, token | (headers or {}))
            answer = connection.getresponse()
            names = {name.lower(): value for name, value in answer.getheaders()}
            return Reply(answer.status, names, answer.read())
        finally:
            connection.close()

    def get(self, path: str) -> Reply:
        """Ask for something."""
        return self.call("GET", path)

    def transcribe(self, data: bytes, filename: str = "a.wav", **fields: str | list[str]) -> Reply:
        """Upload a file."""
        body = multipart(data, filename, **fields)
        return self.call("POST", PATH, body, {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"})


def own(path: Path) -> ModelSource:
    """Return a model of ours as the server takes it."""
    return ModelSource(OWN, path)


def multipart(data: bytes, filename: str = "a.wav", **fields: str | list[str]) -> bytes:
    """Return a form with a file."""
    lines = []
    for name, values in fields.items():
        for value in [values] if isinstance(values, str) else values:
            lines.append(f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n')
    lines.append(f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{filename}"\r\n\r\n')
    return "".join(lines).encode() + data + f"\r\n--{BOUNDARY}--\r\n".encode()


def encode(waveform: npt.NDArray[np.float32], format_: str = "WAV", sample_rate: int = 16000) -> bytes:
    """Return a sound file."""
    file = io.BytesIO()
    soundfile.write(file, waveform, sample_rate, format=format_)
    return file.getvalue()


@contextlib.contextmanager
def serving(settings: ServeSettings, grpc_port: int | None = None) -> Iterator[Served]:
    """Run a server."""
    server = make_server(settings, host="127.0.0.1", port=0, grpc_port=grpc_port)
    thread = Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started or not thread.is_alive())
        port = server.servers[0].sockets[0].getsockname()[1]
        yield Served(server, settings, server.config.app.state.shared.pool, port, server.grpc_port or 0)  # type: ignore[union-attr]
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()


@contextlib.contextmanager
def run_command(arguments: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """Run `silero-like serve`, whose log is in `stderr`; it ends with the block at the latest."""
    code = "from silero_like.cli import main; main()"
    command = [sys.executable, "-c", code, "serve", *arguments]
    with subprocess.Popen(
        command, cwd=ROOT, stderr=subprocess.PIPE, text=True, env=os.environ | environment
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_until(condition: Any, timeout_s: float = 30.0) -> None:
    """Wait, not long as a rule."""
    until = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.01)
