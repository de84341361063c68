"""`silero-like data noisy-student` on the tones: rounds of real training and labelling."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

import silero_like.cli.data_noisy_student as command
from data.manifest import read_manifest
from silero_like.cli import main
from tests.train.conftest import ROOT

ROUND_STEPS = 30


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["data", "noisy-student", *map(str, arguments)])


@pytest.fixture
def speech(recipe_path: Path, tone_corpus: Path, tmp_path: Path) -> Path:
    """A third of the tones without their labels; the recipe keeps the others."""
    lines = (tone_corpus / "train.jsonl").read_text().splitlines(keepends=True)
    rows = [json.loads(line) for line in lines[:8]]
    path = tone_corpus / f"unlabelled-{tmp_path.name}.jsonl"
    path.write_text("".join(json.dumps({**row, "text": None}) + "\n" for row in rows))
    labelled = tone_corpus / f"labelled-{tmp_path.name}.jsonl"
    labelled.write_text("".join(lines[8:]))
    values = yaml.safe_load(recipe_path.read_text())
    values["data"]["train"] = [labelled.name]
    values["optimizer"]["total_steps"] = ROUND_STEPS
    recipe_path.write_text(yaml.safe_dump(values))
    return path


def results(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "rounds.json").read_text())["rounds"]
    return found


@pytest.mark.slow
def test_rounds_of_labels_and_training(
    recipe_path: Path, speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "rounds"
    result = run(recipe_path, speech, "--out", out, "--rounds", "1", "--min-confidence", "0.05")
    assert result.exit_code == 0, result.output
    labelled, both = results(out)["0"], results(out)["1"]
    assert both["pseudo_hours"] > 0
    assert sum(both["hours"].values()) == pytest.approx(
        sum(labelled["hours"].values()) + both["pseudo_hours"], abs=2e-3
    )
    assert set(both["cer"]) == {"tones"}
    assert {row.annotation for row in read_manifest(out / "round-1" / "pseudo.jsonl").utterances} == {"pseudo"}
    pieces = [(out / f"round-{number}" / "bundle" / "tokenizer.model").read_bytes() for number in (0, 1)]
    assert pieces[0] == pieces[1]
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["round", "0", "1"]

    monkeypatch.setattr(command, "_run", lambda _: pytest.fail("trained again"))
    monkeypatch.setattr(command._Labelling, "run", lambda *_: pytest.fail("labelled again"))
    again = run(recipe_path, speech, "--out", out, "--rounds", "1", "--min-confidence", "0.05")
    assert (again.exit_code, again.stdout) == (0, result.stdout)
    other = run(recipe_path, speech, "--out", out, "--rounds", "1", "--min-confidence", "0.5")
    assert (other.exit_code, "found others (min_confidence)" in other.stderr) == (2, True)


def test_it_goes_on_where_it_stopped(
    recipe_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bundled_model: Path
) -> None:
    trained: list[str] = []

    def train(line: list[str]) -> int:
        """Instead of training: the bundled model, except that the second time it is killed."""
        trained.append(next(part for part in line if part.startswith("output_dir=")))
        if len(trained) != 2:
            folder = Path(json.loads(trained[-1].partition("=")[2]))
            folder.mkdir(exist_ok=True, parents=True)
            (folder / "bundle").symlink_to(bundled_model)
        return 0

    monkeypatch.setattr(command, "_run", train)
    arguments = [recipe_path, ROOT / "samples" / "manifest.jsonl", "--out", tmp_path / "out"]
    first = run(*arguments)
    assert (first.exit_code, "the same command goes on" in first.stderr) == (1, True)
    assert list(results(tmp_path / "out")) == ["0"]
    second = run(*arguments)
    assert second.exit_code == 0, second.output
    assert [line.rpartition("-")[2] for line in trained] == ['0"', '1"', '1"', '2"']
    rounds = results(tmp_path / "out")
    assert [rounds[number]["labelling"] is None for number in ("0", "1", "2")] == [True, False, False]
    assert rounds["2"]["pseudo_hours"] == pytest.approx((6.07 + 6.48) / 3600, rel=0.01)
    assert "2 of 2 utterances heard before" in second.stderr  # both rounds have the same model here


def test_what_is_asked_of_training(
    recipe_path: Path, speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bundled_model: Path
) -> None:
    commands: list[list[str]] = []

    def stopped(line: list[str]) -> int:
        commands.append(line)
        return 0

    monkeypatch.setattr(command, "_run", stopped)
    monkeypatch.setattr(command._Labelling, "run", lambda *_: {})
    options = ["--out", tmp_path / "out", "--teacher", bundled_model, "--processes", "2", "--set", "seed=7"]
    result = run(recipe_path, speech, *options)
    assert result.exit_code == 1
    assert "round 1: training ended with code 0 before it was done: the same command goes on" in result.stderr
    line = commands.pop()
    assert line[1:7] == ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    assert "seed=7" in line
    assert f'tokenizer.path="{bundled_model / "tokenizer.model"}"' in line
    manifests = next(part for part in line if part.startswith("data.train="))
    assert json.loads(manifests.partition("=")[2])[1] == str(tmp_path / "out" / "round-1" / "pseudo.jsonl")
    run(recipe_path, speech, "--out", tmp_path / "other", "--teacher", bundled_model, "--from-teacher")
    assert f'finetune.init="{bundled_model}"' in commands.pop()


def test_nothing_that_passes(recipe_path: Path, speech: Path, tmp_path: Path, bundled_model: Path) -> None:
    options = ["--out", tmp_path / "out", "--teacher", bundled_model, "--rate", "90", "99"]
    result = run(recipe_path, speech, *options)
    assert (result.exit_code, "round-1: no label passes the filters: loosen them" in result.stderr) == (1, True)


def test_rounds_are_told_apart_by_dev_speech(recipe_path: Path, speech: Path, tmp_path: Path) -> None:
    result = run(recipe_path, speech, "--out", tmp_path / "out", "--set", "data.dev=[]")
    assert (result.exit_code, "data.dev is empty" in result.stderr) == (2, True)
