"""`silero-like prune`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from silero_like.cli.model_option import BUNDLE
from silero_like.cli.train import OVERRIDES, run_recipe

if TYPE_CHECKING:
    from train.config import Recipe


@click.command()
@click.argument("start", metavar="BUNDLE_OR_CHECKPOINT", type=BUNDLE)
@click.argument("recipe", type=click.Path(exists=True, dir_okay=False))
@click.option("--width", type=click.IntRange(min=1), help="Channels of the encoder that are left.")
@click.option("--expansion", type=click.IntRange(min=1), help="Hidden units that are left, in multiples of the width.")
@click.option("--heads", type=click.IntRange(min=1), help="Attention heads of a layer that are left.")
@OVERRIDES
def prune(
    start: str,
    recipe: str,
    width: int | None,
    expansion: int | None,
    heads: int | None,
    overrides: tuple[str, ...],
) -> None:
    """Take the least important channels, hidden units and attention heads out of a model, and train the rest on.

    Importance is measured on the training speech of RECIPE (a YAML file). The smaller model, which then lies in
    OUTPUT_DIR/pruned.safetensors, learns as the recipe says from the labels and from what the model before says of
    every frame, or from the recipe's distill.targets. Every dev manifest is measured before, during and after. Started
    again, the command resumes.

    \b
    Examples:
      silero-like prune runs/en-tiny/best.safetensors recipes/en-tiny.yaml --width 160 --expansion 3 \\
        --set output_dir=runs/pruned --set optimizer.total_steps=4000
      silero-like prune my-bundle my-recipe.yaml --heads 2
    """
    command = ["prune", start, recipe]
    for option, value in (("--width", width), ("--expansion", expansion), ("--heads", heads)):
        command += [] if value is None else [option, str(value)]
    sizes = {"width": width, "expansion": expansion, "n_heads": heads}
    if not any(sizes.values()):
        raise click.UsageError("nothing to prune: give --width, --expansion or --heads")
    run_recipe(recipe, overrides, dry_run=False, command=command, prepare=partial(_prepare, start, sizes))


def _prepare(start: str, sizes: dict[str, int | None], recipe: Recipe) -> Recipe:
    from train.prune import Size, prepare

    return prepare(start, Size(**sizes), recipe)
