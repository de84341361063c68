"""The command line as a user meets it: outputs, exit codes, one clear line for each bad input."""

from __future__ import annotations

import importlib
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result

from silero_like.bundle import KENLM_MAGIC, set_language_model
from silero_like.cli import COMMANDS, main
from silero_like.reference import make_reference

if TYPE_CHECKING:
    from tests.silero_like.conftest import StandIn

TEXT = "one two three"
COMMAND = [sys.executable, "-c", "from silero_like.cli import main; main()"]


def run(*arguments: str | Path, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], input=stdin)


@pytest.fixture
def talk(stand_in: StandIn, tmp_path: Path) -> Path:
    """A recording of `TEXT` in the stand-in model's voice."""
    path = tmp_path / "talks" / "talk.wav"
    path.parent.mkdir()
    soundfile.write(path, stand_in.speak(TEXT), 16000)
    return path


@pytest.fixture
def transcribe(stand_in: StandIn) -> Callable[..., Result]:
    """Run `transcribe` with the stand-in model."""

    def transcribe(*arguments: str | Path, stdin: bytes | None = None) -> Result:
        return run("transcribe", "--model", stand_in.path, *arguments, stdin=stdin)

    return transcribe


# help and usage


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_examples(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert "Usage: " in result.stdout
    if command != "tokenizer":  # a group
        assert "Example" in result.stdout


def test_help_lists_every_command() -> None:
    result = run("--help")
    assert result.exit_code == 0
    assert all(f"\n  {command} " in result.stdout for command in COMMANDS)


@pytest.mark.parametrize(
    "arguments",
    [
        ["transcribe"],
        ["transcribe", "x.wav", "--format", "docx"],
        ["transcribe", "x.wav", "--model", "/no/such/folder"],
        ["transcribe", "x.wav", "--channel", "-1"],
        ["evaluate"],
        ["evaluate", "no-such-manifest.jsonl"],
        ["no-such-command"],
        ["transcribe", "x.wav", "--no-such-option"],
    ],
)
def test_wrong_usage_exits_2(arguments: list[str]) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Error: " in result.stderr


def test_version() -> None:
    assert run("--version").stdout.startswith("silero_like ")


# transcribe: good input


def test_txt_of_one_recording_is_its_text(transcribe: Callable[..., Result], talk: Path) -> None:
    result = transcribe(talk)
    assert (result.exit_code, result.stdout, result.stderr) == (0, f"{TEXT}\n", "")


def test_txt_of_several_names_each(transcribe: Callable[..., Result], talk: Path) -> None:
    other = talk.with_name("a.flac")
    soundfile.write(other, *soundfile.read(talk))
    result = transcribe(talk, other, talk)
    assert result.stdout == f"{talk}\t{TEXT}\n{other}\t{TEXT}\n"  # each file once, in the order given


def test_json_is_an_object_for_one_and_a_list_for_several(transcribe: Callable[..., Result], talk: Path) -> None:
    one = json.loads(transcribe(talk, "--format", "json").stdout)
    assert one["text"] == TEXT
    assert one["audio_filepath"] == str(talk)
    assert list(one) == ["audio_filepath", "duration", "text", "confidence", "words", "model"]
    assert [word["word"] for word in one["words"]] == TEXT.split()
    other = talk.with_name("other.wav")
    other.write_bytes(talk.read_bytes())
    several = transcribe(talk, talk.with_name("missing.wav"), other, "--format", "json")
    assert [row["text"] for row in json.loads(several.stdout)] == [TEXT, TEXT]
    none = transcribe(talk.with_name("missing.wav"), talk.with_name("gone.wav"), "--format", "json")
    assert json.loads(none.stdout) == []


def test_jsonl_is_one_object_a_line(transcribe: Callable[..., Result], talk: Path) -> None:
    talk.with_name("ünïcode \n name.wav").write_bytes(talk.read_bytes())
    rows = [json.loads(line) for line in transcribe(talk.parent, "--format", "jsonl").stdout.splitlines()]
    assert [row["text"] for row in rows] == [TEXT, TEXT]
    assert "ünïcode \n name.wav" in rows[1]["audio_filepath"]


def test_folder_glob_and_stdin(transcribe: Callable[..., Result], talk: Path) -> None:
    deep = talk.parent / "deep" / "deeper" / "B.WAV"
    deep.parent.mkdir(parents=True)
    deep.write_bytes(talk.read_bytes())
    (talk.parent / "notes.txt").write_text("no audio")
    (talk.parent / "._talk.wav").write_text("no audio")
    folder = transcribe(talk.parent)
    assert folder.exit_code == 0
    assert folder.stdout == f"{deep}\t{TEXT}\n{talk}\t{TEXT}\n"
    pattern = transcribe(talk.parent / "**" / "*.[Ww][Aa][Vv]")
    assert sorted(pattern.stdout.splitlines()) == sorted(folder.stdout.splitlines())
    stdin = transcribe("-", stdin=talk.read_bytes())
    assert (stdin.exit_code, stdin.stdout) == (0, f"{TEXT}\n")


def test_a_name_with_brackets_is_no_pattern(transcribe: Callable[..., Result], talk: Path) -> None:
    odd = talk.with_name("talk [1]*.wav")
    odd.write_bytes(talk.read_bytes())
    assert transcribe(odd).stdout == f"{TEXT}\n"


def test_output_dir_mirrors_the_folder(transcribe: Callable[..., Result], talk: Path, tmp_path: Path) -> None:
    for name in ("deep/talk.wav", "deep/talk.flac"):
        path = talk.parent / name
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, *soundfile.read(talk))
    out = tmp_path / "out"
    result = transcribe(talk.parent, "--output-dir", out)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")
    written = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    assert written == ["deep/talk.flac.txt", "deep/talk.wav.txt", "talk.txt"]
    assert (out / "talk.txt").read_text() == f"{TEXT}\n"
    transcribe(talk, "--format", "json", "--output-dir", out)
    assert json.loads((out / "talk.json").read_text())["text"] == TEXT


def test_output_dir_refuses_two_recordings_for_one_file(
    transcribe: Callable[..., Result], talk: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other" / "talk.wav"
    other.parent.mkdir()
    other.write_bytes(talk.read_bytes())
    result = transcribe(talk, other, "--output-dir", tmp_path / "out")
    assert result.exit_code == 2
    assert "would both be written to" in result.stderr
    assert not (tmp_path / "out").exists()


def test_channel(transcribe: Callable[..., Result], talk: Path) -> None:
    waveform, rate = soundfile.read(talk)
    soundfile.write(talk, np.stack([np.zeros_like(waveform), waveform], axis=1), rate)
    assert transcribe(talk, "--channel", "1").stdout == f"{TEXT}\n"
    assert transcribe(talk, "--channel", "0").stdout == "\n"
    wrong = transcribe(talk, "--channel", "2")
    assert wrong.exit_code == 1
    assert "expected a channel from 0 to 1, got 2" in wrong.stderr


def test_silence_and_a_hundredth_of_a_second_are_empty_transcripts(
    transcribe: Callable[..., Result], tmp_path: Path
) -> None:
    for n_samples in (160, 160_000):
        soundfile.write(tmp_path / "quiet.wav", np.zeros(n_samples), 16000)
        result = transcribe(tmp_path / "quiet.wav")
        assert (result.exit_code, result.stdout, result.stderr) == (0, "\n", "")


def test_192_khz_with_six_channels(transcribe: Callable[..., Result], stand_in: StandIn, tmp_path: Path) -> None:
    waveform = np.repeat(stand_in.speak(TEXT), 12)
    soundfile.write(tmp_path / "surround.wav", np.repeat(waveform[:, None], 6, axis=1), 192_000)
    result = transcribe(tmp_path / "surround.wav")
    assert (result.exit_code, result.stdout) == (0, f"{TEXT}\n")


# transcribe: bad input


def _missing(path: Path, talk: Path) -> None:
    pass


def _empty(path: Path, talk: Path) -> None:
    path.write_bytes(b"")


def _text(path: Path, talk: Path) -> None:
    path.write_text("this is no recording\n" * 50)


def _truncated(path: Path, talk: Path) -> None:
    generator = np.random.default_rng(0)
    soundfile.write(path, 0.1 * generator.standard_normal(160_000), 16000, format="FLAC")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _nan(path: Path, talk: Path) -> None:
    soundfile.write(path, np.array([0.1, np.nan, 0.1] * 1000), 16000, format="WAV", subtype="FLOAT")


def _folder_without_audio(path: Path, talk: Path) -> None:
    path.mkdir()
    (path / "notes.txt").write_text("nothing to hear")


def _unreadable_link(path: Path, talk: Path) -> None:
    path.symlink_to(path.with_name("nowhere"))


BAD = [
    (_missing, "bad.wav", "No such file"),
    (_missing, "bad*.wav", "nothing matches this pattern"),
    (_empty, "bad.wav", "0 bytes"),
    (_text, "bad.wav", "not audio"),
    (_truncated, "bad.flac", "truncated"),
    (_nan, "bad.wav", "NaN"),
    (_folder_without_audio, "bad", "no audio file in this folder"),
    (_unreadable_link, "bad.wav", "No such file"),
]


@pytest.mark.parametrize(("make", "name", "expected"), BAD, ids=[f"{make.__name__}-{name}" for make, name, _ in BAD])
def test_bad_input_is_one_line_and_the_rest_is_done(
    make: Callable[[Path, Path], None],
    name: str,
    expected: str,
    transcribe: Callable[..., Result],
    talk: Path,
    tmp_path: Path,
) -> None:
    bad = tmp_path / name
    make(bad, talk)
    result = transcribe(bad, talk)
    assert result.exit_code == 1
    assert TEXT in result.stdout
    error, summary = result.stderr.splitlines()
    assert error.startswith(f"Error: {bad}")
    assert expected in error
    assert summary == "1 of 2 inputs failed"
    alone = transcribe(bad)
    assert (alone.exit_code, alone.stdout, alone.stderr) == (1, "", f"{error}\n")


def test_an_unexpected_error_does_not_stop_the_batch(
    transcribe: Callable[..., Result], talk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from silero_like import batching

    works = batching.stream_audio

    def breaks_once(source: str, **options: Any) -> Any:
        if "broken" in source:
            raise ZeroDivisionError("a bug")
        return works(source, **options)

    monkeypatch.setattr(batching, "stream_audio", breaks_once)
    result = transcribe("broken.wav", talk)
    assert result.exit_code == 1
    assert TEXT in result.stdout
    assert "broken.wav: ZeroDivisionError: a bug" in result.stderr
    assert "Traceback" not in result.stderr


def test_damaged_model_is_one_line_and_a_traceback_with_debug(stand_in: StandIn, talk: Path) -> None:
    (stand_in.path / "model.onnx").write_bytes(b"damaged")
    result = run("transcribe", "--model", stand_in.path, talk)
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert "damaged or changed" in result.stderr
    assert "Traceback" in run("--debug", "transcribe", "--model", stand_in.path, talk).stderr


def test_a_full_disk_is_one_line(stand_in: StandIn, talk: Path) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full on this system")
    command = [*COMMAND, "transcribe", "--model", str(stand_in.path), str(talk)]
    with open("/dev/full", "wb") as full:
        process = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert process.returncode == 1
    assert process.stderr == "Error: [Errno 28] No space left on device\n"


def test_progress_only_on_a_terminal(stand_in: StandIn, talk: Path) -> None:
    ours, theirs = pty.openpty()
    command = [*COMMAND, "transcribe", "--model", str(stand_in.path), str(talk)]
    process = subprocess.run(command, stdout=subprocess.PIPE, stderr=theirs, check=True)
    os.close(theirs)
    assert process.stdout.decode() == f"{TEXT}\n"
    assert b"[1/1]" in os.read(ours, 4096)
    os.close(ours)


def test_a_closed_pipe_is_quiet(stand_in: StandIn, talk: Path) -> None:
    for number in range(20):
        talk.with_name(f"{number}.wav").write_bytes(talk.read_bytes())
    command = [*COMMAND, "transcribe", "--model", str(stand_in.path), str(talk.parent), "--format", "json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, pipesize=4096) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


def test_interrupt_is_clean(stand_in: StandIn, talk: Path) -> None:
    fifo = talk.with_name("zz.wav")
    os.mkfifo(fifo)
    command = [*COMMAND, "transcribe", "--model", str(stand_in.path), str(talk), str(fifo)]
    restore = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a shell's background job inherits it ignored
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=restore) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert TEXT.encode() in process.stdout.readline()  # it now waits for the fifo, which nobody writes
        process.send_signal(signal.SIGINT)
        assert process.stderr.read().strip() == b"Aborted!"
    assert process.returncode == 1


# evaluate


@pytest.fixture
def manifest(stand_in: StandIn, talk: Path) -> Path:
    """Two recordings in two domains, one of which has a wrong word in its reference."""
    soundfile.write(talk.with_name("four.wav"), stand_in.speak("four five"), 16000)
    rows = [
        {"audio_filepath": "talk.wav", "duration": 3.0, "text": "One, two, THREE!", "domain": "a", "speaker": "s"},
        {"audio_filepath": "four.wav", "duration": 2.0, "text": "four six", "domain": "b", "lang": "en"},
        {"audio_filepath": "four.wav", "offset": 0.1, "duration": 2.0, "text": "四", "domain": "b", "lang": "zh"},
    ]
    path = talk.with_name("manifest.jsonl")
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for row in rows:
        row["duration"] = soundfile.info(talk.with_name(str(row["audio_filepath"]))).duration
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_evaluate(stand_in: StandIn, manifest: Path, tmp_path: Path) -> None:
    out, hypotheses = tmp_path / "new" / "evaluation.json", tmp_path / "hypotheses.jsonl"
    result = run("evaluate", manifest, "--model", stand_in.path, "--json", out, "--utterances", hypotheses)
    assert result.exit_code == 0
    assert result.stderr == f"{manifest}: 1 rows are not in en and were left out\n"
    assert "macro" in result.stdout
    evaluation = json.loads(out.read_text())
    assert evaluation["model"] == "stand-in"
    assert evaluation["decoder"] == "greedy"
    assert evaluation["normalizer"] == "en-1"
    assert evaluation["domains"]["a"]["wer"] == 0
    assert evaluation["domains"]["b"]["wer"] == 0.5
    assert evaluation["micro"]["wer"] == pytest.approx(1 / 5)
    assert evaluation["audio_s_per_core_s"] > 0
    rows = [json.loads(line) for line in hypotheses.read_text().splitlines()]
    assert [(row["text"], row["pred_text"]) for row in rows] == [("One, two, THREE!", TEXT), ("four six", "four five")]


def test_evaluate_names_and_counts_bad_rows(stand_in: StandIn, manifest: Path) -> None:
    (manifest.parent / "text.wav").write_text("no audio")
    with manifest.open("a") as file:
        file.write('{"audio_filepath": "missing.wav", "duration": 1, "text": "x"}\n{"broken\n')
        file.write('{"audio_filepath": "text.wav", "duration": 1, "text": "x"}\n')
    result = run("evaluate", manifest, "--model", stand_in.path)
    assert result.exit_code == 1
    assert f"{manifest}:4: no audio file" in result.stderr
    assert f"{manifest}:5: not JSON" in result.stderr
    assert "text.wav: not audio" in result.stderr
    assert result.stderr.splitlines()[-1] == "3 of 5 rows failed"
    assert "micro" in result.stdout


def test_evaluate_with_nothing_to_do(stand_in: StandIn, tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("\n")
    result = run("evaluate", tmp_path / "empty.jsonl", "--model", stand_in.path)
    assert result.exit_code == 1
    assert "nothing to evaluate" in result.stderr


# info and doctor


def test_info_of_a_bundle(stand_in: StandIn) -> None:
    result = run("info", stand_in.path)
    assert result.exit_code == 0
    assert "stand-in (preset tiny)" in result.stdout
    assert "normaliser en-1" in result.stdout


def test_info_of_a_bundle_with_a_language_model(stand_in: StandIn, tmp_path: Path) -> None:
    (tmp_path / "words.bin").write_bytes(KENLM_MAGIC + b" format version 5\n\0")
    shutil.copytree(stand_in.path, tmp_path / "model")
    set_language_model(
        tmp_path / "model", tmp_path / "words.bin", {"alpha": 0.5, "beam_width": 50, "log_priors": [-1.0]}
    )
    assert "language model   lm.bin (0.0 MB); alpha 0.5, beam_width 50" in run("info", tmp_path / "model").stdout
    assert "language model" not in run("info", stand_in.path).stdout


def test_info_of_the_bundled_model(bundled_model: Path) -> None:
    result = run("info")
    assert result.exit_code == 0
    for word in ("parameters", "multiply-adds", "receptive field", "training", "WER %", "micro"):
        assert word in result.stdout


@pytest.mark.parametrize(("preset", "low", "high"), [("tiny", 4, 6), ("small", 25, 35), ("large", 60, 70)])
def test_info_of_a_preset(preset: str, low: float, high: float) -> None:
    pytest.importorskip("torch")
    result = run("info", preset)
    assert result.exit_code == 0
    n_millions = float(result.stdout.split("parameters")[1].split()[0])
    assert low <= n_millions <= high


def test_info_of_nothing(tmp_path: Path) -> None:
    result = run("info", tmp_path / "nothing")
    assert result.exit_code == 1
    assert "expected the folder of a model bundle" in result.stderr


def _with_reference(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Make the stand-in the bundled model, with a reference output; return that."""
    from silero_like import bundle
    from silero_like.runtime import Runtime

    reference = make_reference(Runtime(bundle.load_bundle(stand_in.path)))
    (stand_in.path / "reference.json").write_text(json.dumps(reference))
    bundle.write_checksums(stand_in.path)
    monkeypatch.setattr(bundle, "BUNDLED_PATH", stand_in.path)
    return reference


def test_doctor_of_a_sound_installation(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    _with_reference(stand_in, monkeypatch)
    result = run("doctor")
    assert result.exit_code == 0, result.stderr
    assert "stand-in: checksums good, reference output reproduced" in result.stdout
    for word in ("python", "cpu", "numpy", "onnxruntime", "[train]", "[video]"):
        assert word in result.stdout


def test_doctor_finds_a_model_that_computes_something_else(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    from silero_like import bundle

    reference = _with_reference(stand_in, monkeypatch)
    reference["log_probs_sum"] += 10_000
    (stand_in.path / "reference.json").write_text(json.dumps(reference))
    damaged = run("doctor")
    assert damaged.exit_code == 1
    assert "damaged or changed" in damaged.stderr
    bundle.write_checksums(stand_in.path)
    other = run("doctor")
    assert other.exit_code == 1
    assert "reference output DIFFERS" in other.stdout
    assert "log-probs differ" in other.stderr


def test_doctor_needs_no_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    requires = ["numpy>=2", 'sherpa-onnx>=1.12; extra == "sherpa-onnx"', "nothing-like-it; extra == 'a_b'"]
    monkeypatch.setattr("importlib.metadata.requires", lambda name: requires)
    packages = list(importlib.import_module("silero_like.cli.doctor")._requirements())
    assert packages == [("numpy", None), ("sherpa-onnx", "sherpa-onnx"), ("nothing-like-it", "a_b")]


def test_doctor_says_what_an_extra_needs(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.metadata

    version = importlib.metadata.version

    def without_av(name: str) -> str:
        if name == "av":
            raise importlib.metadata.PackageNotFoundError(name)
        return version(name)

    _with_reference(stand_in, monkeypatch)
    monkeypatch.setattr(importlib.metadata, "version", without_av)
    result = run("doctor")
    assert result.exit_code == 0
    assert "missing av: pip install 'silero_like[video]'" in result.stdout


@pytest.mark.parametrize(("flags", "said"), [("avx2 avx512_vnni", "the faster ones"), ("avx2", "no VNNI found")])
def test_doctor_says_what_int8_gives_here(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, flags: str, said: str
) -> None:
    module = importlib.import_module("silero_like.cli.doctor")
    _with_reference(stand_in, monkeypatch)
    (tmp_path / "cpuinfo").write_text(f"model name\t: A processor\nflags\t\t: {flags}\n")
    monkeypatch.setattr(module, "CPUINFO_PATH", tmp_path / "cpuinfo")
    assert said in run("doctor").stdout


def test_doctor_with_the_bundled_model(bundled_model: Path) -> None:
    assert "reference output reproduced" in run("doctor").stdout


def test_bundled_model_on_the_sample(bundled_model: Path) -> None:
    samples = Path(__file__).parents[2] / "samples"
    result = run("transcribe", samples / "audiobook.opus")
    assert result.exit_code == 0
    assert {"his", "the"} & set(result.stdout.split())


def test_a_lazy_command_is_the_function_of_its_module() -> None:
    context = click.Context(main)
    assert all(isinstance(main.get_command(context, name), click.Command) for name in COMMANDS)
