"""The domain table: how much speech of which kind there is, and how it sounds."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import fsum
from pathlib import Path
from typing import Any

import numpy as np

from data.check import Limits
from data.examine import Sample

QUANTILES = {"min": 0, "p05": 5, "median": 50, "p95": 95, "max": 100}
GROUPINGS: dict[str, Callable[[Sample], str]] = {
    "domain": lambda sample: sample.utterance.domain,
    "speaker": lambda sample: sample.utterance.speaker,
    "source": lambda sample: sample.utterance.source,
    "lang": lambda sample: sample.utterance.lang,
    "annotation": lambda sample: sample.utterance.annotation or "",
    "manifest": lambda sample: str(sample.manifest),
}
"""What rows can be gathered by."""
TITLES = {
    "n": "utterances",
    "hours": "hours",
    "GB": "gigabytes of recordings on disk",
    "spk": "named speakers",
    "s 5/50/95 %": "duration, quantiles",
    "ch/s": "characters a second, median",
    "dBFS": "level of the speech, median",
    "SNR": "estimate in dB, median",
    "kHz": "bandwidth, median",
    "clip %": "share of utterances with clipping",
    "sil %": "share of silence",
    "annotation": "how the texts came about",
}
"""Columns of the table and what they are."""


@dataclass(frozen=True)
class Column:
    """How a measure is shown."""

    title: str
    """Name with unit."""
    short: str
    """The same as briefly as can be."""
    factor: float
    """From the measure's own unit to that."""
    digits: int
    """After the point."""


MEASURES = {
    "duration_s": Column("duration, s", "s", 1, 1),
    "chars_per_s": Column("characters a second", "ch/s", 1, 1),
    "level_db": Column("level, dB of full scale", "dBFS", 1, 0),
    "snr_db": Column("SNR estimate, dB", "SNR", 1, 0),
    "bandwidth_hz": Column("bandwidth, kHz", "kHz", 1e-3, 1),
    "clipped_share": Column("clipped samples, %", "clip %", 100, 2),
    "silence_share": Column("silence, %", "sil %", 100, 0),
}
"""What is measured of every row, see `data.measures`, and its rate."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """What the rows of a domain hold together."""

    utterances: int
    """Rows with good audio."""
    unreadable: int
    """Rows without."""
    audio_s: float
    """Audio in seconds."""
    n_bytes: int
    """Size of the recordings on disk, each counted once."""
    speakers: int
    """Different names of speakers; rows without one count nothing."""
    annotations: dict[str, int]
    """Kind -> rows; "" where it is not given."""
    quantiles: dict[str, dict[str, float]]
    """Measure -> name of the quantile -> value; empty without good audio."""
    clipped: int
    """Rows with more clipping than the limit."""
    silence_share: float
    """Of all audio, in [0, 1]."""

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {**vars(self), "hours": self.audio_s / 3600, "gigabytes": self.n_bytes / 1e9}


def gather(samples: Iterable[Sample], by: str, limits: Limits) -> dict[str, Group]:
    """Describe rows in groups, sorted by name; `by` is one of `GROUPINGS`."""
    members: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        members[GROUPINGS[by](sample)].append(sample)
    return {name: describe(members[name], limits) for name in sorted(members)}


def describe(samples: Sequence[Sample], limits: Limits) -> Group:
    """Describe rows together."""
    good = [sample for sample in samples if sample.examined]
    audio_s = fsum(sample.duration_s for sample in good)
    silent_s = fsum(x.examined.measures.silence_share * x.duration_s for x in good if x.examined)
    return Group(
        utterances=len(good),
        unreadable=len(samples) - len(good),
        audio_s=audio_s,
        n_bytes=sum(map(_size, {sample.utterance.audio_path for sample in samples})),
        speakers=len({sample.utterance.speaker for sample in samples} - {""}),
        annotations=dict(Counter(sample.utterance.annotation or "" for sample in samples).most_common()),
        quantiles=_quantiles(good),
        clipped=sum(limits.clipped(sample) for sample in good),
        silence_share=silent_s / audio_s if audio_s else 0.0,
    )


def format_groups(groups: dict[str, Group], total: Group, by: str) -> str:
    """Return the table as text, and what its columns mean."""
    rows = [[by, *TITLES], *([name or "–", *cells(group)] for name, group in groups.items())]
    if len(groups) > 1:
        rows.append(["all", *cells(total)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:-1], widths[1:-1]), row[-1]]) for row in rows]
    return "\n".join([*lines, "", "; ".join(f"{title}: {meaning}" for title, meaning in TITLES.items())])


def cells(group: Group) -> list[str]:
    """Return a group's line of the table, by `TITLES`."""

    def at(measure: str, quantile: str = "median", factor: float = 1.0, digits: int = 1) -> str:
        return f"{group.quantiles[measure][quantile] * factor:.{digits}f}" if group.quantiles else "–"

    several = len(group.annotations) > 1
    kinds = (f"{kind or 'not given'}{f' {n}' if several else ''}" for kind, n in group.annotations.items())
    return [
        str(group.utterances),
        f"{group.audio_s / 3600:.2f}",
        f"{group.n_bytes / 1e9:.3f}",
        str(group.speakers),
        " ".join(at("duration_s", name) for name in ("p05", "median", "p95")),
        at("chars_per_s"),
        at("level_db", digits=0),
        at("snr_db", digits=0),
        at("bandwidth_hz", factor=1e-3),
        f"{100 * group.clipped / max(1, group.utterances):.1f}",
        f"{100 * group.silence_share:.1f}",
        ", ".join(kinds),
    ]


def measured(sample: Sample) -> dict[str, float]:
    """Return the measures of a row with good audio by name."""
    if sample.examined is None:
        raise ValueError(f"{sample.where}: not examined")
    return {**vars(sample.examined.measures), "chars_per_s": sample.chars_per_s}


def _quantiles(samples: Sequence[Sample]) -> dict[str, dict[str, float]]:
    if not samples:
        return {}
    rows = [measured(sample) for sample in samples]
    values = {name: np.percentile([row[name] for row in rows], list(QUANTILES.values())) for name in rows[0]}
    return {name: dict(zip(QUANTILES, map(float, found), strict=True)) for name, found in values.items()}


def _size(path: Path) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
