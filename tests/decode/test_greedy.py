"""Greedy decoding against a worked case, a plain loop and the Viterbi aligner."""

from itertools import groupby

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decode.align import align
from decode.greedy import greedy_align, greedy_decode

BLANK = 3


def one_hot(labels: list[int]) -> np.ndarray:
    return np.eye(BLANK + 1, dtype=np.float32)[labels].reshape(-1, BLANK + 1)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ([0, 0, BLANK, 0, 1, 1, 2, BLANK], [0, 0, 1, 2]),
        ([BLANK, BLANK], []),
        ([1], [1]),
        ([2, 1, 2], [2, 1, 2]),
        ([], []),
    ],
)
def test_worked_cases(path: list[int], expected: list[int]) -> None:
    assert greedy_decode(one_hot(path), BLANK) == expected


@given(st.lists(st.integers(0, BLANK), max_size=30), st.integers(0, BLANK))
def test_agrees_with_a_plain_loop_for_any_blank(path: list[int], blank_id: int) -> None:
    expected = [label for label, _ in groupby(path) if label != blank_id]
    assert greedy_decode(one_hot(path), blank_id) == expected


@given(st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_greedy_path_is_the_best_alignment_of_its_own_tokens(n_frames: int, seed: int) -> None:
    log_probs = np.log(np.random.default_rng(seed).dirichlet(np.ones(4), n_frames)).astype(np.float32)
    fast = greedy_align(log_probs, BLANK)
    slow = align(log_probs, greedy_decode(log_probs, BLANK), BLANK)
    assert fast.token_ids == slow.token_ids
    np.testing.assert_array_equal(fast.start_frames, slow.start_frames)
    np.testing.assert_array_equal(fast.end_frames, slow.end_frames)
    np.testing.assert_array_equal(fast.log_probs, slow.log_probs)


def test_no_frames_give_an_empty_alignment() -> None:
    alignment = greedy_align(np.zeros((0, 4), dtype=np.float32), BLANK)
    assert alignment.token_ids == ()
    assert alignment.start_frames.shape == alignment.log_probs.shape == (0,)


@pytest.mark.parametrize("shape", [(4,), (1, 5, 4)])
def test_a_batch_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected log_probs \(T, V\)"):
        greedy_decode(np.zeros(shape, dtype=np.float32), BLANK)


@pytest.mark.parametrize("blank_id", [-1, 4])
def test_a_blank_outside_the_labels_is_refused(blank_id: int) -> None:
    with pytest.raises(ValueError, match=r"expected blank_id in \[0, 4\)"):
        greedy_decode(np.zeros((5, 4), dtype=np.float32), blank_id)
