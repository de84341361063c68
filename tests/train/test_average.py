from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from train.average import main
from train.checkpoint import read_checkpoint
from train.config import load_recipe
from train.loop import Trainer


def test_the_mean_of_kept_checkpoints_is_measured_and_written(recipe_path: Path, tmp_path: Path) -> None:
    Trainer(load_recipe(recipe_path, ["loop.keep_every=4"])).run()
    paths = [tmp_path / "run" / f"step-{step}.safetensors" for step in (8, 4)]
    out = tmp_path / "mean.safetensors"
    result = CliRunner().invoke(main, [str(out), *map(str, paths)])
    assert result.exit_code == 0, result.output
    first, second, mean = (read_checkpoint(path) for path in (*paths, out))
    for name, value in mean.average.items():
        torch.testing.assert_close(value, (first.average[name] + second.average[name]) / 2)
    assert mean.provenance["averaged_steps"] == [4, 8] and mean.progress.step == 8
    assert mean.metrics["micro"]["utterances"] == 24 and not mean.optimizer


def test_checkpoints_of_different_runs_are_refused(recipe_path: Path, tmp_path: Path) -> None:
    for name, width in (("a", 32), ("b", 64)):
        overrides = [f"output_dir={tmp_path / name}", f"model.overrides.width={width}", "data.dev=[]"]
        Trainer(load_recipe(recipe_path, [*overrides, "optimizer.total_steps=1"])).run()
    paths = [str(tmp_path / name / "last.safetensors") for name in ("a", "b")]
    result = CliRunner().invoke(main, [str(tmp_path / "mean"), *paths])
    assert result.exit_code == 1 and "of one run" in result.output
    assert not (tmp_path / "mean").exists()


def test_a_single_checkpoint_is_its_own_mean(recipe_path: Path, tmp_path: Path) -> None:
    Trainer(load_recipe(recipe_path, ["data.dev=[]"])).run()
    path = tmp_path / "run" / "last.safetensors"
    assert CliRunner().invoke(main, [str(tmp_path / "mean"), str(path)]).exit_code == 0
    before, after = read_checkpoint(path), read_checkpoint(tmp_path / "mean")
    assert all(torch.equal(before.average[name], after.average[name]) for name in before.average)


@pytest.mark.parametrize("arguments", [[], ["out"], ["out", "missing.safetensors"]])
def test_wrong_usage(arguments: list[str]) -> None:
    assert CliRunner().invoke(main, arguments).exit_code == 2
