"""What `evaluate` can measure beside a file of transcripts: our models, two public recognisers, any command."""

from __future__ import annotations

import resource
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from silero_like.errors import MissingExtraError, SileroLikeError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from silero_like.engines import Engine

    Array = npt.NDArray[np.float32]

SAMPLE_RATE = 16000
PLACEHOLDER = "{audio}"


@dataclass(frozen=True)
class Recognised:
    """What a system heard, and how sure it is of it, if it says."""

    text: str
    confidence: float | None = None
    word_confidences: tuple[float, ...] = ()


class System(Protocol):
    """A recogniser to be measured."""

    @property
    def name(self) -> str:
        """What results call it."""

    @property
    def decoder(self) -> str:
        """How it searches, as far as one can tell."""

    def transcribe(self, waveform: Array) -> Recognised:
        """Recognise float32 `(N,)`, mono, 16 kHz, in [-1, 1]."""


class EngineSystem:
    """A model of ours, or one of another engine.

    Args:
        engine: it.
        decoder: how it searches.
    """

    def __init__(self, engine: Engine, decoder: str = "its own") -> None:
        self.name, self.decoder, self._engine = engine.name, decoder, engine

    def transcribe(self, waveform: Array) -> Recognised:
        transcript = self._engine.transcribe_chunks([waveform])
        if isnan(transcript.confidence):
            return Recognised(transcript.text)
        return Recognised(transcript.text, transcript.confidence, tuple(w.confidence for w in transcript.words))


def pocketsphinx() -> System:
    """Open PocketSphinx with its own English model and its own settings."""
    from silero_like.engines import POCKETSPHINX, ModelSource, open_engine

    return EngineSystem(open_engine(ModelSource(POCKETSPHINX, None)))


class Moonshine:
    """Moonshine tiny (English) as its package runs it, voice activity detection included."""

    name, decoder = "moonshine-tiny", "its own"

    def __init__(self) -> None:
        try:
            import moonshine_voice as package
        except ModuleNotFoundError as error:
            raise MissingExtraError("Moonshine tiny is not installed: pip install 'silero_like[peers]'") from error
        path = Path(str(package.__file__)).parent / "assets" / "tiny-en"
        if not path.is_dir():
            raise MissingExtraError(f"no model at {path}: its wheel carries one only in moonshine-voice==0.0.49")
        self._transcriber: Any = package.Transcriber(str(path), package.ModelArch.TINY)

    def transcribe(self, waveform: Array) -> Recognised:
        lines = self._transcriber.transcribe_without_streaming(waveform.tolist(), SAMPLE_RATE).lines
        return Recognised(" ".join(line.text.strip() for line in lines))


class Command:
    """Any recogniser that is given a WAV file (16 kHz, mono, PCM16) and prints what it hears.

    Args:
        line: a command line, `{audio}` standing for the file; no shell reads it.

    Raises:
        SileroLikeError: no `{audio}` in it, an open quotation, or a program that is not there.
    """

    decoder = "its own"

    def __init__(self, line: str) -> None:
        if PLACEHOLDER not in line:
            raise SileroLikeError(f"expected {PLACEHOLDER} in the command, for the recording's path, got: {line}")
        try:
            self.name, self._arguments = line, shlex.split(line)
        except ValueError as error:
            raise SileroLikeError(f"expected a command line, got: {line}: {error}") from error
        if shutil.which(self._arguments[0]) is None:
            raise SileroLikeError(f"expected a program, found none of the name {self._arguments[0]}: check the path")

    def transcribe(self, waveform: Array) -> Recognised:
        import soundfile

        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "utterance.wav")
            soundfile.write(path, waveform, SAMPLE_RATE, subtype="PCM_16")
            arguments = [argument.replace(PLACEHOLDER, path) for argument in self._arguments]
            process = subprocess.run(arguments, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        if process.returncode:
            last = process.stderr.decode(errors="replace").strip().splitlines()[-1:]
            raise ChildProcessError(": ".join([f"{arguments[0]} ended with code {process.returncode}", *last]))
        return Recognised(" ".join(process.stdout.decode("utf-8", "replace").split()))


PEERS: dict[str, Callable[[], System]] = {"pocketsphinx": pocketsphinx, Moonshine.name: Moonshine}


def core_seconds() -> float:
    """Return the processor time of this process and of the commands that it ran to the end."""
    parts = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(part.ru_utime + part.ru_stime for part in parts)
