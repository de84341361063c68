"""Greedy CTC decoding: the best label of every frame, repeats merged, blanks dropped."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from decode.align import Alignment, check_log_probs, joined, token_spans


def greedy_decode(log_probs: npt.NDArray[np.floating], blank_id: int) -> list[int]:
    """Collapse the best path.

    Args:
        log_probs: ``(T, V)``; anything that grows with the probability will do. T may be 0.
        blank_id: index of the blank label.

    Returns:
        Token ids, at most T of them.

    Raises:
        ValueError: not ``(T, V)``, or ``blank_id`` outside [0, V).

    >>> greedy_decode(np.eye(3)[[0, 0, 2, 0, 1, 1]], blank_id=2)
    [0, 0, 1]
    """
    check_log_probs(log_probs, blank_id)
    return collapse(log_probs.argmax(axis=1), blank_id)


def collapse(labels: npt.NDArray[np.int64], blank_id: int) -> list[int]:
    """Merge repeats of a path `(T,)` and drop its blanks.

    >>> collapse(np.array([0, 0, 2, 0, 1, 1]), blank_id=2)
    [0, 0, 1]
    """
    token_ids: list[int] = labels[_token_starts(labels, blank_id)].tolist()
    return token_ids


def greedy_align(log_probs: npt.NDArray[np.floating], blank_id: int) -> Alignment:
    """Decode greedily and keep the frames of each token.

    The greedy path is the most probable of all paths, so it is also the most probable one for its own tokens: the
    result is that of `decode.align.align` for ``greedy_decode``'s tokens, in O(T).

    Args and errors as for `greedy_decode`.
    """
    check_log_probs(log_probs, blank_id)
    labels = log_probs.argmax(axis=1)
    starts = _token_starts(labels, blank_id)
    owners = np.where(labels == blank_id, -1, np.cumsum(starts) - 1)
    return token_spans(log_probs, owners, labels[starts])


def greedy_align_parts(parts: Iterable[npt.NDArray[np.floating]], blank_id: int) -> Alignment:
    """Return `greedy_align` of the concatenated log_probs `(T, V)`, holding one part `(t, V)` at a time.

    Each part is cut where greedy decoding forgets the past: before a frame of blank, or of another label than the
    frame before it. No token spans such a place, so the pieces of the alignment join to that of the whole.
    """
    done: list[Alignment] = []
    rows: npt.NDArray[np.floating] | None = None
    offset = 0
    for part in parts:
        rows = part if rows is None else np.concatenate([rows, part])
        cut = _last_cut(rows, blank_id)
        done.append(greedy_align(rows[:cut], blank_id).shifted(offset))
        rows, offset = rows[cut:].copy(), offset + cut
    if rows is not None:
        done.append(greedy_align(rows, blank_id).shifted(offset))
    return joined(done)


def _last_cut(log_probs: npt.NDArray[np.floating], blank_id: int) -> int:
    labels = log_probs.argmax(axis=1)
    cuts = 1 + np.flatnonzero((labels[1:] == blank_id) | (labels[1:] != labels[:-1]))
    return int(cuts[-1]) if len(cuts) else 0


def _token_starts(labels: npt.NDArray[np.int64], blank_id: int) -> npt.NDArray[np.bool_]:
    """Mark the first frame of every token: not blank, and not the label of the frame before."""
    starts: npt.NDArray[np.bool_] = labels != blank_id
    starts[1:] &= labels[1:] != labels[:-1]
    return starts
