"""An evaluation with all that explains it: difficulty, gaps, errors, and how it came about."""

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from decode.calibration import calibration_error
from silero_like.evaluation.breakdown import Breakdown
from silero_like.evaluation.difficulty import Difficulty, Gap
from silero_like.evaluation.scoring import Counts, Evaluation, Row


@dataclass(frozen=True, kw_only=True)
class Study:
    """What `silero-like evaluate` writes as JSON and as a page."""

    evaluation: Evaluation
    breakdown: Breakdown
    difficulty: Mapping[str, Difficulty]
    """By domain."""
    gaps: tuple[Gap, ...]
    """Seen and unseen domains, clean and noisy ones; empty where they are not known apart."""
    provenance: Mapping[str, Any]
    """Command, versions, hashes of data and model."""

    def to_dict(self) -> dict[str, Any]:
        """Return the evaluation JSON and, beside its fields, speakers, difficulty, gaps, keywords and provenance."""
        keywords = {
            keyword.phrase: {
                **dataclasses.asdict(keyword),
                **{name: getattr(keyword, name) for name in ("recall", "precision", "f1")},
            }
            for keyword in self.breakdown.keywords
        }
        return {
            **self.evaluation.to_dict(),
            "speakers": by_speaker(self.evaluation),
            "difficulty": {name: dataclasses.asdict(domain) for name, domain in self.difficulty.items()},
            "gaps": {f"{gap.second.name} - {gap.first.name}": gap.to_dict() for gap in self.gaps},
            "keywords": keywords,
            "calibration": {
                "error": calibration_error(self.breakdown.calibration),
                "bins": [dataclasses.asdict(each) for each in self.breakdown.calibration],
            },
            "provenance": dict(self.provenance),
        }


def by_speaker(evaluation: Evaluation) -> dict[str, dict[str, dict[str, Any]]]:
    """Return counts and rates of every named speaker, by domain."""
    rows: dict[tuple[str, str], list[Row]] = {}
    for row in evaluation.rows:
        if row.item.speaker:
            rows.setdefault((row.item.domain, row.item.speaker), []).append(row)
    result: dict[str, dict[str, dict[str, Any]]] = {}
    for (domain, speaker), members in sorted(rows.items()):
        words, chars = (
            Counts(*map(sum, zip(*counts, strict=True)))
            for counts in ([row.words for row in members], [row.chars for row in members])
        )
        edits = words._asdict()
        edits["words"] = edits.pop("length")
        result.setdefault(domain, {})[speaker] = {
            "utterances": len(members),
            "wer": words.rate,
            "cer": chars.rate,
            **edits,
        }
    return result


def format_study(study: Study) -> str:
    """Render difficulty and gaps as text for a terminal."""
    return "\n".join([*_difficulty_lines(study), *(_gap_line(gap) for gap in study.gaps)])


def _difficulty_lines(study: Study) -> Iterator[str]:
    width = max(len("domain"), *map(len, study.difficulty))
    titles = ("speakers", "vocabulary", "unknown words", "words/s", "SNR dB", "bandwidth Hz")
    yield "  ".join(["domain".ljust(width), *titles])
    for name, domain in study.difficulty.items():
        cells = (
            str(domain.speakers),
            str(domain.vocabulary),
            _number(domain.oov_rate, ".3f"),
            f"{domain.words_per_s:.2f}",
            _number(domain.snr_db, ".0f"),
            _number(domain.bandwidth_hz, ".0f"),
        )
        yield "  ".join(
            [name.ljust(width), *(cell.rjust(len(title)) for cell, title in zip(cells, titles, strict=True))]
        )


def _gap_line(gap: Gap) -> str:
    parts = (
        f"{group.name} {_number(group.wer, '.3f')} ({', '.join(group.domains)})" for group in (gap.second, gap.first)
    )
    return f"WER gap {_number(gap.wer, '+.3f')}: {' against '.join(parts)}"


def _number(value: float | None, spec: str) -> str:
    return "-" if value is None else format(value, spec)
