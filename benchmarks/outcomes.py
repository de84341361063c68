"""Texts and subtitles of a joined recording with something wrong in them, and what became of each sentence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmarks.joined import Spoken
from data.segment import Sentence
from data.subtitles import Cue, parse_subtitles

VERSIONS = ("whole", "missing", "extra", "swapped")
TOLERANCE_S = 0.25
SHARE = 0.1
WRONG_LINES = 0.05
SHIFT_S = 2.0


@dataclass(frozen=True)
class Line:
    """A line of a text; `spoken` is None where nobody says it there."""

    text: str
    spoken: Spoken | None


@dataclass(frozen=True)
class Outcome:
    """A line, where it was found, and whether that is where its words are said."""

    line: Line
    found: Sentence
    is_said: bool

    def left_out(self) -> Outcome:
        """Return it as one that was not kept."""
        return Outcome(self.line, replace(self.found, dropped="low score"), is_said=False)

    @property
    def errors_s(self) -> tuple[float, float] | None:
        """How late its start and its end are; None of one that is not said."""
        spoken = self.line.spoken
        return (self.found.start - spoken.start, self.found.end - spoken.end) if spoken else None

    @property
    def is_exact(self) -> bool:
        """Whether both boundaries are near the truth."""
        return self.is_said and self.errors_s is not None and max(map(abs, self.errors_s)) <= TOLERANCE_S


def spoiled(spoken: Sequence[Spoken], version: str, spare: Sequence[str], rng: np.random.Generator) -> list[Line]:
    """Return the transcript with a tenth of its sentences missing, extra or swapped."""
    lines = [Line(one.text, one) for one in spoken]
    n = round(SHARE * len(lines))
    if version == "swapped":
        for a, b in rng.permutation(len(lines))[: n // 2 * 2].reshape(-1, 2):
            lines[a], lines[b] = Line(lines[b].text, None), Line(lines[a].text, None)
    elif version == "missing":
        gone = set(rng.permutation(len(lines))[:n].tolist())
        lines = [line for number, line in enumerate(lines) if number not in gone]
    elif version == "extra":
        for place in sorted(rng.integers(0, len(lines) + 1, n).tolist(), reverse=True):
            lines.insert(place, Line(spare[int(rng.integers(len(spare)))], None))
    return lines


def subtitled(
    spoken: Sequence[Spoken], spare: Sequence[str], rng: np.random.Generator
) -> tuple[list[Line], tuple[Cue, ...]]:
    """Write subtitles with shifted cues and wrong lines among music and noises, and read them.

    Returns:
        the lines whose cues were read, and the cues: one that repeats another shown at the same time is not.
    """
    wrong = set(rng.permutation(len(spoken))[: round(WRONG_LINES * len(spoken))].tolist())
    shifts = rng.uniform(-SHIFT_S, SHIFT_S, len(spoken))
    lines = [
        Line(spare[number % len(spare)], None) if number in wrong else Line(one.text, one)
        for number, one in enumerate(spoken)
    ]
    starts = [max(0.0, one.start + shift) for one, shift in zip(spoken, shifts, strict=True)]
    ends = [max(0.1, one.end + shift) for one, shift in zip(spoken, shifts, strict=True)]
    blocks = [
        f"{number}\n{_stamp(start)} --> {_stamp(end)}\n<i>{line.text}</i> [noise]\n"
        for number, (start, end, line) in enumerate(zip(starts, ends, lines, strict=True), start=1)
    ]
    blocks[10:10] = ["11\n00:00:01,000 --> 00:00:02,000\n[music]\n"]
    read = parse_subtitles("\n".join(blocks)).cues
    line_of = {(_stamp(start), line.text): line for start, line in zip(starts, lines, strict=True)}
    return [line_of[_stamp(cue.start), cue.text] for cue in read], read


def outcomes(
    lines: Sequence[Line], found: Sequence[Sentence], spoken: Sequence[Spoken], normalize: Callable[[str], str]
) -> list[Outcome]:
    """Compare what was found with the truth."""
    return [
        Outcome(line, one, not one.dropped and _is_said(line, one, spoken, normalize))
        for line, one in zip(lines, found, strict=True)
    ]


def tally(rows: Sequence[Outcome], n_unread: int = 0) -> dict[str, Any]:
    """Count: shares of the intact and the wrong lines that were kept, of right boundaries, of what was kept rightly."""
    kept = [row for row in rows if not row.found.dropped]
    intact = [row for row in rows if row.line.spoken]
    wrong = [row for row in rows if not row.line.spoken]
    good = [row for row in intact if row.is_said]
    domains = sorted({row.line.spoken.domain for row in intact if row.line.spoken})
    return {
        "intact": len(intact) + n_unread,
        "intact_kept": len(good) / (len(intact) + n_unread),
        "wrong": len(wrong),
        "wrong_kept": sum(not (row.found.dropped or row.is_said) for row in wrong) / len(wrong) if wrong else None,
        "boundaries": sum(row.is_exact for row in good) / max(1, sum(not row.found.dropped for row in intact)),
        "precision": sum(row.is_said for row in kept) / max(1, len(kept)),
        "domains": {domain: _of_domain(intact, domain) for domain in domains},
    }


def _of_domain(intact: Sequence[Outcome], domain: str) -> dict[str, float]:
    rows = [row for row in intact if row.line.spoken and row.line.spoken.domain == domain]
    good = [row for row in rows if row.is_said]
    return {"kept": len(good) / len(rows), "boundaries": sum(row.is_exact for row in good) / max(1, len(good))}


def _is_said(line: Line, one: Sentence, spoken: Sequence[Spoken], normalize: Callable[[str], str]) -> bool:
    """Tell whether a kept sentence lies where its words are said: by its own utterance or one of the same text."""

    def overlap(other: Spoken) -> float:
        return min(one.end, other.end) - max(one.start, other.start)

    there = line.spoken if line.spoken and overlap(line.spoken) > 0 else max(spoken, key=overlap)
    shared = overlap(there) > 0.5 * min(one.end - one.start, there.end - there.start)
    return shared and normalize(there.text) == normalize(line.text)


def _stamp(seconds: float) -> str:
    """Write a time as SRT does."""
    whole, milliseconds = divmod(round(seconds * 1000), 1000)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02},{milliseconds:03}"
