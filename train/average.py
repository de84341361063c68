"""`python -m train.average OUT CHECKPOINT...`: the mean of the weights of several checkpoints.

Weights met at different steps of one trajectory, or of one that branches off it, average to a flatter, better place
(Izmailov et al., 2018, "Averaging Weights Leads to Wider Optima and Better Generalization"). The mean is measured on
the recipe's dev manifests and written as a checkpoint that `silero-like export` takes.
"""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Sequence
from pathlib import Path

import click
import torch
from torch import Tensor

from silero_like.errors import ConfigError, SileroLikeError
from silero_like.model.config import from_dict
from silero_like.model.encoder import Recognizer
from train.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from train.config import Recipe
from train.dataset import load_dataset
from train.evaluation import evaluate_model, format_examples
from train.plain import build


def average_checkpoints(checkpoints: Sequence[Checkpoint], *, command: str = "") -> Checkpoint:
    """Return the mean of all averaged weights: not measured yet, to be exported, not resumed.

    What else a checkpoint holds is that of the latest one of the run that is named last.

    Raises:
        ConfigError: another tokenizer or other weights than the latest one's.
    """
    checkpoints = sorted(checkpoints, key=lambda c: (c.recipe == checkpoints[-1].recipe, c.progress.step))
    last = checkpoints[-1]
    for checkpoint in checkpoints:
        shapes = {name: value.shape for name, value in checkpoint.average.items()}
        if checkpoint.tokenizer != last.tokenizer or shapes != {n: v.shape for n, v in last.average.items()}:
            raise ConfigError(
                "only checkpoints of one run, or fine-tuned from it, can be averaged: tokenizer or architecture differs"
            )
    mean = {name: _mean([c.average[name] for c in checkpoints]) for name in last.average}
    steps = [checkpoint.progress.step for checkpoint in checkpoints]
    commands = dict.fromkeys([*(checkpoint.provenance["command"] for checkpoint in checkpoints), command])
    provenance = {**last.provenance, "averaged_steps": steps, "command": "; ".join(filter(None, commands))}
    return dataclasses.replace(last, model={}, average=mean, optimizer={}, provenance=provenance, metrics={})


def _command(out: Path, paths: Sequence[str]) -> str:
    return shlex.join(["python", "-m", "train.average", str(out), *paths])


def _mean(values: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(values)).double().mean(0).to(values[0].dtype)


@click.command()
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path))
@click.argument("paths", metavar="CHECKPOINT...", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False))
def main(out: Path, paths: tuple[str, ...]) -> None:
    """Average the weights of CHECKPOINTs of one run, or of one and of those that began from it; write the mean to OUT.

    It is measured on the dev manifests of the run that is named last.

    \b
    Examples:
      python -m train.average runs/en-tiny/mean.safetensors runs/en-tiny/step-*.safetensors
      python -m train.average runs/mean.safetensors runs/first/best.safetensors runs/finetuned/step-*.safetensors
    """
    try:
        mean = average_checkpoints([read_checkpoint(path) for path in paths], command=_command(out, paths))
        data = load_dataset(build(Recipe, mean.recipe, paths[-1]), mean.tokenizer, work_dir=out.parent)
        if not data.dev:
            write_checkpoint(out, mean)
            return
        model = Recognizer(from_dict(mean.model_config))
        model.load_state_dict(mean.average)
        evaluation, scored = evaluate_model(model, data, name=mean.recipe["name"])
        write_checkpoint(out, dataclasses.replace(mean, metrics=evaluation.to_dict()))
        click.echo("\n".join(format_examples(evaluation, scored)), err=True)
    except SileroLikeError as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main()
