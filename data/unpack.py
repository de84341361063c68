"""Unpack an archive that somebody else made: only files and folders, only below the folder, only so much."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import lzma
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from silero_like.errors import SileroLikeError

EXPANSION = 20
"""Times its own size that an archive may unpack to, beside `SMALL_BYTES`; sound and text take 1 to 5 times."""
SMALL_BYTES = 100 << 20
MAX_MEMBERS = 20_000_000
SPECIAL = "link, device or other special file"

_DAMAGE = (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError, RuntimeError)


class ArchiveError(SileroLikeError):
    """An archive is damaged, or holds what no corpus does; nothing of it was kept."""


@dataclass(frozen=True)
class _Member:
    name: str
    n_bytes: int
    """As the archive declares them, of which no more are read."""
    kind: str
    """ "file", "folder", or what else it is."""
    open: Callable[[], IO[bytes] | None]


def unpack(archive: Path, folder: Path, advance: Callable[[int], None] = lambda _: None) -> None:
    """Unpack a tar (plain, gz, bz2, xz) or zip into a new folder, all of it or nothing.

    Args:
        archive: the file.
        folder: must not exist.
        advance: called with the bytes unpacked so far.

    Raises:
        ArchiveError: damaged; a name outside the folder; a link, device or other special file; more bytes than
            `EXPANSION` allows or the disk has room for.
    """
    limit = EXPANSION * archive.stat().st_size + SMALL_BYTES
    temporary = folder.with_name(f".{folder.name}.unpacking")
    if temporary.exists():  # of a run that was killed
        shutil.rmtree(temporary)
    temporary.mkdir(parents=True)
    try:
        limit = min(limit, shutil.disk_usage(temporary).free)
        members = _zip_members if _start(archive).startswith(b"PK") else _tar_members
        n_bytes = 0
        with contextlib.closing(members(archive, limit)) as found:
            for number, member in enumerate(found, start=1):
                n_bytes += member.n_bytes
                if n_bytes > limit or number > MAX_MEMBERS:
                    raise _too_large(archive, limit)
                _extract(member, temporary, archive)
                advance(n_bytes)
        os.rename(temporary, folder)
    except _DAMAGE as error:
        raise ArchiveError(f"{archive}: damaged ({error}): delete it and download it again") from error
    except OSError as error:  # gzip and bz2 report damage so too
        raise ArchiveError(f"{archive}: cannot unpack it ({error}): damaged, or no room on the disk") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _too_large(archive: Path, limit: int) -> ArchiveError:
    return ArchiveError(
        f"{archive}: would unpack to more than {limit / 1e9:.1f} GB or {MAX_MEMBERS} files: more than a corpus of this "
        "size does, or than the disk has room for"
    )


def _extract(member: _Member, folder: Path, archive: Path) -> None:
    if member.kind not in ("file", "folder"):
        raise ArchiveError(f"{archive}: {member.name!r} is a {member.kind}: expected only files and folders")
    parts = [part for part in member.name.split("/") if part not in ("", ".")]
    if member.name.startswith("/") or ".." in parts or any(character in member.name for character in "\\\0:"):
        raise ArchiveError(f"{archive}: {member.name!r} is no name below the folder: expected a relative one")
    path = folder.joinpath(*parts)
    if member.kind == "folder":
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    opened = member.open()
    with opened or contextlib.nullcontext() as source, path.open("wb") as target:
        if source:
            shutil.copyfileobj(source, target, 1 << 20)
    if path.stat().st_size != member.n_bytes:
        raise EOFError(f"{member.name!r} has {path.stat().st_size} bytes of {member.n_bytes}")


def _tar_members(archive: Path, limit: int) -> Generator[_Member, None, None]:
    with _decompressed(archive) as plain:
        with tarfile.open(fileobj=plain, mode="r|") as tar:
            while (found := tar.next()) is not None:
                kind = "file" if found.isreg() else "folder" if found.isdir() else SPECIAL
                yield _Member(found.name, found.size if found.isreg() else 0, kind, partial(tar.extractfile, found))
                tar.members.clear()  # type: ignore[attr-defined] # or a million of them would stay in memory
        n_left = 0
        while block := plain.read(1 << 20):  # to the checksum at the end, or a cut archive would pass
            n_left += len(block)
            if n_left > limit:
                raise ArchiveError(f"{archive}: more than {limit / 1e9:.1f} GB behind its end: not an archive to trust")


def _decompressed(archive: Path) -> IO[bytes]:
    """Open a file for reading what was compressed."""
    start = _start(archive)
    if start.startswith(b"\x1f\x8b"):
        return gzip.open(archive)  # type: ignore[return-value]
    if start.startswith(b"BZh"):
        return bz2.open(archive)
    return lzma.open(archive) if start == b"\xfd7zXZ\0" else archive.open("rb")


def _start(archive: Path) -> bytes:
    with archive.open("rb") as file:
        return file.read(6)


def _zip_members(archive: Path, limit: int) -> Generator[_Member, None, None]:
    with zipfile.ZipFile(archive) as opened:
        if sum(found.file_size for found in opened.infolist()) > limit:
            raise _too_large(archive, limit)
        for found in opened.infolist():
            mode = stat.S_IFMT(found.external_attr >> 16)
            special = mode not in (0, stat.S_IFREG, stat.S_IFDIR)
            kind = SPECIAL if special else "folder" if found.is_dir() else "file"
            yield _Member(found.filename, found.file_size, kind, partial(opened.open, found))
