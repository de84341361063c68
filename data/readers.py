"""Readers of corpora: one generator a format, from what lies on disk to `Row`s and, for what is no row, `Refusal`s.

Each reads on as its rows are asked for, so that a corpus of any length passes in bounded memory. A new format is a
function here and a line in `READERS`.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.kaldi import read_kaldi
from data.manifest import DEFAULT_DOMAIN, Refusal, judge_row
from data.sources import Row, Rows, Source
from silero_like.audio import AUDIO_SUFFIXES
from silero_like.errors import ManifestError

OPEN_STT = {
    "calls": ("calls", "pseudo"),
    "youtube": ("youtube", "subtitles"),
    "series": ("youtube", "subtitles"),
    "audiobook": ("books", "aligned"),
    "stories": ("books", "pseudo"),
    "radio": ("radio", "aligned"),
    "public_speech": ("public_speech", "aligned"),
    "lecture": ("lectures", "subtitles"),
    "addresses": ("addresses", "synthetic"),
}
"""Part of a set's name -> domain and annotation, after its authors' table; the sets that end in _val are manual."""


@dataclass(frozen=True, kw_only=True)
class Reader:
    """A format of corpora."""

    read: Callable[[Source], Rows]
    """Yields the rows."""
    source: str
    """What SOURCE is, for the help text."""
    kinds: tuple[str, ...]
    """What it may be on disk: "folder", "file"."""


def read_folder(source: Source) -> Rows:
    """Read ``x.wav`` (or another audio format) with ``x.txt`` beside it, in all folders below."""
    for parent, folders, names in os.walk(source.path):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        texts = {name for name in names if name.lower().endswith(".txt")}
        for name in sorted(names):
            stem, suffix = os.path.splitext(name)
            if suffix.lower() not in AUDIO_SUFFIXES or name.startswith("."):
                continue
            path = Path(parent, name)
            if not texts & {f"{stem}.txt", f"{stem}.TXT"}:
                yield Refusal(where=str(path), kind="no text file", detail=f": expected {stem}.txt beside it")
                continue
            text = path.with_suffix(".txt" if f"{stem}.txt" in texts else ".TXT")
            yield Row(where=str(path), audio_path=path if path.is_file() else None, audio_name=str(path), text=text)


def read_open_stt(source: Source) -> Rows:
    """Read a manifest of Open STT: audio, text file and seconds, without a header, in a tree of hashed folders.

    Its manifests were written for WAV and for other folders than the archives unpack to, so endings and leading folders
    may differ: what lies in the manifest's folder, the one above it or a folder in either is found.
    """
    folders = [source.folder, source.folder.parent]
    readable = [folder for folder in folders if os.access(folder, os.R_OK | os.X_OK)]
    folders += [child for folder in readable for child in sorted(folder.iterdir()) if child.is_dir()]
    finder = source.finder(*folders, suffixes=(".opus", ".wav", ".mp3"), moved=True)
    texts = source.finder(*folders, moved=True)
    name = source.path.name.split(".")[0]
    domain, annotation = next((about for part, about in OPEN_STT.items() if part in name), ("", None))
    for where, line in source.lines(source.path):
        try:
            audio_name, text_name, seconds = next(csv.reader([line]))
            duration_s = float(seconds)
        except (ValueError, csv.Error):
            yield Refusal(where=where, kind="not three columns", detail=": expected audio, text file, seconds")
            continue
        text = texts.find(text_name)
        if text is None:
            yield Refusal(where=where, kind="no text file", detail=f" {text_name}")
            continue
        yield Row(
            where=where,
            audio_path=finder.find(audio_name),
            audio_name=audio_name,
            text=text,
            duration_s=duration_s,
            domain=domain,
            lang="ru",
            source=f"Open STT {name}",
            annotation="manual" if name.endswith("_val") else annotation,
        )


def read_librispeech(source: Source) -> Rows:
    """Read LibriSpeech or a part of it: ``*.trans.txt`` with FLAC files beside them, domains "clean" and "other"."""
    transcripts = sorted(source.path.rglob("*.trans.txt"))
    if not transcripts:
        raise ManifestError(f"{source.path}: no *.trans.txt in it: expected LibriSpeech or a part of it, unpacked")
    for transcript in transcripts:
        finder = source.finder(transcript.parent, suffixes=(".opus", ".wav", ".mp3", ".ogg"))
        domain = "other" if "other" in transcript.parent.parent.parent.name else "clean"
        for where, line in source.lines(transcript):
            name, _, text = line.partition(" ")
            yield Row(
                where=where,
                audio_path=finder.find(f"{name}.flac"),
                audio_name=f"{name}.flac",
                text=text,
                speaker=name.split("-")[0],
                domain=domain,
                lang="en",
                source="LibriSpeech",
            )


def read_common_voice(source: Source) -> Rows:
    """Read a TSV of Common Voice, such as validated.tsv, with its recordings in ``clips/`` beside it."""
    lines = source.lines(source.path)
    header = next(lines, ("", ""))[1].split("\t")
    if not {"client_id", "path", "sentence"} <= set(header):
        raise ManifestError(f"{source.path}:1: expected columns client_id, path and sentence, got {', '.join(header)}")
    finder = source.finder(source.folder / "clips", source.folder, suffixes=(".mp3", ".opus", ".wav", ".flac"))
    durations = _clip_durations(source)
    for where, line in lines:
        values = line.split("\t")
        if len(values) != len(header):
            kind = "another number of columns than the header"
            yield Refusal(where=where, kind=kind, detail=f": {len(values)}, expected {len(header)}")
            continue
        row = dict(zip(header, values, strict=True))
        yield Row(
            where=where,
            audio_path=finder.find(row["path"]),
            audio_name=row["path"],
            text=row["sentence"],
            duration_s=durations.get(hash(row["path"])),
            speaker=row["client_id"],
            domain="commonvoice",
            lang=row.get("locale", ""),
            source="Common Voice",
            annotation="manual",
        )


def read_ljspeech(source: Source) -> Rows:
    """Read ``metadata.csv`` (name|text|text with numbers in words) with recordings in ``wavs/``, as LJSpeech has it."""
    path = source.path / "metadata.csv" if source.path.is_dir() else source.path
    finder = source.finder(path.parent / "wavs", path.parent, suffixes=(".flac", ".opus", ".ogg", ".mp3"))
    is_lj = False
    for where, line in source.lines(path):
        name, *texts = line.split("|")
        if not texts:
            yield Refusal(where=where, kind="no | in the line", detail=": expected name|text|normalised text")
            continue
        is_lj = is_lj or name.startswith("LJ0")
        audio_name = name if os.path.splitext(name)[1].lower() in AUDIO_SUFFIXES else f"{name}.wav"
        yield Row(
            where=where,
            audio_path=finder.find(audio_name),
            audio_name=audio_name,
            text=texts[1] if len(texts) > 1 and texts[1].strip() else texts[0],
            speaker="LJ" if is_lj else "",
            lang="en" if is_lj else "",
            source="LJSpeech" if is_lj else "",
        )


def read_nemo(source: Source) -> Rows:
    """Read a JSON lines manifest, NeMo's or this project's."""
    finder = source.finder()
    folder = Path(os.path.abspath(source.folder))
    for where, line in source.lines(source.path):
        row = judge_row(line.encode("utf-8", "surrogateescape"), where, folder, check_audio=False)
        if isinstance(row, Refusal):
            yield row
            continue
        path = row.audio_path
        name = str(path.relative_to(folder) if path.is_relative_to(folder) else path)
        yield Row(
            where=where,
            audio_path=finder.find(name),
            audio_name=name,
            text=row.text,
            duration_s=row.duration_s,
            offset_s=row.offset_s,
            speaker=row.speaker,
            domain="" if row.domain == DEFAULT_DOMAIN else row.domain,
            lang=row.lang,
            source=row.source,
            annotation=row.annotation,
            quality=row.quality,
        )


def read_lhotse(source: Source) -> Rows:
    """Read Lhotse's cuts (JSON lines, ``.jsonl.gz`` too): a row for each supervision of a plain recording."""
    finder = source.finder(source.folder, Path.cwd())
    for where, line in source.lines(source.path):
        try:
            cut = json.loads(line)
            sources, supervisions = cut["recording"]["sources"], list(cut["supervisions"])
            files = [_string(item["source"]) for item in sources if item["type"] == "file"]
            start_s, n_channels = float(cut.get("start", 0)), len(sources[0].get("channels", [0]))
        except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
            yield Refusal(where=where, kind="not a cut of a recording", detail=": expected a MonoCut in JSON")
            continue
        if len(files) != 1 or n_channels != 1 or len(sources) != 1:
            kind = "not one file of one channel"
            yield Refusal(where=where, kind=kind, detail=": save the cuts' audio with Lhotse first")
            continue
        for part in supervisions:
            yield _of_supervision(part, where, start_s, files[0], finder.find(files[0]))


READERS = {
    "folder": Reader(read=read_folder, kinds=("folder",), source="a folder with x.wav and x.txt"),
    "open-stt": Reader(read=read_open_stt, kinds=("file",), source="a manifest, set.csv"),
    "librispeech": Reader(read=read_librispeech, kinds=("folder",), source="LibriSpeech or a part of it"),
    "common-voice": Reader(read=read_common_voice, kinds=("file",), source="validated.tsv or another"),
    "ljspeech": Reader(read=read_ljspeech, kinds=("folder", "file"), source="the folder of metadata.csv"),
    "kaldi": Reader(read=read_kaldi, kinds=("folder",), source="a data directory"),
    "nemo": Reader(read=read_nemo, kinds=("file",), source="a manifest, set.jsonl"),
    "lhotse": Reader(read=read_lhotse, kinds=("file",), source="cuts, cuts.jsonl.gz"),
}
"""Name on the command line -> format."""


def _clip_durations(source: Source) -> dict[int, float]:
    """Read the seconds of clips, by the hash of their names, where a release of Common Voice tells them."""
    path = source.folder / "clip_durations.tsv"
    durations = {}
    for _, line in source.lines(path) if path.is_file() else ():
        name, _, milliseconds = line.partition("\t")
        if milliseconds.strip().isdecimal():
            durations[hash(name)] = int(milliseconds) / 1000
    return durations


def _of_supervision(part: Any, where: str, start_s: float, name: str, path: Path | None) -> Row | Refusal:
    try:
        return Row(
            where=where,
            audio_path=path,
            audio_name=name,
            text=_string(part.get("text") or ""),
            offset_s=start_s + float(part["start"]),
            duration_s=float(part["duration"]),
            speaker=_string(part.get("speaker") or ""),
            lang=_string(part.get("language") or ""),
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return Refusal(where=where, kind="not a supervision", detail=": expected start, duration (s), and strings")


def _string(value: object) -> str:
    """Return a string of a JSON file; raise TypeError if it is something else."""
    if not isinstance(value, str):
        raise TypeError(f"expected a string, got {value!r}")
    return value
