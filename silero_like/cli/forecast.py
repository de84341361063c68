"""`silero-like forecast`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from silero_like.cli.number import Number
from silero_like.cli.paths import INPUT_FOLDER, OUTPUT_FILE, refuse_replacing
from silero_like.cli.pictures import check_picture_path
from silero_like.writers import write_atomically

if TYPE_CHECKING:
    from train.curves import Run
    from train.forecast import Forecast

METRICS = {"micro.cer": "micro CER", "loss": "training loss"}
BACK_TEST = (0.2, 0.25)
"""Parts of a finished run that are forecast from when --at is not given."""


@click.command()
@click.argument("folder", metavar="RUN", type=INPUT_FOLDER)
@click.option("--total-steps", type=click.IntRange(min=2), help="Steps of the whole run [default: of its recipe.yaml].")
@click.option(
    "--at",
    "fractions",
    multiple=True,
    type=Number(0, 1, min_open=True, max_open=True),
    metavar="FRACTION",
    help="Look only at this part of the steps, such as 0.25; may be repeated [default: all that is logged].",
)
@click.option("--json", "json_path", type=OUTPUT_FILE, help="Write the forecasts here, with the curves, as JSON.")
@click.option(
    "--plot", "plot_path", type=OUTPUT_FILE, callback=check_picture_path, help="Draw them: OUT.png or OUT.svg."
)
def forecast(
    folder: Path, total_steps: int | None, fractions: tuple[float, ...], json_path: Path | None, plot_path: Path | None
) -> None:
    """Forecast how a training run will end, from its first 20 to 25 % on.

    RUN is the output_dir of a run that began from nothing. Printed are the micro CER on dev and the training loss
    that are expected at the last step, and the band that holds the outcome nine times out of ten if the run goes on as
    it is. Two evaluations are needed, three or more narrow the band: set loop.eval_every to a twentieth of the steps.
    Of a finished run the outcome is printed beside what its first part would have said.

    \b
    Examples:
      silero-like forecast runs/en-tiny
      silero-like forecast runs/en-tiny --at 0.2 --at 0.25 --plot forecast.png
    """
    from train.curves import budget, read_run

    refuse_replacing((json_path, plot_path), (folder / "log.jsonl", folder / "recipe.yaml"))
    run = read_run(folder)
    total = total_steps or budget(run)
    if run.n_damaged:
        click.echo(f"{run.path}: damaged lines in log.jsonl that were skipped: {run.n_damaged}", err=True)
    forecasts = _forecasts(run, total, fractions)
    click.echo(f"{run.name}: {run.last_step} of {total} steps ({run.last_step / total:.0%})")
    for line in _table(run, forecasts):
        click.echo(line)
    if json_path:
        rows = [dataclasses.asdict(item) | {"measured": _measured(run, item)} for item in forecasts]
        write_atomically(json_path, json.dumps({"run": run.name, "forecasts": rows}, indent=1) + "\n")
    if plot_path:
        _draw(run, forecasts, plot_path)


def _forecasts(run: Run, total: int, fractions: Sequence[float]) -> list[Forecast]:
    """Forecast every metric at every cut."""
    import numpy as np

    from train.forecast import forecast_metric

    if not fractions:
        fractions = BACK_TEST if run.last_step >= total else (run.last_step / total,)
    ahead = [fraction for fraction in fractions if round(fraction * total) > run.last_step]
    if ahead:
        raise click.UsageError(f"--at {ahead[0]:g} lies ahead: {run.last_step} of {total} steps are logged")
    return [
        forecast_metric(
            run, metric, total_steps=total, at_step=round(fraction * total), generator=np.random.default_rng(0)
        )
        for fraction in fractions
        for metric in METRICS
    ]


def _table(run: Run, forecasts: Sequence[Forecast]) -> list[str]:
    outcomes = [_measured(run, item) for item in forecasts]
    header = f"{'from step':>9}  {'':14}{'points':>7}{'last':>9}{'expected':>10}{'90 % band':>18}"
    lines = [header + (f"{'measured':>10}" if any(outcomes) else "")]
    for item, outcome in zip(forecasts, outcomes, strict=True):
        last, *ends = (_show(item.metric, x) for x in (item.known[-1], item.expected[-1], item.low[-1], item.high[-1]))
        row = f"{item.at_step:9}  {METRICS[item.metric]:14}{len(item.known):7}{last:>9}{ends[0]:>10}"
        row += f"{f'{ends[1]} - {ends[2]}':>18}"
        lines.append(row + (f"{_show(item.metric, outcome):>10}" if outcome is not None else ""))
    return lines


def _show(metric: str, value: float) -> str:
    return f"{value:.3f}" if metric == "loss" else f"{100 * value:.1f} %"


def _measured(run: Run, item: Forecast) -> float | None:
    from train.forecast import measured

    return measured(run, item.metric, item.total_steps)


def _draw(run: Run, forecasts: Sequence[Forecast], path: Path) -> None:
    """Draw what was logged and, for every cut, the expected curve in its band."""
    from silero_like.cli.pictures import new_figure, save_figure
    from train.curves import points, smooth

    figure, panels = new_figure(list(METRICS.values()), "step")
    figure.suptitle(f"{run.name}: expected course")
    for panel, metric in zip(panels, METRICS, strict=True):
        steps, values = points(run, metric)
        style = "-" if metric == "loss" else "o"
        panel.plot(steps, smooth(values) if metric == "loss" else values, style, color="black", label="measured")
        for number, item in enumerate(item for item in forecasts if item.metric == metric):
            panel.fill_between(item.steps, item.low, item.high, color=f"C{number}", alpha=0.2, linewidth=0)
            panel.plot(item.steps, item.expected, color=f"C{number}", label=f"from step {item.at_step}")
        panel.legend()
    save_figure(figure, path)
