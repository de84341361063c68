"""From a corpus in any format that `data.readers` knows to a manifest: each row judged, what is refused counted."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from data.manifest import ANNOTATIONS, DEFAULT_DOMAIN, DUPLICATE, Refusal, Utterance, manifest_writer
from data.parallel import ordered_map
from data.sources import Row, Source, is_text, lang_code
from data.summary import Summary
from silero_like.audio import SAMPLE_RATE, SOUNDFILE_SUFFIXES, stream_audio
from silero_like.errors import AudioError, ConfigError, ManifestError, SileroLikeError

GROUP = 64
"""Rows that a thread judges at a time."""
SPEAKER_FOLDER = "folder"


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """What to make of the rows of a corpus."""

    lang: str = ""
    """Language of all rows, whatever the corpus says."""
    domain: str = ""
    """Domain of all rows, whatever the corpus says."""
    source: str = ""
    """Name of the corpus."""
    annotation: str | None = None
    """How the texts came about."""
    speaker_from: str = ""
    """``folder``: the recording's folder names the speaker; or a regular expression whose group finds the name in the
    recording's path below the source. Without it the corpus says, or nobody."""
    edit: Callable[[str, str], str] | None = None
    """Makes of (text, language) the text to keep; its `SileroLikeError` refuses the row."""
    jobs: int = 1
    """Threads that look at recordings."""

    def __post_init__(self) -> None:
        if self.annotation is not None and self.annotation not in ANNOTATIONS:
            raise ConfigError(f"annotation: expected one of {', '.join(ANNOTATIONS)}, got {self.annotation!r}")
        try:
            n_groups = re.compile(self.speaker_from).groups
        except re.error as error:
            raise ConfigError(f"speaker_from: no regular expression ({error}): {self.speaker_from!r}") from error
        if self.speaker_from not in ("", SPEAKER_FOLDER) and n_groups != 1:
            raise ConfigError(
                f"speaker_from: expected {SPEAKER_FOLDER!r} or a regular expression with one group, such as "
                f"'^([^/]+)/', got {self.speaker_from!r}"
            )


def import_rows(
    rows: Iterable[Row | Refusal],
    source: Source,
    out: Path,
    options: ImportOptions,
    advance: Callable[[Summary], None] = lambda _: None,
) -> Summary:
    """Judge rows and write the good ones, if there are any, as a manifest, whole or not at all.

    Args:
        rows: what a reader yields.
        source: where it read them.
        out: the manifest.
        options: what to make of them.
        advance: called after each row.

    Raises:
        ManifestError: the corpus cannot be read.
    """
    summary, seen = Summary(), set[int]()

    def judge(row: Row | Refusal) -> Judged | Refusal:
        return row if isinstance(row, Refusal) else _judge(row, source, options)

    with contextlib.suppress(_NothingError), manifest_writer(out) as write:
        for row, judged in ordered_map(judge, rows, options.jobs, group=GROUP):
            if isinstance(judged, Refusal):
                summary.refuse(judged)
            elif (key := hash((str(judged.utterance.audio_path), judged.utterance.offset_s))) in seen:
                summary.refuse(Refusal(where=row.where, kind=DUPLICATE, detail=" of an earlier row"))
            else:
                seen.add(key)
                write(judged.utterance)
                summary.keep(judged.utterance)
                summary.changed += judged.edited
            advance(summary)
        if not summary.utterances:
            raise _NothingError
    return summary


class _NothingError(Exception):
    """No row is good: what stood at the manifest's place stays."""


@dataclass(frozen=True)
class Judged:
    """A good row."""

    utterance: Utterance
    edited: bool
    """Whether `ImportOptions.edit` changed its text."""


def _judge(row: Row, source: Source, options: ImportOptions) -> Judged | Refusal:
    """Return what is to be written of a row, or why it cannot be."""
    try:
        text = source.text(row.text) if isinstance(row.text, Path) else " ".join(row.text.split())
    except ManifestError as error:
        return Refusal(where=row.where, kind="no text file", detail=f": {error}")
    if not (is_text(text) and is_text(row.audio_name) and is_text(row.speaker)):
        return Refusal(where=row.where, kind="not text in this encoding", detail=": name it with --encoding")
    lang = options.lang or lang_code(row.lang)
    try:
        edited = options.edit(text, lang) if options.edit else text
    except SileroLikeError as error:
        return Refusal(where=row.where, kind="text cannot be edited", detail=f": {error}")
    if not edited:
        return Refusal(where=row.where, kind="text is empty")
    if row.audio_path is None:
        return Refusal(where=row.where, kind="no audio file", detail=f" {row.audio_name}")
    try:
        offset_s = round(row.offset_s, 6)  # or sums of starts would tell apart what is the same
        duration_s = round(length_s(row.audio_path) - offset_s if row.duration_s is None else row.duration_s, 6)
    except SileroLikeError as error:
        return Refusal(where=row.where, kind="audio cannot be read", detail=f": {error}")
    if not (0 < duration_s < math.inf and 0 <= offset_s < math.inf):
        found = f": {duration_s:g} s from {offset_s:g} s"
        return Refusal(where=row.where, kind="no stretch of audio", detail=found)
    utterance = Utterance(
        audio_path=row.audio_path,
        duration_s=duration_s,
        text=edited,
        speaker=_speaker(row.audio_path, options.speaker_from, source.folder) if options.speaker_from else row.speaker,
        domain=options.domain or row.domain or DEFAULT_DOMAIN,
        lang=lang,
        source=options.source or row.source,
        offset_s=offset_s,
        annotation=options.annotation or row.annotation,
        quality=row.quality,
    )
    return Judged(utterance, edited != text)


def length_s(path: Path) -> float:
    """Return the seconds of a recording: from its header where that can be trusted, else by decoding it.

    Raises:
        AudioError: not audio, or an empty file.
    """
    suffix = path.suffix.lower()
    if suffix in SOUNDFILE_SUFFIXES and (suffix != ".mp3" or _has_length(path)):
        try:
            with soundfile.SoundFile(path) as sound:
                if sound.frames < np.iinfo(np.int64).max:  # what a flac says that was written to a pipe
                    return float(sound.frames / sound.samplerate)
        except (OSError, soundfile.SoundFileError) as error:
            raise AudioError(f"{path}: {getattr(error, 'error_string', error)}") from error
    return sum(map(len, stream_audio(path))) / SAMPLE_RATE


def _has_length(path: Path) -> bool:
    """Tell whether an mp3 says how many frames it has, in the tag that encoders write into its first frame."""
    try:
        with path.open("rb") as file:
            start = file.read(4096)
    except OSError as error:
        raise AudioError(f"{path}: {error.strerror}") from error
    return b"Xing" in start or b"Info" in start


def _speaker(path: Path, pattern: str, folder: Path) -> str:
    if pattern == SPEAKER_FOLDER:
        return path.parent.name
    name = path.relative_to(folder) if path.is_relative_to(folder) else path
    found = re.search(pattern, name.as_posix())
    return (found[1] or "") if found else ""
