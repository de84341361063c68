"""`silero-like forecast` and `silero-like compare-runs` as a user meets them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml
from click.testing import CliRunner, Result

from silero_like.cli import main

TOTAL = 2000
LEVEL = {"good": 0.2, "worse": 0.25}


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def write_run(folder: Path, level: float, last_step: int = TOTAL, recipe: dict[str, Any] | None = None) -> Path:
    """Write a run of TOTAL steps whose CER falls to `level` with the steps to the power -0.3, evaluated every 100."""
    folder.mkdir(parents=True)
    lines = []
    for step in range(10, last_step + 1, 10):
        lr = min(step / 100, 0.5 + 0.5 * np.cos(np.pi * max(0, step - 100) / (TOTAL - 100)))
        lines.append(
            {"event": "train", "step": step, "loss": 2 * (TOTAL / step) ** 0.3, "lr": lr, "hours_seen": step / 100}
            | {"train_s": 6.0 * step}
        )
        if step % 100 == 0:
            cer = level * (TOTAL / step) ** 0.3
            domains = {"a": {"cer": cer}, "b": {"cer": cer / 2}}
            lines.append(
                {"event": "eval", "step": step, "domains": domains, "micro": {"cer": cer}, "macro": {"cer": 0.1}}
            )
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    values = {"name": folder.name, "optimizer": {"total_steps": TOTAL}, **(recipe or {})}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(values))
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    """Two finished runs: the second a quarter worse, with other augmentation."""
    return [
        write_run(tmp_path / name, level, recipe={"augment": {"strength": level}, "seed": 1, **extra})
        for (name, level), extra in zip(LEVEL.items(), ({}, {"loop": {"batch_s": 60}}), strict=True)
    ]


def is_picture(path: Path) -> bool:
    if path.suffix == ".png":
        return path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n") and path.stat().st_size > 5000
    return ElementTree.parse(path).getroot().tag.endswith("svg")


# forecast


def test_forecast_of_a_run_that_goes_on(tmp_path: Path) -> None:
    result = run("forecast", write_run(tmp_path / "x", 0.2, last_step=500), "--json", tmp_path / "out.json")
    assert result.exit_code == 0, result.output
    title, header, cer, loss = result.stdout.splitlines()
    assert title == "x: 500 of 2000 steps (25%)"
    assert "measured" not in header
    assert cer.split()[:4] == ["500", "micro", "CER", "5"]
    assert loss.split()[:3] == ["500", "training", "loss"]
    rows = json.loads((tmp_path / "out.json").read_text())["forecasts"]
    assert [(row["metric"], row["at_step"], row["measured"]) for row in rows] == [
        ("micro.cer", 500, None),
        ("loss", 500, None),
    ]
    assert f"{100 * rows[0]['expected'][-1]:.1f} %" in cer
    assert rows[0]["low"][-1] < rows[0]["expected"][-1] < rows[0]["high"][-1] < 0.2 * 4**0.3


def test_forecast_does_not_replace_the_log_it_reads(runs: list[Path]) -> None:
    before = (runs[0] / "log.jsonl").read_bytes()
    result = run("forecast", runs[0], "--json", runs[0] / "log.jsonl")
    assert (result.exit_code, "this would replace" in result.stderr) == (2, True)
    assert (runs[0] / "log.jsonl").read_bytes() == before
    for _ in range(2):
        assert run("forecast", runs[0], "--json", runs[0] / "forecast.json").exit_code == 0


def test_forecast_of_a_finished_run_is_a_back_test(runs: list[Path]) -> None:
    result = run("forecast", runs[0])
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()[1:]
    assert lines[0].endswith("measured")
    assert [line.split()[0] for line in lines[1:]] == ["400", "400", "500", "500"]
    assert lines[1].endswith("20.0 %")


def test_forecast_at_a_fraction(runs: list[Path], tmp_path: Path) -> None:
    """Hiding the rest of a run or not having it is the same."""
    young = write_run(tmp_path / "young" / runs[0].name, LEVEL["good"], last_step=500)
    hidden = run("forecast", runs[0], "--at", "0.25").stdout.splitlines()
    absent = run("forecast", young, "--at", "0.25").stdout.splitlines()
    assert [line[:60] for line in hidden[2:]] == [line[:60] for line in absent[2:]]


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_forecast_draws(runs: list[Path], tmp_path: Path, suffix: str) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "new" / f"picture{suffix}"
    result = run("forecast", runs[0], "--plot", path)
    assert result.exit_code == 0, result.output
    assert is_picture(path)
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--at", "0.3"], 2, "--at 0.3 lies ahead: 500 of 2000 steps are logged"),
        (["--at", "1.5"], 2, "is not in the range 0<x<1"),
        (["--at", "0.08"], 1, "needs at least 2 evaluations"),
        (["--total-steps", "500", "--at", "0.1"], 1, "still in warm-up"),
        (["--plot", "x.jpeg"], 2, "expected a name that ends in .png or .svg, got 'x.jpeg'"),
    ],
)
def test_forecast_refuses(tmp_path: Path, arguments: list[str], code: int, message: str) -> None:
    folder = write_run(tmp_path / "x", 0.2, last_step=500)
    result = run("forecast", folder, *arguments)
    assert result.exit_code == code
    assert message in result.stderr


def test_forecast_without_a_recipe(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "x", 0.2, last_step=500)
    with_recipe = run("forecast", folder)
    (folder / "recipe.yaml").unlink()
    assert "give --total-steps" in run("forecast", folder).stderr
    assert run("forecast", folder, "--total-steps", "2000").stdout == with_recipe.stdout


def test_forecast_of_no_run(tmp_path: Path) -> None:
    result = run("forecast", tmp_path)
    assert result.exit_code == 1
    assert "no run: its log.jsonl cannot be read" in result.stderr


def test_forecast_tells_of_damaged_lines(runs: list[Path]) -> None:
    with (runs[0] / "log.jsonl").open("a") as stream:
        stream.write('{"event": "tr')
    result = run("forecast", runs[0])
    assert result.exit_code == 0
    assert "damaged lines in log.jsonl that were skipped: 1" in result.stderr


# compare-runs


def test_compare_runs(runs: list[Path]) -> None:
    result = run("compare-runs", *runs)
    assert result.exit_code == 0, result.output
    overview, rates, recipes = (table.splitlines() for table in result.stdout.strip().split("\n\n"))
    assert overview[1].split()[:6] == ["A", str(runs[0]), "2000", "20.0", "200.0", "2.014"]  # the mean of ten losses
    assert rates[0].split("  ")[0] == "CER %"
    assert [line.split() for line in rates[1:]] == [
        ["micro", "20.0", "20.0", "25.0", "25.0", "+5.0"],
        ["macro", "10.0", "10.0", "10.0", "10.0", "+0.0"],
        ["a", "20.0", "20.0", "25.0", "25.0", "+5.0"],
        ["b", "10.0", "10.0", "12.5", "12.5", "+2.5"],
    ]
    assert [line.split() for line in recipes] == [
        ["recipe", "A", "B"],
        ["augment.strength", "0.2", "0.25"],
        ["name", "good", "worse"],
        ["loop.batch_s", "not", "set", "60"],
    ]


def test_best_is_the_evaluation_of_the_lowest_micro_cer(runs: list[Path]) -> None:
    last = {
        "event": "eval",
        "step": 2010,
        "domains": {"a": {"cer": 0.01}},
        "micro": {"cer": 0.3},
        "macro": {"cer": None},
    }
    with (runs[1] / "log.jsonl").open("a") as stream:
        stream.write(json.dumps(last) + "\n")
    result = run("compare-runs", *runs)
    assert "step 2010" in result.stdout
    rates = [line.split() for line in result.stdout.split("\n\n")[1].splitlines()[1:]]
    assert rates[0] == ["micro", "20.0", "20.0", "30.0", "25.0", "+10.0"]
    assert rates[1] == ["macro", "10.0", "10.0", "-", "10.0", "-"]
    assert rates[2] == ["a", "20.0", "20.0", "1.0", "25.0", "-19.0"]
    assert rates[3] == ["b", "10.0", "10.0", "-", "12.5", "-"]


def test_more_than_two_and_recipes_that_are_unknown_or_equal(runs: list[Path]) -> None:
    (runs[1] / "recipe.yaml").unlink()
    result = run("compare-runs", runs[0], runs[1], runs[0])
    assert result.exit_code == 0, result.output
    assert "C - A" in result.stdout
    assert result.stdout.endswith("no recipe.yaml, so the recipe is not known: B\nthe recipes are equal\n\n")


def test_of_long_lists_only_what_differs_is_shown(tmp_path: Path) -> None:
    train = [f"a-domain-of-a-long-name-{number}.train.jsonl" for number in range(5)]
    folders = [
        write_run(tmp_path / name, 0.2, recipe={"name": "x", "data": {"train": files}})
        for name, files in (("a", train), ("b", [*train, "more.train.jsonl"]))
    ]
    recipes = run("compare-runs", *folders).stdout.strip().split("\n\n")[2].splitlines()
    assert [line.split("  ") for line in recipes[1:]] == [["data.train", "5 in all", "5 in all + more.train.jsonl"]]


@pytest.mark.parametrize("metric", ["micro.cer", "domains.b.cer", "loss"])
@pytest.mark.parametrize(("suffix", "axis"), [(".png", "step"), (".svg", "hours"), (".SVG", "minutes")])
def test_compare_runs_draws(runs: list[Path], tmp_path: Path, metric: str, suffix: str, axis: str) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / f"picture{suffix}"
    result = run("compare-runs", *runs, "--output", path, "--metric", metric, "--x", axis)
    assert result.exit_code == 0, result.output
    assert is_picture(path)


def test_compare_runs_refuses(runs: list[Path], tmp_path: Path) -> None:
    young = write_run(tmp_path / "young", 0.2, last_step=90)
    assert run("compare-runs", runs[0]).exit_code == 2
    assert "young: no evaluation in its log" in run("compare-runs", runs[0], young).stderr
    assert "no run: its log.jsonl" in run("compare-runs", runs[0], tmp_path).stderr
    result = run("compare-runs", *runs, "--output", tmp_path / "x.png", "--metric", "domains.c.cer")
    assert result.exit_code == 1
    assert "expected one of loss, micro.cer, macro.cer, domains.a.cer, domains.b.cer" in result.stderr
    assert not (tmp_path / "x.png").exists()
    result = run("compare-runs", *runs, "--metric", "micro.cer")
    assert (result.exit_code, "give --output, too" in result.stderr) == (2, True)


@pytest.mark.parametrize("arguments", [["forecast", "--plot"], ["compare-runs", "--output"]])
def test_pictures_need_an_extra(
    runs: list[Path], tmp_path: Path, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    command, option = arguments
    result = run(command, *(runs if command == "compare-runs" else runs[:1]), option, tmp_path / "x.png")
    assert result.exit_code == 1
    assert "pip install 'silero_like[train]'" in result.stderr


@pytest.mark.parametrize("command", ["forecast", "compare-runs"])
def test_these_commands_do_without_torch(runs: list[Path], command: str) -> None:
    folders = [str(folder) for folder in (runs if command == "compare-runs" else runs[:1])]
    code = (
        "import sys\nfrom silero_like.cli import main\n"
        f"main({[command, *folders]!r}, standalone_mode=False)\nprint('torch' in sys.modules)"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert process.stdout.splitlines()[-1] == "False"
