"""Each channel of a recording by itself, as calls have a speaker on each: words in one order, with their channel."""

from __future__ import annotations

import dataclasses
import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from decode.words import Word
from silero_like.audio import count_channels
from silero_like.turns import make_turns

if TYPE_CHECKING:
    from silero_like.recognizer import Recognizer, Transcript


@dataclass(frozen=True, slots=True)
class ChannelWord(Word):
    """A word of one of several channels."""

    channel: int
    """From 1."""


def transcribe_channels(recognizer: Recognizer, source: str | Path | BinaryIO, *, vad: bool = False) -> Transcript:
    """Transcribe each channel of a recording by itself.

    Args:
        recognizer: what transcribes.
        source: a path or a seekable binary file object: it is read once for each channel.
        vad: as of `Recognizer.transcribe`.

    Raises:
        AudioError, MissingExtraError: as `Recognizer.transcribe`.
    """
    n_channels = count_channels(source)
    return join_channels([recognizer.transcribe(source, channel=n, vad=vad) for n in range(n_channels)])


def join_channels(channels: Sequence[Transcript]) -> Transcript:
    """Make one transcript of those of a recording's channels.

    Its words are `ChannelWord`s in the order of their starts, its text has a turn a line, and its confidence is the
    mean of the channels', by their numbers of words.
    """
    numbered = (
        [ChannelWord(word.word, word.start, word.end, word.confidence, number) for word in channel.words]
        for number, channel in enumerate(channels, start=1)
    )
    n_words = sum(len(channel.words) for channel in channels)
    confidence = sum(channel.confidence * len(channel.words) for channel in channels) / max(1, n_words)
    return dataclasses.replace(
        channels[0],
        text="\n".join(turn.text for turn in make_turns(channels)),
        confidence=confidence,
        words=tuple(heapq.merge(*numbered, key=lambda word: word.start)),
        channels=tuple(channels),
    )
