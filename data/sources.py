"""What readers of corpora share: rows as they find them, text in any encoding, audio files under changed names."""

from __future__ import annotations

import gzip
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import chain, product
from pathlib import Path
from typing import TextIO

from data.manifest import Refusal
from silero_like.errors import ManifestError

ENCODING = "utf-8"
_NO_TEXT = re.compile("[\0-\x08\ud800-\udfff]")
N_FOLDERS = 1 << 16
"""Folders that a finder remembers to be there or not: most recordings of a corpus lie in few of them."""
LANGUAGES = {"english": "en", "russian": "ru", "chinese": "zh", "mandarin": "zh", "cmn": "zh"}
"""Names that corpora write for the codes."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of a corpus as its reader finds it: nothing is checked yet."""

    where: str
    """``path:line`` that it comes from, or the recording where there are no lines."""
    audio_path: Path | None
    """Absolute path of the recording; None when there is no such file."""
    audio_name: str
    """The recording as the corpus names it."""
    text: str | Path
    """What was said, or the file that says it."""
    duration_s: float | None = None
    """Length of the stretch in seconds; None when the corpus does not say: all there is after the offset."""
    offset_s: float = 0.0
    """Start of the stretch in seconds."""
    speaker: str = ""
    domain: str = ""
    lang: str = ""
    source: str = ""
    annotation: str | None = None
    quality: float | None = None


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a corpus lies."""

    path: Path
    """Absolute path of its file or folder."""
    encoding: str = ENCODING
    """Of its text; a byte order mark goes before it."""
    audio_root: Path | None = None
    """Folder below which recordings are looked for, whatever folders the corpus names before theirs."""

    @property
    def folder(self) -> Path:
        """The folder of the corpus."""
        return self.path if self.path.is_dir() else self.path.parent

    def lines(self, path: Path) -> Iterator[tuple[str, str]]:
        """Yield (``path:line``, line) of a text file, gzipped or not, with any line ends; blank lines are left out.

        Bytes that are no text in the encoding become lone surrogates, by which `is_text` knows them.

        Raises:
            ManifestError: the file cannot be read, or the encoding has no such name.
        """
        try:
            with self._open(path) as file:
                for number, line in enumerate(file, start=1):
                    if line.strip():
                        yield f"{path}:{number}", line.rstrip("\n")
        except (OSError, EOFError, LookupError, UnicodeDecodeError) as error:
            raise ManifestError(f"{path}: cannot read it ({getattr(error, 'strerror', None) or error})") from error

    def text(self, path: Path) -> str:
        """Return the text of a small file; as `lines`, but all of it in one.

        Raises:
            ManifestError: as `lines`.
        """
        return " ".join(" ".join(line for _, line in self.lines(path)).split())

    def finder(self, *folders: Path, suffixes: Sequence[str] = (), moved: bool = False) -> AudioFinder:
        """Return what finds recordings below the audio root or, without one, below some folders.

        Args:
            folders: tried in turn; the corpus's own when none is given.
            suffixes: endings to try instead of the one that is named.
            moved: leave out leading folders of names, which an audio root implies.
        """
        if self.audio_root:
            return AudioFinder((self.audio_root,), suffixes, True)
        return AudioFinder(folders or (self.folder,), suffixes, moved)

    def _open(self, path: Path) -> TextIO:
        with path.open("rb") as file:
            start = file.read(3)
        encoding = "utf-8-sig" if self.encoding == ENCODING else self.encoding
        if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
            encoding = "utf-16"
        if path.suffix == ".gz":
            return gzip.open(path, "rt", encoding=encoding, errors="surrogateescape")
        return path.open(encoding=encoding, errors="surrogateescape")


Rows = Iterator[Row | Refusal]
"""What a reader gives."""


class AudioFinder:
    """Finds the recordings that a corpus names, below other folders and with other endings if need be."""

    def __init__(self, folders: Sequence[Path], suffixes: Sequence[str] = (), moved: bool = False) -> None:
        self._suffixes = suffixes
        self._n_dropped: int | None = None if moved else 0
        self._last = (folders[0], "")
        self._existing = lru_cache(N_FOLDERS)(partial(_existing, tuple(folders)))

    def find(self, name: str) -> Path | None:
        """Return the absolute path of a recording; None when there is no file.

        How many leading folders are left out is settled by the first recording that is found, so that names keep
        apart what lies apart.
        """
        if "\\" in name and "/" not in name:
            name = name.replace("\\", "/")
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if not parts or "\0" in name:
            return None
        if os.path.isabs(name) and os.path.isfile(name):
            return Path(os.path.abspath(name))
        stem = os.path.splitext(parts[-1])[0]
        for n_dropped in range(len(parts)) if self._n_dropped is None else [self._n_dropped]:
            existing = self._existing("/".join(parts[n_dropped:-1])) if n_dropped < len(parts) else {}
            first = [self._last] if self._last[0] in existing else []
            for folder, suffix in chain(first, product(existing, ["", *self._suffixes])):
                path = os.path.join(existing[folder], stem + suffix if suffix else parts[-1])
                if os.path.isfile(path):
                    self._n_dropped, self._last = n_dropped, (folder, suffix)
                    return Path(path)
        return None


def _existing(folders: tuple[Path, ...], inner: str) -> dict[Path, str]:
    """Return which folders have a folder `inner`, and its absolute path in each."""
    paths = {folder: os.path.abspath(os.path.join(folder, inner)) for folder in folders}
    return {folder: path for folder, path in paths.items() if os.path.isdir(path)}


def lang_code(name: str) -> str:
    """Return the code of a language by a tag or an English name.

    >>> [lang_code(name) for name in ("zh-CN", "Russian", "en_US", "ru", "")]
    ['zh', 'ru', 'en', 'ru', '']
    """
    return LANGUAGES.get(name.lower(), name.replace("_", "-").split("-")[0].lower())


def is_text(text: str) -> bool:
    """Tell whether a text was all text in its encoding: no stray bytes, no zeros as UTF-16 taken for UTF-8 has.

    >>> is_text("да"), is_text(b"\\xe4\\xe0".decode("utf-8", "surrogateescape")), is_text("y\\0e\\0s\\0")
    (True, False, False)
    """
    return not _NO_TEXT.search(text)
