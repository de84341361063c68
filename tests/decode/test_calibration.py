"""A temperature that is known is found again, and the table is counted by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decode.calibration import Bin, calibration_error, fit_temperature, reliability, scaled


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_a_temperature_is_found_again_and_lowers_the_error(temperature: float) -> None:
    generator = np.random.default_rng(1)
    chances = generator.uniform(0.02, 0.98, 20_000)
    is_right = (generator.random(20_000) < chances).tolist()
    shown = [scaled(chance, 1 / temperature) for chance in chances.tolist()]  # what a model would say that is off by it
    found = fit_temperature(shown, is_right)
    assert found == pytest.approx(temperature, rel=0.05)
    errors = [calibration_error(reliability(values, is_right)) for values in (shown, [scaled(c, found) for c in shown])]
    assert errors[1] < 0.01 and (temperature == 1.0 or errors[0] > 0.05)


def test_bins_by_hand() -> None:
    bins = reliability([0.05, 0.62, 0.68, 1.0], [False, True, False, True])
    assert [(each.low, each.high, each.n_words) for each in bins] == [(0, 0.1, 1), (0.6, 0.7, 2), (0.9, 1, 1)]
    assert bins[1] == Bin(0.6, 0.7, 2, pytest.approx(0.65), 0.5)
    assert calibration_error(bins) == pytest.approx((0.05 + 2 * 0.15 + 0) / 4)


def test_no_words_and_words_that_are_all_right() -> None:
    assert fit_temperature([], []) == 1.0
    assert reliability([], []) == [] and calibration_error([]) == 0.0
    assert fit_temperature([1.0, 0.9], [True, True]) == 0.1  # the lowest that is tried
    assert 0 < fit_temperature([1.0, 0.0], [False, True]) <= 10.0


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0.1, 10))
def test_scaling_keeps_order_and_range(low: float, high: float, temperature: float) -> None:
    low, high = sorted((low, high))
    assert 0 <= scaled(low, temperature) <= scaled(high, temperature) + 1e-12 <= 1 + 2e-12
    assert scaled(0.5, temperature) == 0.5
