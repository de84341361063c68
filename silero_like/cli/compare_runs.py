"""`silero-like compare-runs`."""

from __future__ import annotations

import string
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from silero_like.cli.paths import INPUT_FOLDER, OUTPUT_FILE
from silero_like.cli.pictures import check_picture_path

if TYPE_CHECKING:
    from train.curves import Line, Run

LETTERS = string.ascii_uppercase
LONG = 60  # characters of a list that is shown whole, and of one of its items
X_LABELS = {"step": "step", "hours": "hours of audio seen", "minutes": "minutes of training"}


@click.command()
@click.argument("folders", metavar="RUN...", nargs=-1, required=True, type=INPUT_FOLDER)
@click.option("--output", type=OUTPUT_FILE, callback=check_picture_path, help="Draw them: OUT.png or OUT.svg.")
@click.option(
    "--metric",
    default="micro.cer",
    show_default=True,
    help="Curve to draw: micro.cer, macro.cer, domains.X.cer or loss.",
)
@click.option(
    "--x", "axis", type=click.Choice(list(X_LABELS)), default="step", show_default=True, help="What it is drawn over."
)
@click.pass_context
def compare_runs(
    context: click.Context, folders: tuple[Path, ...], output: Path | None, metric: str, axis: str
) -> None:
    """Compare training runs: error rates, curves and recipes.

    Each RUN is the output_dir of a run. Printed are the CER of every dev domain at the last evaluation and at the best
    one (that of the lowest micro CER), the differences of the last ones to the first run's, and the keys of the recipes
    that differ. --output draws the metric, and the training loss (a running mean) beside it.

    \b
    Examples:
      silero-like compare-runs runs/uniform runs/balanced
      silero-like compare-runs runs/* --output runs.svg --metric domains.audiobook.cer --x minutes
    """
    from silero_like.errors import SileroLikeError
    from train.curves import read_recipe, read_run

    if not 2 <= len(folders) <= len(LETTERS):
        raise click.UsageError(f"expected 2 to {len(LETTERS)} runs, got {len(folders)}")
    given = [name for name in ("metric", "axis") if context.get_parameter_source(name) is not ParameterSource.DEFAULT]
    if given and not output:
        raise click.UsageError("--metric and --x are for the picture: give --output, too")
    runs = [read_run(folder) for folder in folders]
    for run in runs:
        if not run.evals:
            raise SileroLikeError(
                f"{run.path}: no evaluation in its log: wait for the first (loop.eval_every), or leave this run out"
            )
        if run.n_damaged:
            click.echo(f"{run.path}: damaged lines in log.jsonl that were skipped: {run.n_damaged}", err=True)
    for table in (_overview(runs), _rates(runs), _differences([read_recipe(run) for run in runs])):
        click.echo("\n".join(_aligned(table)) + "\n")
    if output:
        _draw(runs, output, metric, axis)


def _overview(runs: Sequence[Run]) -> Iterator[list[str]]:
    yield ["", "run", "last step", "hours seen", "minutes", "training loss", "last evaluation", "best evaluation"]
    for letter, run in zip(LETTERS, runs, strict=False):
        last: Mapping[str, Any] = run.train[-1] if run.train else {}
        shown = (_number(last.get("hours_seen"), 1), _number(last.get("train_s"), 1 / 60), _loss(run))
        at = [f"step {line['step']}" for line in (run.evals[-1], _best(run))]
        yield [letter, str(run.path), str(run.last_step), *shown, *at]


def _rates(runs: Sequence[Run]) -> Iterator[list[str]]:
    """Yield the rows of error rates: domains down, runs across."""
    from train.curves import lookup, metrics

    header = [["A last", "A best"], *([f"{x} last", f"{x} best", f"{x} - A"] for x in LETTERS[1 : len(runs)])]
    yield ["CER %", *(title for titles in header for title in titles)]
    for metric in dict.fromkeys(metric for run in runs for metric in metrics(run)):
        row = [metric.removeprefix("domains.").removesuffix(".cer")]
        reference = lookup(runs[0].evals[-1], metric)
        for number, run in enumerate(runs):
            last, best = lookup(run.evals[-1], metric), lookup(_best(run), metric)
            row += [_number(last, 100), _number(best, 100)]
            if number:
                row.append("-" if last is None or reference is None else f"{100 * (last - reference):+.1f}")
        yield row


def _differences(recipes: Sequence[Mapping[str, Any] | None]) -> Iterator[list[str]]:
    """Yield the keys whose values differ between the recipes that are there."""
    known = {letter: recipe for letter, recipe in zip(LETTERS, recipes, strict=False) if recipe is not None}
    absent = [letter for letter in LETTERS[: len(recipes)] if letter not in known]
    if absent:
        yield [f"no recipe.yaml, so the recipe is not known: {', '.join(absent)}"]
    if len(known) < 2:
        return
    keys = dict.fromkeys(key for recipe in known.values() for key in recipe)
    rows = [[key, *_cells([recipe.get(key, "not set") for recipe in known.values()])] for key in keys]
    differing = [row for row in rows if len(set(row[1:])) > 1]
    yield ["recipe", *known] if differing else ["the recipes are equal"]
    yield from differing


def _cells(values: Sequence[Any]) -> list[str]:
    """Show the values of a key; of long lists only what is not in all of them."""
    cells = [str(value) for value in values]
    if max(map(len, cells)) <= LONG or not all(isinstance(value, list) for value in values):
        return cells
    shared = [item for item in values[0] if all(item in value for value in values)]
    others = [[shorten(str(x), LONG, placeholder=" ...") for x in value if x not in shared] for value in values]
    if not any(others):
        return cells
    few = [own if len(own) < 4 else [*own[:2], f"{len(own) - 2} others"] for own in others]
    return [" + ".join([f"{len(shared)} in all", *own]) for own in few]


def _aligned(table: Iterator[list[str]]) -> Iterator[str]:
    """Yield the rows with columns of equal width; a single cell is a remark and widens no column."""
    rows = list(table)
    cells = [row for row in rows if len(row) > 1]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in rows:
        yield row[0] if len(row) == 1 else "  ".join(map(str.ljust, row, widths)).rstrip()


def _best(run: Run) -> Line:
    from train.curves import lookup

    return min(run.evals, key=lambda line: (lookup(line, "micro.cer") is None, lookup(line, "micro.cer")))


def _loss(run: Run) -> str:
    """Show the mean loss over the last twentieth of the training lines."""
    losses = [line["loss"] for line in run.train if line.get("loss") is not None]
    tail = losses[-max(1, len(losses) // 20) :]
    return f"{sum(tail) / len(tail):.3f}" if tail else "-"


def _number(value: float | None, factor: float) -> str:
    return "-" if value is None else f"{factor * value:.1f}"


def _draw(runs: Sequence[Run], path: Path, metric: str, axis: str) -> None:
    """Draw the metric's evaluation points and the smoothed loss, each run in its colour."""
    from silero_like.cli.pictures import new_figure, save_figure
    from train.curves import on_axis, points, smooth

    wanted = list(dict.fromkeys([metric, "loss"]))
    figure, panels = new_figure(["training loss" if name == "loss" else name for name in wanted], X_LABELS[axis])
    names = [run.name for run in runs]
    for panel, name in zip(panels, wanted, strict=True):
        for run, label in zip(runs, names, strict=True):
            steps, values = points(run, name)
            x, y = on_axis(run, steps, axis), smooth(values) if name == "loss" else values
            panel.plot(x, y, "-" if name == "loss" else "o-", label=label if names.count(label) == 1 else str(run.path))
        panel.legend()
    save_figure(figure, path)
