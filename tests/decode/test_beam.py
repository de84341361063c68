"""Beam search against all paths, and against a prefix search in plain Python that prunes alike."""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from dataclasses import replace
from math import exp, inf, log

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decode import lm
from decode.beam import N_SCORED, BeamSearch, beam_decode
from decode.config import BeamConfig
from decode.greedy import collapse
from decode.lexicon import Lexicon
from decode.transitions import Floats, Ints
from tests.decode.bigrams import PIECES, Bigrams

UNPRUNED = {
    "beam_width": 10**9,
    "beam_prune_log_prob": -1e9,
    "token_min_log_prob": -1e9,
    "blank_skip": 1.0,
    "recombine": False,
}
EXACT = BeamConfig(**UNPRUNED, alpha=0.7, beta=0.4, unk_score=-2.0)  # type: ignore[arg-type]
HAN_PIECES = ("▁明天", "b", "明")  # a piece of two words, and words without a mark
Prefix = tuple[int, ...]


def scorer(pieces: tuple[str, ...], config: BeamConfig) -> lm.WordScorer:
    return lm.WordScorer(Bigrams(), lm.make_lexicon(Bigrams(), Bigrams.known), pieces, config)


def text_score(text: str, config: BeamConfig) -> float:
    """Score a text word by word, as the head of decode/lm.py says."""
    words = text.replace("▁", " ").replace("明", " 明 ").replace("天", " 天 ").split()
    total, state = 0.0, "<s>"
    for word in words:
        log_prob, state = Bigrams().score(state, word)
        total += config.alpha * log_prob + config.beta + config.unk_score * (word not in Bigrams.known)
    return total + config.alpha * Bigrams().score(state, "</s>")[0]


def random_log_probs(n_frames: int, n_labels: int, seed: int, scale: float = 2.0) -> Floats:
    scores = np.random.default_rng(seed).normal(0, scale, (n_frames, n_labels))
    return scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)


def all_paths(log_probs: Floats, blank_id: int) -> dict[Prefix, float]:
    """Sum the probabilities of all V ** T paths by what they collapse to."""
    sums: dict[Prefix, float] = defaultdict(float)
    for path in itertools.product(range(log_probs.shape[1]), repeat=len(log_probs)):
        sums[tuple(collapse(np.array(path, dtype=np.int64), blank_id))] += exp(
            sum(log_probs[t, label] for t, label in enumerate(path))
        )
    return {tokens: log(total) for tokens, total in sums.items() if total > 0}


def test_two_frames_by_hand() -> None:
    found = beam_decode(np.log([[0.6, 0.4], [0.6, 0.4]]), blank_id=1, n_best=3)
    assert [hypothesis.token_ids for hypothesis in found] == [(0,), ()]
    assert [exp(hypothesis.log_prob) for hypothesis in found] == pytest.approx([0.84, 0.16])


@pytest.mark.parametrize("seed", range(4))
def test_without_a_model_it_is_the_sum_over_all_paths(seed: int) -> None:
    log_probs = random_log_probs(5, 4, seed)
    found = beam_decode(log_probs, 3, EXACT, n_best=10**6)
    assert {h.token_ids: h.log_prob for h in found} == pytest.approx(all_paths(log_probs, 3))
    assert [h.score for h in found] == sorted((h.log_prob for h in found), reverse=True)


@pytest.mark.parametrize("pieces", [PIECES, HAN_PIECES])
@pytest.mark.parametrize("seed", range(4))
def test_with_a_model_it_is_the_sum_over_all_paths_and_the_score_of_the_text(
    seed: int, pieces: tuple[str, ...]
) -> None:
    log_probs = random_log_probs(5, 4, seed)
    found = beam_decode(log_probs, 3, EXACT, [scorer(pieces, EXACT)], n_best=10**6)
    expected = all_paths(log_probs, 3)
    assert {h.token_ids: h.log_prob for h in found} == pytest.approx(expected)
    scores = {ids: total + text_score("".join(pieces[i] for i in ids), EXACT) for ids, total in expected.items()}
    assert {h.token_ids: h.score for h in found} == pytest.approx(scores)
    assert found[0].token_ids == max(scores, key=lambda ids: scores[ids])


def test_a_model_of_tokens_scores_tokens() -> None:
    config = EXACT
    pieces = ("a", "b", "x")
    log_probs = random_log_probs(4, 4, seed=1)
    tokens = lm.TokenScorer(Bigrams(), Bigrams.known, pieces, config)
    for hypothesis in beam_decode(log_probs, 3, config, [tokens], n_best=10**6):
        expected = text_score(" ".join(pieces[i] for i in hypothesis.token_ids), config)
        assert hypothesis.score - hypothesis.log_prob == pytest.approx(expected)


def test_words_that_are_added_to_the_lexicon_are_not_unknown() -> None:
    log_probs = np.log(np.full((4, 4), 0.25))
    gains = []
    for extra in ([], ["abb"]):
        words = lm.make_lexicon(Bigrams(), Bigrams.known, extra)
        found = beam_decode(log_probs, 3, EXACT, [lm.WordScorer(Bigrams(), words, PIECES, EXACT)], n_best=10**6)
        gains.append({h.token_ids: h.score - h.log_prob for h in found})
    assert gains[0][0, 1, 1] == pytest.approx(text_score("abb", EXACT))
    assert gains[1][0, 1, 1] - gains[0][0, 1, 1] == pytest.approx(-EXACT.unk_score)
    assert gains[1][1, 1] == pytest.approx(gains[0][1, 1])


def test_a_lexicon_knows_words_and_beginnings() -> None:
    lexicon = Lexicon.of({"the": -1.0, "then": -3.0, "a": -2.0})
    assert "the" in lexicon and "th" not in lexicon and "zoo" not in lexicon
    assert [lexicon.best(text) for text in ("", "t", "the", "then", "a")] == [-1.0, -1.0, -1.0, -3.0, -2.0]
    assert [lexicon.best(text) for text in ("thens", "b", "z")] == [None, None, None]


@given(
    seed=st.integers(0, 10**6),
    n_frames=st.integers(0, 30),
    beam_width=st.integers(1, 12),
    cuts=st.lists(st.integers(0, 30), max_size=4),
    with_model=st.booleans(),
    recombine=st.booleans(),
)
@settings(max_examples=100, deadline=None)
def test_pruned_it_is_the_plain_search_however_the_frames_are_cut(
    seed: int, n_frames: int, beam_width: int, cuts: list[int], with_model: bool, recombine: bool
) -> None:
    config = BeamConfig(
        beam_width=beam_width,
        beam_prune_log_prob=-5.0,
        token_min_log_prob=-3.0,
        blank_skip=0.8,
        alpha=0.6,
        beta=0.5,
        recombine=recombine,
    )
    log_probs = random_log_probs(n_frames, 4, seed)
    log_probs[:, 3] += 1.0
    log_probs -= np.logaddexp.reduce(log_probs, axis=1, keepdims=True)
    search = BeamSearch(4, 3, config, [scorer(PIECES, config)] if with_model else [])
    search.step(log_probs)
    found = search.end(20)
    expected = plain_search(log_probs, 3, config, scorer(PIECES, config) if with_model else None)
    if recombine:  # what it was recombined with comes back, with a score that is an estimate
        assert found[0].log_prob == pytest.approx(expected[found[0].token_ids])
        assert len({h.token_ids for h in found}) == len(found) >= min(20, len(expected))
        assert [h.score for h in found] == sorted((h.score for h in found), reverse=True)
    else:
        assert {h.token_ids: h.log_prob for h in found} == pytest.approx(expected)
    search.begin()
    for part in np.split(log_probs, sorted(cuts)):
        search.step(part)
        assert search.partial() is not None
    assert search.end(20) == found  # to the last bit


def test_long_input_with_tidied_scorers_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    log_probs = random_log_probs(1200, 4, seed=3)
    config = BeamConfig(beam_width=20)
    expected = beam_decode(log_probs, 3, config, [scorer(PIECES, config)], n_best=20)
    monkeypatch.setattr(lm, "MAX_STATES", 10)
    monkeypatch.setattr("decode.transitions.MAX_CELLS", 30)
    tidied = scorer(PIECES, config)
    assert beam_decode(log_probs, 3, config, [tidied], n_best=20) == expected
    tokens = lm.TokenScorer(Bigrams(), Bigrams.known, ("a", "b", "x"), config)
    found = beam_decode(log_probs, 3, config, [tokens], n_best=20)
    monkeypatch.undo()
    tokens = lm.TokenScorer(Bigrams(), Bigrams.known, ("a", "b", "x"), config)
    assert beam_decode(log_probs, 3, config, [tokens], n_best=20) == found


def test_what_was_recombined_comes_back_among_the_alternatives() -> None:
    rows = np.full((9, 4), 1e-6)  # "a" and perhaps "b", and twice "a", with sure blanks between them
    rows[[0, 2, 4, 4, 6, 8], [0, 3, 0, 3, 0, 3]] = 1.0
    rows[[1, 3, 5, 7], 3] = 1.0
    rows[2, [1, 3]], rows[4], rows[6] = (0.6, 0.4), (0.7, 1e-6, 0.3, 1e-6), (1.0, 1e-6, 1e-6, 1e-6)
    log_probs = np.log(rows / rows.sum(axis=1, keepdims=True))
    config = replace(EXACT, recombine=True)
    exact = {h.token_ids: h for h in beam_decode(log_probs, 3, EXACT, [scorer(PIECES, EXACT)], n_best=10**6)}
    found = beam_decode(log_probs, 3, config, [scorer(PIECES, config)], n_best=3)
    assert [h.token_ids for h in found] == list(exact)[:3] and {(0, 0, 0), (0, 1, 0, 0)} < {h.token_ids for h in found}
    for hypothesis in found:  # nearly exact, as it was blank when they were recombined
        expected = exact[hypothesis.token_ids]
        assert (hypothesis.score, hypothesis.log_prob) == pytest.approx((expected.score, expected.log_prob), abs=1e-3)


def test_a_wider_beam_finds_no_worse() -> None:
    log_probs = random_log_probs(60, 4, seed=5, scale=1.0)
    scores = []
    for beam_width in (1, 4, 16, 64):
        config = BeamConfig(beam_width=beam_width, beam_prune_log_prob=-100.0, recombine=False)
        scores.append(beam_decode(log_probs, 3, config, [scorer(PIECES, config)])[0].score)
    assert scores == sorted(scores)


def test_no_frames_one_frame_and_only_blanks() -> None:
    nothing = beam_decode(np.zeros((0, 4)), 3, n_best=5)
    assert [(h.token_ids, h.score) for h in nothing] == [((), 0.0)]
    assert beam_decode(np.log([[0.1, 0.1, 0.7, 0.1]]), 3)[0].token_ids == (2,)
    with np.errstate(divide="ignore"):
        blanks = np.log(np.tile([0.0, 0.0, 0.0, 1.0], (50, 1)))
    assert [(h.token_ids, h.log_prob) for h in beam_decode(blanks, 3, n_best=5)] == [((), 0.0)]
    assert beam_decode(blanks, 3, BeamConfig(blank_skip=1.0))[0].token_ids == ()


def test_impossible_labels_are_allowed() -> None:
    with np.errstate(divide="ignore"):
        log_probs = np.log([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.5, 0.5, 0.0], [0.0, 1.0, 0.0]], dtype=np.float32)
    for config in (EXACT, BeamConfig(), BeamConfig(beam_width=1, beam_prune_log_prob=-0.1)):
        found = beam_decode(log_probs, 2, config, n_best=10)
        assert sum(exp(h.log_prob) for h in found if np.isfinite(h.log_prob)) <= 1.0 + 1e-9
        assert found[0].token_ids in ((0, 0, 1), (0, 1)) and exp(found[0].log_prob) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("log_probs", "message"),
    [
        (np.zeros((1, 4, 4)), r"expected log_probs \(T, V\), got shape \(1, 4, 4\)"),
        (np.full((2, 5), log(0.2)), r"expected log_probs \(T, 4\), got \(2, 5\)"),
        (np.array([[0.25] * 4]), r"expected natural log-probabilities, got probabilities that sum to 5.14 in frame 0"),
        (np.full((2, 4), -inf), r"sum to 0 in frame 0: apply log_softmax"),
        (np.array([[log(0.25)] * 4, [np.nan] * 4]), r"got NaN in frame 1"),
        (np.array([[inf, 0, 0, 0]]), r"in frame 0"),
        (np.array([[1e30, 0, 0, 0]]), r"in frame 0"),
    ],
)
def test_what_is_no_log_probs_is_refused(log_probs: Floats, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BeamSearch(4, 3).step(log_probs)


@given(
    data=st.lists(st.lists(st.floats(width=32), min_size=3, max_size=3), max_size=6),
    is_normalised=st.booleans(),
    beam_width=st.integers(1, 5),
)
@settings(max_examples=150, deadline=None)
def test_whatever_is_fed_gives_a_result_or_a_value_error(
    data: list[list[float]], is_normalised: bool, beam_width: int
) -> None:
    log_probs = np.array(data, dtype=np.float32).reshape(-1, 3)
    with np.errstate(all="ignore"):
        if is_normalised:
            log_probs = log_probs - np.logaddexp.reduce(log_probs.astype(np.float64), axis=1, keepdims=True)
    config = BeamConfig(beam_width=beam_width)
    sums = [sum(exp(min(x, 1.0)) for x in row) for row in log_probs.tolist()]
    if not all(abs(total - 1.0) <= 0.02 for total in sums):
        with pytest.raises(ValueError, match="expected natural log-probabilities, got"):
            beam_decode(log_probs, 2, config)
        return
    found = beam_decode(log_probs, 2, config, [scorer(("▁a", "b"), config)], n_best=3)
    assert 1 <= len(found) <= 3
    assert np.isfinite(found[0].score) and -1e9 < found[0].log_prob < 1e-3 + 0.02 * len(data)


def test_a_config_travels_as_json() -> None:
    config = BeamConfig(beam_width=7, alpha=0.25, beta=-1.0)
    assert BeamConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    config = BeamConfig(prior_weight=0.4, log_priors=(-0.5, -1.0))
    assert BeamConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert BeamConfig.from_dict({}) == BeamConfig()
    with pytest.raises(ValueError, match=r"expected settings among beam_width, .*, got beam_size, colour"):
        BeamConfig.from_dict({"colour": 1, "beam_size": 3})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("beam_width", 0),
        ("beam_width", 1.5),
        ("beam_width", True),
        ("beam_prune_log_prob", 0.0),
        ("token_min_log_prob", -inf),
        ("blank_skip", 1.01),
        ("blank_skip", 0.0),
        ("alpha", -0.1),
        ("alpha", "0.5"),
        ("beta", np.nan),
        ("recombine", 1),
        ("unk_score", None),
        ("confidence_offset", 1000.0),  # exp() of it is too large
        ("prior_weight", -0.1),
        ("prior_weight", 0.1),  # of what?
        ("log_priors", [0.5, "1"]),
        ("log_priors", [np.nan]),
        ("log_priors", -1.0),
    ],
)
def test_a_config_refuses_what_cannot_be(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"expected .*{name}.*, got"):
        BeamConfig.from_dict({name: value})


def test_a_model_without_overlap_is_refused() -> None:
    words = Lexicon.of({"HELLO": -1.0, "WORLD": -1.0})
    with pytest.raises(ValueError, match="expected a language model of words that the tokens can spell, got 'WORLD'"):
        lm.WordScorer(Bigrams(), words, PIECES, BeamConfig())
    with pytest.raises(ValueError, match="expected a language model over the tokens"):
        lm.TokenScorer(Bigrams(), ["one", "two"], PIECES, BeamConfig())


def plain_search(
    log_probs: npt.NDArray[np.floating], blank_id: int, config: BeamConfig, model: lm.WordScorer | None
) -> dict[Prefix, float]:
    """Return the log-probability of every prefix that is left after the last frame: no arrays, the same pruning."""
    beams: dict[Prefix, tuple[float, float]] = {(): (0.0, -inf)}  # of paths that end in blank, and in the last token
    for row in log_probs.tolist():
        if row[blank_id] > log(config.blank_skip):
            beams = {prefix: (plus(*ends) + row[blank_id], -inf) for prefix, ends in beams.items()}
            continue
        likely = [label for label, log_prob in enumerate(row) if log_prob >= config.token_min_log_prob]
        tokens = [label for label in likely or [int(np.argmax(row))] if label != blank_id]
        beams = extend(beams, row, blank_id, tokens, config, model)
        ranks = {prefix: plus(*ends) + total_gain(prefix, model) for prefix, ends in beams.items()}
        beams = {prefix: beams[prefix] for prefix in kept(ranks, max(ranks.values()), config, config.beam_width)}
        if config.recombine:
            beams = recombined(beams, ranks, model)
    return {prefix: plus(*ends) for prefix, ends in beams.items()}


def extend(
    beams: dict[Prefix, tuple[float, float]],
    row: list[float],
    blank_id: int,
    tokens: list[int],
    config: BeamConfig,
    model: lm.WordScorer | None,
) -> dict[Prefix, tuple[float, float]]:
    """Let every prefix stay, and extend it by every token unless that is hopeless before it is scored."""
    new: dict[Prefix, float] = {}
    for prefix, (blank, token) in beams.items():
        for label in tokens:
            new[(*prefix, label)] = (blank if prefix[-1:] == (label,) else plus(blank, token)) + row[label]
    after = {}
    for prefix, (blank, token) in beams.items():
        repeated = token + row[prefix[-1]] if prefix else -inf
        after[prefix] = (plus(blank, token) + row[blank_id], plus(repeated, new.pop(prefix, -inf)))
    ranks = {prefix: log_prob + total_gain(prefix[:-1], model) for prefix, log_prob in new.items()}
    stay = max(plus(*ends) + total_gain(prefix, model) for prefix, ends in after.items())
    worth = kept(ranks, max(stay, *ranks.values(), -inf), config, N_SCORED * config.beam_width)
    return after | {prefix: (-inf, new[prefix]) for prefix in worth}


def recombined(
    beams: dict[Prefix, tuple[float, float]], ranks: dict[Prefix, float], model: lm.WordScorer | None
) -> dict[Prefix, tuple[float, float]]:
    best: dict[tuple[Prefix, int], Prefix] = {}
    for prefix in sorted(beams, key=lambda prefix: -ranks[prefix]):
        best.setdefault((prefix[-1:], scored(prefix, model)[1]), prefix)
    return {prefix: beams[prefix] for prefix in beams if prefix in best.values()}


def kept(ranks: dict[Prefix, float], best: float, config: BeamConfig, n: int) -> list[Prefix]:
    near = [prefix for prefix, rank in ranks.items() if rank > best + config.beam_prune_log_prob]
    return sorted(near, key=lambda prefix: -ranks[prefix])[:n]


def total_gain(prefix: Prefix, model: lm.WordScorer | None) -> float:
    return scored(prefix, model)[0]


def scored(prefix: Prefix, model: lm.WordScorer | None) -> tuple[float, int]:
    """Return what a prefix has gained, and the model's state after it."""
    if model is None:
        return 0.0, 0
    total, state = 0.0, np.array([model.start()])
    for token in prefix:
        tokens: Ints = np.array([token])
        total += float(model.gains(state, tokens)[0])
        state = model.advance(state, tokens)
    return total, int(state[0])


def plus(a: float, b: float) -> float:
    """Return ``log(exp(a) + exp(b))``."""
    return float(np.logaddexp(a, b))
