from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from decode.config import BeamConfig
from decode.lm import make_lexicon
from decode.ngram import KenLM, read_words
from lm.arpa import write_arpa
from lm.model import LanguageModelError
from lm.perplexity import load_kenlm
from lm.surface import Candidates, Surface, Utterances, surface
from lm.tune import Decoded, Lists, Task, decode, find_settings, find_weights, tightest

EXACT = BeamConfig(beam_width=2**40, beam_prune_log_prob=-1e9, token_min_log_prob=-1e9, blank_skip=1, recombine=False)
PIECES = ["<unk>", "▁a", "▁b", "c"]


def spell(token_ids: Sequence[int]) -> str:
    return "".join(PIECES[token_id] for token_id in token_ids).replace("▁", " ").strip()


def wrong_words(reference: Sequence[str], words: Sequence[str]) -> int:
    """Stands for the word edit distance: different places, and different lengths."""
    different = sum(x != y for x, y in zip(reference, words, strict=False))
    return different + abs(len(reference) - len(words))


@pytest.fixture
def two() -> tuple[Candidates, Utterances]:
    """Two utterances of two domains; the language model prefers the second candidate of the first."""
    candidates = Candidates(
        utterance_ids=np.array([0, 0, 1, 1]),
        log_probs=np.array([-1.0, -2.0, -1.0, -1.5]),
        lm_log_probs=np.array([-9.0, -5.0, -4.0, -8.0]),
        n_words=np.array([2, 2, 1, 2]),
        n_unknown=np.array([0, 0, 0, 0]),
        errors=np.array([1, 0, 1, 0]),
    )
    return candidates, Utterances([], ["a b", "b a"], ["y", "x"])


def test_the_surface_worked_by_hand(two: tuple[Candidates, Utterances]) -> None:
    """The first utterance turns at alpha 0.25; the second at beta = 0.5 + 4 alpha."""
    found = surface(*two, np.array([-5.0]), np.array([0.0, 0.3]), np.array([0.0, 1.0, 2.0]))
    assert found.domains == ["x", "y"]
    assert found.without.tolist() == [0.5, 0.5]
    assert found.wer[1, 0].tolist() == [[0.5] * 3, [0.0] * 3]
    assert found.wer[0, 0].tolist() == [[0.5, 0.0, 0.0], [0.5, 0.5, 0.0]]
    assert found.best() == (0, 1, 2)
    assert found.macro[0, 1, 2] == 0


def test_unknown_words_are_charged(two: tuple[Candidates, Utterances]) -> None:
    candidates, utterances = two
    charged = Candidates(**{**vars(candidates), "n_unknown": np.array([1, 0, 0, 0])})
    found = surface(charged, utterances, np.array([-0.5, -5.0]), np.zeros(1), np.zeros(1))
    assert found.wer[1, :, 0, 0].tolist() == [0.5, 0]
    assert found.best() == (1, 0, 0)


def rates(x: list[float], y: list[float], without: list[float]) -> Surface:
    """Return the surface of two domains over beta alone."""
    wer = np.array([[[x]], [[y]]])
    return Surface(np.zeros(1), np.zeros(1), np.arange(len(x)), ["x", "y"], wer, np.array(without))


def test_no_domain_may_lose() -> None:
    found = rates([0.10, 0.00], [0.05, 0.07], [0.2, 0.05])
    assert found.macro[0, 0].tolist() == pytest.approx([0.075, 0.035])
    assert found.best() == (0, 0, 0)  # the other lets y lose 2 points
    assert rates([0.10, 0.00], [0.05, 0.07], [0, 0]).best() == (0, 0, 1)  # all let some domain lose


def test_a_lucky_setting_is_not_chosen() -> None:
    wer = [0.5, 0.1, 0.5, 0.2, 0.2, 0.2]
    assert rates(wer, wer, [1, 1]).best() == (0, 0, 4)


def test_the_tightest_pruning_that_costs_nothing() -> None:
    def tried(*wer: float) -> list[Decoded]:
        return [Decoded(BeamConfig(beam_width=9 - n), {"x": rate}, 0.0) for n, rate in enumerate(wer)]

    assert tightest(tried(0.1, 0.1005, 0.1009, 0.2, 0.1)).config.beam_width == 7
    assert tightest(tried(0.1, 0.2)).config.beam_width == 9
    assert tightest(tried(0.2, 0.1, 0.1)).config.beam_width == 7


def test_a_domain_without_words(two: tuple[Candidates, Utterances]) -> None:
    with pytest.raises(LanguageModelError, match="no word in the references of x"):
        surface(two[0], Utterances([], ["a b", ""], ["y", "x"]), np.zeros(1), np.zeros(1), np.zeros(1))


@pytest.fixture
def task(tables: Any, tmp_path: Path) -> Task:
    """Two utterances of three frames of noise."""
    path = tmp_path / "model.arpa"
    write_arpa(path, tables.estimate(["a b", "a", "b a", "ac b"] * 3, 2).model)
    log_probs = np.log(np.random.default_rng(0).dirichlet(np.ones(5), (2, 3)))
    utterances = Utterances(list(log_probs), ["a b", "ac"], ["x", "x"])
    ngram = KenLM(path)
    return Task(utterances, ngram, make_lexicon(ngram, read_words(path)), load_kenlm(path), PIECES, spell, wrong_words)


def test_lists_hold_every_hypothesis_once_with_its_parts(task: Task, tables: Any, tmp_path: Path) -> None:
    lists, shown = Lists(task), []
    lists.extend(task.search(EXACT, with_lm=False), 10_000, lambda what, done, total: shown.append((done, total)))
    assert shown == [(1, 2), (2, 2)]
    n_found = len(lists.candidates().errors)
    lists.extend(task.search(BeamConfig(beam_width=3, alpha=0.7, recombine=False)))  # less of what is there already
    candidates = lists.candidates()
    assert len(candidates.errors) == n_found
    for utterance_id in (0, 1):
        chosen = candidates.utterance_ids == utterance_id
        assert np.exp(candidates.log_probs[chosen]).sum() == pytest.approx(1)  # all token sequences, and each once
    table = tables.read(tmp_path / "model.arpa")
    expected = np.log(10) * (
        tables.log_prob(table, ("<s>",), "a")
        + tables.log_prob(table, ("a",), "b")
        + tables.log_prob(table, ("b",), "</s>")
    )
    right = (candidates.utterance_ids == 0) & (candidates.errors == 0)
    assert candidates.lm_log_probs[right] == pytest.approx(expected, abs=1e-4)
    assert set(candidates.n_words[right].tolist()) == {2}
    assert not candidates.n_unknown[right].any()


def test_the_weights_found_are_those_of_decoding_with_each(task: Task) -> None:
    """With all hypotheses in the lists, the surface is what an exact search gives under every setting."""
    grid = (np.array([-5.0, 0.0]), np.array([0.2, 0.7, 1.2]), np.array([-1.0, 1.0, 3.0]))
    found, best = find_weights(task, EXACT, grid)
    assert (best.unk_score, best.alpha, best.beta) == tuple(
        values[index] for values, index in zip(grid, found.best(), strict=True)
    )
    for unk_id, alpha_id, beta_id in np.ndindex(found.macro.shape):
        unk_score, alpha, beta = float(grid[0][unk_id]), float(grid[1][alpha_id]), float(grid[2][beta_id])
        config = replace(EXACT, unk_score=unk_score, alpha=alpha, beta=beta)
        assert decode(task, config).macro == pytest.approx(found.macro[unk_id, alpha_id, beta_id])
    assert decode(task, best).config == best and decode(task, best).cpu_s > 0


def test_the_best_weight_of_the_priors_is_found(task: Task) -> None:
    """Under each it is `find_weights`, and what decodes best is taken; of equals the first."""
    config = replace(EXACT, log_priors=tuple(np.log([0.1, 0.05, 0.6, 0.05, 0.2]).tolist()))
    grid = (np.array([-5.0]), np.array([0.2, 0.7]), np.array([-1.0, 1.0]))
    by_hand = {
        weight: decode(task, find_weights(task, replace(config, prior_weight=weight), grid)[1]).macro
        for weight in (0.0, 0.5, 1.0, 2.0)
    }
    found, best = find_settings(task, config, grid, tuple(by_hand))
    assert len(set(by_hand.values())) > 1
    assert decode(task, best).macro == min(by_hand.values())
    assert best.prior_weight == min(by_hand, key=lambda weight: by_hand[weight])
    plain, _ = find_weights(task, config, grid)
    assert found.without.tolist() == plain.without.tolist()
