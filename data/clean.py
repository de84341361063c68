"""Find wrong labels: how far each is from what a model hears, and how far is too far in its domain."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from data.manifest import Utterance

Measure = Literal["misfit", "cer"]

FLOORS: Mapping[Measure, float] = {"misfit": 5.0, "cer": 0.6}
"""No label below is suspected. With the bundled model and speech it has not heard, 99 of 100 true labels misfit by less
than 4.7 nats a token, of wrong ones 1 in 100 by less than 8 (docs/pseudo-labels.md)."""
SPREADS = 4.0
"""How many spreads above the median of its domain a label is suspected."""
_NORMAL = 1.4826  # standard deviation of a normal distribution over its median absolute deviation


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A label beside what a model heard."""

    utterance: Utterance
    heard: str
    cer: float
    """Of what was heard, taking the label as the truth; may exceed 1."""
    misfit: float
    """`data.scores.Heard.misfit`."""
    confidence: float

    def value(self, measure: Measure) -> float:
        """Return what labels are ranked by; higher is worse."""
        return self.misfit if measure == "misfit" else self.cer


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The labels of some manifests, divided."""

    ranking: tuple[Judged, ...]
    """All, the worst first."""
    thresholds: Mapping[str, float]
    """Domain -> value above which a label is suspected."""
    suspects: frozenset[Utterance]


def derived_thresholds(judged: Sequence[Judged], measure: Measure) -> dict[str, float]:
    """Return for each domain the median and `SPREADS` robust standard deviations above it, at least the floor.

    Both stand still while fewer than half of the labels are wrong.
    """
    return {
        domain: max(FLOORS[measure], median(values) + SPREADS * _NORMAL * _deviation(values))
        for domain, values in _by_domain(judged, measure).items()
    }


def share_thresholds(judged: Sequence[Judged], measure: Measure, share: float) -> dict[str, float]:
    """Return for each domain the value above which this share of its labels, rounded, lies; ties are not suspected."""
    thresholds = {}
    for domain, values in _by_domain(judged, measure).items():
        n_worst = round(share * len(values))
        thresholds[domain] = sorted(values)[len(values) - n_worst - 1] if n_worst < len(values) else -1.0
    return thresholds


def judge(judged: Sequence[Judged], measure: Measure, thresholds: Mapping[str, float]) -> Verdict:
    """Rank labels, and suspect those above the threshold of their domain."""
    return Verdict(
        ranking=tuple(sorted(judged, key=lambda one: -one.value(measure))),
        thresholds=dict(thresholds),
        suspects=frozenset(one.utterance for one in judged if one.value(measure) > thresholds[one.utterance.domain]),
    )


def _by_domain(judged: Sequence[Judged], measure: Measure) -> dict[str, list[float]]:
    values: defaultdict[str, list[float]] = defaultdict(list)
    for one in judged:
        values[one.utterance.domain].append(one.value(measure))
    return dict(sorted(values.items()))


def _deviation(values: Sequence[float]) -> float:
    """Return the median absolute deviation from the median."""
    middle = median(values)
    return median(abs(value - middle) for value in values)
