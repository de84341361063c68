"""Back-test of `silero-like forecast`: hide the end of finished runs, forecast it, compare.

    python -m benchmarks.forecast runs/*
    python -m benchmarks.forecast runs/en-tiny --at 0.3 --at 0.5 --json forecast.json

Of each run only the first 20 % and 25 % of the steps are shown to the forecast. Beside its error stand those of three
simple ways: the last evaluation unchanged, a power law over the steps through the evaluations, and a straight line from
training loss to CER at the forecast loss. A run that cannot be forecast is listed with the reason.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import describe_machine
from silero_like.errors import SileroLikeError
from train.curves import Run, budget, points, read_run
from train.forecast import Forecast, forecast_metric, measured

METRICS = ("micro.cer", "loss")
WAYS = ("expected", "last", "power", "from_loss")


def main() -> None:
    """Parse arguments, back-test, print tables and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="output_dir of a finished run")
    parser.add_argument("--at", dest="fractions", action="append", type=float, metavar="FRACTION")
    parser.add_argument("--total-steps", type=int, help="steps of the runs that have no recipe.yaml")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    arguments = parser.parse_args()
    fractions = arguments.fractions or [0.2, 0.25]
    cuts = [(folder, fraction) for folder in arguments.runs for fraction in fractions]
    rows = [row for folder, fraction in cuts for row in back_test(folder, fraction, arguments.total_steps)]
    print(f"{'run':20}    at  metric    points  expected         90 % band  measured   error")
    for row in rows:
        print(show(row))
    for line in summary([row for row in rows if "measured" in row]):
        print(line)
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": describe_machine(), "rows": rows}, indent=1) + "\n")


def back_test(folder: str, fraction: float, given_steps: int | None) -> Iterator[dict[str, Any]]:
    """Yield a row for each metric: the forecast from the first part of a run, and what was measured; or a refusal."""
    about = {"run": Path(folder).name, "at": fraction}
    try:
        run = read_run(folder)
        total = budget(run) if given_steps is None or (run.path / "recipe.yaml").exists() else given_steps
        forecasts = {metric: _forecast(run, metric, total, fraction) for metric in METRICS}
        truths = {metric: measured(run, metric, total) for metric in METRICS}
    except SileroLikeError as error:
        yield about | {"refused": str(error)}
        return
    for metric, item in forecasts.items():
        truth = truths[metric]
        if truth is None:
            yield about | {"refused": f"not finished: {run.last_step} of {total} steps"}
            return
        row = about | {"metric": metric, "points": len(item.known), "measured": truth, "expected": item.expected[-1]}
        row |= {"low": item.low[-1], "high": item.high[-1], "last": item.known[-1], "power": _power(item)}
        if metric != "loss":
            row["from_loss"] = _from_loss(run, item, forecasts["loss"])
        yield row


def show(row: dict[str, Any]) -> str:
    """Format one row; the error is relative to what was measured."""
    start = f"{row['run']:20} {row['at']:5.0%}  "
    if "refused" in row:
        return f"{start}refused: {row['refused']}"
    band = f"{row['low']:.3f} - {row['high']:.3f}"
    figures = f"{row['expected']:9.3f}{band:>18} {row['measured']:9.3f} {_error(row, 'expected'):+7.1%}"
    return f"{start}{row['metric']:10}{row['points']:6} {figures} {'' if _inside(row) else 'outside'}".rstrip()


def summary(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield, for each metric, the mean absolute relative error of every way and the share inside the band."""
    for metric in METRICS:
        chosen = [row for row in rows if row["metric"] == metric]
        if chosen:
            ways = [way for way in WAYS if way in chosen[0]]
            errors = (f"{way} {np.mean([abs(_error(row, way)) for row in chosen]):.1%}" for way in ways)
            inside = sum(_inside(row) for row in chosen)
            yield f"{metric}: {len(chosen)} forecasts, {inside} in the band; mean error: {', '.join(errors)}"


def _forecast(run: Run, metric: str, total: int, fraction: float) -> Forecast:
    generator = np.random.default_rng(0)
    return forecast_metric(run, metric, total_steps=total, at_step=round(fraction * total), generator=generator)


def _power(item: Forecast) -> float:
    """Extend the straight line through the known points in log step and log value."""
    line = np.polyfit(np.log(item.known_steps), np.log(item.known), 1)
    return float(np.exp(np.polyval(line, np.log(item.total_steps))))


def _from_loss(run: Run, item: Forecast, loss: Forecast) -> float:
    """Extend the straight line through (training loss, CER) to the loss forecast for the end."""
    steps, losses = points(run.until(item.at_step), "loss")
    around = [losses[abs(steps - step) <= 500].mean() for step in item.known_steps]
    return float(np.polyval(np.polyfit(around, item.known, 1), loss.expected[-1]))


def _error(row: dict[str, Any], way: str) -> float:
    return float(row[way] / row["measured"] - 1)


def _inside(row: dict[str, Any]) -> bool:
    return bool(row["low"] <= row["measured"] <= row["high"])


if __name__ == "__main__":
    main()
