from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from decode.beam import BeamConfig, BeamSearch
from decode.lm import make_lexicon
from decode.ngram import KenLM, read_words
from lm.arpa import write_arpa
from lm.model import LanguageModelError
from lm.perplexity import load_kenlm
from lm.tune import Candidates, Decoded, Surface, Utterances, decode, gather, surface, tightest

EXACT = BeamConfig(beam_width=2**40, beam_prune_log_prob=-1e9, token_min_log_prob=-1e9, blank_skip=1)
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


def test_gathered_candidates_hold_every_hypothesis_with_its_parts(tables: Any, tmp_path: Path) -> None:
    path = tmp_path / "model.arpa"
    write_arpa(path, tables.estimate(["a b", "a", "b a", "ac b"] * 3, 2).model)
    rng = np.random.default_rng(0)
    log_probs = np.log(rng.dirichlet(np.ones(5), (2, 3)))
    utterances = Utterances(list(log_probs), ["a b", "ac"], ["x", "x"])
    ngram, shown = KenLM(path), []
    candidates = gather(
        utterances,
        ngram=ngram,
        lexicon=make_lexicon(ngram, read_words(path)),
        scorer=load_kenlm(path),
        pieces=PIECES,
        spell=spell,
        count_errors=wrong_words,
        config=EXACT,
        n_best=10_000,
        progress=lambda what, done, total: shown.append((done, total)),
    )
    assert shown == [(1, 2), (2, 2)]
    for utterance_id in (0, 1):
        chosen = candidates.utterance_ids == utterance_id
        assert np.exp(candidates.log_probs[chosen]).sum() == pytest.approx(1)  # all token sequences, and each once
        best = candidates.lm_log_probs[chosen].max()
        assert best < 0
    table = tables.read(path)
    expected = np.log(10) * (
        tables.log_prob(table, ("<s>",), "a")
        + tables.log_prob(table, ("a",), "b")
        + tables.log_prob(table, ("b",), "</s>")
    )
    search = BeamSearch(5, 4, EXACT)
    chosen = [candidates.utterance_ids == utterance_id for utterance_id in (0, 1)]
    best_errors = [candidates.errors[rows][candidates.log_probs[rows].argmax()] for rows in chosen]
    decoded = decode(utterances, search, spell, wrong_words)
    assert decoded.wer == {"x": sum(best_errors) / 3}
    assert decoded.config == EXACT and decoded.cpu_s > 0
    right = (candidates.utterance_ids == 0) & (candidates.errors == 0)
    assert candidates.lm_log_probs[right] == pytest.approx(expected, abs=1e-4)
    assert set(candidates.n_words[right].tolist()) == {2}
    assert not candidates.n_unknown[right].any()
