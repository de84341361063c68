"""CTC segmentation: which frames of a long recording belong to which sentence of its text.

Viterbi over the graph of `decode.align`, with two changes for texts that are not quite what was said. Between sentences
the blank may stand for any speech at `Costs.other_speech` a frame, and a sentence may be left out at
`Costs.left_out`. After Kürzinger et al., "CTC-Segmentation of Large Corpora", 2020, which has neither.

Scores are relative: a label costs how far it is below the best label of its frame.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from decode.align import Alignment, check_log_probs, token_spans

Array = npt.NDArray[np.float32]
Indexes = npt.NDArray[np.int64]

BLOCK_FRAMES = 128
"""Frames whose corridor is the same; back-pointers are held for so many at once."""
NO_PATH = np.float32(-1e30)


@dataclass(frozen=True, kw_only=True)
class Costs:
    """Natural log-scores that a path pays."""

    other_speech: float = 1.5
    """For a frame between sentences whose best label is not blank, or less where blank is nearly as good."""
    left_out: float = 7.0
    """For each token of a sentence that is left out."""
    left_out_more: float = 4.0
    """For the sentence itself: very short ones are often not heard amid others, and are worth a second hearing."""
    pause: float = 0.3
    """For a blank frame inside a sentence, so that its ends do not drift into other speech."""
    misheard: float = 10.0
    """At most, for a label in a frame: what bounds the harm of a wrong word."""


@dataclass(frozen=True)
class Corridor:
    """For each block of `BLOCK_FRAMES` the tokens that may lie in it, counted through all sentences.

    Attributes:
        first: int64 ``(n_blocks,)``, never falling; 0 in the first block.
        last: int64 ``(n_blocks,)``, one past the last token, never falling; all tokens in the last block.
    """

    first: Indexes
    last: Indexes


def open_corridor(n_frames: int, n_tokens: int) -> Corridor:
    """Return the corridor that excludes nothing: time and memory are those of a full search."""
    n_blocks = -(-n_frames // BLOCK_FRAMES)
    return Corridor(np.zeros(n_blocks, np.int64), np.full(n_blocks, n_tokens))


def segment(
    log_probs: npt.NDArray[np.floating],
    sentences: Sequence[Sequence[int]],
    blank_id: int,
    corridor: Corridor | None = None,
    costs: Costs | None = None,
) -> list[Alignment | None]:
    """Find the frames of each sentence.

    Time and memory O(T * width of the corridor); memory for back-pointers is that of one block.

    Args:
        log_probs: ``(T, V)``, natural log-probabilities; float16 will do.
        sentences: token ids of each, none of them blank, at least one token each.
        blank_id: index of the blank label.
        corridor: where tokens may lie; None for anywhere.
        costs: None for the defaults.

    Returns:
        for each sentence its aligned tokens, or None where it was left out. The ``log_probs`` of an alignment are
        relative to the best label of each frame.

    Raises:
        ValueError: wrong shape, a label outside [0, V) or blank, an empty sentence.
    """
    check_log_probs(log_probs, blank_id)
    _check_sentences(sentences, log_probs.shape[1], blank_id)
    if not len(log_probs) or not sentences:
        return [None] * len(sentences)
    graph = _graph(sentences, log_probs.shape[1], blank_id)
    if corridor is None:
        corridor = open_corridor(len(log_probs), len(graph.token_states))
    path = _best_path(log_probs, graph, corridor, costs or Costs(), blank_id)
    return list(_read_path(log_probs, graph, path, sentences))


@dataclass(frozen=True)
class _Graph:
    """States: gap, token, blank, token, gap, token, gap, ... with a gap before, between and behind the sentences."""

    labels: Indexes  # of each state; V for a gap
    skips: Array  # 0 where a state can be entered from two back, else NO_PATH
    gaps: Indexes  # states, one more than sentences
    token_states: Indexes


def _graph(sentences: Sequence[Sequence[int]], n_labels: int, blank_id: int) -> _Graph:
    lengths = np.array([len(sentence) for sentence in sentences])
    gaps = np.concatenate([[0], np.cumsum(2 * lengths)])
    labels = np.full(gaps[-1] + 1, blank_id)
    token_states = np.arange(1, len(labels), 2)
    labels[token_states] = np.concatenate([np.asarray(sentence) for sentence in sentences])
    labels[gaps] = n_labels
    can_skip = np.zeros(len(labels), np.bool_)
    can_skip[3::2] = labels[3::2] != labels[1:-2:2]
    return _Graph(labels, np.where(can_skip, np.float32(0), NO_PATH), gaps, token_states)


def _best_path(
    log_probs: npt.NDArray[np.floating], graph: _Graph, corridor: Corridor, costs: Costs, blank_id: int
) -> Indexes:
    """Return the state of every frame: scores forwards, one row kept a block; then each block again, backwards."""
    starts = range(0, len(log_probs), BLOCK_FRAMES)
    low, high = 2 * corridor.first, 2 * corridor.last + 1
    scores = np.full(len(graph.labels) + 2, NO_PATH, np.float32)  # state s is at s + 2: nothing leads to two of them
    scores[2] = 0.0
    _leave_out(scores[2:], graph.gaps, costs)
    scores[high[0] + 2 :] = NO_PATH
    saved: list[Array] = []

    def run(number: int, moves: npt.NDArray[np.int8] | None, jumps: list[Indexes]) -> None:
        rows = _emissions(log_probs[starts[number] : starts[number] + BLOCK_FRAMES], blank_id, costs)
        _advance(rows, graph, scores, (low[number], high[number]), costs, moves, jumps)

    for number in range(len(starts)):
        begin = low[number - 1] if number else 0
        scores[begin + 2 : low[number] + 2] = NO_PATH
        band = scores[low[number] + 2 : high[number] + 2]
        band -= band.max()  # float32 stays exact enough in a recording of any length
        saved.append(band.copy())
        run(number, None, [])
    path = np.empty(len(log_probs), np.int64)
    state = _last_state(scores[2:])
    for number in reversed(range(len(starts))):
        scores[:] = NO_PATH
        scores[low[number] + 2 : high[number] + 2] = saved.pop()
        n = min(BLOCK_FRAMES, len(log_probs) - starts[number])
        moves = np.zeros((n, high[number] - low[number]), np.int8)
        jumps: list[Indexes] = []
        run(number, moves, jumps)
        state = _trace(path[starts[number] : starts[number] + n], moves, jumps, graph.gaps, low[number], state)
    return path


def _emissions(log_probs: npt.NDArray[np.floating], blank_id: int, costs: Costs) -> Array:
    """Return relative scores ``(t, V + 1)``, the last column that of a gap, the blank's that inside a sentence."""
    rows = log_probs.astype(np.float32)
    rows -= rows.max(axis=1, keepdims=True)
    np.maximum(rows, -costs.misheard, out=rows)
    gap = np.maximum(rows[:, blank_id], -costs.other_speech)
    rows[:, blank_id] -= costs.pause
    return np.concatenate([rows, gap[:, None]], axis=1)


def _advance(
    rows: Array,
    graph: _Graph,
    scores: Array,
    band: tuple[int, int],
    costs: Costs,
    moves: npt.NDArray[np.int8] | None,
    jumps: list[Indexes],
) -> None:
    """Carry the best scores over some frames, in place, inside a band of states.

    Args:
        moves: when given, receives how many states back (0, 1, 2) the best path to each came from, ``(t, width)``; and
            ``jumps``, for each frame and gap of the band, the gap that it was reached from by leaving sentences out.
    """
    low, high = band
    labels, skips = graph.labels[low:high], graph.skips[low:high]
    gaps = graph.gaps[np.searchsorted(graph.gaps, low) : np.searchsorted(graph.gaps, high)] - low
    here, one_back, two_back = scores[low + 2 : high + 2], scores[low + 1 : high + 1], scores[low:high]
    for frame, row in enumerate(rows):
        far = two_back + skips
        near = np.maximum(here, one_back)
        if moves is not None:
            move = (one_back > here).astype(np.int8)
            move[far > near] = 2
            moves[frame] = move
        best = np.maximum(near, far)
        best += row[labels]
        jumped = _leave_out(best, gaps, costs)
        if moves is not None:
            jumps.append(jumped)
        here[:] = best


def _leave_out(scores: Array, gaps: Indexes, costs: Costs) -> Indexes:
    """Let each gap be reached from earlier ones by leaving out what is between, in place; return from which."""
    ramp = (gaps * (costs.left_out / 2) + np.arange(len(gaps)) * costs.left_out_more).astype(np.float32)
    raised = scores[gaps] + ramp
    highest = np.maximum.accumulate(raised)
    scores[gaps] = highest - ramp
    origins: Indexes = np.maximum.accumulate(np.where(raised >= highest, np.arange(len(gaps)), 0))
    return origins


def _last_state(scores: Array) -> int:
    """Choose between the gap behind all sentences and the last token before it."""
    return len(scores) - 1 - int(scores[-1] < scores[-2])


def _trace(
    path: Indexes, moves: npt.NDArray[np.int8], jumps: list[Indexes], gaps: Indexes, low: int, state: int
) -> int:
    """Fill in a block's states, last first; return the state of the frame before it."""
    first_gap = int(np.searchsorted(gaps, low))
    for frame in range(len(path) - 1, -1, -1):
        number = int(np.searchsorted(gaps, state))
        if number < len(gaps) and gaps[number] == state:
            state = int(gaps[first_gap + jumps[frame][number - first_gap]])
        path[frame] = state
        state -= int(moves[frame, state - low])
    return state


def _read_path(
    log_probs: npt.NDArray[np.floating], graph: _Graph, path: Indexes, sentences: Sequence[Sequence[int]]
) -> Iterator[Alignment | None]:
    edges = np.searchsorted(path, graph.gaps, "right"), np.searchsorted(path, graph.gaps, "left")
    for number, sentence in enumerate(sentences):
        start, end = int(edges[0][number]), int(edges[1][number + 1])
        if start >= end:
            yield None
            continue
        rows = log_probs[start:end].astype(np.float32)
        rows -= rows.max(axis=1, keepdims=True)
        place = path[start:end] - graph.gaps[number]
        owners = np.where(place % 2 == 1, place // 2, -1)
        yield token_spans(rows, owners, np.asarray(sentence)).shifted(start)


def _check_sentences(sentences: Sequence[Sequence[int]], n_labels: int, blank_id: int) -> None:
    for number, sentence in enumerate(sentences):
        if not len(sentence):
            raise ValueError(f"expected tokens in every sentence, got none in sentence {number}: leave it out")
        wrong = [label for label in sentence if not 0 <= label < n_labels or label == blank_id]
        if wrong:
            raise ValueError(
                f"expected token ids in [0, {n_labels}) without the blank {blank_id}, got {wrong[0]} in sentence "
                f"{number}: encode the text with the tokenizer of the model that made the log_probs"
            )
