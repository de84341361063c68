"""The forecast on made-up runs whose end is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from silero_like.errors import SileroLikeError
from train import forecast
from train.curves import Array, Run
from train.forecast import Forecast, forecast_metric, measured

TOTAL, WARMUP = 20_000, 1000
Curve = Callable[[Array, Array], Array]
"""x, the share of the summed learning rate, and how far it is annealed -> value."""


def learning_rate(steps: Array) -> Array:
    cosine = (1 + np.cos(np.pi * np.clip((steps - WARMUP) / (TOTAL - WARMUP), 0, 1))) / 2
    return np.where(steps < WARMUP, steps / WARMUP, cosine)


def spent(steps: Array) -> Array:
    """Integral of the learning rate, worked out by hand, as a share of the whole."""
    past = (steps - WARMUP) / (TOTAL - WARMUP)
    cosine = (TOTAL - WARMUP) / 2 * (past + np.sin(np.pi * past) / np.pi)
    area = np.where(steps < WARMUP, steps**2 / (2 * WARMUP), WARMUP / 2 + cosine)
    share: Array = area / (WARMUP / 2 + (TOTAL - WARMUP) / 2)
    return share


def make_run(
    cer: Curve, *, eval_every: int = 1000, noise: float = 0.0, seed: int = 0, loss: Curve | None = None
) -> Run:
    """Make up the log of a finished run; noise is relative, that of the loss 2 %."""
    generator = np.random.default_rng(seed)
    steps, eval_steps = np.arange(50.0, TOTAL + 1, 50), np.arange(float(eval_every), TOTAL + 1, eval_every)
    losses = (loss or cer)(spent(steps), 1 - learning_rate(steps)) * np.exp(generator.normal(0, 0.02, len(steps)))
    cers = cer(spent(eval_steps), 1 - learning_rate(eval_steps)) * np.exp(generator.normal(0, noise, len(eval_steps)))
    train: list[dict[str, Any]] = [
        {"event": "train", "step": int(step), "lr": float(lr), "loss": float(value)}
        for step, lr, value in zip(steps, 2e-3 * learning_rate(steps), losses, strict=True)
    ]
    evals: list[dict[str, Any]] = [
        {"event": "eval", "step": int(step), "micro": {"cer": float(value)}, "domains": {}}
        for step, value in zip(eval_steps, cers, strict=True)
    ]
    return Run(path=Path("made-up"), train=tuple(train), evals=tuple(evals))


def power(floor: float, k: float, drop: float = 0.0, start: float = 0.015) -> Curve:
    """A power law down to a floor that leaves 100 % at `start`, as in our runs, and a drop with the learning rate."""
    return lambda x, annealed: np.minimum(1, floor + (1 - floor) * (x / start) ** -k) * (1 - drop * annealed)


def run_forecast(run: Run, at: float = 0.25, metric: str = "micro.cer", seed: int = 0) -> Forecast:
    generator = np.random.default_rng(seed)
    return forecast_metric(run, metric, total_steps=TOTAL, at_step=round(at * TOTAL), generator=generator)


def is_inside(item: Forecast, value: float) -> bool:
    return item.low[-1] <= value <= item.high[-1]


def test_the_schedule_is_the_train_loops() -> None:
    run = make_run(power(0.1, 0.3))
    steps = np.array([500.0, 1000, 5000, 12_000, 20_000])
    for known in (run.until(19_950), run.until(5000)):  # the cosine's rest follows from its beginning
        x, annealed = forecast.schedule(known, TOTAL).at(steps)
        assert x == pytest.approx(spent(steps), abs=1e-4)  # the integral by trapezes of 50 steps
        assert annealed == pytest.approx(np.where(steps < WARMUP, 0, 1 - learning_rate(steps)), abs=1e-6)


def test_a_quarter_of_the_steps_spends_two_fifths_of_the_learning_rate() -> None:
    assert spent(np.array([TOTAL / 4]))[0] == pytest.approx(0.44, abs=0.005)


@pytest.mark.parametrize("at", [0.2, 0.25])
@pytest.mark.parametrize(
    "curve",
    [power(0.0, 0.26), power(0.1, 0.35), power(0.2, 0.5), power(0.1, 0.3, drop=0.05), power(0.05, 0.8, start=0.05)],
    ids=["as ours", "floor", "high floor", "cosine drop", "steep"],
)
def test_a_known_end_is_recovered(curve: Curve, at: float) -> None:
    end = float(curve(np.ones(1), np.ones(1))[0])
    items = [run_forecast(make_run(curve, noise=0.01, seed=seed), at, seed=seed) for seed in range(16)]
    assert sum(is_inside(item, end) for item in items) >= 12  # fewer than 12 of 16: by chance 2 %
    assert np.mean([item.expected[-1] for item in items]) == pytest.approx(end, rel=0.12)  # four or five points
    assert np.mean([item.high[-1] - item.low[-1] for item in items]) < 0.75 * end  # a band that says something


def test_the_loss_is_recovered() -> None:
    curve: Curve = lambda x, annealed: (1 + 1.2 * x**-0.4) * (1 - 0.1 * annealed)  # noqa: E731
    item = run_forecast(make_run(power(0.1, 0.3), loss=curve), metric="loss")
    assert is_inside(item, float(curve(np.ones(1), np.ones(1))[0]))
    assert 8 <= len(item.known) <= forecast.N_LOSS_BINS


def test_the_loss_is_averaged_in_bins() -> None:
    run = make_run(power(0.1, 0.3), loss=lambda x, annealed: np.full(len(x), 2.0))
    item = run_forecast(run, metric="loss")
    assert item.known == pytest.approx([2.0] * len(item.known), rel=0.02)  # 2 % noise, 5 lines or more
    assert np.all(np.diff(item.known_steps) > 0)
    assert item.known_steps[-1] < 5000


def drawn_from_the_ensemble(generator: np.random.Generator, x: Array) -> tuple[Array, float]:
    """Draw a curve as the forecast thinks of curves, with its random walk and noise: values at x, and the end."""
    k, floor = np.exp(generator.uniform(*np.log(forecast.POWER_K))), generator.random()
    if generator.random() < forecast.POWER_SHARE:
        decay = np.append(x, 1) ** -k
    else:
        decay = np.exp(-np.exp(generator.uniform(*np.log(forecast.EXPONENTIAL_K))) * np.append(x, 1))
    walk = np.cumsum(generator.normal(0, forecast.DISCREPANCY * np.sqrt(np.diff(np.log(np.append(x, 1))))))
    values = (floor + (1 - floor) * decay / decay[-2]) * np.exp(np.concatenate([[0], walk]))
    noise = np.exp(generator.uniform(*np.log(forecast.NOISE)))
    return values[:-1] * np.exp(generator.normal(0, noise, len(x))), float(values[-1])


def weibull(generator: np.random.Generator, x: Array) -> tuple[Array, float]:
    """A stretched exponential: no member of the ensemble."""
    floor, scale, shape = generator.uniform(0.1, 0.3), generator.uniform(0.1, 0.3), generator.uniform(0.4, 0.8)
    values = floor + (1 - floor) * np.exp(-((np.append(x, 1) / scale) ** shape))
    return values[:-1] * np.exp(generator.normal(0, 0.01, len(x))), float(values[-1])


@pytest.mark.parametrize(("draw", "lowest"), [(drawn_from_the_ensemble, 0.84), (weibull, 0.84)])
def test_the_band_covers_as_often_as_it_says(
    draw: Callable[[np.random.Generator, Array], tuple[Array, float]], lowest: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forecast, "N_DRAWS", 10_000)  # enough for three points, and five times faster
    generator, x = np.random.default_rng(1), spent(np.array([2000.0, 3500, 5000]))
    n_inside, n_curves = 0, 200
    for _ in range(n_curves):
        values, end = draw(generator, x)
        at_end = (np.ones(1), np.zeros(1))
        curves = forecast.extrapolate(x, 0 * x, values, *at_end, max_drop=0.0, generator=generator)
        low, high = np.quantile(curves[:, -1], [0.05, 0.95])
        n_inside += low <= end <= high
    assert n_inside / n_curves >= lowest  # 0.9 less three standard deviations of 0.021
    assert n_inside / n_curves <= 0.97 or draw is weibull  # nor wider than it need be


def test_more_evaluations_narrow_the_band() -> None:
    widths = []
    for eval_every in (2500, 1000, 500):
        item = run_forecast(make_run(power(0.1, 0.35), eval_every=eval_every))
        widths.append(item.high[-1] - item.low[-1])
    assert widths[0] > widths[1] > widths[2]


def test_the_scale_does_not_matter() -> None:
    one, half = (run_forecast(make_run(lambda x, _, s=scale: s * x**-0.3 / 4)) for scale in (1.0, 0.5))  # type: ignore[misc]
    assert half.expected == pytest.approx(0.5 * np.array(one.expected))


def test_the_forecast_does_not_see_the_future() -> None:
    run = make_run(power(0.1, 0.35), noise=0.01)
    assert run_forecast(run) == run_forecast(run.until(5000))


def test_the_band_opens_from_the_last_point_on() -> None:
    item = run_forecast(make_run(power(0.1, 0.35)))
    widths = np.log(item.high) - np.log(item.low)
    assert item.steps[0] == item.known_steps[-1] == 5000
    assert item.steps[-1] == TOTAL
    assert item.expected[0] == pytest.approx(item.known[-1], rel=0.01)
    assert widths[0] < widths[10] < widths[-1]


def test_the_outcome_of_a_finished_run() -> None:
    run = make_run(power(0.1, 0.35), loss=lambda x, annealed: np.full(len(x), 2.0))
    assert measured(run, "micro.cer", TOTAL) == run.evals[-1]["micro"]["cer"]
    assert measured(run, "loss", TOTAL) == pytest.approx(2, rel=0.02)  # the mean of 8 lines with 2 % noise
    assert measured(run.until(19_999), "micro.cer", TOTAL) is None
    assert measured(run.until(500), "micro.cer", TOTAL) is None


def test_too_few_evaluations() -> None:
    run = make_run(power(0.1, 0.35), eval_every=4000)
    with pytest.raises(SileroLikeError, match=r"at least 2 evaluations .* found 1 \(of 1\) .*loop.eval_every=1000"):
        run_forecast(run)
    with pytest.raises(SileroLikeError, match=r"found 0 \(of 0\)"):
        run_forecast(run, at=0.1)


def test_a_run_that_predicts_blanks_is_not_extrapolated() -> None:
    with pytest.raises(SileroLikeError, match=r"micro.cer below 0.9, found 0 \(of 5\)"):
        run_forecast(make_run(lambda x, _: np.ones(len(x))))


def test_evaluations_at_step_0_and_of_blanks_are_left_out() -> None:
    run = make_run(power(0.1, 0.35))
    first = {"event": "eval", "step": 0, "micro": {"cer": 0.5}, "domains": {}}
    blank = {"event": "eval", "step": 400, "micro": {"cer": 0.99}, "domains": {}}
    more = Run(path=run.path, train=run.train, evals=(first, blank, *run.evals))
    assert run_forecast(more) == run_forecast(run)


@pytest.mark.parametrize(("at", "message"), [(0.04, "still in warm-up at step 800"), (0.001, "no training step")])
def test_too_young(at: float, message: str) -> None:
    with pytest.raises(SileroLikeError, match=message):
        run_forecast(make_run(power(0.1, 0.35), eval_every=100), at=at)


def test_nothing_left_to_forecast() -> None:
    with pytest.raises(SileroLikeError, match="at step 20000 of 20000 nothing is left"):
        run_forecast(make_run(power(0.1, 0.35)), at=1.0)
