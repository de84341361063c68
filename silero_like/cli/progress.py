"""How far a command is that does not know how much there is: one line on a terminal, nothing elsewhere."""

from __future__ import annotations

import sys
import time

import click

INTERVAL_S = 0.2


class ProgressLine:
    """A line on standard error that is written again, not too often; it is wiped when the `with` block ends."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._shown = 0.0

    def __enter__(self) -> ProgressLine:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def due(self) -> bool:
        """Tell whether it is time to show a new line: cheap enough to be asked for every row."""
        return self._terminal and time.monotonic() - self._shown > INTERVAL_S

    def show(self, text: str) -> None:
        """Write a text over the last one."""
        self._shown = time.monotonic()
        click.echo(f"\r\033[K{text}", nl=False, err=True)

    def clear(self) -> None:
        """Wipe the line, so that something else can be written in its place."""
        if self._shown:
            click.echo("\r\033[K", nl=False, err=True)
            self._shown = 0.0
