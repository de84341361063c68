"""Words from aligned pieces: worked cases, and what holds for any pieces."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decode.align import Alignment
from decode.words import group_words, split_words


def aligned(spans: list[tuple[int, int]], probs: list[float] | None = None) -> Alignment:
    starts, ends = np.array(spans, dtype=np.int64).reshape(-1, 2).T
    log_probs = np.log(np.array(probs or [1.0] * len(spans), dtype=np.float32))
    return Alignment(tuple(range(len(spans))), starts, ends, log_probs)


def test_worked_case() -> None:
    alignment = aligned([(2, 3), (4, 6), (9, 10)], [0.9, 0.4, 0.5])
    hello, you = group_words(["▁he", "llo", "▁you"], alignment, frame_s=0.08, offset_s=10.0)
    assert (hello.word, you.word) == ("hello", "you")
    assert (hello.start, hello.end) == pytest.approx((10.16, 10.48))
    assert (you.start, you.end) == pytest.approx((10.72, 10.8))
    assert (hello.confidence, you.confidence) == pytest.approx((0.6, 0.5))  # sqrt(0.9 * 0.4)


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([], []),
        (["▁"], []),
        (["▁", "▁the"], ["the"]),
        (["▁", "x", "y"], ["xy"]),
        (["llo", "▁you"], ["llo", "you"]),
        (["▁как", "▁де", "ла"], ["как", "дела"]),
        (["▁我", "们", "好"], ["我", "们", "好"]),
        (["▁", "我", "ok", "吗"], ["我", "ok", "吗"]),
        (["▁ok吗", "a"], ["ok", "吗", "a"]),
        (["▁a▁b"], ["a", "b"]),
    ],
)
def test_word_boundaries(pieces: list[str], expected: list[str]) -> None:
    words = group_words(pieces, aligned([(i, i + 1) for i in range(len(pieces))]), frame_s=1.0)
    assert [word.word for word in words] == expected


def test_a_piece_of_several_chinese_characters_is_shared_out_evenly() -> None:
    words = group_words(["▁你好吗"], aligned([(3, 6)], [0.25]), frame_s=1.0)
    assert [(word.word, word.start, word.end) for word in words] == [("你", 3, 4), ("好", 4, 5), ("吗", 5, 6)]
    assert [word.confidence for word in words] == pytest.approx([0.25] * 3)


def test_posteriors_that_round_above_one_stay_within_one() -> None:
    alignment = aligned([(0, 1)], [1.0001])
    assert group_words(["▁a"], alignment, frame_s=1.0)[0].confidence == 1.0


def test_pieces_of_another_alignment_are_refused() -> None:
    with pytest.raises(ValueError, match="one piece for each of 1 aligned tokens, got 2"):
        group_words(["▁a", "b"], aligned([(0, 1)]), frame_s=1.0)


@given(
    st.lists(st.tuples(st.text("▁ab你好", min_size=1, max_size=4), st.integers(0, 3), st.integers(1, 3)), max_size=12),
    st.floats(0.001, 1.0),
    st.floats(0.0, 1e5),
)
def test_words_keep_the_text_and_never_overlap(
    tokens: list[tuple[str, int, int]], frame_s: float, offset_s: float
) -> None:
    spans, frame = [], 0
    for _, gap, n_frames in tokens:
        spans.append((frame + gap, frame + gap + n_frames))
        frame += gap + n_frames
    pieces = [piece for piece, _, _ in tokens]
    words = group_words(pieces, aligned(spans), frame_s, offset_s)
    assert [word.word for word in words] == split_words("".join(pieces).replace("▁", " "))
    times = [time for word in words for time in (word.start, word.end)]
    assert times == sorted(times)
    assert all(word.start < word.end for word in words)
