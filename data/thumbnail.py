"""Small pictures of recordings, without a library for pictures."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import numpy.typing as npt

from data.measures import Waveform, power_spectrogram

WIDTH, HEIGHT = 160, 40
"""Pixels, at most."""
RANGE_DB = 60.0
N_COLOURS = 16
PALETTE = ((0, 0, 4), (66, 10, 104), (147, 38, 103), (221, 81, 58), (252, 165, 10), (252, 255, 164))
"""From quiet to loud."""


def draw_spectrogram(waveform: Waveform, sample_rate: int) -> bytes:
    """Return a PNG of 16 colours: time to the right, frequency upwards, spaced as the ear hears (mel), 60 dB deep."""
    power = power_spectrogram(waveform, sample_rate)
    power = _pooled(power, np.linspace(0, len(power), min(len(power), WIDTH) + 1)[:-1])
    mel = np.linspace(0, 2595 * np.log10(1 + sample_rate / 2 / 700), HEIGHT + 1)
    power = _pooled(power.T, 700 * (10 ** (mel / 2595) - 1)[:-1] * 2 * (power.shape[1] - 1) / sample_rate)
    levels = 10 * np.log10(np.maximum(power, 1e-12))
    steps = (levels - levels.max()) / RANGE_DB * N_COLOURS + N_COLOURS
    return _png(np.clip(steps, 0, N_COLOURS - 1).astype(np.uint8)[::-1])


def _pooled(values: npt.NDArray[np.float64], bounds: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the mean of the rows from each bound to the next; a bound that is no further than the last is moved on."""
    first = np.maximum(bounds.astype(int), np.arange(len(bounds)))
    sums: npt.NDArray[np.float64] = np.add.reduceat(values, first, axis=0)
    return sums / np.diff(np.append(first, len(values)))[:, None]


def _png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """Write colour numbers below 16, `(height, width)`, as a PNG with a palette and 4 bits a pixel."""
    height, width = pixels.shape
    even = np.pad(pixels, ((0, 0), (0, width % 2)))
    rows = np.pad(even[:, ::2] << 4 | even[:, 1::2], ((0, 0), (1, 0)))  # the byte before each row: not filtered
    places = np.linspace(0, len(PALETTE) - 1, N_COLOURS)
    colours = np.array([np.interp(places, range(len(PALETTE)), channel) for channel in zip(*PALETTE, strict=True)])
    header = struct.pack(">IIBBBBB", width, height, 4, 3, 0, 0, 0)  # 4 bits, palette
    chunks = (
        (b"IHDR", header),
        (b"PLTE", colours.T.astype(np.uint8).tobytes()),
        (b"IDAT", zlib.compress(rows.tobytes(), 9)),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*chunk) for chunk in (*chunks, (b"IEND", b"")))


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
