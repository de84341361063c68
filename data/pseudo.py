"""Labels made by recognisers: whose text to take, and which utterances to trust."""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import fsum

from data.manifest import Utterance
from data.scores import Heard, TextDistance
from silero_like.evaluation.edits import edit_distance

EMPTY = "empty"
"""Name of the one filter that is always on: nothing was heard."""


@dataclass(frozen=True, kw_only=True)
class Label:
    """A text for an utterance, and what speaks for it."""

    utterance: Utterance
    """With the label as its text."""
    confidence: float | None
    """Of the recogniser whose text it is, or, where that gives none, of the first that does; in [0, 1]."""
    disagreement: float | None
    """Mean distance from the texts of the other recognisers, or from the same model's text without a language model;
    in [0, 1]; None where there is nothing to compare with."""


@dataclass(frozen=True, kw_only=True)
class Filters:
    """What a label must be like to be kept; a filter that is None is off."""

    min_confidence: float | None = None
    max_disagreement: float | None = None
    rate: tuple[float, float] | None = None
    """Words a second, least and most; every Chinese character is a word."""
    rare: int | None = None
    """Utterances that are wanted of each word: one whose words were all kept as often already is left out, unless its
    speaker is rare."""
    rare_speaker_s: float = 60.0
    """Seconds that are wanted of each speaker whose name is known."""

    def __post_init__(self) -> None:
        if self.rate and not 0 <= self.rate[0] < self.rate[1]:
            raise ValueError(f"expected words a second as two rising numbers, got {self.rate[0]:g} {self.rate[1]:g}")


@dataclass(frozen=True)
class Selection:
    """Which labels pass."""

    alone: Mapping[str, tuple[bool, ...]]
    """Filter -> whether each label passes it, if it is the only one beside `EMPTY`."""
    together: tuple[bool, ...]
    """Whether each label passes all of them."""


def make_label(utterance: Utterance, heard: Sequence[Heard], distance: TextDistance) -> Label:
    """Label an utterance with what recognisers heard in it.

    Of three or more the text that is nearest to those of the others is taken, of equals, and of two, the first.

    Args:
        utterance: its text is replaced.
        heard: one for each recogniser.
        distance: compares texts.
    """
    far = [_mean([distance.disagreement(one.text, other.text) for other in heard if other is not one]) for one in heard]
    best = min(range(len(heard)), key=lambda number: far[number] or 0.0) if len(heard) > 2 else 0
    chosen, disagreement = heard[best], far[best]
    if disagreement is None and chosen.greedy is not None:
        disagreement = distance.disagreement(chosen.text, chosen.greedy)
    confidence = next((one.confidence for one in (chosen, *heard) if one.confidence is not None), None)
    quality = confidence if confidence is not None else None if disagreement is None else 1 - disagreement
    return Label(
        utterance=dataclasses.replace(
            utterance,
            text=chosen.text,
            annotation="pseudo",
            quality=None if quality is None else round(quality, 4),
        ),
        confidence=confidence,
        disagreement=disagreement,
    )


def select(
    labels: Sequence[Label], filters: Filters, distance: TextDistance, known: Sequence[Utterance] = ()
) -> Selection:
    """Apply filters, each alone and all together; what is rare is judged last, among what the others leave.

    Args:
        labels: candidates.
        filters: which filters are on.
        distance: tells the words of a text.
        known: labelled speech that there is already: its words and speakers are less rare.
    """
    said = [bool(distance.plain(label.utterance.text)) for label in labels]
    passes: dict[str, tuple[bool, ...]] = {EMPTY: tuple(said)}
    for name, test in _tests(filters, distance).items():
        passes[name] = tuple(one and test(label) for one, label in zip(said, labels, strict=True))
    together = [all(column) for column in zip(*passes.values(), strict=True)] if labels else []
    if filters.rare is not None:
        passes["rare"] = _rare(labels, said, filters, distance, known)
        together = list(_rare(labels, together, filters, distance, known))
    return Selection(passes, tuple(together))


def kept_cer(
    labels: Sequence[Label], references: Sequence[str], kept: Sequence[bool], distance: TextDistance
) -> float | None:
    """Return the CER of the labels that are kept, where the truth is known; None where nothing is kept."""
    pairs = [
        (distance.plain(reference), distance.plain(label.utterance.text))
        for label, reference, is_kept in zip(labels, references, kept, strict=True)
        if is_kept
    ]
    length = sum(len(reference) for reference, _ in pairs)
    return sum(edit_distance(*pair) for pair in pairs) / length if length else None


def kept_hours(labels: Sequence[Label], kept: Sequence[bool]) -> float:
    """Return the hours of speech that are kept."""
    return fsum(label.utterance.duration_s for label, one in zip(labels, kept, strict=True) if one) / 3600


def _tests(filters: Filters, distance: TextDistance) -> dict[str, Callable[[Label], bool]]:
    tests: dict[str, Callable[[Label], bool]] = {}
    if (least := filters.min_confidence) is not None:
        tests["confidence"] = lambda label: label.confidence is not None and label.confidence >= least
    if (most := filters.max_disagreement) is not None:
        tests["disagreement"] = lambda label: label.disagreement is not None and label.disagreement <= most
    if filters.rate is not None:
        low, high = filters.rate
        tests["rate"] = lambda label: (
            low <= len(distance.words(label.utterance.text)) / label.utterance.duration_s <= high
        )
    return tests


def _rare(
    labels: Sequence[Label],
    allowed: Sequence[bool],
    filters: Filters,
    distance: TextDistance,
    known: Sequence[Utterance],
) -> tuple[bool, ...]:
    """Go through the allowed labels, the most trusted first, and keep each that adds a rare word or speaker."""
    wanted = filters.rare or 0
    said: Counter[str] = Counter()
    spoken_s: defaultdict[str, float] = defaultdict(float)

    def add(utterance: Utterance, words: set[str]) -> None:
        said.update(words)
        spoken_s[utterance.speaker] += utterance.duration_s

    for utterance in known:
        add(utterance, set(distance.words(utterance.text)))
    kept = [False] * len(labels)
    for number in sorted(range(len(labels)), key=lambda number: -(labels[number].utterance.quality or 0.0)):
        utterance = labels[number].utterance
        words = set(distance.words(utterance.text))
        is_new = utterance.speaker != "" and spoken_s[utterance.speaker] < filters.rare_speaker_s
        if allowed[number] and (is_new or any(said[word] < wanted for word in words)):
            kept[number] = True
            add(utterance, words)
    return tuple(kept)


def _mean(values: Sequence[float]) -> float | None:
    return fsum(values) / len(values) if values else None
