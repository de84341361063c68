"""Two sources of labels for the same speech: where they agree, both are probably right."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import fsum
from typing import Literal

from data.manifest import Utterance
from data.scores import TextDistance


@dataclass(frozen=True, kw_only=True)
class DomainAgreement:
    """How far two sources agree in one domain."""

    utterances: int
    hours: float
    missing: int
    """Utterances for which the second source has no text."""
    kept: int
    kept_hours: float
    disagreement: float | None
    """Mean over the utterances that both have; None where there are none."""
    kept_disagreement: float | None
    """Mean over those that are kept."""


@dataclass(frozen=True)
class Agreed:
    """What two sources agree on."""

    utterances: tuple[Utterance, ...]
    """The rows to keep; their quality is 1 less the disagreement."""
    domains: Mapping[str, DomainAgreement]


def agree(
    utterances: Sequence[Utterance],
    others: Sequence[str | None],
    distance: TextDistance,
    *,
    max_disagreement: float,
    keep: Literal["a", "b"] = "a",
) -> Agreed:
    """Keep the utterances on whose text two sources agree.

    Args:
        utterances: with the first source's texts.
        others: the second source's text of each; None where it has none.
        distance: compares texts.
        max_disagreement: characters to change over those of the longer text; more is too much.
        keep: whose text is kept.
    """
    values = [
        None if other is None else distance.disagreement(utterance.text, other)
        for utterance, other in zip(utterances, others, strict=True)
    ]
    kept = [  # two empty texts agree on nothing
        value is not None and value <= max_disagreement and bool(distance.plain(other or ""))
        for other, value in zip(others, values, strict=True)
    ]
    rows = [
        dataclasses.replace(
            utterance, text=utterance.text if keep == "a" else (other or ""), quality=round(1 - (value or 0.0), 4)
        )
        for utterance, other, value, is_kept in zip(utterances, others, values, kept, strict=True)
        if is_kept
    ]
    numbers: defaultdict[str, list[int]] = defaultdict(list)
    for number, utterance in enumerate(utterances):
        numbers[utterance.domain].append(number)
    domains = {
        name: _summary([(utterances[n], values[n], kept[n]) for n in members])
        for name, members in sorted(numbers.items())
    }
    return Agreed(tuple(rows), domains)


def _summary(rows: Sequence[tuple[Utterance, float | None, bool]]) -> DomainAgreement:
    known = [value for _, value, _ in rows if value is not None]
    kept = [value for _, value, is_kept in rows if is_kept and value is not None]
    return DomainAgreement(
        utterances=len(rows),
        hours=fsum(utterance.duration_s for utterance, _, _ in rows) / 3600,
        missing=len(rows) - len(known),
        kept=len(kept),
        kept_hours=fsum(utterance.duration_s for utterance, _, is_kept in rows if is_kept) / 3600,
        disagreement=fsum(known) / len(known) if known else None,
        kept_disagreement=fsum(kept) / len(kept) if kept else None,
    )
