"""Alignment of recordings of any length, two minutes at a time."""

from collections.abc import Sequence
from math import log

import numpy as np
import numpy.typing as npt

from decode.align import Alignment, align, best_spans, check_log_probs, check_tokens, joined, n_frames_needed
from decode.history import Settled
from decode.transitions import Ints

HELD_FRAMES = 1500
"""Frames that tokens are placed in at a time; two minutes at 80 ms."""

LOOK_AHEAD_FRAMES = 125
"""Frames behind them that are looked at as well; ten seconds at 80 ms."""

SILENT_FRAMES = 50
"""Frames of a silence that are looked at; four seconds at 80 ms."""


def align_long(log_probs: npt.NDArray[np.floating], token_ids: Sequence[int], blank_id: int) -> Alignment:
    """Align a recording of any length in time O(T).

    Up to two minutes (`HELD_FRAMES`) this is `align`. Beyond, two minutes at a time are aligned with as many tokens as
    they may hold, and with a look at the ten seconds behind them, so that a token near the end of a part lies where it
    lies in the alignment of the whole.

    Args and errors as for `align`.
    """
    check_log_probs(log_probs, blank_id)
    tokens = np.asarray(token_ids, dtype=np.int64)
    check_tokens(tokens, log_probs.shape, blank_id)
    aligner = LongAligner(log_probs.shape[1], blank_id)
    aligner.add(log_probs)
    return aligner.finish(Settled(tokens, np.zeros(len(tokens), np.int64), len(log_probs)))


class LongAligner:
    """Aligns a recording as `align_long` does while its tokens become known; it holds what is still open.

    What is found does not depend on when which tokens become known, nor on the sizes of the parts.

    Args:
        n_labels: V.
        blank_id: index of the blank label.
        blank_skip: a frame whose blank has a higher probability holds no token, whatever is around it. Of such a
            silence only the beginning (`SILENT_FRAMES`) is kept.
    """

    def __init__(self, n_labels: int, blank_id: int, blank_skip: float = 1.0) -> None:
        self._blank_id, self._skip_log_prob = blank_id, log(blank_skip)
        self._rows = np.zeros((0, n_labels), np.float32)  # log_probs of the frames that are still open
        self._frames = np.zeros(0, np.int64)  # their numbers
        self._n_frames = 0  # that were added
        self._n_silent = 0  # the last of them
        self._tokens, self._first_frames = np.zeros((2, 0), np.int64)  # known, and not yet placed
        self._until = 0
        self._placed: list[Alignment] = []
        self._last = self._rows, self._frames, self._tokens  # what was placed last

    @property
    def is_due(self) -> bool:
        """Whether there are frames enough to place tokens in."""
        return len(self._rows) > HELD_FRAMES + LOOK_AHEAD_FRAMES

    def add(self, log_probs: npt.NDArray[np.floating]) -> None:
        """Take the next frames `(t, V)`, natural log-probabilities."""
        places = np.arange(len(log_probs))
        is_loud = log_probs[:, self._blank_id] <= self._skip_log_prob
        n_silent = places - np.maximum.accumulate(np.where(is_loud, places, -1 - self._n_silent))
        kept = np.flatnonzero(n_silent <= SILENT_FRAMES)
        self._rows = np.concatenate([self._rows, log_probs[kept].astype(np.float32)])
        self._frames = np.concatenate([self._frames, self._n_frames + kept])
        self._n_frames += len(log_probs)
        self._n_silent = int(n_silent[-1]) if len(n_silent) else self._n_silent

    def place(self, settled: Settled) -> None:
        """Take the tokens that became known, and place those that can be."""
        self._tokens = np.concatenate([self._tokens, settled.token_ids])
        self._first_frames = np.concatenate([self._first_frames, settled.first_frames])
        self._until = settled.until
        window = HELD_FRAMES + LOOK_AHEAD_FRAMES
        while self.is_due and self._frames[window - 1] < self._until:
            n_possible = int(np.searchsorted(self._first_frames, self._frames[window - 1], "right"))
            found = best_spans(
                self._rows[:window], self._tokens[: min(window, n_possible)], self._blank_id, is_open=True
            )
            n_held = int(np.searchsorted(found.end_frames, HELD_FRAMES, "right"))
            # a token without end, of a broken model, must not stop it
            self._drop(found.first(n_held), min([HELD_FRAMES, *found.start_frames[n_held:].tolist()]) or HELD_FRAMES)

    def finish(self, settled: Settled) -> Alignment:
        """Take the last tokens; return all.

        Raises:
            ValueError: no path of non-zero probability.
        """
        self.place(settled)
        if self._placed and len(self._rows) < n_frames_needed(self._tokens):  # speech of a token a frame, or nearly
            rows, frames, tokens = self._last
            self._rows, self._frames = np.concatenate([rows, self._rows]), np.concatenate([frames, self._frames])
            self._tokens = np.concatenate([tokens, self._tokens])
            self._placed.pop()
        self._drop(align(self._rows, self._tokens.tolist(), self._blank_id), len(self._rows))
        return joined(self._placed)

    def _drop(self, placed: Alignment, n_rows: int) -> None:
        """Keep where tokens lie, and forget them and the first frames."""
        ends: Ints = self._frames[placed.end_frames - 1] + 1
        starts = self._frames[placed.start_frames]
        self._placed.append(Alignment(placed.token_ids, starts, ends, placed.log_probs))
        n_tokens = len(placed.token_ids)
        self._last = self._rows[:n_rows], self._frames[:n_rows], self._tokens[:n_tokens]
        self._rows, self._frames = self._rows[n_rows:], self._frames[n_rows:]
        self._tokens, self._first_frames = self._tokens[n_tokens:], self._first_frames[n_tokens:]
