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


def log_likelihood(log_probs: npt.NDArray[np.floating], token_ids: Sequence[int], blank_id: int) -> float:
    """Return the natural log-probability of ``token_ids``; -inf where no path collapses to them.

    Time O(T * L). `decode.align.align` gives the best of these paths, and where its tokens lie.

    Args:
        log_probs: ``(T, V)``, natural log-probabilities.
        token_ids: L labels, none of them blank; L may be 0.
        blank_id: index of the blank label.

    Raises:
        ValueError: not ``(T, V)``, or a label that is blank or outside [0, V).

    >>> log_probs = np.log([[0.5, 0.5], [0.5, 0.5]])
    >>> round(float(np.exp(log_likelihood(log_probs, [0], blank_id=1))), 3)
    0.75
    """
    check_log_probs(log_probs, blank_id)
    wrong = [token for token in token_ids if not 0 <= token < log_probs.shape[1] or token == blank_id]
    if wrong:
        raise ValueError(
            f"expected token_ids in [0, {log_probs.shape[1]}) without the blank {blank_id}, got {wrong[0]}: "
            "encode the text with the tokenizer of the model that made the log_probs"
        )
    if not len(log_probs):
        return -np.inf if len(token_ids) else 0.0
    found = float(log_likelihoods(log_probs, [token_ids], blank_id, floor=np.inf)[0])
    return found if found > NO_PATH / 2 else -np.inf
