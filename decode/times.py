"""Decode a recording of any length and find where its tokens lie: by forced alignment, not by the search's own frames.

A prefix search adds up paths and does not know when a token was said; the best single path of the result does.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from decode.align import Alignment, align_long
from decode.beam import BeamSearch, Hypothesis


@dataclass(frozen=True)
class Decoded:
    """What was found in one recording."""

    alignment: Alignment
    """Of the best hypothesis' tokens."""
    hypotheses: tuple[Hypothesis, ...] = ()
    """Best first; none from a decoder that gives no scores."""


def decode_parts(parts: Iterable[npt.NDArray[np.floating]], search: BeamSearch, n_best: int = 1) -> Decoded:
    """Decode the log_probs of one recording, part by part.

    The log_probs are kept for the alignment: 46 MB an hour with 257 labels at 80 ms.

    Args:
        parts: successive `(t, V)`, natural log-probabilities.
        search: it is begun anew.
        n_best: hypotheses at most.

    Raises:
        ValueError: as `BeamSearch.step`.
    """
    search.begin()
    rows = [np.zeros((0, search.n_labels), np.float32)]
    for part in parts:
        search.step(part)
        rows.append(part.astype(np.float32))
    hypotheses = search.end(n_best)
    alignment = align_long(np.concatenate(rows), hypotheses[0].token_ids, search.blank_id)
    return Decoded(alignment, tuple(hypotheses))
