"""Hotwords: what a finished text gets is counted by hand; what is given on the way is taken back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decode.beam import beam_decode
from decode.config import BeamConfig
from decode.hotwords import HotwordScorer, read_hotwords
from decode.lm import WordScorer, make_lexicon
from decode.scorer import Scorer
from decode.transitions import Ints
from decode.words import split_words

PIECES = ("▁new", "▁york", "▁", "n", "e", "w", "▁ne", "明天", "▁y", "ork", "见")
HOTWORDS = {"new": 1.0, "new york": 5.0, "york": -2.0, "new new": 4.0, "明天见": 3.0, "news": 6.0}
LETTERS = ("s",)


def gains(scorer: HotwordScorer, token_ids: list[int]) -> list[float]:
    """Return what each token adds, and what the end adds."""
    state, found = np.array([scorer.start()]), []
    for token_id in token_ids:
        tokens: Ints = np.array([token_id])
        found.append(float(scorer.gains(state, tokens)[0]))
        state = scorer.advance(state, tokens)
    return [*found, float(scorer.ends(state)[0])]


def count(text: str) -> float:
    """Add the weights of all phrases at all words of a text."""
    words = split_words(text.replace("▁", " "))
    total = 0.0
    for phrase, weight in HOTWORDS.items():
        parts = split_words(phrase)
        total += weight * sum(words[i : i + len(parts)] == parts for i in range(len(words)))
    return total


@given(st.lists(st.integers(0, len(PIECES)), max_size=12))
@settings(max_examples=300, deadline=None)
def test_a_finished_text_gets_the_weights_of_its_phrases(token_ids: list[int]) -> None:
    pieces = PIECES + LETTERS
    text = "".join(pieces[i] for i in token_ids)
    assert sum(gains(HotwordScorer(HOTWORDS, pieces), token_ids)) == pytest.approx(count(text))


def test_a_phrase_is_paid_by_letters_and_taken_back() -> None:
    # 8 letters, the space between included; the first earns nothing, after "new" two are there, "n" breaks it.
    scorer = HotwordScorer({"new york": 7.0}, PIECES)
    assert gains(scorer, [0, 8, 3]) == pytest.approx([2.0, 2.0, -4.0, 0.0])
    assert gains(scorer, [0, 1]) == pytest.approx([2.0, 5.0, 0.0])
    assert gains(scorer, [0, 1, 3]) == pytest.approx([2.0, 5.0, -7.0, 0.0])  # "new yorkn" is another word
    assert gains(HotwordScorer({"n": 3.0}, PIECES), [2, 3]) == pytest.approx([0.0, 3.0, 0.0])


def test_a_hotword_acts_and_words_outside_the_model_work() -> None:
    class Unigrams:
        def begin(self) -> int:
            return 0

        def empty(self) -> int:
            return 0

        def score(self, state: object, word: str) -> tuple[float, int]:
            return (-1.0 if word in ("one", "</s>") else -9.0), 0

    pieces = ("▁one", "▁sil", "ero")
    log_probs = np.log([[0.6, 0.3, 0.05, 0.05], [0.1, 0.1, 0.5, 0.3]])
    config = BeamConfig()

    def best(hotwords: dict[str, float]) -> str:
        lexicon = make_lexicon(Unigrams(), ["one"], extra=" ".join(hotwords).split())
        scorers: list[Scorer] = [WordScorer(Unigrams(), lexicon, pieces, config), HotwordScorer(hotwords, pieces)]
        return "".join(pieces[i] for i in beam_decode(log_probs, 3, config, scorers)[0].token_ids)

    assert best({}) == "▁one"
    assert best({"silero": 10.0}) == "▁silero"
    assert best({"silero": 10.0, "one": 20.0}) == "▁one"
    assert best({"one": -20.0}) != "▁one"


@given(st.text("ab\t\r\n \ufeff-1.5e9né\0", max_size=40), st.lists(st.integers(0, len(PIECES) - 1), max_size=8))
@settings(max_examples=200, deadline=None)
def test_whatever_the_file_holds_it_is_read_or_refused(text: str, token_ids: list[int]) -> None:
    pieces = (*PIECES, "a", "b")
    try:
        hotwords = read_hotwords(text.split("\n"))
        scorer = HotwordScorer(hotwords, pieces)
    except ValueError as error:
        assert "expected" in str(error) or "no token with" in str(error)  # noqa: PT017
        return
    assert all(phrase == " ".join(phrase.split()) for phrase in hotwords)
    assert np.isfinite(gains(scorer, token_ids)).all()


def test_ten_thousand_lines_with_duplicates_and_empty_lines() -> None:
    lines = [line for i in range(5000) for line in (f"word{i % 2500} york\t{i}e-3\r\n", " \n")]
    hotwords = read_hotwords(lines)
    assert len(hotwords) == 2500
    assert hotwords["word7 york"] == 2.507  # the last one counts
    pieces = (*PIECES, *"abcdrok0123456789")
    assert sum(gains(HotwordScorer(hotwords, pieces), [])) == 0.0


def test_the_lines_of_a_file() -> None:
    lines = ["\ufeffone", "two\t3", "", "\t", "new  york \t-1.5", "one\t1e2"]
    assert read_hotwords(lines, default_weight=7.0) == {"one": 100.0, "two": 3.0, "new york": -1.5}
    assert read_hotwords([]) == {}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("one\tmany", "line 2: expected a number as weight, got 'many'"),
        ("one\tnan", r"line 2: expected a weight within \+-1000, got nan"),
        ("one\t1e9", r"line 2: expected a weight within \+-1000, got 1e9"),
        ("\t3", r"line 2: expected a phrase, and perhaps a tab and a weight, found '3'"),
        ("one\t2\t3", "line 2: expected a phrase"),
    ],
)
def test_wrong_lines_are_refused(line: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_hotwords(["fine", line])


@pytest.mark.parametrize(
    ("hotwords", "message"),
    [
        ({"New York": 1.0}, "hotword 'New York': the model has no token with 'N', 'Y': write it as"),
        ({" ": 1.0}, "expected a hotword with letters, got ' '"),
        ({"new": float("inf")}, r"hotword 'new': expected a weight within \+-1000, got inf"),
    ],
)
def test_wrong_hotwords_are_refused(hotwords: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HotwordScorer(hotwords, PIECES)
