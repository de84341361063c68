"""Draw curves with matplotlib, without a display."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import click

from silero_like.writers import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg")


def check_picture_path(context: click.Context, parameter: click.Parameter, path: Path | None) -> Path | None:
    """Click callback: accept only what can be drawn."""
    if path is not None and path.suffix.lower() not in SUFFIXES:
        raise click.BadParameter(f"expected a name that ends in {' or '.join(SUFFIXES)}, got {path.name!r}")
    return path


def new_figure(y_labels: list[str], x_label: str) -> tuple[Figure, list[Axes]]:
    """Return a figure with a panel for each y label, side by side.

    Raises:
        MissingExtraError: matplotlib is absent.
    """
    from silero_like.errors import MissingExtraError

    try:
        from matplotlib.figure import Figure  # not pyplot, which keeps global state and looks for a display
    except ModuleNotFoundError as error:
        raise MissingExtraError("a picture needs matplotlib: pip install 'silero_like[train]'") from error
    figure = Figure(figsize=(6 * len(y_labels), 4.5), layout="constrained")
    panels = [figure.add_subplot(1, len(y_labels), number + 1) for number in range(len(y_labels))]
    for panel, y_label in zip(panels, y_labels, strict=True):
        panel.set(xlabel=x_label, ylabel=y_label)
        panel.grid(alpha=0.3)
    return figure, panels


def save_figure(figure: Figure, path: Path) -> None:
    """Write PNG or SVG, by the path's suffix, whole or not at all."""
    picture = io.BytesIO()
    figure.savefig(picture, format=path.suffix[1:].lower(), dpi=120)
    write_atomically(path, picture.getvalue())
