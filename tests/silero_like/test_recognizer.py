"""From sound to text with a model that hears tones: words, times, confidence, and any length in bounded memory."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from decode.greedy import greedy_align, greedy_align_parts
from silero_like import load
from silero_like.bundle import write_checksums
from silero_like.errors import AudioError, BundleError
from silero_like.recognizer import Recognizer, Transcript

if TYPE_CHECKING:
    from conftest import StandIn

Array = npt.NDArray[np.float32]
TEXT = "one two three"


@pytest.fixture
def recognizer(stand_in: StandIn) -> Recognizer:
    return load(stand_in.path)


def _write(path: Path, waveform: Array) -> Path:
    soundfile.write(path, waveform, 16000)
    return path


def test_text_words_and_times(recognizer: Recognizer, stand_in: StandIn) -> None:
    transcript = recognizer.transcribe(stand_in.speak(TEXT))
    assert transcript.text == TEXT
    assert [word.word for word in transcript.words] == TEXT.split()
    n_tokens = [len(stand_in.tokenizer.encode(word)) for word in TEXT.split()]
    first = 0
    for word, n in zip(transcript.words, n_tokens, strict=True):  # token k sounds in frames 2 + 5 k to 5 + 5 k
        assert (word.start, word.end) == pytest.approx((0.08 * (2 + 5 * first), 0.08 * (5 * (first + n))))
        assert 0.9 < word.confidence <= 1
        first += n
    assert transcript.duration == pytest.approx(0.08 * (2 + 5 * sum(n_tokens)))
    assert 0.9 < transcript.confidence <= 1
    assert transcript.model == "stand-in"
    assert transcript.audio_filepath == ""


def test_a_repeated_token_needs_a_blank(recognizer: Recognizer, stand_in: StandIn) -> None:
    twice = recognizer.transcribe(np.tile(stand_in.speak("one", n_gap=3), 2))
    assert twice.text == "one one"
    assert len(recognizer.transcribe(stand_in.speak("one one", n_gap=0)).words) >= 1


@pytest.mark.parametrize("form", ["path", "str", "file", "waveform", "float64"])
def test_sources(recognizer: Recognizer, stand_in: StandIn, tmp_path: Path, form: str) -> None:
    waveform = stand_in.speak(TEXT)
    path = _write(tmp_path / "a.wav", waveform)
    if form == "file":
        with path.open("rb") as file:
            transcript = recognizer.transcribe(file)
    elif form in ("path", "str"):
        transcript = recognizer.transcribe(path if form == "path" else str(path))
    else:
        transcript = recognizer.transcribe(waveform if form == "waveform" else waveform.astype(np.float64))
    assert transcript.text == TEXT
    assert transcript.audio_filepath == ("" if form in ("waveform", "float64") else str(path))
    assert recognizer.transcribe(io.BytesIO(path.read_bytes())).audio_filepath == ""


def test_channel(recognizer: Recognizer, stand_in: StandIn, tmp_path: Path) -> None:
    left, right = stand_in.speak("one two"), stand_in.speak("six")
    stereo = np.zeros((max(len(left), len(right)), 2), np.float32)
    stereo[: len(left), 0], stereo[: len(right), 1] = left, right
    path = _write(tmp_path / "a.wav", stereo)
    assert recognizer.transcribe(path, channel=0).text == "one two"
    assert recognizer.transcribe(path, channel=1).text == "six"
    with pytest.raises(AudioError, match="expected a channel from 0 to 1, got 2"):
        recognizer.transcribe(path, channel=2)


@pytest.mark.parametrize("n_samples", [0, 1, 160, 16000])
def test_no_speech(recognizer: Recognizer, n_samples: int) -> None:
    transcript = recognizer.transcribe(np.zeros(n_samples, np.float32))
    assert (transcript.text, transcript.confidence, transcript.words) == ("", 0.0, ())
    assert transcript.duration == n_samples / 16000


@pytest.mark.parametrize(
    ("waveform", "message"),
    [
        (np.zeros((2, 100), np.float32), r"expected a waveform float \(N,\).*got float32 \(2, 100\)"),
        (np.zeros(100, np.int16), r"got int16 \(100,\).*divide integers by their full scale"),
        (np.full(100, np.nan, np.float32), "NaN"),
        (np.full(100, np.inf), "infinite"),
        (np.full(100, 1e300), "infinite"),
    ],
)
def test_bad_waveforms(recognizer: Recognizer, waveform: Array, message: str) -> None:
    with pytest.raises(AudioError, match=message):
        recognizer.transcribe(waveform)


@pytest.mark.parametrize("source", [b"RIFF", [0.0, 0.1], None, io.StringIO("RIFF")])
def test_sources_of_another_type(recognizer: Recognizer, source: Any) -> None:
    with pytest.raises(
        AudioError, match=f"expected a path, a binary file or a NumPy array, got {type(source).__name__}"
    ):
        recognizer.transcribe(source)


def test_bad_files_are_named(recognizer: Recognizer, tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=r"absent\.wav: No such file"):
        recognizer.transcribe(tmp_path / "absent.wav")


def test_words_end_within_the_recording(recognizer: Recognizer, stand_in: StandIn) -> None:
    waveform = stand_in.speak("one", n_gap=0)[:-500]  # the last frame is cut
    transcript = recognizer.transcribe(waveform)
    assert transcript.words[-1].end == transcript.duration == len(waveform) / 16000  # not 0.72


def test_a_long_recording_says_the_same_words_in_every_part(
    recognizer: Recognizer, stand_in: StandIn, tmp_path: Path
) -> None:
    once = np.concatenate([stand_in.speak(TEXT), np.zeros(1280 * 3 + 411, np.float32)])
    n_times = 40  # about 220 s: three windows
    transcript = recognizer.transcribe(_write(tmp_path / "long.wav", np.tile(once, n_times)))
    assert transcript.text == " ".join([TEXT] * n_times)
    first = recognizer.transcribe(once)
    for k in range(n_times):
        for word, expected in zip(transcript.words[3 * k : 3 * k + 3], first.words, strict=True):
            shift = k * len(once) / 16000
            assert word.start - shift == pytest.approx(expected.start, abs=0.09)  # a frame, as parts begin within one
    np.testing.assert_allclose(transcript.confidence, first.confidence, atol=0.2)


def test_windows_change_nothing(recognizer: Recognizer, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    waveform = stand_in.speak("one two three four five six seven one")
    whole = recognizer.transcribe(waveform)
    stream = recognizer.runtime.stream_log_probs
    monkeypatch.setattr(recognizer.runtime, "stream_log_probs", lambda chunks: stream(chunks, window_s=1.2))
    parts = recognizer.transcribe(waveform)
    assert parts.text == whole.text
    assert [word.word for word in parts.words] == [word.word for word in whole.words]
    for word, expected in zip(parts.words, whole.words, strict=True):
        assert (word.start, word.end) == (expected.start, expected.end)
        assert word.confidence == pytest.approx(expected.confidence, abs=1e-4)


def test_memory_is_bounded(recognizer: Recognizer, tmp_path: Path) -> None:
    second = np.random.default_rng(5).uniform(-0.4, 0.4, 16000).astype(np.float32)
    peaks = []
    for n_seconds in (400, 1000):
        path = _write(tmp_path / f"{n_seconds}.wav", np.tile(second, n_seconds))
        tracemalloc.start()
        recognizer.transcribe(path)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 2e6  # 600 s more are 38 MB as a waveform


LABELS = st.lists(st.integers(0, 3), max_size=40)


@given(LABELS, st.lists(st.integers(0, 12), max_size=12))
def test_parts_align_as_the_whole_does(labels: list[int], sizes: list[int]) -> None:
    log_probs = np.full((len(labels), 4), -9.0, np.float32)
    log_probs[np.arange(len(labels)), labels] = -np.linspace(0.1, 0.6, len(labels))
    edges = np.minimum(np.cumsum([0, *sizes]), len(labels))
    parts = [log_probs[start:end] for start, end in zip(edges, [*edges[1:], len(labels)], strict=True)]
    found, expected = greedy_align_parts(parts, 3), greedy_align(log_probs, 3)
    assert found.token_ids == expected.token_ids
    np.testing.assert_array_equal(found.start_frames, expected.start_frames)
    np.testing.assert_array_equal(found.end_frames, expected.end_frames)
    np.testing.assert_allclose(found.log_probs, expected.log_probs, atol=1e-6)


def test_parts_are_let_go_as_they_are_read() -> None:
    def silence() -> Iterator[Array]:
        for _ in range(1000):
            rows = np.full((100, 257), -9, np.float32)
            rows[:, 256] = 0
            yield rows

    tracemalloc.start()
    assert greedy_align_parts(silence(), 256).token_ids == ()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3e6  # all: 100 MB


def test_to_dict_is_the_documented_json(recognizer: Recognizer, stand_in: StandIn) -> None:
    transcript = recognizer.transcribe(stand_in.speak(TEXT))
    values = json.loads(json.dumps(transcript.to_dict()))
    assert list(values) == ["audio_filepath", "duration", "text", "confidence", "words", "model"]
    assert [list(word) for word in values["words"]] == [["word", "start", "end", "confidence"]] * 3
    assert values["words"][1]["start"] == round(transcript.words[1].start, 3)
    assert values["confidence"] == round(transcript.confidence, 4)
    empty = Transcript(audio_filepath="-", duration=0.0, text="", confidence=0.0, words=(), model="m")
    assert empty.to_dict()["words"] == []


def test_a_tokenizer_of_another_model(stand_in: StandIn) -> None:
    from silero_like.tokenizer import train_tokenizer

    train_tokenizer(["nine ten eleven twelve"] * 5, stand_in.path / "tokenizer.model", vocab_size=17)
    write_checksums(stand_in.path)
    with pytest.raises(BundleError, match="expected 24 pieces, got 17"):
        load(stand_in.path)


def test_the_reader_in_the_format_s_page(stand_in: StandIn) -> None:
    page = (Path(__file__).parents[2] / "docs" / "format.md").read_text(encoding="utf-8")
    (code,) = re.findall("```python\n(.*?)```", page, flags=re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    assert names["transcribe"](stand_in.path, stand_in.speak(TEXT)) == TEXT
    (stand_in.path / "MODEL_CARD.md").write_text("changed")
    with pytest.raises(ValueError, match=r"MODEL_CARD\.md is damaged"):
        names["transcribe"](stand_in.path, stand_in.speak(TEXT))


def test_import_is_light_until_load() -> None:
    code = (
        "import sys; from silero_like import load; "
        "assert not {'onnxruntime', 'numpy', 'torch'} & set(sys.modules); "
        "import silero_like.recognizer; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
