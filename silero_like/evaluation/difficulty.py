"""Why domains differ: how hard their speech is, and how much worse a model does where it was not trained."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import fsum
from typing import Any

import numpy as np

from silero_like.evaluation.scoring import Evaluation, Row

NOISY_BELOW_DB = 20.0


@dataclass(frozen=True, kw_only=True)
class Difficulty:
    """How hard a domain is; None where it is not known."""

    speakers: int
    vocabulary: int
    """Distinct words of the references."""
    oov_rate: float | None
    """Share of the reference words that the training texts do not hold."""
    words_per_s: float
    snr_db: float | None
    """Median over utterances of the estimate; pauses are needed for it, so short clips look noisy."""
    bandwidth_hz: float | None
    """Median over utterances."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """Some domains and the plain means of their rates."""

    name: str
    domains: tuple[str, ...]
    wer: float | None
    cer: float | None


@dataclass(frozen=True)
class Gap:
    """Two groups of domains; the gap is the second's rate minus the first's."""

    first: Group
    second: Group

    @property
    def wer(self) -> float | None:
        """How much higher the second group's WER is."""
        return None if self.first.wer is None or self.second.wer is None else self.second.wer - self.first.wer

    @property
    def cer(self) -> float | None:
        """How much higher the second group's CER is."""
        return None if self.first.cer is None or self.second.cer is None else self.second.cer - self.first.cer

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        groups = {
            group.name: {"domains": list(group.domains), "wer": group.wer, "cer": group.cer}
            for group in (self.first, self.second)
        }
        return {**groups, "wer": self.wer, "cer": self.cer}


def describe_domain(rows: Sequence[Row], known_words: Collection[str] | None) -> Difficulty:
    """Describe the rows of one domain, at least one; `known_words` are those of the training texts, if known."""
    words = [word for row in rows for word in row.reference]
    known = None if known_words is None else sum(word in known_words for word in words)
    return Difficulty(
        speakers=len({row.item.speaker for row in rows} - {""}),
        vocabulary=len(set(words)),
        oov_rate=None if known is None or not words else 1 - known / len(words),
        words_per_s=len(words) / max(fsum(row.item.duration_s for row in rows), 1e-9),
        snr_db=_median([row.item.snr_db for row in rows]),
        bandwidth_hz=_median([row.item.bandwidth_hz for row in rows]),
    )


def find_gap(evaluation: Evaluation, names: tuple[str, str], second: Collection[str]) -> Gap | None:
    """Compare the domains in `second` with all the others; None where either group is empty."""
    inside = tuple(name for name in evaluation.domains if name not in second)
    outside = tuple(name for name in evaluation.domains if name in second)
    if not inside or not outside:
        return None
    return Gap(_group(evaluation, names[0], inside), _group(evaluation, names[1], outside))


def _group(evaluation: Evaluation, name: str, domains: tuple[str, ...]) -> Group:
    scores = [evaluation.domains[domain] for domain in domains]
    wers = [score.words.rate for score in scores if score.words.rate is not None]
    cers = [score.chars.rate for score in scores if score.chars.rate is not None]
    return Group(name=name, domains=domains, wer=_mean(wers), cer=_mean(cers))


def _mean(rates: Sequence[float]) -> float | None:
    return fsum(rates) / len(rates) if rates else None


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else None
