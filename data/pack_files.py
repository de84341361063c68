"""The files of a pack, written whole or not at all: shards and manifests, and ``pack.json``, which lists them."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from data.store import HEADER_BYTES, Samples, wav_header
from silero_like.audio import SAMPLE_RATE
from silero_like.errors import ConfigError

PACK_FORMAT = 1
PACK_NAME = "pack.json"
TEMPORARY = ".{}.tmp"
"""Name of a file that is not complete yet."""


@dataclass(frozen=True, kw_only=True)
class PackedFile:
    """A file of a pack as it was written."""

    n_bytes: int
    """Its size."""
    sha256: str
    """Hash of its bytes, in hex."""


@dataclass(frozen=True, kw_only=True)
class Packed:
    """What ``pack.json`` says of one manifest."""

    source: str
    """Absolute path of the source manifest."""
    source_sha256: str
    """Hash of its bytes."""
    sources_sha256: str
    """Hash of the sizes and modification times of the recordings it names."""
    shard_mb: int
    """The option it was packed with, in MiB."""
    version: str
    """Release of silero_like that wrote it."""
    files: dict[str, PackedFile]
    """Shards and, last, the manifest, by name."""
    n_utterances: int
    """Rows of the packed manifest."""
    duration_s: float
    """Their audio."""
    n_shorter: int
    """Rows whose audio was shorter than the source manifest said."""
    unreadable: tuple[str, ...]
    """One ``path:line: ...`` message for each source row left out because its audio could not be read."""


class Draft:
    """A manifest and its shards, under temporary names until `commit`; what is not committed is removed on leaving."""

    def __init__(self, folder: Path, name: str, first_number: int, shard_bytes: int) -> None:
        self.n_rows = 0
        self.n_samples = 0
        self._folder, self._name, self._number = folder, name, first_number
        self._shard_samples = (shard_bytes - HEADER_BYTES) // 2
        self._names: list[str] = []
        self._lines: list[bytes] = []
        self._shard: BinaryIO | None = None
        self._n_in_shard = 0

    def __enter__(self) -> Draft:
        return self

    def __exit__(self, *_: object) -> None:
        if self._shard:
            with contextlib.suppress(OSError):  # on a full disk closing fails too
                self._shard.close()
        for name in self._names:
            temporary_path(self._folder / name).unlink(missing_ok=True)

    def add(self, fields: dict[str, Any], samples: Samples) -> None:
        """Append int16 `(N,)` to the shards and a row, with the fields of its source, to the manifest."""
        if not self._shard or self._n_in_shard + len(samples) > self._shard_samples:
            self._end_shard()
            self._shard = self._create(f"{self._name}-{self._number + len(self._names):05d}.wav")
            self._shard.write(wav_header(0))
        self._shard.write(samples.astype("<i2", copy=False).data)
        row = fields | {
            "audio_filepath": self._names[-1],
            "offset": self._n_in_shard / SAMPLE_RATE,
            "duration": len(samples) / SAMPLE_RATE,
        }
        # half of a surrogate pair, which UTF-8 cannot hold, becomes the escape that JSON has for it
        self._lines.append(json.dumps(row, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n")
        self._n_in_shard += len(samples)
        self.n_rows += 1
        self.n_samples += len(samples)

    def commit(self) -> dict[str, PackedFile]:
        """Put the files in their places, the manifest last, and return them."""
        self._end_shard()
        with self._create(f"{self._name}.jsonl") as file:
            file.writelines(self._lines)
            sync(file)
        paths = [temporary_path(self._folder / name) for name in self._names]
        files = [PackedFile(n_bytes=path.stat().st_size, sha256=hash_file(path)) for path in paths]
        for name, path in zip(self._names, paths, strict=True):
            os.replace(path, self._folder / name)
        return dict(zip(self._names, files, strict=True))

    def _end_shard(self) -> None:
        if self._shard:
            self._shard.seek(0)
            self._shard.write(wav_header(self._n_in_shard))
            sync(self._shard)
            self._shard.close()
        self._shard, self._n_in_shard = None, 0

    def _create(self, name: str) -> BinaryIO:
        self._names.append(name)
        return temporary_path(self._folder / name).open("wb")


def read_packed(folder: Path) -> dict[str, Packed]:
    """Read ``pack.json``: manifest name -> what is packed. A missing or damaged one says that nothing is.

    Raises:
        ConfigError: a newer format.
    """
    path = folder / PACK_NAME
    try:
        content = json.loads(path.read_bytes())
        if content["format"] > PACK_FORMAT:
            raise ConfigError(f"{path}: format {content['format']}, expected {PACK_FORMAT}: update silero_like")
        packed = {}
        for name, fields in content["manifests"].items():
            files = {file: PackedFile(**about) for file, about in fields["files"].items()}
            packed[name] = Packed(**fields | {"files": files, "unreadable": tuple(fields["unreadable"])})
    except (FileNotFoundError, ValueError, TypeError, KeyError, AttributeError):
        return {}
    return packed


def write_packed(folder: Path, packed: dict[str, Packed]) -> None:
    """Write ``pack.json``."""
    path = folder / PACK_NAME
    manifests = {name: dataclasses.asdict(about) for name, about in packed.items()}
    content = json.dumps({"format": PACK_FORMAT, "manifests": manifests}, indent=1, ensure_ascii=False)
    try:
        with temporary_path(path).open("wb") as file:
            file.write(content.encode("utf-8", "backslashreplace"))
            sync(file)
        os.replace(temporary_path(path), path)
    finally:
        temporary_path(path).unlink(missing_ok=True)


def temporary_path(path: Path) -> Path:
    """Return the path of a file while it is written."""
    return path.with_name(TEMPORARY.format(path.name))


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def sync(file: BinaryIO) -> None:
    """Have what was written on the disk before the file gets its name."""
    file.flush()
    os.fsync(file.fileno())
