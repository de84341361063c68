"""What the commands of ``silero-like lm`` share: options, progress, and the writing of a model."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from silero_like.cli.model_option import BUNDLE_FOLDER
from silero_like.cli.paths import OUTPUT_FILE

if TYPE_CHECKING:
    from lm.corpus import Progress
    from lm.model import Model

Function = TypeVar("Function", bound=Callable[..., Any])

ARPA_SUFFIXES = (".arpa", ".arpa.gz")
BINARY_SUFFIXES = (".bin", ".binary", ".klm")
REFRESH_S = 0.2

model_option = click.option("--model", type=BUNDLE_FOLDER, help="Model bundle  [default: the bundled English model]")
log_probs_option = click.option(
    "--log-probs",
    "store",
    type=OUTPUT_FILE,
    help="Keep the acoustic model's output in this .npz file for the next time.",
)


@dataclass(frozen=True)
class Output:
    """Where a model goes, and how."""

    path: Path
    structure: str
    """Of a KenLM binary."""
    decimals: int
    """Of the numbers in an ARPA file."""

    @property
    def is_binary(self) -> bool:
        """KenLM's format, not ARPA."""
        return self.path.name.endswith(BINARY_SUFFIXES)

    def write(self, model: Model, progress: Progress) -> None:
        """Write a model whole or not at all."""
        from lm.arpa import write_arpa
        from lm.binary import write_binary

        if self.is_binary:
            write_binary(self.path, model, self.structure)
        else:
            write_arpa(self.path, model, decimals=self.decimals, progress=progress)

    def summarize(self) -> None:
        """Tell what was written."""
        from lm.arpa import read_arpa_counts
        from lm.binary import read_binary_counts

        binary = read_binary_counts(self.path)
        counts = binary[1] if binary else read_arpa_counts(self.path)
        size_mb = self.path.stat().st_size / 1e6
        say(f"{self.path}: {size_mb:.2f} MB, n-grams by order: {' '.join(map(str, counts))}")


def make_output(path: Path, structure: str | None, decimals: int | None) -> Output:
    """Return what the options of `writing_options` ask for.

    Raises:
        click.UsageError: an option for the other format.
    """
    output = Output(path, structure or "probing", 6 if decimals is None else decimals)
    if structure and not output.is_binary:
        raise click.UsageError(f"--structure is for KenLM binaries ({', '.join(BINARY_SUFFIXES)}), not {path.name}")
    if decimals is not None and output.is_binary:
        raise click.UsageError(f"--decimals is for ARPA files, not {path.name}")
    return output


def _check_suffix(context: click.Context, parameter: click.Parameter, path: Path) -> Path:
    if not path.name.endswith(ARPA_SUFFIXES + BINARY_SUFFIXES):
        known = ", ".join(ARPA_SUFFIXES + BINARY_SUFFIXES)
        raise click.BadParameter(f"expected a name that ends in one of {known}, got {path.name!r}")
    return path


def writing_options(function: Function) -> Function:
    """Add --output, --structure and --decimals: arguments for `make_output`."""
    for option in (
        click.option("--decimals", type=click.IntRange(2, 8), help="Of the numbers in an ARPA file  [default: 6]"),
        click.option(
            "--structure",
            type=click.Choice(["probing", "trie"]),
            help="Of a KenLM binary: probing is faster, trie several times smaller (8-bit numbers)  [default: probing]",
        ),
        click.option(
            "--output",
            "path",
            required=True,
            callback=_check_suffix,
            type=OUTPUT_FILE,
            help="Model to write: .arpa, .arpa.gz, or .bin for KenLM's binary format.",
        ),
    ):
        function = option(function)
    return function


def lang_option(function: Function) -> Function:
    """Add --lang."""
    return click.option("--lang", default="en", show_default=True, help="Text normaliser: en, ru or zh.")(function)


def numbers(kind: type[float]) -> Callable[[click.Context, click.Parameter, str | None], list[float] | None]:
    """Make a click callback that reads numbers separated by spaces or commas."""

    def read(context: click.Context, parameter: click.Parameter, text: str | None) -> list[float] | None:
        try:
            found = None if text is None else [kind(part) for part in text.replace(",", " ").split()]
        except ValueError:
            found = []
        if found == []:
            raise click.BadParameter(f"expected numbers separated by spaces, got {text!r}")
        return found

    return read


@contextlib.contextmanager
def as_usage_errors() -> Iterator[None]:
    """Turn what the package `lm` says of options into wrong usage."""
    from lm.model import LanguageModelError

    try:
        yield
    except LanguageModelError as error:
        raise click.UsageError(str(error)) from error


def say(message: str) -> None:
    """Tell on stderr."""
    click.echo(message, err=True)


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
