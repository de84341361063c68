"""How fast a recogniser is on this machine: measured, one core."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from silero_like.audio import SAMPLE_RATE, load_audio
from silero_like.bundle import Bundle
from silero_like.decoding import make_decoder
from silero_like.errors import AudioError, SileroLikeError
from silero_like.recognizer import Recognizer
from silero_like.runtime import Runtime
from silero_like.tokenizer import Tokenizer

Array = npt.NDArray[np.float32]

COMMAND = (sys.executable, "-c", "from silero_like.cli import main; main()")
"""The command `silero-like` of this installation, wherever its script is."""

SPEECH_PATH = Path(__file__).parent / "speech.ogg"
"""A sentence of 6.5 s (Mozilla Common Voice, CC0), to be recognised where there is no other speech."""

GRAPH_AUDIO_S = 15.0

# The peak that the kernel tells of a process includes that of its parent at the fork, so a small process lies between.
_LAUNCHER = """
import json, os, subprocess, sys, time
started = time.perf_counter()
process = subprocess.Popen(sys.argv[2:])
_, status, usage = os.wait4(process.pid, 0)
wall_s = time.perf_counter() - started
with open(sys.argv[1], "w") as file:
    json.dump([wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss], file)
sys.exit(status and 1)
"""


@dataclass(frozen=True)
class Run:
    """What a command gave and took."""

    output: str
    """Its standard output."""
    wall_s: float
    core_s: float
    """Processor time, that of its own processes included."""
    peak_mb: float
    """Largest resident memory of one process, in 10^6 bytes."""


@dataclass(frozen=True)
class FileSpeed:
    """How fast a file becomes text."""

    audio_s_per_core_s: float
    """With the model loaded."""
    cold_start_s: float
    """Wall time of the command for it."""


def run_command(arguments: Sequence[str | Path]) -> Run:
    """Run ``silero-like`` with some arguments in a process of its own.

    Raises:
        SileroLikeError: it failed.
    """
    with tempfile.NamedTemporaryFile() as figures:
        launched = [sys.executable, "-IS", "-c", _LAUNCHER, figures.name, *COMMAND, *map(str, arguments)]
        process = subprocess.run(launched, capture_output=True, text=True, check=False)
        if process.returncode:
            raise SileroLikeError(process.stderr.strip() or f"it ended with code {process.returncode}")
        wall_s, core_s, max_rss = json.loads(Path(figures.name).read_text())
    scale = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss
    return Run(process.stdout, wall_s, core_s, max_rss * scale / 1e6)


def cold_start_s(source: str | Path, options: Sequence[str] = (), repeats: int = 3) -> float:
    """Return the wall time of the command on one file, process start included: the best of several."""
    return min(run_command(["transcribe", source, *options]).wall_s for _ in range(repeats))


def time_core(work: Callable[[], object], repeats: int = 5) -> float:
    """Return the processor time of some work: the median of several times, after one that does not count."""
    return _median(work, repeats, time.process_time)


def time_wall(work: Callable[[], object], repeats: int = 5) -> float:
    """Return the wall time of some work, as `time_core` does."""
    return _median(work, repeats, time.perf_counter)


def graph_speed(runtime: Runtime, audio_s: float = GRAPH_AUDIO_S, repeats: int = 5) -> float:
    """Return seconds of audio a core-second of a model alone, on noise: what is said makes no difference to it."""
    waveform = noise_batch(audio_s)["waveform"][0]
    return audio_s / time_core(lambda: runtime.log_probs(waveform), repeats)


def file_speeds(bundle: Bundle, path: Path, decoder: str, repeats: int = 5) -> FileSpeed:
    """Measure one file; each time the search begins with nothing remembered, as for speech it has not met."""
    tokenizer, runtime = Tokenizer(bundle.tokenizer_path), Runtime(bundle)
    times, audio_s = [], 0.0
    for _ in range(repeats):
        recognizer = Recognizer(runtime, tokenizer, make_decoder(decoder, bundle, tokenizer))
        started = time.process_time()
        audio_s = recognizer.transcribe(path).duration
        times.append(time.process_time() - started)
    options = ["--model", str(bundle.path), "--decoder", decoder]
    return FileSpeed(audio_s / statistics.median(times), cold_start_s(path, options))


def write_excerpt(source: Path, target: Path, duration_s: float) -> Path:
    """Write the beginning of a recording as FLAC, 16 kHz; a shorter one is repeated.

    Raises:
        AudioError: as `load_audio`; no samples.
    """
    waveform = load_audio(source, duration_s=duration_s)
    if not len(waveform):
        raise AudioError(f"{source}: expected speech, found no samples: name another recording")
    soundfile.write(target, np.resize(waveform, round(duration_s * SAMPLE_RATE)), SAMPLE_RATE)
    return target


def noise_batch(audio_s: float) -> dict[str, npt.NDArray[np.generic]]:
    """Return what a graph takes: `waveform` `(1, N)` and `lengths` `(1,)`."""
    n_samples = int(audio_s * SAMPLE_RATE)
    waveform = np.random.default_rng(0).standard_normal((1, n_samples)).astype(np.float32) * np.float32(0.1)
    return {"waveform": waveform, "lengths": np.array([n_samples])}


def _median(work: Callable[[], object], repeats: int, clock: Callable[[], float]) -> float:
    work()
    times = []
    for _ in range(repeats):
        started = clock()
        work()
        times.append(clock() - started)
    return statistics.median(times)
