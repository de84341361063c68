"""What `evaluate` gives out: tables, JSON, a line for every utterance, a page."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from silero_like.cli.batch import Batch
from silero_like.cli.evaluate_options import Outputs
from silero_like.cli.players import as_address, link_to
from silero_like.errors import AudioError
from silero_like.writers import write_atomically

if TYPE_CHECKING:
    from data.manifest import Utterance
    from silero_like.evaluation.scoring import Evaluation, Row, Scored
    from silero_like.evaluation.study import Study

Pairs = Sequence[tuple["Utterance", "Scored"]]


def give_out(study: Study, pairs: Pairs, batch: Batch, outputs: Outputs) -> None:
    """Print the tables, and write the files that were asked for."""
    _print_study(study, outputs.details)
    _write_outputs(study, pairs, batch, outputs)


def _print_study(study: Study, details: bool) -> None:
    from silero_like.evaluation.breakdown import format_breakdown, format_keywords
    from silero_like.evaluation.study import format_study
    from silero_like.evaluation.table import format_table

    click.echo(format_table(study.evaluation))
    if study.evaluation.audio_s_per_core_s is not None:
        click.echo(f"speed: {study.evaluation.audio_s_per_core_s:.0f} s of audio a core-second")
    if details:
        click.echo(f"\n{format_study(study)}\n\n{format_breakdown(study.breakdown)}")
    elif study.breakdown.keywords:
        click.echo("\n".join(["", *format_keywords(study.breakdown.keywords)]))


def _write_outputs(study: Study, pairs: Pairs, batch: Batch, outputs: Outputs) -> None:
    """Write the files; one that cannot be written is told, and the others are written."""
    renderers: tuple[tuple[Path | None, Callable[[Path], str]], ...] = (
        (outputs.json_path, lambda path: json.dumps(study.to_dict(), ensure_ascii=False, indent=1) + "\n"),
        (outputs.utterances_path, lambda path: _lines(pairs, study.evaluation)),
        (outputs.html_path, lambda path: _page(study, pairs, path, outputs.embed_audio)),
    )
    wanted = [(path, render) for path, render in renderers if path]
    list(batch.run(wanted, lambda pair: write_atomically(pair[0], pair[1](pair[0])), lambda pair: str(pair[0])))


def _lines(pairs: Pairs, evaluation: Evaluation) -> str:
    rows = zip(pairs, evaluation.rows, strict=True)
    return "".join(_line(utterance, score, row, evaluation) for (utterance, score), row in rows)


def _line(utterance: Utterance, score: Scored, row: Row, evaluation: Evaluation) -> str:
    """One line of the utterances file, with NeMo's field names; texts as they came, counts after normalisation."""
    values = {
        "audio_filepath": str(utterance.audio_path),
        "offset": utterance.offset_s,
        "duration": utterance.duration_s,
        "domain": utterance.domain,
        "speaker": utterance.speaker,
        "text": score.reference,
        "pred_text": score.hypothesis,
        "system": evaluation.model,
        "normalizer": evaluation.normalizer,
        "wer": row.words.rate,
        "cer": row.chars.rate,
        "words": row.words.length,
        "substitutions": row.words.substitutions,
        "insertions": row.words.insertions,
        "deletions": row.words.deletions,
        "confidence": score.confidence,
        "snr_db": score.snr_db,
    }
    return json.dumps(values, ensure_ascii=False) + "\n"


def _page(study: Study, pairs: Pairs, path: Path, embed: bool) -> str:
    from silero_like.evaluation.report import render_report

    sources = [_sound(utterance) if embed else link_to(utterance, path) for utterance, _ in pairs]
    return render_report(study, sources)


def _sound(utterance: Utterance) -> str:
    """Return the recording itself, as an address; "" where it cannot be read."""
    from silero_like.audio import load_audio

    try:
        waveform = load_audio(utterance.audio_path, offset_s=utterance.offset_s, duration_s=utterance.duration_s)
    except AudioError:
        return ""
    return as_address(waveform)
