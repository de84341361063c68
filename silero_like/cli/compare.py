"""`silero-like compare`."""

from __future__ import annotations

import codecs
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

import click

from silero_like.cli.batch import Batch
from silero_like.cli.evaluate_inputs import TextRule, read_keywords, text_rule
from silero_like.cli.paths import INPUT_FILE, OUTPUT_FILE, refuse_replacing
from silero_like.errors import SileroLikeError
from silero_like.writers import write_atomically

if TYPE_CHECKING:
    from silero_like.evaluation.breakdown import Keyword
    from silero_like.evaluation.scoring import Evaluation, Scored

Key = tuple[str, float]
EXPECTED = "expected a JSON object with audio_filepath, text and pred_text, and numbers as offset and duration"


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

    refuse_replacing([json_path], filter(None, (a_path, b_path, keywords_path)))
    batch = Batch(context)
    files = (a_path, b_path)
    lines_a, lines_b = (_read(path, batch) for path in files)
    keys = _shared(lines_a, lines_b, files, batch)
    if not keys:
        raise SileroLikeError(f"{a_path} and {b_path} share no utterance: evaluate the same manifests")
    chosen = [[lines[key] for key in keys] for lines in (lines_a, lines_b)]
    rules = [_rule(lines, lang, path) for lines, path in zip(chosen, files, strict=True)]
    keywords = read_keywords(keywords_path, rules[0]) if keywords_path else []
    evaluations = [_evaluate(lines, rule, path) for lines, rule, path in zip(chosen, rules, files, strict=True)]
    found = comparison.compare(evaluations[0], evaluations[1])
    click.echo(comparison.format_comparison(found))
    values = found.to_dict()
    if keywords:
        counts = [find_keywords(evaluation.rows, keywords) for evaluation in evaluations]
        for letter, counted in zip("AB", counts, strict=True):
            click.echo("\n".join([f"\n{letter}", *format_keywords(counted)]))
        values["keywords"] = {letter: _keywords(counted) for letter, counted in zip("ab", counts, strict=True)}
    if json_path:
        write_atomically(json_path, json.dumps(values, ensure_ascii=False, indent=1) + "\n")
    batch.finish()


@dataclass(frozen=True)
class _Line:
    """A line of what `evaluate --utterances` wrote."""

    scored: Scored
    normalizer: str
    system: str


def _read(path: Path, batch: Batch) -> dict[Key, _Line]:
    """Read the lines of one system; a bad or repeated one is told and counted.

    Raises:
        SileroLikeError: no line is good.
    """
    lines: dict[Key, _Line] = {}
    problems = []
    for number, text in enumerate(path.read_bytes().removeprefix(codecs.BOM_UTF8).splitlines(), start=1):
        if not text.strip():
            continue
        try:
            key, line = _parse(text)
        except (ValueError, TypeError, KeyError, RecursionError):
            problems.append(f"{path}:{number}: {EXPECTED}")
            continue
        if lines.setdefault(key, line) is not line:
            problems.append(f"{path}:{number}: {_name(key)} stands in the file twice; the first one counts")
    if not lines:
        raise SileroLikeError(f"{path}: no line is good: {EXPECTED}, as evaluate --utterances writes it")
    for problem in problems:
        batch.fail(problem)
    return lines


def _parse(text: bytes) -> tuple[Key, _Line]:
    """Read a line; whatever is wrong with it is a ValueError, TypeError, KeyError or RecursionError."""
    from data.manifest import DEFAULT_DOMAIN
    from silero_like.evaluation.scoring import Scored

    row = json.loads(text)
    name, reference, hypothesis = (row[key] for key in ("audio_filepath", "text", "pred_text"))
    domain, speaker, normalizer, system = (row.get(key) or "" for key in ("domain", "speaker", "normalizer", "system"))
    offset_s, duration_s = (float(row.get(key) or 0.0) for key in ("offset", "duration"))
    texts = (name, reference, hypothesis, domain, speaker, normalizer, system)
    if not (all(isinstance(text, str) for text in texts) and isfinite(offset_s) and isfinite(duration_s)):
        raise TypeError
    scored = Scored(
        utterance_id=name,
        domain=domain or DEFAULT_DOMAIN,
        speaker=speaker,
        duration_s=duration_s,
        reference=reference,
        hypothesis=hypothesis,
    )
    return (name, offset_s), _Line(scored, normalizer, system)


def _shared(
    lines_a: Mapping[Key, _Line], lines_b: Mapping[Key, _Line], paths: tuple[Path, Path], batch: Batch
) -> list[Key]:
    """Return the utterances that both have, with one reference; the others are told and counted."""
    for lines, others, path in ((lines_a, lines_b, paths[1]), (lines_b, lines_a, paths[0])):
        for key in lines:
            if key not in others:
                batch.fail(f"{path}: no row for {_name(key)}, which is left out")
    keys = []
    for key in lines_a:
        if key in lines_b and lines_a[key].scored.reference != lines_b[key].scored.reference:
            batch.fail(f"{_name(key)}: the two files have different references; it is left out")
        elif key in lines_b:
            keys.append(key)
    return keys


def _rule(lines: Sequence[_Line], lang: str, path: Path) -> TextRule:
    labels = {line.normalizer or lang for line in lines}
    if len(labels) > 1:
        raise SileroLikeError(f"{path}: expected one text normaliser in a file, got {', '.join(sorted(labels))}")
    return text_rule(labels.pop(), alike=False)


def _evaluate(lines: Sequence[_Line], rule: TextRule, path: Path) -> Evaluation:
    from silero_like.cli.evaluate_study import score

    return score(
        [rule.apply(line.scored) for line in lines],
        rule,
        model=f"{lines[0].system or 'unnamed'} ({path})",
        decoder="",
        speed=None,
    )


def _keywords(found: Sequence[Keyword]) -> dict[str, dict[str, float | None]]:
    return {
        keyword.phrase: {"recall": keyword.recall, "precision": keyword.precision, "f1": keyword.f1}
        for keyword in found
    }


def _name(key: Key) -> str:
    return key[0] + (f" at {key[1]:g} s" if key[1] else "")
