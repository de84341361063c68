"""``silero-like tokenizer``: make the model that turns text into token ids."""

import warnings
from functools import partial
from pathlib import Path

import click

from silero_like.cli.batch import Batch
from silero_like.cli.paths import INPUT_TEXT, OUTPUT_FILE, refuse_replacing


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
    from lm.corpus import normalized_texts
    from silero_like.tokenizer import train_tokenizer

    refuse_replacing([output], inputs)
    batch, normalizer = Batch(context), get_normalizer(lang)
    texts = list(normalized_texts(inputs, lang, batch.fail, partial(click.echo, err=True)))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trained = train_tokenizer(texts, output, vocab_size=vocab_size)
    for warning in caught:
        click.echo(f"warning: {warning.message}", err=True)
    click.echo(
        f"{output}: {trained.vocab_size} pieces from {len(texts)} lines, normaliser {normalizer.label}", err=True
    )
    batch.finish()
