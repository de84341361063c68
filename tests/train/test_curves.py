from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from silero_like.errors import ConfigError, MissingExtraError, SileroLikeError
from train import curves


def train_line(step: int, loss: float | None = 3.0, **more: Any) -> dict[str, Any]:
    return {"event": "train", "step": step, "loss": loss, "lr": 1e-3, "hours_seen": step / 10, "train_s": step, **more}


def eval_line(step: int, cer: float | None) -> dict[str, Any]:
    domains = {"a": {"cer": cer, "wer": 0.5}, "v1.0": {"cer": 0.25}}
    return {"event": "eval", "step": step, "domains": domains, "macro": {"cer": cer}, "micro": {"cer": cer}}


def write(folder: Path, *lines: dict[str, Any] | str) -> Path:
    text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    (folder / "log.jsonl").write_text(text)
    return folder


def test_train_and_eval_lines(tmp_path: Path) -> None:
    run = curves.read_run(
        write(tmp_path, train_line(10), train_line(20), eval_line(20, 0.5), {"event": "x", "step": 20})
    )
    assert [line["step"] for line in run.train] == [10, 20]
    assert [line["step"] for line in run.evals] == [20]
    assert (run.last_step, run.n_damaged, run.name) == (20, 0, tmp_path.name)
    assert curves.metrics(run) == ["micro.cer", "macro.cer", "domains.a.cer", "domains.v1.0.cer"]


def test_what_a_restart_logs_again_replaces_all_from_there_on(tmp_path: Path) -> None:
    before = [train_line(10, 9.0), train_line(20, 8.0), eval_line(20, 0.8), train_line(30, 7.0), train_line(40, 6.0)]
    again = [train_line(20, 5.0), eval_line(20, 0.5), train_line(30, 4.0)]
    run = curves.read_run(write(tmp_path, *before, eval_line(40, 0.4), *again))
    assert [(line["step"], line["loss"]) for line in run.train] == [(10, 9.0), (20, 5.0), (30, 4.0)]
    assert [(line["step"], line["micro"]["cer"]) for line in run.evals] == [(20, 0.5)]


def test_an_evaluation_repeated_alone_replaces_the_first(tmp_path: Path) -> None:
    run = curves.read_run(write(tmp_path, train_line(20), eval_line(20, 0.8), eval_line(20, 0.7)))
    assert len(run.train) == 1
    assert curves.points(run, "micro.cer")[1].tolist() == [0.7]


def test_damaged_lines_are_skipped_and_counted(tmp_path: Path) -> None:
    half = json.dumps(train_line(20))[:30]
    write(tmp_path, train_line(10), half + json.dumps(train_line(20)), "7", '{"step": 1}', train_line(30))
    with (tmp_path / "log.jsonl").open("a") as stream:
        stream.write(half)  # what kill -9 leaves
    run = curves.read_run(tmp_path)
    assert [line["step"] for line in run.train] == [10, 30]
    assert run.n_damaged == 4


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(SileroLikeError, match=r"no run: its log.jsonl cannot be read \(No such file"):
        curves.read_run(tmp_path)


def test_an_empty_log(tmp_path: Path) -> None:
    run = curves.read_run(write(tmp_path))
    assert run.last_step == 0
    with pytest.raises(SileroLikeError, match="no evaluation was logged"):
        curves.points(run, "micro.cer")


def test_points_leave_null_out(tmp_path: Path) -> None:
    run = curves.read_run(
        write(tmp_path, train_line(10, None), train_line(20, 2.5), eval_line(20, None), eval_line(40, 0.3))
    )
    assert [x.tolist() for x in curves.points(run, "loss")] == [[20.0], [2.5]]
    assert [x.tolist() for x in curves.points(run, "macro.cer")] == [[40.0], [0.3]]
    assert curves.points(run, "domains.v1.0.cer")[1].tolist() == [0.25, 0.25]
    assert curves.points(run, "domains.a.wer")[1].tolist() == [0.5, 0.5]


@pytest.mark.parametrize("metric", ["micro", "domains.b.cer", "domains", "", "step.cer", "micro.cer.x"])
def test_an_unknown_metric_lists_the_known(tmp_path: Path, metric: str) -> None:
    run = curves.read_run(write(tmp_path, eval_line(40, 0.3)))
    with pytest.raises(SileroLikeError, match=r"expected one of loss, micro.cer, macro.cer, domains.a.cer"):
        curves.points(run, metric)


def test_until_hides_what_came_later(tmp_path: Path) -> None:
    run = curves.read_run(write(tmp_path, train_line(10), train_line(20), eval_line(20, 0.5), train_line(30)))
    assert run.until(20).last_step == 20
    assert run.until(19.9).evals == ()


def test_axes(tmp_path: Path) -> None:
    run = curves.read_run(write(tmp_path, train_line(10), train_line(20, train_s=70.0)))
    steps = np.array([5.0, 15.0])
    assert curves.on_axis(run, steps, "step").tolist() == [5, 15]
    assert curves.on_axis(run, steps, "hours").tolist() == [0.5, 1.5]
    assert curves.on_axis(run, steps, "minutes") == pytest.approx([5 / 60, 40 / 60])  # halfway from 10 s to 70 s


def test_smooth_is_a_mean_of_neighbours() -> None:
    values = np.random.default_rng(0).normal(size=100)
    smoothed = curves.smooth(values)
    assert smoothed[50] == pytest.approx(values[48:53].mean())
    assert smoothed[1] == pytest.approx(values[0:3].mean())
    assert smoothed[[0, -1]] == pytest.approx(values[[0, -1]])


def test_recipe_and_budget(tmp_path: Path) -> None:
    run = curves.read_run(write(tmp_path))
    assert curves.read_recipe(run) is None
    with pytest.raises(SileroLikeError, match="give --total-steps"):
        curves.budget(run)
    recipe = {"name": "x", "optimizer": {"total_steps": 100, "peak_lr": 0.1}, "data": {"train": ["a", "b"]}}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    flat = {"name": "x", "optimizer.total_steps": 100, "optimizer.peak_lr": 0.1, "data.train": ["a", "b"]}
    assert curves.read_recipe(run) == flat
    assert curves.budget(run) == 100


@pytest.mark.parametrize(("text", "message"), [("a: [", "not valid YAML"), ("- 1", "expected a mapping of sections")])
def test_a_damaged_recipe(tmp_path: Path, text: str, message: str) -> None:
    run = curves.read_run(write(tmp_path))
    (tmp_path / "recipe.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        curves.read_recipe(run)


def test_without_pyyaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = curves.read_run(write(tmp_path))
    (tmp_path / "recipe.yaml").write_text("a: 1")
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'silero_like\[train\]'"):
        curves.read_recipe(run)


def test_numpy_is_enough() -> None:
    code = "import sys, train.curves, train.forecast; print({'torch', 'yaml', 'matplotlib'} & set(sys.modules))"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert process.stdout.strip() == "set()"
