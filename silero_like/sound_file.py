"""Sound files as libsndfile reads them, and mp3 so that all of it is decoded, always to the same samples."""

from __future__ import annotations

import functools
import io
import re
from typing import BinaryIO

import soundfile

_XING = re.compile(rb"(?:Xing|Info)...[\x03\x07\x0b\x0f].{4}(.{4})", re.DOTALL)
"""The header that counts an mp3's frames, and its bytes: the group."""
_CUT = re.compile(r"^ *(?:data|SSND|Data Size) *: (\d+) \(should be (\d+)\)", re.MULTILINE)
"""What libsndfile notes of samples that a wav, aiff or au announces and does not hold: bytes told, bytes there."""
_UNTOLD = 0x7FFF_0000
"""A size from here on stands for one that was not known: such files come from pipes."""
_FRAME_START = 64
"""Bytes of an mp3's first frame in which the Xing header is."""


class _ForwardSoundFile(soundfile.SoundFile):  # type: ignore[misc]
    """Reads on without seeking: soundfile seeks after each read, after which mp3 decodes to other samples."""

    def seekable(self) -> bool:
        return False


class _EndlessFile:
    """Claims to be as large as an mp3's first frame tells, or a terabyte: libsndfile would guess a length from less.

    Guessed too short, the rest would be lost; and mpg123 prints a warning where frame and size differ. It believes the
    size and calls a cut last frame an error, so that is filled with zeros, and a cut frame header (4 bytes) left out.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._at_end = False
        self._size = _told_size(file) or 1 << 40

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at_end = whence == io.SEEK_END
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._size if self._at_end else self._file.tell()

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        if len(data) < size:
            return data.ljust(size, b"\0") if size > 4 else b""
        return data


def open_sound(stream: BinaryIO) -> soundfile.SoundFile:
    """Open a seekable stream.

    Raises:
        soundfile.SoundFileError: not a format that libsndfile knows.
        TypeError: a stream whose name ends in .raw.
    """
    sound = _ForwardSoundFile(stream)
    if sound.format != "MP3":
        return sound
    sound.close()
    stream.seek(0)
    return _ForwardSoundFile(_EndlessFile(stream))


def missing_s(sound: soundfile.SoundFile) -> float:
    """Return how many seconds a wav, aiff or au announces beyond those that it holds."""
    found = _CUT.search(sound.extra_info)
    told, there = map(int, found.groups()) if found else (0, 0)
    return (told - there) / there * sound.frames / sound.samplerate if there and told < _UNTOLD else 0.0


def file_size(sound: soundfile.SoundFile) -> int:
    """Return the bytes of a file as libsndfile notes them, 0 where it does not."""
    found = re.search(r"^Length : (\d+)", sound.extra_info, re.MULTILINE)
    return int(found[1]) if found else 0


def _told_size(file: BinaryIO) -> int | None:
    """Return the size of an mp3 by the header in its first frame, if there is one; leave the file at its start."""
    tag = file.read(10)
    start = 0
    if tag.startswith(b"ID3"):  # four times seven bits
        start = len(tag) + functools.reduce(lambda size, byte: size << 7 | byte & 127, tag[6:], 0)
    file.seek(start)
    found = _XING.search(file.read(_FRAME_START))
    file.seek(0)
    return start + int.from_bytes(found[1], "big") if found else None
