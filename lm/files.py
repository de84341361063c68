"""Files of texts and models: read as text, gzipped or not, and written whole or not at all."""

import gzip
import io
import os
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO, cast

from lm.model import LanguageModelError

GZIP_MAGIC = b"\x1f\x8b"
DAMAGED_GZIP = (EOFError, gzip.BadGzipFile, zlib.error)


@contextmanager
def open_text(path: Path) -> Iterator[IO[str]]:
    """Open a text, or standard input for "-", as UTF-8; gzipped or not is told by its first bytes.

    Raises:
        LanguageModelError: standard input has been read before.
    """
    if str(path) == "-" and sys.stdin.closed:
        raise LanguageModelError("-: standard input can be read only once: name it once, and other inputs by file")
    with io.BufferedReader(cast(io.RawIOBase, sys.stdin.buffer)) if str(path) == "-" else path.open("rb") as raw:
        is_gzip = raw.peek(len(GZIP_MAGIC)).startswith(GZIP_MAGIC)
        with gzip.open(raw, "rt", encoding="utf-8") if is_gzip else io.TextIOWrapper(raw, encoding="utf-8") as text:
            yield text


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a file that takes its name only when all is written; gzipped if the name ends in .gz."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as plain:
            if path.suffix == ".gz":  # no name and no time inside: the same model gives the same bytes
                with gzip.GzipFile("", "wb", 6, plain, mtime=0) as packed:
                    yield cast(BinaryIO, packed)
            else:
                yield plain
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
