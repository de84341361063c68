"""`silero-like train`."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from train.config import Recipe

OVERRIDES = click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Replace a value of the recipe."
)
DRY_RUN = click.option(
    "--dry-run", is_flag=True, help="Read the manifests, show batches and memory, try one step on made-up data; stop."
)


@click.command()
@click.argument("recipe", type=click.Path(exists=True, dir_okay=False))
@OVERRIDES
@DRY_RUN
def train(recipe: str, overrides: tuple[str, ...], dry_run: bool) -> None:
    """Train a recogniser as RECIPE (a YAML file) says; started again, it resumes.

    SIGTERM or Ctrl-C saves a checkpoint and stops.

    \b
    Examples:
      silero-like train recipes/en-tiny.yaml --dry-run
      silero-like train recipes/en-tiny.yaml
      silero-like train recipes/en-tiny.yaml --set loop.batch_s=60 --set output_dir=runs/small-batches
      torchrun --nproc-per-node 2 -m train recipes/en-tiny.yaml
    """
    run_recipe(recipe, overrides, dry_run=dry_run, command=["train", recipe])


def run_recipe(
    recipe: str,
    overrides: Sequence[str],
    *,
    dry_run: bool,
    command: Sequence[str],
    init: str | None = None,
    prepare: Callable[[Recipe], Recipe] | None = None,
    check: Callable[[Recipe], None] = lambda recipe: None,
) -> None:
    """Train as a recipe says, from the model `init` if given, or look what would happen.

    `prepare` works before the training, `check` before the look.
    """
    from silero_like.errors import ConfigError, MissingExtraError, SileroLikeError

    try:
        from train.config import load_recipe
        from train.dry_run import dry_run as try_recipe
        from train.loop import Trainer
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"training needs {error.name}: pip install 'silero_like[train]'") from error
    try:
        start = [] if init is None else [f"finetune.init={json.dumps(init, ensure_ascii=False)}"]  # a YAML string
        loaded = load_recipe(recipe, [*overrides, *start])
    except ConfigError as error:
        raise click.UsageError(str(error)) from error
    except UnicodeDecodeError as error:
        raise click.UsageError(f"{recipe}: expected a recipe, YAML in UTF-8, got something else: {error}") from error
    try:
        if dry_run:
            check(loaded)
            click.echo(try_recipe(loaded))
        else:
            Trainer(prepare(loaded) if prepare else loaded, command=command_line(command, overrides)).run()
    except SileroLikeError as error:  # `python -m train` has no group around it that would end it in one line
        raise click.ClickException(str(error)) from error


def command_line(command: Sequence[str], overrides: Sequence[str]) -> str:
    """Return the command line that a model card can show: the same for `silero-like train` and torchrun."""
    return shlex.join(["silero-like", *command, *(part for value in overrides for part in ("--set", value))])
