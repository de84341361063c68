"""Sound files as libsndfile reads them, and mp3 so that all of it is decoded, always to the same samples."""

from __future__ import annotations

import io
from typing import BinaryIO

import soundfile


class _ForwardSoundFile(soundfile.SoundFile):  # type: ignore[misc]
    """Reads on without seeking: soundfile seeks after each read, after which mp3 decodes to other samples."""

    def seekable(self) -> bool:
        return False


class _EndlessFile:
    """Claims a terabyte, for mp3: libsndfile guesses the length from the file size where no Xing header tells it.

    Guessed too short, the rest would be lost. mpg123 believes it and calls a cut last frame an error, so that
    is filled with zeros, and a cut frame header (4 bytes) left out.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._at_end = False

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at_end = whence == io.SEEK_END
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return 1 << 40 if self._at_end else self._file.tell()

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
