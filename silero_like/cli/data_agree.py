"""`silero-like data agree`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from silero_like.cli.batch import Batch
from silero_like.cli.evaluate_inputs import read_utterances
from silero_like.cli.number import Number
from silero_like.cli.paths import INPUT_FILE, OUTPUT_FILE, refuse_replacing

if TYPE_CHECKING:
    from data.agree import Agreed


@click.command()
@click.argument("a", metavar="A.jsonl", type=INPUT_FILE)
@click.argument("b", metavar="B.jsonl", type=INPUT_FILE)
@click.argument("out", metavar="OUT.jsonl", type=OUTPUT_FILE)
@click.option(
    "--max-disagreement",
    type=Number(0, 1),
    default=0.1,
    show_default=True,
    help="Characters to change, over those of the longer text; rows with more are left out.",
)
@click.option("--keep", type=click.Choice(["a", "b"]), default="a", show_default=True, help="Whose text the rows get.")
@click.option("--lang", help="Language of the texts [default: the rows' own].")
@click.option("--json", "json_path", type=OUTPUT_FILE, help="Write the table here, as JSON.")
@click.pass_context
def agree(
    context: click.Context,
    a: Path,
    b: Path,
    out: Path,
    max_disagreement: float,
    keep: Literal["a", "b"],
    lang: str | None,
    json_path: Path | None,
) -> None:
    """Keep the rows of a manifest on whose text a second source agrees.

    A is a manifest. B is one too, of the same recordings, or a file of transcripts as `evaluate --hypotheses` reads
    them (.jsonl, .ctm, .tsv, else Kaldi text). Texts are compared as error rates are: normalised, in characters. OUT
    is a manifest whose rows have as quality 1 less the disagreement.

    \b
    Examples:
      silero-like data agree subtitles.jsonl model.jsonl agreed.jsonl
      silero-like data agree a.jsonl b.jsonl agreed.jsonl --max-disagreement 0 --json agreed.json
      silero-like data agree train.jsonl transcripts.ctm agreed.jsonl --keep b
    """
    from data.agree import agree as find_agreed
    from data.manifest import write_manifest
    from data.scores import TextDistance
    from data.text import get_normalizer
    from silero_like.evaluation.hypotheses import Segment, match_hypotheses, read_hypotheses
    from silero_like.writers import write_atomically

    refuse_replacing((out, json_path), (a, b))
    batch = Batch(context)
    utterances, lang, _ = read_utterances([a], lang, batch)
    hypotheses, problems = read_hypotheses(b)
    matched = match_hypotheses([Segment(u.audio_path, u.offset_s, u.duration_s) for u in utterances], hypotheses)
    for problem in (*problems, *matched.problems):
        batch.fail(problem)
    distance = TextDistance(get_normalizer(lang))
    agreed = find_agreed(utterances, matched.texts, distance, max_disagreement=max_disagreement, keep=keep)
    write_manifest(out, agreed.utterances)
    if json_path:
        write_atomically(json_path, json.dumps(_summary(agreed, max_disagreement, keep), indent=1) + "\n")
    click.echo(_table(agreed))
    batch.finish()


def _summary(agreed: Agreed, max_disagreement: float, keep: str) -> dict[str, Any]:
    domains = {name: dataclasses.asdict(domain) for name, domain in agreed.domains.items()}
    return {"max_disagreement": max_disagreement, "keep": keep, "domains": domains}


def _table(agreed: Agreed) -> str:
    from silero_like.evaluation.edits import format_rate
    from silero_like.tables import format_columns

    rows = [
        (
            name,
            *(str(domain.utterances), f"{domain.hours:.2f}", str(domain.missing), format_rate(domain.disagreement)),
            *(str(domain.kept), f"{domain.kept_hours:.2f}", format_rate(domain.kept_disagreement)),
        )
        for name, domain in agreed.domains.items()
    ]
    header = ("domain", "utterances", "hours", "no text", "disagreement", "kept", "hours", "disagreement")
    return format_columns([header, *rows])
