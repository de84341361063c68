"""Decoders made from a bundle and options, and this project's search against pyctcdecode's."""

from __future__ import annotations

import gc
import json
import sys
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pytest
from click.testing import CliRunner

from decode.align import align
from decode.align_long import LOOK_AHEAD_FRAMES
from decode.calibration import Calibration, calibrated
from decode.config import BeamConfig
from silero_like.audio import load_audio
from silero_like.bundle import load_bundle, write_checksums
from silero_like.cli import main
from silero_like.decoding import N_COLLECTED, BeamDecoder, PyctcdecodeDecoder, make_decoder
from silero_like.errors import ConfigError, MissingExtraError
from silero_like.recognizer import load
from silero_like.tokenizer import Tokenizer

if TYPE_CHECKING:
    from tests.silero_like.conftest import StandIn

ARPA = """\\data\\
ngram 1=7
ngram 2=4

\\1-grams:
-2.5\t<unk>\t0
0\t<s>\t-0.3
-0.9\t</s>\t0
-0.7\tone\t-0.2
-1.1\ttwo\t-0.4
-1.3\tthree\t-0.1
-1.3\tfour\t-0.1

\\2-grams:
-0.4\t<s> one\t0
-0.3\tone two\t0
-0.5\ttwo four\t0
-0.6\ttwo three\t0

\\end\\
"""


@pytest.fixture
def arpa_path(tmp_path: Path) -> Path:
    path = tmp_path / "model.arpa"
    path.write_text(ARPA)
    return path


def spoken(text: str, tokenizer: Tokenizer, seed: int) -> npt.NDArray[np.float32]:
    """Blanks, and between them the tokens of a text, each beside a false one."""
    generator = np.random.default_rng(seed)
    token_ids = tokenizer.encode(text)
    scores = generator.normal(0, 1, (2 * len(token_ids) + 1, tokenizer.n_labels))
    scores[::2, -1] += 12
    for frame, token_id in enumerate(token_ids):
        scores[2 * frame + 1, token_id] += 8
        scores[2 * frame + 1, generator.integers(1, tokenizer.blank_id)] += generator.uniform(2, 6)
    return (scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)).astype(np.float32)


def test_pyctcdecode_finds_the_same_but_for_its_own_errors(stand_in: StandIn, arpa_path: Path) -> None:
    pytest.importorskip("pyctcdecode", reason="pip install --no-deps pyctcdecode pygtrie")
    tokenizer, config = stand_in.tokenizer, BeamConfig(beam_width=200, blank_skip=1.0, beam_prune_log_prob=-15.0)
    theirs = PyctcdecodeDecoder(tokenizer, config, arpa_path, {})
    ours = BeamDecoder(tokenizer, config, arpa_path, {})
    words = ["one", "two", "four", "one", "two", "three", "four"]
    n_same = n_ours = n_theirs = 0
    for seed in range(20):
        log_probs = spoken(" ".join(words), tokenizer, seed)
        found = tokenizer.decode(ours.decode_parts([log_probs]).alignment.token_ids).split()
        other = theirs.texts(log_probs)[0].split()
        n_same += found == other
        n_ours, n_theirs = n_ours + (found == words), n_theirs + (other == words)
    assert n_same >= 10  # pyctcdecode sometimes breaks a word in two or keeps an unknown one, with any beam
    assert n_ours >= max(18, n_theirs)


def test_pyctcdecode_is_aligned_and_takes_hotwords(stand_in: StandIn, arpa_path: Path) -> None:
    pytest.importorskip("pyctcdecode", reason="pip install --no-deps pyctcdecode pygtrie")
    recognizer = load(stand_in.path, decoder="pyctcdecode", lm_path=arpa_path, hotwords={"seven": 3.0})
    waveform = stand_in.speak("one two seven")
    assert recognizer.transcribe(waveform).text == "one two seven"
    assert recognizer.transcribe(waveform).words == load(stand_in.path).transcribe(waveform).words
    assert recognizer.transcribe(np.zeros(0, np.float32)).text == ""


def test_without_the_package_the_pip_line_is_named(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyctcdecode", None)
    with pytest.raises(MissingExtraError, match="pip install --no-deps pyctcdecode pygtrie"):
        load(stand_in.path, decoder="pyctcdecode")


def test_the_beam_hears_what_greedy_hears_and_when(stand_in: StandIn, arpa_path: Path) -> None:
    waveform = stand_in.speak("one two three four")
    expected = load(stand_in.path).transcribe(waveform)
    found = load(stand_in.path, lm_path=arpa_path).transcribe(waveform)
    assert (found.text, found.words) == (expected.text, expected.words)
    assert load(stand_in.path, decoder="beam").transcribe(np.zeros(0, np.float32)).text == ""


def test_times_are_those_of_a_forced_alignment(stand_in: StandIn, arpa_path: Path) -> None:
    log_probs = spoken("one two three four five " * 3, stand_in.tokenizer, seed=2)
    found = make_decoder("beam", load_bundle(stand_in.path), stand_in.tokenizer, lm_path=arpa_path)
    alignment = found.decode_parts(iter(np.split(log_probs, [7, 30]))).alignment
    expected = align(log_probs, alignment.token_ids, stand_in.tokenizer.blank_id)
    assert len(alignment.token_ids) > 10
    assert (alignment.start_frames == expected.start_frames).all()
    assert (alignment.end_frames == expected.end_frames).all()


def test_alternatives_are_other_texts_best_first(stand_in: StandIn, arpa_path: Path, tmp_path: Path) -> None:
    import soundfile

    recognizer = load(stand_in.path, lm_path=arpa_path)
    waveform = stand_in.speak("one two")
    waveform[: len(stand_in.speak("six"))] += 0.9 * stand_in.speak("six")[: len(waveform)]
    found = recognizer.transcribe(waveform, n_alternatives=3)
    assert found.alternatives is not None and 1 <= len(found.alternatives) <= 3
    texts = [found.text, *(alternative.text for alternative in found.alternatives)]
    assert len(set(texts)) == len(texts)
    scores = [alternative.score for alternative in found.alternatives]
    assert scores == sorted(scores, reverse=True) and scores[0] <= 0
    plain = recognizer.transcribe(waveform)
    assert plain.alternatives is None and "alternatives" not in plain.to_dict()
    assert (plain.text, plain.words) == (found.text, found.words)
    assert found.to_dict()["alternatives"][0] == {"text": texts[1], "score": round(scores[0], 3)}
    with pytest.raises(ConfigError, match="expected the decoder beam for alternatives, got greedy"):
        load(stand_in.path).transcribe(waveform, n_alternatives=1)
    with pytest.raises(ConfigError, match="expected at least 0 alternatives, got -1"):
        recognizer.transcribe(waveform, n_alternatives=-1)
    soundfile.write(tmp_path / "talk.wav", waveform, 16000)
    arguments = ["transcribe", str(tmp_path / "talk.wav"), "--model", str(stand_in.path), "--lm", str(arpa_path)]
    result = CliRunner().invoke(main, [*arguments, "--alternatives", "1", "--format", "json"])
    assert [a["text"] for a in json.loads(result.output)["alternatives"]] == texts[1:2]
    assert CliRunner().invoke(main, [*arguments, "--alternatives", "1"]).exit_code == 2


def test_threads_may_share_a_recogniser(stand_in: StandIn, arpa_path: Path) -> None:
    waveforms = [stand_in.speak(text) for text in ("one two three", "four", "seven six five four", "two two")] * 6
    recognizer = load(stand_in.path, lm_path=arpa_path, hotwords={"six": 2.0})
    expected = [
        load(stand_in.path, lm_path=arpa_path, hotwords={"six": 2.0}).transcribe(w).words for w in waveforms[:4]
    ]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(8) as pool:
            found = [transcript.words for transcript in pool.map(recognizer.transcribe, waveforms)]
    finally:
        sys.setswitchinterval(before)
    assert found == expected * 6


def test_a_long_recording_is_searched_part_by_part_and_keeps_nobody_waiting(stand_in: StandIn, arpa_path: Path) -> None:
    log_probs = spoken("one two three four five " * 20, stand_in.tokenizer, seed=3)
    decoder = make_decoder("beam", load_bundle(stand_in.path), stand_in.tokenizer, lm_path=arpa_path)
    parts, others = np.array_split(log_probs, 3 * N_COLLECTED), []

    def coming() -> Iterator[npt.NDArray[np.float32]]:
        for number, part in enumerate(parts):
            yield part
            if number == 2 * N_COLLECTED:
                others.append(decoder.decode_parts([log_probs]))

    found, (other,) = decoder.decode_parts(coming()), others
    assert found.hypotheses == other.hypotheses and len(found.alignment.token_ids) > 100
    assert (found.alignment.start_frames == other.alignment.start_frames).all()


@pytest.mark.corpus
def test_settling_words_on_the_way_changes_nothing_of_real_speech(
    corpus_path: Path, bundled_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("decode.align_long.HELD_FRAMES", 150)
    recognizer, parts = load(bundled_model), []
    for line in (corpus_path / "audiobook.dev.jsonl").read_text().splitlines()[:80:10]:
        row = json.loads(line)
        path, offset = corpus_path / row["audio_filepath"], row.get("offset", 0.0)
        waveform = load_audio(path, offset_s=offset, duration_s=row["duration"])
        parts.append(recognizer.runtime.log_probs(waveform))
    settled = recognizer.transcribe_log_probs(parts, lambda: 600.0)
    kept = recognizer.transcribe_log_probs(parts, lambda: 600.0, n_alternatives=1)
    assert sum(map(len, parts)) > 3 * (150 + LOOK_AHEAD_FRAMES) and len(settled.words) > 50
    assert (settled.text, settled.words, settled.confidence) == (kept.text, kept.words, kept.confidence)


def test_a_decoder_that_is_let_go_takes_its_language_model_with_it(stand_in: StandIn, arpa_path: Path) -> None:
    """A server makes one for each set of hotwords; in a cycle they would pile up until the collector comes by."""
    recognizer = load(stand_in.path, lm_path=arpa_path, hotwords={"two": 3.0})
    assert recognizer.transcribe(stand_in.speak("one two")).text == "one two"
    assert isinstance(recognizer.decoder, BeamDecoder)
    ngram = weakref.ref(recognizer.decoder._ngram)
    gc.disable()
    try:
        del recognizer
        assert ngram() is None
    finally:
        gc.enable()


def test_a_calibration_in_the_bundle_changes_confidences(stand_in: StandIn, arpa_path: Path) -> None:
    waveform = stand_in.speak("one two")
    waveform += np.random.default_rng(0).normal(0, 0.4, len(waveform)).astype(np.float32)
    (stand_in.path / "decoder.json").write_text('{"confidence_temperature": 2.0, "confidence_offset": -0.5}')
    write_checksums(stand_in.path)
    greedy = load(stand_in.path).transcribe(waveform)
    beam = load(stand_in.path, lm_path=arpa_path).transcribe(waveform)
    calibration = Calibration(2.0, -0.5)
    expected = [calibrated(word.confidence, calibration) for word in greedy.words]
    assert beam.text == greedy.text and [word.confidence for word in beam.words] == pytest.approx(expected)
    assert beam.confidence == pytest.approx(calibrated(greedy.confidence, calibration))
    assert beam.confidence < greedy.confidence - 1e-4


def test_priors_in_the_bundle_are_taken_back_where_there_is_a_language_model(
    stand_in: StandIn, arpa_path: Path
) -> None:
    """Half of each frame's probability goes to the next token: with priors that hide the said one, it is lost."""
    n_labels, blank_id = stand_in.tokenizer.n_labels, stand_in.tokenizer.blank_id
    log_priors = np.full(n_labels, -3.0)
    log_priors[stand_in.tokenizer.encode("two")] = 3.0
    for weight, expected in ((0.0, "one two"), (4.0, "one")):
        settings = {"prior_weight": weight, "log_priors": log_priors.tolist()}
        (stand_in.path / "decoder.json").write_text(json.dumps(settings))
        write_checksums(stand_in.path)
        waveform = stand_in.speak("one two")
        assert load(stand_in.path, lm_path=arpa_path).transcribe(waveform).text == expected
        assert load(stand_in.path, decoder="beam").transcribe(waveform).text == "one two"
    (stand_in.path / "decoder.json").write_text(json.dumps({"prior_weight": 0.5, "log_priors": [-1.0] * blank_id}))
    write_checksums(stand_in.path)
    with pytest.raises(ConfigError, match=f"expected log_priors of {n_labels} labels, got {blank_id}"):
        load(stand_in.path, lm_path=arpa_path)


def test_the_default_is_beam_where_there_is_something_to_score(stand_in: StandIn, arpa_path: Path) -> None:
    bundle, tokenizer = load_bundle(stand_in.path), stand_in.tokenizer
    assert make_decoder(None, bundle, tokenizer).name == "greedy"
    assert make_decoder(None, bundle, tokenizer, lm_path="none").name == "greedy"
    assert make_decoder(None, bundle, tokenizer, beam_width=5).name == "beam"
    assert make_decoder(None, bundle, tokenizer, lm_path=arpa_path).name == "beam"
    assert make_decoder(None, bundle, tokenizer, hotwords={"one": 1.0}).name == "beam"
    (stand_in.path / "model.arpa").write_text(ARPA)
    with_lm = load_bundle(stand_in.path, verify=False)
    object.__setattr__(with_lm, "lm_path", arpa_path)
    assert make_decoder(None, with_lm, tokenizer).name == "beam"
    assert make_decoder(None, with_lm, tokenizer, lm_path="none").name == "greedy"
    assert make_decoder("greedy", with_lm, tokenizer).name == "greedy"


def test_what_cannot_be_is_refused(stand_in: StandIn, tmp_path: Path, arpa_path: Path) -> None:
    bundle, tokenizer = load_bundle(stand_in.path), stand_in.tokenizer
    with pytest.raises(ConfigError, match="expected a decoder among greedy, beam, pyctcdecode, got 'viterbi'"):
        make_decoder("viterbi", bundle, tokenizer)
    with pytest.raises(ConfigError, match="expected no hotwords and no language model with the decoder greedy"):
        make_decoder("greedy", bundle, tokenizer, hotwords={"one": 1.0})
    with pytest.raises(ConfigError, match="expected no beam_width with the decoder greedy"):
        make_decoder("greedy", bundle, tokenizer, beam_width=5)
    with pytest.raises(ConfigError, match=r"gone\.arpa: no such file"):
        make_decoder("beam", bundle, tokenizer, lm_path=tmp_path / "gone.arpa")
    for n_threads in (0, "2"):
        with pytest.raises(ConfigError, match=f"expected n_threads of at least 1, got {n_threads!r}"):
            load(n_threads=n_threads)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="beam_width of at least 1, got 0"):
        make_decoder("beam", bundle, tokenizer, beam_width=0)
    with pytest.raises(ConfigError, match="hotword 'Qz': the model has no token with 'Q', 'z'"):
        make_decoder("beam", bundle, tokenizer, hotwords={"Qz": 1.0})
    upper = tmp_path / "upper.arpa"
    upper.write_text(ARPA.replace("one", "ONE").replace("two", "TWO").replace("three", "III").replace("four", "IV"))
    with pytest.raises(ConfigError, match="expected a language model of words that the tokens can spell"):
        make_decoder("beam", bundle, tokenizer, lm_path=upper)


def test_the_options_of_transcribe(stand_in: StandIn, arpa_path: Path, tmp_path: Path) -> None:
    import soundfile

    soundfile.write(tmp_path / "talk.wav", stand_in.speak("one two"), 16000)
    hotwords = tmp_path / "hotwords.txt"
    hotwords.write_text("Two\t3\n\nONE TWO\n")

    def run(*options: str) -> tuple[int, str]:
        arguments = ["transcribe", str(tmp_path / "talk.wav"), "--model", str(stand_in.path), *options]
        result = CliRunner().invoke(main, arguments)
        return result.exit_code, result.output

    with_all = run("--lm", str(arpa_path), "--hotwords", str(hotwords), "--beam-width", "7", "--format", "json")
    assert with_all[0] == 0 and json.loads(with_all[1])["text"] == "one two"
    assert run("--decoder", "greedy", "--lm", "none") == (0, "one two\n")
    hotwords.write_text("two\tmuch\n")
    code, output = run("--hotwords", str(hotwords))
    assert code != 0 and "hotwords.txt: line 1: expected a number as weight, got 'much'" in output


def test_the_options_of_evaluate(stand_in: StandIn, arpa_path: Path, tmp_path: Path) -> None:
    import soundfile

    waveform = stand_in.speak("one two")
    soundfile.write(tmp_path / "talk.wav", waveform, 16000)
    row = {"audio_filepath": "talk.wav", "duration": len(waveform) / 16000, "text": "one two", "domain": "talks"}
    (tmp_path / "dev.jsonl").write_text(json.dumps(row | {"lang": "en", "speaker": "s", "source": "test"}) + "\n")
    arguments = ["evaluate", str(tmp_path / "dev.jsonl"), "--model", str(stand_in.path), "--lm", str(arpa_path)]
    result = CliRunner().invoke(main, [*arguments, "--json", str(tmp_path / "dev.json")])
    assert result.exit_code == 0, result.output
    evaluation = json.loads((tmp_path / "dev.json").read_text())
    assert evaluation["decoder"] == "beam" and evaluation["micro"]["wer"] == 0.0
