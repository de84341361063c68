"""`data.pseudo`: labels and filters worked by hand, in three languages."""

from __future__ import annotations

from pathlib import Path

import pytest

from data.manifest import Utterance
from data.pseudo import Filters, Label, kept_cer, kept_hours, make_label, select
from data.pseudo_report import make_report
from data.scores import Heard, TextDistance
from data.text import get_normalizer

ENGLISH = TextDistance(get_normalizer("en"))


def utterance(number: int = 0, text: str = "", duration_s: float = 1800.0, speaker: str = "") -> Utterance:
    return Utterance(audio_path=Path(f"/{number}.wav"), duration_s=duration_s, text=text, speaker=speaker)


def labels(*rows: tuple[str, float, float], speaker: str = "") -> list[Label]:
    """Labels of text, confidence and disagreement."""
    return [
        Label(
            utterance=make_label(
                utterance(number, speaker=speaker), [Heard(text=text, confidence=sure)], ENGLISH
            ).utterance,
            confidence=sure,
            disagreement=far,
        )
        for number, (text, sure, far) in enumerate(rows)
    ]


def test_the_first_teachers_text_is_the_label() -> None:
    heard = [Heard(text="Four cats."), Heard(text="for cats", confidence=0.9, greedy="for cat")]
    label = make_label(utterance(text="unknown"), heard, ENGLISH)
    assert (label.utterance.text, label.utterance.annotation, label.utterance.quality) == ("Four cats.", "pseudo", 0.9)
    assert (label.confidence, label.disagreement) == (0.9, pytest.approx(1 / 9))


@pytest.mark.parametrize(
    ("lang", "texts", "disagreement"),
    [
        ("en", ["x", "two cats", "two hats"], (1 / 8 + 1) / 2),
        ("ru", ["бог", "ёлка", "елки"], (1 / 4 + 1) / 2),
        ("zh", ["我用", "你们好", "你们号"], (1 / 3 + 1) / 2),
    ],
)
def test_of_three_teachers_the_one_between_the_others_is_believed(
    lang: str, texts: list[str], disagreement: float
) -> None:
    label = make_label(utterance(), [Heard(text=text) for text in texts], TextDistance(get_normalizer(lang)))
    assert label.utterance.text == texts[1]
    assert label.disagreement == pytest.approx(disagreement)
    assert label.utterance.quality == pytest.approx(1 - disagreement, abs=1e-4)


def test_one_model_is_compared_with_itself_without_its_language_model() -> None:
    label = make_label(utterance(), [Heard(text="four cats", confidence=0.5, greedy="for cats")], ENGLISH)
    assert label.disagreement == pytest.approx(1 / 9)
    assert make_label(utterance(), [Heard(text="a", confidence=0.5)], ENGLISH).disagreement is None


def test_each_filter_alone_and_all_together() -> None:
    candidates = labels(("one two", 0.9, 0.0), ("one", 0.4, 0.0), ("...", 0.9, 0.0), ("one one", 0.9, 0.5))
    filters = Filters(min_confidence=0.5, max_disagreement=0.1, rate=(1.5 / 1800, 10.0))
    selection = select(candidates, filters, ENGLISH)
    assert selection.alone == {
        "empty": (True, True, False, True),
        "confidence": (True, False, False, True),
        "disagreement": (True, True, False, False),
        "rate": (True, False, False, True),
    }
    assert selection.together == (True, False, False, False)
    assert kept_hours(candidates, selection.together) == 0.5
    references = ["one too", "one", "", "never"]
    assert kept_cer(candidates, references, selection.together, ENGLISH) == pytest.approx(1 / 7)
    report = make_report(candidates, selection, references, ENGLISH)
    assert report["filters"]["none"]["hours"] == 2.0
    assert report["filters"]["all together"] == {"utterances": 1, "hours": 0.5, "cer": pytest.approx(1 / 7)}
    assert report["domains"]["default"]["utterances_kept"] == 1


def test_characters_are_the_words_of_mandarin() -> None:
    chinese = TextDistance(get_normalizer("zh"))
    (label,) = [make_label(utterance(duration_s=2.0), [Heard(text="我用python，你呢")], chinese)]
    assert select([label], Filters(rate=(2.5, 2.5 + 1e-9)), chinese).together == (True,)


def test_what_is_rare_is_kept_and_what_is_abundant_capped() -> None:
    candidates = labels(("yes", 0.5, 0.0), ("yes", 0.9, 0.0), ("yes no", 0.1, 0.0), ("yes", 0.7, 0.0))
    assert select(candidates, Filters(rare=1), ENGLISH).together == (False, True, True, False)  # the surest comes first
    assert select(candidates, Filters(rare=2), ENGLISH).together == (False, True, True, True)
    known = [utterance(9, "Yes!"), utterance(8, "no")]
    assert select(candidates, Filters(rare=1), ENGLISH, known).together == (False,) * 4
    # what another filter leaves out makes nothing abundant
    both = select(candidates, Filters(rare=1, min_confidence=0.6), ENGLISH)
    assert (both.alone["rare"], both.together) == ((False, True, True, False), (False, True, False, False))


def test_speakers_can_be_rare() -> None:
    one = labels(("yes", 0.5, 0.0), ("yes", 0.9, 0.0), ("yes", 0.7, 0.0), speaker="ann")
    assert select(one, Filters(rare=1, rare_speaker_s=1801.0), ENGLISH).together == (False, True, True)
    assert select(one, Filters(rare=1, rare_speaker_s=0.0), ENGLISH).together == (False, True, False)


def test_nothing_to_select() -> None:
    assert select([], Filters(rare=1), ENGLISH).together == ()
    assert kept_cer([], [], [], ENGLISH) is None


def test_impossible_rates() -> None:
    with pytest.raises(ValueError, match="two rising numbers, got 4 1"):
        Filters(rate=(4.0, 1.0))
