"""What was measured, kept in an SQLite file by the content of the recording: nothing is decoded twice.

A row belongs to the SHA-256 of a recording's bytes, an offset and a duration, so that it holds for copies, moved files
and other manifests. A second table knows the hash of a path by its size and time of change, so that unchanged files
are not even read.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import lru_cache
from pathlib import Path

from data.examine import VERSION, Examined
from data.manifest import Utterance
from data.measures import Measures
from data.pack_files import hash_file
from silero_like.errors import ConfigError, SileroLikeError

WRITE_S = 2.0
"""At most this much work is lost when the process is killed."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS files (path BLOB PRIMARY KEY, size INTEGER, mtime_ns INTEGER, sha256 TEXT);
CREATE INDEX IF NOT EXISTS sizes ON files (size);
CREATE TABLE IF NOT EXISTS examined (
    sha256 TEXT, offset REAL, duration REAL, version INTEGER, value TEXT, PRIMARY KEY (sha256, offset, duration)
) WITHOUT ROWID;
"""


class CacheError(SileroLikeError):
    """The cache cannot be used: no SQLite file, no space, or locked by another process for long."""


@dataclasses.dataclass(frozen=True)
class FileState:
    """A recording as it lay on disk."""

    path: bytes
    size: int
    mtime_ns: int


class MeasureCache:
    """An open cache; see `open_cache`."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self._written = time.monotonic()
        self._files: list[tuple[object, ...]] = []
        self._examined: list[tuple[object, ...]] = []

    def find(self, utterance: Utterance) -> Examined | None:
        """Return what is known of an utterance; a file that is new under this name is hashed if it may be known."""
        try:
            state = stat_file(utterance.audio_path)
            sha256 = self._hash(state)
        except OSError:
            return None  # decoding says what is wrong
        if not sha256:
            return None
        row = self._database.execute(
            "SELECT value FROM examined WHERE sha256 = ? AND offset = ? AND duration = ? AND version = ?",
            (sha256, utterance.offset_s, utterance.duration_s, VERSION),
        ).fetchone()
        return _decoded(row[0]) if row else None

    def add(self, utterance: Utterance, state: FileState, sha256: str, examined: Examined) -> None:
        """Keep what was found; on disk within `WRITE_S`."""
        value = json.dumps(dataclasses.asdict(examined), separators=(",", ":"))
        self._files.append((*dataclasses.astuple(state), sha256))
        self._examined.append((sha256, utterance.offset_s, utterance.duration_s, VERSION, value))
        if time.monotonic() - self._written > WRITE_S:
            self.write()

    def write(self) -> None:
        """Write what was added in one short transaction, so that other processes wait for moments only."""
        with self._database:
            self._database.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", self._files)
            self._database.executemany("INSERT OR REPLACE INTO examined VALUES (?, ?, ?, ?, ?)", self._examined)
        self._files.clear()
        self._examined.clear()
        self._written = time.monotonic()

    def _hash(self, state: FileState) -> str:
        """Return a file's hash as remembered; "" when it cannot be a known one."""
        known = self._database.execute(
            "SELECT sha256 FROM files WHERE path = ? AND size = ? AND mtime_ns = ?", dataclasses.astuple(state)
        ).fetchone()
        if known:
            return str(known[0])
        if not self._database.execute("SELECT 1 FROM files WHERE size = ?", (state.size,)).fetchone():
            return ""
        sha256 = hash_state(state)
        self._files.append((*dataclasses.astuple(state), sha256))
        return sha256


@contextmanager
def open_cache(path: Path) -> Iterator[MeasureCache]:
    """Open a cache, or begin one.

    Raises:
        CacheError: see there.
        ConfigError: another kind of file.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(path, timeout=60)) as database:
            database.executescript(SCHEMA)
            cache = MeasureCache(database)
            try:
                yield cache
            finally:
                cache.write()
    except sqlite3.OperationalError as error:
        raise CacheError(f"{path}: {error}: name another file with --cache, or free some space") from error
    except sqlite3.DatabaseError as error:
        raise ConfigError(f"{path}: {error}: expected a cache of measures; delete it, or name another file") from error


def stat_file(path: Path) -> FileState:
    """Return the state of a file.

    Raises:
        OSError: it cannot be asked for.
    """
    stat = os.stat(path)
    return FileState(os.fsencode(path), stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=64)  # many utterances share a recording, one after another
def hash_state(state: FileState) -> str:
    """Return the SHA-256 of a file's bytes, in hex.

    Raises:
        OSError: it cannot be read.
    """
    return hash_file(Path(os.fsdecode(state.path)))


def _decoded(value: str) -> Examined:
    fields = json.loads(value)
    return Examined(**{**fields, "measures": Measures(**fields["measures"])})
