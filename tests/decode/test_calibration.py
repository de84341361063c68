"""A calibration that is known is found again, and the table is counted by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decode.calibration import Bin, Calibration, calibrated, calibration_error, fit_calibration, reliability


@pytest.mark.parametrize(("temperature", "offset"), [(0.5, 0.0), (1.0, 0.0), (2.0, 0.0), (1.0, -1.0), (1.5, 0.5)])
def test_a_calibration_is_found_again_and_lowers_the_error(temperature: float, offset: float) -> None:
    generator = np.random.default_rng(1)
    chances = generator.uniform(0.02, 0.98, 20_000)
    is_right = (generator.random(20_000) < chances).tolist()
    off = Calibration(1 / temperature, -offset * temperature)  # what a model would say that is off by it
    shown = [calibrated(chance, off) for chance in chances.tolist()]
    found = fit_calibration(shown, is_right)
    assert found.temperature == pytest.approx(temperature, rel=0.05)
    assert found.offset == pytest.approx(offset, abs=0.05)
    errors = [
        calibration_error(reliability([calibrated(chance, each) for chance in shown], is_right))
        for each in (Calibration(), found)
    ]
    assert errors[1] < 0.01 and ((temperature, offset) == (1, 0) or errors[0] > 0.05)


def test_bins_by_hand() -> None:
    bins = reliability([0.05, 0.62, 0.68, 1.0], [False, True, False, True])
    assert [(each.low, each.high, each.n_words) for each in bins] == [(0, 0.1, 1), (0.6, 0.7, 2), (0.9, 1, 1)]
    assert bins[1] == Bin(0.6, 0.7, 2, pytest.approx(0.65), 0.5)
    assert calibration_error(bins) == pytest.approx((0.05 + 2 * 0.15 + 0) / 4)


def test_no_words_and_words_that_are_all_right() -> None:
    assert fit_calibration([], []) == Calibration()
    assert reliability([], []) == [] and calibration_error([]) == 0.0
    for shown, is_right in (([1.0, 0.9], [True, True]), ([1.0, 0.0], [False, True]), ([0.0] * 99, [True] * 99)):
        found = fit_calibration(shown, is_right)
        assert 0.1 <= found.temperature <= 10 and abs(found.offset) < 20
    assert fit_calibration([0.6] * 99, [True] * 99).offset > 1


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0.1, 10), st.floats(-20, 20))
def test_it_keeps_order_and_range(low: float, high: float, temperature: float, offset: float) -> None:
    low, high = sorted((low, high))
    calibration = Calibration(temperature, offset)
    assert 0 <= calibrated(low, calibration) <= calibrated(high, calibration) + 1e-12 <= 1 + 2e-12
    assert calibrated(0.5, Calibration(temperature)) == 0.5
