"""The kinds of paths that commands take: what is read must exist, what is written must have a place."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click


class OutputPath(click.Path):
    """A file or folder to write, refused before the work rather than after it where that cannot be done."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        if path.exists() and not (path.is_file() or path.is_dir()):
            self.fail(f"{path}: expected the name of a file, found a device or a pipe: name a file", param, ctx)
        folder = next(folder for folder in path.absolute().parents if os.path.lexists(folder))
        if not folder.is_dir():
            self.fail(f"{path}: {folder} is no folder: check the path", param, ctx)
        if not os.access(folder, os.W_OK | os.X_OK):
            self.fail(f"{path}: no permission to write in {folder}: name another folder", param, ctx)
        return path


def refuse_replacing(outputs: Iterable[Path | None], inputs: Iterable[Path]) -> None:
    """Raise a usage error if a file that is to be written is one of those to read."""
    read = {path.resolve() for path in inputs}
    for path in filter(None, outputs):
        if path.resolve() in read:
            raise click.UsageError(f"this would replace {path}, which is read: name another file to write")


INPUT_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
INPUT_TEXT = click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)
INPUT_PATH = click.Path(exists=True, path_type=Path)
INPUT_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
OUTPUT_FILE = OutputPath(dir_okay=False, path_type=Path)
OUTPUT_FOLDER = OutputPath(file_okay=False, path_type=Path)
