"""Recordings as they come into a folder, each when nobody writes it any more."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from silero_like.cli.inputs import Recording, find_recordings

POLL_S = 1.0
"""Seconds between looks: a file that has not changed from one to the next is taken."""

State = tuple[int, int]  # size in bytes, time of the last change


def settled_recordings(folder: Path) -> Iterator[tuple[list[Recording], list[Recording]]]:
    """Yield, again and again, all recordings in a folder and those of them to be transcribed now.

    A recording is given once, when its size and time have been the same for two looks, and again when it changes.
    """
    given: dict[Recording, State] = {}
    seen: dict[Recording, State] = {}
    while True:
        present = find_recordings([str(folder)])[0]
        last, seen = seen, {recording: state for recording in present if (state := _state(recording))}
        ready = [
            recording
            for recording, state in seen.items()
            if last.get(recording) == state and given.get(recording) != state
        ]
        if ready:
            yield present, ready
            given |= {recording: seen[recording] for recording in ready}
        time.sleep(POLL_S)


def _state(recording: Recording) -> State | None:
    """Return how a file looks from outside; None of one that is empty, or has gone again."""
    try:
        status = os.stat(recording.source)
    except OSError:
        return None
    return (status.st_size, status.st_mtime_ns) if status.st_size else None
