"""`silero-like train` and `silero-like finetune` as a user meets them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml
from click.testing import CliRunner, Result

from silero_like.cli import main

pytest.importorskip("torch", reason="training needs the [train] extra")

from train.checkpoint import read_checkpoint


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A recipe of a very small model and one step, on eight seconds of noise."""
    generator = np.random.default_rng(0)
    rows = []
    for number in range(8):
        soundfile.write(tmp_path / f"{number}.wav", 0.1 * generator.standard_normal(16000), 16000)
        rows.append({"audio_filepath": f"{number}.wav", "duration": 1.0, "text": "a b", "domain": "noise"})
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    values = {
        "name": "noise",
        "output_dir": str(tmp_path / "run"),
        "data": {"root": str(tmp_path), "train": ["train.jsonl"], "dev": []},
        "tokenizer": {"vocab_size": 4},
        "model": {"overrides": {"width": 16, "n_conv_blocks": 1, "n_attention_blocks": 1, "n_heads": 2}},
        "augment": {"strength": 0},
        "optimizer": {"total_steps": 1},
        "loop": {"batch_s": 4, "precision": "fp32", "threads": 1, "tensorboard": False, "bundle": False},
    }
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


@pytest.fixture
def finetuning(recipe: Path) -> Path:
    """The same recipe for fine-tuning, which keeps the architecture of its source."""
    values = yaml.safe_load(recipe.read_text())
    del values["model"]
    path = recipe.with_name("finetune.yaml")
    path.write_text(yaml.safe_dump(values))
    return path


def test_a_dry_run_reports_on_stdout_and_writes_nothing(recipe: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.iterdir())
    result = run("train", recipe, "--dry-run", "--set", "loop.batch_s=6")
    assert result.exit_code == 0, result.output
    assert "one step on made-up data" in result.stdout and "nothing was trained" in result.stdout
    assert result.stderr == ""
    assert sorted(tmp_path.iterdir()) == before


def test_training_writes_a_run_and_says_so_on_stderr(recipe: Path, tmp_path: Path) -> None:
    result = run("train", recipe, "--set", "seed=5")
    assert result.exit_code == 0, result.output
    assert result.stdout == "" and "noise: 0.0" in result.stderr and "step 1/1" in result.stderr
    checkpoint = read_checkpoint(tmp_path / "run" / "last.safetensors")
    assert checkpoint.provenance["command"] == f"silero-like train {recipe} --set seed=5"
    assert checkpoint.provenance["seed"] == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "loop.batchs=3"], "unknown key 'batchs'"),
        (["--set", "optimizer.total_steps=many"], "expected int"),
        (["--set", "nothing"], "expected key=value"),
    ],
)
@pytest.mark.parametrize("dry_run", [[], ["--dry-run"]])
def test_a_wrong_recipe_is_wrong_usage(
    recipe: Path, tmp_path: Path, arguments: list[str], message: str, dry_run: list[str]
) -> None:
    result = run("train", recipe, *arguments, *dry_run)
    assert result.exit_code == 2 and message in result.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("dry_run", [[], ["--dry-run"]])
def test_data_that_cannot_be_read_is_one_line(recipe: Path, dry_run: list[str]) -> None:
    result = run("train", recipe, "--set", "data.train=[missing.jsonl]", *dry_run)
    assert result.exit_code == 1 and "missing.jsonl: cannot read the manifest" in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize("arguments", [["train"], ["train", "no.yaml"], ["finetune"], ["finetune", "no", "no.yaml"]])
def test_files_that_are_not_there_are_wrong_usage(arguments: list[str]) -> None:
    assert run(*arguments).exit_code == 2


@pytest.mark.parametrize("name", ["last.safetensors", "1e3", "my: model #2", "модель'"])
def test_fine_tuning_starts_from_a_path_of_any_name(
    recipe: Path, finetuning: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    assert run("train", recipe).exit_code == 0
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run" / "last.safetensors").rename(name)
    result = run("finetune", name, finetuning, "--dry-run")
    assert result.exit_code == 0, result.output
    assert f"goes on from {name}: 0.0" in result.stdout


def test_fine_tuning_notes_its_command_once(recipe: Path, finetuning: Path, tmp_path: Path) -> None:
    assert run("train", recipe).exit_code == 0
    source, out = tmp_path / "run" / "last.safetensors", tmp_path / "tuned"
    result = run("finetune", source, finetuning, "--set", f"output_dir={out}")
    assert result.exit_code == 0, result.output
    checkpoint = read_checkpoint(out / "last.safetensors")
    assert checkpoint.provenance["command"] == f"silero-like finetune {source} {finetuning} --set output_dir={out}"
    assert checkpoint.recipe["finetune"]["init"] == str(source)


def test_fine_tuning_says_what_cannot_be(recipe: Path, finetuning: Path, tmp_path: Path) -> None:
    assert run("train", recipe).exit_code == 0
    source = tmp_path / "run" / "last.safetensors"
    for arguments, message in (
        ([source, recipe], "keeps the architecture of"),
        ([source, finetuning, "--set", "finetune.freeze=[stern]"], "no parameter begins with 'stern'"),
        ([source, finetuning, "--set", "data.lang=ru"], "normalised by en-1"),
        ([recipe, finetuning], "not a checkpoint"),
        ([tmp_path, finetuning], "config.json"),
    ):
        result = run("finetune", *arguments, "--dry-run")
        assert result.exit_code == 1 and message in result.stderr, result.output
        assert "Traceback" not in result.output


def test_a_recipe_that_is_no_text_is_wrong_usage(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_bytes(b"name: caf\xe9\n")
    result = run("train", tmp_path / "recipe.yaml")
    assert result.exit_code == 2 and "recipe.yaml: expected a recipe, YAML in UTF-8" in result.stderr
