"""`silero-like finetune`."""

from __future__ import annotations

import click

from silero_like.cli.model_option import BUNDLE
from silero_like.cli.train import DRY_RUN, OVERRIDES, run_recipe


@click.command()
@click.argument("start", metavar="BUNDLE_OR_CHECKPOINT", type=BUNDLE)
@click.argument("recipe", type=click.Path(exists=True, dir_okay=False))
@OVERRIDES
@DRY_RUN
def finetune(start: str, recipe: str, overrides: tuple[str, ...], dry_run: bool) -> None:
    """Go on from a trained model on new domains, as RECIPE (a YAML file) says.

    The recipe's data.train is the new speech; data.replay names manifests of old domains, from which the share
    finetune.replay of the utterances is drawn, so that they are not forgotten. Every dev manifest is measured before,
    during and after.

    \b
    Examples:
      silero-like finetune runs/en-tiny/best.safetensors recipes/finetune.yaml
      silero-like finetune silero_like/models/en recipes/finetune.yaml --set finetune.replay=0.3
      silero-like finetune my-bundle my-recipe.yaml --set 'finetune.freeze=[stem, conv_blocks]'
    """
    run_recipe(recipe, overrides, dry_run=dry_run, command=["finetune", start, recipe], init=start)
