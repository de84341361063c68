"""`silero-like data clean`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from silero_like.cli.batch import Batch
from silero_like.cli.data_hear import hear_all, own_hearer
from silero_like.cli.data_rows import refuse_empty
from silero_like.cli.decoder_options import Search
from silero_like.cli.evaluate_inputs import name_of
from silero_like.cli.model_option import bundle_option
from silero_like.cli.number import Number
from silero_like.cli.paths import INPUT_FILE, OUTPUT_FOLDER
from silero_like.cli.workers import Workers

if TYPE_CHECKING:
    from data.clean import Judged, Measure, Verdict
    from data.manifest import Utterance

QUARANTINE = "quarantine"


@click.command()
@click.argument("manifests", metavar="MANIFEST...", nargs=-1, required=True, type=INPUT_FILE)
@click.option("--out", "out_dir", required=True, type=OUTPUT_FOLDER, help="Folder of the results.")
@bundle_option
@click.option(
    "--by",
    "measure",
    type=click.Choice(["misfit", "cer"]),
    default="misfit",
    show_default=True,
    help="Rank by how improbable the label is to the model, or by the CER of what it hears.",
)
@click.option(
    "--threshold",
    "thresholds",
    metavar="[DOMAIN=]X",
    multiple=True,
    help="Suspect labels above X [default: derived from each domain's distribution].",
)
@click.option("--worst", type=Number(0, 1), help="Suspect this share of each domain instead.")
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Processes.")
@click.pass_context
def clean(
    context: click.Context,
    manifests: tuple[Path, ...],
    out_dir: Path,
    model: str | None,
    measure: Measure,
    thresholds: tuple[str, ...],
    worst: float | None,
    jobs: int,
) -> None:
    """Find labels that do not fit their audio, by a model.

    OUT gets for each MANIFEST one of the same name with the rows to keep, and in quarantine/ one with the suspects and
    the rows whose audio cannot be read. Nothing is deleted, and the manifests given stay as they are. ranking.jsonl
    lists all labels, the worst first, with what was heard; summary.json has the counts. What was heard lies in
    scores.jsonl: another run, with other thresholds perhaps, or after a kill, hears nothing twice.

    A label's misfit is the natural logarithm of how much more probable to the model its own text is, per token of the
    label. Above 5 a label is suspected, or above the median and 4 robust standard deviations of its domain if that is
    more. A model that learned from these very labels may believe the wrong ones.

    \b
    Examples:
      silero-like data clean train.jsonl --out cleaned/
      silero-like data clean corpus/*.train.jsonl --out cleaned/ --model runs/first/bundle --jobs 8
      silero-like data clean train.jsonl --out cleaned/ --threshold 6 --threshold phone=9
      silero-like data clean train.jsonl --out cleaned/ --by cer --worst 0.08
    """
    from data.cache import Cache
    from data.clean import derived_thresholds, judge, share_thresholds
    from data.manifest import read_manifest, write_manifest
    from silero_like.writers import write_atomically

    if worst is not None and thresholds:
        raise click.UsageError("give --worst or --threshold, not both")
    _check_names(manifests, out_dir)
    batch = Batch(context)
    read = [read_manifest(path, check_audio=False) for path in manifests]
    for manifest in read:
        refuse_empty(manifest.path, len(manifest.utterances) + len(manifest.problems))
        for problem in manifest.problems:
            batch.fail(problem)
    hearer, recognizer = own_hearer(model, Search(decoder="greedy"), with_label=True)
    rows = [utterance for manifest in read for utterance in manifest.utterances]
    usable = _in_language(rows, recognizer.config.lang)
    judged = judge_heard(
        hear_all(hearer, usable, Cache(out_dir / "scores.jsonl"), batch, Workers(jobs=jobs)), recognizer.config.lang
    )
    derived = derived_thresholds(judged, measure) if worst is None else share_thresholds(judged, measure, worst)
    verdict = judge(judged, measure, derived | _given(thresholds, derived))
    unread = set(usable) - {one.utterance for one in judged}
    for manifest in read:
        suspects = [u for u in manifest.utterances if u in verdict.suspects or u in unread]
        write_manifest(out_dir / QUARANTINE / f"{manifest.path.stem}.jsonl", suspects)
        kept = [u for u in manifest.utterances if not (u in verdict.suspects or u in unread)]
        write_manifest(out_dir / f"{manifest.path.stem}.jsonl", kept)
    write_atomically(out_dir / "ranking.jsonl", "".join(_ranking_line(one, verdict) for one in verdict.ranking))
    summary = _summary(verdict, measure, hearer.name, unread)
    write_atomically(out_dir / "summary.json", json.dumps(summary, ensure_ascii=False, indent=1) + "\n")
    click.echo(_table(summary))
    batch.finish(len(rows) + sum(len(manifest.problems) for manifest in read), "rows")


def _check_names(manifests: Sequence[Path], out_dir: Path) -> None:
    """Refuse two manifests of one name, and results in place of a manifest."""
    for stem, count in Counter(path.stem for path in manifests).items():
        if count > 1:
            raise click.UsageError(f"{count} manifests are called {stem}: clean them into folders of their own")
    names = ("ranking", "scores", *(path.stem for path in manifests))
    if clash := {path.resolve() for path in manifests} & {(out_dir / f"{name}.jsonl").resolve() for name in names}:
        raise click.UsageError(f"--out would replace {clash.pop()}: name another folder")
    if reserved := {"ranking", "scores"} & {path.stem for path in manifests}:
        raise click.UsageError(f"a manifest may not be called {reserved.pop()}.jsonl: the results have that name")


def _in_language(rows: Sequence[Utterance], lang: str) -> list[Utterance]:
    usable = [utterance for utterance in rows if utterance.lang in ("", lang)]
    if len(usable) < len(rows):
        click.echo(f"{len(rows) - len(usable)} rows are not in {lang}: kept without a look", err=True)
    return usable


def judge_heard(heard: Sequence[tuple[Utterance, Any]], lang: str) -> list[Judged]:
    """Compare each label with what was heard."""
    from data.clean import Judged
    from data.scores import TextDistance
    from data.text import get_normalizer

    distance = TextDistance(get_normalizer(lang))
    return [
        Judged(
            utterance=utterance,
            heard=one.text,
            cer=round(distance.cer(utterance.text, one.text), 4),
            misfit=one.misfit,
            confidence=one.confidence,
        )
        for utterance, one in heard
    ]


def _given(texts: Sequence[str], domains: Collection[str]) -> dict[str, float]:
    """Read X, for all domains, and DOMAIN=X."""
    found: dict[str, float] = {}
    for text in sorted(texts, key=lambda text: "=" in text):
        domain, _, number = text.rpartition("=")
        try:
            value = float(number)
        except ValueError as error:
            raise click.UsageError(f"--threshold: expected [DOMAIN=]NUMBER, got {text!r}") from error
        if domain and domain not in domains:
            raise click.UsageError(f"--threshold: no domain {domain!r}; there are {', '.join(sorted(domains))}")
        found |= {domain: value} if domain else dict.fromkeys(domains, value)
    return found


def _ranking_line(one: Judged, verdict: Verdict) -> str:
    values = {
        "audio_filepath": str(one.utterance.audio_path),
        "offset": one.utterance.offset_s,
        "duration": one.utterance.duration_s,
        "domain": one.utterance.domain,
        "speaker": one.utterance.speaker,
        "text": one.utterance.text,
        "pred_text": one.heard,
        "misfit": one.misfit,
        "cer": one.cer,
        "confidence": one.confidence,
        "suspect": one.utterance in verdict.suspects,
    }
    return json.dumps(values, ensure_ascii=False) + "\n"


def _summary(verdict: Verdict, measure: Measure, model: str, unread: Collection[Utterance]) -> dict[str, Any]:
    from statistics import median

    domains = {}
    for domain, threshold in verdict.thresholds.items():
        members = [one for one in verdict.ranking if one.utterance.domain == domain]
        suspects = [one for one in members if one.utterance in verdict.suspects]
        domains[domain] = {
            "utterances": len(members),
            "hours": sum(one.utterance.duration_s for one in members) / 3600,
            "median": median(one.value(measure) for one in members),
            "threshold": threshold,
            "suspects": len(suspects),
            "suspect_hours": sum(one.utterance.duration_s for one in suspects) / 3600,
        }
    return {"model": model, "by": measure, "domains": domains, "unreadable": sorted(map(name_of, unread))}


def _table(summary: dict[str, Any]) -> str:
    from silero_like.tables import format_columns

    header = ("domain", "utterances", "hours", f"median {summary['by']}", "threshold", "suspects", "hours")
    rows = [
        (
            name,
            str(row["utterances"]),
            f"{row['hours']:.2f}",
            f"{row['median']:.2f}",
            f"{row['threshold']:.2f}",
            f"{row['suspects']} ({row['suspects'] / row['utterances']:.1%})",
            f"{row['suspect_hours']:.2f}",
        )
        for name, row in summary["domains"].items()
    ]
    return format_columns([header, *rows])
