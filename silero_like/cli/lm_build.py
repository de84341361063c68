"""``silero-like lm build`` and ``lm spoken``: from text to an n-gram model, and text that books hardly have."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from silero_like.cli.batch import Batch
from silero_like.cli.lm_options import (
    Output,
    as_usage_errors,
    lang_option,
    make_output,
    numbers,
    say,
    show_progress,
    writing_options,
)
from silero_like.cli.paths import INPUT_TEXT, refuse_replacing

if TYPE_CHECKING:
    from lm.corpus import Corpus, Progress
    from lm.model import Ints


def _read_limit(context: click.Context, parameter: click.Parameter, limit: str | None) -> int | list[str] | None:
    """Read how many words --limit-vocab keeps, or which."""
    from lm.files import DAMAGED_GZIP, open_text

    if limit is None or (limit.isascii() and limit.isdigit()):
        return None if limit is None else int(limit)
    if not Path(limit).is_file():
        raise click.BadParameter(f"expected a number of words or a file of words, got {limit!r}")
    with open_text(Path(limit)) as file:
        try:
            return file.read().removeprefix("\ufeff").split()  # a byte order mark is nothing
        except UnicodeDecodeError as error:
            raise click.ClickException(f"{limit}: expected UTF-8 text: convert it, or write words by hand") from error
        except DAMAGED_GZIP as error:
            raise click.ClickException(f"{limit}: a damaged or truncated .gz file ({error}): get it again") from error


@click.command()
@click.argument("inputs", metavar="INPUT...", nargs=-1, required=True, type=INPUT_TEXT)
@writing_options
@click.option("--order", type=click.IntRange(1, 6), default=3, show_default=True, help="Longest n-grams, in words.")
@lang_option
@click.option(
    "--prune",
    callback=numbers(int),
    metavar="COUNTS",
    help='For each order, leave out n-grams that occur so often or less, as lmplz: "0 0 1"  [default: keep all]',
)
@click.option(
    "--limit-vocab",
    "limit",
    metavar="N|FILE",
    callback=_read_limit,
    help="Keep the N most frequent words, or those of a file; n-grams with others are left out.",
)
@click.option("--drop-repeated", is_flag=True, help="Count each different line once.")
@click.option("--memory-mb", type=click.IntRange(min=1), default=1024, show_default=True, help="Working memory in MiB.")
@click.option(
    "--estimator",
    type=click.Choice(["builtin", "lmplz"]),
    default="builtin",
    show_default=True,
    help="lmplz runs KenLM's lmplz and build_binary, which must be on the PATH; the model is the same.",
)
@click.pass_context
def build(
    context: click.Context,
    inputs: tuple[Path, ...],
    path: Path,
    structure: str | None,
    decimals: int | None,
    order: int,
    lang: str,
    prune: list[int] | None,
    limit: int | list[str] | None,
    drop_repeated: bool,
    memory_mb: int,
    estimator: str,
) -> None:
    """Estimate an n-gram model from texts and manifests: interpolated modified Kneser-Ney, as KenLM's lmplz does.

    INPUT is a text of one sentence a line (plain or .gz), a manifest (.jsonl), or - for standard input. Everything is
    normalised first; empty lines are passed over. Chinese characters are words of their own.

    \b
    Examples:
      silero-like lm build books.txt.gz --order 4 --prune "0 0 1 2" --output books.arpa.gz
      zcat news.gz | silero-like lm build - --lang ru --drop-repeated --limit-vocab 200000 --output news.bin
    """
    from lm.corpus import normalized_texts, read_corpus
    from lm.kneser_ney import check_pruning

    refuse_replacing([path], inputs)
    batch, output = Batch(context), make_output(path, structure, decimals)
    with as_usage_errors():
        thresholds = check_pruning(prune or [], order)
    if estimator == "lmplz":
        _check_lmplz(output, decimals)
    with show_progress() as progress:
        texts = normalized_texts(inputs, lang, batch.fail, say)
        corpus = read_corpus(texts, drop_repeated=drop_repeated, progress=progress)
        repeated = f" ({corpus.n_repeated} repeated ones left out)" if drop_repeated else ""
        n_types = len(corpus.words) - 3
        say(f"{corpus.n_words} words, {n_types} different ones, in {corpus.n_lines} lines{repeated}")
        make = _run_lmplz if estimator == "lmplz" else _estimate
        keep_words = _kept_words(corpus, limit)
        make(corpus, output, order, prune=thresholds, keep_words=keep_words, memory_mb=memory_mb, progress=progress)
    output.summarize()
    batch.finish()


@click.command()
@click.argument("inputs", metavar="[INPUT]...", nargs=-1, type=INPUT_TEXT)
@click.option("--lines", "n_lines", type=click.IntRange(min=1), default=30_000, show_default=True, help="How many.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="The same seed, the same lines.")
@click.pass_context
def spoken(context: click.Context, inputs: tuple[Path, ...], n_lines: int, seed: int) -> None:
    """Write lines of digits, letters, numbers, prices, times and dates, as English speakers say them.

    Books hardly have them. A model built from such lines, mixed into another with a small weight --by-context, keeps
    phone numbers and spelled names. The different words of INPUT, texts and manifests, are spelled letter by letter.

    \b
    Example:
      silero-like lm spoken train.jsonl | silero-like lm build - --output spoken.arpa.gz
    """
    import numpy as np

    from data.text import normalize_en
    from lm.corpus import normalized_texts
    from lm.spoken import spoken_lines

    batch = Batch(context)
    words = sorted({word for line in normalized_texts(inputs, "en", batch.fail, say) for word in line.split()})
    for line in spoken_lines(n_lines, words, np.random.default_rng(seed)):
        click.echo(normalize_en(line))
    batch.finish()


def _kept_words(corpus: Corpus, limit: int | list[str] | None) -> Ints | None:
    """Return which words --limit-vocab keeps; None for all."""
    import numpy as np

    if limit is None:
        return None
    if isinstance(limit, list):
        return np.isin(corpus.words, limit)
    kept = np.zeros(len(corpus.words), bool)
    kept[np.argsort(-corpus.counts[3:], kind="stable")[:limit] + 3] = True
    return kept


def _estimate(
    corpus: Corpus,
    output: Output,
    order: int,
    *,
    prune: list[int],
    keep_words: Ints | None,
    memory_mb: int,
    progress: Progress,
) -> None:
    from lm.kneser_ney import estimate

    found = estimate(corpus, order, prune=prune, keep_words=keep_words, memory_mb=memory_mb, progress=progress)
    for n, discounts in enumerate(found.discounts, start=1):
        if discounts.problem:
            values = " ".join(map(str, discounts.values))
            say(f"order {n}: fixed discounts {values}, as {discounts.problem} (a small or artificial text)")
    output.write(found.model, progress)


def _check_lmplz(output: Output, decimals: int | None) -> None:
    from lm.lmplz import find_program

    if decimals is not None:
        raise click.UsageError("--decimals is for the builtin estimator: leave it out with lmplz")
    for name in ("lmplz", "build_binary") if output.is_binary else ("lmplz",):
        find_program(name)


def _run_lmplz(
    corpus: Corpus,
    output: Output,
    order: int,
    *,
    prune: list[int],
    keep_words: Ints | None,
    memory_mb: int,
    progress: Progress,
) -> None:
    from lm.files import replacing
    from lm.lmplz import run_build_binary, run_lmplz

    with tempfile.TemporaryDirectory(prefix="silero-like-") as folder:
        made = Path(folder) / "model.arpa"
        said = run_lmplz(
            corpus, made, order, prune=prune, keep_words=keep_words, memory_mb=memory_mb, progress=progress
        )
        for line in said:
            say(line)
        if output.is_binary:
            made, arpa = made.with_suffix(".bin"), made
            run_build_binary(arpa, made, output.structure)
        with made.open("rb") as source, replacing(output.path) as target:
            shutil.copyfileobj(source, target)
