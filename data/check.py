"""Find what is wrong with the rows of manifests, and what leaks between training and test.

Not found: the same recording cut elsewhere, played at another speed or with noise added; one coded anew whose text
differs too; speakers under two names; texts that are wrong but of a likely length (`silero-like data clean` looks for
these with a model).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np

from data.examine import BEYOND_S, ROUNDING_S, Examined, Sample, fingerprint_of, read_waveform
from data.manifest import Utterance
from data.measures import Waveform, correlate, fingerprint_distance
from silero_like.errors import ConfigError

Reader = Callable[[Utterance], Waveform]

ALIKE_DB = 2.0
"""Fingerprints this near may be of one recording, and are compared sample by sample."""
SAME_CORRELATION = 0.9
"""Copies coded anew correlated by 0.93 and more (Opus at 8 kbit/s by 0.71), other takes of a digit by up to 0.85."""

KINDS = {
    "row": "the manifest's line cannot be used",
    "unreadable": "the audio cannot be decoded, or there is none",
    "shorter": "the recording ends before the declared end: truncated?",
    "longer": "the recording goes on after the declared end, and no other row uses it",
    "silent": "no speech to be heard",
    "clipped": "many samples are cut off at the largest value",
    "fast": "more text than can be said in the time",
    "slow": "hardly any text for the time",
    "same audio": "the recording of an earlier row again",
    "same text": "the sentence of an earlier row of the same speaker again",
    "leak: same audio": "the recording is in --against too",
    "leak: same speaker": "the speaker is in --against too",
    "leak: same sentence": "the sentence is in --against too",
}
"""What is looked for, in the order of the output."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What still passes."""

    shorter_s: float = 0.1
    """Audio missing before the declared end, in seconds."""
    longer_s: float = 0.5
    """Audio behind the declared end, in seconds, below 1."""
    level_db: float = -60.0
    """Lowest level of the loud tenth of the frames, in dB of full scale."""
    silence_share: float = 0.95
    """Share of silent frames."""
    clipped_share: float = 0.001
    """Share of clipped samples."""
    fast: float = 30.0
    """Letters a second; a Han character counts as three."""
    slow: float = 0.5
    """Letters a second."""
    sentence: float = 20.0
    """Letters of the shortest text that may be the same twice only by mistake; digits and commands are shorter."""

    def __post_init__(self) -> None:
        if not 0 < self.longer_s < BEYOND_S:
            raise ConfigError(f"longer_s = {self.longer_s:g}: expected above 0 s and below {BEYOND_S:g} s")

    def clipped(self, sample: Sample) -> bool:
        """Tell whether a recording is clipped more than may be."""
        return sample.examined is not None and sample.examined.measures.clipped_share > self.clipped_share

    def silent(self, sample: Sample) -> bool:
        """Tell whether a recording holds no speech."""
        if sample.examined is None:
            return False
        found = sample.examined.measures
        return found.level_db < self.level_db or found.silence_share > self.silence_share


LIMITS = tuple(field.name for field in fields(Limits))


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong with one row."""

    kind: str
    """One of `KINDS`."""
    where: str
    """The row, ``path:line``."""
    audio_filepath: str = ""
    """Its recording."""
    detail: str
    """What was found, in words."""
    other: str = ""
    """The row that it repeats, ``path:line``."""


def check(
    samples: Sequence[Sample], against: Sequence[Sample], limits: Limits, read: Reader = read_waveform
) -> list[Finding]:
    """Check rows, and look for leaks to those of `against`; in the order of `KINDS`, each in the order of the rows.

    Recordings that may be copies of each other are decoded once more, by `read`.
    """
    uses: dict[object, int] = defaultdict(int)
    for sample in samples:
        uses[sample.utterance.audio_path] += 1
    singles = (finding for sample in samples for finding in _alone(sample, uses, limits))
    found = [*singles, *_repeats(samples, limits, read), *_leaks(samples, against, limits, read)]
    order = {kind: place for place, kind in enumerate(KINDS)}
    return sorted(found, key=lambda finding: order[finding.kind])


def _alone(sample: Sample, uses: dict[object, int], limits: Limits) -> Iterator[Finding]:
    """Yield what is wrong with a row by itself."""
    examined, utterance = sample.examined, sample.utterance
    if examined is None:
        yield _finding("unreadable", sample, sample.problem)
        return
    found, declared_s = examined.measures, utterance.duration_s
    if declared_s - examined.found_s > limits.shorter_s:
        yield _finding("shorter", sample, f"{examined.found_s:.2f} s of audio, declared {declared_s:.2f} s")
    if examined.found_s - declared_s > limits.longer_s and uses[utterance.audio_path] == 1 and not utterance.offset_s:
        yield _finding("longer", sample, f"goes on for more than {limits.longer_s:g} s after {declared_s:.2f} s")
    if limits.silent(sample):
        yield _finding("silent", sample, f"level {found.level_db:.0f} dB, {100 * found.silence_share:.0f} % silence")
    if limits.clipped(sample):
        yield _finding("clipped", sample, f"{100 * found.clipped_share:.2f} % of the samples")
    if sample.letters_per_s > limits.fast:
        yield _finding("fast", sample, _rate(sample))
    if sample.letters_per_s < limits.slow:
        yield _finding("slow", sample, _rate(sample))


def _rate(sample: Sample) -> str:
    return f"{sample.chars_per_s:.1f} characters a second: {_short(sample.utterance.text)} in {sample.duration_s:.2f} s"


def _repeats(samples: Sequence[Sample], limits: Limits, read: Reader) -> Iterator[Finding]:
    """Yield rows whose audio, or whose speaker and sentence, an earlier one has."""
    known = _Recordings(limits, read)
    spoken: dict[tuple[str, str], Sample] = {}
    for sample in samples:
        if match := known.find(sample):
            yield _finding("same audio", sample, *match)
        elif sample.n_letters >= limits.sentence:
            first = spoken.setdefault((sample.utterance.speaker, sample.text), sample)
            if first is not sample:
                yield _finding("same text", sample, f"{_speaker(sample)}: {_short(sample.text)}", first)
        known.add(sample)


def _leaks(samples: Sequence[Sample], against: Sequence[Sample], limits: Limits, read: Reader) -> Iterator[Finding]:
    """Yield rows whose audio, speaker or sentence is among others."""
    known = _Recordings(limits, read)
    for sample in against:
        known.add(sample)
    speakers = _by(against, lambda sample: sample.utterance.speaker)
    sentences = _by(against, lambda sample: sample.text if sample.n_letters >= limits.sentence else "")
    for sample in samples:
        if match := known.find(sample):
            yield _finding("leak: same audio", sample, *match)
        if rows := speakers.get(sample.utterance.speaker):
            yield _finding("leak: same speaker", sample, f"{_speaker(sample)}, rows there: {len(rows)}", rows[0])
        if rows := sentences.get(sample.text):
            yield _finding("leak: same sentence", sample, f"{_short(sample.text)}, rows there: {len(rows)}", rows[0])


class _Recordings:
    """Recordings by their samples and, where the text is the same, by their sound."""

    def __init__(self, limits: Limits, read: Reader) -> None:
        self._limits, self._read = limits, read
        self._hashes: dict[str, Sample] = {}
        self._takes: dict[tuple[str, int], list[Sample]] = defaultdict(list)

    def add(self, sample: Sample) -> None:
        if sample.examined and not self._limits.silent(sample):  # one silence is like another
            self._hashes.setdefault(sample.examined.sha256, sample)
            self._takes[sample.text, _slot(sample)].append(sample)

    def find(self, sample: Sample) -> tuple[str, Sample] | None:
        """Return what a row has in common with a recording, and that."""
        if sample.examined is None:
            return None
        if first := self._hashes.get(sample.examined.sha256):
            same = "" if first.text == sample.text else f", but another text: {_short(sample.text)}"
            return f"the same samples{same}", first
        take = self._nearest(sample, sample.examined)
        if take is None or self._limits.silent(sample):
            return None
        correlation = correlate(self._read(sample.utterance), self._read(take.utterance))
        return (f"a copy coded anew, correlation {correlation:.2f}", take) if correlation > SAME_CORRELATION else None

    def _nearest(self, sample: Sample, examined: Examined) -> Sample | None:
        """Return the recording of the same text and length that sounds most like a row's, if it may be a copy."""
        slot = _slot(sample)
        near = [take for place in (slot - 1, slot, slot + 1) for take in self._takes.get((sample.text, place), ())]
        near = [take for take in near if abs(take.duration_s - sample.duration_s) <= ROUNDING_S]
        if not near:
            return None
        others = np.stack([fingerprint_of(take.examined) for take in near if take.examined])
        distances = fingerprint_distance(fingerprint_of(examined), others)
        best = int(distances.argmin())
        return near[best] if distances[best] < ALIKE_DB else None


def _slot(sample: Sample) -> int:
    """Number durations, so that two within `ROUNDING_S` are neighbours at most."""
    return int(sample.duration_s / ROUNDING_S)


def _by(samples: Iterable[Sample], key: Callable[[Sample], str]) -> dict[str, list[Sample]]:
    """Gather rows by a key that is not empty."""
    groups: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        if name := key(sample):
            groups[name].append(sample)
    return dict(groups)


def _finding(kind: str, sample: Sample, detail: str, other: Sample | None = None) -> Finding:
    return Finding(
        kind=kind,
        where=sample.where,
        audio_filepath=str(sample.utterance.audio_path),
        detail=detail,
        other=other.where if other else "",
    )


def _speaker(sample: Sample) -> str:
    return sample.utterance.speaker or "speaker not named"


def _short(text: str) -> str:
    return f"“{text if len(text) <= 40 else text[:39] + '…'}”"
