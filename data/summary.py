"""What became of the rows of a corpus or manifest: counted as they pass, told as JSON."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from data.manifest import Refusal, Utterance, stream_manifest

EXAMPLES = 3
"""Refused rows of a kind that the summary names."""


@dataclass
class Summary:
    """What became of the rows; counts grow as the rows pass."""

    utterances: int = 0
    audio_s: float = 0.0
    refused: Counter[str] = field(default_factory=Counter)
    """Kind -> rows."""
    examples: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Kind -> the first rows refused for it."""
    domains: Counter[str] = field(default_factory=Counter)
    """Domain -> utterances."""
    changed: int = 0
    """Rows whose text was edited, or whose file was written."""
    without_speaker: int = 0

    @property
    def rows(self) -> int:
        """Rows of the corpus."""
        return self.utterances + self.refused.total()

    def refuse(self, refusal: Refusal) -> None:
        """Count a row that is left out."""
        self.refused[refusal.kind] += 1
        if self.refused[refusal.kind] <= EXAMPLES:
            self.examples[refusal.kind].append(str(refusal))

    def keep(self, utterance: Utterance) -> None:
        """Count a row that is written."""
        self.utterances += 1
        self.audio_s += utterance.duration_s
        self.domains[utterance.domain] += 1
        self.without_speaker += not utterance.speaker

    def as_json(self) -> dict[str, object]:
        """Return plain values, the most frequent first."""
        return {
            "rows": self.rows,
            "utterances": self.utterances,
            "audio_s": round(self.audio_s, 3),
            "refused": dict(self.refused.most_common()),
            "examples": dict(self.examples),
            "domains": dict(self.domains.most_common()),
            "changed": self.changed,
            "without_speaker": self.without_speaker,
        }


def good_rows(path: Path, summary: Summary) -> Iterator[Utterance]:
    """Yield the good rows of a manifest one by one; the others are counted.

    Raises:
        ManifestError: the file cannot be read.
    """
    for _, row in stream_manifest(path):
        if isinstance(row, Refusal):
            summary.refuse(row)
        else:
            yield row
