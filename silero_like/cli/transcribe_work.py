"""What `silero-like transcribe` does with a group of recordings: in its own process, in several, or on a cluster."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from silero_like.cli.batch import Failure, failure
from silero_like.cli.inputs import Recording, grouped, opened
from silero_like.cli.workers import Workers, in_order
from silero_like.writers import render, write_atomically

if TYPE_CHECKING:
    from silero_like.cli.transcribe_journal import Journal
    from silero_like.recognizer import Recognizer, Transcript


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a transcript depends on beside the recording, the model and its decoder."""

    format: str
    """One of `silero_like.writers.FORMATS`."""
    alternatives: int | None
    """Other texts, at most so many."""
    channel: int | None
    """The one channel to take, from 0."""
    separate: bool
    """Transcribe each channel by itself."""
    vad: bool
    """Leave silence out."""
    casing: bool
    """Capital letters behind pauses."""


@dataclass(frozen=True)
class Finished:
    """A recording that is done."""

    text: str = ""
    """Its transcript in the format that was asked for; empty where it is in a file."""
    before: bool = False
    """Whether an earlier run had done it."""


@dataclass(frozen=True)
class _Source:
    audio: str | BinaryIO
    state: str
    """For the journal."""


@dataclass(frozen=True)
class Work:
    """Transcribes groups of recordings, and writes each transcript to its file as soon as it is there."""

    recognizer: Recognizer
    settings: Settings
    paths: Mapping[Recording, Path]
    """Where the transcripts go; nothing for standard output."""
    journal: Journal | None = None
    """Knows what was done before."""
    alone: bool = False
    """Let each recording go through the model by itself: in a batch the last digits of what the model computes depend
    on the others, and with them on what was left to do."""
    elsewhere: Callable[[], Recognizer] | None = None
    """Makes the recogniser on another machine, for a cluster."""

    def run(self, recordings: Sequence[Recording], workers: Workers) -> Iterator[tuple[Recording, Finished | Failure]]:
        """Yield each recording with what became of it, in order."""
        if workers.is_ray:
            yield from in_order(recordings, self._on_cluster(recordings, workers))
        else:
            yield from workers.run(grouped(recordings, workers.shares(len(recordings))), self, _source)

    def _on_cluster(
        self, recordings: Sequence[Recording], workers: Workers
    ) -> Iterator[tuple[Recording, Finished | Failure]]:
        """Let a cluster make the texts, and keep them here."""
        assert self.elsewhere, "a cluster needs to make the recogniser"
        states: dict[Recording, str] = {}
        for recording in recordings:
            with contextlib.ExitStack() as closing:
                found = self._begin(recording, closing) if self.journal else _Source("", "")
            if isinstance(found, _Source):
                states[recording] = found.state
            else:
                yield recording, found
        groups = grouped(list(states), workers.shares(len(states)))
        open_work = partial(_open_work, self.elsewhere, self.settings, self.alone)
        for recording, done in workers.run(groups, self, _source, open_work):
            yield recording, self._keep(recording, done.text, states[recording]) if isinstance(done, Finished) else done

    def __call__(self, group: Sequence[Recording]) -> list[Finished | Failure]:
        """Transcribe recordings."""
        done: dict[int, Finished | Failure] = {}
        todo: dict[int, _Source] = {}
        with contextlib.ExitStack() as closing:
            for number, recording in enumerate(group):
                found = self._begin(recording, closing)
                if isinstance(found, _Source):
                    todo[number] = found
                else:
                    done[number] = found
            for number, outcome in self._transcripts({number: source.audio for number, source in todo.items()}):
                done[number] = self._finish(group[number], outcome, todo[number].state)
        return [done[number] for number in range(len(group))]

    def _begin(self, recording: Recording, closing: contextlib.ExitStack) -> _Source | Finished | Failure:
        """Open a recording, unless it was done before."""
        try:
            reread = self.settings.separate or self.journal is not None
            audio = closing.enter_context(opened(recording, reread=reread))
        except Exception as error:  # noqa: BLE001 - whatever it is, the other recordings go on
            return failure(error, recording.source)
        state = self.journal.state(audio) if self.journal else ""
        if self.journal and self.journal.is_finished(self.paths[recording], state):
            return Finished(before=True)
        return _Source(audio, state)

    def _transcripts(self, sources: Mapping[int, str | BinaryIO]) -> Iterator[tuple[int, Transcript | Exception]]:
        from silero_like.batching import BATCH_SIZE, transcribe_each
        from silero_like.channels import transcribe_channels

        if not self.settings.separate:
            yield from transcribe_each(
                self.recognizer,
                sources,
                channel=self.settings.channel,
                n_alternatives=self.settings.alternatives,
                vad=self.settings.vad,
                batch_size=1 if self.alone else BATCH_SIZE,
            )
            return
        for number, source in sources.items():
            try:
                yield number, transcribe_channels(self.recognizer, source, vad=self.settings.vad)
            except Exception as error:  # noqa: BLE001 - whatever it is, the other recordings go on
                yield number, error

    def _finish(self, recording: Recording, outcome: Transcript | Exception, state: str) -> Finished | Failure:
        from silero_like.casing import case_by_pauses

        if isinstance(outcome, Exception):
            return failure(outcome, recording.source)
        try:
            transcript = dataclasses.replace(outcome, audio_filepath=recording.source)
            if self.settings.casing:
                transcript = case_by_pauses(transcript, self.recognizer.config.lang)
            text = render(transcript, self.settings.format)
        except Exception as error:  # noqa: BLE001 - a name that cannot be written: the others go on
            return failure(error, recording.source)
        return self._keep(recording, text, state)

    def _keep(self, recording: Recording, text: str, state: str) -> Finished | Failure:
        """Write a transcript to its file, or hand it on to be printed."""
        if not self.paths:
            return Finished(text)
        path = self.paths[recording]
        try:
            if self.journal:
                self.journal.begin(path)
            write_atomically(path, text + "\n")
            if self.journal:
                self.journal.finish(path, state)
        except Exception as error:  # noqa: BLE001 - a full disk or a name that cannot be written: the others go on
            return failure(error, recording.source)
        return Finished()


def _open_work(elsewhere: Callable[[], Recognizer], settings: Settings, alone: bool) -> Work:
    return Work(elsewhere(), settings, {}, alone=alone)


def _source(recording: Recording) -> str:
    return recording.source
