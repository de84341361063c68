"""Work through many inputs: progress on a terminal, one line for each that fails, a count at the end."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO, TypeVar

import click

from silero_like.errors import SileroLikeError

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Failure:
    """What is to be said of an input that failed; unlike its exception it can come from another process."""

    message: str
    trace: str = ""


class Batch:
    """Counts the inputs of one command that failed."""

    def __init__(self, context: click.Context) -> None:
        self.n_failed = 0
        self._debug = bool(context.find_root().params.get("debug"))
        self._terminal = sys.stderr.isatty()
        self._list: TextIO | None = None

    def list_failures(self, path: Path) -> None:
        """Also write each input that fails to a file, as a JSON object a line, at once.

        Raises:
            OSError: it cannot be written.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        self._list = path.open("w", encoding="utf-8", errors="replace", buffering=1)
        click.get_current_context().call_on_close(self._list.close)

    def fail(self, message: str, source: str = "") -> None:
        """Tell on stderr that one input failed."""
        self.n_failed += 1
        click.echo(f"Error: {message}", err=True)
        if self._list:
            self._list.write(json.dumps({"path": source, "error": message}, ensure_ascii=False) + "\n")

    def run(
        self, items: Sequence[Item], work: Callable[[Item], Result], name: Callable[[Item], str]
    ) -> Iterator[tuple[Item, Result]]:
        """Yield (item, result) of every item whose work succeeds; the others are told and counted."""

        def done() -> Iterator[tuple[Item, Result | Failure]]:
            for item in items:
                try:
                    yield item, work(item)
                except Exception as error:  # noqa: BLE001 - whatever it is, the rest of the batch goes on
                    yield item, failure(error, name(item))

        return self.sift(done(), items, name)

    def sift(
        self, done: Iterable[tuple[Item, Result | Failure]], items: Sequence[Item], name: Callable[[Item], str]
    ) -> Iterator[tuple[Item, Result]]:
        """Yield what succeeded of what was done to items, in their order; tell and count the rest."""
        self._announce(items, 0, name)
        for number, (item, result) in enumerate(done, start=1):
            self._show("")
            if isinstance(result, Failure):
                self.fail(result.message, name(item))
                if self._debug:
                    click.echo(result.trace, nl=False, err=True)
            else:
                yield item, result
            self._announce(items, number, name)

    def finish(self, n_inputs: int | None = None, what: str = "") -> None:
        """End the command: with exit code 1 and a count if something failed; None where not all are of one kind."""
        if self.n_failed:
            if n_inputs is None and self.n_failed > 1:
                click.echo(f"{self.n_failed} problems", err=True)
            elif n_inputs is not None and n_inputs > 1:
                click.echo(f"{self.n_failed} of {n_inputs} {what} failed", err=True)
            click.get_current_context().exit(1)

    def _announce(self, items: Sequence[Item], n_done: int, name: Callable[[Item], str]) -> None:
        if n_done < len(items):
            self._show(f"[{n_done + 1}/{len(items)}] {name(items[n_done])}")

    def _show(self, line: str) -> None:
        if self._terminal:
            click.echo(f"\r\033[K{line}", nl=False, err=True)


def failure(error: Exception, name: str) -> Failure:
    """Put an error into words, and keep where it came from."""
    return Failure(describe(error, name), "".join(traceback.format_exception(type(error), error, error.__traceback__)))


def describe(error: Exception, name: str = "") -> str:
    """Describe an error in one line, with the input's name unless the error is one of ours, which has it."""
    from lm.model import LanguageModelError

    if isinstance(error, SileroLikeError | LanguageModelError):
        return str(error)
    lead = f"{name}: " if name else ""
    if isinstance(error, OSError):  # the system's word on a file or a full disk says enough
        return f"{lead}{error}"
    return f"{lead}{type(error).__name__}: {error} (silero-like --debug ... shows where)"
