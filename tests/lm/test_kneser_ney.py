from __future__ import annotations

import itertools
import random
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.text import get_normalizer
from lm import counts
from lm.arpa import write_arpa
from lm.interpolate import largest_deviation
from lm.kneser_ney import FALLBACK_DISCOUNTS, check_pruning, estimate
from lm.model import LanguageModelError, never_continued

WORDS = ["a", "b", "c", "d", "e", "f", "g"]
Discount = tuple[float, float, float]


def random_text(seed: int, n_lines: int) -> list[str]:
    """Lines of 1 to 7 words, the first words of the alphabet far more often."""
    chance = random.Random(seed)
    return [
        " ".join(WORDS[min(int(chance.expovariate(0.5)), 6)] for _ in range(chance.randint(1, 7)))
        for _ in range(n_lines)
    ]


class SlowKneserNey:
    """Modified Kneser-Ney as the paper writes it: dictionaries, and each probability computed when it is asked for."""

    def __init__(self, lines: list[str], order: int, prune: list[int], discounts: list[Discount]) -> None:
        self.discounts = discounts
        sentences = [("<s>", *line.split(), "</s>") for line in lines]
        raw = [
            Counter(s[i : i + n] for s in sentences for i in range(n == 1, len(s) - n + 1)) for n in range(1, order + 1)
        ]
        self.adjusted: list[dict[tuple[str, ...], int]] = []
        for n in range(1, order + 1):
            types = Counter(gram[1:] for gram in raw[n]) if n < order else Counter()
            self.adjusted.append({g: c if n == order or g[0] == "<s>" else types[g] for g, c in raw[n - 1].items()})
        self.kept = [{g for g, c in raw[n].items() if c > prune[n]} for n in range(order)]
        self.vocabulary = sorted({g[0] for g in raw[0]} | {"<unk>"})

    def prob(self, context: tuple[str, ...], word: str) -> float:
        adjusted = self.adjusted[len(context)]
        grams = [(*context, w) for w in self.vocabulary if (*context, w) in adjusted]
        lower = self.prob(context[1:], word) if context else 1 / len(self.vocabulary)
        if not grams:
            return lower
        total = sum(adjusted[gram] for gram in grams)
        kept = self.kept[len(context)]
        gamma = sum(self.discount(gram) if gram in kept else adjusted[gram] for gram in grams) / total
        gram = (*context, word)
        own = (adjusted[gram] - self.discount(gram)) / total if gram in kept else 0.0
        return own + gamma * lower

    def discount(self, gram: tuple[str, ...]) -> float:
        return self.discounts[len(gram) - 1][min(self.adjusted[len(gram) - 1][gram], 3) - 1]


def contexts(order: int) -> list[tuple[str, ...]]:
    """All contexts of up to order - 1 words, with and without <s>, and with a word outside the vocabulary."""
    inner = [list(itertools.product([*WORDS, "zz"], repeat=n)) for n in range(order)]
    started = [("<s>", *words) for n in range(order - 1) for words in inner[n]]
    return [*itertools.chain(*inner), *started]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("order", "prune"), [(2, (0,)), (3, (0,)), (3, (0, 0, 1)), (3, (0, 1, 2)), (4, (0, 0, 1))])
def test_equals_the_formula_and_sums_to_one_after_every_context(
    tables: Any, seed: int, order: int, prune: tuple[int, ...]
) -> None:
    lines = random_text(seed, 4 * 2**seed)
    found = tables.estimate(lines, order, prune)
    table = tables.of(found.model)
    slow = SlowKneserNey(lines, order, check_pruning(prune, order), [d.values for d in found.discounts])
    for context in contexts(min(order, 3)):
        log_probs = [tables.log_prob(table, context, word) for word in slow.vocabulary]
        assert sum(10**log_prob for log_prob in log_probs) == pytest.approx(1, abs=1e-5)
        expected = [slow.prob(context, word) for word in slow.vocabulary]
        assert log_probs == pytest.approx(np.log10(expected).tolist(), abs=2e-6)  # stored in 32 bits
    assert largest_deviation(found.model) < 1e-5


def test_a_bigram_model_worked_by_hand(tables: Any) -> None:
    """Text "a a b" and "a": bigrams <s>a 2, aa 1, ab 1, b</s> 1, a</s> 1; fixed discounts 0.5, 1, 1.5.

    Different words before a: <s> and a, before b: a, before </s>: b and a; so the unigrams' sum is 5, of which 2 - 1,
    1 - 0.5 and 2 - 1 stay, and 2.5 are shared by a, b, </s> and <unk>.
    """
    found = tables.estimate("a a b\na", 2)
    assert [discounts.values for discounts in found.discounts] == [FALLBACK_DISCOUNTS] * 2
    table = tables.of(found.model)
    unigram = {"a": 1 / 5 + 0.125, "b": 0.5 / 5 + 0.125, "</s>": 1 / 5 + 0.125, "<unk>": 0.125}
    for word, prob in unigram.items():
        assert 10 ** table[(word,)][0] == pytest.approx(prob, abs=1e-6)
    assert 10 ** table[("a",)][1] == pytest.approx(1.5 / 3, abs=1e-6)
    assert 10 ** table[("a", "b")][0] == pytest.approx(0.5 / 3 + 0.5 * unigram["b"], abs=1e-6)
    assert 10 ** table[("<s>", "a")][0] == pytest.approx((2 - 1) / 2 + 0.5 * unigram["a"], abs=1e-6)
    assert table[("<s>",)][0] == 0
    assert table[("</s>",)][1] == 0


@pytest.mark.parametrize(
    ("name", "order", "prune"), [("order3.arpa.gz", 3, ()), ("order4-pruned.arpa.gz", 4, (0, 0, 1))]
)
def test_equals_the_golden_models_of_lmplz(
    tables: Any, golden_path: Path, name: str, order: int, prune: tuple[int, ...]
) -> None:
    found = tables.estimate((golden_path / "text.txt").read_text().strip(), order, prune)
    tables.assert_close(tables.of(found.model), tables.read(golden_path / name))


@pytest.mark.parametrize("order", [2, 3, 4, 5])
@pytest.mark.parametrize("prune", [(0,), (0, 0, 1), (0, 1)])
@pytest.mark.parametrize("limited", [False, True])
def test_equals_lmplz_where_there_is_one(
    tables: Any, golden_path: Path, tmp_path: Path, order: int, prune: tuple[int, ...], limited: bool
) -> None:
    if shutil.which("lmplz") is None:
        pytest.skip("lmplz is not on the PATH")
    text = (golden_path / "text.txt").read_text()
    corpus = tables.corpus(text.strip())
    keep = np.arange(len(corpus.words)) % 3 > 0 if limited else None
    command = ["lmplz", "-o", str(order), "-S", "50M", "--discount_fallback", "--prune", *map(str, prune[:order])]
    if keep is not None:
        (tmp_path / "words").write_text("\n".join(word for word, kept in zip(corpus.words, keep, strict=True) if kept))
        command += ["--limit_vocab_file", str(tmp_path / "words")]
    lmplz = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
    (tmp_path / "lmplz.arpa").write_text(lmplz.stdout)
    model = estimate(corpus, order, prune=prune[:order], keep_words=keep).model
    tables.assert_close(tables.of(model), tables.read(tmp_path / "lmplz.arpa"))


@pytest.mark.parametrize("bytes_a_word", [2**20 // 40, 2**20 // 3])
def test_memory_does_not_change_the_model(
    tables: Any, golden_path: Path, monkeypatch: pytest.MonkeyPatch, bytes_a_word: int
) -> None:
    corpus = tables.corpus((golden_path / "text.txt").read_text().strip())
    whole = tables.of(estimate(corpus, 4, prune=(0, 0, 1)).model)
    monkeypatch.setattr(counts, "BYTES_A_WORD", bytes_a_word)  # ranges of 40 and of 3 words
    assert tables.of(estimate(corpus, 4, prune=(0, 0, 1), memory_mb=1).model) == whole


def test_kenlm_scores_the_arpa_file_the_same(tables: Any, tmp_path: Path) -> None:
    kenlm = pytest.importorskip("kenlm")
    model = tables.estimate(random_text(3, 60), 3, (0, 0, 1)).model
    write_arpa(tmp_path / "model.arpa", model)
    loaded, table = kenlm.Model(str(tmp_path / "model.arpa")), tables.of(model)
    for line in random_text(4, 20):
        words = ["<s>", *line.split(), "</s>"]
        expected = [tables.log_prob(table, tuple(words[max(0, i - 2) : i]), words[i]) for i in range(1, len(words))]
        assert [score[0] for score in loaded.full_scores(line)] == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize(
    ("lang", "text", "words"),
    [
        ("ru", "Ёлка, ёлка!\nЕлка и чай", {"елка", "и", "чай"}),
        ("zh", "我爱北京。\n北京爱我 ok", {"我", "爱", "北", "京", "ok"}),
    ],
)
def test_other_languages(tables: Any, lang: str, text: str, words: set[str]) -> None:
    normalizer = get_normalizer(lang)
    model = tables.estimate(map(normalizer, text.split("\n")), 3).model
    assert {*model.words[3:]} == words
    assert largest_deviation(model) < 1e-6


def test_unigrams_alone(tables: Any) -> None:
    model = tables.estimate(random_text(1, 40), 1).model
    assert len(model.orders) == 1
    assert largest_deviation(model) < 1e-6


def test_never_continued_tells_pruned_orders(tables: Any) -> None:
    lines = random_text(0, 60)
    assert never_continued(tables.estimate(lines, 3).model) == [0, 0]
    shares = never_continued(tables.estimate(lines, 3, (0, 0, 1)).model)
    assert shares[0] == 0 < shares[1]


def test_all_lines_the_same_fall_back(tables: Any) -> None:
    found = tables.estimate(["yes no"] * 20, 3)
    assert all(discounts.values == FALLBACK_DISCOUNTS for discounts in found.discounts)
    assert "no 1-gram with an adjusted count of 2" in found.discounts[0].problem
    assert largest_deviation(found.model) < 1e-6


def test_everything_of_the_highest_order_pruned(tables: Any) -> None:
    model = tables.estimate(["a b", "b a"], 3, (0, 0, 9)).model
    assert [len(grams) for grams in model.orders] == [5, 6, 0]
    assert largest_deviation(model) < 1e-6


def test_errors(tables: Any) -> None:
    with pytest.raises(LanguageModelError, match="holds no word"):
        tables.corpus(["", ""])
    with pytest.raises(LanguageModelError, match="supports at most order 3"):
        tables.estimate(["yes", "no"], 4)
    with pytest.raises(LanguageModelError, match="order of 1 to 6, got 7"):
        tables.estimate(["yes"], 7)
    for prune in ((1,), (0, 2, 1), (0, 0, 0, 0)):
        with pytest.raises(LanguageModelError, match="pruning thresholds"):
            tables.estimate(["a b c"], 3, prune)
    corpus = tables.corpus(["a b c"])
    with pytest.raises(LanguageModelError, match="leaves no word"):
        estimate(corpus, 2, keep_words=np.zeros(len(corpus.words), bool))
