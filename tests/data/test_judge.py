"""`data.judge` with a model that is told what it hears."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from data.judge import FAR, Judge, Verdict
from data.segment import MIN_SCORE, _why_dropped
from decode.align import Alignment

Array = npt.NDArray[np.float32]

FRAME_S = 0.08
N_SAMPLES = 16000


def judge(pieces: list[str], heard: list[Array], sentences: list[list[int]]) -> list[Verdict]:
    """Judge sentences of a second each, with two seconds between them."""
    rows = (row for rows in heard for row in (rows, rows))  # near, and with what lies around
    config = SimpleNamespace(frame_s=FRAME_S, blank_id=len(pieces))
    runtime: Any = SimpleNamespace(config=config, log_probs=lambda waveform: next(rows))
    frames = np.arange(len(sentences[0]))
    placed = [Alignment(tuple(ids), frames, frames + 1, np.zeros(len(ids), np.float32)) for ids in sentences]
    spans = [(3.0 * number, 3.0 * number + 1) for number in range(len(sentences))]
    waveform = np.zeros(3 * N_SAMPLES * len(sentences), np.float32)
    return list(Judge(runtime, pieces).verdicts([waveform], placed, spans))


def clear(ids: list[int], n_labels: int) -> Array:
    """Each token in every second frame, the blank between."""
    rows = np.full((2 * len(ids) + 1, n_labels), 0.1 / n_labels)
    rows[np.arange(1, len(rows), 2), ids] += 0.9
    rows[::2, -1] += 0.9
    return np.log(rows).astype(np.float32)


@pytest.mark.parametrize(
    "pieces",
    [
        [f"▁{letter}" for letter in "abcdefghijkl"],
        [f"▁{letter}" for letter in "абвгдежзиклм"],
        list("一二三四五六七八九十百千"),
    ],
)
def test_what_is_not_understood_is_no_evidence_for_its_text(pieces: list[str]) -> None:
    rng = np.random.default_rng(0)
    sentences = [rng.permutation(len(pieces))[:5].tolist() for _ in range(8)]
    heard = [clear(ids, len(pieces) + 1) for ids in sentences]
    heard[2] = np.full_like(heard[2], -np.log(len(pieces) + 1))
    heard[5] = heard[6]
    verdicts = judge(pieces, heard, sentences)
    reasons = [_why_dropped(verdict, MIN_SCORE, 0.0) for verdict in verdicts]
    assert reasons[2] == "like other text" and verdicts[2].score == 0.0 and abs(verdicts[2].evidence) < 1
    assert reasons[5] and not any(reasons[number] for number in (0, 1, 3, 4, 6, 7))
    assert _why_dropped(verdicts[2], MIN_SCORE, 5.0) == "" == _why_dropped(verdicts[5], -FAR, 0.0)


def test_edges_are_those_of_the_sentence_heard_alone() -> None:
    sentences = [[0, 1, 2], [2, 1, 0]]
    first, second = judge(["▁a", "▁b", "▁c"], [clear(ids, 4) for ids in sentences], sentences)
    assert first.edges == pytest.approx((FRAME_S, 6 * FRAME_S))
    assert second.doubt_s((3.0, 3.5)) == pytest.approx(max(abs(1.0 + FRAME_S - 3.0), abs(1.0 + 6 * FRAME_S - 3.5)))


def test_too_few_frames_and_nothing_to_compare_with() -> None:
    (few,) = judge(["▁a", "▁b"], [clear([0], 3)[:1]], [[0, 1]])
    assert (few.score, few.evidence) == (-FAR, -FAR) and few.doubt_s((0.0, 0.2)) > 10
    (alone,) = judge(["▁a"], [clear([0], 2)], [[0]])
    assert alone.evidence == FAR
