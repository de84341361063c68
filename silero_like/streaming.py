"""Live speech: audio in chunks of any size -> partial and final results, in bounded time and memory.

The model looks up to twenty seconds to both sides, so results that wait for all it could see would come too late. Two
passes take the place of one:

* Every `STEP_S` the newest audio runs through the model with `PARTIAL_CONTEXT_S` before it and nothing behind it. That
  gives the partial result, greedily, and shows where speech pauses.
* When a pause has lasted `latency_s`, the segment runs through the model once more, as a whole, with
  `FINAL_CONTEXT_S` before it and half of the pause behind it. That gives the final result, by the recogniser's decoder.

When a pass happens and what it sees follows from the audio alone, not from the sizes of the chunks.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import soxr

from decode.align import Alignment
from decode.greedy import greedy_align
from decode.words import HAN_CHARACTER, WORD_START, Word
from silero_like.audio import SAMPLE_RATE, check_waveform
from silero_like.errors import ConfigError

if TYPE_CHECKING:
    from silero_like.recognizer import Recognizer

Array = npt.NDArray[np.float32]

STEP_S = 0.32
"""Seconds of audio between passes for partial results, or half of `latency_s` if that is less."""
PARTIAL_CONTEXT_S = 2.0
"""Seconds that such a pass sees before the frames that it may still change."""
SETTLE_S = 0.56
"""Seconds of audio behind a frame after which partial results change it no more."""
FINAL_CONTEXT_S = 4.0
"""Seconds before a segment that its final pass sees."""
QUIET_BLANK = 0.8
"""A frame is quiet when its blank is more probable. With 0.5, the model's doubts amid speech would end segments."""
MAX_SEGMENT_S = 20.0
"""A segment without a pause is cut when it becomes so long, between two words of its second half."""
CUT_CONTEXT_S = 1.0
"""Seconds that its final pass then sees behind the cut, at least."""

_MIN_SAMPLE_RATE = 4000  # Hz, as for files


@dataclass(frozen=True)
class StreamResult:
    """What has been heard of one segment: the speech between two pauses."""

    segment: int
    """Its number, from 0."""
    is_final: bool
    """False while the segment goes on: the next result of the segment replaces this one."""
    text: str
    """Normalised text. A final result's is empty where what partial results had shown was no speech after all."""
    confidence: float
    """In [0, 1], as in a `Transcript`."""
    words: tuple[Word, ...]
    """Words with start and end, in seconds from the beginning of the stream, and a confidence."""

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values, times rounded to a millisecond and confidences to 1e-4."""
        from silero_like.recognizer import rounded

        return rounded(dataclasses.asdict(self))


class Stream:
    """Recognises speech while it is spoken; made by `Recognizer.stream`.

    Threads must not share one; streams of one recogniser may run in several.

    Args:
        recognizer: gives the model, the tokens and the decoder of final results.
        latency_s: the silence that ends a segment.
        sample_rate: Hz of the chunks.

    Raises:
        ConfigError: a latency below 0.16 s or above 5 s; a sample rate below 4000 Hz.
    """

    def __init__(self, recognizer: Recognizer, *, latency_s: float, sample_rate: int = SAMPLE_RATE) -> None:
        if not 0.16 <= latency_s <= 5.0:
            raise ConfigError(f"expected a latency from 0.16 to 5 s, got {latency_s}")
        if not _MIN_SAMPLE_RATE <= sample_rate < inf:  # NaN compares false
            raise ConfigError(f"expected a sample rate of at least {_MIN_SAMPLE_RATE} Hz for speech, got {sample_rate}")
        self._recognizer, self._config = recognizer, recognizer.config
        self._resampler = (
            soxr.ResampleStream(sample_rate, SAMPLE_RATE, 1, dtype="float32") if sample_rate != SAMPLE_RATE else None
        )
        self._latency = self._frames(latency_s)
        self._step = self._frames(min(STEP_S, latency_s / 2))
        self._settle = self._frames(SETTLE_S)
        self._pending: list[Array] = []
        self._audio = np.zeros(0, np.float32)  # from frame `_base` on, but for what is pending
        self._base = 0
        self._n_samples = 0  # received, at 16 kHz
        self._start = 0  # first frame of the segment
        self._rows = np.zeros((0, self._config.n_labels), np.float32)  # log_probs of its settled frames
        self._due = self._step  # the frame up to which the next pass looks
        self._segment = 0
        self._shown = ""  # text of the segment's last partial result
        self._finished = False

    def accept_waveform(self, chunk: Array) -> list[StreamResult]:
        """Take the next samples; return the results that they bring, often none.

        Args:
            chunk: float `(n,)`, mono, in [-1, 1]; n may be 0.

        Raises:
            AudioError: another shape or type; NaN, infinite or far too large samples.
            ValueError: the stream is finished.
        """
        if self._finished:
            raise ValueError("the stream is finished: begin another with recognizer.stream()")
        samples = check_waveform(chunk)
        self._take(samples if self._resampler is None else self._resampler.resample_chunk(samples))
        results = []
        while self._due * self._config.frame_samples <= self._n_samples:
            result = self._look(self._due)
            if result is not None:
                results.append(result)
        return results

    def finish(self) -> list[StreamResult]:
        """End the stream; return the final result of the last segment, if there was speech in it."""
        if not self._finished and self._resampler is not None:
            self._take(self._resampler.resample_chunk(np.zeros(0, np.float32), last=True))
        was_finished, self._finished = self._finished, True
        if was_finished or self._n_samples <= self._start * self._config.frame_samples:
            return []
        alignment = self._decode(self._log_probs(self._start, None, FINAL_CONTEXT_S))
        return [self._result(alignment, is_final=True)] if alignment.token_ids or self._shown else []

    def _look(self, end: int) -> StreamResult | None:
        """Make a pass for a partial result over the audio before frame `end`, and a final one if it is time."""
        n_settled = len(self._rows)
        rows = np.concatenate([self._rows, self._log_probs(self._start + n_settled, end, PARTIAL_CONTEXT_S)])
        self._rows = rows[: max(n_settled, len(rows) - self._settle)]
        alignment = greedy_align(rows, self._config.blank_id)
        if not alignment.token_ids:
            self._due = end + self._step
            self._start_at(min(self._start + len(self._rows), max(self._start, end - self._latency)))
            return None
        n_quiet = self._quiet_frames(rows)
        if n_quiet >= self._latency:
            self._due = end + self._step
            return self._end_segment(end, end - (n_quiet + 1) // 2)
        self._due = end + min(self._step, self._latency - n_quiet)
        if len(rows) >= self._frames(MAX_SEGMENT_S):
            return self._end_segment(end, None)
        result = self._result(alignment, is_final=False)
        if result.text == self._shown:
            return None
        self._shown = result.text
        return result

    def _quiet_frames(self, rows: Array) -> int:
        """Count the frames at the end of rows `(t, V)` that are quiet."""
        loud = np.flatnonzero(rows[:, self._config.blank_id] <= np.log(QUIET_BLANK))
        return len(rows) - 1 - int(loud[-1])

    def _end_segment(self, end: int, cut: int | None) -> StreamResult:
        """Make the final pass over the audio before frame `end`; the segment ends at frame `cut`, or between words."""
        rows = self._log_probs(self._start, end, FINAL_CONTEXT_S)
        n_rows = self._gap(rows) if cut is None else cut - self._start
        result = self._result(self._decode(rows[:n_rows]), is_final=True)
        self._start_at(self._start + n_rows)
        self._segment += 1
        self._shown = ""
        return result

    def _gap(self, rows: Array) -> int:
        """Return the middle of the longest gap between two words in the second half of rows `(t, V)`."""
        alignment, last = greedy_align(rows, self._config.blank_id), len(rows) - self._frames(CUT_CONTEXT_S)
        best, n_best = last, -1
        ends, starts = alignment.end_frames[:-1].tolist(), alignment.start_frames[1:].tolist()
        for end, start, token_id in zip(ends, starts, alignment.token_ids[1:], strict=True):
            piece = self._recognizer.tokenizer.pieces[token_id]
            begins_word = piece.startswith(WORD_START) or HAN_CHARACTER.match(piece)
            if begins_word and len(rows) // 2 <= start <= last and start - end >= n_best:
                best, n_best = (end + start + 1) // 2, start - end
        return best

    def _start_at(self, frame: int) -> None:
        """Begin the segment at a later frame, and forget the audio that no pass will see again."""
        self._rows = self._rows[frame - self._start :]
        self._start = frame
        base = self._before(frame, FINAL_CONTEXT_S)
        self._audio = self._audio[(base - self._base) * self._config.frame_samples :]
        self._base = base

    def _log_probs(self, start: int, end: int | None, context_s: float) -> Array:
        """Return log_probs `(end - start, V)` from audio that begins `context_s` before frame `start`."""
        if self._pending:
            self._audio, self._pending = np.concatenate([self._audio, *self._pending]), []
        first, samples = self._before(start, context_s), self._config.frame_samples
        stop = None if end is None else (end - self._base) * samples
        return self._recognizer.runtime.log_probs(self._audio[(first - self._base) * samples : stop])[start - first :]

    def _before(self, frame: int, context_s: float) -> int:
        """Return the first frame of a window: whole blocks, no more than the model can see."""
        context = min(self._frames(context_s), self._config.context_frames)
        return max(0, frame - context) // self._config.block_frames * self._config.block_frames

    def _decode(self, rows: Array) -> Alignment:
        return self._recognizer.decoder.decode_parts([rows]).alignment

    def _result(self, alignment: Alignment, *, is_final: bool) -> StreamResult:
        heard = self._recognizer.transcript(alignment.shifted(self._start), self._n_samples / SAMPLE_RATE)
        return StreamResult(self._segment, is_final, heard.text, heard.confidence, heard.words)

    def _take(self, samples: Array) -> None:
        self._pending.append(samples)
        self._n_samples += len(samples)

    def _frames(self, seconds: float) -> int:
        return max(1, round(seconds / self._config.frame_s))
