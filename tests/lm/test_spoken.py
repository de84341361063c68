from __future__ import annotations

import re

import numpy as np

from data.text import normalize_en
from lm.spoken import spoken_lines


def lines(seed: int, words: list[str] | None = None, n_lines: int = 2000) -> list[str]:
    return list(spoken_lines(n_lines, words or [], np.random.default_rng(seed)))


def test_lines_are_words_once_normalised_and_depend_on_the_seed_alone() -> None:
    found = lines(0)
    assert len(found) == 2000
    assert all(re.fullmatch("[a-z']+( [a-z']+)*", normalize_en(line)) for line in found)
    assert found == lines(0) != lines(1)


def test_every_digit_and_letter_is_said() -> None:
    said = {word for line in lines(0) for word in normalize_en(line).split()}
    assert set("abcdefghijklmnopqrstuvwxyz") <= said
    assert {"zero", "oh", "one", "nine", "double", "hundred", "thousand", "o'clock", "dollars", "percent"} <= said


def test_words_are_spelled() -> None:
    found = lines(0, ["o'neil", "x", "averyveryverylongword"])
    assert "o n e i l" in found
    assert not any("a v e r y v e" in line for line in found)
