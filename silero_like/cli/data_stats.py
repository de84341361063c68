"""`silero-like data stats`: the domain table."""

from __future__ import annotations

import json
from pathlib import Path

import click

from silero_like.cli.batch import Batch
from silero_like.cli.data_rows import read_rows, row_options
from silero_like.cli.paths import OUTPUT_FILE, refuse_replacing
from silero_like.writers import write_atomically

GROUPINGS = ("domain", "speaker", "source", "lang", "annotation", "manifest")


@click.command()
@row_options
@click.option("--by", type=click.Choice(GROUPINGS), default="domain", show_default=True, help="What a line stands for.")
@click.option("--json", "json_path", type=OUTPUT_FILE, help="Write the figures here, with more quantiles, as JSON.")
@click.pass_context
def stats(
    context: click.Context,
    manifests: tuple[Path, ...],
    jobs: int | None,
    cache_path: Path | None,
    by: str,
    json_path: Path | None,
) -> None:
    """Print how much speech each domain holds, and how it sounds.

    Audio that cannot be read is named and left out. SNR, bandwidth, clipping and silence are estimates from the
    recording alone; docs/data-quality.md tells how they are made.

    \b
    Examples:
      silero-like data stats train.jsonl dev.jsonl
      silero-like data stats corpus/*.jsonl --by source --jobs 8 --json stats.json
    """
    from data.check import Limits
    from data.statistics import describe, format_groups, gather

    refuse_replacing([json_path], manifests)
    batch = Batch(context)
    rows = read_rows(manifests, jobs, cache_path)
    for problem in (*rows.problems, *(f"{x.where}: {x.problem}" for x in rows.samples if x.problem)):
        batch.fail(problem)
    groups, total = gather(rows.samples, by, Limits()), describe(rows.samples, Limits())
    click.echo(format_groups(groups, total, by))
    if json_path:
        summary = {
            "by": by,
            "manifests": [str(path) for path in manifests],
            "bad_rows": len(rows.problems),
            "groups": {name: group.to_dict() for name, group in groups.items()},
            "all": total.to_dict(),
        }
        write_atomically(json_path, json.dumps(summary, ensure_ascii=False, indent=1) + "\n")
    batch.finish(rows.n_rows, "rows")
