"""From file to text on one core: speed, start-up, processes, and where the time of a second of audio goes.

    python -m benchmarks.end_to_end                       # needs the corpus, and the extras [dev] and [peers]
    python -m benchmarks.end_to_end --utterances 20 --jobs-audio-s 600 --json end_to_end.json
    python -m benchmarks.end_to_end --engines sherpa-onnx:models/nemo

All systems read the same files: dev utterances as FLAC and Opus of 16 kHz, and as Opus of 48 kHz. Speed is in seconds
of audio for a second of processor time, loading the model not counted. Then these files, again and again, are
transcribed by the command with one process and with two (its default decoder, start-up included). That, cold start
(the command on a file of 10 s, in a process of its own) and warm (a later call in Python) are in wall time, for which
the machine must be idle. What is asked for stands at the end, with what was measured.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import onnx
import soxr

from benchmarks.acoustic_model import core_s, frontend_of
from benchmarks.machine import bar, machine_lines, write_figures
from benchmarks.speech import read_utterances, read_waveform, repeated, write_sound
from silero_like import load
from silero_like.audio import SAMPLE_RATE, load_audio
from silero_like.batching import transcribe_batch
from silero_like.bundle import BUNDLED_PATH, load_bundle
from silero_like.cli.evaluate_systems import PEERS, EngineSystem, Recognised, System
from silero_like.engines import open_engine, parse_source
from silero_like.errors import MissingExtraError
from silero_like.recognizer import Recognizer
from silero_like.speed import cold_start_s, run_command, time_core, time_wall

Array = npt.NDArray[np.float32]
Item = TypeVar("Item")

WIDE_RATE = 48000
FORMATS = {"flac": ("flac", SAMPLE_RATE), "opus": ("opus", SAMPLE_RATE), "opus48": ("opus", WIDE_RATE)}
"""Suffix and sample rate of what the speech is written as. To decode Opus of 48 kHz alone costs more than greedy
recognition, so its speed is shown, but the bars are for the other two."""
SHORT_S = 10.0


@dataclass(frozen=True)
class Files:
    """The same speech in several formats."""

    paths: dict[str, list[str]]
    audio_s: float


def main() -> None:
    """Parse arguments, measure, print tables and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--manifests", nargs="*", type=Path, default=[], help="[default: the English dev sets]")
    parser.add_argument("--utterances", type=int, default=40, help="evenly spread [default: 40]")
    parser.add_argument("--jobs-audio-s", type=float, default=3000.0, help="audio for the processes [default: 3000]")
    parser.add_argument("--model", default=str(BUNDLED_PATH), help="a bundle [default: the bundled model]")
    parser.add_argument("--engines", nargs="*", default=[], help="others, as `evaluate --model` spells them")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    arguments = parser.parse_args()
    waveforms = [read_waveform(row) for row in read_utterances(arguments.manifests, arguments.utterances)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = write_files(waveforms, folder)
        print(f"{len(waveforms)} utterances, {files.audio_s:.0f} s of audio")
        ours = {decoder: load(arguments.model, decoder=decoder) for decoder in ("greedy", "beam")}
        speeds = measure_systems(ours, files, arguments.engines)
        costs = breakdown(ours["beam"], load_bundle(arguments.model).model_path, waveforms, files)
        starts = measure_starts(ours, waveforms, arguments.model, folder)
        jobs = measure_jobs(files, arguments.jobs_audio_s, arguments.model, folder)
    print(f"two jobs: {jobs['1'] / jobs['2']:.2f} times as fast as one ({jobs['1']:.1f} s, {jobs['2']:.1f} s)")
    bars = check_bars(speeds, starts, jobs)
    print(
        "published elsewhere, s of audio a core-second:",
        *(f"  {name:24}{rate:6}" for name, rate in PUBLISHED.items()),
        sep="\n",
    )
    print(*bars, machine_lines(), sep="\n")
    figures = {"audio_s": files.audio_s, "audio_s_per_core_s": speeds, "core_ms_per_audio_s": costs}
    write_figures(
        arguments.json, {**figures, "start_wall_s": starts, "jobs_wall_s": jobs, "published": PUBLISHED, "bars": bars}
    )


def write_files(waveforms: Sequence[Array], folder: Path) -> Files:
    """Write each waveform in each format."""
    paths: dict[str, list[str]] = {}
    for kind, (suffix, rate) in FORMATS.items():
        (folder / kind).mkdir()
        paths[kind] = [
            str(write_sound(folder / kind / f"{number:04}.{suffix}", [soxr.resample(each, SAMPLE_RATE, rate)], rate))
            for number, each in enumerate(waveforms)
        ]
    return Files(paths, sum(map(len, waveforms)) / SAMPLE_RATE)


def measure_systems(ours: dict[str, Recognizer], files: Files, engines: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return seconds of audio a core-second of each system with each format; a peer that is not installed is told."""
    found: dict[str, dict[str, float]] = {}
    print(f"{'s of audio a core-second':26}" + "".join(f"{kind:>8}" for kind in FORMATS))
    for name, recognizer in ours.items():
        found[f"ours, {name}"] = speeds_of(partial(transcribe_batch, recognizer), files, repeats=3)
        print(format_speeds(f"ours, {name}", found[f"ours, {name}"]), flush=True)
    others: dict[str, Callable[[], System]] = {**PEERS, **{text: partial(_open_other, text) for text in engines}}
    for name, peer in others.items():
        try:
            system = peer()
        except MissingExtraError as error:
            print(f"{name}: {error}")
            continue
        found[name] = speeds_of(partial(_transcribe_alone, system), files, repeats=1)
        print(format_speeds(name, found[name]), flush=True)
    return found


def speeds_of(transcribe: Callable[[Sequence[str]], object], files: Files, repeats: int) -> dict[str, float]:
    """Time a system on all files of each format, after one file that does not count."""
    speeds = {}
    for kind, paths in files.paths.items():
        transcribe(paths[:1])
        started = time.process_time()
        for _ in range(repeats):
            transcribe(paths)
        speeds[kind] = repeats * files.audio_s / (time.process_time() - started)
    return speeds


def breakdown(recognizer: Recognizer, model_path: Path, waveforms: Sequence[Array], files: Files) -> dict[str, float]:
    """Return milliseconds of processor time for a second of audio, stage by stage."""
    log_probs = [recognizer.runtime.log_probs(waveform) for waveform in waveforms]
    alignments = [recognizer.decoder.decode_parts([rows]).alignment for rows in log_probs]
    wide = [np.zeros(WIDE_RATE // SAMPLE_RATE * len(waveform), np.float32) for waveform in waveforms]
    frontend = frontend_of(onnx.load(model_path)).SerializeToString()
    model_s = _time_each(recognizer.runtime.log_probs, waveforms)
    frontend_s = files.audio_s / SHORT_S * core_s(frontend, SHORT_S)
    resample_s = _time_each(lambda waveform: soxr.resample(waveform, WIDE_RATE, SAMPLE_RATE), wide)
    seconds = {
        "decode FLAC": _time_each(load_audio, files.paths["flac"]),
        "decode Opus": _time_each(load_audio, files.paths["opus"]),
        "decode Opus of 48 kHz": _time_each(load_audio, files.paths["opus48"]) - resample_s,
        "resample from 48 kHz": resample_s,
        "frontend": frontend_s,
        "encoder": model_s - frontend_s,
        "beam search, alignment": _time_each(lambda rows: recognizer.decoder.decode_parts([rows]), log_probs),
        "words": _time_each(lambda alignment: recognizer.transcript(alignment, SHORT_S), alignments),
    }
    costs = {name: 1000 * each / files.audio_s for name, each in seconds.items()}
    print("milliseconds of processor time for a second of audio")
    for name, cost in costs.items():
        print(f"  {name:24} {cost:6.2f}")
    return costs


def measure_starts(
    ours: dict[str, Recognizer], waveforms: Sequence[Array], model: str, folder: Path
) -> dict[str, float]:
    """Return the wall time of 10 s of speech: by the command from its start, and by a second call in Python."""
    waveform = np.concatenate(list(repeated(waveforms, SHORT_S)))
    path = write_sound(folder / "short.flac", [waveform])
    found = {}
    for name, recognizer in ours.items():
        found[f"cold, {name}"] = cold_start_s(path, ["--model", model, "--decoder", name])
        found[f"warm, {name}"] = time_wall(partial(recognizer.transcribe, str(path)), repeats=20)
    for name, wall_s in found.items():
        print(f"{SHORT_S:.0f} s of speech, {name:12} {1000 * wall_s:6.0f} ms")
    return found


PUBLISHED = {
    "Citrinet-512, 36 M": 2.8,
    "Conformer-CTC, 30 M": 12.0,
    "Moonshine tiny, int8": 31.0,
    "Paraformer, 68 M, int8": 37.0,
}
"""Seconds of audio a core-second in the documents of sherpa and FunASR: other machines and other speech."""


def measure_jobs(files: Files, audio_s: float, model: str, folder: Path) -> dict[str, float]:
    """Return the wall time of the command with one process and with two; their output must be the same."""
    paths = []
    for number, path in enumerate(files.paths["flac"] * max(1, round(audio_s / files.audio_s))):
        paths.append(folder / f"again-{number}.flac")  # the command takes a file once, however often it is named
        os.link(path, paths[-1])
    runs = {jobs: run_command(["transcribe", *paths, "--model", model, "--jobs", jobs]) for jobs in ("1", "2")}
    if runs["1"].output != runs["2"].output:
        raise SystemExit("two processes gave another output than one")
    return {jobs: run.wall_s for jobs, run in runs.items()}


def check_bars(speeds: dict[str, dict[str, float]], starts: dict[str, float], jobs: dict[str, float]) -> list[str]:
    """Compare with what is asked for, as far as it was measured; the slower of FLAC and Opus counts."""
    slowest = {name: min(each["flac"], each["opus"]) for name, each in speeds.items()}
    beam = slowest["ours, beam"]
    bars = [
        bar("s of audio a core-second, beam", beam, at_least=150),
        bar("s of audio a core-second, greedy", slowest["ours, greedy"], at_least=300),
        bar("times the speed with two jobs", jobs["1"] / jobs["2"], at_least=1.8),
        bar("s from a cold start, 10 s of speech", starts["cold, beam"], at_most=1.2),
        bar("s warm, 10 s of speech", starts["warm, beam"], at_most=0.06),
    ]
    for name, times in (("pocketsphinx", 25), ("moonshine-tiny", 8)):
        if name in slowest:
            bars.append(bar(f"times the speed of {name}, beam", beam / slowest[name], at_least=times))
    return bars


def format_speeds(name: str, speeds: dict[str, float]) -> str:
    """Return a line of the table."""
    return f"{name:26}" + "".join(f"{speed:8.1f}" for speed in speeds.values())


def _open_other(text: str) -> System:
    return EngineSystem(open_engine(parse_source(text)))


def _transcribe_alone(system: System, paths: Sequence[str]) -> list[Recognised]:
    return [system.transcribe(load_audio(path)) for path in paths]


def _time_each(work: Callable[[Item], object], items: Sequence[Item]) -> float:
    return time_core(lambda: [work(item) for item in items])


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
