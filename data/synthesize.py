"""Speech from text, by the program espeak-ng: a robot's voice, for smoke tests and a narration domain."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import soundfile

from data.manifest import Utterance
from silero_like.errors import AudioError, MissingExtraError

PROGRAM = "espeak-ng"
VOICES: Mapping[str, tuple[str, ...]] = {
    "en": ("en-us", "en-gb+f2", "en-us+m3", "en-gb-scotland+f4"),
    "ru": ("ru", "ru+f2", "ru+m3", "ru+f4"),
    "zh": ("cmn", "cmn+f2", "cmn+m3", "cmn+f4"),
}
"""Language -> voices; what follows the plus is espeak-ng's variant: men, women."""
SPEEDS = (130, 160, 190)
"""Words a minute."""
DOMAIN = "narration"


@dataclass(frozen=True)
class Line:
    """A text and who is to say it."""

    text: str
    voice: str
    speed: int

    @property
    def name(self) -> str:
        """The recording's file name: it follows from the rest, so that a second run finds it."""
        digest = hashlib.sha256(f"{self.voice}\n{self.speed}\n{self.text}".encode()).hexdigest()
        return f"{digest[:20]}.wav"


def check_program() -> None:
    """Look for espeak-ng.

    Raises:
        MissingExtraError: it is not installed.
    """
    if shutil.which(PROGRAM) is None:
        raise MissingExtraError(f"{PROGRAM} is not installed: apt install espeak-ng, or brew install espeak-ng")


def deal(texts: Sequence[str], voices: Sequence[str], speeds: Sequence[int]) -> list[Line]:
    """Give each text a voice and a speed, in turn, so that all pairs of them come up equally often.

    >>> [(line.voice, line.speed) for line in deal(["a", "b", "c"], ["x", "y"], [1, 2])]
    [('x', 1), ('y', 1), ('x', 2)]
    """
    pairs = [(voice, speed) for speed in speeds for voice in voices]
    return [Line(text, *pairs[number % len(pairs)]) for number, text in enumerate(texts)]


def synthesize(line: Line, folder: Path, lang: str) -> Utterance:
    """Speak a line into a file of the folder, unless it is there already.

    Raises:
        AudioError: espeak-ng failed, or wrote nothing.
    """
    path = folder / line.name
    if not path.exists():
        temporary = path.with_name(f".{path.name}")
        command = [PROGRAM, "-v", line.voice, "-s", str(line.speed), "-w", str(temporary), "--stdin"]
        process = subprocess.run(command, input=line.text.encode(), capture_output=True, check=False)
        said = process.stderr.decode(errors="replace").strip().splitlines()[-1:]
        if process.returncode or not temporary.exists():
            raise AudioError(": ".join([f"{PROGRAM} -v {line.voice} ended with code {process.returncode}", *said]))
        temporary.replace(path)
    duration_s = soundfile.info(str(path)).duration
    if not duration_s:
        raise AudioError(f"{PROGRAM} -v {line.voice} says nothing for {line.text!r}: is it in {lang}?")
    return Utterance(
        audio_path=path.absolute(),
        duration_s=round(duration_s, 3),
        text=line.text,
        speaker=f"{PROGRAM}-{line.voice}-{line.speed}",
        domain=DOMAIN,
        lang=lang,
        source=PROGRAM,
        annotation="synthetic",
    )
