from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lm.arpa import read_arpa, write_arpa
from lm.interpolate import fit_weights, interpolate, largest_deviation
from lm.model import LanguageModelError
from lm.perplexity import context_scores, load_kenlm, score_text

GENERAL = ["the cat sat", "the dog sat on the cat", "a dog ran", "the cat ran"] * 3
DIGITS = ["one two", "two two one", "one", "two one the", "the one"] * 3


@pytest.mark.parametrize("orders", [(2, 2), (3, 2), (2, 4)])
@pytest.mark.parametrize("weights", [(0.5, 0.5), (0.9, 0.1), (1.0, 0.0)])
def test_listed_ngrams_are_mixed_and_every_context_sums_to_one(
    tables: Any, orders: tuple[int, int], weights: tuple[float, float]
) -> None:
    models = [tables.estimate(text, order).model for text, order in zip((GENERAL, DIGITS), orders, strict=True)]
    parts = [tables.of(model) for model in models]
    mixed = interpolate(models, weights)
    table = tables.of(mixed)
    assert table.keys() == parts[0].keys() | parts[1].keys()
    assert largest_deviation(mixed) < 1e-5
    for *context, word in table:
        if word != "<s>":
            probs = [10 ** tables.log_prob(part, tuple(context), word) if (word,) in part else 0.0 for part in parts]
            expected = weights[0] * probs[0] + weights[1] * probs[1]
            assert 10 ** table[(*context, word)][0] == pytest.approx(expected, rel=1e-4, abs=1e-12)
    words = [*{word for (word,) in (gram for gram in table if len(gram) == 1)} - {"<s>"}]
    for context in itertools.product([*words[:6], "zz", "<s>"], repeat=2):
        assert sum(10 ** tables.log_prob(table, context, word) for word in words) == pytest.approx(1, abs=1e-5)


def test_weights_by_context_are_those_of_the_formula(tables: Any) -> None:
    """In part, weight_i p_i(h) over the sum of these, with p_i(h) multiplied up word by word; in part, weight_i."""
    weights = (0.8, 0.2)
    models = [tables.estimate(text, 3).model for text in (GENERAL, DIGITS)]
    parts = [tables.of(model) for model in models]
    mixed = interpolate(models, weights, by_context=True)
    assert largest_deviation(mixed) < 1e-5
    table = tables.of(mixed)
    assert table.keys() == parts[0].keys() | parts[1].keys()

    def prob(part: Any, context: list[str], word: str) -> float:
        return float(10 ** tables.log_prob(part, tuple(context), word)) if (word,) in part else 0.0

    for *context, word in table:
        if word != "<s>":
            shares = list(weights)
            for n, (share, part) in enumerate(zip(weights, parts, strict=True)):
                for end, before in enumerate(context):
                    share *= 1.0 if before == "<s>" else prob(part, context[:end], before)
                shares[n] = share
            shares = [0.7 * share / sum(shares) + 0.3 * weight for share, weight in zip(shares, weights, strict=True)]
            expected = sum(share * prob(part, context, word) for share, part in zip(shares, parts, strict=True))
            assert 10 ** table[(*context, word)][0] == pytest.approx(expected, rel=1e-4, abs=1e-12)
    assert 10 ** tables.log_prob(table, ("two",), "one") > 10 ** tables.log_prob(
        tables.of(interpolate(models, weights)), ("two",), "one"
    )


def test_a_model_mixed_with_itself_is_itself(tables: Any, golden_path: Path) -> None:
    model = read_arpa(golden_path / "order3.arpa.gz")
    for by_context in (False, True):  # back-offs are recomputed
        mixed = interpolate([model, model], [3, 1], by_context=by_context)
        tables.assert_close(tables.of(mixed), tables.of(model), 1e-4)


def test_the_mixture_predicts_both_texts(tables: Any, tmp_path: Path) -> None:
    models = [tables.estimate(GENERAL, 3).model, tables.estimate(DIGITS, 3).model]
    write_arpa(tmp_path / "mixed.arpa", interpolate(models, [0.5, 0.5]))
    mixed = load_kenlm(tmp_path / "mixed.arpa")
    for text, model in zip((GENERAL, DIGITS), models, strict=True):
        write_arpa(tmp_path / "one.arpa", model)
        alone = score_text(load_kenlm(tmp_path / "one.arpa"), text)
        both = score_text(mixed, text)
        assert both.n_unknown == 0
        assert alone.perplexity < both.perplexity < 2 * alone.perplexity


def test_rounded_models_still_sum_to_one(tables: Any, tmp_path: Path) -> None:
    """With 2 decimals a context's listed probabilities can exceed one."""
    paths = [tmp_path / "a.arpa", tmp_path / "b.arpa"]
    for path, text in zip(paths, (["a"] * 30, ["a b", "b a"] * 30), strict=True):
        write_arpa(path, tables.estimate(text, 3).model, decimals=2)
    assert largest_deviation(interpolate([read_arpa(path) for path in paths], [0.5, 0.5])) < 0.05  # the unigrams' own


@pytest.mark.parametrize("by_context", [False, True])
def test_fitted_weights_are_the_best_ones(by_context: bool) -> None:
    rng = np.random.default_rng(0)
    log_probs, known = -rng.uniform(0, 4, (2, 400)), rng.uniform(size=(2, 400)) < 0.9
    counts = rng.uniform(size=400)
    contexts = -rng.uniform(0, 2, (2, 400)) if by_context else np.zeros((2, 400))
    contexts[:, :5] = -np.inf  # words before that no model knows
    weights = fit_weights(log_probs, known, counts, contexts=contexts if by_context else None)
    assert weights.sum() == pytest.approx(1)

    def total(weight: float) -> float:
        used = known.any(axis=0)
        probs = np.where(known, 10.0**log_probs, 0)[:, used]
        fixed = np.array([[weight], [1 - weight]])
        shares = fixed * np.where(np.isinf(contexts), 1, 10.0**contexts)[:, used]
        shares = 0.7 * shares / shares.sum(axis=0) + 0.3 * fixed if by_context else fixed
        return float((counts[used] * np.log((shares * probs).sum(axis=0))).sum())

    best = max(np.linspace(0.001, 0.999, 999), key=total)
    assert weights[0] == pytest.approx(best, abs=0.002)  # the grid's step, and the tolerance of the last step


def test_fitted_weights_of_two_parts_worked_by_hand() -> None:
    """Where each model knows only its own words, the weights are the words' shares."""
    known = np.array([[True, True, True, False, False], [False, False, False, True, False]])
    assert fit_weights(np.full((2, 5), -1.0), known, np.ones(5)) == pytest.approx([0.75, 0.25], abs=1e-5)


def test_probabilities_of_contexts(tables: Any, tmp_path: Path) -> None:
    write_arpa(tmp_path / "model.arpa", tables.estimate(GENERAL, 3).model)
    table = tables.read(tmp_path / "model.arpa")

    def log_prob(*words: str) -> float:
        return float(sum(tables.log_prob(table, words[:n], word) for n, word in enumerate(words) if word != "<s>"))

    found = context_scores(load_kenlm(tmp_path / "model.arpa"), ["the dog ran", "zz a"], 3)
    expected = [0, log_prob("<s>", "the"), log_prob("the", "dog"), log_prob("dog", "ran"), 0, -np.inf, -np.inf]
    assert found == pytest.approx(expected, abs=1e-5)


def test_errors(tables: Any) -> None:
    model = tables.estimate(GENERAL, 2).model
    for weights in ([1.0], [-1.0, 2.0], [0.0, 0.0], [float("nan"), 1.0]):
        with pytest.raises(LanguageModelError, match="expected 2 weights of at least 0"):
            interpolate([model, model], weights)
    with pytest.raises(LanguageModelError, match="no word of the text to fit"):
        fit_weights(np.zeros((2, 3)), np.zeros((2, 3), bool), np.ones(3))


def test_deviation_is_seen(tables: Any) -> None:
    model = tables.estimate(GENERAL, 2).model
    model.orders[1].log_probs[3] += 0.1
    assert largest_deviation(model) > 1e-3
