"""Whether confidences can be believed: of the words with a confidence of 0.8, 80 % should be right.

A network is too sure, or not sure enough, by much the same degree everywhere; one temperature, fitted on development
speech, takes that back and leaves the order of the words as it is (Guo et al., "On calibration of modern neural
networks", ICML 2017).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

N_BINS = 10
TEMPERATURES = np.geomspace(0.1, 10.0, 461)  # in steps of 1 %
MARGIN = 1e-6  # from 0 and 1: nobody is as sure as that


@dataclass(frozen=True)
class Bin:
    """The words whose confidence lies from `low` to `high`."""

    low: float
    high: float
    n_words: int
    confidence: float
    """Their mean confidence."""
    accuracy: float
    """Share of them that is right."""


def scaled(confidence: float, temperature: float) -> float:
    """Return the confidence, in [0, 1], with its log-odds divided by a temperature.

    >>> round(scaled(0.9, 2.0), 9), scaled(0.9, 1.0), scaled(1.0, 2.0)
    (0.75, 0.9, 1.0)
    """
    right, wrong = pow(confidence, 1 / temperature), pow(1 - confidence, 1 / temperature)
    return float(right / (right + wrong))


def fit_temperature(confidences: Sequence[float], is_right: Sequence[bool]) -> float:
    """Return the temperature under which what happened is most probable; 1 without words."""
    if not confidences:
        return 1.0
    clipped = np.clip(confidences, MARGIN, 1 - MARGIN)
    log_odds = np.log(clipped / (1 - clipped)) * np.where(is_right, 1.0, -1.0)
    losses = [np.logaddexp(0.0, -log_odds / temperature).sum() for temperature in TEMPERATURES]
    return float(TEMPERATURES[int(np.argmin(losses))].round(3))


def reliability(confidences: Sequence[float], is_right: Sequence[bool]) -> list[Bin]:
    """Sort words by confidence into ten bins of equal width; empty ones are left out."""
    values, right = np.asarray(confidences, np.float64), np.asarray(is_right, np.bool_)
    places = np.minimum((values * N_BINS).astype(np.int64), N_BINS - 1)
    bins = []
    for place in range(N_BINS):
        inside = places == place
        if inside.any():
            means = float(values[inside].mean()), float(right[inside].mean())
            bins.append(Bin(place / N_BINS, (place + 1) / N_BINS, int(inside.sum()), *means))
    return bins


def calibration_error(bins: Sequence[Bin]) -> float:
    """Return the expected calibration error: the mean distance of confidence and accuracy, weighted by words.

    >>> calibration_error([Bin(0.8, 0.9, 30, 0.85, 0.75), Bin(0.9, 1.0, 10, 0.95, 0.95)])
    0.075
    """
    n_words = sum(each.n_words for each in bins)
    return round(sum(each.n_words * abs(each.confidence - each.accuracy) for each in bins) / max(1, n_words), 6)
