"""Greedy CTC decoding: the best label of every frame, repeats merged, blanks dropped."""

import numpy as np
import numpy.typing as npt

from decode.align import Alignment, check_log_probs, token_spans


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


def _token_starts(labels: npt.NDArray[np.int64], blank_id: int) -> npt.NDArray[np.bool_]:
    """Mark the first frame of every token: not blank, and not the label of the frame before."""
    starts: npt.NDArray[np.bool_] = labels != blank_id
    starts[1:] &= labels[1:] != labels[:-1]
    return starts
