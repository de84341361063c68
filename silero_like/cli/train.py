"""`silero-like train`."""

from __future__ import annotations

import shlex

import click


@click.command()
@click.argument("recipe", type=click.Path(exists=True, dir_okay=False))
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Replace a value of the recipe.")
def train(recipe: str, overrides: tuple[str, ...]) -> None:
    """Train a recogniser as RECIPE (a YAML file) says; started again, it resumes.

    \b
    Examples:
      silero-like train recipes/en-tiny.yaml
      silero-like train recipes/en-tiny.yaml --set loop.batch_s=60 --set output_dir=runs/small-batches
      torchrun --nproc-per-node 2 -m train recipes/en-tiny.yaml
    """
    from silero_like.errors import ConfigError, MissingExtraError, SileroLikeError

    try:
        from train.config import load_recipe
        from train.loop import Trainer
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"training needs {error.name}: pip install 'silero_like[train]'") from error
    try:
        loaded = load_recipe(recipe, overrides)
    except ConfigError as error:
        raise click.UsageError(str(error)) from error
    try:
        Trainer(loaded, command=_command(recipe, overrides)).run()
    except SileroLikeError as error:
        raise click.ClickException(str(error)) from error


def _command(recipe: str, overrides: tuple[str, ...]) -> str:
    """Return the command line that a model card can show: the same for `silero-like train` and torchrun."""
    return shlex.join(["silero-like", "train", recipe, *(part for value in overrides for part in ("--set", value))])
