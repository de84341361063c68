"""`transcribe` at length: what is done is not done again; lists, addresses, a folder that is watched."""

from __future__ import annotations

import contextlib
import http.server
import json
import multiprocessing
import os
import random
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result

from silero_like import recognizer as recognizer_module
from silero_like.cli import main, watch
from silero_like.cli.inputs import find_recordings, output_paths
from silero_like.cli.transcribe_journal import JOURNAL
from silero_like.errors import AudioError
from silero_like.remote_audio import fetch_audio

if TYPE_CHECKING:
    from tests.silero_like.conftest import StandIn

TEXTS = ["one", "two three", "four five six", "seven one", "three three", "six"]


@pytest.fixture
def talks(stand_in: StandIn, tmp_path: Path) -> Path:
    """A folder of recordings of `TEXTS`, two of them in a folder of its own."""
    folder = tmp_path / "talks"
    (folder / "deep").mkdir(parents=True)
    for number, text in enumerate(TEXTS):
        path = folder / ("deep" if number < 2 else "") / f"{number}.wav"
        soundfile.write(path, stand_in.speak(text), 16000)
    return folder


@pytest.fixture
def transcribe(stand_in: StandIn) -> Callable[..., Result]:
    """Run `transcribe` with the stand-in model."""

    def transcribe(*arguments: str | Path, stdin: bytes | None = None) -> Result:
        command = ["transcribe", "--model", str(stand_in.path), *map(str, arguments)]
        return CliRunner().invoke(main, command, input=stdin)

    return transcribe


@pytest.fixture
def recognised(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of what is recognised, as it is."""
    names: list[str] = []
    recognise = recognizer_module.Recognizer.transcribe_log_probs

    def record(self: recognizer_module.Recognizer, *arguments: object) -> recognizer_module.Transcript:
        transcript = recognise(self, *arguments)  # type: ignore[arg-type]
        names.append(Path(transcript.audio_filepath).name)
        return transcript

    monkeypatch.setattr(recognizer_module.Recognizer, "transcribe_log_probs", record)
    return names


def contents(folder: Path) -> dict[str, bytes]:
    """Return all that is in a folder but the journal."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != JOURNAL]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


# --resume


def test_resume_passes_over_what_is_done(
    transcribe: Callable[..., Result], talks: Path, tmp_path: Path, recognised: list[str]
) -> None:
    out = tmp_path / "out"
    first = transcribe(talks, "--output-dir", out, "--resume", "--format", "jsonl")
    assert (first.exit_code, first.stdout, first.stderr) == (0, "", "")
    written = contents(out)
    assert sorted(written) == ["2.jsonl", "3.jsonl", "4.jsonl", "5.jsonl", "deep/0.jsonl", "deep/1.jsonl"]
    recognised.clear()
    second = transcribe(talks, "--output-dir", out, "--resume", "--format", "jsonl")
    assert (second.exit_code, second.stderr) == (0, "6 of 6 recordings were done before\n")
    assert not recognised
    assert contents(out) == written


def test_resume_does_again_what_has_changed(
    transcribe: Callable[..., Result], stand_in: StandIn, talks: Path, tmp_path: Path, recognised: list[str]
) -> None:
    out = tmp_path / "out"

    def resume(*options: str) -> list[str]:
        recognised.clear()
        assert transcribe(talks, "--output-dir", out, "--resume", *options).exit_code == 0
        return sorted(recognised)

    everything = sorted(f"{number}.wav" for number in range(6))
    assert resume() == everything
    (out / "2.txt").unlink()
    (out / "3.txt").write_text("corrected by hand\n")
    (out / "4.txt").write_text("")  # as a crash of the machine may leave it
    soundfile.write(talks / "5.wav", stand_in.speak("seven"), 16000)
    (talks / "deep" / "0.wav").rename(talks / "6.wav")
    os.utime(talks / "deep" / "1.wav", (0, 0))
    assert resume() == ["2.wav", "4.wav", "5.wav", "6.wav"]
    assert (out / "3.txt").read_text() == "corrected by hand\n"
    assert resume("--casing", "pauses") == sorted({*everything, "6.wav"} - {"0.wav"})
    assert (out / "5.txt").read_text() == "Seven\n"
    assert resume() == sorted({*everything, "6.wav"} - {"0.wav"})  # what stands there is cased
    assert resume("--decoder", "greedy") != []
    assert transcribe(talks, "--output-dir", out, "--casing", "pauses").exit_code == 0
    assert resume("--decoder", "greedy") != []  # another command has written over it
    assert resume("--decoder", "greedy") == []


def test_what_failed_is_tried_again_and_listed(
    transcribe: Callable[..., Result], stand_in: StandIn, talks: Path, tmp_path: Path
) -> None:
    out, failures = tmp_path / "out", tmp_path / "lists" / "failed.jsonl"
    (talks / "день.wav").write_text("no audio")
    arguments = (talks, tmp_path / "nothing*.wav", "--output-dir", out, "--resume", "--failures", failures)
    assert transcribe(*arguments).exit_code == 1
    rows = [json.loads(line) for line in failures.read_text(encoding="utf-8").splitlines()]
    assert [row["path"] for row in rows] == [str(tmp_path / "nothing*.wav"), str(talks / "день.wav")]
    assert rows[0]["error"].endswith("nothing matches this pattern")
    assert "not audio" in rows[1]["error"]
    soundfile.write(talks / "день.wav", stand_in.speak("one"), 16000)
    again = transcribe(talks, "--output-dir", out, "--resume", "--failures", failures)
    assert (again.exit_code, again.stderr) == (0, "6 of 7 recordings were done before\n")
    assert failures.read_text() == ""


def test_leftovers_of_a_killed_run_are_cleared_and_nothing_else(
    transcribe: Callable[..., Result], talks: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / JOURNAL).write_text('{"key": "2.txt", "sta')  # the line during which it was killed
    (out / ".2.txt.123.tmp").write_text("fou")
    (out / ".mine.123.tmp").write_text("not ours")
    assert transcribe(talks, "--output-dir", out, "--resume").exit_code == 0
    assert {name for name in contents(out) if name.startswith(".")} == {".mine.123.tmp"}
    assert transcribe(talks, "--output-dir", out, "--resume").stderr == "6 of 6 recordings were done before\n"


def test_a_second_run_in_the_same_folder_is_refused(
    transcribe: Callable[..., Result], talks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from silero_like.cli import transcribe_journal

    monkeypatch.setattr(transcribe_journal, "WAIT_S", 0.0)
    first = transcribe_journal.Journal(tmp_path / "out", ["a"])
    second = transcribe(talks, "--output-dir", tmp_path / "out", "--resume")
    assert second.exit_code == 1
    assert "another run is at work there" in second.stderr
    first.close()
    assert transcribe(talks, "--output-dir", tmp_path / "out", "--resume").exit_code == 0


def killed_run(arguments: list[str], log: Path, n_recognised: int, delay_s: float) -> None:
    """Run the command in a process, and kill that a while after so many files, in all such runs, were recognised."""
    process = multiprocessing.get_context("fork").Process(target=_counted_run, args=(arguments, log))
    process.start()
    while process.is_alive() and len(counted(log)) < n_recognised:
        time.sleep(0.001)
    time.sleep(delay_s)
    process.kill()
    process.join()


def _counted_run(arguments: list[str], log: Path) -> None:
    """Run the command, and write the name of each file that it has recognised to a log."""
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    recognise = recognizer_module.Recognizer.transcribe_log_probs

    def count(self: Any, *arguments: Any) -> recognizer_module.Transcript:
        transcript = recognise(self, *arguments)
        os.write(file, f"{transcript.audio_filepath}\n".encode())
        return transcript

    recognizer_module.Recognizer.transcribe_log_probs = count  # type: ignore[method-assign]
    main(arguments, standalone_mode=False)


def counted(log: Path) -> list[str]:
    return log.read_text().splitlines() if log.exists() else []


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_killed_and_resumed(stand_in: StandIn, talks: Path, tmp_path: Path, jobs: str) -> None:
    clean, out, log = tmp_path / "clean", tmp_path / "out", tmp_path / "log"
    arguments = ["transcribe", "--model", str(stand_in.path), str(talks), "--format", "json", "--resume"]
    assert CliRunner().invoke(main, [*arguments, "--output-dir", str(clean)]).exit_code == 0
    arguments += ["--output-dir", str(out), "--jobs", jobs]
    killed_run(arguments, log, n_recognised=3, delay_s=0)
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0
    assert contents(out) == contents(clean)
    n_before = int(result.stderr.split(" of 6 recordings were done before")[0])
    assert 3 - int(jobs) <= n_before  # the last that each process had recognised may not have been written


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "jobs"), [("tones", "1"), ("tones", "2"), pytest.param("bundled", "2", marks=pytest.mark.corpus)]
)
def test_killed_at_random_ten_times(
    stand_in: StandIn, request: pytest.FixtureRequest, tmp_path: Path, model: str, jobs: str
) -> None:
    inputs, clean, out, log = (tmp_path / name for name in ("inputs", "clean", "out", "log"))
    inputs.mkdir()
    options = ["--resume", "--format", "json", "--jobs", jobs]
    if model == "tones":
        options += ["--model", str(stand_in.path)]
        for number in range(200):
            soundfile.write(inputs / f"{number}.wav", stand_in.speak(TEXTS[number % 6] * (1 + number % 7)), 16000)
    else:
        corpus: Path = request.getfixturevalue("corpus_path")
        for number, path in enumerate(sorted(corpus.glob("*/*/*.opus"))[::20][:200]):
            (inputs / f"{number}{path.suffix}").symlink_to(path)
    assert len(list(inputs.iterdir())) == 200
    generator = random.Random(jobs + model)
    arguments = ["transcribe", str(inputs), *options, "--output-dir"]
    for n_recognised in sorted(generator.randrange(200) for _ in range(10)):
        killed_run([*arguments, str(out)], log, n_recognised, delay_s=generator.random() * 0.05)
    killed_run([*arguments, str(out)], log, 10**9, delay_s=0)  # to its end
    assert CliRunner().invoke(main, [*arguments, str(clean)]).exit_code == 0
    assert contents(out) == contents(clean)
    times = Counter(counted(log))
    print(f"{len(counted(log))} recognised, {sum(n > 1 for n in times.values())} files twice")
    assert len(times) == 200 and max(times.values()) <= 2


# inputs


def test_lists(transcribe: Callable[..., Result], talks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (talks / "@odd.wav").write_bytes((talks / "2.wav").read_bytes())
    listed = "\ufefftalks/2.wav\r\n\ntalks/deep\ntalks/@odd.wav\n-\ntalks/3*.wav\nnothing*\n"
    (tmp_path / "list.txt").write_text(listed, encoding="utf-8")
    result = transcribe("@list.txt")
    assert result.exit_code == 1
    names = [line.split("\t")[0] for line in result.stdout.splitlines()]
    assert names == ["talks/2.wav", "talks/deep/0.wav", "talks/deep/1.wav", "talks/@odd.wav", "talks/3.wav"]
    assert result.stderr.splitlines() == [
        "Error: @list.txt: standard input cannot stand in a list",
        "Error: nothing*: nothing matches this pattern",
        "2 of 7 inputs failed",
    ]
    assert transcribe("@-", stdin=b"talks/2.wav\n").stdout == f"{TEXTS[2]}\n"
    (talks / "@odd.wav").rename("@odd.wav")
    assert transcribe("@odd.wav").stdout == f"{TEXTS[2]}\n"  # it is a file
    missing = transcribe("@missing.txt")
    assert (missing.exit_code, missing.stdout) == (1, "")
    assert missing.stderr == "Error: @missing.txt: cannot read this list (No such file or directory): check the path\n"
    (tmp_path / "empty.txt").write_text("\n")
    assert "nothing in this list" in transcribe("@empty.txt").stderr
    (tmp_path / "windows.txt").write_text("talks/2.wav\n", encoding="utf-16", newline="\r\n")
    several = transcribe("@talks/2.wav", "@windows.txt")  # the one is no list
    assert (several.exit_code, several.stdout) == (1, f"{TEXTS[2]}\n")
    assert several.stderr.startswith("Error: @talks/2.wav: no text: expected a list of paths, one a line, in UTF-8\n")


def test_transcripts_of_listed_files_keep_their_folders(
    transcribe: Callable[..., Result], talks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(talks)
    (talks / "list.txt").write_text(f"deep/../2.wav\n../talks/3.wav\n{talks}/deep/0.wav\ndeep/1.wav\n")
    assert transcribe("@list.txt", "--output-dir", tmp_path / "out").exit_code == 0
    inside = str(talks.relative_to("/"))
    assert sorted(contents(tmp_path / "out")) == sorted(
        ["2.txt", f"{inside}/3.txt", f"{inside}/deep/0.txt", "deep/1.txt"]
    )


class _Site(http.server.BaseHTTPRequestHandler):
    """Serves a recording, and what may come instead of one."""

    audio = b""

    def do_GET(self) -> None:
        name = self.path.split("?")[0]
        if name == "/babble.wav":
            self.wfile.write(b"\x1b[2Jbabble\nHTTP/1.0 200\n\n")
            return
        self.send_response({"/gone.wav": 404, "/moved.wav": 302, "/away.wav": 302}.get(name, 200))
        if name == "/moved.wav":
            self.send_header("Location", "/talk.wav")
        if name == "/away.wav":
            self.send_header("Location", "file:///etc/passwd")
        if name == "/chunked.wav":
            self.send_header("Transfer-Encoding", "chunked")
        if name in ("/talk.wav", "/cut.wav"):
            self.send_header("Content-Length", str(len(self.audio)))
        if name == "/large.wav":
            self.send_header("Content-Length", str(1 << 40))
        self.end_headers()
        if name == "/cut.wav":
            self.wfile.write(self.audio[:100])
        elif name == "/chunked.wav":
            self.wfile.write(b"ffff\r\n" + self.audio[:100])
        elif name == "/endless.wav":
            with contextlib.suppress(OSError):
                while True:
                    self.wfile.write(bytes(1 << 16))
        elif name == "/slow.wav":
            with contextlib.suppress(OSError):
                for _ in range(100):
                    self.wfile.write(b"RIFF")
                    time.sleep(0.02)
        elif name == "/silent.wav":
            time.sleep(0.5)
        elif name.startswith(("/talk.wav", "/open-ended")):
            self.wfile.write(self.audio)

    protocol_version = "HTTP/1.1"  # or clients would take no chunks

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def site(talks: Path) -> Iterator[str]:
    """The address of a server on this machine."""
    _Site.audio = (talks / "2.wav").read_bytes()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Site) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_addresses(
    transcribe: Callable[..., Result], talks: Path, tmp_path: Path, site: str, recognised: list[str]
) -> None:
    one = transcribe(f"{site}/moved.wav?token=1", "--format", "json")
    assert one.exit_code == 0, one.stderr
    values = json.loads(one.stdout)
    assert (values["text"], values["audio_filepath"]) == (TEXTS[2], f"{site}/moved.wav?token=1")
    arguments = (f"{site}/talk.wav?a/b", f"{site}/gone.wav", f"{site}/open-ended", "--output-dir", tmp_path / "out")
    several = transcribe(*arguments, "--resume", "--jobs", "2")
    assert several.exit_code == 1
    assert several.stderr.splitlines()[0].startswith(f"Error: {site}/gone.wav: 404 Not Found")
    assert contents(tmp_path / "out") == dict.fromkeys(["talk.txt", "open-ended.txt"], f"{TEXTS[2]}\n".encode())
    recognised.clear()
    assert "2 of 3 recordings were done before" in transcribe(*arguments, "--resume").stderr
    assert not recognised


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cut.wav", "broke off after 100 of"),
        ("chunked.wav", "broke off: try again"),
        ("babble.wav", r"\[2Jbabble: is the address right"),
        ("large.wav", "1099512 MB: expected at most 1:"),
        ("endless.wav", "expected at most 1 MB, and more came"),
        ("slow.wav", "too slow"),
        ("silent.wav", "timed out"),
        ("away.wav", "file:"),
    ],
)
def test_what_comes_is_bounded(site: str, name: str, expected: str) -> None:
    with pytest.raises(AudioError, match=f"{site}/{name}: .*{expected}"):
        fetch_audio(f"{site}/{name}", max_bytes=1_000_000, max_s=0.1, timeout_s=0.2)


def test_an_address_as_people_write_it(site: str) -> None:
    with fetch_audio(f"{site}/talk.wav/день 1/%20?你=好#t") as file:
        assert file.read() == _Site.audio


def test_addresses_that_end_alike_get_files_of_their_own(tmp_path: Path) -> None:
    recordings, _ = find_recordings(
        ["http://a/x.mp3", "https://b/x.mp3", "http://c/get?1", "http://c/get?2", "http://d/y"]
    )
    names = [path.name for path in output_paths(recordings, tmp_path, ".txt")]
    assert [re.sub("-[0-9a-f]{8}", "-HASH", name) for name in names] == [
        *["x.mp3-HASH.txt"] * 2, *["get-HASH.txt"] * 2, "y.txt",
    ]  # fmt: skip
    assert len(set(names)) == 5


def test_no_server(transcribe: Callable[..., Result], talks: Path) -> None:
    urls = ["http://127.0.0.1:9/talk.wav", "http:///", "http://[bad/"]
    result = transcribe(*urls, talks / "2.wav")
    assert result.exit_code == 1
    assert result.stdout.endswith(f"{TEXTS[2]}\n")
    lines = result.stderr.splitlines()
    assert [line.split(": ")[1] for line in lines[:3]] == urls
    assert "[Errno 111] Connection refused" in lines[0]


def test_a_name_that_cannot_be_written_does_not_stop_the_batch(
    transcribe: Callable[..., Result], talks: Path, tmp_path: Path, site: str
) -> None:
    result = transcribe(f"{site}/open-ended/../%00", talks / "2.wav", "--output-dir", tmp_path / "out")
    assert result.exit_code == 1
    assert list(contents(tmp_path / "out")) == ["2.txt"]
    assert len(result.stderr.splitlines()) == 2


# channels


def test_channels_separate(transcribe: Callable[..., Result], stand_in: StandIn, talks: Path, tmp_path: Path) -> None:
    left, right = stand_in.speak("one two"), stand_in.speak("three")
    both = np.zeros((len(left) + len(right), 2), np.float32)
    both[: len(left), 0], both[len(left) :, 1] = left, right
    call = tmp_path / "call.wav"
    soundfile.write(call, both, 16000)
    said = "channel 1: one two\nchannel 2: three\n"
    assert transcribe(call, "--channels", "separate").stdout == said
    assert transcribe("-", "--channels", "separate", stdin=call.read_bytes()).stdout == said
    several = transcribe(call, talks / "2.wav", "--channels", "separate").stdout.splitlines()
    assert several == [
        f"{call}\tchannel 1: one two",
        f"{call}\tchannel 2: three",
        f"{talks / '2.wav'}\tchannel 1: four five six",
    ]
    assert transcribe(call, "--channels", "mix", "--casing", "pauses").stdout == "One two three\n"
    cased = transcribe(call, "--channels", "separate", "--casing", "pauses", "--format", "json").stdout
    assert json.loads(cased)["text"] == "One two\nThree"


@pytest.mark.parametrize("format", ["srt", "vtt", "tsv", "textgrid"])
def test_formats_that_are_a_file_each(
    transcribe: Callable[..., Result], talks: Path, tmp_path: Path, format: str
) -> None:
    refused = transcribe(talks, "--format", format)
    assert refused.exit_code == 2
    assert "needs --output-dir" in refused.stderr
    assert transcribe(talks / "2.wav", "--format", format, "--output-dir", tmp_path / "out").exit_code == 0
    suffix = "TextGrid" if format == "textgrid" else format
    assert list(contents(tmp_path / "out")) == [f"2.{suffix}"]


def test_ctm_of_several(transcribe: Callable[..., Result], talks: Path) -> None:
    lines = transcribe(talks, "--format", "ctm").stdout.splitlines()
    words = [(line.split()[0], line.split()[4]) for line in lines]
    assert words[:3] == [("2", "four"), ("2", "five"), ("2", "six")]
    assert len(words) == sum(len(text.split()) for text in TEXTS)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--resume"], "--resume needs --output-dir"),
        (["--channels", "separate", "--channel", "0"], "does not go with --channel"),
        (["--channels", "separate", "--alternatives", "2", "--format", "json"], "does not go with --alternatives"),
        (["--watch", "."], "name inputs or a folder to --watch, not both"),
    ],
)
def test_options_that_do_not_go_together(transcribe: Callable[..., Result], options: list[str], expected: str) -> None:
    result = transcribe("x.wav", *options)
    assert (result.exit_code, result.stdout) == (2, "")
    assert expected in result.stderr


# --watch


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_watch(
    transcribe: Callable[..., Result],
    stand_in: StandIn,
    talks: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    recognised: list[str],
    number: int,
) -> None:
    monkeypatch.setattr(watch, "POLL_S", 0.01)
    out = tmp_path / "out"

    def wait_for(name: str) -> None:
        """Wait until the journal has the file: a signal before that lets it count as not done."""
        deadline, journal = time.monotonic() + 20, out / JOURNAL
        while not (journal.exists() and name in journal.read_text()) and time.monotonic() < deadline:
            time.sleep(0.002)

    def use() -> None:
        wait_for("5.txt")
        soundfile.write(tmp_path / "new.wav", stand_in.speak("six seven"), 16000)
        (tmp_path / "new.wav").rename(talks / "new.wav")
        wait_for("new.txt")
        os.kill(os.getpid(), number)

    out.mkdir()
    (out / ".2.txt.123.tmp").write_text("fou")  # left over of a run that was killed
    user = threading.Thread(target=use)
    user.start()
    handlers = signal.getsignal(number)
    result = transcribe("--watch", talks, "--output-dir", out)
    user.join()
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "stopped; the same command goes on\n")
    assert signal.getsignal(number) == handlers
    assert (out / "new.txt").read_text() == "six seven\n"
    assert not (out / ".2.txt.123.tmp").exists()
    assert sorted(recognised) == ["0.wav", "1.wav", "2.wav", "3.wav", "4.wav", "5.wav", "new.wav"]
    assert transcribe(talks, "--output-dir", out, "--resume").stderr == "7 of 7 recordings were done before\n"


def test_a_file_is_taken_when_it_has_stopped_growing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "talk.wav"
    writes = iter(["", "RI", "RIFF", None, None, "changed", None, None])

    def write(_: float) -> None:
        text = next(writes)
        if text is not None:
            path.write_text(text)

    monkeypatch.setattr(watch.time, "sleep", write)
    given: list[str] = []
    with contextlib.suppress(StopIteration, RuntimeError):  # at the end of what is written
        for present, ready in watch.settled_recordings(tmp_path):
            assert [recording.source for recording in present] == [str(path)]
            assert present == ready
            given.append(path.read_text())
    assert given == ["RIFF", "changed"]
