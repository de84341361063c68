"""Tables for a terminal."""

from __future__ import annotations

from collections.abc import Sequence


def format_columns(rows: Sequence[Sequence[str]]) -> str:
    """Align the cells of rows, the first column to the left and the others to the right.

    >>> print(format_columns([("domain", "hours"), ("books", "1.5")]))
    domain  hours
    books     1.5
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(n) for cell, n in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    )
