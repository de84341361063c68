"""Manifests: JSON lines that say where speech lies and what was said, with NeMo's field names.

One object a line: ``audio_filepath`` (relative to the manifest's folder, or absolute), ``duration`` (s) and ``text``
are required. ``speaker``, ``domain``, ``lang``, ``source``, ``offset`` (s), ``annotation`` and ``quality`` are optional
(``null`` counts as absent), so a plain NeMo manifest loads. Other keys are left out: NeMo's files carry many.
"""

import codecs
import hashlib
import json
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from silero_like.errors import ManifestError

ANNOTATIONS = ("manual", "aligned", "subtitles", "pseudo", "synthetic")
DEFAULT_DOMAIN = "default"


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
    folder = Path(os.path.abspath(path.parent))
    line_of: dict[tuple[Path, float], int] = {}
    utterances: list[Utterance] = []
    problems: list[str] = []
    n_duplicates = 0
    for number, line in enumerate(data.removeprefix(codecs.BOM_UTF8).split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            utterance = _parse(line, folder, check_audio, need_text)
            first = line_of.setdefault((utterance.audio_path, utterance.offset_s), number)
            if first != number:
                n_duplicates += 1
                raise _BadRow(f"duplicate of line {first}: same audio_filepath and offset")
            utterances.append(utterance)
        except _BadRow as error:
            problems.append(f"{path}:{number}: {error}")
            if strict:
                raise ManifestError(problems[-1]) from error
    return Manifest(
        path=path,
        utterances=tuple(utterances),
        problems=tuple(problems),
        n_duplicates=n_duplicates,
        sha256=hashlib.sha256(data).hexdigest(),
    )


def write_manifest(path: str | Path, utterances: Iterable[Utterance]) -> None:
    """Write a manifest whole or not at all (temporary file, then rename); its folder is made when missing.

    Recordings inside the manifest's folder are written relative to it, others absolute. ``read_manifest`` gives equal
    utterances back.
    """
    path = Path(path)
    folder = Path(os.path.abspath(path.parent))
    folder.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8", newline="\n") as file:
            for utterance in utterances:
                file.write(json.dumps(_row(utterance, folder), ensure_ascii=False, allow_nan=False) + "\n")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


class _BadRow(Exception):
    """What is wrong with one row, without ``path:line:``."""


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ManifestError(f"{path}: cannot read the manifest ({error.strerror})") from error


def _parse(line: bytes, folder: Path, check_audio: bool, need_text: bool) -> Utterance:
    """Turn one line into an utterance; every flaw is a ``_BadRow``."""
    row = _json_object(line)
    audio_path = Path(os.path.abspath(folder / _string(row, "audio_filepath")))
    text = _string(row, "text") if need_text else _string(row, "text", "")
    if need_text and not text.strip():
        raise _BadRow("text is empty")
    duration_s, offset_s = _number(row, "duration"), _number(row, "offset", 0.0)
    if duration_s <= 0:
        raise _BadRow(f"duration must be above 0 s, got {duration_s}")
    if offset_s < 0:
        raise _BadRow(f"offset must not be below 0 s, got {offset_s}")
    annotation = _string(row, "annotation", "") or None
    if annotation is not None and annotation not in ANNOTATIONS:
        raise _BadRow(f"annotation must be one of {', '.join(ANNOTATIONS)}, got {annotation!r}")
    if check_audio and not os.path.isfile(audio_path):  # unlike Path.is_file, never raises for a strange path
        raise _BadRow(f"no audio file at {audio_path}")
    return Utterance(
        audio_path=audio_path,
        duration_s=duration_s,
        text=text,
        speaker=_string(row, "speaker", ""),
        domain=_string(row, "domain", DEFAULT_DOMAIN),
        lang=_string(row, "lang", ""),
        source=_string(row, "source", ""),
        offset_s=offset_s,
        annotation=annotation,
        quality=None if row.get("quality") is None else _number(row, "quality"),
    )


def _json_object(line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise _BadRow(f"not UTF-8 (byte {error.start + 1} of the line)") from error
    except (ValueError, RecursionError) as error:
        raise _BadRow(f"not JSON: {error}") from error
    if not isinstance(row, dict):
        raise _BadRow(f"expected a JSON object, got {_kind(row)}")
    return row


def _string(row: dict[str, Any], key: str, default: str | None = None) -> str:
    """Return a string field; without a default it is required and may not be empty."""
    value = row.get(key)
    if value is None:
        if default is None:
            raise _BadRow(f"{key} is missing")
        return default
    if not isinstance(value, str):
        raise _BadRow(f"{key} must be a string, got {_kind(value)}")
    if default is None and not value:
        raise _BadRow(f"{key} is empty")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise _BadRow(f"{key} holds half of a surrogate pair, which is no character")
    return value


def _number(row: dict[str, Any], key: str, default: float | None = None) -> float:
    """Return a finite number field; without a default it is required."""
    value = row.get(key)
    if value is None:
        if default is None:
            raise _BadRow(f"{key} is missing")
        return default
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _BadRow(f"{key} must be a number, got {_kind(value)}")
    if abs(value) > 1e15 or math.isnan(value):  # infinity too, and integers too large for a float
        raise _BadRow(f"{key} must be a finite number, got {str(value)[:20]}")
    return float(value)


def _kind(value: object) -> str:
    """Name a JSON value's type as JSON does."""
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", int: "a number", float: "a number"}
    return names.get(type(value), "null")


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
