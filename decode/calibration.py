"""Whether confidences can be believed: of the words with a confidence of 0.8, 80 % should be right.

A network is too sure, or not sure enough, by much the same degree everywhere, and a language model makes words right
that it was not sure of. Two numbers, fitted on development speech, take that back and leave the order of the words as
it is: what the log-odds are divided by, and what is added then (Platt, "Probabilistic outputs for support vector
machines", 1999).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp

import numpy as np

N_BINS = 10
MARGIN = 1e-6  # from 0 and 1: nobody is as sure as that
N_STEPS = 30  # of Newton's method, which needs fewer
RIDGE = 1.0  # pulls towards no calibration, as strongly as a few words
TEMPERATURES = (0.1, 10.0)  # the lowest and the highest


@dataclass(frozen=True)
class Calibration:
    """How confidences are to be changed; by default not at all."""

    temperature: float = 1.0
    """What their log-odds are divided by."""
    offset: float = 0.0
    """What is added to that."""


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


def calibrated(confidence: float, calibration: Calibration) -> float:
    """Return the confidence, in [0, 1], with its log-odds changed.

    >>> round(calibrated(0.9, Calibration(2.0)), 9), calibrated(0.9, Calibration()), calibrated(1.0, Calibration(2.0))
    (0.75, 0.9, 1.0)
    >>> round(calibrated(0.5, Calibration(offset=np.log(3))), 9)
    0.75
    """
    power, odds = 1 / calibration.temperature, exp(calibration.offset)
    right, wrong = odds * pow(confidence, power), pow(1 - confidence, power)
    return float(right / (right + wrong))


def fit_calibration(confidences: Sequence[float], is_right: Sequence[bool]) -> Calibration:
    """Return the calibration under which what happened is most probable; none without words."""
    if not confidences:
        return Calibration()
    clipped = np.clip(confidences, MARGIN, 1 - MARGIN)
    inputs = np.stack([np.log(clipped / (1 - clipped)), np.ones(len(clipped))], axis=1)
    nothing = np.array([1.0, 0.0])
    weights = nothing
    for _ in range(N_STEPS):
        chances = np.exp(-np.logaddexp(0.0, -inputs @ weights))
        gradient = inputs.T @ (np.asarray(is_right) - chances) - RIDGE * (weights - nothing)
        curvature = (inputs.T * (chances * (1 - chances))) @ inputs + RIDGE * np.eye(2)
        weights = weights + np.linalg.solve(curvature, gradient)
    temperature = np.clip(1 / max(float(weights[0]), MARGIN), *TEMPERATURES)
    return Calibration(round(float(temperature), 3), round(float(weights[1]), 3))


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
