"""The options of every command that decodes: which search, with which language model and hotwords."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from silero_like.recognizer import Recognizer

Command = TypeVar("Command", bound=Callable[..., Any])

_OPTIONS = (
    click.option(
        "--decoder",
        type=click.Choice(["greedy", "beam", "pyctcdecode"]),
        help="Search [default: beam with a language model or hotwords, else greedy].",
    ),
    click.option("--beam-width", type=click.IntRange(min=1), help="Hypotheses kept [default: the model's, or 100]."),
    click.option(
        "--lm", metavar="PATH|none", help="Language model, ARPA or KenLM binary [default: the model's, if it has one]."
    ),
    click.option(
        "--hotwords",
        "hotwords_path",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="Words and phrases to prefer, one a line, each perhaps with a tab and its weight [default: 5].",
    ),
)


def decoder_options(command: Command) -> Command:
    """Add --decoder, --beam-width, --lm and --hotwords: arguments decoder, beam_width, lm and hotwords_path."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def load_recognizer(
    model: str | None, decoder: str | None, beam_width: int | None, lm: str | None, hotwords_path: Path | None
) -> Recognizer:
    """Load a model with the decoder that the options ask for.

    Raises:
        SileroLikeError: as `silero_like.load`, and for a damaged file of hotwords.
    """
    from silero_like.bundle import BUNDLED_PATH, load_bundle
    from silero_like.recognizer import load

    hotwords = {}
    if hotwords_path:
        lang = load_bundle(model or BUNDLED_PATH, verify=False).config.lang
        hotwords = read_hotwords_file(hotwords_path, lang)
    return load(model, decoder=decoder, lm_path=lm, beam_width=beam_width, hotwords=hotwords)


def read_hotwords_file(path: Path, lang: str) -> dict[str, float]:
    """Read phrases and write them as transcripts are written."""
    from data.text import get_normalizer
    from decode.hotwords import read_hotwords
    from silero_like.errors import ConfigError

    normalizer = get_normalizer(lang)
    try:
        phrases = read_hotwords(path.read_text(encoding="utf-8").splitlines())
    except ValueError as error:  # UnicodeDecodeError is one
        raise ConfigError(f"{path}: {error}") from error
    return {normalizer(phrase): weight for phrase, weight in phrases.items()}
