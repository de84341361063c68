"""Fetch a large file over HTTP: goes on where it broke off, today or another day, and is checked before it counts."""

from __future__ import annotations

import errno
import hashlib
import http.client
import os
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from silero_like.errors import SileroLikeError

TIMEOUT_S = 60.0
RETRIES = 5
"""Attempts in a row without a new byte."""
FINAL_STATUS = (400, 401, 403, 404, 405, 410, 451)
"""Answers that trying again does not change."""

_BLOCK = 1 << 20


class DownloadError(SileroLikeError):
    """A file cannot be fetched, or is not what its publisher says it is."""


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """A file that somebody publishes."""

    url: str
    size_mb: float
    """About how large it is, in millions of bytes; twice as much is not accepted."""
    checksum: str = ""
    """``md5:...`` or ``sha256:...`` as its publisher says; "" when none is known."""

    @property
    def name(self) -> str:
        """The last part of the URL."""
        return self.url.rsplit("/", 1)[-1]


def fetch(
    remote: RemoteFile, path: Path, advance: Callable[[int, int], None] = lambda *_: None, *, wait_s: float = 1.0
) -> None:
    """Fetch a file to a path; nothing is done if it is there.

    Args:
        remote: what to fetch.
        path: where it goes; ``.part`` behind the name holds what there is of it so far.
        advance: called with the bytes there are, and all of them (0 when the server does not say).
        wait_s: seconds before the second attempt; each further one waits twice as long.

    Raises:
        DownloadError: the server refuses, breaks off again and again, or sends something else than was published.
    """
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    attempt = 0
    while True:
        before = _size(part)
        try:
            if _receive(remote, part, advance):
                break
            reason = "the connection broke off"
        except urllib.error.HTTPError as error:
            error.close()
            if error.code in FINAL_STATUS:
                found = f"{error.code} {error.reason}"
                raise DownloadError(f"{remote.url}: {found}: it may have moved; look for it") from error
            reason = f"{error.code} {error.reason}"
            if error.code == 416:  # what is there is no beginning of what the server has
                part.unlink(missing_ok=True)
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                cure = "free some, and start again; what is there stays"
                raise DownloadError(f"{part}: no space left on the disk: {cure}") from error
            reason = str(getattr(error, "reason", error) or type(error).__name__)
        attempt = 0 if _size(part) > before else attempt + 1
        if attempt > RETRIES:
            raise DownloadError(f"{remote.url}: {reason}: tried {RETRIES} times again; start again later, it goes on")
        time.sleep(wait_s * 2 ** max(0, attempt - 1))
    _check(remote, part)
    os.replace(part, path)
    _validator(part).unlink(missing_ok=True)


def _receive(remote: RemoteFile, part: Path, advance: Callable[[int, int], None]) -> bool:
    """Append what the server sends to what is there; return whether that is all."""
    request = urllib.request.Request(remote.url, headers={"User-Agent": "silero-like", "Accept-Encoding": "identity"})
    start = _size(part)
    if start:
        request.add_header("Range", f"bytes={start}-")
        if tag := _validator(part).read_text() if _validator(part).exists() else "":
            request.add_header("If-Range", tag)
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", ""))
        if response.status == 206 and (not found or int(found[1]) != start):
            part.unlink()
            return False
        start = start if response.status == 206 else 0  # 200: it does not know ranges, or has a new file
        total = int(found[2]) if found else int(response.headers.get("Content-Length") or 0)
        _check_size(remote, part, max(total, start), total - start)
        tag = response.headers.get("ETag") or response.headers.get("Last-Modified") or ""
        _validator(part).write_text("" if tag.startswith("W/") else tag)
        return _copy(remote, response, part, start, total, advance)


def _copy(
    remote: RemoteFile,
    response: http.client.HTTPResponse,
    part: Path,
    n_bytes: int,
    total: int,
    advance: Callable[[int, int], None],
) -> bool:
    """Write what comes behind the first bytes; return whether that is all."""
    with part.open("r+b" if n_bytes else "wb") as file:
        file.seek(n_bytes)
        while block := response.read(_BLOCK):
            file.write(block)
            n_bytes += len(block)
            _check_size(remote, part, n_bytes, 0)
            advance(n_bytes, total)
    return n_bytes == total or not total


def _check_size(remote: RemoteFile, part: Path, n_bytes: int, n_missing: int) -> None:
    if n_bytes > 2e6 * remote.size_mb + 1e6:
        raise DownloadError(f"{remote.url}: more than twice the {remote.size_mb:g} MB that were published: look at it")
    free = shutil.disk_usage(part.parent).free
    if n_missing > free:
        raise DownloadError(f"{part}: {n_missing / 1e9:.2f} GB to come, {free / 1e9:.2f} GB free: use another disk")


def _check(remote: RemoteFile, part: Path) -> None:
    """Compare the checksum; what is wrong is deleted, as no part of it can be trusted."""
    if not remote.checksum:
        return
    kind, _, expected = remote.checksum.partition(":")
    digest = hashlib.new(kind)
    with part.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    if digest.hexdigest() != expected:
        part.unlink()
        _validator(part).unlink(missing_ok=True)
        raise DownloadError(
            f"{remote.url}: {kind} {digest.hexdigest()}, expected {expected}: damaged on the way, or another file; "
            "deleted, start again"
        )


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _validator(part: Path) -> Path:
    """Return the file that keeps which version of the remote file the part is of."""
    return part.with_name(f"{part.name}.tag")
