"""A microphone's samples as they come, with sounddevice (the ``[mic]`` extra)."""

from __future__ import annotations

import queue
from collections.abc import Generator
from typing import Any

import numpy as np
import numpy.typing as npt

from silero_like.errors import MissingExtraError, SileroLikeError

Array = npt.NDArray[np.float32]

MIC_HINT = "pip install 'silero_like[mic]'"
BLOCK_S = 0.04
"""Seconds in a chunk."""
MAX_WAITING_S = 30.0
"""Seconds of sound that may wait to be recognised; what comes on top is lost."""
SILENCE_S = 5.0
"""Seconds without a sample after which a device counts as gone."""


class Microphone:
    """A device to record from.

    Args:
        device: its number, or a part of its name; the system's default when None.

    Raises:
        MissingExtraError: the package sounddevice is not installed.
        SileroLikeError: its library PortAudio is not installed; there is no such device, or none at all.
    """

    def __init__(self, device: int | str | None = None) -> None:
        self._device = device
        self._sounddevice = _sounddevice()
        try:
            about = self._sounddevice.query_devices(device, "input")
        except (ValueError, self._sounddevice.PortAudioError) as error:
            raise _no_device(error) from error
        self.name = str(about["name"])
        self.sample_rate = round(about["default_samplerate"])
        """Hz of the chunks."""
        self.n_lost = 0
        """Chunks that were lost because recognition could not keep up, so far."""

    def chunks(self) -> Generator[Array, None, None]:
        """Yield float32 `(n,)` after another, until the iterator is closed.

        Raises:
            SileroLikeError: the device cannot be opened, or is gone.
        """
        waiting: queue.Queue[Array] = queue.Queue(round(MAX_WAITING_S / BLOCK_S))

        def take(samples: Array, n_frames: int, time: object, status: object) -> None:
            try:
                waiting.put_nowait(samples[:, 0].copy())
            except queue.Full:
                self.n_lost += 1

        try:
            with self._sounddevice.InputStream(
                device=self._device,
                channels=1,
                samplerate=self.sample_rate,
                dtype="float32",
                blocksize=round(BLOCK_S * self.sample_rate),
                callback=take,
            ):
                while True:
                    yield waiting.get(timeout=SILENCE_S)
        except self._sounddevice.PortAudioError as error:
            raise _no_device(error) from error
        except queue.Empty as error:
            raise SileroLikeError(
                f"{self.name}: no sound for {SILENCE_S:g} s: is it still plugged in? See silero-like listen --devices"
            ) from error


def list_microphones() -> list[str]:
    """Return a line for each device that records: its number, name and sample rate.

    Raises:
        MissingExtraError: the package sounddevice is not installed.
        SileroLikeError: its library PortAudio is not installed; there is no microphone.
    """
    devices = enumerate(_sounddevice().query_devices())
    lines = [
        f"{number}  {about['name']} ({about['default_samplerate']:g} Hz)"
        for number, about in devices
        if about["max_input_channels"] > 0
    ]
    if not lines:
        raise SileroLikeError("no microphone found: plug one in")
    return lines


def _sounddevice() -> Any:
    try:
        import sounddevice
    except ImportError as error:
        raise MissingExtraError(f"the microphone needs sounddevice, which is absent: {MIC_HINT}") from error
    except OSError as error:
        raise SileroLikeError(
            f"the microphone needs PortAudio ({error}): apt install libportaudio2, or what your system calls it"
        ) from error
    return sounddevice


def _no_device(error: Exception) -> SileroLikeError:
    return SileroLikeError(
        f"no microphone to listen to ({' '.join(str(error).split())}): plug one in, or name one of "
        "silero-like listen --devices"
    )
