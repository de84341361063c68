"""Label priors: what a network says of a label before it has heard anything, and how to take that back.

A CTC network has learned from its training texts which tokens are frequent, and that most frames are blank; a language
model then counts the same twice. So the search may divide each label's probability by a power of its prior, its mean
over speech, as hybrid systems divide posteriors by priors (Miao et al., "EESEN", ASRU 2015):

    p'(label | frame)  ~  p(label | frame) / prior(label) ** weight
"""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

FLOOR = 1e-4  # of a prior: what was never likely, such as <unk>, is not to be made so


def find_log_priors(log_probs: Iterable[npt.NDArray[np.floating]]) -> tuple[float, ...]:
    """Return the natural logarithm of each label's mean probability, `(V,)`, to four decimals.

    Args:
        log_probs: `(T, V)` of each utterance; together at least one frame.

    >>> find_log_priors([np.log([[0.5, 0.5], [0.2, 0.8], [0.2, 0.8]])])
    (-1.204, -0.3567)
    """
    sums = [(np.exp(part, dtype=np.float64).sum(axis=0), len(part)) for part in log_probs if len(part)]
    priors = sum(total for total, _ in sums) / sum(n_frames for _, n_frames in sums)
    return tuple(np.log(np.maximum(priors, FLOOR)).round(4).tolist())


def check_log_priors(log_priors: Sequence[float], n_labels: int) -> None:
    """Refuse priors of another number of labels.

    Raises:
        ValueError: there are not `n_labels`.
    """
    if len(log_priors) != n_labels:
        raise ValueError(
            f"expected log_priors of {n_labels} labels, got {len(log_priors)}: tune the search again "
            "(silero-like lm tune), or set prior_weight to 0"
        )


def take_back(
    log_probs: npt.NDArray[np.float64], log_priors: npt.NDArray[np.float64], weight: float
) -> npt.NDArray[np.float64]:
    """Return log-probabilities `(T, V)` without `weight` of the priors `(V,)`, normalised again.

    >>> take_back(np.log([[0.5, 0.5]]), np.log([0.2, 0.8]), 1.0).round(3).tolist()  # 0.5 / 0.2 beside 0.5 / 0.8
    [[-0.223, -1.609]]
    """
    scaled = log_probs - weight * log_priors
    normalised: npt.NDArray[np.float64] = scaled - np.logaddexp.reduce(scaled, axis=1, keepdims=True)
    return normalised
