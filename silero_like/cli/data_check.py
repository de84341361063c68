"""`silero-like data check`: what is wrong with a corpus, and what leaks between training and test."""

from __future__ import annotations

import dataclasses
import json
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from silero_like.cli.batch import Batch
from silero_like.cli.data_rows import Rows, read_rows, row_options
from silero_like.cli.paths import INPUT_FILE, OUTPUT_FILE, refuse_replacing
from silero_like.writers import write_atomically

if TYPE_CHECKING:
    from data.check import Finding, Limits


@click.command()
@row_options
@click.option(
    "--against",
    multiple=True,
    type=INPUT_FILE,
    metavar="MANIFEST",
    help="Look for leaks between the rows and those of this manifest, such as the training set's; may be repeated.",
)
@click.option("--show", type=click.IntRange(min=0), default=5, show_default=True, help="Rows to name of each kind.")
@click.option(
    "--limit",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="What still passes, such as clipped_share=0.01; may be repeated. docs/data-quality.md lists the names.",
)
@click.option("--json", "json_path", type=OUTPUT_FILE, help="Write all findings here, as JSON.")
@click.option("--write-clean", type=OUTPUT_FILE, help="Write a manifest of the rows without any finding here.")
@click.pass_context
def check(
    context: click.Context,
    manifests: tuple[Path, ...],
    jobs: int | None,
    cache_path: Path | None,
    against: tuple[Path, ...],
    show: int,
    settings: tuple[str, ...],
    json_path: Path | None,
    write_clean: Path | None,
) -> None:
    """Find audio that is unreadable, silent, clipped, truncated or there twice, texts that cannot fit, and leaks.

    Rows are named as manifest:line. A sentence counts as the same again from 20 letters on (--limit sentence=20).
    Exit code 1 when something was found.

    \b
    Examples:
      silero-like data check train.jsonl --write-clean train.clean.jsonl
      silero-like data check test.jsonl --against train.jsonl --against more.jsonl --json findings.json
      silero-like data check train.jsonl --limit fast=25 --limit clipped_share=0.01
    """
    from data.check import KINDS, Finding
    from data.check import check as find

    limits = _limits(settings)
    refuse_replacing((json_path, write_clean), (*manifests, *against))
    batch = Batch(context)
    rows = read_rows(manifests, jobs, cache_path)
    others = read_rows(against, jobs, cache_path)
    for problem in (*others.problems, *(f"{x.where}: {x.problem}" for x in others.samples if x.problem)):
        batch.fail(f"{problem}; not compared with")
    bad = [Finding(kind="row", where=_row_name(problem), detail=problem) for problem in rows.problems]
    findings = [*bad, *find(rows.samples, others.samples, limits)]
    counts = Counter(finding.kind for finding in findings)
    _print(findings, counts, show)
    if json_path:
        summary = {
            "manifests": [str(path) for path in manifests],
            "against": [str(path) for path in against],
            "rows": rows.n_rows,
            "limits": dataclasses.asdict(limits),
            "counts": {kind: counts[kind] for kind in KINDS if against or not kind.startswith("leak")},
            "findings": [dataclasses.asdict(finding) for finding in findings],
        }
        write_atomically(json_path, json.dumps(summary, ensure_ascii=False, indent=1) + "\n")
    if write_clean:
        _write_clean(write_clean, rows, findings)
    n_rows = len({finding.where for finding in findings})
    click.echo(f"{n_rows} of {rows.n_rows} rows with a finding, {len(findings)} findings")
    if findings or batch.n_failed:
        context.exit(1)


def _limits(settings: tuple[str, ...]) -> Limits:
    from data.check import LIMITS, Limits
    from silero_like.errors import ConfigError

    values: dict[str, float] = {}
    for setting in settings:
        name, _, value = setting.partition("=")
        if name not in LIMITS:
            raise click.UsageError(f"--limit {setting}: expected NAME=VALUE with one of {', '.join(LIMITS)}")
        try:
            values[name] = float(value)
        except ValueError as error:
            raise click.UsageError(f"--limit {setting}: expected a number, got {value!r}") from error
    try:
        return Limits(**values)
    except ConfigError as error:
        raise click.UsageError(f"--limit {error}") from error


def _row_name(problem: str) -> str:
    """Return the ``path:line`` that a problem begins with."""
    found = re.match(r".+?:\d+(?=: )", problem)
    return found[0] if found else problem


def _print(findings: list[Finding], counts: Counter[str], show: int) -> None:
    """Print the kinds that were found, with their first rows."""
    from data.check import KINDS

    for kind, meaning in KINDS.items():
        if not counts[kind]:
            continue
        click.echo(f"{kind}: {counts[kind]} ({meaning})")
        named = [finding for finding in findings if finding.kind == kind][:show]
        for finding in named:
            lead = "" if finding.detail.startswith(finding.where) else f"{finding.where}: "
            click.echo(f"  {lead}{finding.detail}{f' = {finding.other}' if finding.other else ''}")
        if len(named) < counts[kind]:
            click.echo(f"  and {counts[kind] - len(named)} more")


def _write_clean(path: Path, rows: Rows, findings: list[Finding]) -> None:
    from data.manifest import write_manifest

    guilty = {finding.where for finding in findings}
    clean = [sample.utterance for sample in rows.samples if sample.where not in guilty]
    write_manifest(path, clean)
    click.echo(f"{path}: {len(clean)} rows", err=True)
