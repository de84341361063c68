"""Scoring: edit counts against jiwer, rates worked by hand, the bootstrap against a plain one."""

import json
import random
import time

import jiwer
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.text import get_normalizer
from silero_like.errors import SileroLikeError
from silero_like.evaluation import edits
from silero_like.evaluation.edits import edit_distance
from silero_like.evaluation.scoring import Counts, Evaluation, Scored, edit_counts, evaluate
from silero_like.evaluation.table import format_table


def scored(domain: str, reference: str, hypothesis: str, speaker: str = "", duration_s: float = 1.0) -> Scored:
    return Scored(
        utterance_id="u",
        domain=domain,
        speaker=speaker,
        duration_s=duration_s,
        reference=reference,
        hypothesis=hypothesis,
    )


def run(items: list[Scored], lang: str = "en", seed: int = 0) -> Evaluation:
    return evaluate(
        items,
        normalizer=str.lower,
        normalizer_name=f"{lang}-1",
        lang=lang,
        model="m",
        decoder="greedy",
        audio_s_per_core_s=None,
        seed=seed,
    )


@pytest.mark.parametrize(
    ("reference", "hypothesis", "expected"),
    [
        ("abc", "abc", Counts(0, 0, 0, 3)),
        ("", "", Counts(0, 0, 0, 0)),
        ("", "ab", Counts(0, 2, 0, 0)),
        ("ab", "", Counts(0, 0, 2, 2)),
        ("kitten", "sitting", Counts(2, 1, 0, 6)),
        ("aab", "ab", Counts(0, 0, 1, 3)),
        ("abcd", "xbyd", Counts(2, 0, 0, 4)),
    ],
)
def test_edit_counts_by_hand(reference: str, hypothesis: str, expected: Counts) -> None:
    assert edit_counts(reference, hypothesis) == expected


LETTERS = {"en": "abcdefghij'", "ru": "абвгдежзийё", "zh": "我们明天去吃饭不看书"}


@pytest.mark.parametrize("lang", LETTERS)
def test_words_and_characters_agree_with_jiwer_on_random_text(lang: str) -> None:
    """10,000 pairs in the three languages, exact counts; jiwer is given the words of Mandarin apart."""
    generator = random.Random(lang)
    space = "" if lang == "zh" else " "
    vocabulary = ["".join(generator.choices(LETTERS[lang], k=1 if lang == "zh" else 4)) for _ in range(12)]
    texts = [[generator.choice(vocabulary) for _ in range(generator.randint(1, 9))] for _ in range(3334)]
    pairs = [(text, _damaged(text, vocabulary, generator)) for text in texts]
    evaluation = run([scored("d", space.join(text), space.join(damaged)) for text, damaged in pairs], lang)
    words = jiwer.process_words([" ".join(a) for a, _ in pairs], [" ".join(b) for _, b in pairs])
    chars = jiwer.process_characters([space.join(a) for a, _ in pairs], [space.join(b) for _, b in pairs])
    for theirs, ours in ((words, evaluation.micro.words), (chars, evaluation.micro.chars)):
        assert ours[:3] == (theirs.substitutions, theirs.insertions, theirs.deletions)
        assert ours.rate == pytest.approx(theirs.wer if isinstance(theirs, jiwer.WordOutput) else theirs.cer)


def _damaged(words: list[str], vocabulary: list[str], generator: random.Random) -> list[str]:
    """Lose, replace and add words, each with a chance of one in five."""
    result = []
    for word in words:
        result += [[], [generator.choice(vocabulary)], [word, generator.choice(vocabulary)], [word], [word]][
            generator.randrange(5)
        ]
    return result


@pytest.mark.parametrize("block", [1, 3, 1024])
def test_edit_counts_agree_with_jiwer(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edits, "BLOCK_TOKENS", block)
    generator = random.Random(0)
    for _ in range(200):
        reference = generator.choices("abcd"[: generator.randint(1, 4)], k=generator.randint(1, 80))
        hypothesis = generator.choices("abcd", k=generator.randint(0, 80))
        found = edit_counts(reference, hypothesis)
        theirs = jiwer.process_words(" ".join(reference), " ".join(hypothesis))
        assert found == Counts(theirs.substitutions, theirs.insertions, theirs.deletions, len(reference))


@given(st.text("abc", max_size=12), st.text("abc", max_size=12))
def test_swapping_the_texts_swaps_the_lengths_and_keeps_the_errors(a: str, b: str) -> None:
    there, back = edit_counts(a, b), edit_counts(b, a)
    assert edit_distance(a, b) == there.errors
    assert there.errors == back.errors
    assert there.deletions - there.insertions == len(a) - len(b)
    assert there.substitutions >= 0


def test_rates_by_hand() -> None:
    items = [
        scored("a", "The cat sat", "the cat sat down", duration_s=2.0),
        scored("a", "hello", ""),
        scored("b", "one two", "won two", duration_s=3.0),
    ]
    result = run(items).to_dict()
    assert list(result) == [
        *("model", "normalizer", "decoder", "domains", "macro", "micro", "worst", "audio_s_per_core_s"),
    ]
    a, b = result["domains"]["a"], result["domains"]["b"]
    assert (a["utterances"], a["audio_s"], a["words"], a["chars"]) == (2, 3.0, 4, 16)
    assert (a["substitutions"], a["insertions"], a["deletions"], a["empty"]) == (0, 1, 1, 1)
    assert (a["wer"], a["cer"]) == (2 / 4, 10 / 16)  # " down" and "hello"
    assert (b["wer"], b["cer"]) == (1 / 2, 2 / 7)  # w inserted, e deleted
    assert (a["empty_rate"], a["balance"], b["balance"]) == (0.5, 0.0, None)
    assert (a["ci95_by"], a["speakers"]) == ("utterance", 0)
    assert (result["macro"]["wer"], result["macro"]["cer"]) == pytest.approx((0.5, (10 / 16 + 2 / 7) / 2))
    assert (result["micro"]["wer"], result["micro"]["cer"]) == (3 / 6, 12 / 23)
    assert result["worst"] == {"domain": "a", "wer": 0.5, "cer": 10 / 16}
    assert (result["model"], result["normalizer"], result["decoder"]) == ("m", "en-1", "greedy")
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_rates_agree_with_jiwer() -> None:
    generator = random.Random(1)
    vocabulary = ["the", "cat", "sat", "on", "a"]
    texts = [" ".join(generator.choices(vocabulary, k=generator.randint(1, 9))) for _ in range(40)]
    references, hypotheses = texts[:20], texts[20:]
    micro = run([scored("a", *pair) for pair in zip(references, hypotheses, strict=True)]).micro
    assert micro.words.rate == pytest.approx(jiwer.wer(references, hypotheses))
    assert micro.chars.rate == pytest.approx(jiwer.cer(references, hypotheses))


def test_mandarin_counts_characters_as_words_and_no_spaces() -> None:
    score = run([scored("zh", "我们 明天去 ok吗", "我们 今天去ok")], lang="zh").micro
    assert score.words == Counts(1, 0, 1, 7)
    assert score.chars == Counts(1, 0, 1, 8)


def test_russian_counts_words_between_spaces() -> None:
    score = run([scored("ru", "как дела", "как тела")], lang="ru").micro
    assert (score.words, score.chars) == (Counts(1, 0, 0, 2), Counts(1, 0, 0, 8))


def test_a_domain_without_reference_words_has_no_rate_but_counts() -> None:
    evaluation = run([scored("noise", "", "ghost word"), scored("noise", "", ""), scored("speech", "a b", "a b")])
    noise = evaluation.to_dict()["domains"]["noise"]
    assert (noise["wer"], noise["cer"], noise["wer_ci95"]) == (None, None, None)
    assert (noise["insertions"], noise["empty"]) == (2, 0)
    assert evaluation.macro == {"wer": 0.0, "cer": 0.0}
    assert evaluation.micro.words.rate == 1.0
    assert evaluation.worst == "speech"
    nothing = run([scored("noise", "", "ghost")])
    assert (nothing.worst, nothing.to_dict()["worst"], nothing.macro["wer"]) == (None, None, None)


def test_no_utterances_are_refused() -> None:
    with pytest.raises(SileroLikeError, match="got none"):
        run([])


def test_the_same_seed_gives_the_same_interval_and_domains_do_not_disturb_each_other() -> None:
    generator = random.Random(2)
    items = [scored("b", "a b c", " ".join(generator.choices("abc", k=3))) for _ in range(30)]
    alone = run(items).domains["b"]
    assert run([scored("a", "a", "b"), *items]).domains["b"] == alone
    assert run(items, seed=1).domains["b"] != alone


def test_the_macro_average_has_an_interval_of_its_own() -> None:
    """Two domains alike in everything: the mean's interval is narrower than a domain's by about the root of two."""
    items = [scored(d, "a b c d", "a b c d" if n % 3 else "a x c d", f"s{n}") for d in "ab" for n in range(90)]
    result = run(items).to_dict()
    domain, macro = (np.diff(score["wer_ci95"])[0] for score in (result["domains"]["a"], result["macro"]))
    assert macro * np.sqrt(2) == pytest.approx(domain, rel=0.1)
    assert result["micro"]["wer_ci95"] == pytest.approx(result["macro"]["wer_ci95"])


def test_rows_keep_the_words_and_counts_of_every_utterance() -> None:
    evaluation = run([scored("a", "The cat", "the"), scored("a", "x", "")])
    assert [(row.reference, row.hypothesis, row.words, row.is_empty) for row in evaluation.rows] == [
        (("the", "cat"), ("the",), Counts(0, 0, 1, 2), False),
        (("x",), (), Counts(0, 0, 1, 1), True),
    ]


def test_the_order_of_utterances_does_not_change_the_rates() -> None:
    items = [scored(domain, "a b c", text) for domain in "ab" for text in ("a b c", "x", "", "a b c d")]
    there, back = run(items).to_dict(), run(items[::-1]).to_dict()
    for key in ("macro", "worst"):
        assert there[key] == back[key]
    assert list(there["domains"]) == list(back["domains"]) == ["a", "b"]


def test_table_lists_every_domain_in_aligned_columns() -> None:
    items = [scored("read", "a b", "a x"), scored("read", "a", "a"), scored("noise", "", "ghost")]
    evaluation = run([*items, scored("phone", "a", "a")])
    about, *table, worst, remark = format_table(evaluation).splitlines()
    assert about == "m, decoder greedy, normaliser en-1"
    assert [line.split()[0] for line in table] == ["domain", "noise", "phone", "read", "macro", "micro"]
    assert len({len(line) for line in table}) == 1
    assert table[3].split()[4] == "0.333"
    assert worst == "worst domain by CER: read"
    assert remark.endswith("for these speakers only (read)")


@pytest.mark.slow
def test_a_hundred_thousand_utterances_take_less_than_ten_seconds() -> None:
    """Processor time, normaliser and intervals included; utterances of 11 words and 60 characters, WER about 15 %."""
    generator = random.Random(4)
    vocabulary = ["".join(generator.choices("abcdefghij", k=generator.randint(1, 8))) for _ in range(5000)]
    items = []
    for number in range(100_000):
        words = generator.choices(vocabulary, k=generator.randint(4, 18))
        heard = [word if generator.random() > 0.12 else generator.choice(vocabulary) for word in words]
        heard = [word for word in heard if generator.random() > 0.03]
        items.append(scored(f"d{number % 9}", " ".join(words), " ".join(heard), speaker=f"s{number % 400}"))
    normalizer = get_normalizer("en")
    start_s = time.process_time()
    evaluation = evaluate(
        items,
        normalizer=normalizer,
        normalizer_name=normalizer.label,
        lang="en",
        model="m",
        decoder="greedy",
        audio_s_per_core_s=None,
    )
    taken_s = time.process_time() - start_s
    assert evaluation.micro.utterances == 100_000
    assert taken_s < 10
