"""Kaldi's data directories, read and written."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import re
import shlex
import sqlite3
import tempfile
from collections.abc import Iterable
from pathlib import Path

from data.manifest import Refusal, Utterance, write_whole
from data.sources import Row, Rows, Source
from silero_like.audio import AUDIO_SUFFIXES
from silero_like.errors import ConfigError

_AUDIO_OPTIONS = frozenset({"-ss", "-t", "-to", "-af", "-filter:a", "-filter_complex", "-map", "--skip", "--until"})
"""Options of decoders that leave something out or change the sound."""


_KALDI_FILES = {
    "text": "SELECT name, text FROM rows ORDER BY name",
    "utt2spk": "SELECT name, speaker FROM rows ORDER BY name",
    "utt2lang": "SELECT name, lang FROM rows WHERE lang != '' ORDER BY name",
    "spk2utt": "SELECT speaker, name FROM rows ORDER BY speaker, name",
    "wav.scp": "SELECT DISTINCT recording, command FROM rows ORDER BY recording",
    "segments": "SELECT name, printf('%s %.3f %.3f', recording, start, stop) FROM rows ORDER BY name",
}
"""File -> its lines, by the bytes of the names, as Kaldi wants them."""


def read_kaldi(source: Source) -> Rows:
    """Read a Kaldi data directory: wav.scp and text, and segments, utt2spk and utt2lang where there are any.

    Recordings are read by this program: a command in wav.scp is not run, but a file that it only decodes is found.
    """
    finder = source.finder(source.folder, Path.cwd())
    scp, speakers, langs = (_Column(source, name) for name in ("wav.scp", "utt2spk", "utt2lang"))
    segments = _Column(source, "segments")
    for where, line in source.lines(source.folder / "text"):
        name, text = _key_and_rest(line)
        segment = (segments.take(name) or "").split() if segments.exists else [name, "0", "-1"]
        try:
            recording, (start_s, end_s) = segment[0], (float(value) for value in segment[1:])
        except (IndexError, ValueError):
            yield Refusal(where=where, kind="no segment", detail=f" of {name}: expected recording, start and end")
            continue
        audio_name = scp.look_up(recording) if segments.exists else scp.take(recording)
        if audio_name is None:
            yield Refusal(where=where, kind="not in wav.scp", detail=f": {recording}")
            continue
        if audio_name.endswith("|"):
            audio_name = _decoded_file(audio_name)
        if not audio_name:
            yield Refusal(where=where, kind="a command makes the audio", detail=": run it, and name its files")
            continue
        yield Row(
            where=where,
            audio_path=finder.find(audio_name),
            audio_name=audio_name,
            text=text,
            offset_s=start_s,
            duration_s=None if end_s == -1 else end_s - start_s,
            speaker=speakers.take(name) or "",
            lang=langs.take(name) or "",
        )


def export_kaldi(utterances: Iterable[Utterance], out: Path) -> None:
    """Write a Kaldi data directory: text, utt2spk, spk2utt, utt2lang, wav.scp and segments.

    Recordings that are no WAV get a command that decodes them with ffmpeg to 16 kHz. The rows are sorted on disk.

    Raises:
        ConfigError: the folder exists and holds something.
    """
    if out.is_dir() and os.listdir(out):
        raise ConfigError(f"{out}: not empty: expected a new folder for the data directory")
    with write_whole(out) as temporary:
        temporary.mkdir()
        with (
            tempfile.TemporaryDirectory(dir=out.parent) as folder,
            contextlib.closing(sqlite3.connect(Path(folder, "rows.db"))) as rows,
        ):
            _fill(rows, utterances)
            for name, query in _KALDI_FILES.items():
                _write(temporary / name, rows.execute(query))


class _Column:
    """A file of a Kaldi directory: name -> the rest of its line, read on as far as a name is looked for.

    Where two files have the same order, as Kaldi sorts them, next to nothing is in memory.
    """

    def __init__(self, source: Source, name: str) -> None:
        path = source.folder / name
        self.exists = path.is_file()
        self._lines = source.lines(path) if self.exists or name == "wav.scp" else iter(())
        self._values: dict[str, str] = {}

    def take(self, name: str) -> str | None:
        """Return the value of a name, once."""
        value = self.look_up(name)
        self._values.pop(name, None)
        return value

    def look_up(self, name: str) -> str | None:
        while name not in self._values:
            found = next(self._lines, None)
            if found is None:
                return None
            key, value = _key_and_rest(found[1])
            self._values[key] = value
        return self._values[name]


def _key_and_rest(line: str) -> tuple[str, str]:
    """Split a line at the first space or tab."""
    key, *rest = line.strip().split(maxsplit=1)
    return key, "".join(rest)


def _decoded_file(command: str) -> str:
    """Return the one audio file that a command of wav.scp decodes, "" when it does more than that.

    >>> _decoded_file("flac -c -d -s /data/1.flac |"), _decoded_file("sox a.wav -t wav - speed 0.9 |")
    ('/data/1.flac', '')
    """
    try:
        program, *arguments = shlex.split(command.rstrip("| "))
    except ValueError:
        return ""
    files = [part for part in arguments if os.path.splitext(part)[1].lower() in AUDIO_SUFFIXES]
    plain = os.path.basename(program) in ("flac", "ffmpeg") and not _AUDIO_OPTIONS & set(arguments)
    return files[0] if plain and len(files) == 1 and "|" not in arguments else ""


def _fill(rows: sqlite3.Connection, utterances: Iterable[Utterance]) -> None:
    rows.execute("PRAGMA journal_mode = OFF")
    rows.execute("CREATE TABLE rows (name PRIMARY KEY, speaker, text, lang, recording, command, start, stop)")
    rows.executemany("INSERT INTO rows VALUES (?, ?, ?, ?, ?, ?, ?, ?)", map(_kaldi_row, utterances))


def _kaldi_row(utterance: Utterance) -> tuple[str, str, str, str, str, str, float, float]:
    path = utterance.audio_path
    recording = f"{_name(path.stem)}-{_digest(str(path))}"
    speaker, name = _name(utterance.speaker), f"{_name(path.stem)}-{_digest(f'{path} {utterance.offset_s!r}')}"
    name = f"{speaker}-{name}" if speaker else name
    command = str(path)
    if path.suffix.lower() != ".wav":
        command = f"ffmpeg -v error -i {shlex.quote(command)} -f wav -ar 16000 -ac 1 - |"
    text = " ".join(utterance.text.split())
    start, stop = utterance.offset_s, utterance.offset_s + utterance.duration_s
    return name, speaker or name, text, utterance.lang, recording, command, start, stop


def _name(text: str) -> str:
    """Return a name without spaces, which end names in Kaldi's files."""
    return re.sub(r"\s+", "_", text)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:8]


def _write(path: Path, rows: Iterable[tuple[str, str]]) -> None:
    """Write a line for each key, with all its values."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for key, group in itertools.groupby(rows, key=lambda row: row[0]):
            file.write(" ".join([key, *(value for _, value in group)]) + "\n")
