"""Listening to a microphone that is a stand-in for the package sounddevice."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest
from click.testing import CliRunner, Result

from silero_like import microphone
from silero_like.cli import main, progress
from silero_like.errors import SileroLikeError
from silero_like.microphone import Microphone
from silero_like.streaming import Stream, StreamResult

if TYPE_CHECKING:
    from tests.silero_like.conftest import StandIn

RATE = 16000
DEVICES = [
    {"name": "Speakers", "max_input_channels": 0, "default_samplerate": 48000.0},
    {"name": "USB 麦克风", "max_input_channels": 2, "default_samplerate": float(RATE)},
]


class FakeSounddevice(ModuleType):
    """Plays a recording into what listens, at once."""

    class PortAudioError(Exception):
        """As sounddevice's."""

    def __init__(self, recording: npt.NDArray[np.float32]) -> None:
        super().__init__("sounddevice")
        self.recording = recording
        self.opened: dict[str, Any] = {}

    def query_devices(self, device: int | str | None = None, kind: str | None = None) -> Any:
        if kind is None:
            return DEVICES
        if device not in (None, 1, "USB"):
            raise ValueError(f"No input device matching {device!r}")
        return DEVICES[1]

    def InputStream(self, **options: Any) -> FakeSounddevice:
        self.opened = options
        return self

    def __enter__(self) -> FakeSounddevice:
        self.player = threading.Thread(target=self._play)
        self.player.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.opened["closed"] = True

    def _play(self) -> None:
        block = self.opened["blocksize"]
        for start in range(0, len(self.recording), block):
            chunk = self.recording[start : start + block, None].copy()
            self.opened["callback"](chunk, len(chunk), None, None)
            chunk[:] = 0  # the library uses the memory again


@pytest.fixture
def said(stand_in: StandIn) -> npt.NDArray[np.float32]:
    """Two segments, with a pause between them and none at the end."""
    pause = np.zeros(2 * RATE, np.float32)
    return np.concatenate([stand_in.speak("one two three"), pause, stand_in.speak("four", n_gap=1)])


@pytest.fixture
def listen(stand_in: StandIn, said: npt.NDArray[np.float32], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run `listen` with the stand-in model, to hear `said` and then Ctrl-C."""
    accept, n_heard = Stream.accept_waveform, 0

    def stop_at_end(self: Stream, chunk: npt.NDArray[np.float32]) -> list[StreamResult]:
        nonlocal n_heard
        n_heard += len(chunk)
        if n_heard == len(said):
            threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGINT)).start()
        return accept(self, chunk)

    monkeypatch.setattr(Stream, "accept_waveform", stop_at_end)
    monkeypatch.setitem(sys.modules, "sounddevice", FakeSounddevice(said))

    def listen(*options: str) -> Result:
        return CliRunner().invoke(main, ["listen", "--model", str(stand_in.path), *options])

    return listen


def test_final_texts_are_lines(listen: Callable[..., Result]) -> None:
    result = listen("--device", "USB")
    assert (result.exit_code, result.stdout) == (0, "one two three\nfour\n")
    assert result.stderr == "listening to USB 麦克风; Ctrl-C ends it\n"
    opened = sys.modules["sounddevice"].opened
    assert (opened["device"], opened["samplerate"], opened["channels"], opened["closed"]) == ("USB", RATE, 1, True)


def test_all_results_as_json(listen: Callable[..., Result]) -> None:
    rows = [json.loads(line) for line in listen("--format", "jsonl", "--device", "1").stdout.splitlines()]
    finals = [row for row in rows if row["is_final"]]
    assert [row["text"] for row in finals] == ["one two three", "four"]
    assert finals[1]["words"][0]["start"] > 3
    assert [row["text"] for row in rows if not row["is_final"]][:2] == ["o", "one"]


def test_partial_texts_on_a_terminal(listen: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    monkeypatch.setattr(progress.ProgressLine, "due", lambda _: True)
    monkeypatch.setattr(progress.ProgressLine, "show", lambda _, text: shown.append(text))
    listen()
    assert shown[:2] == ["o", "one"]


def test_devices(monkeypatch: pytest.MonkeyPatch, said: npt.NDArray[np.float32]) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", FakeSounddevice(said))
    assert CliRunner().invoke(main, ["listen", "--devices"]).stdout == "1  USB 麦克风 (16000 Hz)\n"
    with monkeypatch.context() as unplugged:
        unplugged.setitem(DEVICES[1], "max_input_channels", 0)
        assert CliRunner().invoke(main, ["listen", "--devices"]).stderr == "Error: no microphone found: plug one in\n"
    missing = CliRunner().invoke(main, ["listen", "--device", "Bluetooth"])
    assert (missing.exit_code, missing.stdout) == (1, "")
    expected = "Error: no microphone to listen to (No input device matching 'Bluetooth'): plug one in, or name one of "
    assert missing.stderr == f"{expected}silero-like listen --devices\n"


def test_without_the_extra_and_without_its_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    assert "pip install 'silero_like[mic]'" in CliRunner().invoke(main, ["listen"]).stderr
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')")
    monkeypatch.delitem(sys.modules, "sounddevice")
    monkeypatch.syspath_prepend(tmp_path)
    result = CliRunner().invoke(main, ["listen"])
    assert result.exit_code == 1
    assert "Error: the microphone needs PortAudio (PortAudio library not found): apt install" in result.stderr


def test_a_device_that_goes_silent_is_gone(monkeypatch: pytest.MonkeyPatch, said: npt.NDArray[np.float32]) -> None:
    monkeypatch.setattr(microphone, "SILENCE_S", 0.02)
    monkeypatch.setitem(sys.modules, "sounddevice", FakeSounddevice(said))
    heard = []
    with pytest.raises(SileroLikeError, match=r"no sound for 0\.02 s"):
        for chunk in Microphone().chunks():
            heard.append(chunk)
    assert np.array_equal(np.concatenate(heard), said)


def test_what_cannot_be_kept_up_with_is_counted(monkeypatch: pytest.MonkeyPatch, said: npt.NDArray[np.float32]) -> None:
    monkeypatch.setattr(microphone, "MAX_WAITING_S", 0.2)
    monkeypatch.setattr(microphone, "SILENCE_S", 0.02)
    monkeypatch.setitem(sys.modules, "sounddevice", FakeSounddevice(said))
    slow = Microphone()
    chunks = slow.chunks()
    n_heard = len(next(chunks))
    sys.modules["sounddevice"].player.join()
    with contextlib.suppress(SileroLikeError):
        for chunk in chunks:
            n_heard += len(chunk)
    block = round(microphone.BLOCK_S * RATE)
    assert 0 < n_heard <= 7 * block
    assert slow.n_lost >= len(said) // block - 7
