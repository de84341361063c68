"""Several recordings at once: short ones share calls of the model, in which a second of audio takes less time."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from operator import truediv
from typing import BinaryIO, TypeVar

import numpy as np
import numpy.typing as npt

from silero_like.audio import SAMPLE_RATE, stream_audio
from silero_like.recognizer import Recognizer, Transcript

Array = npt.NDArray[np.float32]
Outcome = Transcript | Exception
Found = TypeVar("Found")

SHORT_S = 10.0
"""Only recordings up to so many seconds share a call: longer ones gain less than a tenth."""
BATCH_S = 20.0
"""Seconds of audio in one call, padding included: as fast as a call gets, and small enough for the caches."""
BATCH_SIZE = 16
"""Recordings in one call, at most."""


def transcribe_batch(
    recognizer: Recognizer,
    sources: Sequence[str],
    *,
    channel: int | None = None,
    n_alternatives: int | None = None,
    vad: bool = False,
    batch_size: int = BATCH_SIZE,
) -> list[Outcome]:
    """Transcribe recordings, the short ones in batches of similar length.

    Args:
        recognizer: what transcribes.
        sources: paths, or "-" for standard input.
        channel: the 0-based channel to take; the mean of all when None.
        n_alternatives: other texts at most, as of `Recognizer.transcribe`.
        vad: leave silence out, as `Recognizer.transcribe` does; each recording then goes alone.
        batch_size: recordings in one call of the model, at most. It does not change the text.

    Returns:
        For each source what `Recognizer.transcribe` returns for it, or what it raises. Whether a recording was
        computed alone or with others changes its log_probs by 1e-4 at most, of an int8 graph by 0.05.
    """
    done = transcribe_each(
        recognizer,
        dict(enumerate(sources)),
        channel=channel,
        n_alternatives=n_alternatives,
        vad=vad,
        batch_size=batch_size,
    )
    outcomes = dict(done)
    return [outcomes[number] for number in range(len(sources))]


def transcribe_each(
    recognizer: Recognizer,
    sources: Mapping[int, str | BinaryIO],
    *,
    channel: int | None = None,
    n_alternatives: int | None = None,
    vad: bool = False,
    batch_size: int = BATCH_SIZE,
) -> Iterator[tuple[int, Outcome]]:
    """Yield what `transcribe_batch` returns, each with its source's number as soon as it is there, in any order.

    With a `batch_size` of 1 the result of a recording does not depend on the others, to the last digit.
    """
    short: dict[int, Array] = {}
    for number, source in sources.items():
        read = partial(recognizer.transcribe, vad=True) if vad else partial(_read, recognizer)
        found = _attempt(partial(read, source, channel=channel, n_alternatives=n_alternatives))
        if isinstance(found, np.ndarray):
            short[number] = found
        else:
            yield number, found
    for numbers in batches_by_length(short, batch_size):
        waveforms, names = [short[number] for number in numbers], [_name(sources[number]) for number in numbers]
        yield from zip(numbers, _transcribe_waveforms(recognizer, waveforms, names, n_alternatives), strict=True)


def _read(
    recognizer: Recognizer, source: str | BinaryIO, channel: int | None, n_alternatives: int | None
) -> Array | Transcript:
    """Return the waveform of a short recording, the transcript of a longer one."""
    chunks = stream_audio(source, window_s=SHORT_S, channel=channel)
    first, second = next(chunks, np.zeros(0, np.float32)), next(chunks, None)
    if second is None:
        return first
    return recognizer.transcribe_chunks(itertools.chain([first, second], chunks), _name(source), n_alternatives)


def batches_by_length(waveforms: Mapping[int, Array], batch_size: int = BATCH_SIZE) -> Iterator[list[int]]:
    """Divide the keys of some waveforms into batches of similar length, none longer than it may be."""
    batch: list[int] = []
    for number in sorted(waveforms, key=lambda number: len(waveforms[number])):
        padded_s = (len(batch) + 1) * len(waveforms[number]) / SAMPLE_RATE
        if batch and (len(batch) == batch_size or padded_s > BATCH_S):
            yield batch
            batch = []
        batch.append(number)
    if batch:
        yield batch


def _transcribe_waveforms(
    recognizer: Recognizer, waveforms: Sequence[Array], names: Sequence[str], n_alternatives: int | None
) -> list[Outcome]:
    try:
        return [
            recognizer.transcribe_log_probs(
                [log_probs], partial(truediv, len(waveform), SAMPLE_RATE), name, n_alternatives
            )
            for log_probs, waveform, name in zip(
                recognizer.runtime.log_probs_batch(waveforms), waveforms, names, strict=True
            )
        ]
    except Exception:  # noqa: BLE001 - alone, each tells whether the fault was its own
        pairs = zip(waveforms, names, strict=True)
        return [
            _attempt(partial(recognizer.transcribe_chunks, [waveform], name, n_alternatives))
            for waveform, name in pairs
        ]


def _name(source: str | BinaryIO) -> str:
    return source if isinstance(source, str) else str(getattr(source, "name", ""))


def _attempt(work: Callable[[], Found]) -> Found | Exception:
    try:
        return work()
    except Exception as error:  # noqa: BLE001 - whatever it is, the other recordings go on
        return error
