"""Make a trained model smaller and train it on: `silero-like prune MODEL RECIPE --width 160 --expansion 3`.

What is taken out are whole units, so that the smaller model is dense: channels of the encoder (the same ones in every
layer), hidden units of each pointwise pair and gate, attention heads. A unit's importance is the first-order change of
the loss without it: the square of the sum of weight times gradient over its weights, tensor by tensor, summed over
some batches of the recipe (Molchanov et al., 2019). What is left learns on from the labels and from soft targets of the
model that it was.
"""

from __future__ import annotations

import dataclasses
import itertools
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from silero_like.errors import ConfigError
from silero_like.model.config import ModelConfig, from_dict
from silero_like.model.encoder import Recognizer
from silero_like.model.summary import summarize
from train.batches import Batch
from train.checkpoint import Checkpoint, Progress, read_checkpoint, write_checkpoint
from train.config import ArchitectureConfig, Recipe
from train.dataset import digest
from train.distill import prepare as prepare_targets
from train.loop import Trainer
from train.start import BEGINNING, Source, read_source

N_BATCHES = 40
"""Batches that importance is measured on."""

STEM_EXPANSION = 2  # of the pointwise pair in silero_like.model.encoder.Stem
AXES: dict[str, tuple[str | None, ...]] = {
    "first": ("channel",),
    "norm": ("channel",),
    "conv": ("channel",),
    "expand": ("hidden", "channel"),
    "project": ("channel", "hidden"),
    "second_norm": ("channel",),
    "second": ("channel", "channel"),
    "squeeze": ("gate", "channel"),
    "excite": ("channel", "gate"),
    "attention_norm": ("channel",),
    "feed_norm": ("channel",),
    "qkv": ("heads", "channel"),
    "output": ("channel", "heads"),
    "bias": ("heads",),
    "0": ("channel",),
    "1": (None, "channel"),
}
"""The axes of a module's weight, outputs first; its bias lies on the first."""

Scores = dict[str, npt.NDArray[np.float64]]
"""Importance `(units,)` of the units of each axis."""
Kept = Mapping[str, npt.NDArray[np.int64]]
"""Which units of each axis are left, rising."""
Members = npt.NDArray[np.int64]
"""`(units, n)`: which rows of a tensor's dimension belong to each unit."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Size:
    """What is to be left; None leaves a number as it is."""

    width: int | None = None
    """Channels of the encoder."""
    expansion: int | None = None
    """Hidden units of a pointwise pair, in multiples of the width."""
    n_heads: int | None = None
    """Attention heads of a layer."""

    def of(self, config: ModelConfig) -> ModelConfig:
        """Return the architecture that is left of `config`.

        Raises:
            ConfigError: nothing is asked for, more than there is, or an architecture that cannot be cut.
        """
        wanted = {name: value for name, value in dataclasses.asdict(self).items() if value is not None}
        if not wanted:
            raise ConfigError("nothing to prune: give a width, an expansion or a number of heads")
        for name, value in wanted.items():
            if not 1 <= value <= getattr(config, name):
                raise ConfigError(f"{name}: expected 1 to {getattr(config, name)}, what the model has, got {value}")
        if config.group_size != 1 or config.idle_fraction:
            raise ConfigError("only depthwise convolutions (group_size 1) without idle channels can be pruned")
        return dataclasses.replace(config, **wanted, head_width=config.attention_width // config.n_heads)


def prepare(start: str, size: Size, recipe: Recipe) -> Recipe:
    """Prune a model into the recipe's output folder; return the recipe that trains it on.

    A pruned model that lies there is taken again if it was made of the same weights, in the same size. The model
    before teaches the smaller one, unless the recipe names soft targets.

    Raises:
        ConfigError: see `Size.of`; another vocabulary is asked for; or no such model.
    """
    if recipe.finetune.vocabulary != "keep":
        raise ConfigError("finetune.vocabulary: a model is pruned with its own tokenizer: leave it out, finetune later")
    source = read_source(start)
    config = from_dict(source.model_config)
    smaller = size.of(config)
    before, after = (summarize(each)["n_parameters"] for each in (config, smaller))
    dropout = {key: value for key, value in recipe.model.overrides.items() if key == "dropout"}
    click.echo(f"{after / 1e6:.2f} of {before / 1e6:.2f} M parameters are left ({after / before:.1%})", err=True)
    if not recipe.distill.targets:
        recipe = prepare_targets(start, _with_overrides(recipe, stride=config.stride))
    recipe = _with_overrides(recipe, **dropout)
    path = Path(recipe.output_dir) / "pruned.safetensors"
    origin = {"start": digest(b"".join(value.numpy().tobytes() for value in source.weights.values()))[:16]}
    if not (path.exists() and _is_from(read_checkpoint(path), origin, smaller)):
        if path.exists() and path.with_name("last.safetensors").exists():
            raise ConfigError(f"{recipe.output_dir}: its run began from another model or size: use a new output_dir")
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = most_important(importance(start, recipe), smaller)
        _write(path, cut(source.weights, config, kept), smaller, source, origin, recipe)
    return _starting_at(str(path), recipe)


def importance(start: str, recipe: Recipe) -> Scores:
    """Return the importance of the units of each axis, measured on the recipe's training speech.

    Raises:
        ConfigError: the gradients of all batches are infinite or NaN.
    """
    totals: Scores = {}
    with tempfile.TemporaryDirectory() as folder:
        precision = "fp32" if recipe.loop.precision == "fp16" else recipe.loop.precision  # scaled gradients overflow
        loop = dataclasses.replace(recipe.loop, tensorboard=False, precision=precision)
        recipe = _starting_at(start, recipe, freeze=[], **dict.fromkeys(BEGINNING[2:], 0))
        trainer = Trainer(dataclasses.replace(recipe, output_dir=folder, loop=loop))
        with closing(trainer.feed.batches(0)) as batches:
            for batch in _with_progress(itertools.islice(batches, N_BATCHES)):
                trainer.backward(batch)
                effects = list(_effects(trainer.model))
                if all(np.isfinite(each).all() for _, each in effects):
                    for axis, each in effects:
                        totals[axis] = totals.get(axis, 0.0) + each**2
                trainer.optimizer.zero_grad(set_to_none=True)
        trainer.group.close()
    if not totals:
        raise ConfigError(f"{start}: none of {N_BATCHES} batches gives finite gradients: is the model itself broken?")
    return totals


def _with_progress(batches: Iterable[Batch]) -> Iterator[Batch]:
    hidden = not sys.stderr.isatty()
    with click.progressbar(batches, N_BATCHES, "importance", hidden=hidden, file=sys.stderr) as bar:
        yield from bar


def _effects(model: Recognizer) -> Iterator[tuple[str, npt.NDArray[np.float64]]]:
    """Yield for each dimension of each parameter that lies on an axis the sum of weight times gradient of each unit."""
    for name, parameter in model.named_parameters():
        if parameter.grad is None:
            continue
        effect = (parameter * parameter.grad).detach().double().cpu().numpy()
        for dim, axis, members in axes(name, effect.ndim, model.config):
            rows = effect.sum(axis=tuple(other for other in range(effect.ndim) if other != dim))
            yield axis, rows[members].sum(1)


def most_important(scores: Scores, smaller: ModelConfig) -> Kept:
    """Return the units of each axis that are left in the smaller model, in their order."""
    return {
        axis: np.sort(np.argsort(-score, kind="stable")[: n_units(axis, smaller)]) for axis, score in scores.items()
    }


def cut(weights: Mapping[str, Tensor], config: ModelConfig, kept: Kept) -> dict[str, Tensor]:
    """Return the weights of the units that are kept."""
    result = {}
    for name, value in weights.items():
        for dim, axis, members in axes(name, value.ndim, config):
            value = value.index_select(dim, torch.from_numpy(np.sort(members[kept[axis]].ravel())))
        result[name] = value.contiguous()
    return result


def axes(name: str, n_dims: int, config: ModelConfig) -> Iterator[tuple[int, str, Members]]:
    """Yield the dimensions of a parameter that lie on an axis, with the axis and the rows of each of its units.

    >>> [(dim, axis) for dim, axis, _ in axes("conv_blocks.1.expand.weight", 2, from_dict({"n_labels": 257}))]
    [(0, 'conv_blocks.1.hidden'), (1, 'channel')]
    """
    first, second, *_ = name.split(".")
    block = f"{first}.{second}" if first.endswith("_blocks") else first
    module = next((part for part in name.removeprefix(f"{block}.").split(".") if part in AXES), "")
    for dim, kind in enumerate(AXES.get(module, ())[:n_dims]):
        if kind:
            axis = kind if kind == "channel" else f"{block}.{kind}"
            yield dim, axis, _members(module, kind, n_units(axis, config), config)


def n_units(axis: str, config: ModelConfig) -> int:
    """Return how many units an axis has."""
    block, _, kind = axis.rpartition(".")
    expansion = STEM_EXPANSION if block == "stem" else config.expansion
    return {
        "channel": config.width,
        "hidden": expansion * config.width,
        "gate": config.width // config.se_reduction,
        "heads": config.n_heads,
    }[kind]


def _members(module: str, kind: str, n: int, config: ModelConfig) -> Members:
    """Return which rows belong to each of the `n` units of an axis."""
    if kind != "heads" or module == "bias":
        return np.arange(n).reshape(n, 1)
    rows = np.arange((3 if module == "qkv" else 1) * config.attention_width)  # queries, keys, values
    return rows.reshape(-1, n, config.attention_width // n).transpose(1, 0, 2).reshape(n, -1)


def _starting_at(start: str, recipe: Recipe, **changes: Any) -> Recipe:
    return dataclasses.replace(recipe, finetune=dataclasses.replace(recipe.finetune, init=start, **changes))


def _with_overrides(recipe: Recipe, **overrides: Any) -> Recipe:
    """Return the recipe of a model that has its own architecture, but for these values."""
    return dataclasses.replace(recipe, model=ArchitectureConfig(overrides=overrides))


def _is_from(checkpoint: Checkpoint, origin: Mapping[str, str], config: ModelConfig) -> bool:
    return checkpoint.model_config == config.to_dict() and origin.items() <= checkpoint.provenance.items()


def _write(
    path: Path, weights: dict[str, Tensor], config: ModelConfig, source: Source, origin: dict[str, str], recipe: Recipe
) -> None:
    copies = {name: value.clone() for name, value in weights.items()}
    about = {**origin, "normalizer": source.normalizer, "lang": recipe.data.lang, "command": "silero-like prune"}
    checkpoint = Checkpoint(
        model=weights, average=copies, optimizer={}, tokenizer=source.tokenizer, model_config=config.to_dict(),
        recipe=dataclasses.asdict(recipe), provenance=about, progress=Progress(), scaler={}, metrics={},
        feed={}, feed_tensors={},
    )  # fmt: skip
    write_checkpoint(path, checkpoint)
