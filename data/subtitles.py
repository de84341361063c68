"""SRT and WebVTT files -> cues that hold speech only.

What nobody says is taken out: tags, [music], (laughs), ♪ songs ♪, speaker labels, dashes. Broken cues are told, not
fatal.
"""

from __future__ import annotations

import codecs
import dataclasses
import html
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from silero_like.errors import ManifestError

SUBTITLE_SUFFIXES = (".srt", ".vtt")

MAX_BACK_S = 5.0
"""Cues are taken in the order of their numbers if none begins so much earlier than one before it."""

_TIME = r"(?:(\d+):)?(\d{1,3}):(\d{1,2})[,.](\d{1,3})"
_TIMES = re.compile(rf"^\s*{_TIME}\s*-+>\s*{_TIME}")
_BLOCKS = ("WEBVTT", "NOTE", "STYLE", "REGION")
_TAGS = re.compile(r"<[^<>]*>|\{[^{}]*\}")
_SONGS = re.compile(r"[♪♫♬][^♪♫♬]*[♪♫♬]?")
_ASIDES = re.compile(r"\[[^\[\]]*\]|\([^()]*\)|【[^【】]*】|（[^（）]*）|［[^［］]*］|\*[^*\s][^*]*\*")
_SHOUTED = r"[^\W\d_a-zа-яё][^\Wa-zа-яё]*(?:[ .'’-]+[^\Wa-zа-яё]+){0,3}"
_SPEAKER = re.compile(
    rf"^\s*(?:(?:>>+|[-–—])\s*)*(?:(?<=[>\s-])(?:{_SHOUTED}|[^\W\d_][^:：>]{{0,30}}):(?=\s)|{_SHOUTED}:(?=\s)|[\u4e00-\u9fff]{{1,4}}：)?"
)


@dataclass(frozen=True)
class Cue:
    """One subtitle: what is said, and when it is shown, in seconds."""

    start: float
    end: float
    text: str


@dataclass(frozen=True)
class _Shown:
    """A cue as it stands in the file."""

    start: float
    end: float
    lines: list[str]
    number: int | None


@dataclass(frozen=True)
class Subtitles:
    """The cues of a file, in the order in which they are said."""

    cues: tuple[Cue, ...]
    n_silent: int
    """Cues without speech: music, noises, songs."""
    problems: tuple[str, ...]
    """``path:line: ...`` for each broken cue."""


def read_subtitles(path: Path, encoding: str | None = None) -> Subtitles:
    """Read a file; its encoding is UTF-8 (or UTF-16 with a byte order mark) unless given.

    Raises:
        ManifestError: it cannot be read, is of another encoding, or holds no cue.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ManifestError(f"{path}: cannot read the subtitles ({error.strerror})") from error
    is_wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    encoding = encoding or ("utf-16" if is_wide else "utf-8-sig")
    try:
        text = data.decode(encoding)
    except (UnicodeError, LookupError) as error:
        raise ManifestError(
            f"{path}:1: expected text in {encoding} ({error}): name its encoding, cp1251 or so"
        ) from error
    found = parse_subtitles(text, str(path))
    if not found.cues and not found.n_silent:
        raise ManifestError(f"{path}:1: no cue such as 00:00:01,000 --> 00:00:02,000: expected an SRT or WebVTT file")
    return found


def parse_subtitles(text: str, name: str = "subtitles") -> Subtitles:
    """Parse SRT or WebVTT.

    >>> parse_subtitles("1\\n00:00:01,000 --> 00:00:02,500\\n>> BOB: <i>Hello</i> [door]").cues
    (Cue(start=1.0, end=2.5, text='Hello'),)
    """
    cues: list[_Shown] = []
    problems, n_silent = [], 0
    for number, lines in _blocks(text):
        if lines[0].split(" ")[0].split("\t")[0] in _BLOCKS and "-->" not in lines[0]:
            continue
        at = next((index for index, line in enumerate(lines) if "-->" in line), None)
        times = _TIMES.match(lines[at]) if at is not None else None
        start, end = (_seconds(times.groups()[:4]), _seconds(times.groups()[4:])) if times else (0.0, 0.0)
        if at is None or end <= start:
            found = lines[at or 0][:60]
            problems.append(f"{name}:{number}: expected 00:00:01,000 --> 00:00:02,000, the end later, got {found!r}")
            continue
        label = lines[at - 1].strip() if at else ""
        cues.append(_Shown(start, end, lines[at + 1 :], int(label) if label.isdecimal() else None))
    spoken: list[Cue] = []
    for cue in _without_repeats(_in_order(cues)):
        words = spoken_text(cue.lines)
        if words:
            spoken.append(Cue(cue.start, cue.end, words))
        n_silent += not words
    return Subtitles(tuple(spoken), n_silent, tuple(problems))


def spoken_text(lines: Sequence[str]) -> str:
    """Return what is said in the lines of a cue.

    >>> spoken_text(["- (смех) ИВАН: Да &amp; нет!", "♪ ля-ля ♪"])
    'Да & нет!'
    """
    text = "\n".join(html.unescape(_TAGS.sub("", line)) for line in lines)
    text = _ASIDES.sub(" ", _SONGS.sub(" ", text))
    said = (_SPEAKER.sub("", line.strip(), count=1).strip() for line in text.split("\n"))
    joined = " ".join(" ".join(said).split())
    return joined if any(letter.isalnum() for letter in joined) else ""


def _blocks(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, lines) of each stretch without an empty line; a line of times also begins one."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    block: list[str] = []
    first = 1
    for number, line in enumerate([*lines, ""], start=1):
        has_times = any(_TIMES.match(other) for other in block)
        if has_times and _TIMES.match(line):  # the empty line between two cues is missing
            is_numbered = block[-1].strip().isdigit() and not _TIMES.match(block[-1])
            yield first, block[:-1] if is_numbered else block
            block, first = [], number
        if line.strip():
            first = first if block else number
            block.append(line)
        elif block:
            yield first, block
            block = []


def _seconds(parts: Sequence[str | None]) -> float:
    hours, minutes, seconds, fraction = parts
    return 3600 * int(hours or 0) + 60 * int(minutes or 0) + int(seconds or 0) + float(f"0.{fraction}")


def _in_order(cues: list[_Shown]) -> list[_Shown]:
    """Return cues as they are said: by their numbers, which careless times do not change, if the times allow it."""
    by_time = sorted(cues, key=lambda cue: (cue.start, cue.end))
    if any(cue.number is None for cue in cues):
        return by_time
    numbered = sorted(cues, key=lambda cue: cue.number or 0)
    latest = itertools.accumulate((cue.start for cue in numbered), max)
    is_near = all(late - cue.start <= MAX_BACK_S for late, cue in zip(latest, numbered, strict=True))
    return numbered if is_near else by_time


def _without_repeats(cues: Sequence[_Shown]) -> Iterator[_Shown]:
    """Take out of each cue the lines that the cue before it shows too: captions that roll up."""
    shown: list[str] = []
    shown_until = 0.0
    for cue in cues:
        plain = [line.strip() for line in cue.lines]
        is_rolling = cue.start <= shown_until + 0.1
        repeated = [is_rolling and bool(line) and line in shown for line in plain]
        fresh = [line for line, is_old in zip(cue.lines, repeated, strict=True) if not is_old]
        shown, shown_until = plain, cue.end
        if fresh or not cue.lines:
            yield dataclasses.replace(cue, lines=fresh)
