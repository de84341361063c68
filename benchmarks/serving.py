"""How much a server takes, on one machine with its clients: uploads side by side, live streams meanwhile.

    python -m benchmarks.serving dev.jsonl other.dev.jsonl --seconds 60 --json serving.json
    python -m benchmarks.serving dev.jsonl --seconds 5 --clients 4 --streams 1          (a short look)

`silero-like serve` is started with its default limits. Each client uploads one recording after another, 16-bit WAV of
5 to 15 s from the manifests, and asks for verbose_json with words. Each stream sends speech in chunks of 0.1 s at the
pace at which it was spoken.

* latency: from the first byte sent to the last one received, of answers with status 200.
* audio a second: seconds of audio transcribed, over the seconds of the run; live streams are not in it.
* refused: deliberate 429s, after which a client waits as long as it is told; errors: everything else.
* final: from the end of a stream's segment's last word to its final result; 0.56 s of it are the pause waited for.
* memory: resident, of the server and its workers together, each second.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import io
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock, Thread
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from benchmarks.machine import describe_machine
from data.manifest import read_manifest
from silero_like.audio import SAMPLE_RATE, load_audio

DURATION_S = (5.0, 15.0)
CHUNK_S = 0.1
WARM_S = 5.0  # memory is compared from here on: by then every worker has seen audio
BOUNDARY = "silero-like-benchmark"

Pcm = npt.NDArray[np.int16]


@dataclass
class Tally:
    """What all clients have seen."""

    statuses: Counter[str] = field(default_factory=Counter)
    latencies_s: list[float] = field(default_factory=list)
    audio_s: float = 0.0
    finals_s: list[float] = field(default_factory=list)
    stream_errors: int = 0
    memory_mb: list[float] = field(default_factory=list)
    lock: Lock = field(default_factory=Lock)

    def add(self, status: str, seconds: float, audio_s: float) -> None:
        """Take note of one upload."""
        with self.lock:
            self.statuses[status] += 1
            if status == "200":
                self.latencies_s.append(seconds)
                self.audio_s += audio_s


def main() -> None:
    """Parse arguments, start the server, load it, print a table and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifests", nargs="+", type=Path)
    parser.add_argument("--model", help="bundle folder; the bundled one by default")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--clients", type=int, default=64, help="uploads at once")
    parser.add_argument("--streams", type=int, default=8, help="live streams meanwhile")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--recordings", type=int, default=200, help="different ones, evenly from all manifests")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    arguments = parser.parse_args()
    recordings = read_recordings(arguments.manifests, arguments.recordings)
    with running_server(arguments.model, arguments.workers) as (port, pid):
        tally = load_server(port, pid, recordings, arguments.clients, arguments.streams, arguments.seconds)
    figures = summarize(tally, arguments.seconds)
    print(format_table(figures))
    if arguments.json:
        setting = {name: getattr(arguments, name) for name in ("workers", "clients", "streams", "seconds")}
        values = {"machine": describe_machine(), "setting": setting, **figures, "memory_mb": tally.memory_mb}
        arguments.json.write_text(json.dumps(values, indent=1) + "\n")


def read_recordings(manifests: list[Path], n: int) -> list[Pcm]:
    """Read recordings of 5 to 15 s; where there are none, shorter ones, repeated until they are as long."""
    utterances = [utterance for path in manifests for utterance in read_manifest(path).utterances]
    low, high = DURATION_S
    chosen = [utterance for utterance in utterances if low <= utterance.duration_s <= high] or utterances
    step = max(1, len(chosen) // n)
    waveforms = [
        load_audio(utterance.audio_path, offset_s=utterance.offset_s, duration_s=utterance.duration_s)
        for utterance in chosen[::step][:n]
    ]
    return [
        (np.clip(np.tile(waveform, -(-int(low * SAMPLE_RATE) // len(waveform))), -1, 1) * 32767).astype("<i2")
        for waveform in waveforms
        if len(waveform)
    ]


@contextlib.contextmanager
def running_server(model: str | None, workers: int) -> Iterator[tuple[int, int]]:
    """Run a server on a free port; yield the port and its process."""
    code = "from silero_like.cli import main; main()"
    command = [sys.executable, "-c", code, "serve", "--port", "0", "--workers", str(workers)]
    command += ["--model", model] if model else []
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            first = process.stderr.readline()
            if "address" not in first:
                raise SystemExit(f"the server did not start: {first}{process.stderr.read()}")
            Thread(target=process.stderr.read, daemon=True).start()  # its log must not fill the pipe
            yield int(json.loads(first)["address"].rsplit(":", 1)[1]), process.pid
        finally:
            process.terminate()


def load_server(port: int, pid: int, recordings: list[Pcm], clients: int, streams: int, seconds: float) -> Tally:
    """Let all clients work for some seconds, and finish what they have begun."""
    tally, until = Tally(), time.monotonic() + seconds
    threads = [
        *(Thread(target=upload, args=(port, recordings[number:] + recordings[:number], until, tally))
          for number in (round(i * len(recordings) / clients) for i in range(clients))),
        *(Thread(target=talk, args=(port, recordings[number:] + recordings[:number], until, tally))
          for number in range(streams)),
    ]  # fmt: skip
    for thread in threads:
        thread.start()
    while time.monotonic() < until:
        tally.memory_mb.append(round(memory_mb(pid), 1))
        time.sleep(1.0)
    for thread in threads:
        thread.join()
    return tally


def upload(port: int, recordings: list[Pcm], until: float, tally: Tally) -> None:
    """Upload one recording after another over one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    for number in _count_until(until):
        recording = recordings[number % len(recordings)]
        body, audio_s = _form(recording), len(recording) / SAMPLE_RATE
        start = time.monotonic()
        try:
            headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
            connection.request("POST", "/v1/audio/transcriptions", body, headers)
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            tally.add(type(error).__name__, 0.0, 0.0)
            continue
        tally.add(str(answer.status), time.monotonic() - start, audio_s)
        if answer.status == 429:
            time.sleep(min(float(answer.headers["Retry-After"]), max(0.0, until - time.monotonic())))
    connection.close()


def talk(port: int, recordings: list[Pcm], until: float, tally: Tally) -> None:
    """Send speech as fast as it is spoken, with pauses between recordings, and time the final results."""
    pause = np.zeros(SAMPLE_RATE, np.int16)
    speech = np.concatenate([part for recording in recordings for part in (recording, pause)])
    n_chunk = int(CHUNK_S * SAMPLE_RATE)
    try:
        with connect(f"ws://127.0.0.1:{port}/v1/stream") as socket:
            socket.send('{"type": "start"}')
            start = time.monotonic()
            listener = Thread(target=_listen, args=(socket, start, tally))
            listener.start()
            for number in _count_until(until):
                time.sleep(max(0.0, start + (number + 1) * CHUNK_S - time.monotonic()))
                begin = number * n_chunk % (len(speech) - n_chunk)
                socket.send(speech[begin : begin + n_chunk].tobytes())
            socket.send('{"type": "end"}')
            listener.join()
    except (OSError, WebSocketException):
        with tally.lock:
            tally.stream_errors += 1


def _listen(socket: Any, start: float, tally: Tally) -> None:
    """Take results until the stream is done."""
    for text in socket:
        message, now_s = json.loads(text), time.monotonic() - start
        with tally.lock:
            if message["type"] == "final" and message["words"]:
                tally.finals_s.append(now_s - message["words"][-1]["end"])
            elif message["type"] == "error":
                tally.stream_errors += 1


def memory_mb(pid: int) -> float:
    """Return the resident memory of a process and those that it started."""
    total, parents = 0.0, {pid}
    for path in sorted(Path("/proc").glob("[0-9]*"), key=lambda path: int(path.name)):
        try:
            parent = int((path / "stat").read_text().rsplit(")", 1)[1].split()[1])
            if int(path.name) in parents or parent in parents:
                parents.add(int(path.name))
                total += int((path / "statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 1e6
        except (OSError, IndexError):
            continue  # it has ended meanwhile
    return total


def summarize(tally: Tally, seconds: float) -> dict[str, Any]:
    """Return the figures of a run."""
    errors = {status: n for status, n in tally.statuses.items() if status not in ("200", "429")}
    warm = tally.memory_mb[min(int(WARM_S), len(tally.memory_mb) - 1) :]
    return {
        "answers": tally.statuses["200"],
        "refused": tally.statuses["429"],
        "errors": errors,
        "latency_s": _percentiles(tally.latencies_s),
        "audio_s_per_s": round(tally.audio_s / seconds, 1),
        "stream_finals": len(tally.finals_s),
        "stream_final_s": _percentiles(tally.finals_s),
        "stream_errors": tally.stream_errors,
        "memory": {"warm": warm[0], "end": warm[-1], "most": max(warm)},
    }


def format_table(figures: dict[str, Any]) -> str:
    """Return the figures as a Markdown table."""
    memory, three = figures["memory"], "{:.2f} / {:.2f} / {:.2f} s".format
    rows = [
        ("answers, refused (429), errors", f"{figures['answers']}, {figures['refused']}, {figures['errors'] or 0}"),
        ("latency, median / 95 % / most", three(*figures["latency_s"])),
        ("audio a second", f"{figures['audio_s_per_s']} s"),
        ("live: final results, errors", f"{figures['stream_finals']}, {figures['stream_errors']}"),
        ("live: final after its last word, median / 95 % / most", three(*figures["stream_final_s"])),
        ("memory, warm / at the end / most", f"{memory['warm']:.0f} / {memory['end']:.0f} / {memory['most']:.0f} MB"),
    ]
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)])


def _form(recording: Pcm) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, recording, SAMPLE_RATE, format="WAV")
    fields = {"response_format": "verbose_json", "timestamp_granularities[]": "word"}
    parts = [f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n' for k, v in fields.items()]
    parts.append(f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n')
    return "".join(parts).encode() + file.getvalue() + f"\r\n--{BOUNDARY}--\r\n".encode()


def _count_until(until: float) -> Iterator[int]:
    number = 0
    while time.monotonic() < until:
        yield number
        number += 1


def _percentiles(values: list[float]) -> list[float]:
    """Return median, 95th percentile and maximum; NaN without values."""
    if not values:
        return [float("nan")] * 3
    return [round(float(value), 4) for value in (*np.percentile(values, (50, 95)), max(values))]


if __name__ == "__main__":
    main()
