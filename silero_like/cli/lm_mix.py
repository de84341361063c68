"""``silero-like lm interpolate``: one model of several."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from silero_like.cli.batch import Batch
from silero_like.cli.lm_options import (
    as_usage_errors,
    lang_option,
    make_output,
    numbers,
    say,
    show_progress,
    writing_options,
)
from silero_like.cli.paths import INPUT_FILE, INPUT_TEXT, refuse_replacing


@click.command()
@click.argument("models", metavar="MODEL MODEL...", nargs=-1, required=True, type=INPUT_FILE)
@writing_options
@click.option("--weights", callback=numbers(float), metavar="NUMBERS", help='One for each model: "0.8 0.2".')
@click.option(
    "--fit", "fit_on", multiple=True, type=INPUT_TEXT, help="Fit the weights on this text or manifest; repeatable."
)
@click.option(
    "--by-context",
    is_flag=True,
    help="In each context, weigh each model by how probable it finds the context, too.",
)
@lang_option
@click.pass_context
def interpolate(
    context: click.Context,
    models: tuple[Path, ...],
    path: Path,
    structure: str | None,
    decimals: int | None,
    weights: list[float] | None,
    fit_on: tuple[Path, ...],
    by_context: bool,
    lang: str,
) -> None:
    """Mix ARPA models linearly into one, with given weights or with those that suit a development text best.

    Of several domains in the text, each counts the same, and the weights that would suit it alone are shown. Models of
    very different text, such as books and numbers, mix better --by-context: the words before tell which is spoken.

    \b
    Examples:
      silero-like lm interpolate books.arpa.gz digits.arpa.gz --weights "0.9 0.1" --output both.arpa.gz
      silero-like lm interpolate books.arpa.gz calls.arpa.gz --fit calls-dev.jsonl --output both.bin
    """
    from lm.arpa import read_arpa
    from lm.interpolate import check_weights
    from lm.interpolate import interpolate as mix

    refuse_replacing([path], (*models, *fit_on))
    batch, output = Batch(context), make_output(path, structure, decimals)
    if len(models) < 2:
        raise click.UsageError("expected two or more models")
    if (weights is None) == (not fit_on):
        raise click.UsageError("expected either --weights or --fit")
    with as_usage_errors():
        if weights:
            check_weights(weights, len(models))
    shares = weights or _fitted(models, fit_on, lang, by_context, batch)
    with show_progress() as progress:
        loaded = []
        for number, model in enumerate(models):
            progress("reading models", number, len(models))
            loaded.append(read_arpa(model))
        progress("mixing", 0, 0)
        output.write(mix(loaded, shares, by_context=by_context), progress)
    output.summarize()
    batch.finish()


def _fitted(
    models: tuple[Path, ...], texts: tuple[Path, ...], lang: str, by_context: bool, batch: Batch
) -> list[float]:
    """Return the weights that suit the texts' domains best, each domain counting the same, and tell those of each."""
    import numpy as np

    from lm.corpus import texts_by_domain
    from lm.interpolate import fit_weights
    from lm.perplexity import context_scores, load_kenlm, token_scores

    domains = {name: lines for name, lines in texts_by_domain(texts, lang, batch.fail, say).items() if lines}
    loaded = [load_kenlm(path) for path in models]
    order = max(model.order for model in loaded) if by_context else 1

    def fitted(log_probs: Any, known: Any, contexts: Any, counts: Any) -> list[float]:
        weights = fit_weights(log_probs, known, counts, contexts=contexts if by_context else None)
        return [float(weight) for weight in weights]

    parts = []
    for name, lines in domains.items():
        scores = [(*token_scores(model, lines), context_scores(model, lines, order)) for model in loaded]
        columns = [np.stack(column) for column in zip(*scores, strict=True)]
        n_tokens = columns[0].shape[1]
        parts.append([*columns, np.full(n_tokens, 1 / n_tokens)])
        _tell_weights(name, fitted(*parts[-1]))
    if not domains:
        raise click.ClickException("the text to fit holds no word: check the input, and that --lang is its language")
    weights = fitted(*(np.concatenate(part, axis=-1) for part in zip(*parts, strict=True)))
    _tell_weights("all", weights)
    return weights


def _tell_weights(name: str, weights: list[float]) -> None:
    say(f"weights for {name}: {' '.join(f'{weight:.3f}' for weight in weights)}")
