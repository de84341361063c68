"""Results of long work that outlive a kill: JSON lines, appended one by one and found again by a key."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from data.manifest import Utterance
from silero_like.errors import AudioError, SileroLikeError

START = b'{"key": '


class Cache:
    """Values by key, in memory and in a file that grows by a line for each.

    A line that a kill cut short is passed over. Keys must say all that the value depends on; values of keys that are
    no longer asked for do no harm.

    Args:
        path: the file; made, with its folder, when the first value is put.

    Raises:
        SileroLikeError: the file is there and cannot be read, or holds something else.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._values: dict[str, dict[str, Any]] = {}
        self._is_cut = False
        try:
            data = path.read_bytes() if path.exists() else b""
        except OSError as error:
            raise SileroLikeError(f"{path}: cannot read the results of earlier work ({error.strerror})") from error
        if not data.startswith(START[: len(data)]):
            raise SileroLikeError(f"{path}: expected results of earlier work, found other content: name another file")
        for line in data.split(b"\n"):
            self._read(line)
        self._is_cut = bool(data) and not data.endswith(b"\n")

    def get(self, key: str) -> dict[str, Any] | None:
        """Return the value of a key, or None."""
        return self._values.get(key)

    def put(self, key: str, value: dict[str, Any]) -> None:
        """Keep a value, of what JSON can hold.

        Raises:
            OSError: it cannot be written.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps({"key": key, **value}, ensure_ascii=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write("\n" * self._is_cut + line + "\n")
        self._is_cut = False
        self._values[key] = value

    def _read(self, line: bytes) -> None:
        try:
            value = json.loads(line)
            self._values[value.pop("key")] = value
        except (ValueError, TypeError, KeyError, AttributeError):
            return  # empty, or cut short


def key_of(*parts: object) -> str:
    """Return a short name for what a value depends on."""
    return hashlib.sha256(json.dumps([str(part) for part in parts]).encode()).hexdigest()[:32]


def audio_key(utterance: Utterance) -> tuple[object, ...]:
    """Return what tells the audio of an utterance from any other without reading it.

    Raises:
        AudioError: the recording is not there.
    """
    try:
        stat = os.stat(utterance.audio_path)
    except OSError as error:
        raise AudioError(f"{utterance.audio_path}: cannot read the recording ({error.strerror})") from error
    return utterance.audio_path, stat.st_size, stat.st_mtime_ns, utterance.offset_s, utterance.duration_s
