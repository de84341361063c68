"""`data.scores`: texts compared as characters, in three languages; what a model hears is tested with the commands."""

from __future__ import annotations

import pytest

from data.scores import TextDistance
from data.text import get_normalizer


@pytest.mark.parametrize(
    ("lang", "a", "b", "words", "disagreement", "cer"),
    [
        ("en", "It's 2 cats!", "it's two cat", ["it's", "two", "cats"], 1 / 13, 1 / 13),
        ("ru", "Ёлка, чай", "елка чаи пить", ["елка", "чай"], 6 / 13, 6 / 8),
        ("zh", "我用Python，你呢？", "我用 python 你", ["我", "用", "python", "你", "呢"], 1 / 10, 1 / 10),
        ("en", "...", "a", [], 1.0, 1.0),
        ("en", "...", "", [], 0.0, 0.0),
    ],
)
def test_texts_are_compared_as_they_are_scored(
    lang: str, a: str, b: str, words: list[str], disagreement: float, cer: float
) -> None:
    distance = TextDistance(get_normalizer(lang))
    assert distance.words(a) == words
    assert distance.disagreement(a, b) == distance.disagreement(b, a) == pytest.approx(disagreement)
    assert distance.cer(a, b) == pytest.approx(cer)
