"""What `silero-like transcribe --resume` remembers in the output folder: which file was made from what."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import time
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from silero_like.errors import SileroLikeError

JOURNAL = ".transcribed.jsonl"
WAIT_S = 5.0
"""Seconds given to the processes of a run that was killed, to end."""

_LEFT_OVER = re.compile(r"\.(.+)\.\d+\.tmp")  # as write_atomically names what it has not finished


class Journal:
    """The finished files of an output folder; a single run at a time keeps it.

    A file counts as finished when it is there and was made from the same audio, by the same model and settings. It is
    not read again: one that somebody has corrected stays as it is. The processes of one run share a journal.

    Args:
        folder: the output folder, made if need be.
        made_by: all that a transcript depends on beside its audio.

    Raises:
        SileroLikeError: another run is at work there, or the journal cannot be read.
        OSError: it cannot be written.
    """

    def __init__(self, folder: Path, made_by: Iterable[object]) -> None:
        from data.cache import Cache, key_of

        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._made_by = folder, key_of(*made_by)
        self._lock = _locked(folder / JOURNAL)
        self._cache = Cache(folder / JOURNAL)

    def state(self, source: str | BinaryIO) -> str:
        """Return what tells a transcript of this audio from all others; "" where it cannot be read."""
        from data.cache import key_of

        with contextlib.ExitStack() as closing:
            try:
                file = closing.enter_context(open(source, "rb")) if isinstance(source, str) else source
                file.seek(0)
                return key_of(self._made_by, digest(file))
            except (OSError, ValueError):  # ValueError: a zero byte in a path; who transcribes it will say more
                return ""

    def is_finished(self, path: Path, state: str) -> bool:
        """Tell whether a file holds the transcript that it would be given."""
        return bool(state) and self._state_of(path) == state and path.is_file() and path.stat().st_size > 0

    def begin(self, path: Path) -> None:
        """Note that a file is about to be written over: until it is finished it counts as nothing."""
        if self._state_of(path):
            self._put(path, "")

    def finish(self, path: Path, state: str) -> None:
        """Note that a file is there."""
        self._put(path, state)

    def clear(self, paths: Iterable[Path]) -> None:
        """Delete what a run that was killed had not finished of some files."""
        names: dict[Path, set[str]] = {}
        for path in paths:
            names.setdefault(path.parent, set()).add(path.name)
        for folder in filter(Path.is_dir, names):
            for entry in list(folder.iterdir()):
                left_over = _LEFT_OVER.fullmatch(entry.name)
                if left_over and left_over[1] in names[folder]:
                    entry.unlink(missing_ok=True)

    def close(self) -> None:
        """Let another run use the folder."""
        os.close(self._lock)

    def _state_of(self, path: Path) -> str:
        return str((self._cache.get(self._name(path)) or {}).get("state", ""))

    def _put(self, path: Path, state: str) -> None:
        self._cache.put(self._name(path), {"state": state})

    def _name(self, path: Path) -> str:
        return str(path.relative_to(self._folder))


def digest(file: BinaryIO) -> str:
    """Return the SHA-256 of the rest of a file."""
    found = hashlib.sha256()
    while block := file.read(1 << 20):
        found.update(block)
    return found.hexdigest()


def _locked(path: Path) -> int:
    """Open a file that no other process has locked; the lock ends with the last process of this run."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    deadline = time.monotonic() + WAIT_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError as error:
            if time.monotonic() > deadline:
                os.close(descriptor)
                raise SileroLikeError(
                    f"{path.parent}: another run is at work there: let it end, or use another folder"
                ) from error
            time.sleep(0.05)
        except OSError:  # a file system that knows no locks
            return descriptor
