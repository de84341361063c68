"""The error rates of an evaluation as a table for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from silero_like.evaluation.edits import format_rate
from silero_like.tables import format_columns

if TYPE_CHECKING:
    from silero_like.evaluation.scoring import Evaluation, Score


def format_table(evaluation: Evaluation) -> str:
    """Render the domains as text for a terminal; rates are fractions, S, I and D are word edits."""
    counts = ("utterances", "minutes", "words")
    header = ("domain", *counts, "WER", "95 % interval", "CER", "S", "I", "D", "empty", "balance")
    rows = [header, *(_cells(name, score) for name, score in evaluation.domains.items())]
    macro = evaluation.macro
    low_high = _range(evaluation.macro_ci95["wer"], evaluation.micro.ci95_by)
    rows.append(
        ("macro", "", "", "", format_rate(macro["wer"]), low_high, format_rate(macro["cer"]), "", "", "", "", "")
    )
    rows.append(_cells("micro", evaluation.micro))
    about = f"{evaluation.model}, decoder {evaluation.decoder}, normaliser {evaluation.normalizer}"
    remarks = [f"worst domain by CER: {evaluation.worst or 'none'}"]
    few = [name for name, score in evaluation.domains.items() if score.wer_ci95 and score.ci95_by == "utterance"]
    if few:
        remarks.append(f"*: too few named speakers, so the interval holds for these speakers only ({', '.join(few)})")
    return "\n".join([about, format_columns(rows), *remarks])


def _cells(name: str, score: Score) -> tuple[str, ...]:
    low_high = _range(score.wer_ci95, score.ci95_by)
    counts = (score.words.substitutions, score.words.insertions, score.words.deletions, score.empty)
    minutes, words = f"{score.audio_s / 60:.1f}", str(score.words.length)
    rates = (format_rate(score.words.rate), low_high, format_rate(score.chars.rate))
    balance = "-" if score.balance is None else f"{score.balance:+.2f}"
    return (name, str(score.utterances), minutes, words, *rates, *(str(count) for count in counts), balance)


def _range(ci95: tuple[float, float] | None, by: str) -> str:
    return f"{ci95[0]:.3f} - {ci95[1]:.3f}{'*' if by == 'utterance' else ' '}" if ci95 else "- "
