"""The server: OpenAI's API gives what the command line gives; limits, time-outs and reloads lose nothing."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("fastapi", reason="needs the [serve] extra")

from silero_like.bundle import write_checksums
from silero_like.cli import main
from silero_like.cli.decoder_options import read_hotword_lines
from silero_like.serve.process import WorkerError
from silero_like.serve.server import make_server
from silero_like.serve.settings import ServeSettings
from tests.silero_like.serving import Served, encode, own, run_command, serving, wait_until

if TYPE_CHECKING:
    from conftest import StandIn

ROOT = Path(__file__).resolve().parent.parent.parent
TOKEN = "a secret"
PAGE = (ROOT / "docs/serving.md").read_text(encoding="utf-8")
HAS_GRPC = importlib.util.find_spec("grpc_health") is not None
DOCUMENTED = [
    code for code in re.findall(r"^```python\n(.*?)^```$", PAGE, re.M | re.S) if HAS_GRPC or "grpc" not in code
]


@pytest.fixture(scope="module")
def served(tone_settings: ServeSettings) -> Iterator[Served]:
    """One server for all tests, with a copy of the stand-in model that a test may change."""
    models = dict.fromkeys(("tones", "other"), tone_settings.models["tones"])
    with serving(replace(tone_settings, models=models, max_queue=2, reload_s=0.05, token=TOKEN)) as running:
        yield running


@pytest.fixture(scope="module")
def speech(_stand_in: StandIn) -> bytes:
    return encode(_stand_in.speak("one two three"))


def worker_pid(served: Served) -> int:
    (worker,) = served.pool._workers
    assert worker._process.pid is not None
    return worker._process.pid


def test_the_openai_client_gives_what_the_command_line_gives(served: Served, speech: bytes, tmp_path: Path) -> None:
    openai = pytest.importorskip("openai")
    path = tmp_path / "speech.wav"
    path.write_bytes(speech)
    arguments = ["transcribe", str(path), "--model", str(served.settings.models["tones"].path), "--format"]
    expected = json.loads(CliRunner().invoke(main, [*arguments, "json"]).stdout)
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key=TOKEN, max_retries=0) as client:
        create = client.audio.transcriptions.create
        given = {"file": path, "model": "tones", "language": "en", "prompt": "a prompt", "temperature": 0}
        assert create(**given).text == expected["text"] == "one two three"
        assert create(**given, response_format="text") == "one two three\n"
        for format_ in ("srt", "vtt"):
            printed = CliRunner().invoke(main, [*arguments, format_]).stdout
            assert create(**given, response_format=format_) == printed
        verbose = create(**given, response_format="verbose_json", timestamp_granularities=["word", "segment"])
        assert [(word.word, word.start, word.end) for word in verbose.words] == [
            (word["word"], word["start"], word["end"]) for word in expected["words"]
        ]
        assert (verbose.text, verbose.duration, verbose.language) == (expected["text"], expected["duration"], "english")
        (segment,) = verbose.segments
        assert (segment.id, segment.start, segment.end, segment.text) == (
            0, expected["words"][0]["start"], expected["words"][-1]["end"], "one two three"
        )  # fmt: skip
        assert [model.id for model in client.models.list()] == ["tones", "other"]
        assert client.models.retrieve("other").owned_by == client.models.retrieve("other").engine == "silero_like"
        with pytest.raises(openai.NotFoundError, match="expected a model among tones, other") as error:
            create(file=path, model="whisper-9")
        assert error.value.code == "model_not_found"
        with pytest.raises(openai.BadRequestError, match="hotword"):
            create(**given, extra_body={"hotwords": ["one\tmuch"]})


def test_each_request_may_have_its_own_search(served: Served, stand_in: StandIn) -> None:
    unclear = encode(stand_in.speak("one two", n_tone=1) * np.float32(0.55))
    plain = served.transcribe(unclear).json["text"]
    avoided = served.transcribe(unclear, hotwords="two\t-300", decoder="beam").json["text"]
    assert "two" in plain and "two" not in avoided
    assert served.transcribe(unclear, hotwords=["two\t-300"], lm="none", beam_width="8").json["text"] == avoided
    assert served.transcribe(unclear).json["text"] == plain


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"response_format": "docx"}, "response_format: "),
        ({"timestamp_granularities[]": "letter"}, "timestamp_granularities"),
        ({"decoder": "greedy", "hotwords": "one"}, "take beam"),
        ({"decoder": "greedy", "beam_width": "9"}, "take beam"),
        ({"beam_width": "many"}, "beam_width: "),
        ({"lm": "/etc/passwd"}, "expected an lm among none"),
        ({"hotwords": "\n".join(map(str, range(1001)))}, "at most 1000 hotwords"),
        ({"language": "zh"}, "expected language en"),
        ({"stream": "true"}, "/v1/stream"),
        ({"model": "../../etc"}, "expected a model among"),
    ],
)
def test_wrong_fields_are_told(served: Served, speech: bytes, fields: dict[str, str], message: str) -> None:
    reply = served.transcribe(speech, **fields)
    assert reply.status in (400, 404) and reply.json["error"]["type"] == "invalid_request_error"
    assert message in reply.json["error"]["message"]


def test_what_operators_ask(served: Served, speech: bytes) -> None:
    served.transcribe(speech)
    assert served.get("/healthz").status == served.get("/readyz").status == 200
    figures = served.get("/metrics").body.decode()
    assert 'silero_like_requests_total{path="/v1/audio/transcriptions",status="200"}' in figures
    assert 'silero_like_audio_seconds_total{kind="file",model="tones"}' in figures
    described = served.get("/openapi.json").json["paths"]
    assert {"/v1/audio/transcriptions", "/v1/models", "/healthz", "/readyz", "/metrics"} <= set(described)
    assert served.get("/nothing").status == 404 and served.get("/nothing").code == "None"


@pytest.mark.parametrize("header", ["", "Bearer wrong", "Bearer", "Basic YTpi", f"Bearer {TOKEN}x"])
def test_without_the_token_nothing_is_served(served: Served, header: str) -> None:
    reply = served.call("GET", "/v1/models", headers={"Authorization": header})
    assert (reply.status, reply.code) == (401, "invalid_api_key")


def test_the_log_has_no_transcripts(served: Served, speech: bytes, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "silero_like.serve"):
        number = served.transcribe(speech, "secret name.wav").headers["x-request-id"]

        def found() -> list[dict[str, object]]:
            lines = [record.__dict__["fields"] for record in caplog.records]
            return [fields for fields in lines if fields["id"] == number]

        wait_until(found)
    (fields,) = found()
    assert (
        fields["status"] == 200
        and fields["model"] == "tones"
        and fields["audio_seconds"] == round((len(speech) - 44) / 32000, 3)
    )
    assert "secret" not in str(fields) and "two" not in str(fields)


def test_a_full_queue_says_when_to_come_again(served: Served, speech: bytes) -> None:
    os.kill(worker_pid(served), signal.SIGSTOP)
    try:
        with ThreadPoolExecutor(3) as threads:
            waiting = [threads.submit(served.transcribe, speech) for _ in range(3)]
            wait_until(lambda: served.pool.n_admitted == 3)
            reply = served.transcribe(speech)
            assert (reply.status, reply.code) == (429, "queue_full")
            assert 1 <= int(reply.headers["retry-after"]) <= 60
            os.kill(worker_pid(served), signal.SIGCONT)
            assert [done.result().status for done in waiting] == [200] * 3
    finally:
        os.kill(worker_pid(served), signal.SIGCONT)
    assert served.pool.n_admitted == 0


@pytest.mark.parametrize("end", ["killed", "too late"])
def test_a_worker_that_dies_or_hangs_is_replaced(
    served: Served, speech: bytes, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if end == "too late":
        monkeypatch.setattr(served.pool, "_settings", replace(served.settings, timeout_s=0.2))
    pid = worker_pid(served)
    os.kill(pid, signal.SIGSTOP)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(served.transcribe, speech)
        wait_until(lambda: served.pool.n_admitted == 1)
        if end == "killed":
            os.kill(pid, signal.SIGKILL)
        reply = waiting.result()
    assert (reply.status, reply.code) == ((500, "worker_died") if end == "killed" else (504, "timeout"))
    monkeypatch.undo()
    assert served.transcribe(speech).json["text"] == "one two three"
    assert worker_pid(served) != pid


def test_a_changed_model_is_loaded_and_no_request_is_lost(served: Served, speech: bytes) -> None:
    path = served.settings.models["tones"].path
    assert path

    def bundles() -> list[str]:
        return [model["bundle"] for model in served.get("/v1/models").json["data"]]

    assert bundles() == ["stand-in", "stand-in"]
    statuses = []
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config | {"name": "newer"}))  # does not fit its checksum yet
    statuses.append(served.transcribe(speech).status)
    write_checksums(path)

    def is_new() -> bool:
        statuses.append(served.transcribe(speech).status)
        return bundles() == ["newer", "newer"]

    wait_until(is_new)
    assert set(statuses) == {200}
    assert len(served.pool._workers) == 1


def test_a_model_that_cannot_be_loaded_ends_the_start(stand_in: StandIn) -> None:
    (stand_in.path / "model.onnx").write_bytes(b"")
    settings = ServeSettings(models={"tones": own(stand_in.path)}, read_hotwords=read_hotword_lines, workers=1)
    with pytest.raises(WorkerError, match="damaged or changed"):
        make_server(settings, host="127.0.0.1", port=0).run()


def test_the_bundled_model_serves_the_samples_and_sigterm_waits_for_them(
    bundled_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    openai = pytest.importorskip("openai")
    paths = sorted((ROOT / "samples").glob("*.opus"))
    printed = CliRunner().invoke(main, ["transcribe", *map(str, paths), "--format", "jsonl"])
    expected = [json.loads(line) for line in printed.stdout.splitlines()]
    ports = ["--port", "0", *(["--grpc-port", "0"] if HAS_GRPC else [])]
    with run_command([*ports, "--workers", "1"], {"TMPDIR": str(tmp_path)}) as process:
        assert process.stderr is not None
        lines = [json.loads(process.stderr.readline()) for _ in range(len(ports) // 2)]
        address, rpc_address = lines[0]["address"], lines[-1]["address"].removeprefix("grpc://")
        client = openai.OpenAI(base_url=f"{address}/v1", api_key="any", max_retries=0)
        create = partial(
            client.audio.transcriptions.create,
            model="en", response_format="verbose_json", timestamp_granularities=["word"],
        )  # fmt: skip
        for path, line in zip(paths, expected, strict=True):
            given = create(file=path)
            assert given.text == line["text"]
            assert [word.model_dump() for word in given.words] == line["words"]
        for code in DOCUMENTED:
            here = code.replace("127.0.0.1:8000", address.removeprefix("http://"))
            exec(compile(here.replace("127.0.0.1:50051", rpc_address), "docs/serving.md", "exec"), {})
        text = expected[0]["text"]
        printed = capsys.readouterr().out.splitlines()
        assert printed[0] == text
        assert printed.count(text) == (2 if HAS_GRPC else 1) and printed[-1].startswith("final" if HAS_GRPC else "done")
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: 'events_total{event="reload"} 1.0' in _metrics(address))
        with client, ThreadPoolExecutor(4) as threads:
            waiting = [threads.submit(create, file=path) for path in paths * 2]
            wait_until(lambda: "admitted 4.0" in _metrics(address) or any(done.done() for done in waiting))
            process.send_signal(signal.SIGTERM)
            assert [done.result().text for done in waiting] == [line["text"] for line in expected * 2]
        assert process.wait(30) == 0
        events = [json.loads(line)["event"] for line in process.stderr]
    assert events[-1] == "ended" and not {"fault", "worker_died"} & set(events)
    assert list(tmp_path.iterdir()) == []


def _metrics(address: str) -> str:
    with urllib.request.urlopen(f"{address}/metrics") as answer:
        return str(answer.read().decode())
