"""Batches come in few shapes.

On a CPU PyTorch's products and convolutions are compiled for the exact sizes of their operands and kept for the next
ones of these sizes. With lengths as they come every batch has sizes of its own: in a step of `tiny` on two cores 19 of
215 ms went into compiling, and as much again into memory that fitted no freed piece.
"""

from __future__ import annotations

import os

from silero_like.model.config import FRAME_SAMPLES, HOP_LENGTH

SIGNIFICANT_BITS = 5
PRIMITIVES = 4096  # of oneDNN: about 40 to a shape, and some 80 shapes up to half a minute


def padded_samples(n_samples: int) -> int:
    """Return the samples that a batch is padded to whose longest utterance has `n_samples`.

    Its frames of 80 ms are rounded up to a number of five significant bits, which adds 2 % on average.

    >>> [padded_samples(int(seconds * 16000)) / 16000 for seconds in (0.3, 5.0, 5.2, 11.0)]
    [0.315, 5.115, 5.435, 11.515]
    """
    n_frames = -(-(n_samples + HOP_LENGTH // 2) // FRAME_SAMPLES)
    unit = 1 << max(0, n_frames.bit_length() - SIGNIFICANT_BITS)
    return -(-n_frames // unit) * unit * FRAME_SAMPLES - HOP_LENGTH // 2


def keep_compiled() -> None:
    """Let oneDNN keep what it compiled for all shapes; it reads this when it computes for the first time."""
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(PRIMITIVES))
