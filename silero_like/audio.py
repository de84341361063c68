"""Sound in: any file or stream becomes a float32 mono 16 kHz waveform ``(N,)``, whole or in windows.

Soundfile decodes what libsndfile knows (wav, flac, ogg, opus, mp3, ...); PyAV, the ``[video]`` extra, the rest. Both
hand over blocks of a bounded size, soxr (HQ) resamples them as one stream: a ten-hour file never lies in memory whole.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from silero_like.errors import AudioError, MissingExtraError
from silero_like.sound_file import file_size, missing_s, open_sound

SAMPLE_RATE = 16000
"""Hz, of every waveform in this project."""

_SOUNDFILE = ".wav .wave .flac .ogg .oga .opus .mp3 .aif .aiff .aifc .au .snd .w64 .rf64 .caf"
_VIDEO = ".m4a .m4b .mp4 .m4v .mov .aac .webm .weba .mkv .mka .avi .wma .wmv .3gp .amr .flv"
SOUNDFILE_SUFFIXES = frozenset(_SOUNDFILE.split())
VIDEO_SUFFIXES = frozenset(_VIDEO.split())
AUDIO_SUFFIXES = SOUNDFILE_SUFFIXES | VIDEO_SUFFIXES
"""Lower-case file name endings that a folder scan picks up."""

VIDEO_HINT = "pip install 'silero_like[video]'"

Waveform = npt.NDArray[np.float32]
Source = str | Path | BinaryIO

_NOTHING_ELSE = {"protocol_whitelist": "none"}  # no file or host that a playlist or session description names
_BLOCK_SAMPLES = 1 << 20  # samples over all channels decoded at once: 4 MB
_MIN_SAMPLE_RATE = 4000  # Hz; below there is no speech, and the resampled stream would grow without bound
_SLACK_S = 0.1  # by which the header of a wav may announce too much
_MOST_HEADER_BYTES = 1 << 16  # of a file without samples; more is sound that its header does not count
_MAX_PEAK = 1000.0  # float files may overshoot 1; integers stored as floats (to 32768) would be noise to the model


def load_audio(
    source: Source, *, channel: int | None = None, offset_s: float = 0.0, duration_s: float | None = None
) -> Waveform:
    """Read a recording, or the part of it from `offset_s` for `duration_s`.

    Args:
        source: a path, "-" for standard input, or a binary file object, read from its start.
        channel: the 0-based channel to take; the mean of all when None.
        offset_s: seconds to skip, at least 0.
        duration_s: seconds to read, or fewer where the recording ends earlier; all of the rest when None.

    Returns:
        float32 `(N,)`, mono, 16 kHz, nominally in [-1, 1]; empty where a valid file holds no frames.

    Raises:
        AudioError: unreadable, not audio, damaged, truncated (where the format tells: flac, wav, aiff, au), NaN or
            infinite samples.
        MissingExtraError: a format that needs PyAV, which is not installed.
    """
    blocks = list(_waveform_blocks(source, channel, offset_s, duration_s))
    return blocks[0] if len(blocks) == 1 else np.concatenate([np.zeros(0, np.float32), *blocks])


def stream_audio(source: Source, *, window_s: float = 60.0, channel: int | None = None) -> Iterator[Waveform]:
    """Yield successive windows of `window_s` seconds, the last one shorter; together they equal `load_audio`.

    Errors are those of `load_audio`, raised when the damage is reached. Close the iterator to stop early.
    """
    window = max(1, round(window_s * SAMPLE_RATE))
    pending: list[Waveform] = []
    n_pending = 0
    for block in _waveform_blocks(source, channel, 0.0, None):
        pending.append(block)
        n_pending += len(block)
        if n_pending >= window:
            joined = np.concatenate(pending)
            n_whole = n_pending - n_pending % window
            yield from np.split(joined[:n_whole], n_whole // window)
            pending, n_pending = [joined[n_whole:].copy()], n_pending - n_whole
    if n_pending:
        yield np.concatenate(pending)


def count_channels(source: Source) -> int:
    """Count the channels of a recording: a path, or a binary file object, read from its start.

    Errors are those of `load_audio`, as far as its beginning shows them. One without frames has one.
    """
    name = _name(source)
    with _opened(source, name) as stream:
        return next((block.shape[1] for _, block in _decoded(stream, name, 0.0, None)), 1)


def check_waveform(waveform: npt.NDArray[Any]) -> Waveform:
    """Return an array that claims to be a waveform as float32 `(N,)`.

    Raises:
        AudioError: no array, another shape, integers, NaN, infinite or far too large samples.
    """
    is_array = isinstance(waveform, np.ndarray)
    if not is_array or waveform.ndim != 1 or waveform.dtype.kind != "f":
        found = f"{waveform.dtype} {waveform.shape}" if is_array else type(waveform).__name__
        raise AudioError(
            f"expected a waveform float (N,), mono, 16 kHz, in [-1, 1], got {found}: "
            "make it a NumPy array, average the channels, divide integers by their full scale"
        )
    with np.errstate(over="ignore"):
        samples = np.asarray(waveform, np.float32)
    _check_samples(samples, "waveform", 0.0)
    return samples


def _waveform_blocks(
    source: Source, channel: int | None, offset_s: float, duration_s: float | None
) -> Iterator[Waveform]:
    """Decode, take a channel or the mean, check and resample, block by block."""
    name = _name(source)
    if offset_s < 0 or (duration_s is not None and duration_s < 0):
        raise AudioError(f"{name}: offset {offset_s} s, duration {duration_s} s: expected both at least 0")
    with _opened(source, name) as stream:
        resampler: soxr.ResampleStream | None = None
        n_read = 0
        for rate, block in _decoded(stream, name, offset_s, duration_s):
            if rate < _MIN_SAMPLE_RATE:
                raise AudioError(f"{name}: sample rate {rate} Hz: expected at least {_MIN_SAMPLE_RATE} Hz for speech")
            mono = _mono(block, channel, name)
            _check_samples(mono, name, offset_s + n_read / rate)
            n_read += len(mono)
            if rate == SAMPLE_RATE:
                yield mono
                continue
            resampler = resampler or soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32", quality="HQ")
            yield resampler.resample_chunk(mono)
        if resampler is not None:
            yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)


def _mono(block: Waveform, channel: int | None, name: str) -> Waveform:
    """Reduce `(n, C)` to `(n,)`."""
    n_channels = block.shape[1]
    if channel is not None:
        if not 0 <= channel < n_channels:
            raise AudioError(f"{name}: expected a channel from 0 to {n_channels - 1}, got {channel}")
        return np.ascontiguousarray(block[:, channel])
    if n_channels == 1:
        return np.ascontiguousarray(block[:, 0])
    with np.errstate(over="ignore", invalid="ignore"):  # the next check finds what is not finite
        mixed: Waveform = block.mean(axis=1, dtype=np.float32)
    return mixed


def _check_samples(mono: Waveform, name: str, start_s: float) -> None:
    peak = max(float(mono.max()), -float(mono.min())) if len(mono) else 0.0
    if not peak <= _MAX_PEAK:  # NaN compares false
        found = f"samples up to {peak:g}" if np.isfinite(peak) else "NaN or infinite samples"
        raise AudioError(f"{name}: {found} after {start_s:.2f} s: expected floats in [-1, 1]; write the file again")


def _name(source: Source) -> str:
    if isinstance(source, str | Path):
        return "standard input" if str(source) == "-" else str(source)
    name = getattr(source, "name", None)
    return name if isinstance(name, str) else "audio stream"


@contextlib.contextmanager
def _opened(source: Source, name: str) -> Iterator[BinaryIO]:
    """Open `source` as a seekable file that holds at least a byte."""
    if not isinstance(source, str | Path):
        if hasattr(source, "encoding") or not hasattr(source, "seekable"):  # a text, or no file
            raise AudioError(
                f"expected a path, a binary file or a NumPy array, got {type(source).__name__}: open files with 'rb', "
                "put bytes into io.BytesIO, samples into an array"
            )
        opened: BinaryIO = source
    elif str(source) == "-":
        opened = sys.stdin.buffer
    else:
        try:
            opened = Path(source).open("rb")  # noqa: SIM115 (closed below)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise AudioError(f"{name}: {reason}: expected a readable audio file; check the path") from error
    with contextlib.ExitStack() as closing:
        if isinstance(source, str | Path) and opened is not sys.stdin.buffer:
            closing.enter_context(opened)
        if not opened.seekable():  # copied to a temporary file, which has no name to be left behind under
            spool = closing.enter_context(tempfile.TemporaryFile())
            shutil.copyfileobj(opened, spool)
            opened = spool
        opened.seek(0)
        if not opened.read(1):
            raise AudioError(f"{name}: 0 bytes: expected an audio file; was it recorded or copied whole?")
        opened.seek(0)
        yield opened


def _decoded(stream: BinaryIO, name: str, offset_s: float, duration_s: float | None) -> Iterator[tuple[int, Waveform]]:
    """Yield (sample rate, float32 `(n, C)`) from whichever library knows the format."""
    suffix = Path(name).suffix.lower()
    if suffix in VIDEO_SUFFIXES:
        yield from _video_blocks(stream, name, offset_s, duration_s)
        return
    try:
        sound = open_sound(stream)
    except (soundfile.SoundFileError, TypeError) as error:  # TypeError: a name that ends in .raw
        if suffix not in SOUNDFILE_SUFFIXES and importlib.util.find_spec("av"):
            stream.seek(0)
            yield from _video_blocks(stream, name, offset_s, duration_s)
            return
        hint = f"; m4a, mp4, webm and video need {VIDEO_HINT}"
        raise AudioError(f"{name}: not audio ({_reason(error)}): expected wav, flac, ogg, opus or mp3{hint}") from error
    with sound:
        yield from _sound_blocks(sound, name, offset_s, duration_s)


def _sound_blocks(
    sound: soundfile.SoundFile, name: str, offset_s: float, duration_s: float | None
) -> Iterator[tuple[int, Waveform]]:
    rate = sound.samplerate
    start = min(round(offset_s * rate), sound.frames)
    n_left = sound.frames - start
    if duration_s is not None:
        n_left = min(n_left, round(duration_s * rate))
    n_block = max(1, _BLOCK_SAMPLES // sound.channels)
    try:
        if start:
            run_up = min(start, rate) if sound.format == "MP3" else 0  # its first frames lean on earlier ones
            sound.seek(start - run_up)
            sound.read(run_up)
        while n_left:
            block = sound.read(min(n_left, n_block), dtype="float32", always_2d=True)
            if not len(block):
                break
            n_left -= len(block)
            yield rate, block
    except soundfile.SoundFileError as error:
        raise AudioError(f"{name}: {_reason(error)}: damaged or truncated; get a whole copy") from error
    # mp3 headers may promise too much, and a flac that was written to a pipe promises nothing (the largest integer)
    short_s = n_left / rate if sound.format != "MP3" and sound.frames < np.iinfo(np.int64).max else 0.0
    if duration_s is None or offset_s + duration_s > sound.frames / rate:
        short_s += missing_s(sound)
    if not sound.frames and (size := file_size(sound)) > _MOST_HEADER_BYTES:
        raise AudioError(
            f"{name}: no samples by its header, but {size} bytes: was the recorder stopped hard? Copy it with ffmpeg"
        )
    if short_s > _SLACK_S or (short_s and n_left):
        raise AudioError(f"{name}: truncated: {short_s:.2f} s fewer than its header says; get a whole copy")


def _reason(error: Exception) -> str:
    """Give the library's words without the file name, which the message already has."""
    text = str(getattr(error, "error_string", error))
    return text.removeprefix("Error : ").rstrip(". ").lower()


def _video_blocks(
    stream: BinaryIO, name: str, offset_s: float, duration_s: float | None
) -> Iterator[tuple[int, Waveform]]:
    """Decode the first audio track with PyAV; time before `offset_s` is decoded and dropped, which is exact."""
    try:
        av: Any = importlib.import_module("av")
    except ImportError as error:
        raise MissingExtraError(f"{name}: this format needs PyAV, which is not installed: {VIDEO_HINT}") from error
    try:
        with av.open(stream, options=_NOTHING_ELSE) as container:
            if not container.streams.audio:
                raise AudioError(f"{name}: no audio track: expected one; was the sound exported with the video?")
            position = 0
            for rate, block in _video_frames(av, container):
                start = round(offset_s * rate) - position
                stop = len(block) if duration_s is None else start + round(duration_s * rate)
                yield rate, block[max(0, start) : max(0, stop)]
                position += len(block)
                if stop < len(block):
                    break
    except (av.FFmpegError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise AudioError(f"{name}: {reason}: not audio that PyAV decodes, or damaged; get a whole copy") from error


def _video_frames(av: Any, container: Any) -> Iterator[tuple[int, Waveform]]:
    """Yield (sample rate, float32 `(n, C)`) of the first audio track, rate and channels as they are."""
    to_float = av.AudioResampler(format="fltp")
    for frame in container.decode(audio=0):
        for planar in to_float.resample(frame):
            yield planar.sample_rate, planar.to_ndarray().T
