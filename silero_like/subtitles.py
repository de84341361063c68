"""Words with times -> subtitles that can be read: cues of one or two short lines, as SRT and WebVTT."""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from decode.words import Word
    from silero_like.recognizer import Transcript

LINE_COLUMNS = 42
"""Columns of a line; a Chinese character, twice as wide, takes two. A single longer word stays whole."""
MIN_CUE_S, MAX_CUE_S = 1.0, 7.0
COLUMNS_PER_S = 17.0
"""Reading speed: a cue stays so long where the next one leaves it the time."""
PAUSE_S = 1.0
"""A pause in which a cue ends."""


@dataclass(frozen=True)
class Cue:
    """One subtitle, shown from `start` to `end` seconds."""

    start: float
    end: float
    lines: tuple[str, ...]
    text: str
    """Its text in one line."""
    words: tuple[Word, ...]
    """The words in it, with their own times."""
    channel: int | None = None
    """From 1, where channels were transcribed separately: then cues can overlap, and their lines name it."""


Spaced = tuple["Word", str]
"""A word and the white space before it in the text."""


def make_cues(transcript: Transcript) -> list[Cue]:
    """Divide a transcript into cues, at pauses where there are any; those of several channels by their starts."""
    if transcript.channels:
        cues = [cue for n, channel in enumerate(transcript.channels, start=1) for cue in _cues(channel, n)]
        return sorted(cues, key=lambda cue: cue.start)
    return _cues(transcript, None)


def render_srt(transcript: Transcript) -> str:
    """Return SubRip text, without a newline at the end.

    >>> from decode.words import Word
    >>> from silero_like.recognizer import Transcript
    >>> words = (Word("hello", 0.5, 0.9, 1.0), Word("there", 1.0, 1.4, 1.0))
    >>> print(render_srt(Transcript("", 2.0, "hello there", 1.0, words, "m")))
    1
    00:00:00,500 --> 00:00:01,500
    hello there
    """
    return "\n\n".join(
        f"{number}\n{_clock(cue.start)} --> {_clock(cue.end)}\n" + "\n".join(cue.lines)
        for number, cue in enumerate(make_cues(transcript), start=1)
    )


def render_vtt(transcript: Transcript) -> str:
    """Return WebVTT, without a newline at the end."""
    cues = (
        f"{_clock(cue.start, '.')} --> {_clock(cue.end, '.')}\n" + html.escape("\n".join(cue.lines), quote=False)
        for cue in make_cues(transcript)
    )
    return "\n\n".join(["WEBVTT", *cues])


def spaced_words(transcript: Transcript) -> Iterator[Spaced]:
    """Find each word in the text, which knows where there are spaces: not between Chinese characters."""
    end = 0
    for word in transcript.words:
        start = transcript.text.find(word.word, end)
        yield word, "" if start == end else " "
        end = start + len(word.word) if start >= 0 else end


def joined(spaced: Sequence[Spaced]) -> str:
    """Return words as a text in one line."""
    return "".join(space + word.word for word, space in spaced).strip()


def _cues(transcript: Transcript, channel: int | None) -> list[Cue]:
    label = f"channel {channel}: " if channel else ""
    groups = list(_groups(spaced_words(transcript), label))
    starts = [group[0][0].start for group in groups] + [float("inf")]
    return [_cue(group, label, channel, start) for group, start in zip(groups, starts[1:], strict=True)]


def _groups(spaced: Iterable[Spaced], label: str) -> Iterator[list[Spaced]]:
    """Divide words into those of each cue."""
    group: list[Spaced] = []
    for word, space in spaced:
        if group and word.start - group[-1][0].end >= PAUSE_S:
            yield group
            group = []
        group.append((word, space))
        while len(group) > 1 and (_lines(group, label) is None or group[-1][0].end - group[0][0].start > MAX_CUE_S):
            cut = _cut(group)
            yield group[:cut]
            group = group[cut:]
    if group:
        yield group


def _cut(group: Sequence[Spaced]) -> int:
    """Return before which word of the second half the longest pause is; the last of equals."""
    half = (len(group) + 1) // 2
    return max(range(half, len(group)), key=lambda i: (round(group[i][0].start - group[i - 1][0].end, 3), i))


def _cue(group: Sequence[Spaced], label: str, channel: int | None, next_start: float) -> Cue:
    words = tuple(word for word, _ in group)
    lines = _lines(group, label) or (label + joined(group),)
    start, least = words[0].start, max(MIN_CUE_S, sum(map(columns, lines)) / COLUMNS_PER_S)
    end = min(max(words[-1].end, start + least), start + MAX_CUE_S, next_start)
    return Cue(start, end, lines, joined(group), words, channel)


def _lines(group: Sequence[Spaced], label: str) -> tuple[str, ...] | None:
    """Set words behind a label in one line, or in two of similar length; None if they do not fit."""
    if columns(label + joined(group)) <= LINE_COLUMNS:
        return (label + joined(group),)
    breaks = [(label + joined(group[:cut]), joined(group[cut:])) for cut in range(1, len(group))]
    fitting = [lines for lines in breaks if max(map(columns, lines)) <= LINE_COLUMNS]
    return min(fitting, key=lambda lines: abs(columns(lines[0]) - columns(lines[1])), default=None)


def columns(text: str) -> int:
    """Count the columns that a text takes in a line.

    >>> columns("ok 明天")
    7
    """
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def _clock(seconds: float, point: str = ",") -> str:
    ms = round(seconds * 1000)
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}{point}{ms % 1000:03}"
