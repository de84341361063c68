"""What a run begins from: its data; a fresh model, or the weights of a bundle or checkpoint; which of them learn."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import silero_like
from data.text import get_normalizer
from silero_like.bundle import load_bundle
from silero_like.errors import ConfigError
from silero_like.model.config import ModelConfig, from_dict, preset
from silero_like.model.encoder import Recognizer
from silero_like.tokenizer import Tokenizer
from silero_like.weights import read_weights
from train.checkpoint import Checkpoint, read_checkpoint
from train.config import ArchitectureConfig, FinetuneConfig, OptimizerConfig, Recipe
from train.dataset import Dataset, digest, feature_samples, load_dataset
from train.distributed import SAME, Group

HEADS = ("head.1.", "inner_head.1.")
BEGINNING = (  # of `finetune`: done once
    *("init", "vocabulary", "drop_conv_blocks", "drop_attention_blocks", "add_conv_blocks", "add_attention_blocks"),
)


@dataclass(frozen=True)
class Source:
    """A trained model to go on from."""

    weights: dict[str, Tensor]
    model_config: dict[str, Any]
    tokenizer: bytes
    normalizer: str
    """Label of the text normaliser that it was trained with."""


def load_data_and_model(recipe: Recipe, group: Group, checkpoint: Checkpoint | None) -> tuple[Dataset, Recognizer]:
    """Read data and make the model: fresh, that of the checkpoint, or from the one to fine-tune."""
    finetune = recipe.finetune
    source = read_source(finetune.init) if finetune.init and not checkpoint else None
    kept = checkpoint or (source if finetune.vocabulary == "keep" else None)
    data = _load_data(recipe, group, kept.tokenizer if kept else None)
    facts = repr((data.hashes, len(data.examples))).encode()
    group.agree(SAME, training_data=digest(facts + data.tokenizer_model)[:8])
    if checkpoint:
        return data, resume_model(recipe, data.tokenizer, checkpoint).to(group.device)
    model = make_model(recipe, data.tokenizer, source)
    if not source:
        model.frontend.fit(torch.from_numpy(w) for w in feature_samples(data.examples, recipe.seed))
    model.to(group.device)
    group.broadcast(model.state_dict().values())
    return data, model


def provenance(recipe: Recipe, data: Dataset, group: Group, command: str, teacher: str | None) -> dict[str, Any]:
    """Return what a checkpoint tells of its origin; `teacher` is who made its soft targets."""
    return {
        **({"teacher": teacher} if teacher else {}),
        "command": command,
        "seed": recipe.seed,
        "world_size": group.world_size,
        "device": str(group.device),
        "threads": torch.get_num_threads(),
        "hours": {domain: round(hours, 3) for domain, hours in data.hours.items()},
        "manifests_sha256": data.hashes,
        "left_out": data.left_out,
        "normalizer": data.normalizer.label,
        "lang": recipe.data.lang,
        "versions": {
            "silero_like": silero_like.__version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
    }


def read_source(init: str) -> Source:
    """Read a bundle folder or a checkpoint.

    Raises:
        ConfigError: a bundle without training weights, the folder of a run, or no such checkpoint.
        BundleError: a damaged bundle.
    """
    if (Path(init) / "best.safetensors").is_file():
        raise ConfigError(f"{init}: the folder of a run: name its best.safetensors, or its bundle")
    if not Path(init).is_dir():
        checkpoint = read_checkpoint(init)
        normalizer = checkpoint.provenance["normalizer"]
        return Source(checkpoint.average, checkpoint.model_config, checkpoint.tokenizer, normalizer)
    bundle = load_bundle(init)
    if bundle.weights_path is None:
        raise ConfigError(f"{init}: a bundle without weights.safetensors: start from the run's best.safetensors")
    weights = read_weights(bundle.weights_path)
    known = {name: bundle.config.model[name] for name in from_dict_fields() if name in bundle.config.model}
    return Source(weights, known, bundle.tokenizer_path.read_bytes(), bundle.config.normalizer)


def from_dict_fields() -> tuple[str, ...]:
    """Return the names of `ModelConfig`'s fields; a bundle stores figures beside them."""
    return tuple(ModelConfig.__dataclass_fields__)


def make_model(recipe: Recipe, tokenizer: Tokenizer, source: Source | None) -> Recognizer:
    """Build the recipe's model, or the source's with its weights, without dropped and with added layers; seeds torch.

    Raises:
        ConfigError: the source is of another language, the recipe asks for another architecture, or for changed layers
            without a source.
    """
    torch.manual_seed(recipe.seed)
    if source is None:
        if any(getattr(recipe.finetune, key) for key in BEGINNING[2:]):
            raise ConfigError("finetune: layers are dropped from or added to a trained model: name it in finetune.init")
        return Recognizer(preset(recipe.model.preset, n_labels=tokenizer.n_labels, **recipe.model.overrides))
    _check_normalizer(recipe, source)
    config = _source_config(recipe, source, tokenizer.n_labels)
    model = Recognizer(config)
    kept = {name: value for name, value in source.weights.items() if name in model.state_dict()}
    if tokenizer.n_labels != source.model_config["n_labels"] or recipe.finetune.vocabulary == "replace":
        kept = {name: value for name, value in kept.items() if not name.startswith(HEADS)}
    model.load_state_dict(kept, strict=False)
    for stack in ("conv_blocks", "attention_blocks"):
        for block in getattr(model, stack)[source.model_config[f"n_{stack}"] :]:
            block.silence()
    return model


def resume_model(recipe: Recipe, tokenizer: Tokenizer, checkpoint: Checkpoint) -> Recognizer:
    """Build the model of a run that goes on; the one that it was fine-tuned from need not be there any more.

    Raises:
        ConfigError: the recipe now begins from another model, or asks for another language or architecture.
    """
    begun, output_dir = checkpoint.recipe["finetune"], recipe.output_dir
    for key in BEGINNING:
        now = getattr(recipe.finetune, key)
        if begun.get(key, 0) != now:
            raise ConfigError(
                f"{output_dir}: its run began with finetune.{key} {begun[key]!r}, now it is {now!r}: "
                "use a new output_dir, or the recipe that began this run"
            )
    if recipe.finetune.init:
        done = dataclasses.replace(recipe, finetune=FinetuneConfig(init=recipe.finetune.init))
        normalizer = checkpoint.provenance["normalizer"]
        source = Source(checkpoint.model, checkpoint.model_config, checkpoint.tokenizer, normalizer)
        return make_model(done, tokenizer, source)
    model = make_model(recipe, tokenizer, None)
    before = dataclasses.replace(from_dict(checkpoint.model_config), dropout=model.config.dropout)
    if model.config != before:
        raise ConfigError(
            f"{output_dir}: its checkpoint is of another architecture: "
            "use a new output_dir, or the recipe that began this run"
        )
    model.load_state_dict(checkpoint.model)
    return model


def parameter_groups(model: Recognizer, optimizer: OptimizerConfig, finetune: FinetuneConfig) -> list[dict[str, Any]]:
    """Return AdamW's groups: frozen parameters left out, weight decay for matrices only, a rate for each layer.

    Raises:
        ConfigError: a name to freeze that is the beginning of no parameter, or nothing left to learn.
    """
    names = [name for name, _ in model.named_parameters()]
    for prefix in finetune.freeze:
        if not any(_lies_in(name, [prefix]) for name in names):
            layers = ", ".join(dict.fromkeys(name.split(".")[0] for name in names))
            raise ConfigError(f"finetune.freeze: no parameter begins with {prefix!r}: the layers are {layers}")
    groups: dict[tuple[float, float], list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not _lies_in(name, finetune.freeze))
        if parameter.requires_grad:
            decay = optimizer.weight_decay if parameter.ndim > 1 else 0.0
            scale = finetune.layer_lr_decay ** layers_above(name, model.config)
            groups.setdefault((decay, scale), []).append(parameter)
    if not groups:
        raise ConfigError("finetune.freeze leaves nothing to learn")
    return [{"params": members, "weight_decay": d, "lr_scale": scale} for (d, scale), members in groups.items()]


def layers_above(name: str, config: ModelConfig) -> int:
    """Return how many layers lie between a parameter and the output: 0 for the heads.

    >>> config = preset("tiny", n_labels=257)
    >>> [layers_above(n, config) for n in ("head.1.bias", "attention_blocks.1.bias", "conv_blocks.5.conv", "stem.norm")]
    [0, 1, 3, 9]
    """
    layer, _, rest = name.partition(".")
    if layer in ("head", "inner_head"):
        return 0
    n_attention, n_conv = config.n_attention_blocks, config.n_conv_blocks
    if layer == "attention_blocks":
        return n_attention - int(rest.split(".")[0])
    if layer == "conv_blocks":
        return n_attention + n_conv - int(rest.split(".")[0])
    return n_attention + n_conv + 1


def _load_data(recipe: Recipe, group: Group, known: bytes | None) -> Dataset:
    """Rank 0 trains the tokenizer; the others wait and read it."""
    output_dir = Path(recipe.output_dir)
    path = output_dir / "tokenizer.model"
    if known is None and group.rank > 0:
        group.barrier()
        return load_dataset(recipe, path.read_bytes(), work_dir=output_dir)
    data = load_dataset(recipe, known, work_dir=output_dir)
    if known is None:
        path.write_bytes(data.tokenizer_model)
        group.barrier()
    return data


def _lies_in(name: str, prefixes: Sequence[str]) -> bool:
    """Return whether a name begins with one of `prefixes`, by whole parts.

    >>> _lies_in("conv_blocks.1.norm.bias", ["conv_blocks.1"]), _lies_in("conv_blocks.10.norm.bias", ["conv_blocks.1"])
    (True, False)
    """
    return any(f"{name}.".startswith(f"{prefix.rstrip('.')}.") for prefix in prefixes)


def _check_normalizer(recipe: Recipe, source: Source) -> None:
    if recipe.finetune.vocabulary == "replace":
        return  # the encoder goes on in another language, too
    normalizer = get_normalizer(recipe.data.lang).label
    if source.normalizer != normalizer:
        raise ConfigError(
            f"{recipe.finetune.init} learned text normalised by {source.normalizer}, this recipe's data.lang gives "
            f"{normalizer}: set data.lang to the model's language, or finetune.vocabulary=replace to teach another one"
        )


def _source_config(recipe: Recipe, source: Source, n_labels: int) -> ModelConfig:
    """Return the source's architecture with the recipe's changes: dropout, dropped and added layers, labels."""
    other = sorted(set(recipe.model.overrides) - {"dropout"})
    if recipe.model.preset != ArchitectureConfig().preset:
        other.append("preset")
    if other:
        raise ConfigError(
            f"model: fine-tuning keeps the architecture of {recipe.finetune.init}: leave out {', '.join(other)} "
            "(only model.overrides.dropout may be set)"
        )
    config, finetune = dict(source.model_config), recipe.finetune
    for key, dropped, added in (
        ("n_conv_blocks", finetune.drop_conv_blocks, finetune.add_conv_blocks),
        ("n_attention_blocks", finetune.drop_attention_blocks, finetune.add_attention_blocks),
    ):
        if dropped > config[key]:
            raise ConfigError(f"finetune: cannot drop {dropped} of {config[key]} {key.removeprefix('n_')}")
        config[key] += added - dropped
    return from_dict({**config, **recipe.model.overrides, "n_labels": n_labels})
