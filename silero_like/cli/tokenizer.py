"""``silero-like tokenizer``: make the model that turns text into token ids."""

import gzip
import io
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import click

from silero_like.cli.paths import INPUT_TEXT, OUTPUT_FILE


@click.group()
def tokenizer() -> None:
    """Train a tokenizer."""


@tokenizer.command()
@click.argument(
    "inputs",
    metavar="INPUT...",
    nargs=-1,
    required=True,
    type=INPUT_TEXT,
)
@click.option("--vocab-size", type=click.IntRange(min=2), default=256, show_default=True, help="Pieces, without blank.")
@click.option("--lang", default="en", show_default=True, help="Text normaliser: en, ru or zh.")
@click.option("--output", required=True, type=OUTPUT_FILE, help="Where tokenizer.model goes.")
@click.pass_context
def train(context: click.Context, inputs: tuple[Path, ...], vocab_size: int, lang: str, output: Path) -> None:
    """Train a sentencepiece BPE tokenizer on texts and manifests.

    INPUT is a manifest (.jsonl), a text of one sentence a line (plain or .gz), or - for standard input. Everything is
    normalised first; manifest rows of another language are left out.

    \b
    Example:
      silero-like tokenizer train train.jsonl books.txt.gz --vocab-size 256 --lang en --output tokenizer.model
    """
    from data.text import get_normalizer
    from silero_like.tokenizer import train_tokenizer

    normalizer = get_normalizer(lang)
    failed: list[str] = []
    texts = [normalizer(text) for path in inputs for text in _texts(path, normalizer.name, failed)]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trained = train_tokenizer(texts, output, vocab_size=vocab_size)
    for warning in caught:
        click.echo(f"warning: {warning.message}", err=True)
    click.echo(
        f"{output}: {trained.vocab_size} pieces from {len(texts)} lines, normaliser {normalizer.label}", err=True
    )
    if failed:
        click.echo(f"{len(failed)} manifest rows could not be used", err=True)
        context.exit(1)


def _texts(path: Path, lang: str, failed: list[str]) -> Iterator[str]:
    """Yield the raw texts of one input; bad manifest rows are told on stderr and added to ``failed``."""
    if path.suffix == ".jsonl":
        yield from _manifest_texts(path, lang, failed)
        return
    with _open(path) as file:
        try:
            yield from file
        except (UnicodeDecodeError, EOFError, gzip.BadGzipFile) as error:
            raise click.ClickException(f"{path}: expected UTF-8 text, plain or .gz: {error}") from error


def _manifest_texts(path: Path, lang: str, failed: list[str]) -> Iterator[str]:
    from data.manifest import read_manifest

    manifest = read_manifest(path, check_audio=False)
    for problem in manifest.problems:
        click.echo(problem, err=True)
    failed.extend(manifest.problems)
    kept = [utterance.text for utterance in manifest.utterances if utterance.lang in ("", lang)]
    if left_out := len(manifest.utterances) - len(kept):
        click.echo(f"{path}: {left_out} rows are not in {lang} and were left out", err=True)
    yield from kept


def _open(path: Path) -> io.TextIOBase:
    if str(path) == "-":
        return io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8")
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8")
    return path.open(encoding="utf-8")
