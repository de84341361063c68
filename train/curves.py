"""Read the log of a run: what it learned and how well it did, step by step. Needs NumPy only, no torch."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from silero_like.errors import ConfigError, MissingExtraError, SileroLikeError

Line = Mapping[str, Any]
Array = npt.NDArray[np.float64]

AXES = {"hours": ("hours_seen", 1.0), "minutes": ("train_s", 1 / 60)}
"""Axis -> field of the training lines, and what it is multiplied by."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """The log of one run, in the order of its steps."""

    path: Path
    """The run's folder."""
    train: tuple[Line, ...]
    """Training lines: step, loss, lr, hours_seen, train_s and more."""
    evals: tuple[Line, ...]
    """Evaluation lines: step and the evaluation JSON (domains, macro, micro, worst)."""
    n_damaged: int = 0
    """Lines that are no log lines and were skipped: a killed run leaves half a line."""

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.path.resolve().name

    @property
    def last_step(self) -> int:
        """The last step that was logged; 0 when none was."""
        return max((int(line["step"]) for line in (*self.train[-1:], *self.evals[-1:])), default=0)

    def until(self, step: float) -> Run:
        """Return the run as it was after `step`: all later lines hidden."""
        train, evals = (tuple(x for x in lines if x["step"] <= step) for lines in (self.train, self.evals))
        return dataclasses.replace(self, train=train, evals=evals)


def read_run(folder: str | Path) -> Run:
    """Read `log.jsonl` of a run's folder.

    A run that is started again goes on from its last checkpoint and so repeats steps: what it logs then replaces
    everything that was logged from that step on.

    Raises:
        SileroLikeError: the folder holds no readable log.
    """
    path = Path(folder)
    try:
        text = (path / "log.jsonl").read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise SileroLikeError(
            f"{path}: no run: its log.jsonl cannot be read ({error.strerror}): name the output_dir of a training run"
        ) from error
    parsed = [_parse(line) for line in text.splitlines() if line.strip()]
    lines = _without_repeats([line for line in parsed if line is not None])
    train, evals = (tuple(x for x in lines if x["event"] == event) for event in ("train", "eval"))
    return Run(path=path, train=train, evals=evals, n_damaged=parsed.count(None))


def points(run: Run, metric: str) -> tuple[Array, Array]:
    """Return steps `(n,)` and values `(n,)` of a metric; lines without a value (null) are left out.

    Args:
        metric: `loss` of the training lines, or a path in the evaluation JSON: `micro.cer`, `domains.audiobook.wer`.

    Raises:
        SileroLikeError: no line of the run has this metric.
    """
    lines = run.train if metric == "loss" else run.evals
    found = [(line["step"], value) for line in lines if (value := lookup(line, metric)) is not None]
    if not found:
        known = ["loss", *metrics(run)]
        hint = f"expected one of {', '.join(known)}" if run.evals else "no evaluation was logged (loop.eval_every)"
        raise SileroLikeError(f"{run.path}: no {metric!r} in its log: {hint}")
    steps, values = np.array(found, np.float64).T
    return steps, values


def lookup(line: Line, metric: str) -> float | None:
    """Return a metric of a log line, None where it is absent or null; the name of a domain may hold dots."""
    section, _, rest = metric.partition(".")
    *names, rate = rest.rsplit(".", 1)
    found: Any = line.get(section)
    for key in (*names, *([rate] if rate else [])):
        found = found.get(key) if isinstance(found, dict) else None
    return float(found) if isinstance(found, (int, float)) else None


def metrics(run: Run) -> list[str]:
    """Name the character error rates that a run's evaluations hold: `micro.cer`, `macro.cer`, `domains.X.cer`."""
    domains = sorted({domain for line in run.evals for domain in line.get("domains", ())})
    return ["micro.cer", "macro.cer", *(f"domains.{domain}.cer" for domain in domains)] if run.evals else []


def on_axis(run: Run, steps: Array, axis: str) -> Array:
    """Translate steps `(n,)` into `hours` of audio seen or `minutes` of training; `step` leaves them."""
    if axis == "step" or not run.train:
        return steps
    key, factor = AXES[axis]
    known_steps = [0.0, *(line["step"] for line in run.train)]
    translated: Array = np.interp(steps, known_steps, [0.0, *(factor * line[key] for line in run.train)])
    return translated


def smooth(values: Array) -> Array:
    """Return the running mean `(n,)` of a dense series, over about a twentieth of it, narrower at the ends.

    >>> smooth(np.arange(60.0))[[0, 30, 59]]
    array([ 0., 30., 59.])
    """
    index, sums = np.arange(len(values)), np.concatenate([[0.0], np.cumsum(values)])
    half = np.minimum(len(values) // 40, np.minimum(index, index[::-1]))
    means: Array = (sums[index + half + 1] - sums[index - half]) / (2 * half + 1)
    return means


def read_recipe(run: Run) -> dict[str, Any] | None:
    """Return the run's recipe as dotted keys (`optimizer.peak_lr`), or None for a run without `recipe.yaml`.

    Raises:
        ConfigError: the file is not a mapping in YAML.
        MissingExtraError: PyYAML is absent.
    """
    path = run.path / "recipe.yaml"
    if not path.exists():
        return None
    try:
        import yaml
    except ModuleNotFoundError as error:
        raise MissingExtraError("reading recipe.yaml needs yaml: pip install 'silero_like[train]'") from error
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected a mapping of sections, got {type(values).__name__}")
    return flatten(values)


def budget(run: Run) -> int:
    """Return `optimizer.total_steps` of the run's recipe.

    Raises:
        SileroLikeError: there is none.
    """
    total = (read_recipe(run) or {}).get("optimizer.total_steps")
    if not isinstance(total, int):
        raise SileroLikeError(
            f"{run.path}: no optimizer.total_steps, because there is no recipe.yaml or it lacks it: give --total-steps"
        )
    return total


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as one, with dotted keys.

    >>> flatten({"seed": 1, "loop": {"batch_s": 60}})
    {'seed': 1, 'loop.batch_s': 60}
    """
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat.update(flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value})
    return flat


def _parse(text: str) -> Line | None:
    """Return a log line, or None if it is damaged."""
    try:
        line = json.loads(text)
    except json.JSONDecodeError:
        return None
    is_line = isinstance(line, dict) and isinstance(line.get("step"), int) and isinstance(line.get("event"), str)
    return line if is_line else None


def _without_repeats(lines: list[Line]) -> list[Line]:
    """Drop what was logged before a restart from a step on that came again after it."""
    kept: list[Line] = []
    for line in lines:
        if kept and line["step"] <= kept[-1]["step"]:
            same_step_may_stay = (x for x in kept if x["step"] == line["step"] and x["event"] != line["event"])
            kept = [*(x for x in kept if x["step"] < line["step"]), *same_step_may_stay]
        kept.append(line)
    return kept
