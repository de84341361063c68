"""Engines behind one door: what PocketSphinx and sherpa-onnx hear by themselves, they hear through the server too."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest
from click.testing import CliRunner, Result

from decode.words import Word
from silero_like.audio import load_audio
from silero_like.cli import main
from silero_like.cli.decoder_options import read_hotword_lines
from silero_like.cli.evaluate_systems import EngineSystem
from silero_like.engines import (
    OWN,
    POCKETSPHINX,
    SHERPA,
    Engine,
    ModelSource,
    WindowedEngine,
    _pocketsphinx_files,
    _sherpa_words,
    open_engine,
    parse_source,
    windows,
)
from silero_like.errors import BundleError, ConfigError, MissingExtraError
from silero_like.serve.messages import Answer, OpenStream, Options, Refusal, Transcription
from silero_like.serve.settings import ServeSettings
from silero_like.serve.worker import Worker

if TYPE_CHECKING:
    from tests.silero_like.conftest import StandIn

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "samples" / "audiobook.opus"
Array = npt.NDArray[np.float32]


def named(*words: str, confidence: float = 0.5) -> list[Word]:
    return [Word(word, 0.1 * n, 0.1 * n + 0.05, confidence) for n, word in enumerate(words)]


@pytest.fixture(scope="module")
def sherpa(sherpa_path: Path) -> Engine:
    return open_engine(ModelSource(SHERPA, sherpa_path))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("models/en", ModelSource(OWN, Path("models/en"))),
        ("en=models/en", ModelSource(OWN, Path("models/en"), "en")),
        ("silero_like:models/en", ModelSource(OWN, Path("models/en"))),
        ("a/b=c", ModelSource(OWN, Path("a/b=c"))),
        ("pocketsphinx:ru", ModelSource(POCKETSPHINX, Path("ru"))),
        ("s=pocketsphinx:", ModelSource(POCKETSPHINX, None, "s")),
        ("z=sherpa-onnx:a:b", ModelSource(SHERPA, Path("a:b"), "z")),
        ("whisper:x", ModelSource(OWN, Path("whisper:x"))),
    ],
)
def test_the_spelling(text: str, expected: ModelSource) -> None:
    assert parse_source(text) == expected


def test_a_model_of_ours_is_an_engine(stand_in: StandIn) -> None:
    engine = open_engine(ModelSource(OWN, stand_in.path))
    assert (engine.name, engine.lang) == ("stand-in", "en")
    assert engine.transcribe_chunks([stand_in.speak("one two")]).text == "one two"


@pytest.mark.parametrize("n_chunk", [1000, 16000, 10**6])
def test_long_recordings_are_cut_where_they_are_quiet(n_chunk: int) -> None:
    waveform = np.random.default_rng(0).uniform(-0.5, 0.5, 16000 * 7).astype(np.float32)
    waveform[16000 * 25 // 10 : 16000 * 27 // 10] *= 0.01
    chunks = np.split(waveform, range(n_chunk, len(waveform), n_chunk))
    parts = list(windows(chunks, window_s=3.0))
    assert np.array_equal(np.concatenate(parts), waveform)
    assert 2.5 < len(parts[0]) / 16000 < 2.7 and all(len(part) <= 48000 for part in parts)
    assert not list(windows([]))


@pytest.mark.parametrize("texts", [["see you", "tomorrow"], ["до", "завтра"], ["明 天", "见"]])
def test_words_of_all_windows_are_joined(texts: list[str]) -> None:
    heard: list[int] = []

    def hear(window: Array) -> list[Word]:
        heard.append(len(window))
        return named(*texts[len(heard) - 1].split())

    waveform = np.zeros(16000 * 30 + 800, np.float32)
    transcript = WindowedEngine("x", "", hear).transcribe_chunks([waveform], "a.wav")
    first, last = len(texts[0].split()), transcript.words[-1]
    assert transcript.text == " ".join(texts) and (transcript.model, transcript.audio_filepath) == ("x", "a.wav")
    assert transcript.duration == 30.05 and transcript.confidence == pytest.approx(0.5)
    assert transcript.words[first].start == pytest.approx(heard[0] / 16000)
    assert last.end <= transcript.duration
    silent = WindowedEngine("x", "", lambda window: []).transcribe_chunks([np.zeros(1, np.float32)])
    assert (silent.text, silent.words, silent.confidence) == ("", (), 0.0)


def test_a_short_end_is_padded_and_its_words_end_with_the_recording() -> None:
    def hear(window: Array) -> list[Word]:
        assert len(window) == 1600
        return [Word("x", 0.0, 0.1, 1.0)]

    (word,) = WindowedEngine("x", "", hear).transcribe_chunks([np.zeros(800, np.float32)]).words
    assert (word.start, word.end) == (0.0, 0.05)


def test_an_unknown_confidence_is_null_in_json_and_none_in_an_evaluation() -> None:
    engine = WindowedEngine("x", "", lambda window: named("a", "b", confidence=math.nan))
    values = json.loads(json.dumps(engine.transcribe_chunks([np.zeros(9, np.float32)]).to_dict(), allow_nan=False))
    assert values["confidence"] is None and [word["confidence"] for word in values["words"]] == [None, None]
    recognised = EngineSystem(engine).transcribe(np.zeros(9, np.float32))
    assert (recognised.text, recognised.confidence, recognised.word_confidences) == ("a b", None, ())


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        ([" he", "llo", " you"], [("hello", 0.5, 0.74), ("you", 0.74, 0.82)]),
        ([" до", " зав", "тра"], [("до", 0.5, 0.58), ("завтра", 0.66, 0.82)]),
        (["你", "好", " ok"], [("你", 0.5, 0.58), ("好", 0.66, 0.74), ("ok", 0.74, 0.82)]),
        ([], []),
    ],
)
def test_tokens_become_words_in_every_language(tokens: list[str], expected: list[tuple[str, float, float]]) -> None:
    found = _sherpa_words(tokens, [0.5, 0.66, 0.74][: len(tokens)])
    assert [word.word for word in found] == [word for word, _, _ in expected]
    times = [(word.start, word.end) for word in found]
    assert times == [pytest.approx((start, end)) for _, start, end in expected]
    assert all(math.isnan(word.confidence) for word in found)


def evaluate(model: str, manifest: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["evaluate", str(manifest), "--model", model, *arguments])


def test_sherpa_onnx_says_what_it_says_by_itself(sherpa_path: Path, sherpa: Engine, bundled_model: Path) -> None:
    import sherpa_onnx

    waveform = load_audio(SAMPLE)
    theirs: Any = sherpa_onnx.OfflineRecognizer.from_nemo_ctc(
        str(sherpa_path / "model.int8.onnx"), str(sherpa_path / "tokens.txt")
    )
    stream = theirs.create_stream()
    stream.accept_waveform(16000, waveform)
    theirs.decode_stream(stream)
    found = sherpa.transcribe_chunks([waveform])
    assert found.text == stream.result.text.strip() and len(found.text.split()) > 10
    assert (sherpa.name, sherpa.lang) == ("for-phones", "en")
    ours = open_engine(ModelSource(OWN, bundled_model)).transcribe_chunks([waveform])
    starts = {word.word: word.start for word in ours.words}
    shared = [word for word in found.words if word.word in starts]
    assert len(shared) > 8
    assert np.median([abs(word.start - starts[word.word]) for word in shared]) < 0.1  # a frame is 0.08 s


def test_a_folder_that_is_no_model(sherpa_path: Path, bundled_model: Path, tmp_path: Path) -> None:
    def refused(**files: bytes | Path) -> str:
        folder = tmp_path / f"{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        for name, content in files.items():
            path = folder / name.replace("_", ".")
            shutil.copy(content, path) if isinstance(content, Path) else path.write_bytes(content)
        with pytest.raises(ConfigError) as error:
            open_engine(ModelSource(SHERPA, folder))
        return str(error.value)

    tokens = sherpa_path / "tokens.txt"
    assert "expected model.onnx or model.int8.onnx, and tokens.txt" in refused()
    assert "cannot read the model" in refused(model_onnx=b"x", tokens_txt=tokens)
    assert "expected model_type EncDecCTCModelBPE" in refused(
        model_onnx=bundled_model / "model.onnx", tokens_txt=tokens
    )


def test_evaluate_takes_the_spelling_and_refuses_what_the_engine_cannot_do(sherpa_path: Path, tmp_path: Path) -> None:
    manifest, out = ROOT / "samples" / "manifest.jsonl", tmp_path / "out.json"
    result = evaluate(f"theirs=sherpa-onnx:{sherpa_path}", manifest, "--json", str(out))
    assert result.exit_code == 0, result.output
    found = json.loads(out.read_text())
    assert (found["model"], found["decoder"]) == ("theirs", "its own")
    assert found["domains"]["audiobook"]["wer"] < 0.9 and found["audio_s_per_core_s"] > 0
    result = evaluate(f"sherpa-onnx:{sherpa_path}", manifest, "--decoder", "beam")
    assert result.exit_code == 2 and "--decoder is for models of this project" in result.output
    result = evaluate("sherpa-onnx:", manifest)
    assert result.exit_code == 2 and "add the path" in result.output
    result = evaluate("pocketsphinx:/nowhere", manifest)
    assert result.exit_code == 2 and "check the path" in result.output


def test_pocketsphinx_gives_words_times_and_confidences() -> None:
    pytest.importorskip("pocketsphinx", reason="needs the [pocketsphinx] extra")
    engine = open_engine(ModelSource(POCKETSPHINX, None))
    waveform = load_audio(SAMPLE, duration_s=2.0)
    found = engine.transcribe_chunks([waveform])
    assert (engine.name, engine.lang) == ("pocketsphinx", "en")
    assert "get scorched" in found.text
    assert "(" not in found.text and "<" not in found.text
    assert all(0 < word.confidence <= 1 for word in found.words) and 0 < found.confidence < 1
    times = [time for word in found.words for time in (word.start, word.end)]
    assert times == sorted(times) and times[0] > 0 and times[-1] <= found.duration
    assert engine.transcribe_chunks([np.zeros(5, np.float32)]).text == ""
    from pocketsphinx import get_model_path

    again = open_engine(ModelSource(POCKETSPHINX, Path(get_model_path("en-us"))))  # the same model, named as a folder
    assert (again.name, again.lang) == ("en-us", "")
    assert again.transcribe_chunks([waveform]).text == found.text


def test_a_folder_of_cmusphinx_is_found_out(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="found 0 for hmm"):
        _pocketsphinx_files(tmp_path)
    (tmp_path / "acoustic").mkdir()
    for name in ("acoustic/mdef", "ru.lm.bin", "ru-phone.lm.bin", "ru.dic"):
        (tmp_path / name).touch()
    files = _pocketsphinx_files(tmp_path)
    assert files == {
        "hmm": str(tmp_path / "acoustic"), "lm": str(tmp_path / "ru.lm.bin"), "dict": str(tmp_path / "ru.dic")
    }  # fmt: skip
    (tmp_path / "other.lm").touch()
    with pytest.raises(ConfigError, match="found 2 for lm"):
        _pocketsphinx_files(tmp_path)


@pytest.mark.parametrize(("engine", "module"), [(POCKETSPHINX, "pocketsphinx"), (SHERPA, "sherpa_onnx")])
def test_without_the_package_the_pip_line_is_named(
    engine: str, module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(MissingExtraError, match=rf"pip install 'silero_like\[{engine}\]'"):
        open_engine(ModelSource(engine, tmp_path))


def test_a_folder_of_another_engine_is_no_bundle(sherpa_path: Path) -> None:
    with pytest.raises(BundleError):
        open_engine(ModelSource(OWN, sherpa_path))


def test_a_worker_serves_engines_side_by_side(sherpa_path: Path, sherpa: Engine, stand_in: StandIn) -> None:
    sources = {"ours": ModelSource(OWN, stand_in.path), "theirs": ModelSource(SHERPA, sherpa_path)}
    worker = Worker(ServeSettings(models=sources, read_hotwords=read_hotword_lines))
    assert {name: model.info.engine for name, model in worker.models.items()} == {"ours": OWN, "theirs": SHERPA}

    def answer(**options: Any) -> Any:
        request = Transcription(options=Options(**options), format="verbose_json", words=True)
        return worker.answer(request, SAMPLE.open("rb"))

    found = json.loads(answer(model="theirs").body)
    expected = sherpa.transcribe_chunks([load_audio(SAMPLE)]).to_dict()
    assert (found["text"], found["words"]) == (expected["text"], expected["words"])
    assert (found["language"], found["segments"][0]["confidence"]) == ("english", None)
    assert isinstance(answer(model="ours", hotwords=("one",)), Answer)
    for option in ({"hotwords": ("one",)}, {"decoder": "beam"}, {"beam_width": 5}, {"lm": "none"}):
        refused = answer(model="theirs", **option)
        assert (refused.status, refused.code) == (400, "invalid_value")
        assert f"the model theirs runs in sherpa-onnx, which takes no {next(iter(option))}" in refused.message
    opened = OpenStream(stream_id=1, options=Options(model="theirs"), latency_s=0.5, sample_rate=16000)
    refused = worker.answer(opened)
    assert isinstance(refused, Refusal)
    assert refused.status == 400 and "where there are no live streams" in refused.message
