"""What is taken out of a model, and `prune` from a trained model to a smaller one."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from silero_like.cli import main
from silero_like.errors import ConfigError
from silero_like.model.config import ModelConfig, from_dict
from silero_like.model.encoder import Recognizer
from train.batches import Batch
from train.checkpoint import read_checkpoint, write_checkpoint
from train.config import load_recipe
from train.loop import Trainer
from train.memory import made_up_batch
from train.objective import Learned
from train.prune import Kept, Size, axes, cut, importance, most_important, n_units

CONFIG = ModelConfig(n_labels=9, width=32, n_conv_blocks=2, n_attention_blocks=2, n_heads=4, se_every=1, dropout=0.0)


def units(config: ModelConfig) -> dict[str, int]:
    """Return how many units each axis has."""
    parameters = Recognizer(config).named_parameters()
    found = (axis for name, value in parameters for _, axis, _ in axes(name, value.ndim, config))
    return {axis: n_units(axis, config) for axis in found}


def first(smaller: ModelConfig) -> Kept:
    return {axis: np.arange(n) for axis, n in units(smaller).items()}


@pytest.mark.parametrize(
    "size", [Size(width=20), Size(expansion=1), Size(n_heads=3), Size(width=24, expansion=2, n_heads=1)]
)
@pytest.mark.parametrize("stride", [4, 8])
def test_what_is_left_is_a_model_of_the_smaller_architecture(size: Size, stride: int) -> None:
    config = dataclasses.replace(CONFIG, stride=stride)
    smaller = size.of(config)
    assert from_dict(smaller.to_dict()) == smaller
    model = Recognizer(smaller).eval()
    model.load_state_dict(cut(Recognizer(config).state_dict(), config, first(smaller)))
    batch = made_up_batch(model, n_utterances=2, duration_s=1.0)
    assert torch.isfinite(model(batch.waveform, batch.lengths).log_probs).all()


def test_units_that_nothing_reads_can_go_without_a_change() -> None:
    """Hidden units, gates and heads 1 to 3 of 4 whose outputs have no weight, and what is left is in its old order."""
    torch.manual_seed(0)
    model = Recognizer(CONFIG).eval()
    size = Size(expansion=2, n_heads=2)
    smaller = size.of(CONFIG)
    generator = np.random.default_rng(0)
    kept = {axis: np.sort(generator.permutation(n)[: n_units(axis, smaller)]) for axis, n in units(CONFIG).items()}
    with torch.no_grad():
        for name, value in model.named_parameters():
            for dim, axis, members in axes(name, value.ndim, CONFIG):
                if dim == 1 and axis != "channel":
                    gone = np.setdiff1d(np.arange(len(members)), kept[axis])
                    value[:, members[gone].ravel()] = 0
    pruned = Recognizer(smaller).eval()
    pruned.load_state_dict(cut(model.state_dict(), CONFIG, kept))
    batch = made_up_batch(model, n_utterances=2, duration_s=2.0)
    before, after = (each(batch.waveform, batch.lengths).log_probs for each in (model, pruned))
    torch.testing.assert_close(after, before, atol=1e-5, rtol=0)  # float32: sums in another order


def test_a_channel_is_taken_out_of_every_layer() -> None:
    weights = {name: torch.randn_like(value) for name, value in Recognizer(CONFIG).state_dict().items()}
    smaller = Size(width=31).of(CONFIG)
    kept = {**first(smaller), "channel": np.delete(np.arange(32), 5)}
    result = cut(weights, CONFIG, kept)
    for name in ("stem.first.conv.weight", "conv_blocks.1.norm.bias", "attention_blocks.0.output.weight"):
        torch.testing.assert_close(result[name], weights[name][kept["channel"]])
    torch.testing.assert_close(result["head.1.weight"], weights["head.1.weight"][:, kept["channel"]])
    torch.testing.assert_close(result["frontend.mean"], weights["frontend.mean"])


@pytest.mark.parametrize(
    ("size", "problem"),
    [
        (Size(), "nothing to prune"),
        (Size(width=33), "width: expected 1 to 32, what the model has, got 33"),
        (Size(n_heads=0), "n_heads: expected 1 to 4"),
    ],
)
def test_sizes_that_cannot_be(size: Size, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        size.of(CONFIG)


def test_architectures_that_cannot_be_cut() -> None:
    for config in (dataclasses.replace(CONFIG, group_size=4), dataclasses.replace(CONFIG, idle_fraction=0.5)):
        with pytest.raises(ConfigError, match="only depthwise convolutions"):
            Size(width=16).of(config)


@pytest.fixture
def start_path(recipe_path: Path, tmp_path: Path) -> Path:
    """A checkpoint that has learned for two steps."""
    recipe = load_recipe(recipe_path, [f"output_dir={tmp_path / 'start'}", "optimizer.total_steps=2", "data.dev=[]"])
    Trainer(recipe).run()
    return tmp_path / "start" / "last.safetensors"


def test_units_without_effect_are_the_least_important(start_path: Path, recipe_path: Path) -> None:
    start = read_checkpoint(start_path)
    idle = [3, 10, 11]
    for weights in (start.model, start.average):
        weights["conv_blocks.0.project.weight"][:, idle] = 0
    write_checkpoint(start_path, start)
    recipe = load_recipe(recipe_path, ["model.overrides={}", "data.dev=[]"])
    scores = importance(str(start_path), recipe)["conv_blocks.0.hidden"]
    # their own weights have no gradient; what is left of the product rule is zero times something
    assert scores[idle].tolist() == [0.0] * 3 and (np.delete(scores, idle) > 0).sum() > 100
    assert not set(idle) & set(
        most_important({"conv_blocks.0.hidden": scores}, Size(expansion=2).of(CONFIG))["conv_blocks.0.hidden"]
    )


def prune(start: Path, recipe: Path, *options: str) -> tuple[int, str]:
    sets = [part for value in ("optimizer.total_steps=2", "data.dev=[]") for part in ("--set", value)]
    result = CliRunner().invoke(main, ["prune", str(start), str(recipe), *sets, *options])
    return result.exit_code, result.output


def test_prune_makes_a_smaller_model_and_trains_it_on(start_path: Path, recipe_path: Path, tmp_path: Path) -> None:
    options = ("--width", "16", "--heads", "1")
    frozen = "finetune.freeze=[stem.second_norm]"
    dropout = ("--set", "model.overrides.dropout=0.4")
    code, output = prune(start_path, recipe_path, *options, "--set", frozen, *dropout)
    assert code == 0, output
    assert "M parameters are left" in output
    pruned, result = (read_checkpoint(tmp_path / "run" / f"{name}.safetensors") for name in ("pruned", "last"))
    assert {**pruned.model_config, "dropout": 0.4} == result.model_config
    assert (result.model_config["width"], result.model_config["n_heads"], result.model_config["head_width"]) == (
        16,
        1,
        16,
    )
    assert result.progress.step == 2 and not torch.equal(pruned.model["head.1.weight"], result.model["head.1.weight"])
    assert str(start_path) in result.provenance["teacher"] and "--width 16 --heads 1" in result.provenance["command"]
    assert torch.equal(pruned.model["stem.second_norm.bias"], result.model["stem.second_norm.bias"])
    made = (tmp_path / "run" / "pruned.safetensors").stat().st_mtime_ns
    more = ("--set", "optimizer.total_steps=3", "--set", frozen, *dropout)
    code, output = prune(start_path, recipe_path, "--width", "8", "--heads", "1", *more)
    assert code == 1 and "began from another model or size: use a new output_dir" in output
    code, output = prune(start_path, recipe_path, *options, *more)
    assert code == 0, output
    assert (tmp_path / "run" / "pruned.safetensors").stat().st_mtime_ns == made
    assert read_checkpoint(tmp_path / "run" / "last.safetensors").progress.step == 3


def test_a_cut_can_be_exported_before_it_learns(start_path: Path, recipe_path: Path, tmp_path: Path) -> None:
    assert prune(start_path, recipe_path, "--heads", "1")[0] == 0
    result = CliRunner().invoke(
        main, ["export", str(tmp_path / "run" / "pruned.safetensors"), str(tmp_path / "bundle")]
    )
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("broken", [1, 99])
def test_batches_without_a_finite_gradient_do_not_count(
    start_path: Path, recipe_path: Path, monkeypatch: pytest.MonkeyPatch, broken: int
) -> None:
    backward, calls = Trainer.backward, list[int]()

    def sometimes_nan(trainer: Trainer, batch: Batch) -> tuple[Learned, bool]:
        result = backward(trainer, batch)
        calls.append(len(calls))
        if len(calls) <= broken:
            for parameter in trainer.parameters.values():
                assert parameter.grad is not None
                parameter.grad.fill_(torch.nan)
        return result

    monkeypatch.setattr(Trainer, "backward", sometimes_nan)
    recipe = load_recipe(recipe_path, ["model.overrides={}", "data.dev=[]"])
    if broken == 1:
        assert all(np.isfinite(each).all() for each in importance(str(start_path), recipe).values())
    else:
        with pytest.raises(ConfigError, match="finite gradients"):
            importance(str(start_path), recipe)


def test_prune_says_what_it_needs(start_path: Path, recipe_path: Path) -> None:
    code, output = prune(start_path, recipe_path)
    assert code == 2 and "give --width, --expansion or --heads" in output
    code, output = prune(start_path, recipe_path, "--heads", "7")
    assert code == 1 and "n_heads: expected 1 to 2" in output
    code, output = prune(start_path, recipe_path, "--heads", "1", "--set", "finetune.vocabulary=replace")
    assert code == 1 and "with its own tokenizer" in output
