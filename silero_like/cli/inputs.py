"""What the INPUT arguments name: files, folders, globs, standard input; and where their transcripts go."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

GROUP_FILES = 32
"""Files read together; enough to find several of similar length among them."""
GROUP_BYTES = 4 << 20
"""Bytes of them: two minutes of 16 kHz WAV, more of other formats, so that no transcript waits long for others."""


@dataclass(frozen=True)
class Recording:
    """One recording to transcribe."""

    source: str
    """Path, or "-" for standard input."""
    name: Path
    """Path relative to the folder or glob that named it: what its transcript is called."""


def find_recordings(inputs: Sequence[str]) -> tuple[list[Recording], list[str]]:
    """Expand INPUT arguments, in their order, each file once.

    Returns:
        the recordings, and one message for each argument that names nothing. A file that does not exist is not looked
        for here: reading it says so.
    """
    found: dict[str, Recording] = {}
    problems = []
    for text in inputs:
        recordings = list(_expand(text))
        if not recordings:
            what = "no audio file in this folder" if os.path.isdir(text) else "nothing matches this pattern"
            problems.append(f"{text}: {what}")
        for recording in recordings:
            key = "-" if recording.source == "-" else os.path.abspath(recording.source)
            found.setdefault(key, recording)
    return list(found.values()), problems


def grouped(recordings: Sequence[Recording], n_jobs: int) -> list[list[Recording]]:
    """Divide recordings, in their order, into groups that are read and recognised together; a large file is alone."""
    n_files = min(GROUP_FILES, -(-len(recordings) // n_jobs))
    groups: list[list[Recording]] = []
    n_bytes = 0
    for recording in recordings:
        is_file = os.path.isfile(recording.source)  # a pipe may take its time: it is alone too
        size = os.path.getsize(recording.source) if is_file else GROUP_BYTES + 1
        if not groups or len(groups[-1]) == n_files or n_bytes + size > GROUP_BYTES:
            groups.append([])
            n_bytes = 0
        groups[-1].append(recording)
        n_bytes += size
    return groups


def output_paths(recordings: Sequence[Recording], output_dir: Path, suffix: str) -> list[Path]:
    """Name a transcript for each recording: its name with `suffix`, after its own where names would meet otherwise.

    Raises:
        click.UsageError: two recordings would still be written to one file.
    """
    short = [recording.name.with_suffix(suffix) for recording in recordings]
    n_same = Counter(short)
    names = [
        name if n_same[name] == 1 else recording.name.with_name(recording.name.name + suffix)
        for name, recording in zip(short, recordings, strict=True)
    ]
    for name, count in Counter(names).items():
        if count > 1:
            same = [recording.source for recording, other in zip(recordings, names, strict=True) if other == name]
            raise click.UsageError(
                f"{' and '.join(same[:2])} would both be written to {output_dir / name}: "
                "name the folder that holds both, or use two output folders"
            )
    return [output_dir / name for name in names]


def _expand(text: str) -> Iterator[Recording]:
    if text == "-":
        yield Recording("-", Path("stdin"))
    elif os.path.isdir(text):
        yield from _in_folder(Path(text), Path(text))
    elif glob.has_magic(text) and not os.path.lexists(text):
        base = _fixed_part(text)
        for match in sorted(glob.glob(text, recursive=True)):
            if os.path.isdir(match):
                yield from _in_folder(Path(match), base)
            else:
                yield Recording(match, Path(match).relative_to(base))
    else:
        yield Recording(text, Path(Path(text).name))


def _in_folder(folder: Path, base: Path) -> Iterator[Recording]:
    """Yield the audio files below a folder, sorted, without hidden ones."""
    from silero_like.audio import AUDIO_SUFFIXES

    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix.lower() in AUDIO_SUFFIXES and not hidden and path.is_file():
            yield Recording(str(path), path.relative_to(base))


def _fixed_part(pattern: str) -> Path:
    """Return the folders of a pattern before its first wildcard."""
    parts = Path(pattern).parts
    first = next(index for index, part in enumerate(parts) if glob.has_magic(part))
    return Path(*parts[:first])
