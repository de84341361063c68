"""Decode a recording of any length and find where its tokens lie: by forced alignment, not by the search's own frames.

A prefix search adds up paths and does not know when a token was said; the best single path of the result does.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from decode.align import Alignment
from decode.align_long import LongAligner
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

    Tokens on which all hypotheses agree are aligned as soon as there are enough of them, and their log_probs and
    alternatives are forgotten: memory holds some minutes, however long the recording is. With ``n_best`` above 1
    everything is kept, some 100 MB an hour, as any of it may be part of an alternative.

    Args:
        parts: successive `(t, V)`, natural log-probabilities.
        search: it is begun anew.
        n_best: hypotheses at most.

    Raises:
        ValueError: as `BeamSearch.step`.
    """
    search.begin()
    aligner = LongAligner(search.n_labels, search.blank_id, search.config.blank_skip)
    for part in parts:
        search.step(part)
        aligner.add(part)
        if n_best == 1 and aligner.is_due:
            aligner.place(search.settle())
    hypotheses = search.end(n_best)
    return Decoded(aligner.finish(search.settle(is_last=True)), tuple(hypotheses))
