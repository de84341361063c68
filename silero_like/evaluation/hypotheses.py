"""Transcripts from anywhere: JSON lines, CTM, Kaldi text and TSV, matched to the utterances of a manifest.

The format goes by the file's suffix, `.jsonl` or `.json`, `.ctm`, `.tsv`, else Kaldi text. A transcript names its
utterance by the recording's path or any end of it, with or without the suffix: `corpus/a/x.opus`, `x.opus`, `x`.
"""

import csv
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePath
from typing import Any

from silero_like.errors import SileroLikeError

ID_KEYS = ("audio_filepath", "path", "file", "id", "utt_id", "utterance_id")
# NeMo writes the reference as `text` and the hypothesis as `pred_text`.
TEXT_KEYS = ("pred_text", "hypothesis", "text", "sentence", "transcript")
OFFSET_TOLERANCE_S = 0.005


@dataclass(frozen=True)
class Hypothesis:
    """What a system recognised in an utterance, or, in a CTM file, one word of it."""

    where: str
    """File and line."""
    name: str
    """The utterance as the file names it."""
    text: str
    offset_s: float | None = None
    """Start of the stretch within the recording, when given."""
    word_mid_s: float | None = None
    """Middle of the word within the recording, in a CTM file."""
    confidence: float | None = None
    """How sure the system is, in JSON lines that say so."""


@dataclass(frozen=True)
class Segment:
    """Where an utterance lies."""

    path: Path
    offset_s: float
    duration_s: float


@dataclass(frozen=True)
class Matched:
    """The text of every segment and how sure of it its system is, None where there is none; and what did not fit."""

    texts: list[str | None]
    problems: list[str]
    confidences: list[float | None]


class _BadLine(Exception):
    """What is wrong with one line."""


def read_hypotheses(path: str | Path) -> tuple[list[Hypothesis], list[str]]:
    """Read a file of transcripts.

    Returns:
        the transcripts, and one ``path:line: ...`` message for each line that cannot be read.

    Raises:
        SileroLikeError: the file cannot be read, its header lacks a column, or no line is a transcript.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")  # not at U+2028, which may stand in a text
    except (OSError, UnicodeDecodeError) as error:
        raise SileroLikeError(f"{path}: cannot read the hypotheses ({error})") from error
    parse: Callable[[str], tuple[Any, ...]] = {".jsonl": _json_line, ".json": _json_line, ".ctm": _ctm_line}.get(
        path.suffix, _kaldi_line
    )
    if path.suffix == ".tsv":
        columns, lines = _tsv_columns(path, lines)
        parse = partial(_tsv_line, columns=columns)
    found, problems = [], []
    for number, line in enumerate(lines, start=1):
        where = f"{path}:{number}"
        try:
            found += [Hypothesis(where, *fields) for fields in ([parse(line)] if line.strip() else []) if fields]
        except _BadLine as error:
            problems.append(f"{where}: {error}")
    if problems and not found:
        hint = "nor is any other line a transcript: give one a line, as transcribe --format jsonl does"
        raise SileroLikeError(f"{problems[0]} ({hint})")
    return found, problems


def match_hypotheses(segments: Sequence[Segment], hypotheses: Iterable[Hypothesis]) -> Matched:
    """Give every segment its text; a text for no segment, or a second one, is told and left out."""
    names = _Names(segments)
    texts: list[str | None] = [None] * len(segments)
    confidences: list[float | None] = [None] * len(segments)
    words: dict[int, list[str]] = defaultdict(list)
    problems: dict[str, list[str]] = defaultdict(list)  # a CTM file can have thousands of words of one recording
    for hypothesis in hypotheses:
        try:
            number = names.find(hypothesis)
            if hypothesis.word_mid_s is not None:
                words[number].append(hypothesis.text)
            elif texts[number] is not None:
                raise _BadLine(f"a second hypothesis for {hypothesis.name}; the first one counts")
            else:
                texts[number], confidences[number] = hypothesis.text, hypothesis.confidence
        except _BadLine as error:
            problems[str(error)].append(hypothesis.where)
    for number, spoken in words.items():
        texts[number] = " ".join(spoken)
    told = [
        f"{where}: {problem}" + (f" ({len(more)} more such lines)" if more else "")
        for problem, (where, *more) in problems.items()
    ]
    return Matched(texts, told, confidences)


class _Names:
    """Finds the segment that a hypothesis names."""

    def __init__(self, segments: Sequence[Segment]) -> None:
        self.segments = segments
        self.numbers: dict[Path, list[int]] = defaultdict(list)
        self.paths: dict[str, set[Path]] = defaultdict(set)
        for number, segment in enumerate(segments):
            self.numbers[segment.path].append(number)
        for path in self.numbers:
            for name in _ends(path):
                self.paths[name].add(path)
                self.paths[str(PurePath(name).with_suffix(""))].add(path)

    def find(self, hypothesis: Hypothesis) -> int:
        numbers = self.numbers[self._path(hypothesis.name)]
        if hypothesis.word_mid_s is not None:
            inside = [number for number in numbers if self._holds(number, hypothesis.word_mid_s)]
        elif hypothesis.offset_s is not None:
            inside = [n for n in numbers if abs(self.segments[n].offset_s - hypothesis.offset_s) < OFFSET_TOLERANCE_S]
        elif len(numbers) > 1:
            raise _BadLine(f"{hypothesis.name} has {len(numbers)} utterances in the manifests: give the offset")
        else:
            inside = numbers
        if not inside:
            raise _BadLine(f"{hypothesis.name}: no utterance of the manifests lies there")
        return inside[0]

    def _holds(self, number: int, time_s: float) -> bool:
        segment = self.segments[number]
        return len(self.numbers[segment.path]) == 1 or 0 <= time_s - segment.offset_s < segment.duration_s

    def _path(self, name: str) -> Path:
        for end in _ends(PurePath(name)):
            found = self.paths.get(end, set())
            if len(found) == 1:
                return next(iter(found))
            if found:
                raise _BadLine(
                    f"{name} could be {' or '.join(str(path) for path in sorted(found)[:2])}: give more of it"
                )
        raise _BadLine(f"{name} is not in the manifests")


def _ends(path: PurePath) -> Iterator[str]:
    """Yield a path and its ends, longest first: a/b/c, b/c, c."""
    parts = [part for part in path.parts if part not in ("/", ".")]
    for start in range(len(parts)):
        yield "/".join(parts[start:])


def _json_line(line: str) -> tuple[Any, ...]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise _BadLine(f"not JSON: {error}") from error
    if not isinstance(row, dict):
        raise _BadLine("expected a JSON object")
    name = next((row[key] for key in ID_KEYS if row.get(key)), None)
    text = next((row[key] for key in TEXT_KEYS if row.get(key) is not None), None)
    offset = row.get("offset")
    if not isinstance(name, str) or not isinstance(text, str):
        raise _BadLine(f"expected a name ({' or '.join(ID_KEYS)}) and a text ({' or '.join(TEXT_KEYS)})")
    confidence = row.get("confidence")
    return name, text, _float(offset), None, _float(confidence)


def _float(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _ctm_line(line: str) -> tuple[Any, ...]:
    """Read `recording channel start duration word [confidence]`; `;;` opens a comment."""
    fields = line.split()
    if line.startswith(";;"):
        return ()
    try:
        return fields[0], fields[4], None, float(fields[2]) + float(fields[3]) / 2
    except (IndexError, ValueError) as error:
        raise _BadLine("expected: recording channel start duration word") from error


def _kaldi_line(line: str) -> tuple[Any, ...]:
    name, _, text = line.strip().partition("\t" if "\t" in line else " ")
    return name, text


def _tsv_columns(path: Path, lines: Sequence[str]) -> tuple[tuple[int, int], list[str]]:
    """Find the columns of name and text; a file without a header has them first and second."""
    header = lines[0].split("\t") if lines else []
    name = next((header.index(key) for key in ID_KEYS if key in header), None)
    text = next((header.index(key) for key in TEXT_KEYS if key in header), None)
    if (name is None) != (text is None):
        raise SileroLikeError(f"{path}:1: expected columns for a name ({', '.join(ID_KEYS)}) and a text, got {header}")
    if name is None or text is None:
        return (0, 1), list(lines)
    return (name, text), ["", *lines[1:]]  # the line numbers stay


def _tsv_line(line: str, columns: tuple[int, int]) -> tuple[Any, ...]:
    fields = next(csv.reader([line], delimiter="\t", quoting=csv.QUOTE_NONE))
    if len(fields) <= max(columns):
        raise _BadLine(f"expected at least {max(columns) + 1} columns, got {len(fields)}")
    return fields[columns[0]], fields[columns[1]]
