"""Segmentation on made-up log_probs, where the truth is known."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

from decode.align import align
from decode.segment import BLOCK_FRAMES, Corridor, segment

BLANK = 30
Array = npt.NDArray[np.float32]
Span = tuple[int, int]


def said(
    sentences: Sequence[Sequence[int]], rng: np.random.Generator, certainty: float = 0.9999
) -> tuple[Array, list[Span]]:
    """Return log_probs `(T, 31)` of sentences with pauses between them, and the frames of each."""
    labels, spans = [BLANK] * 5, []
    for sentence in sentences:
        start = len(labels)
        for token in sentence:
            labels += [token] * int(rng.integers(1, 3)) + [BLANK] * int(rng.integers(1, 4))
        while labels[-1] == BLANK:
            labels.pop()
        spans.append((start, len(labels)))
        labels += [BLANK] * int(rng.integers(4, 30))
    probs = np.full((len(labels), BLANK + 1), (1 - certainty) / BLANK)
    probs[np.arange(len(labels)), labels] = certainty
    return np.log(probs).astype(np.float32), spans


def draw(n: int, rng: np.random.Generator) -> list[list[int]]:
    return [rng.integers(0, BLANK, int(rng.integers(2, 15))).tolist() for _ in range(n)]


def found(log_probs: Array, sentences: Sequence[Sequence[int]], corridor: Corridor | None = None) -> list[Span | None]:
    placed = segment(log_probs, sentences, BLANK, corridor)
    return [None if a is None else (int(a.start_frames[0]), int(a.end_frames[-1])) for a in placed]


@pytest.mark.parametrize("seed", range(5))
def test_what_is_said_is_found_to_the_frame(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sentences = draw(20, rng)
    log_probs, spans = said(sentences, rng)
    assert found(log_probs, sentences) == spans


@pytest.mark.parametrize("seed", range(5))
def test_speech_without_text_and_text_without_speech_are_passed_over(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sentences = draw(30, rng)
    log_probs, spans = said(sentences, rng)
    without_text, without_speech = {3, 4, 11, 29}, {0, 7, 8, 20, 25}
    text: list[list[int]] = []
    expected: list[Span | None] = []
    for number, sentence in enumerate(sentences):
        if number in without_speech:
            text.append(rng.integers(0, BLANK, 10).tolist())
            expected.append(None)
        if number not in without_text:
            text.append(sentence)
            expected.append(spans[number])
    assert found(log_probs, text) == expected


def test_of_two_exchanged_sentences_neither_is_found() -> None:
    rng = np.random.default_rng(0)
    sentences = draw(12, rng)
    log_probs, spans = said(sentences, rng)
    text = [*sentences]
    text[2], text[9] = text[9], text[2]
    assert found(log_probs, text) == [None if number in (2, 9) else span for number, span in enumerate(spans)]


def test_a_misheard_word_does_not_lose_its_sentence() -> None:
    rng = np.random.default_rng(1)
    sentences = [rng.integers(0, BLANK, 12).tolist() for _ in range(6)]
    log_probs, spans = said(sentences, rng)
    text = [[*sentence[:5], (sentence[5] + 1) % BLANK, *sentence[6:]] for sentence in sentences]
    assert found(log_probs, text) == spans


def test_a_single_sentence_lies_where_forced_alignment_puts_it() -> None:
    rng = np.random.default_rng(2)
    (tokens,) = draw(1, rng)
    log_probs, _ = said([tokens], rng, certainty=0.6)
    (placed,) = segment(log_probs, [tokens], BLANK)
    forced = align(log_probs, tokens, BLANK)
    assert placed is not None
    assert placed.start_frames.tolist() == forced.start_frames.tolist()
    assert placed.end_frames.tolist() == forced.end_frames.tolist()


def truth_corridor(n_frames: int, sentences: Sequence[Sequence[int]], spans: Sequence[Span], margin: int) -> Corridor:
    edges = np.concatenate([[0], np.cumsum([len(sentence) for sentence in sentences])])
    blocks = np.arange(0, n_frames, BLOCK_FRAMES)
    ends, starts = np.array([end for _, end in spans]), np.array([start for start, _ in spans])
    first = edges[np.searchsorted(ends, blocks - margin)]
    last = edges[np.searchsorted(starts, blocks + BLOCK_FRAMES + margin)]
    first[0], last[-1] = 0, edges[-1]
    return Corridor(first, last)


def test_a_corridor_that_holds_the_truth_changes_nothing() -> None:
    rng = np.random.default_rng(3)
    sentences = draw(60, rng)
    log_probs, spans = said(sentences, rng)
    text = [sentence for number, sentence in enumerate(sentences) if number % 7]
    kept = [span for number, span in enumerate(spans) if number % 7]
    assert found(log_probs, text, truth_corridor(len(log_probs), text, kept, 100)) == kept


def test_memory_is_that_of_the_corridor() -> None:
    def peak(n_sentences: int, margin: int | None) -> int:
        rng = np.random.default_rng(4)
        sentences = draw(n_sentences, rng)
        log_probs, spans = said(sentences, rng)
        corridor = None if margin is None else truth_corridor(len(log_probs), sentences, spans, margin)
        tracemalloc.start()
        found(log_probs, sentences, corridor)
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    assert peak(40, None) > 1.7 * peak(40, 20)


def test_float16_and_silence_and_nothing() -> None:
    rng = np.random.default_rng(5)
    sentences = draw(5, rng)
    log_probs, spans = said(sentences, rng)
    placed = segment(log_probs.astype(np.float16), sentences, BLANK)
    assert [int(a.start_frames[0]) for a in placed if a] == [start for start, _ in spans]
    silence = np.log(np.eye(BLANK + 1)[[BLANK] * 50] + 1e-6)
    assert segment(silence, sentences, BLANK) == [None] * 5
    assert segment(silence, [], BLANK) == []
    assert segment(silence[:0], sentences, BLANK) == [None] * 5


def test_wrong_tokens_are_refused() -> None:
    log_probs = np.zeros((4, 3))
    with pytest.raises(ValueError, match="got none in sentence 1"):
        segment(log_probs, [[0], []], 2)
    with pytest.raises(ValueError, match="without the blank 2, got 2 in sentence 0"):
        segment(log_probs, [[2]], 2)
    with pytest.raises(ValueError, match=r"\(T, V\)"):
        segment(log_probs[0], [[0]], 2)
