"""Manifests: JSON lines that say where speech lies and what was said, with NeMo's field names.

One object a line: ``audio_filepath`` (relative to the manifest's folder, or absolute), ``duration`` (s) and ``text``
are required. ``speaker``, ``domain``, ``lang``, ``source``, ``offset`` (s), ``annotation`` and ``quality`` are optional
(``null`` counts as absent), so a plain NeMo manifest loads. Other keys are left out: NeMo's files carry many.
"""

import codecs
import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.json_line import BadLine, number_field, read_object, string_field
from silero_like.errors import ManifestError

ANNOTATIONS = ("manual", "aligned", "subtitles", "pseudo", "synthetic")
DEFAULT_DOMAIN = "default"
DUPLICATE = "duplicate"


@dataclass(frozen=True, kw_only=True)
class Utterance:
    """One transcribed stretch of a recording."""

    audio_path: Path
    """Absolute path of the recording."""
    duration_s: float
    """Length of the stretch in seconds, above 0."""
    text: str
    """What was said, as the source writes it: not normalised, not empty."""
    speaker: str = ""
    """Speaker's name, "" when unknown."""
    domain: str = DEFAULT_DOMAIN
    """Domain that accuracy is measured by."""
    lang: str = ""
    """Language code such as "en", "" when not given."""
    source: str = ""
    """Corpus it came from."""
    offset_s: float = 0.0
    """Start of the stretch within the recording, in seconds."""
    annotation: str | None = None
    """How the text came about, one of ``ANNOTATIONS``; None when not given."""
    quality: float | None = None
    """How far the text is trusted, as whoever made it says; None when not given."""


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A row that is left out."""

    where: str
    """``path:line``, or the recording where there are no lines."""
    kind: str
    """What is wrong with it in words that rows share, to count by."""
    detail: str = ""
    """The rest of the sentence."""

    def __str__(self) -> str:
        return f"{self.where}: {self.kind}{self.detail}"


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a manifest file holds and what was wrong with it."""

    path: Path
    """The file."""
    utterances: tuple[Utterance, ...]
    """The good rows, in the file's order."""
    problems: tuple[str, ...]
    """One ``path:line: ...`` message for each row left out."""
    n_duplicates: int
    """How many of the problems are rows that repeat an earlier row's audio and offset."""
    sha256: str
    """Hash of the file's bytes, in hex."""


def read_manifest(
    path: str | Path, *, check_audio: bool = True, strict: bool = False, need_text: bool = True
) -> Manifest:
    """Read a manifest; a bad row is left out and told in ``problems``. Blank lines are no rows.

    Args:
        path: a UTF-8 JSON lines file.
        check_audio: also look whether each recording exists.
        strict: raise at the first bad row instead.
        need_text: refuse rows without a text; else theirs is "": speech that is still to be labelled.

    Raises:
        ManifestError: the file cannot be read, or ``strict`` and a row is bad.
    """
    path = Path(path)
    data = _read(path)
    utterances: list[Utterance] = []
    refusals: list[Refusal] = []
    lines = data.removeprefix(codecs.BOM_UTF8).split(b"\n")
    for _, row in _scan(path, lines, check_audio=check_audio, need_text=need_text):
        if isinstance(row, Utterance):
            utterances.append(row)
            continue
        refusals.append(row)
        if strict:
            raise ManifestError(str(row))
    return Manifest(
        path=path,
        utterances=tuple(utterances),
        problems=tuple(map(str, refusals)),
        n_duplicates=sum(refusal.kind == DUPLICATE for refusal in refusals),
        sha256=hashlib.sha256(data).hexdigest(),
    )


def stream_manifest(path: str | Path) -> Iterator[tuple[int, Utterance | Refusal]]:
    """Yield (line number, row) one by one, as `read_manifest` would judge them, of a UTF-8 file of any length.

    A row leaves 100 bytes in memory, by which another one that repeats it is known.

    Raises:
        ManifestError: the file cannot be read.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            if file.read(len(codecs.BOM_UTF8)) != codecs.BOM_UTF8:
                file.seek(0)
            yield from _scan(path, file, check_audio=True)
    except OSError as error:
        raise ManifestError(f"{path}: cannot read the manifest ({error.strerror})") from error


def judge_row(
    line: bytes, where: str, folder: Path, *, check_audio: bool = True, need_text: bool = True
) -> Utterance | Refusal:
    """Return what a line of UTF-8 JSON says, or what is wrong with it; relative paths begin at `folder`."""
    try:
        return _parse(line, folder, check_audio, need_text)
    except BadLine as error:
        return Refusal(where=where, kind=error.kind, detail=error.detail)


def write_manifest(path: str | Path, utterances: Iterable[Utterance]) -> None:
    """Write a manifest whole or not at all (temporary file, then rename); its folder is made when missing.

    Recordings inside the manifest's folder are written relative to it, others absolute. ``read_manifest`` gives equal
    utterances back.
    """
    with manifest_writer(path) as write:
        for utterance in utterances:
            write(utterance)


@contextlib.contextmanager
def manifest_writer(path: str | Path) -> Iterator[Callable[[Utterance], None]]:
    """Yield what appends an utterance to a manifest; it gets its name at the end, unless something is raised."""
    path = Path(path)
    folder = Path(os.path.abspath(path.parent))
    with write_whole(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        yield lambda row: print(json.dumps(_row(row, folder), ensure_ascii=False, allow_nan=False), file=file)


@contextlib.contextmanager
def write_whole(path: Path) -> Iterator[Path]:
    """Yield a path to write a file or folder at, which gets its name at the end, unless something is raised."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        temporary.unlink(missing_ok=True)


def _scan(
    path: Path, lines: Iterable[bytes], *, check_audio: bool, need_text: bool = True
) -> Iterator[tuple[int, Utterance | Refusal]]:
    """Judge each line; of the good ones a hash stays in memory, by which a repeated row is known."""
    folder = Path(os.path.abspath(path.parent))
    line_of: dict[int, int] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        row = judge_row(line, where, folder, check_audio=check_audio, need_text=need_text)
        if isinstance(row, Utterance):
            first = line_of.setdefault(hash((str(row.audio_path), row.offset_s)), number)
            if first != number:
                detail = f" of line {first}: same audio_filepath and offset"
                row = Refusal(where=where, kind=DUPLICATE, detail=detail)
        yield number, row


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ManifestError(f"{path}: cannot read the manifest ({error.strerror})") from error


def _parse(line: bytes, folder: Path, check_audio: bool, need_text: bool) -> Utterance:
    """Turn one line into an utterance; every flaw is a `BadLine`."""
    row = read_object(line)
    audio_path = Path(os.path.abspath(folder / string_field(row, "audio_filepath")))
    text = string_field(row, "text") if need_text else string_field(row, "text", "")
    if need_text and not text.strip():
        raise BadLine("text is empty")
    duration_s, offset_s = number_field(row, "duration"), number_field(row, "offset", 0.0)
    if duration_s <= 0:
        raise BadLine("duration must be above 0 s", f", got {duration_s}")
    if offset_s < 0:
        raise BadLine("offset must not be below 0 s", f", got {offset_s}")
    annotation = string_field(row, "annotation", "") or None
    if annotation is not None and annotation not in ANNOTATIONS:
        raise BadLine(f"annotation must be one of {', '.join(ANNOTATIONS)}", f", got {annotation!r}")
    if check_audio and not os.path.isfile(audio_path):  # unlike Path.is_file, never raises for a strange path
        raise BadLine("no audio file", f" at {audio_path}")
    return Utterance(
        audio_path=audio_path,
        duration_s=duration_s,
        text=text,
        speaker=string_field(row, "speaker", ""),
        domain=string_field(row, "domain", DEFAULT_DOMAIN),
        lang=string_field(row, "lang", ""),
        source=string_field(row, "source", ""),
        offset_s=offset_s,
        annotation=annotation,
        quality=None if row.get("quality") is None else number_field(row, "quality"),
    )


def _row(utterance: Utterance, folder: Path) -> dict[str, Any]:
    """Return the JSON object of an utterance; optional fields appear only when set."""
    audio = utterance.audio_path
    row: dict[str, Any] = {
        "audio_filepath": (audio.relative_to(folder) if audio.is_relative_to(folder) else audio).as_posix(),
        "duration": utterance.duration_s,
        "text": utterance.text,
        "speaker": utterance.speaker,
        "domain": utterance.domain,
        "lang": utterance.lang,
        "source": utterance.source,
    }
    if utterance.offset_s:
        row["offset"] = utterance.offset_s
    if utterance.annotation is not None:
        row["annotation"] = utterance.annotation
    if utterance.quality is not None:
        row["quality"] = utterance.quality
    return row
