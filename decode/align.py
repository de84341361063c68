"""CTC alignment: which frames of ``log_probs`` belong to which token.

Viterbi over the graph of Graves et al., ICML 2006: blank, token, blank, token, ..., blank.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isqrt

import numpy as np
import numpy.typing as npt

SUM_TOLERANCE = 0.02
"""How far from 1 the probabilities of a frame may sum: float16 and int8 models are not exact."""

# Frames whose back-pointers are held at once. A longer input keeps one row of scores per block and computes each
# block a second time on the way back, so that memory grows with sqrt(T) * L instead of T * L.
MIN_BLOCK_FRAMES = 1024


@dataclass(frozen=True)
class Alignment:
    """Where each of L tokens lies. Spans follow one another and never overlap; frames outside them are blank.

    Attributes:
        token_ids: the L aligned tokens.
        start_frames: int64 ``(L,)``, first frame of each token.
        end_frames: int64 ``(L,)``, one past the last frame of each token; at least ``start_frames + 1``.
        log_probs: float32 ``(L,)``, mean natural log-probability of the token over its frames.
    """

    token_ids: tuple[int, ...]
    start_frames: npt.NDArray[np.int64]
    end_frames: npt.NDArray[np.int64]
    log_probs: npt.NDArray[np.float32]

    def shifted(self, n_frames: int) -> "Alignment":
        """Return the same tokens so many frames later."""
        return replace(self, start_frames=self.start_frames + n_frames, end_frames=self.end_frames + n_frames)

    def first(self, n_tokens: int) -> "Alignment":
        """Return the first tokens alone."""
        starts, ends = self.start_frames[:n_tokens], self.end_frames[:n_tokens]
        return Alignment(self.token_ids[:n_tokens], starts, ends, self.log_probs[:n_tokens])

    def edges(self, frame_s: float) -> tuple[float, float]:
        """Return where the first token begins and the last one ends, in seconds."""
        return float(self.start_frames[0]) * frame_s, float(self.end_frames[-1]) * frame_s


def joined(alignments: Sequence[Alignment]) -> Alignment:
    """Return the tokens of several alignments, one behind the other."""
    frames, log_probs = np.zeros(0, np.int64), np.zeros(0, np.float32)
    return Alignment(
        token_ids=tuple(token_id for alignment in alignments for token_id in alignment.token_ids),
        start_frames=np.concatenate([frames, *(alignment.start_frames for alignment in alignments)]),
        end_frames=np.concatenate([frames, *(alignment.end_frames for alignment in alignments)]),
        log_probs=np.concatenate([log_probs, *(alignment.log_probs for alignment in alignments)]),
    )


def align(log_probs: npt.NDArray[np.floating], token_ids: Sequence[int], blank_id: int) -> Alignment:
    """Find the most probable CTC path that collapses to ``token_ids``.

    Time O(T * L), memory O(T * L) bytes up to 1,024 frames and O(sqrt(T) * L) beyond. Of equally probable paths the
    one that stays longest in the later state is returned. For the output of the greedy decoder
    `decode.greedy.greedy_align` gives the same answer in O(T).

    Args:
        log_probs: ``(T, V)``, natural log-probabilities.
        token_ids: L labels, none of them blank.
        blank_id: index of the blank label.

    Raises:
        ValueError: wrong shape, a label outside [0, V) or blank, fewer frames than the tokens need (one each, and a
            blank between two equal neighbours), or no path of non-zero probability.

    >>> log_probs = np.log([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]])
    >>> align(log_probs, [0], blank_id=1).start_frames
    array([1])
    """
    check_log_probs(log_probs, blank_id)
    tokens = np.asarray(token_ids, dtype=np.int64)
    check_tokens(tokens, log_probs.shape, blank_id)
    return best_spans(log_probs, tokens, blank_id, is_open=False)


def best_spans(
    log_probs: npt.NDArray[np.floating], tokens: npt.NDArray[np.int64], blank_id: int, *, is_open: bool
) -> Alignment:
    """Place tokens `(L,)` by the best path; if it is open, it may end before the last of them."""
    if not len(tokens):
        return token_spans(log_probs, np.full(len(log_probs), -1), tokens)
    states = np.full(2 * len(tokens) + 1, blank_id, dtype=np.int64)
    states[1::2] = tokens
    path = _viterbi(log_probs, states, blank_id, is_open=is_open)
    return token_spans(log_probs, np.where(path % 2 == 1, path // 2, -1), tokens[: (path[-1] + 1) // 2])


def check_log_probs(log_probs: npt.NDArray[np.floating], blank_id: int) -> None:
    """Refuse anything but ``(T, V)`` with the blank inside [0, V)."""
    if log_probs.ndim != 2:
        raise ValueError(f"expected log_probs (T, V), got shape {log_probs.shape}: pass one utterance")
    if not 0 <= blank_id < log_probs.shape[1]:
        raise ValueError(f"expected blank_id in [0, {log_probs.shape[1]}), got {blank_id}: pass the bundle's blank_id")


def check_normalised(log_probs: npt.NDArray[np.floating], n_labels: int, blank_id: int) -> None:
    """Refuse anything but ``(T, n_labels)`` whose every row holds the natural logarithms of a distribution.

    Raises:
        ValueError: the shape differs, a NaN, or a row whose probabilities do not sum to 1 within 0.02.
    """
    check_log_probs(log_probs, blank_id)
    if log_probs.shape[1] != n_labels:
        raise ValueError(
            f"expected log_probs (T, {n_labels}), got {log_probs.shape}: use the tokens of the model that made them"
        )
    sums = np.exp(np.minimum(log_probs, 1.0)).sum(axis=1)  # e**1 is too much already, and does not overflow
    wrong = np.flatnonzero(~(np.abs(sums - 1.0) <= SUM_TOLERANCE))
    if len(wrong):
        frame = int(wrong[0])
        found = "NaN" if np.isnan(log_probs[frame]).any() else f"probabilities that sum to {sums[frame]:.3g}"
        raise ValueError(
            f"expected natural log-probabilities, got {found} in frame {frame}: "
            "apply log_softmax to the model's output, and look for damaged audio or weights"
        )


def token_spans(
    log_probs: npt.NDArray[np.floating], owners: npt.NDArray[np.int64], tokens: npt.NDArray[np.int64]
) -> Alignment:
    """Turn a path into token spans.

    Args:
        log_probs: ``(T, V)``.
        owners: ``(T,)``, for each frame the position in ``tokens`` it belongs to, -1 for blank; every position occurs,
            in order, in neighbouring frames.
        tokens: ``(L,)`` labels.
    """
    frames = np.flatnonzero(owners >= 0)
    owned = owners[frames]
    positions = np.arange(len(tokens))
    first, last = np.searchsorted(owned, positions, "left"), np.searchsorted(owned, positions, "right") - 1
    totals = np.bincount(owned, weights=log_probs[frames, tokens[owned]], minlength=len(tokens))
    means = (totals / (last - first + 1)).astype(np.float32)
    return Alignment(tuple(tokens.tolist()), frames[first], frames[last] + 1, means)


def n_frames_needed(tokens: npt.NDArray[np.int64]) -> int:
    """Return how many frames tokens `(S,)` take at least: one each, and a blank between two that are the same."""
    return len(tokens) + int((tokens[1:] == tokens[:-1]).sum())


def check_tokens(tokens: npt.NDArray[np.int64], shape: tuple[int, ...], blank_id: int) -> None:
    n_frames, n_labels = shape
    wrong = tokens[(tokens < 0) | (tokens >= n_labels) | (tokens == blank_id)]
    if len(wrong):
        raise ValueError(
            f"expected token_ids in [0, {n_labels}) without the blank {blank_id}, got {wrong[0]}: "
            "encode the text with the tokenizer of the model that made the log_probs"
        )
    needed = n_frames_needed(tokens)
    if n_frames < needed:
        raise ValueError(
            f"expected at least {needed} frames for {len(tokens)} tokens, got {n_frames}: "
            "pass the log_probs of the whole utterance, or fewer tokens"
        )


def _viterbi(
    log_probs: npt.NDArray[np.floating], states: npt.NDArray[np.int64], blank_id: int, *, is_open: bool
) -> npt.NDArray[np.int64]:
    """Return the best path ``(T,)`` as indexes into ``states`` (blank, token, blank, token, ..., blank).

    It ends in the last token or behind it; if it is open, anywhere.
    """
    can_skip = np.zeros(len(states), dtype=np.bool_)
    can_skip[3::2] = states[3::2] != states[1:-2:2]
    can_skip[1] = True  # from before the first frame; nothing else lies two states back of the first token
    block = max(MIN_BLOCK_FRAMES, isqrt(len(log_probs)))
    starts = range(0, len(log_probs), block)
    # A state before the first frame from which exactly the first blank and the first token can be entered.
    scores = np.full(len(states) + 2, -np.inf)
    scores[1] = 0.0
    saved = [scores]
    for start in starts[:-1]:
        saved.append(_advance(log_probs[start : start + block], states, can_skip, saved[-1], None))
    path = np.empty(len(log_probs), dtype=np.int64)
    state = -1
    for start in reversed(starts):
        frames = log_probs[start : start + block]
        moves = np.empty((len(frames), len(states)), dtype=np.int8)
        scores = _advance(frames, states, can_skip, saved.pop(), moves)
        if state < 0:
            state = _last_state(scores, is_open=is_open)
        for frame in range(len(frames) - 1, -1, -1):
            path[start + frame] = state
            state -= int(moves[frame, state])
    return path


def _advance(
    frames: npt.NDArray[np.floating],
    states: npt.NDArray[np.int64],
    can_skip: npt.NDArray[np.bool_],
    scores: npt.NDArray[np.float64],
    moves: npt.NDArray[np.int8] | None,
) -> npt.NDArray[np.float64]:
    """Carry the best scores over some frames.

    Args:
        scores: ``(S + 2,)``, the best log-probability of a path that ends in each state, behind two places that no
            path reaches (they stand for "one state back" and "two states back" of the first states).
        moves: when given, receives how many states back (0, 1, 2) the best path to each state came from, ``(n, S)``.
    """
    for frame, row in enumerate(frames):
        best = scores[2:].copy()
        back = [scores[1:-1], np.where(can_skip, scores[:-2], -np.inf)]
        move = np.zeros(len(states), dtype=np.int8)
        for distance, candidate in enumerate(back, start=1):
            better = candidate > best
            best[better] = candidate[better]
            move[better] = distance
        if moves is not None:
            moves[frame] = move
        scores = np.concatenate(([-np.inf, -np.inf], best + row[states]))
    return scores


def _last_state(scores: npt.NDArray[np.float64], *, is_open: bool) -> int:
    """Choose between ending in the last token and in the blank behind it, or anywhere."""
    first = 2 if is_open else len(scores) - 2
    state = len(scores) - 3 - int(scores[first:][::-1].argmax())  # the last of equals
    if not np.isfinite(scores[state + 2]):
        raise ValueError(
            f"expected a path of non-zero probability, got a best score of {scores[state + 2]}: "
            "check log_probs for -inf and NaN"
        )
    return state
