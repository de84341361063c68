"""Audio in: every rate, channel count and kind of damage; windows equal the whole; nothing is left behind."""

from __future__ import annotations

import io
import math
import os
import sys
import tempfile
import threading
import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
import soxr

from silero_like.audio import AUDIO_SUFFIXES, load_audio, stream_audio
from silero_like.errors import AudioError, MissingExtraError

Waveform = npt.NDArray[np.float32]


def _tone(rate: int, seconds: float = 1.0, hz: float = 440.0) -> Waveform:
    return (0.3 * np.sin(2 * np.pi * hz * np.arange(round(rate * seconds)) / rate)).astype(np.float32)


def _noise(n_samples: int, n_channels: int = 1) -> Waveform:
    noise = np.random.default_rng(7).uniform(-0.5, 0.5, (n_samples, n_channels))
    return np.asarray(noise, np.float32)


def _write(path: Path, samples: Waveform, rate: int, subtype: str | None = None) -> Path:
    soundfile.write(path, samples, rate, subtype=subtype)
    return path


def _xingless_mp3(path: Path, samples: Waveform) -> Path:
    """Write a variable-rate mp3 without the header frame that counts its frames, as a cut or a stream leaves it."""
    soundfile.write(path, samples, 16000, bitrate_mode="VARIABLE", compression_level=0.5)
    data = path.read_bytes()
    second_frame = data.index(data[:2], data.index(b"Xing"))
    path.write_bytes(data[second_frame:])
    return path


def test_16_khz_mono_comes_back_sample_for_sample(tmp_path: Path) -> None:
    samples = _noise(16000)[:, 0]
    waveform = load_audio(_write(tmp_path / "a.wav", samples, 16000, "FLOAT"))
    assert waveform.dtype == np.float32
    assert waveform.shape == (16000,)
    np.testing.assert_array_equal(waveform, samples)


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 44100, 48000, 192000])
@pytest.mark.parametrize("n_channels", [1, 2, 6])
def test_any_rate_and_channel_count_keeps_the_tone(tmp_path: Path, rate: int, n_channels: int) -> None:
    samples = np.repeat(_tone(rate)[:, None], n_channels, axis=1)
    waveform = load_audio(_write(tmp_path / "a.wav", samples, rate, "FLOAT"))
    assert waveform.shape == (16000,)
    # away from the ends, where the resampling filter rings; HQ soxr passes 440 Hz to better than 1e-4
    np.testing.assert_allclose(waveform[1000:-1000], _tone(16000)[1000:-1000], atol=1e-4)


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "opus", "mp3", "aiff", "au", "w64", "caf"])
def test_formats_of_the_base_install(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    if suffix == "opus":
        soundfile.write(path, _tone(16000), 16000, format="OGG", subtype="OPUS")
    else:
        soundfile.write(path, _tone(16000), 16000)
    assert path.suffix in AUDIO_SUFFIXES
    waveform = load_audio(path)
    spectrum = np.abs(np.fft.rfft(waveform))
    assert len(waveform) == pytest.approx(16000, abs=2000)  # mp3 may pad whole frames
    assert np.argmax(spectrum) * 16000 / len(waveform) == pytest.approx(440, abs=2)


def test_mix_down_is_the_mean_and_channel_picks_one(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.wav", _noise(4000, 3), 16000, "FLOAT")
    samples = soundfile.read(path, dtype="float32")[0]
    np.testing.assert_allclose(load_audio(path), samples.mean(axis=1), atol=1e-6)
    for channel in range(3):
        np.testing.assert_array_equal(load_audio(path, channel=channel), samples[:, channel])


@pytest.mark.parametrize("channel", [-1, 2])
def test_channel_out_of_range(tmp_path: Path, channel: int) -> None:
    path = _write(tmp_path / "a.wav", _noise(160, 2), 16000)
    with pytest.raises(AudioError, match=rf"a\.wav: expected a channel from 0 to 1, got {channel}"):
        load_audio(path, channel=channel)


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
@pytest.mark.parametrize("rate", [16000, 44100])
def test_offset_and_duration_equal_a_slice(tmp_path: Path, rate: int, suffix: str) -> None:
    path = _write(tmp_path / f"a.{suffix}", _noise(2 * rate)[:, 0], rate)
    part = load_audio(path, offset_s=0.5, duration_s=1.0)
    assert len(part) == 16000
    # the resampling filter sees silence instead of what lies outside the part: compare away from its edges
    np.testing.assert_allclose(part[800:-800], load_audio(path)[8800:23200], atol=1e-4)


def test_offset_and_duration_at_the_edges(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.wav", _noise(16000)[:, 0], 16000)
    assert len(load_audio(path, offset_s=0.9, duration_s=5.0)) == 1600
    assert len(load_audio(path, offset_s=7.0)) == 0
    assert len(load_audio(path, duration_s=0.0)) == 0
    with pytest.raises(AudioError, match="expected both at least 0"):
        load_audio(path, offset_s=-1.0)


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
@pytest.mark.parametrize("window_s", [0.01, 0.37, 60.0])
def test_windows_concatenate_to_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rate: int, window_s: float
) -> None:
    path = _write(tmp_path / "a.wav", _noise(3 * rate, 2), rate, "FLOAT")
    whole = load_audio(path)
    one_piece = soxr.resample(soundfile.read(path, dtype="float32")[0].mean(axis=1), rate, 16000)
    np.testing.assert_allclose(whole, one_piece, atol=1e-6)  # float32 rounding of the two ways through soxr
    monkeypatch.setattr("silero_like.audio._BLOCK_SAMPLES", 5000)  # many blocks, as a long file has
    windows = list(stream_audio(path, window_s=window_s))
    assert {len(window) for window in windows[:-1]} <= {round(window_s * 16000)}
    np.testing.assert_allclose(np.concatenate(windows), whole, atol=1e-6)


@pytest.mark.parametrize("suffix", ["ogg", "mp3", "flac"])
def test_compressed_blocks_equal_one_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    path = _write(tmp_path / f"a.{suffix}", _noise(48000)[:, 0], 16000)
    whole = load_audio(path)
    monkeypatch.setattr("silero_like.audio._BLOCK_SAMPLES", 1001)
    np.testing.assert_allclose(np.concatenate(list(stream_audio(path, window_s=0.5))), whole, atol=1e-6)


def test_a_long_file_is_never_in_memory_whole(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    second = _noise(48000, 2)
    with soundfile.SoundFile(path, "w", 48000, 2) as file:
        for _ in range(300):
            file.write(second)  # 300 s: 115 MB as float32 stereo, 19 MB as the waveform
    tracemalloc.start()
    n_samples = sum(len(window) for window in stream_audio(path, window_s=10.0))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert n_samples == 300 * 16000
    assert peak < 16e6


def test_file_objects_need_not_seek_nor_start_at_zero(tmp_path: Path) -> None:
    data = _write(tmp_path / "a.flac", _tone(16000), 16000).read_bytes()
    expected = load_audio(tmp_path / "a.flac")
    stream = io.BytesIO(data)
    stream.seek(100)
    np.testing.assert_array_equal(load_audio(stream), expected)
    assert not stream.closed
    np.testing.assert_array_equal(load_audio(_Pipe(data)), expected)


class _Pipe(io.BytesIO):
    def seekable(self) -> bool:
        return False

    def seek(self, *args: int) -> int:
        raise io.UnsupportedOperation("seek")


@pytest.mark.parametrize("data_is_audio", [True, False])
def test_standard_input_is_spooled_and_the_copy_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data_is_audio: bool
) -> None:
    data = _write(tmp_path / "a.flac", _tone(16000), 16000).read_bytes() if data_is_audio else b"no audio" * 99
    spool_folder = tmp_path / "spool"
    spool_folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(spool_folder))
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=_Pipe(data)))
    if data_is_audio:
        np.testing.assert_array_equal(load_audio("-"), load_audio(tmp_path / "a.flac"))
    else:
        with pytest.raises(AudioError, match="standard input: "):
            load_audio("-")
    assert not list(spool_folder.iterdir())


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_named_pipe(tmp_path: Path) -> None:
    data = _write(tmp_path / "a.wav", _tone(16000), 16000).read_bytes()
    pipe = tmp_path / "pipe.wav"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(data,))
    writer.start()
    np.testing.assert_array_equal(load_audio(pipe), load_audio(tmp_path / "a.wav"))
    writer.join()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("rate", [16000, 48000])
def test_nan_and_infinite_samples(tmp_path: Path, value: float, rate: int) -> None:
    samples = _noise(rate)[:, 0]
    samples[rate // 2] = value
    path = _write(tmp_path / "a.wav", samples, rate, "FLOAT")
    with pytest.raises(AudioError, match=r"a\.wav: NaN or infinite samples"):
        load_audio(path)


def test_channels_that_cancel_or_overflow(tmp_path: Path) -> None:
    for pair in ((np.inf, -np.inf), (3e38, 3e38)):
        path = _write(tmp_path / "a.wav", np.tile(np.array(pair, np.float32), (100, 1)), 16000, "FLOAT")
        with pytest.raises(AudioError, match="NaN or infinite samples"):
            load_audio(path)


def test_integers_stored_as_floats(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.wav", _tone(16000) * 32768, 16000, "FLOAT")
    with pytest.raises(AudioError, match=r"samples up to 9\d+.*expected floats in \[-1, 1\]"):
        load_audio(path)


def test_files_that_are_no_audio(tmp_path: Path) -> None:
    (tmp_path / "zero.wav").touch()
    (tmp_path / "text.wav").write_text("hello, this is a text\n" * 50)
    (tmp_path / "noise.bin").write_bytes(np.random.default_rng(1).bytes(9000))
    for name, message in {
        "zero.wav": "0 bytes: expected an audio file",
        "text.wav": "not audio .*expected wav, flac, ogg, opus or mp3",
        "noise.bin": "not audio",
        "missing.flac": "No such file or directory",
        ".": "Is a directory",
        "nul\0.wav": "null byte",
    }.items():
        with pytest.raises(AudioError, match=message):
            load_audio(tmp_path / name)


@pytest.mark.parametrize("share", [0.01, 0.3, 0.5, 0.97])
@pytest.mark.parametrize("n_samples", [16000, 20 * 16000])
def test_truncated_flac(tmp_path: Path, share: float, n_samples: int) -> None:
    path = _write(tmp_path / "a.flac", _noise(n_samples)[:, 0], 16000)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    for read in (load_audio, lambda source: list(stream_audio(source, window_s=1.0))):
        with pytest.raises(AudioError, match=r"a\.flac: .*(truncated|malformed)"):
            read(path)


def test_flac_cut_between_two_frames(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.flac", _noise(64000)[:, 0], 16000)
    data = path.read_bytes()
    cut = data.index(b"\xff\xf8", len(data) // 2)  # the sync code of a frame
    path.write_bytes(data[:cut])
    with pytest.raises(AudioError, match="truncated"):
        load_audio(path)


def test_flac_from_a_pipe_does_not_know_its_length(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.flac", _noise(48000)[:, 0], 16000)
    expected = load_audio(path)
    data = bytearray(path.read_bytes())
    data[21] &= 0xF0  # STREAMINFO's 36-bit count of samples: 0 is unknown
    data[22:26] = bytes(4)
    path.write_bytes(data)
    np.testing.assert_array_equal(load_audio(path), expected)


def test_wav_from_a_pipe_has_a_wrong_size(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.wav", _noise(48000)[:, 0], 16000)
    expected = load_audio(path)
    data = path.read_bytes()
    path.write_bytes(data[:40] + b"\xff" * 4 + data[44:])
    np.testing.assert_array_equal(load_audio(path), expected)


@pytest.mark.parametrize("name", ["a.wav", "float.wav", "a.aiff", "a.au"])
def test_truncated_samples_that_are_not_compressed(tmp_path: Path, name: str) -> None:
    path = _write(tmp_path / name, _noise(48000)[:, 0], 16000, "FLOAT" if name == "float.wav" else None)
    begin = load_audio(path, duration_s=1.0)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(AudioError, match=r"truncated: 1\.50 s fewer than its header says; get a whole copy"):
        load_audio(path)
    with pytest.raises(AudioError, match="truncated"):
        load_audio(path, offset_s=1.0, duration_s=1.0)
    np.testing.assert_array_equal(load_audio(path, duration_s=1.0), begin)


def test_a_recorder_that_never_wrote_its_header(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.wav", _noise(48000)[:, 0], 16000)
    data = path.read_bytes()
    path.write_bytes(data[:40] + bytes(4) + data[44:])
    with pytest.raises(AudioError, match="no samples by its header, but 96044 bytes"):
        load_audio(path)


def test_a_header_that_is_a_little_off(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.wav", _noise(48000)[:, 0], 16000)
    path.write_bytes(path.read_bytes()[:-100])
    assert len(load_audio(path)) == 48000 - 50


def test_mp3_is_read_to_its_end_whatever_its_header_says(tmp_path: Path) -> None:
    samples = np.concatenate([_noise(160000)[:, 0], np.zeros(160000, np.float32), _tone(16000, 5)])
    waveform = load_audio(_xingless_mp3(tmp_path / "a.mp3", samples))
    assert len(waveform) == pytest.approx(len(samples), abs=4000)
    part = load_audio(tmp_path / "a.mp3", offset_s=20.5, duration_s=2.0)
    np.testing.assert_allclose(part, waveform[328000:360000], atol=1e-4)


@pytest.mark.parametrize("tags", [b"", b"ID3\x03\0\0\0\0\2\x0a" + bytes(266)])
def test_a_whole_mp3_is_read_without_a_word(tmp_path: Path, capfd: pytest.CaptureFixture[str], tags: bytes) -> None:
    """libmpg123 writes on standard error, past Python, where a file is not as large as its first frame says."""
    path = _write(tmp_path / "a.mp3", _tone(16000, 2), 16000)
    expected = load_audio(path)
    path.write_bytes(tags + path.read_bytes())
    np.testing.assert_array_equal(load_audio(path), expected)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("kind", ["counted", "xingless"])
def test_truncated_mp3_gives_what_is_there(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.mp3"
    if kind == "counted":
        _write(path, _tone(16000, 4), 16000)
    else:
        _xingless_mp3(path, _tone(16000, 4))
    data = path.read_bytes()
    for n_bytes in range(len(data) // 2, len(data) // 2 + 160):  # every place in a frame, its header included
        path.write_bytes(data[:n_bytes])
        assert len(load_audio(path)) == pytest.approx(32000, abs=8000)  # the bit rate varies


def test_extremes_that_are_fine(tmp_path: Path) -> None:
    blip = _write(tmp_path / "blip.wav", _tone(16000, 0.01), 16000)
    assert len(load_audio(blip)) == 160
    blip_8k = _write(tmp_path / "blip8.wav", _tone(8000, 0.01), 8000)
    assert len(load_audio(blip_8k)) == 160
    silence = _write(tmp_path / "silence.wav", np.zeros(16000, np.float32), 16000)
    assert not load_audio(silence).any()
    six = _write(tmp_path / "six.wav", _noise(192000, 6), 192000)
    assert len(load_audio(six)) == 16000
    for rate in (16000, 44100):
        empty = load_audio(_write(tmp_path / "empty.wav", np.zeros(0, np.float32), rate))
        assert empty.shape == (0,)
        assert empty.dtype == np.float32
        assert not sum(len(window) for window in stream_audio(tmp_path / "empty.wav"))


def test_absurd_sample_rate(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.wav", _noise(100)[:, 0], 100)
    with pytest.raises(AudioError, match="sample rate 100 Hz: expected at least 4000 Hz"):
        load_audio(path)


def test_stopping_early_closes_the_file(tmp_path: Path) -> None:
    windows = stream_audio(_write(tmp_path / "a.wav", _noise(48000)[:, 0], 16000), window_s=0.5)
    next(windows)
    windows.close()  # type: ignore[attr-defined]  # ResourceWarnings are errors


@pytest.mark.parametrize("name", ["a.m4a", "a.mp4", "a.webm"])
def test_the_message_when_the_video_extra_is_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    (tmp_path / name).write_bytes(b"\0\0\0\x20ftypM4A " + bytes(64))
    with pytest.raises(MissingExtraError, match=r"PyAV.*: pip install 'silero_like\[video\]'$"):
        load_audio(tmp_path / name)


def _write_video(path: Path, codec: str, rate: int, n_channels: int, *, with_audio: bool = True) -> Path:
    """Write 2 s of a 440 Hz tone, quieter in each further channel, beside a picture where the format may hold one."""
    av = pytest.importorskip("av", reason="needs the [video] extra")
    from fractions import Fraction

    with av.open(str(path), "w") as container:
        picture = None
        if path.suffix in {".mp4", ".mkv"}:
            picture = container.add_stream("mpeg4", rate=5, width=64, height=64, pix_fmt="yuv420p")
        if with_audio:
            layout = "mono" if n_channels == 1 else "stereo"
            sound = container.add_stream(codec, rate=rate, layout=layout)
            tone = np.stack([_tone(rate, 2.0) / (1 + channel) for channel in range(n_channels)])
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(tone), format="fltp", layout=layout)
            frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
            fifo = av.AudioFifo()
            fifo.write(frame)
            while part := fifo.read(sound.codec_context.frame_size or 960, partial=True):
                container.mux(sound.encode(part))
            container.mux(sound.encode(None))
        if picture is not None:
            for index in range(10):
                image = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
                image.pts, image.time_base = index, Fraction(1, 5)
                container.mux(picture.encode(image))
            container.mux(picture.encode(None))
    return path


@pytest.mark.parametrize(
    ("name", "codec", "rate", "n_channels"),
    [
        ("a.m4a", "aac", 44100, 2),
        ("a.mp4", "aac", 16000, 1),
        ("a.webm", "libopus", 48000, 2),
        ("a.mkv", "flac", 8000, 1),
    ],
)
def test_formats_of_the_video_extra(tmp_path: Path, name: str, codec: str, rate: int, n_channels: int) -> None:
    path = _write_video(tmp_path / name, codec, rate, n_channels)
    assert path.suffix in AUDIO_SUFFIXES
    waveform = load_audio(path)
    assert len(waveform) == pytest.approx(32000, abs=2100)  # an encoder may pad its last frames
    amplitude = math.sqrt(2 * float(np.mean(np.square(waveform[8000:24000]))))
    assert amplitude == pytest.approx(0.3 if n_channels == 1 else 0.225, rel=0.03)
    np.testing.assert_allclose(np.concatenate(list(stream_audio(path, window_s=0.7))), waveform, atol=1e-6)
    with path.open("rb") as stream:
        np.testing.assert_array_equal(load_audio(stream), waveform)
    part = load_audio(path, offset_s=0.5, duration_s=1.0)
    assert len(part) == 16000
    np.testing.assert_allclose(part[800:-800], waveform[8800:23200], atol=1e-3)
    if n_channels == 2:
        right = load_audio(path, channel=1)
        assert math.sqrt(2 * float(np.mean(np.square(right[8000:24000])))) == pytest.approx(0.15, rel=0.05)


def test_video_from_standard_input_has_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _write_video(tmp_path / "a.webm", "libopus", 48000, 1)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=_Pipe(path.read_bytes())))
    np.testing.assert_array_equal(load_audio("-"), load_audio(path))


def test_damaged_and_silent_video(tmp_path: Path) -> None:
    path = _write_video(tmp_path / "a.mp4", "aac", 16000, 1)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(AudioError, match=r"a\.mp4: .*damaged"):
        load_audio(path)
    (tmp_path / "text.mp4").write_text("no video at all\n" * 99)
    with pytest.raises(AudioError, match=r"text\.mp4: .*not audio that PyAV decodes"):
        load_audio(tmp_path / "text.mp4")
    with pytest.raises(AudioError, match="no audio track"):
        load_audio(_write_video(tmp_path / "mute.mkv", "flac", 16000, 1, with_audio=False))
