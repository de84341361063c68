"""``silero-like lm info``: what a model is, and what it makes of texts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from silero_like.cli.batch import Batch
from silero_like.cli.lm_options import lang_option, say
from silero_like.cli.paths import INPUT_FILE, INPUT_TEXT, OUTPUT_FILE, refuse_replacing
from silero_like.writers import write_atomically


@click.command()
@click.argument("model", type=INPUT_FILE)
@click.argument("texts", metavar="[TEXT]...", nargs=-1, type=INPUT_TEXT)
@lang_option
@click.option("--json", "json_path", type=OUTPUT_FILE, help="Write it as JSON, too.")
@click.pass_context
def info(context: click.Context, model: Path, texts: tuple[Path, ...], lang: str, json_path: Path | None) -> None:
    """Show a model's size and, for texts and manifests, its perplexity and share of unknown words.

    MODEL is an ARPA file, plain or .gz, or a KenLM binary. Of an ARPA file the command also tells which share of the
    n-grams is never continued by a longer one (0 % where nothing was pruned), and how far from one the probabilities
    after any context sum. Manifests (.jsonl) are told apart by domain.

    Perplexity is per word and end of line, without the unknown words.

    \b
    Example:
      silero-like lm info books.arpa.gz dev/*.jsonl
    """
    refuse_replacing([json_path], (model, *texts))
    batch = Batch(context)
    report = _describe(model)
    for key, value in report.items():
        click.echo(f"{key:20} {' '.join(map(str, value)) if isinstance(value, list) else value}")
    if texts:
        report["texts"] = _score(model, _read(texts, lang, batch))
    if json_path:
        write_atomically(json_path, json.dumps(report, indent=1) + "\n")
    batch.finish()


def _describe(path: Path) -> dict[str, Any]:
    """Return a model's size, counts and, of an ARPA file, its pruning and whether it sums to one."""
    from lm.arpa import read_arpa
    from lm.binary import read_binary_counts
    from lm.interpolate import largest_deviation
    from lm.model import never_continued
    from lm.perplexity import check_kenlm

    report: dict[str, Any] = {"model": str(path), "size_mb": round(path.stat().st_size / 1e6, 3)}
    if binary := read_binary_counts(path):
        check_kenlm(path)  # the counts stand at its head, which a truncated file has, too
        report["format"], counts = f"KenLM binary, {binary[0]}", binary[1]
    else:
        model = read_arpa(path)
        report["format"], counts = "ARPA", [len(grams) for grams in model.orders]
    report |= {"order": len(counts), "ngrams": counts, "vocabulary": counts[0] - 3}
    if not binary:
        shares = [f"{share:.2%}" for share in never_continued(model)]
        report |= {"never_continued": shares, "largest_deviation": f"{largest_deviation(model):.1e}"}
    return report


def _read(paths: tuple[Path, ...], lang: str, batch: Batch) -> dict[str, list[str]]:
    """Return the lines by domain or text; an input that cannot be read is told."""
    from lm.corpus import texts_by_domain

    texts: dict[str, list[str]] = {}
    for _, found in batch.run(paths, lambda path: texts_by_domain([path], lang, batch.fail, say), str):
        for name, lines in found.items():
            texts.setdefault(name, []).extend(lines)
    return texts


def _score(model: Path, texts: dict[str, list[str]]) -> dict[str, Any]:
    """Print and return what the model makes of each text."""
    from lm.perplexity import load_kenlm, score_text

    scorer, found = load_kenlm(model), {}
    click.echo(f"{'text':20} {'lines':>8} {'words':>9} {'unknown %':>10} {'perplexity':>11}")
    for name, lines in texts.items():
        if not lines:
            say(f"{name}: no word: check the input, and that --lang is its language")
            continue
        score = score_text(scorer, lines)
        found[name] = {
            "lines": score.n_lines,
            "words": score.n_words,
            "unknown_rate": score.unknown_rate,
            "perplexity": score.perplexity,
        }
        click.echo(f"{name:20} {score.n_lines:8} {score.n_words:9} {score.unknown_rate:10.2%} {score.perplexity:11.1f}")
    return found
