"""Forecast the end of a run from its beginning. Needs NumPy only, no torch.

The learning curve is followed over x, the share of the run's summed learning rate that is spent: with warm-up and a
cosine to zero it runs ahead of the steps (0.4 at a quarter of them) and stands still at the end, as learning does. Over
x the dev CER of our runs falls like x^-0.25 for most of the way; over steps its slope changes from 0.3 to 0.

Many curves are drawn (an ensemble of parametric ones, as in Domhan et al., IJCAI 2015, and Klein et al., ICLR 2017):

    y(x) = level * (floor + (1 - floor) * g(x) / g(x_n)) * (1 - drop * annealed(x)),   g = x^-k  or  exp(-k x)

x_n is the last point, `floor` the share of its value that training cannot remove, `drop` what a falling learning rate
gives beyond x (Tissue et al., 2024). Each curve is weighted by how well it meets the points, the level integrated out.
Power laws are what learning curves mostly follow (Hestness et al., 2017: CER falls with data to the power -0.3); the
exponential stands for those that end sooner.

No such curve is the truth. Its relative error is taken to walk at random with the logarithm of x: by `DISCREPANCY` in
an e-fold. This discounts early points and widens the band with the distance.

The dev CER is not computed from the training loss, dense though that is: on training speech seen ten times over the
loss goes on falling when dev stands (benchmarks/forecast.py shows by how much such a forecast errs).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from silero_like.errors import SileroLikeError
from train.curves import Array, Run, points

BAND = 0.9
"""How often the measured value shall lie in the band."""
MIN_EVALUATIONS = 2
"""A level and a slope."""
MAX_CER = 0.9
"""Above it nearly all output is blank: the curve has not begun."""
DISCREPANCY = 0.03
"""Relative error of the best curve over an e-fold of x."""
POWER_SHARE = 0.7
"""Share of power laws in the ensemble."""
POWER_K = (0.1, 2.0)
EXPONENTIAL_K = (2.5, 16.0)
NOISE = (0.003, 0.03)
"""Relative noise from one evaluation to the next; like k it is drawn uniformly in its logarithm."""
MAX_DROP = {"cer": 0.15, "loss": 0.4}
"""Largest further drop. Evaluation is of averaged weights, which have some of it in advance (Sandler et al., 2023)."""
N_DRAWS = 50_000
N_KEPT = 4_000
N_LOSS_BINS = 12
LOSS_SPAN = 8.0
"""The loss is followed from x_n / 8 on."""


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What a run's beginning says of its end. Rates are fractions."""

    metric: str
    at_step: int
    """Nothing after this step was looked at."""
    total_steps: int
    known_steps: list[float]
    known: list[float]
    """The points that were fitted, and their steps."""
    steps: list[float]
    """From the last point to the end, for the three curves."""
    expected: list[float]
    low: list[float]
    high: list[float]
    """Median and the ends of the 90 % band."""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """What a step means to learning, from the start to the end of the run."""

    steps: Array
    spent: Array
    """x: share of the whole run's summed learning rate, 0 to 1."""
    annealed: Array
    """How far the learning rate has come down from its highest value, 0 to 1."""

    def at(self, steps: Array) -> tuple[Array, Array]:
        """Return `spent` and `annealed` at some steps."""
        return np.interp(steps, self.steps, self.spent), np.interp(steps, self.steps, self.annealed)


def forecast_metric(
    run: Run, metric: str, *, total_steps: int, at_step: int, generator: np.random.Generator
) -> Forecast:
    """Forecast a metric at `total_steps` from what was logged up to `at_step`.

    Args:
        metric: `loss`, or a rate of the evaluations such as `micro.cer`.

    Raises:
        SileroLikeError: too few points, the learning rate has not reached its peak, or nothing is left to forecast.
    """
    known = run.until(at_step)
    if known.last_step >= total_steps:
        raise SileroLikeError(f"{run.path}: at step {known.last_step} of {total_steps} nothing is left to forecast")
    plan = schedule(known, total_steps)
    steps, values = _binned(*points(known, metric), plan) if metric == "loss" else _evaluations(known, metric, plan)
    grid = np.linspace(steps[-1], total_steps, 41)
    max_drop = MAX_DROP["loss" if metric == "loss" else "cer"]
    curves = extrapolate(*plan.at(steps), values, *plan.at(grid), max_drop=max_drop, generator=generator)
    low, expected, high = np.quantile(curves, [(1 - BAND) / 2, 0.5, (1 + BAND) / 2], axis=0)
    return Forecast(
        metric=metric,
        at_step=at_step,
        total_steps=total_steps,
        known_steps=steps.tolist(),
        known=values.tolist(),
        steps=grid.tolist(),
        expected=expected.tolist(),
        low=low.tolist(),
        high=high.tolist(),
    )


def measured(run: Run, metric: str, total_steps: int) -> float | None:
    """Return what a finished run ended with: its last evaluation, or its mean loss over the last fiftieth of the steps.

    None: the run, or its last evaluation, is not there yet.
    """
    if metric != "loss" and not run.evals:
        return None
    steps, values = points(run, metric)
    at_end = values[-1:] if metric != "loss" else values[steps > 0.98 * total_steps]
    return float(at_end.mean()) if steps[-1] >= total_steps else None


def schedule(run: Run, total_steps: int) -> Schedule:
    """Return the schedule: the learning rate as logged, then the train loop's cosine to zero at `total_steps`.

    Raises:
        SileroLikeError: nothing is logged, or the learning rate is still rising.
    """
    if not run.train:
        raise SileroLikeError(f"{run.path}: no training step is logged yet: wait")
    steps, lr = np.array([(line["step"], line["lr"]) for line in run.train], np.float64).T
    peak = int(np.argmax(lr))
    if peak == len(lr) - 1:
        raise SileroLikeError(
            f"{run.path}: still in warm-up at step {steps[-1]:.0f}: wait until the learning rate is past its peak"
        )
    future = np.linspace(steps[-1], total_steps, 501)
    cosine = 1 + np.cos(np.pi * np.clip((future - steps[peak]) / (total_steps - steps[peak]), 0, 1))
    steps = np.concatenate([[0], steps, future[1:]])
    lr = np.concatenate([[0], lr, lr[-1] * cosine[1:] / cosine[0]])
    spent = np.concatenate([[0], np.cumsum(np.diff(steps) * (lr[1:] + lr[:-1]) / 2)])
    annealed = np.where(np.arange(len(lr)) <= peak, 0, 1 - lr / lr.max())
    return Schedule(steps=steps, spent=spent / spent[-1], annealed=annealed)


def extrapolate(
    x: Array,
    annealed: Array,
    values: Array,
    x_new: Array,
    annealed_new: Array,
    *,
    max_drop: float,
    generator: np.random.Generator,
) -> Array:
    """Draw continuations of a falling curve, as the module's docstring describes.

    Args:
        x, annealed, values: `(n,)` of the known points, x rising and above 0, values above 0.
        x_new, annealed_new: `(m,)`, from the last known x on.

    Returns:
        float64 `(N_KEPT, m)`, values at `x_new`.
    """
    shape = _Shapes(max_drop, generator)
    noise = _log_uniform(NOISE, N_DRAWS, generator)[:, None]
    residual = np.log(values) - shape(x, annealed, x[-1])
    weight = 1 / (noise**2 + DISCREPANCY**2 * np.log(x[-1] / x))
    total = weight.sum(axis=1)
    level = (weight * residual).sum(axis=1) / total
    misfit = (weight * (residual - level[:, None]) ** 2).sum(axis=1)
    log_likelihood = (np.log(weight).sum(axis=1) - np.log(total) - misfit) / 2
    probability = np.exp(log_likelihood - log_likelihood.max())
    level += generator.standard_normal(N_DRAWS) / np.sqrt(total)
    kept = generator.choice(N_DRAWS, N_KEPT, p=probability / probability.sum())
    error = DISCREPANCY * np.sqrt(np.log(x_new / x[-1])) * generator.standard_normal((N_KEPT, 1))
    curves: Array = np.exp(level[kept, None] + shape(x_new, annealed_new, x[-1])[kept] + error)
    return curves


class _Shapes:
    """N_DRAWS curves drawn from what is thought possible before any point is seen; all pass 1 at the last point."""

    def __init__(self, max_drop: float, generator: np.random.Generator) -> None:
        self.is_power = generator.random((N_DRAWS, 1)) < POWER_SHARE
        power, exponential = (_log_uniform(ends, N_DRAWS, generator)[:, None] for ends in (POWER_K, EXPONENTIAL_K))
        self.k = np.where(self.is_power, power, exponential)
        self.floor = generator.random((N_DRAWS, 1))
        self.drop = generator.uniform(0, max_drop, (N_DRAWS, 1))

    def __call__(self, x: Array, annealed: Array, x_last: float) -> Array:
        """Return the logarithm of every curve, `(N_DRAWS, len(x))`."""
        decay = np.exp(-self.k * np.where(self.is_power, np.log(x / x_last), x - x_last))
        logarithm: Array = np.log(self.floor + (1 - self.floor) * decay) + np.log(1 - self.drop * annealed)
        return logarithm


def _evaluations(run: Run, metric: str, plan: Schedule) -> tuple[Array, Array]:
    """Return the evaluations that a curve can be fitted to."""
    steps, values = points(run, metric) if run.evals else (np.empty(0), np.empty(0))
    usable = (values > 0) & (values < MAX_CER) & (plan.at(steps)[0] > 0)  # a fine-tuning run is measured at step 0 too
    if usable.sum() < MIN_EVALUATIONS:
        total = int(plan.steps[-1])
        raise SileroLikeError(
            f"{run.path}: needs at least {MIN_EVALUATIONS} evaluations with {metric} below {MAX_CER:g}, found "
            f"{usable.sum()} (of {len(values)}) up to step {run.last_step}, {run.last_step / total:.0%} of {total}: "
            f"wait, or set loop.eval_every={max(1, total // 20)} in the next run"
        )
    return steps[usable], values[usable]


def _binned(steps: Array, losses: Array, plan: Schedule) -> tuple[Array, Array]:
    """Average the loss within `N_LOSS_BINS` bins of equal width in log x."""
    x = plan.at(steps)[0]
    span = np.log(LOSS_SPAN * x / x[-1]) / np.log(LOSS_SPAN)
    bins = np.minimum((N_LOSS_BINS * span).astype(int), N_LOSS_BINS - 1)
    groups = [(span >= 0) & (bins == number) for number in np.unique(bins[span >= 0])]
    return np.array([steps[group].mean() for group in groups]), np.array([losses[group].mean() for group in groups])


def _log_uniform(ends: tuple[float, float], size: int, generator: np.random.Generator) -> Array:
    low, high = np.log(ends)
    drawn: Array = np.exp(generator.uniform(low, high, size))
    return drawn
