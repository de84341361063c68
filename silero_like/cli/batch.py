"""Work through many inputs: progress on a terminal, one line for each that fails, a count at the end."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import click

from silero_like.errors import SileroLikeError

Item = TypeVar("Item")
Result = TypeVar("Result")


class Batch:
    """Counts the inputs of one command that failed."""

    def __init__(self, context: click.Context) -> None:
        self.n_failed = 0
        self._debug = bool(context.find_root().params.get("debug"))
        self._terminal = sys.stderr.isatty()

    def fail(self, message: str) -> None:
        """Tell on stderr that one input failed."""
        self.n_failed += 1
        click.echo(f"Error: {message}", err=True)

    def run(
        self, items: Sequence[Item], work: Callable[[Item], Result], name: Callable[[Item], str]
    ) -> Iterator[tuple[Item, Result]]:
        """Yield (item, result) of every item whose work succeeds; the others are told and counted."""
        for number, item in enumerate(items, start=1):
            self._show(f"[{number}/{len(items)}] {name(item)}")
            try:
                result = work(item)
            except Exception as error:  # noqa: BLE001 - whatever it is, the rest of the batch goes on
                self._show("")
                self.fail(describe(error, name(item)))
                if self._debug:
                    traceback.print_exc()
                continue
            self._show("")
            yield item, result

    def finish(self, n_inputs: int | None = None, what: str = "") -> None:
        """End the command: with exit code 1 and a count if something failed; None where not all are of one kind."""
        if self.n_failed:
            if n_inputs is None and self.n_failed > 1:
                click.echo(f"{self.n_failed} problems", err=True)
            elif n_inputs is not None and n_inputs > 1:
                click.echo(f"{self.n_failed} of {n_inputs} {what} failed", err=True)
            click.get_current_context().exit(1)

    def _show(self, line: str) -> None:
        if self._terminal:
            click.echo(f"\r\033[K{line}", nl=False, err=True)


def describe(error: Exception, name: str = "") -> str:
    """Describe an error in one line, with the input's name unless the error is one of ours, which has it."""
    from lm.model import LanguageModelError

    if isinstance(error, SileroLikeError | LanguageModelError):
        return str(error)
    lead = f"{name}: " if name else ""
    if isinstance(error, OSError):  # the system's word on a file or a full disk says enough
        return f"{lead}{error}"
    return f"{lead}{type(error).__name__}: {error} (silero-like --debug ... shows where)"
