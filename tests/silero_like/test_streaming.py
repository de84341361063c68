"""Live recognition: what it says does not depend on the chunks, nor, but for little, on being live."""

from __future__ import annotations

import json
import re
import tracemalloc
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pytest
import soxr

from data.text import get_normalizer
from decode.calibration import Calibration
from decode.greedy import greedy_align
from decode.times import Decoded
from silero_like import load
from silero_like.audio import load_audio
from silero_like.errors import AudioError, ConfigError
from silero_like.evaluation.edits import edit_counts
from silero_like.recognizer import Recognizer
from silero_like.streaming import MAX_SEGMENT_S, StreamResult

if TYPE_CHECKING:
    from conftest import StandIn

Array = npt.NDArray[np.float32]
FRAME_S = 0.08


@pytest.fixture
def recognizer(stand_in: StandIn) -> Recognizer:
    return load(stand_in.path)


def _pause(seconds: float) -> Array:
    return np.zeros(int(seconds * 16000), np.float32)


def _results(
    recognizer: Recognizer, waveform: Array, n_chunk: int = 1600, latency_s: float = 0.56, sample_rate: int = 16000
) -> list[tuple[float, StreamResult]]:
    """Return every result with the seconds of audio that had been given when it came."""
    stream = recognizer.stream(latency_s=latency_s, sample_rate=sample_rate)
    results = []
    for start in range(0, len(waveform), n_chunk):
        chunk = waveform[start : start + n_chunk]
        results += [((start + len(chunk)) / sample_rate, result) for result in stream.accept_waveform(chunk)]
    return results + [(len(waveform) / sample_rate, result) for result in stream.finish()]


def _finals(results: list[tuple[float, StreamResult]]) -> list[StreamResult]:
    return [result for _, result in results if result.is_final]


def test_segments_end_at_pauses_and_say_what_the_recording_says(recognizer: Recognizer, stand_in: StandIn) -> None:
    spoken = ["one two", "three", "four five six"]
    waveform = np.concatenate([part for text in spoken for part in (stand_in.speak(text), _pause(1.234))])
    offline = recognizer.transcribe(waveform)
    finals = _finals(_results(recognizer, waveform))
    assert [final.text for final in finals] == spoken
    assert [final.segment for final in finals] == [0, 1, 2]
    words = [word for final in finals for word in final.words]
    assert [word.word for word in words] == [word.word for word in offline.words]
    for field in ("start", "end", "confidence"):
        found, expected = ([getattr(word, field) for word in every] for every in (words, offline.words))
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_partial_results_grow_into_the_final_one(recognizer: Recognizer, stand_in: StandIn) -> None:
    waveform = np.concatenate([stand_in.speak("one two three"), _pause(1)])
    *partials, final = [result for _, result in _results(recognizer, waveform)]
    assert final.is_final and not any(partial.is_final for partial in partials)
    texts = [partial.text for partial in partials]
    assert len(texts) > 3
    assert texts == sorted(set(texts), key=len)
    assert all(longer.startswith(text) for text, longer in pairwise(texts))
    assert texts[-1] == final.text == "one two three"


@pytest.mark.parametrize("latency_s", [0.16, 0.56, 2.0])
def test_latency(recognizer: Recognizer, stand_in: StandIn, latency_s: float) -> None:
    lead = _pause(12 * FRAME_S)
    speech = stand_in.speak("one", n_gap=0)
    results = _results(recognizer, np.concatenate([lead, speech, _pause(4)]), n_chunk=160, latency_s=latency_s)
    end_s = (len(lead) + len(speech)) / 16000
    first_s, first = results[0]
    final_s = next(when for when, result in results if result.is_final)
    assert 0.96 < first_s <= 0.96 + 0.32 + 0.24  # the step, and a tone of three frames
    assert first.text and "one".startswith(first.text)
    assert final_s == pytest.approx(end_s + latency_s, abs=2 * FRAME_S)


@pytest.mark.parametrize("seed", range(6))
def test_the_sizes_of_the_chunks_change_nothing(recognizer: Recognizer, stand_in: StandIn, seed: int) -> None:
    generator = np.random.default_rng(seed)
    spoken = [stand_in.speak("one two"), _pause(0.9), stand_in.speak("six"), _pause(seed / 4)]
    waveform = np.concatenate(spoken)
    edges = np.sort(generator.integers(0, len(waveform), 1 + 10 * seed))  # some may be equal
    stream = recognizer.stream()
    found = [result for chunk in np.split(waveform, edges) for result in stream.accept_waveform(chunk)]
    assert found + stream.finish() == [result for _, result in _results(recognizer, waveform)]


def test_speech_without_a_pause_is_cut_between_words(recognizer: Recognizer, stand_in: StandIn) -> None:
    text = " ".join(["one two three four five six seven"] * 6)
    waveform = stand_in.speak(text)
    assert len(waveform) / 16000 > 2 * MAX_SEGMENT_S
    finals = _finals(_results(recognizer, waveform, n_chunk=8000))
    assert len(finals) > 2
    assert all(final.text for final in finals)
    assert " ".join(final.text for final in finals) == text
    assert max(final.words[-1].end - final.words[0].start for final in finals) < MAX_SEGMENT_S


def test_other_sample_rates(recognizer: Recognizer, stand_in: StandIn) -> None:
    waveform = np.concatenate([stand_in.speak("one two"), _pause(1), stand_in.speak("three")])
    slow = soxr.resample(waveform, 16000, 8000)
    assert [final.text for final in _finals(_results(recognizer, slow, 777, sample_rate=8000))] == ["one two", "three"]


def test_final_results_come_from_the_recogniser_s_decoder(recognizer: Recognizer, stand_in: StandIn) -> None:
    class Deaf:
        name, calibration = "deaf", Calibration()

        def decode_parts(self, parts: Iterable[Array], n_best: int = 1) -> Decoded:
            return Decoded(greedy_align(np.zeros((0, stand_in.tokenizer.n_labels)), stand_in.tokenizer.blank_id))

    recognizer.decoder = Deaf()
    *partials, final = [result for _, result in _results(recognizer, stand_in.speak("one two"))]
    assert partials[-1].text.startswith("one")
    assert (final.text, final.is_final, final.confidence) == ("", True, 0.0)  # withdraws what was shown


def test_silence_brings_no_results(recognizer: Recognizer) -> None:
    assert _results(recognizer, _pause(30)) == []
    assert _results(recognizer, _pause(0)) == []
    assert _results(recognizer, _pause(0.001)) == []


def test_finish_gives_what_is_left(recognizer: Recognizer, stand_in: StandIn) -> None:
    waveform = stand_in.speak("one", n_gap=0)[:-500]  # ends within a frame
    stream = recognizer.stream()
    shown = stream.accept_waveform(waveform)
    (final,) = stream.finish()
    assert not any(result.is_final for result in shown)
    assert (final.text, final.is_final) == ("one", True)
    assert final.words[-1].end == len(waveform) / 16000
    assert stream.finish() == []
    with pytest.raises(ValueError, match="the stream is finished"):
        stream.accept_waveform(waveform)


def test_memory_does_not_grow_with_the_stream(recognizer: Recognizer, stand_in: StandIn) -> None:
    spoken = np.concatenate([stand_in.speak("one two three four five"), _pause(0.3)])
    peaks = []
    for n_times in (10, 60):
        stream = recognizer.stream()
        tracemalloc.start()
        for _ in range(n_times):
            stream.accept_waveform(spoken)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert len(spoken) * 10 > MAX_SEGMENT_S * 16000
    assert peaks[1] < 1.3 * peaks[0]


@pytest.mark.parametrize(
    "options",
    [
        {"latency_s": 0.1},
        {"latency_s": 6.0},
        {"sample_rate": 100},
        {"sample_rate": float("nan")},
        {"sample_rate": float("inf")},
    ],
)
def test_settings_that_cannot_be(recognizer: Recognizer, options: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=r"expected a (latency|sample rate).*got"):
        recognizer.stream(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize("chunk", [np.zeros(99, np.int16), np.zeros((2, 9), np.float32), np.full(9, np.nan), b"12"])
def test_chunks_that_are_no_audio(recognizer: Recognizer, chunk: Array) -> None:
    with pytest.raises(AudioError):
        recognizer.stream().accept_waveform(chunk)


def test_to_dict_is_json(recognizer: Recognizer, stand_in: StandIn) -> None:
    _, result = _results(recognizer, stand_in.speak("one"))[-1]
    values = json.loads(json.dumps(result.to_dict()))
    assert list(values) == ["segment", "is_final", "text", "confidence", "words"]
    assert values["words"][0]["end"] == round(result.words[0].end, 3)


def test_the_code_in_the_page_runs(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(__file__).parents[2]
    monkeypatch.chdir(root)
    (code,) = re.findall("```python\n(.*?)```", (root / "docs" / "streaming.md").read_text(encoding="utf-8"), re.DOTALL)
    exec(code, {})
    *others, last = capsys.readouterr().out.splitlines()
    assert last.startswith("final ")
    assert any(line.startswith("partial 0 ") for line in others)


@pytest.mark.corpus
def test_real_speech_is_recognised_as_well_as_offline(corpus_path: Path) -> None:
    """Tolerance: a point of CER; the bundled model needed -0.2 to 0.7 points on 18 to 36 utterances, 1.6 on 12."""
    recognizer, normalize, quiet = load(), get_normalizer("en"), np.random.default_rng(0)
    texts, parts = [], []
    for domain in ("accented_read", "audiobook", "spelling_digits"):
        rows = [json.loads(line) for line in (corpus_path / f"{domain}.dev.jsonl").read_text().splitlines()]
        for row in rows[:: len(rows) // 8]:
            texts.append(normalize(row["text"]))
            path, offset = corpus_path / row["audio_filepath"], row.get("offset", 0.0)
            parts += [load_audio(path, offset_s=offset, duration_s=row["duration"])]
            parts += [1e-4 * quiet.standard_normal(16000).astype(np.float32)]
    reference, waveform = " ".join(texts), np.concatenate(parts)
    offline = recognizer.transcribe(waveform).text
    live = " ".join(final.text for final in _finals(_results(recognizer, waveform)) if final.text)
    errors = [edit_counts(reference, text).errors / len(reference) for text in (offline, live)]
    assert errors[0] < 0.5
    assert errors[1] < errors[0] + 0.01
    assert edit_counts(offline, live).errors < 0.12 * len(offline)
