"""What went wrong and why: alignments, confusions, bins, keywords, the gap; worked by hand."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from silero_like.evaluation.breakdown import (
    Keyword,
    align_words,
    bin_errors,
    break_down,
    find_keywords,
    format_breakdown,
)
from silero_like.evaluation.difficulty import describe_domain, find_gap
from silero_like.evaluation.edits import align, edit_counts
from silero_like.evaluation.scoring import Evaluation, Scored, evaluate


def run(*items: tuple[str, str, str, float]) -> Evaluation:
    """Evaluate (domain, reference, hypothesis, seconds) with a confidence of 1 / seconds."""
    scored = [
        Scored(
            utterance_id=f"u{number}",
            domain=domain,
            speaker=f"s{number % 2}",
            duration_s=duration_s,
            reference=reference,
            hypothesis=hypothesis,
            confidence=1 / duration_s,
        )
        for number, (domain, reference, hypothesis, duration_s) in enumerate(items)
    ]
    about = {"normalizer_name": "en-1", "lang": "en", "model": "m", "decoder": "greedy", "audio_s_per_core_s": None}
    return evaluate(scored, normalizer=str.lower, **about)  # type: ignore[arg-type]


@given(st.text("abc", max_size=10), st.text("abc", max_size=10))
def test_an_alignment_holds_both_texts_and_the_edits_counted(a: str, b: str) -> None:
    pairs = align(a, b)
    assert "".join(x for x, _ in pairs) == a
    assert "".join(y for _, y in pairs) == b
    counts = edit_counts(a, b)
    assert sum(not x for x, _ in pairs) == counts.insertions
    assert sum(not y for _, y in pairs) == counts.deletions
    assert sum(x != y for x, y in pairs) == counts.errors


@given(*[st.lists(st.sampled_from(["the", "cat", "cut", "sat"]), max_size=8)] * 2)
def test_pairing_words_that_look_alike_costs_no_edit(reference: list[str], hypothesis: list[str]) -> None:
    pairs = align_words(reference, hypothesis)
    assert [said for said, _ in pairs if said] == reference
    assert [heard for _, heard in pairs if heard] == hypothesis
    assert sum(said != heard for said, heard in pairs) == edit_counts(reference, hypothesis).errors


def test_errors_are_counted_by_word_and_token() -> None:
    evaluation = run(("a", "the cat sat", "the cut sat sat", 1.0), ("a", "the cat", "a cut", 2.0), ("a", "x", "x", 3.0))
    breakdown = break_down(evaluation.rows)
    assert breakdown.substitutions == [(("cat", "cut"), 2), (("the", "a"), 1)]
    assert breakdown.insertions == [("sat", 1)]
    assert [(lost.word, lost.n_lost, lost.n_said) for lost in breakdown.lost] == [("cat", 2, 2), ("the", 1, 2)]
    assert dict(breakdown.confusions)["a", "u"] == 1  # in "the cat" the characters align otherwise
    assert [row.item.utterance_id for row in breakdown.worst] == ["u1", "u0"]
    assert [(b.low, b.high, b.wer) for b in breakdown.factors["duration (s)"]] == [(1, 1, 2 / 3), (2, 2, 1), (3, 3, 0)]
    assert [b.wer for b in breakdown.factors["confidence"]] == [0, 1, 2 / 3]
    assert "SNR estimate (dB)" not in breakdown.factors
    text = format_breakdown(breakdown)
    assert "     2 cat -> cut" in text
    assert "     2 of 2  cat" in text


def test_tokens_can_be_a_tokenizers() -> None:
    rows = run(("a", "ab cd", "ab ce", 1.0)).rows
    assert break_down(rows, tokens=str.split).confusions == [(("cd", "ce"), 1)]


def test_bins_are_of_equal_size_and_hold_every_utterance() -> None:
    rows = run(*[("a", "w", "w" if n % 2 else "", float(n + 1)) for n in range(23)]).rows
    bins = bin_errors(rows, lambda row: row.item.duration_s)
    assert [b.utterances for b in bins] == [5, 5, 5, 4, 4]
    assert bin_errors(rows, lambda row: None) == []


def test_keywords_by_hand() -> None:
    rows = run(("a", "call new york now", "call new york new york", 1.0), ("a", "new york", "newark", 1.0)).rows
    (found, never) = find_keywords(rows, [("new", "york"), ("boston",)])
    assert found == Keyword("new york", 2, 2, 1)
    assert (found.recall, found.precision, found.f1) == (0.5, 0.5, 0.5)
    assert (never.recall, never.precision, never.f1) == (None, None, None)
    text = format_breakdown(break_down(rows, keywords=[("new", "york")]))
    assert text.splitlines()[-1].split() == ["all", "2", "2", "0.500", "0.500", "0.500"]


def test_a_domain_is_described_by_its_words_and_speakers() -> None:
    rows = run(("a", "the cat the", "", 2.0), ("a", "dog", "", 2.0)).rows
    difficulty = describe_domain(rows, {"the", "cat"})
    assert (difficulty.speakers, difficulty.vocabulary, difficulty.oov_rate) == (2, 3, 0.25)
    assert (difficulty.words_per_s, difficulty.snr_db) == (1.0, None)
    assert describe_domain(rows, None).oov_rate is None


def test_the_gap_is_between_the_means_of_domains() -> None:
    evaluation = run(("a", "x y", "x y", 1.0), ("b", "x y", "x z", 1.0), ("c", "x y", "z z", 1.0), ("d", "", "", 1.0))
    gap = find_gap(evaluation, ("seen", "unseen"), {"c", "d"})
    assert gap is not None
    assert (gap.first.wer, gap.second.wer, gap.wer) == (0.25, 1.0, 0.75)
    assert gap.to_dict()["unseen"]["domains"] == ["c", "d"]
    assert find_gap(evaluation, ("seen", "unseen"), set()) is None
    assert find_gap(evaluation, ("seen", "unseen"), {"a", "b", "c", "d"}) is None
