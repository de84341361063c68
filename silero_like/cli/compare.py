"""`silero-like compare`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from silero_like.cli.batch import Batch
from silero_like.cli.evaluate_inputs import TextRule, read_keywords, text_rule
from silero_like.cli.paths import INPUT_FILE, OUTPUT_FILE
from silero_like.errors import SileroLikeError
from silero_like.writers import write_atomically

if TYPE_CHECKING:
    from silero_like.evaluation.breakdown import Keyword
    from silero_like.evaluation.scoring import Evaluation

Key = tuple[str, float]


@click.command()
@click.argument("a_path", metavar="A.jsonl", type=INPUT_FILE)
@click.argument("b_path", metavar="B.jsonl", type=INPUT_FILE)
@click.option("--lang", default="en", show_default=True, help="Language, where the files name no normaliser.")
@click.option("--keywords", "keywords_path", type=INPUT_FILE, help="Words or phrases to count, one a line.")
@click.option("--json", "json_path", type=OUTPUT_FILE, help="Write the figures here.")
@click.pass_context
def compare(
    context: click.Context, a_path: Path, b_path: Path, lang: str, keywords_path: Path | None, json_path: Path | None
) -> None:
    """Say whether two systems differ, domain by domain.

    A.jsonl and B.jsonl are what `evaluate --utterances` wrote for the same manifests, or any JSON lines with
    audio_filepath, text and pred_text. A paired permutation test tells chance from difference; the smallest difference
    that the set could show is told where none is found.

    \b
    Examples:
      silero-like evaluate dev.jsonl --model old --utterances old.jsonl
      silero-like evaluate dev.jsonl --model new --utterances new.jsonl
      silero-like compare old.jsonl new.jsonl
    """
    from silero_like.evaluation import comparison
    from silero_like.evaluation.breakdown import find_keywords, format_keywords

    batch = Batch(context)
    rows_a, rows_b = (_read(path, batch) for path in (a_path, b_path))
    keys = _shared(rows_a, rows_b, (a_path, b_path), batch)
    n_rows = len({*rows_a, *rows_b})
    if not keys:
        raise SileroLikeError(f"{a_path} and {b_path} share no utterance: evaluate the same manifests")
    chosen = [[rows[key] for key in keys] for rows in (rows_a, rows_b)]
    rules = [_rule(rows, lang) for rows in chosen]
    evaluations = [
        _evaluate(rows, rule, path) for rows, rule, path in zip(chosen, rules, (a_path, b_path), strict=True)
    ]
    found = comparison.compare(evaluations[0], evaluations[1])
    click.echo(comparison.format_comparison(found))
    values = found.to_dict()
    if keywords_path:
        keywords = read_keywords(keywords_path, rules[0])
        counts = [find_keywords(evaluation.rows, keywords) for evaluation in evaluations]
        for letter, counted in zip("AB", counts, strict=True):
            click.echo("\n".join([f"\n{letter}", *format_keywords(counted)]))
        values["keywords"] = {letter: _keywords(counted) for letter, counted in zip("ab", counts, strict=True)}
    if json_path:
        write_atomically(json_path, json.dumps(values, ensure_ascii=False, indent=1) + "\n")
    batch.finish(n_rows, "utterances")


def _read(path: Path, batch: Batch) -> dict[Key, Mapping[str, Any]]:
    """Read the rows of one system; a bad or repeated line is told and counted."""
    rows: dict[Key, Mapping[str, Any]] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            texts = [row[name] for name in ("audio_filepath", "text", "pred_text")]
            if not all(isinstance(text, str) for text in texts):
                raise TypeError
            key = (row["audio_filepath"], float(row.get("offset") or 0.0))
        except (ValueError, TypeError, KeyError):
            batch.fail(f"{path}:{number}: expected a JSON object with audio_filepath, text and pred_text")
            continue
        if key in rows:
            batch.fail(f"{path}:{number}: {_name(key)} stands in the file twice; the first one counts")
        rows.setdefault(key, row)
    return rows


def _shared(
    rows_a: Mapping[Key, Mapping[str, Any]],
    rows_b: Mapping[Key, Mapping[str, Any]],
    paths: tuple[Path, Path],
    batch: Batch,
) -> list[Key]:
    """Return the utterances that both have, with one reference; the others are told and counted."""
    for rows, others, path in ((rows_a, rows_b, paths[1]), (rows_b, rows_a, paths[0])):
        for key in rows:
            if key not in others:
                batch.fail(f"{path}: no row for {_name(key)}, which is left out")
    keys = []
    for key in rows_a:
        if key in rows_b and rows_a[key]["text"] != rows_b[key]["text"]:
            batch.fail(f"{_name(key)}: the two files have different references; it is left out")
        elif key in rows_b:
            keys.append(key)
    return keys


def _rule(rows: Sequence[Mapping[str, Any]], lang: str) -> TextRule:
    labels = {row.get("normalizer") or lang for row in rows}
    if len(labels) > 1:
        raise SileroLikeError(f"expected one text normaliser in a file, got {', '.join(sorted(labels))}")
    return text_rule(labels.pop(), alike=False)


def _evaluate(rows: Sequence[Mapping[str, Any]], rule: TextRule, path: Path) -> Evaluation:
    from data.manifest import DEFAULT_DOMAIN
    from silero_like.evaluation.scoring import Scored, evaluate

    scored = [
        Scored(
            utterance_id=row["audio_filepath"],
            domain=row.get("domain") or DEFAULT_DOMAIN,
            speaker=row.get("speaker") or "",
            duration_s=float(row.get("duration") or 0.0),
            reference=row["text"],
            hypothesis=row["pred_text"],
        )
        for row in rows
    ]
    return evaluate(
        [rule.apply(score) for score in scored],
        normalizer=rule.normalizer,
        normalizer_name=rule.label,
        lang=rule.normalizer.name,
        model=f"{rows[0].get('system') or 'unnamed'} ({path})",
        decoder="",
        audio_s_per_core_s=None,
    )


def _keywords(found: Sequence[Keyword]) -> dict[str, dict[str, float | None]]:
    return {
        keyword.phrase: {"recall": keyword.recall, "precision": keyword.precision, "f1": keyword.f1}
        for keyword in found
    }


def _name(key: Key) -> str:
    return key[0] + (f" at {key[1]:g} s" if key[1] else "")
