"""What the INPUT arguments name: files, folders, globs, lists, addresses; and where their transcripts go."""

from __future__ import annotations

import codecs
import contextlib
import glob
import hashlib
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

import click

GROUP_FILES = 32
"""Files read together; enough to find several of similar length among them."""
GROUP_BYTES = 4 << 20
"""Bytes of them: two minutes of 16 kHz WAV, more of other formats, so that no transcript waits long for others."""


@dataclass(frozen=True)
class Recording:
    """One recording to transcribe."""

    source: str
    """Path, address, or "-" for standard input."""
    name: Path
    """Path relative to the folder or glob that named it: what its transcript is called."""


@dataclass(frozen=True)
class Problem:
    """An argument, or a line of a list, that names nothing."""

    source: str
    message: str
    """With the source."""


def find_recordings(inputs: Sequence[str]) -> tuple[list[Recording], list[Problem]]:
    """Expand INPUT arguments, in their order, each file once.

    Returns:
        the recordings, and what names nothing. A file that does not exist is not looked for here: reading it says so.
    """
    found: dict[str, Recording] = {}
    problems: list[Problem] = []
    for text in inputs:
        is_list = text.startswith("@") and not os.path.lexists(text)
        for recording in _expand_list(text, problems) if is_list else _expand(text, problems):
            plain = recording.source == "-" or is_url(recording.source)
            found.setdefault(recording.source if plain else os.path.abspath(recording.source), recording)
    return list(found.values()), problems


@contextlib.contextmanager
def opened(recording: Recording, *, reread: bool) -> Iterator[str | BinaryIO]:
    """Give what audio can be read from: a path, "-", or a temporary file with what an address holds.

    Args:
        recording: of which standard input or a pipe is copied to a temporary file, too, if it is read more than once.
        reread: whether it is.

    Raises:
        AudioError: an address cannot be fetched.
        OSError: a pipe cannot be read, or there is no room for the temporary file.
    """
    import shutil
    import tempfile

    from silero_like.remote_audio import fetch_audio

    source = recording.source
    if is_url(source):
        with fetch_audio(source) as file:
            yield file
    elif reread and (source == "-" or (os.path.exists(source) and not os.path.isfile(source))):
        spool: Any = tempfile.TemporaryFile()  # noqa: SIM115 (closed below)
        with spool, contextlib.ExitStack() as closing:
            stream = sys.stdin.buffer if source == "-" else closing.enter_context(open(source, "rb"))
            shutil.copyfileobj(stream, spool)
            spool.raw.name = "standard input" if source == "-" else source  # what messages call it
            yield spool
    else:
        yield source


def is_url(text: str) -> bool:
    """Tell whether an input is an address rather than a path."""
    return text.lower().startswith(("http://", "https://"))


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
    """Name a transcript for each recording: its name with `suffix`, or a longer one where names would meet otherwise.

    Raises:
        click.UsageError: two recordings would still be written to one file.
    """
    others = [_names(recording, suffix) for recording in recordings]
    names = [rest.pop(0) for rest in others]
    while True:
        n_same = Counter(names)
        clashing = [number for number, name in enumerate(names) if n_same[name] > 1 and others[number]]
        if not clashing:
            break
        for number in clashing:
            names[number] = others[number].pop(0)
    for name, count in Counter(names).items():
        if count > 1:
            same = [recording.source for recording, other in zip(recordings, names, strict=True) if other == name]
            raise click.UsageError(
                f"{' and '.join(same[:2])} would both be written to {output_dir / name}: "
                "name the folder that holds both, or use two output folders"
            )
    return [output_dir / name for name in names]


def _names(recording: Recording, suffix: str) -> list[Path]:
    """Return what a transcript may be called, the shortest first; addresses that end alike get a part of their hash."""
    name, tag = recording.name, hashlib.sha256(os.fsencode(recording.source)).hexdigest()[:8]
    names = [name.with_suffix(suffix), name.with_name(name.name + suffix)]
    return names + [name.with_name(f"{name.name}-{tag}{suffix}")] * is_url(recording.source)


def _expand_list(name: str, problems: list[Problem]) -> Iterator[Recording]:
    """Yield what the lines of a list name; "@-" is a list on standard input."""
    try:
        data = sys.stdin.buffer.read() if name == "@-" else Path(name[1:]).read_bytes()
    except OSError as error:
        problems.append(Problem(name, f"{name}: cannot read this list ({error.strerror}): check the path"))
        return
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        data = data.decode("utf-16", "replace").encode()
    if not data.strip():
        problems.append(Problem(name, f"{name}: nothing in this list"))
    if b"\0" in data:
        problems.append(Problem(name, f"{name}: no text: expected a list of paths, one a line, in UTF-8"))
        return
    for line in data.removeprefix(b"\xef\xbb\xbf").split(b"\n"):
        text = os.fsdecode(line.removesuffix(b"\r"))
        if text == "-":
            problems.append(Problem(text, f"{name}: standard input cannot stand in a list"))
        elif text:
            for recording in _expand(text, problems):
                is_file = recording.source == text and not is_url(text)
                yield Recording(text, _listed_name(text)) if is_file else recording


def _listed_name(text: str) -> Path:
    """Return a listed file's path without what would lead out of the output folder: lists name files of many folders.

    >>> [_listed_name(path).as_posix() for path in ("a/../b/c.wav", "/d/c.wav")]
    ['b/c.wav', 'd/c.wav']
    """
    path = os.path.normpath(text)
    return Path(os.path.relpath(os.path.abspath(path), "/") if path.startswith(("/", "..")) else path)


def _expand(text: str, problems: list[Problem]) -> Iterator[Recording]:
    recordings = list(_named(text))
    yield from recordings
    if not recordings:
        what = "no audio file in this folder" if os.path.isdir(text) else "nothing matches this pattern"
        problems.append(Problem(text, f"{text}: {what}"))


def _named(text: str) -> Iterator[Recording]:
    if is_url(text):
        yield Recording(text, Path(_url_name(text) or "audio"))
    elif text == "-":
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


def _url_name(url: str) -> str:
    """Return the last part of an address's path, or its host; "" where it has neither."""
    try:
        parts = urlsplit(url)
    except ValueError:  # whoever fetches it will say more
        return ""
    return Path(unquote(parts.path)).name or parts.netloc


def _fixed_part(pattern: str) -> Path:
    """Return the folders of a pattern before its first wildcard."""
    parts = Path(pattern).parts
    first = next(index for index, part in enumerate(parts) if glob.has_magic(part))
    return Path(*parts[:first])
