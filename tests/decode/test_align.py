"""Viterbi alignment against a worked case and every path of tiny inputs."""

from itertools import groupby, pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import decode.align
from decode.align import align

BLANK = 2


def collapse(path: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(label for label, _ in groupby(path) if label != BLANK)


def random_log_probs(n_frames: int, seed: int, n_labels: int = 3) -> np.ndarray:
    return np.log(np.random.default_rng(seed).dirichlet(np.ones(n_labels), n_frames)).astype(np.float32)


def best_spans(log_probs: np.ndarray, tokens: tuple[int, ...]) -> list[tuple[int, int, float]]:
    """Try every path: (start, end, mean log-prob) of the tokens on the best one."""
    paths = [path for path in product(range(3), repeat=len(log_probs)) if collapse(path) == tokens]
    path = max(paths, key=lambda labels: sum(float(log_probs[t, label]) for t, label in enumerate(labels)))
    spans, frame = [], 0
    for label, run in groupby(path):
        n_frames = len(list(run))
        if label != BLANK:
            spans.append((frame, frame + n_frames, float(log_probs[frame : frame + n_frames, label].mean())))
        frame += n_frames
    return spans


def test_worked_case_with_a_repeated_token() -> None:
    # Frames 0-1 say "a", frame 2 is undecided between blank and "a", frame 3 says "a": "aa" needs the blank at 2.
    probs = np.array([[0.9, 0.0, 0.1], [0.8, 0.0, 0.2], [0.6, 0.0, 0.4], [0.7, 0.0, 0.3]])
    with np.errstate(divide="ignore"):
        alignment = align(np.log(probs), [0, 0], BLANK)
    assert alignment.token_ids == (0, 0)
    assert alignment.start_frames.tolist() == [0, 3]
    assert alignment.end_frames.tolist() == [2, 4]
    np.testing.assert_allclose(np.exp(alignment.log_probs), [np.sqrt(0.9 * 0.8), 0.7], rtol=1e-6)
    assert alignment.log_probs.dtype == np.float32


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 6), st.lists(st.integers(0, 1), max_size=4), st.integers(0, 2**32 - 1))
def test_agrees_with_every_path_tried(n_frames: int, tokens: list[int], seed: int) -> None:
    log_probs = random_log_probs(n_frames, seed)
    needed = len(tokens) + sum(a == b for a, b in pairwise(tokens))
    if n_frames < needed:
        with pytest.raises(ValueError, match=f"at least {needed} frames for {len(tokens)} tokens, got {n_frames}"):
            align(log_probs, tokens, BLANK)
        return
    alignment = align(log_probs, tokens, BLANK)
    found = zip(alignment.start_frames, alignment.end_frames, alignment.log_probs, strict=True)
    expected = best_spans(log_probs, tuple(tokens))
    assert [(start, end) for start, end, _ in found] == [(start, end) for start, end, _ in expected]
    # 1e-5: float32 means against the test's own order of summation.
    np.testing.assert_allclose(alignment.log_probs, [mean for _, _, mean in expected], atol=1e-5)


@pytest.mark.parametrize("block", [1, 2, 7, 64])
def test_blocks_do_not_change_the_path(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    log_probs = random_log_probs(64, seed=1, n_labels=9)
    tokens = [0, 0, 1, 3, 3, 3, 5, 1, 0, 8]
    whole = align(log_probs, tokens, BLANK)
    monkeypatch.setattr(decode.align, "MIN_BLOCK_FRAMES", block)
    parts = align(log_probs, tokens, BLANK)
    np.testing.assert_array_equal(whole.start_frames, parts.start_frames)
    np.testing.assert_array_equal(whole.end_frames, parts.end_frames)


def test_blank_frames_around_an_utterance_only_shift_it() -> None:
    log_probs = random_log_probs(12, seed=2)
    silence = np.log(np.array([[1e-9, 1e-9, 1 - 2e-9]] * 5, dtype=np.float32))
    alone = align(log_probs, [0, 1, 1], BLANK)
    padded = align(np.concatenate([silence, log_probs, silence]), [0, 1, 1], BLANK)
    np.testing.assert_array_equal(alone.start_frames + 5, padded.start_frames)
    np.testing.assert_array_equal(alone.end_frames + 5, padded.end_frames)


def test_tokens_filling_every_frame() -> None:
    alignment = align(random_log_probs(4, seed=3), [0, 1, 0, 1], BLANK)
    assert alignment.start_frames.tolist() == [0, 1, 2, 3]
    assert alignment.end_frames.tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize("n_frames", [0, 3])
def test_no_tokens_give_an_empty_alignment(n_frames: int) -> None:
    alignment = align(random_log_probs(n_frames, seed=4), [], BLANK)
    assert alignment.token_ids == ()
    assert alignment.start_frames.shape == alignment.end_frames.shape == alignment.log_probs.shape == (0,)


@pytest.mark.parametrize("token", [-1, 3, BLANK])
def test_labels_that_cannot_be_aligned_are_refused(token: int) -> None:
    with pytest.raises(ValueError, match=f"without the blank 2, got {token}"):
        align(random_log_probs(4, seed=5), [0, token], BLANK)


@pytest.mark.parametrize("value", [-np.inf, np.nan])
def test_no_possible_path_is_refused(value: float) -> None:
    log_probs = random_log_probs(4, seed=6)
    log_probs[2] = value
    with pytest.raises(ValueError, match="non-zero probability"):
        align(log_probs, [0, 1], BLANK)
