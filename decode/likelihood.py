"""How probable a text is under CTC: the sum over all paths that collapse to it.

The forward recursion of Graves et al., ICML 2006, in natural logarithms.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from decode.align import check_log_probs


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
    tokens = np.asarray(token_ids, dtype=np.int64)
    wrong = tokens[(tokens < 0) | (tokens >= log_probs.shape[1]) | (tokens == blank_id)]
    if len(wrong):
        raise ValueError(
            f"expected token_ids in [0, {log_probs.shape[1]}) without the blank {blank_id}, got {wrong[0]}: "
            "encode the text with the tokenizer of the model that made the log_probs"
        )
    states = np.full(2 * len(tokens) + 1, blank_id, dtype=np.int64)
    states[1::2] = tokens
    skip = np.full(len(states), -np.inf)  # what a step over the blank between two tokens costs: nothing, or all
    skip[3::2][tokens[1:] != tokens[:-1]] = 0.0
    skip[1:2] = 0.0  # from before the first frame
    scores = np.full(len(states) + 2, -np.inf)  # behind two places that stand for "one and two states back"
    scores[1] = 0.0
    for row in log_probs[:, states].astype(np.float64):
        stay_or_step = np.logaddexp(scores[2:], scores[1:-1])
        scores[2:] = np.logaddexp(stay_or_step, scores[:-2] + skip) + row
        scores[1] = -np.inf
    ends = scores[-2:] if len(tokens) else scores[-1:]
    return float(np.logaddexp.reduce(ends)) if len(log_probs) else (-np.inf if len(tokens) else 0.0)
