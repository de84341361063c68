"""``silero-like lm``: make, mix and look at n-gram language models."""

from __future__ import annotations

import contextlib
import functools
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from silero_like.cli.lm_hotwords import hotwords
from silero_like.cli.lm_tune import tune

if TYPE_CHECKING:
    from lm.corpus import Corpus
    from lm.model import Ints, Model

Function = TypeVar("Function", bound=Callable[..., Any])

ARPA_SUFFIXES = (".arpa", ".arpa.gz")
BINARY_SUFFIXES = (".bin", ".binary", ".klm")
REFRESH_S = 0.2

TEXTS = click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)
MODEL = click.Path(exists=True, dir_okay=False, path_type=Path)


def _check_output(context: click.Context, parameter: click.Parameter, path: Path) -> Path:
    if not path.name.endswith(ARPA_SUFFIXES + BINARY_SUFFIXES):
        known = ", ".join(ARPA_SUFFIXES + BINARY_SUFFIXES)
        raise click.BadParameter(f"expected a name that ends in one of {known}, got {path.name!r}")
    return path


def _numbers(kind: type[float]) -> Callable[[click.Context, click.Parameter, str | None], list[float] | None]:
    """Make a click callback that reads numbers separated by spaces or commas."""

    def read(context: click.Context, parameter: click.Parameter, text: str | None) -> list[float] | None:
        try:
            return None if text is None else [kind(part) for part in text.replace(",", " ").split()]
        except ValueError as error:
            raise click.BadParameter(f"expected numbers separated by spaces, got {text!r}") from error

    return read


def _writing_options(function: Function) -> Function:
    """Add the options of commands that write a model."""
    for option in (
        click.option(
            "--decimals",
            type=click.IntRange(2, 8),
            default=6,
            show_default=True,
            help="Of the numbers in an ARPA file.",
        ),
        click.option(
            "--structure",
            type=click.Choice(["probing", "trie"]),
            default="probing",
            show_default=True,
            help="Of a KenLM binary: probing is faster, trie several times smaller (8-bit numbers).",
        ),
        click.option(
            "--output",
            required=True,
            callback=_check_output,
            type=click.Path(dir_okay=False, path_type=Path),
            help="Model to write: .arpa, .arpa.gz, or .bin for KenLM's binary format.",
        ),
    ):
        function = option(function)
    return function


def _lang_option(function: Function) -> Function:
    return click.option("--lang", default="en", show_default=True, help="Text normaliser: en, ru or zh.")(function)


def _plain_errors(function: Function) -> Function:
    """Turn the errors of the package `lm` into click's."""

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        from lm.model import LanguageModelError

        try:
            return function(*args, **kwargs)
        except LanguageModelError as error:
            raise click.ClickException(str(error)) from error

    return wrapped  # type: ignore[return-value]


@click.group()
def lm() -> None:
    """Build n-gram language models from text, mix them, and look at them.

    \b
    Examples:
      silero-like lm build books.txt.gz train.jsonl --order 3 --prune "0 0 1" --output books.arpa.gz
      silero-like lm info books.arpa.gz dev.jsonl
    """


lm.add_command(tune)
lm.add_command(hotwords)


@lm.command()
@click.argument("inputs", metavar="INPUT...", nargs=-1, required=True, type=TEXTS)
@_writing_options
@click.option("--order", type=click.IntRange(1, 6), default=3, show_default=True, help="Longest n-grams, in words.")
@_lang_option
@click.option(
    "--prune",
    callback=_numbers(int),
    metavar="COUNTS",
    help='For each order, leave out n-grams that occur so often or less, as lmplz: "0 0 1"  [default: keep all]',
)
@click.option(
    "--limit-vocab",
    metavar="N|FILE",
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
@_plain_errors
def build(
    context: click.Context,
    inputs: tuple[Path, ...],
    output: Path,
    structure: str,
    decimals: int,
    order: int,
    lang: str,
    prune: list[int] | None,
    limit_vocab: str | None,
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
    from lm.kneser_ney import check_pruning, estimate
    from lm.lmplz import run_lmplz

    problems: list[str] = []
    thresholds = check_pruning(prune or [], order)
    with show_progress() as progress:
        texts = normalized_texts(inputs, lang, lambda problem: _tell(problem, problems))
        corpus = read_corpus(texts, drop_repeated=drop_repeated, progress=progress)
        repeated = f" ({corpus.n_repeated} repeated ones left out)" if drop_repeated else ""
        n_types = len(corpus.words) - 3
        _say(f"{corpus.n_words} words, {n_types} different ones, in {corpus.n_lines} lines{repeated}")
        keep_words = _kept_words(corpus, limit_vocab)
        if estimator == "lmplz":
            with tempfile.TemporaryDirectory(prefix="silero-like-") as folder:
                arpa = Path(folder) / "model.arpa"
                said = run_lmplz(
                    corpus,
                    arpa,
                    order,
                    prune=thresholds,
                    keep_words=keep_words,
                    memory_mb=memory_mb,
                    progress=progress,
                )
                for line in said:
                    _say(line)
                _convert(arpa, output, structure)
        else:
            found = estimate(
                corpus, order, prune=thresholds, keep_words=keep_words, memory_mb=memory_mb, progress=progress
            )
            for n, discounts in enumerate(found.discounts, start=1):
                if discounts.problem:
                    values = " ".join(map(str, discounts.values))
                    _say(f"order {n}: fixed discounts {values}, as {discounts.problem} (a small or artificial text)")
            _write(output, found.model, structure, decimals)
    _summarize(output)
    if problems:
        click.echo(f"{len(problems)} manifest rows could not be used", err=True)
        context.exit(1)


@lm.command()
@click.argument("model", type=MODEL)
@click.argument("texts", metavar="[TEXT]...", nargs=-1, type=TEXTS)
@_lang_option
@click.option("--json", "json_path", type=click.Path(dir_okay=False, path_type=Path), help="Write it as JSON, too.")
@_plain_errors
def info(model: Path, texts: tuple[Path, ...], lang: str, json_path: Path | None) -> None:
    """Show a model's size and, for texts and manifests, its perplexity and share of unknown words.

    MODEL is an ARPA file, plain or .gz, or a KenLM binary. Of an ARPA file the command also tells which share of the
    n-grams is never continued by a longer one (0 % where nothing was pruned), and how far from one the probabilities
    after any context sum. Manifests (.jsonl) are told apart by domain.

    Perplexity is per word and end of line, without the unknown words.

    \b
    Example:
      silero-like lm info books.arpa.gz dev/*.jsonl
    """
    from lm.corpus import texts_by_domain
    from lm.perplexity import load_kenlm, score_text

    report = _describe(model)
    for key, value in report.items():
        click.echo(f"{key:20} {' '.join(map(str, value)) if isinstance(value, list) else value}")
    if texts:
        scorer = load_kenlm(model)
        report["texts"] = {}
        click.echo(f"{'text':20} {'lines':>8} {'words':>9} {'unknown %':>10} {'perplexity':>11}")
        for name, lines in texts_by_domain(texts, lang, _say).items():
            if not lines:
                _say(f"{name}: no word: check the input, and that --lang is its language")
                continue
            score = score_text(scorer, lines)
            report["texts"][name] = {
                "lines": score.n_lines,
                "words": score.n_words,
                "unknown_rate": score.unknown_rate,
                "perplexity": score.perplexity,
            }
            click.echo(
                f"{name:20} {score.n_lines:8} {score.n_words:9} {score.unknown_rate:10.2%} {score.perplexity:11.1f}"
            )
    if json_path:
        json_path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


@lm.command()
@click.argument("models", metavar="MODEL MODEL...", nargs=-1, required=True, type=MODEL)
@_writing_options
@click.option("--weights", callback=_numbers(float), metavar="NUMBERS", help='One for each model: "0.8 0.2".')
@click.option(
    "--fit", "fit_on", multiple=True, type=TEXTS, help="Fit the weights on this text or manifest; repeatable."
)
@click.option(
    "--by-context",
    is_flag=True,
    help="In each context, weigh each model by how probable it finds the context, too.",
)
@_lang_option
@_plain_errors
def interpolate(
    models: tuple[Path, ...],
    output: Path,
    structure: str,
    decimals: int,
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
    from lm.interpolate import interpolate as mix

    if len(models) < 2:
        raise click.UsageError("expected two or more models")
    if (weights is None) == (not fit_on):
        raise click.UsageError("expected either --weights or --fit")
    shares = weights or _fitted(models, fit_on, lang, by_context)
    with show_progress() as progress:
        loaded = []
        for number, path in enumerate(models):
            progress("reading models", number, len(models))
            loaded.append(read_arpa(path))
        progress("mixing", 0, 0)
        mixed = mix(loaded, shares, by_context=by_context)
        _write(output, mixed, structure, decimals)
    _summarize(output)


@lm.command()
@click.argument("inputs", metavar="[INPUT]...", nargs=-1, type=TEXTS)
@click.option("--lines", "n_lines", type=click.IntRange(min=1), default=30_000, show_default=True, help="How many.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="The same seed, the same lines.")
@_plain_errors
def spoken(inputs: tuple[Path, ...], n_lines: int, seed: int) -> None:
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

    words = sorted({word for line in normalized_texts(inputs, "en", _say) for word in line.split()})
    for line in spoken_lines(n_lines, words, np.random.default_rng(seed)):
        click.echo(normalize_en(line))


def _kept_words(corpus: Corpus, limit: str | None) -> Ints | None:
    """Return which words --limit-vocab keeps; None for all."""
    import numpy as np

    from lm.corpus import open_text

    if limit is None:
        return None
    if limit.isascii() and limit.isdigit():
        kept = np.zeros(len(corpus.words), bool)
        kept[np.argsort(-corpus.counts[3:], kind="stable")[: int(limit)] + 3] = True
        return kept
    if not Path(limit).is_file():
        raise click.UsageError(f"--limit-vocab: expected a number of words or a file of words, got {limit!r}")
    with open_text(Path(limit)) as file:
        try:
            return np.isin(corpus.words, file.read().split())
        except UnicodeDecodeError as error:
            raise click.ClickException(f"{limit}: expected UTF-8 text: convert it, or write words by hand") from error


def _fitted(models: tuple[Path, ...], texts: tuple[Path, ...], lang: str, by_context: bool) -> list[float]:
    """Return the weights that suit the texts' domains best, each domain counting the same, and tell those of each."""
    import numpy as np

    from lm.corpus import texts_by_domain
    from lm.interpolate import fit_weights
    from lm.perplexity import context_scores, load_kenlm, token_scores

    domains = {name: lines for name, lines in texts_by_domain(texts, lang, _say).items() if lines}
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
    _say(f"weights for {name}: {' '.join(f'{weight:.3f}' for weight in weights)}")


def _describe(path: Path) -> dict[str, Any]:
    """Return a model's size, counts and, of an ARPA file, its pruning and whether it sums to one."""
    from lm.arpa import read_arpa
    from lm.binary import read_binary_counts
    from lm.interpolate import largest_deviation
    from lm.model import never_continued

    report: dict[str, Any] = {"model": str(path), "size_mb": round(path.stat().st_size / 1e6, 3)}
    if binary := read_binary_counts(path):
        report["format"], counts = f"KenLM binary, {binary[0]}", binary[1]
    else:
        model = read_arpa(path)
        report["format"], counts = "ARPA", [len(grams) for grams in model.orders]
    report |= {"order": len(counts), "ngrams": counts, "vocabulary": counts[0] - 3}
    if not binary:
        shares = [f"{share:.2%}" for share in never_continued(model)]
        report |= {"never_continued": shares, "largest_deviation": f"{largest_deviation(model):.1e}"}
    return report


def _write(output: Path, model: Model, structure: str, decimals: int) -> None:
    from lm.arpa import write_arpa
    from lm.binary import write_binary

    if output.name.endswith(ARPA_SUFFIXES):
        with show_progress() as progress:
            write_arpa(output, model, decimals=decimals, progress=progress)
    else:
        write_binary(output, model, structure)


def _convert(arpa: Path, output: Path, structure: str) -> None:
    """Turn lmplz's ARPA file into the output."""
    import gzip
    import shutil

    from lm.lmplz import run_build_binary

    output.parent.mkdir(parents=True, exist_ok=True)
    if output.name.endswith(BINARY_SUFFIXES):
        run_build_binary(arpa, output, structure)
    elif output.suffix == ".gz":
        with arpa.open("rb") as plain, gzip.open(output, "wb", 6) as packed:
            shutil.copyfileobj(plain, packed)
    else:
        shutil.copy(arpa, output)


def _summarize(output: Path) -> None:
    from lm.arpa import read_arpa_counts
    from lm.binary import read_binary_counts

    binary = read_binary_counts(output)
    counts = binary[1] if binary else read_arpa_counts(output)
    _say(f"{output}: {output.stat().st_size / 1e6:.2f} MB, n-grams by order: {' '.join(map(str, counts))}")


def _say(message: str) -> None:
    click.echo(message, err=True)


def _tell(problem: str, problems: list[str]) -> None:
    problems.append(problem)
    _say(problem)


@contextlib.contextmanager
def show_progress() -> Iterator[Callable[[str, int, int], None]]:
    """Show on a terminal what is being done, and how much of it."""
    shown_at, is_terminal = 0.0, sys.stderr.isatty()

    def show(what: str, done: int, total: int) -> None:
        nonlocal shown_at
        if is_terminal and time.monotonic() - shown_at > REFRESH_S:
            shown_at = time.monotonic()
            part = f"[{'#' * (30 * done // total):30}] {done / total:.0%}" if total else f"{done:,}"
            click.echo(f"\r\033[K{what} {part}", nl=False, err=True)

    try:
        yield show
    finally:
        if is_terminal:
            click.echo("\r\033[K", nl=False, err=True)
