"""Recordings at http(s) addresses: fetched whole, into a file without a name, within bounds of size and time."""

from __future__ import annotations

import http.client
import tempfile
import time
import urllib.error
import urllib.request
from typing import Any, BinaryIO, cast
from urllib.parse import quote, urlsplit, urlunsplit

from silero_like.errors import AudioError

MAX_BYTES = 2 << 30
MAX_S = 3600.0
"""Seconds that a recording may take to come."""
TIMEOUT_S = 30.0
"""Seconds of silence after which a server is given up."""

_BLOCK = 1 << 20
_KEPT = "%/:?@!$&'()*+,;="
"""Beside letters, digits and "-._~" these stay as they are in paths and queries."""
_CURE = "download it by itself, and give the file"


def fetch_audio(
    url: str, *, max_bytes: int = MAX_BYTES, max_s: float = MAX_S, timeout_s: float = TIMEOUT_S
) -> BinaryIO:
    """Return a temporary file with what an address holds; it is gone when it is closed, or the process ends.

    Args:
        url: http or https.
        max_bytes: size.
        max_s: seconds that it may take.
        timeout_s: seconds without a byte.

    Raises:
        AudioError: the server cannot be reached, refuses, breaks off, or sends too much or too slowly.
    """
    file: Any = tempfile.TemporaryFile()  # noqa: SIM115 (given to the caller)
    try:
        headers = {"User-Agent": "silero-like", "Accept-Encoding": "identity"}
        request = urllib.request.Request(_encoded(url), headers=headers)
        with urllib.request.urlopen(request, timeout=timeout_s) as response:
            _check_origin(url, response.url)
            _copy(url, response, file, max_bytes, time.monotonic() + max_s)
    except BaseException as error:
        file.close()
        if isinstance(error, urllib.error.HTTPError):
            error.close()
            raise AudioError(f"{url}: {error.code} {_plain(error.reason)}: check the address in a browser") from error
        if isinstance(error, http.client.IncompleteRead):
            raise AudioError(f"{url}: broke off: try again") from error
        if isinstance(error, OSError | http.client.HTTPException | ValueError):
            reason = _plain(getattr(error, "reason", error)) or type(error).__name__
            raise AudioError(f"{url}: {reason}: is the address right, and the server up?") from error
        raise
    file.seek(0)
    file.raw.name = url  # what messages call it
    return cast(BinaryIO, file)


def _encoded(url: str) -> str:
    """Return an address as it is sent, without its fragment: in ASCII, what is not encoded yet in UTF-8 and IDNA.

    >>> _encoded("https://пример.рф:80/речь 1%20.mp3?q=да&x=1#t")
    'https://xn--e1afmkfd.xn--p1ai:80/%D1%80%D0%B5%D1%87%D1%8C%201%20.mp3?q=%D0%B4%D0%B0&x=1'
    """
    scheme, place, path, query, _ = urlsplit(url)
    user, at, place = place.rpartition("@")
    host, colon, port = place.partition(":")
    host = host if host.isascii() else host.encode("idna").decode("ascii")
    return urlunsplit((scheme, f"{user}{at}{host}{colon}{port}", quote(path, _KEPT), quote(query, _KEPT), ""))


def _plain(reason: object) -> str:
    """Return the first line of what a server says, without what would move a terminal's cursor."""
    return "".join(filter(str.isprintable, str(reason).strip().partition("\n")[0]))


def _check_origin(url: str, final_url: str) -> None:
    if urlsplit(final_url).scheme not in ("http", "https"):
        raise AudioError(f"{url}: leads to {final_url}: expected an http or https address")


def _copy(url: str, response: http.client.HTTPResponse, file: BinaryIO, max_bytes: int, deadline: float) -> None:
    n_bytes, promised = 0, response.length
    if promised and promised > max_bytes:
        raise AudioError(f"{url}: {promised / 1e6:.0f} MB: expected at most {max_bytes / 1e6:.0f}: {_CURE}")
    while block := response.read1(_BLOCK):  # which does not wait for a whole block
        n_bytes += file.write(block)
        if n_bytes > max_bytes:
            raise AudioError(f"{url}: expected at most {max_bytes / 1e6:.0f} MB, and more came: {_CURE}")
        if time.monotonic() > deadline:
            raise AudioError(f"{url}: too slow: {n_bytes / 1e6:.1f} MB came in all the time there is: {_CURE}")
    if promised and n_bytes != promised:
        raise AudioError(f"{url}: broke off after {n_bytes} of {promised} bytes: try again")
