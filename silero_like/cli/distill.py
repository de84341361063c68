"""`silero-like distill`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from silero_like.cli.model_option import BUNDLE
from silero_like.cli.train import DRY_RUN, OVERRIDES, run_recipe

if TYPE_CHECKING:
    from train.config import Recipe


@click.command()
@click.argument("teacher", metavar="TEACHER", type=BUNDLE)
@click.argument("recipe", type=click.Path(exists=True, dir_okay=False))
@OVERRIDES
@DRY_RUN
def distill(teacher: str, recipe: str, overrides: tuple[str, ...], dry_run: bool) -> None:
    """Train the small model of RECIPE on what TEACHER, a bundle or checkpoint, says of each frame, and on the labels.

    The teacher reads the training speech once, at each speed of the recipe, without noise; its word is kept in
    OUTPUT_DIR/targets.safetensors and taken again when the command is started again. The student takes over the
    teacher's tokenizer. distill.weight is the teacher's share of the loss.

    \b
    Examples:
      silero-like distill runs/large/best.safetensors recipes/en-tiny.yaml
      silero-like distill my-large-bundle my-recipe.yaml --set distill.weight=0.7 --set output_dir=runs/taught
    """
    command = ["distill", teacher, recipe]
    prepare, check = partial(_prepare, teacher), partial(_check, teacher)
    run_recipe(recipe, overrides, dry_run=dry_run, command=command, prepare=prepare, check=check)


def _prepare(teacher: str, recipe: Recipe) -> Recipe:
    from train.distill import prepare

    return prepare(teacher, recipe)


def _check(teacher: str, recipe: Recipe) -> None:
    from train.distill import check_teacher
    from train.start import read_source

    check_teacher(teacher, read_source(teacher), recipe)
