"""How probable several texts are for one stretch of speech: CTC likelihoods summed over all paths."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from decode.align import check_log_probs

NO_PATH = -1e30


def log_likelihoods(
    log_probs: npt.NDArray[np.floating], texts: Sequence[Sequence[int]], blank_id: int, floor: float = 10.0
) -> npt.NDArray[np.float64]:
    """Return ln P(text | speech) of each text, by the forward algorithm of Graves et al., 2006, for all at once.

    Args:
        log_probs: ``(T, V)``, natural log-probabilities, at least one frame.
        texts: token ids of each; fewer than T, or the result is about -1e30.
        blank_id: index of the blank label.
        floor: no label counts as further below the best label of its frame than this.

    >>> log_likelihoods(np.log([[0.4, 0.6], [0.7, 0.3]]), [[0], []], blank_id=1).round(3)
    array([-0.198, -1.715])
    """
    check_log_probs(log_probs, blank_id)
    n_states = 2 * max(map(len, texts), default=0) + 1
    labels = np.full((len(texts), n_states), blank_id)
    for row, text in zip(labels, texts, strict=True):
        row[1 : 2 * len(text) : 2] = text
    can_skip = np.zeros(labels.shape, np.bool_)
    can_skip[:, 3::2] = labels[:, 3::2] != labels[:, 1:-2:2]
    skips = np.where(can_skip, 0.0, NO_PATH)
    rows = np.maximum(log_probs, log_probs.max(axis=1, keepdims=True) - floor).astype(np.float64)
    scores = np.full((len(texts), n_states + 2), NO_PATH)
    scores[:, 2:4] = rows[0, labels[:, :2]]
    for row in rows[1:]:
        best = np.logaddexp(scores[:, 2:], scores[:, 1:-1])
        best = np.logaddexp(best, scores[:, :-2] + skips)
        scores[:, 2:] = best + row[labels]
    last = 2 + 2 * np.array([len(text) for text in texts], np.int64)
    which = np.arange(len(texts))
    result: npt.NDArray[np.float64] = np.logaddexp(
        scores[which, last], np.where(last > 2, scores[which, last - 1], NO_PATH)
    )
    return result
