"""The options of every command that decodes: which search, with which language model and hotwords."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from silero_like.cli.option_group import option_group
from silero_like.cli.paths import INPUT_FILE

if TYPE_CHECKING:
    from silero_like.recognizer import Recognizer


@dataclass(frozen=True, kw_only=True)
class Search:
    """How to decode, as far as the options say; None is not given."""

    decoder: str | None = None
    beam_width: int | None = None
    lm: str | None = None
    """Path of a language model, or "none"."""
    hotwords_path: Path | None = None

    @property
    def given(self) -> list[str]:
        """The options that were given."""
        values = {
            "--decoder": self.decoder,
            "--beam-width": self.beam_width,
            "--lm": self.lm,
            "--hotwords": self.hotwords_path,
        }
        return [option for option, value in values.items() if value is not None]


decoder_options = option_group(
    "search",
    Search,
    click.option(
        "--decoder",
        type=click.Choice(["greedy", "beam", "pyctcdecode"]),
        help="Search [default: beam with a language model, hotwords or --beam-width, else greedy].",
    ),
    click.option("--beam-width", type=click.IntRange(min=1), help="Hypotheses kept [default: the model's, or 100]."),
    click.option(
        "--lm", metavar="PATH|none", help="Language model, ARPA or KenLM binary [default: the model's, if it has one]."
    ),
    click.option(
        "--hotwords",
        "hotwords_path",
        type=INPUT_FILE,
        help="Words and phrases to prefer, one a line, each perhaps with a tab and its weight [default: 5].",
    ),
)
"""--decoder, --beam-width, --lm and --hotwords, as `search`."""


def load_recognizer(model: str | Path | None, search: Search) -> Recognizer:
    """Load a model with the decoder that the options ask for.

    Raises:
        click.UsageError: options of the beam search for the decoder greedy.
        SileroLikeError: as `silero_like.load`, and for a damaged file of hotwords.
    """
    from silero_like.bundle import BUNDLED_PATH, load_bundle
    from silero_like.recognizer import load

    beam_only = (("--beam-width", search.beam_width), ("--lm", search.lm), ("--hotwords", search.hotwords_path))
    for option, value in beam_only:
        if search.decoder == "greedy" and value not in (None, "none"):
            raise click.UsageError(f"{option} is for the decoder beam: leave it out, or --decoder greedy")
    hotwords = {}
    if search.hotwords_path:
        lang = load_bundle(model or BUNDLED_PATH, verify=False).config.lang
        hotwords = read_hotwords_file(search.hotwords_path, lang)
    decoder = search.decoder or ("beam" if search.beam_width else None)
    return load(model, decoder=decoder, lm_path=search.lm, beam_width=search.beam_width, hotwords=hotwords)


def load_elsewhere(sha256: str, model: str | Path | None, search: Search) -> Recognizer:
    """Load a model on another machine, as `load_recognizer`.

    Args:
        sha256: of the bundle, as `bundle_sha256` gives it where the command was given.
        model: the bundle.
        search: its decoder.

    Raises:
        SileroLikeError: the bundle is another one here, or what `load_recognizer` raises.
    """
    from silero_like.errors import SileroLikeError

    if bundle_sha256(model) != sha256:
        raise SileroLikeError(
            f"{os.uname().nodename} has another model at {model or 'the place of the bundled one'} than the machine of "
            "the command: copy it there, or keep it in a folder that all nodes share"
        )
    return load_recognizer(model, search)


def bundle_sha256(model: str | Path | None) -> str:
    """Return what tells a bundle from any other: the SHA-256 of its list of SHA-256s.

    Raises:
        SileroLikeError: no bundle there.
    """
    import hashlib

    from silero_like.bundle import BUNDLED_PATH
    from silero_like.errors import SileroLikeError

    path = Path(model or BUNDLED_PATH) / "checksums.json"
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise SileroLikeError(f"{os.uname().nodename}: no model here ({error}): copy it there, or share it") from error


def read_hotwords_file(path: Path, lang: str) -> dict[str, float]:
    """Read phrases and write them as transcripts are written."""
    from silero_like.errors import ConfigError

    try:
        hotwords = read_hotword_lines(path.read_text(encoding="utf-8").splitlines(), lang)
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: expected UTF-8 text, a phrase a line: convert it ({error})") from error
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    if not hotwords:
        click.echo(f"{path}: no hotword in it, so none is preferred", err=True)
    return hotwords


def read_hotword_lines(lines: Sequence[str], lang: str) -> dict[str, float]:
    """Read phrases, one a line, and write them as transcripts are written.

    Raises:
        ConfigError: a line that is no phrase and weight, or words that the model cannot write.
    """
    from data.text import get_normalizer
    from decode.hotwords import read_hotwords
    from silero_like.errors import ConfigError

    normalizer = get_normalizer(lang)
    try:
        phrases = read_hotwords(lines)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    written = {phrase: normalizer(phrase) for phrase in phrases}
    for phrase, text in written.items():
        if not text:
            raise ConfigError(f"expected words that the model can write ({lang}), got {phrase!r}: remove it")
    return {text: phrases[phrase] for phrase, text in written.items()}
