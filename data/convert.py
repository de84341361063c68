"""Re-encode the utterances of a manifest, each into a file of its own: in threads, and never twice.

A line of ``.converted`` in the output folder says of each file what it was made from. It is written when the file is
complete, so that a run that was killed goes on where it stopped, and a recording that has changed is done again.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import soxr

from data.manifest import Refusal, Utterance, manifest_writer, write_whole
from data.parallel import ordered_map
from data.store import Samples, decode
from data.summary import Summary, good_rows
from silero_like.audio import SAMPLE_RATE
from silero_like.errors import ConfigError, SileroLikeError

JOURNAL = ".converted"
FORMATS = {
    "opus": {"format": "OGG", "subtype": "OPUS"},
    "flac": {"format": "FLAC", "subtype": "PCM_16"},
    "wav": {"format": "WAV", "subtype": "PCM_16"},
}
"""Name, which is the ending too -> what libsndfile calls it."""

_BLOCK = 1 << 16  # samples written at a time: encoders of libsndfile have failed on minutes at once


@dataclass(frozen=True, kw_only=True)
class Target:
    """What recordings become."""

    out_dir: Path
    """Folder of the files and of the manifest."""
    format: str
    """One of `FORMATS`."""
    rate: int = SAMPLE_RATE
    """Hz."""


class _WriteError(ConfigError):
    """The output folder takes no more."""


class Made(NamedTuple):
    """What the journal says of a file."""

    row: str
    """Digest of the recording's path and the stretch."""
    state: str
    """Digest of that, the recording's size and time, and the rate."""
    n_bytes: int
    n_samples: int


@dataclass(frozen=True)
class Converted:
    """What became of an utterance."""

    utterance: Utterance
    """With its new file."""
    line: str
    """Of the journal; "" when the file was there already."""


def convert_manifest(
    manifest: Path, target: Target, jobs: int, advance: Callable[[Summary], None] = lambda _: None
) -> Summary:
    """Write the utterances of a manifest, and a manifest of them with the same name.

    Args:
        manifest: of any length.
        target: what to make of its recordings; `Summary.changed` counts those that were not there already.
        jobs: threads that decode and encode.
        advance: called after each row.

    Raises:
        ConfigError: the manifest lies in the output folder, or writing failed.
        ManifestError: the manifest cannot be read.
    """
    out = target.out_dir / manifest.name
    if out.resolve() == manifest.resolve():
        raise ConfigError(f"{manifest}: lies in {target.out_dir} itself: name another output folder")
    summary, names = Summary(), set[int]()
    target.out_dir.mkdir(parents=True, exist_ok=True)
    done = _read_journal(target.out_dir / JOURNAL)
    folder = manifest.parent.resolve()

    def work(item: tuple[Utterance, Path] | Refusal) -> Converted | Refusal:
        return item if isinstance(item, Refusal) else _convert(*item, target, done)

    def items() -> Iterator[tuple[Utterance, Path] | Refusal]:
        for utterance in good_rows(manifest, summary):
            path = target.out_dir / target_name(utterance, folder, target.format)
            if hash(path) in names:
                where = f"{utterance.audio_path}, {utterance.offset_s} s"
                yield Refusal(where=where, kind="another row has its file", detail=f" {path}: rename the recording")
            else:
                names.add(hash(path))
                yield utterance, path

    with manifest_writer(out) as write, (target.out_dir / JOURNAL).open("a", encoding="utf-8") as journal:
        for _, result in ordered_map(work, items(), jobs):
            if isinstance(result, Refusal):
                summary.refuse(result)
            else:
                journal.write(result.line)
                journal.flush()
                write(result.utterance)
                summary.keep(result.utterance)
                summary.changed += bool(result.line)
            advance(summary)
    return summary


def target_name(utterance: Utterance, folder: Path, suffix: str) -> Path:
    """Return where an utterance goes below the output folder: as below its manifest's, parts with their times.

    >>> row = Utterance(audio_path=Path("/d/a/b.wav"), duration_s=2.5, offset_s=60, text="x")
    >>> target_name(row, Path("/d"), "opus").as_posix()
    'a/b-60.000-2.500.opus'
    """
    path = utterance.audio_path
    if path.is_relative_to(folder):
        parent = path.parent.relative_to(folder)
    else:
        parent = Path(f"{path.parent.name}-{hashlib.sha256(os.fsencode(path.parent)).hexdigest()[:8]}")
    part = f"-{utterance.offset_s:.3f}-{utterance.duration_s:.3f}" if utterance.offset_s else ""
    return parent / f"{path.stem}{part}.{suffix}"


def _convert(utterance: Utterance, path: Path, target: Target, done: dict[str, Made]) -> Converted | Refusal:
    """Write a file unless it is there."""
    try:
        stat = utterance.audio_path.stat()
        row = _digest(utterance.audio_path, utterance.offset_s, utterance.duration_s)
        state = _digest(row, stat.st_size, stat.st_mtime_ns, target.rate)
        made, line = done.get(_digest(path)), ""
        if made and made.row != row and path.is_file():
            detail = f" {path}: use another output folder, or delete it"
            return Refusal(where=str(utterance.audio_path), kind="another row has its file", detail=detail)
        if not (made and made.state == state and path.is_file() and path.stat().st_size == made.n_bytes):
            samples = decode(utterance)
            if target.rate != SAMPLE_RATE:
                samples = soxr.resample(samples, SAMPLE_RATE, target.rate)
            made = Made(row, state, _write(path, samples, target), len(samples))
            line = f"{_digest(path)} {row} {state} {made.n_bytes} {made.n_samples}\n"
    except _WriteError:
        raise
    except (SileroLikeError, OSError) as error:
        return Refusal(where=str(utterance.audio_path), kind="audio cannot be read", detail=f": {error}")
    return Converted(replace(utterance, audio_path=path, offset_s=0.0, duration_s=made.n_samples / target.rate), line)


def _digest(*parts: object) -> str:
    """Return what tells things apart, in 16 letters."""
    text = "\n".join(map(str, parts))
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _write(path: Path, samples: Samples, target: Target) -> int:
    """Write int16 `(N,)`, whole or not at all; return the bytes of the file."""
    try:
        with write_whole(path) as temporary:
            with soundfile.SoundFile(temporary, "w", target.rate, 1, **FORMATS[target.format]) as sound:
                for block in np.split(samples, range(_BLOCK, len(samples), _BLOCK)):
                    sound.write(block)
            return temporary.stat().st_size
    except (OSError, soundfile.SoundFileError) as error:
        raise _WriteError(
            f"{path}: cannot write ({error}): free some space or use another disk, and start again; what is done stays"
        ) from error


def _read_journal(path: Path) -> dict[str, Made]:
    """Read what was done: digest of a file's path -> what it was made from. A torn last line is ended."""
    done: dict[str, Made] = {}
    if not path.exists():
        return done
    data = path.read_text(encoding="utf-8", errors="replace")
    if data and not data.endswith("\n"):
        with path.open("a", encoding="utf-8") as file:
            file.write("\n")
    for line in data.splitlines():
        name, *about = line.split(" ")
        if len(about) == 4 and all(map(str.isdecimal, about[2:])):
            done[name] = Made(about[0], about[1], int(about[2]), int(about[3]))
    return done
