"""The audio store: mapped, cached and decoded audio are the same; files that change or shrink do no harm."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile

from data import store as store_module
from data.manifest import Utterance
from data.store import AudioStore, Samples, decode, wav_header
from silero_like.audio import load_audio


def noise(n_samples: int, seed: int = 0) -> Samples:
    return np.random.default_rng(seed).integers(-32768, 32768, n_samples).astype(np.int16)


def write(path: Path, n_samples: int = 32000, seed: int = 0) -> Utterance:
    """Write 16-bit noise in the format that the name tells; return it as an utterance."""
    soundfile.write(path, noise(n_samples, seed), 16000)
    return Utterance(audio_path=path, duration_s=n_samples / 16000, text="a")


def part(utterance: Utterance, offset_s: float, duration_s: float) -> Utterance:
    return Utterance(audio_path=utterance.audio_path, offset_s=offset_s, duration_s=duration_s, text="a")


# decoded and cached


def test_cached_audio_equals_decoded_audio_and_the_bound_holds(tmp_path: Path) -> None:
    rows = [write(tmp_path / f"{seed}.flac", seed=seed) for seed in range(4)]
    plenty, two, none = AudioStore(10**9), AudioStore(2 * 64000), AudioStore(0)
    for _ in range(2):
        for index, row in enumerate(rows):
            for store in (plenty, two, none):
                waveform = store.load(index, row)
                assert waveform is not None and waveform.dtype == np.float32
                np.testing.assert_array_equal(waveform * 32768, noise(32000, seed=index))
    assert (len(plenty.stored), plenty.n_bytes) == (4, 4 * 64000)
    assert (len(two.stored), two.n_bytes) == (2, 2 * 64000)
    assert (len(none.stored), none.n_bytes) == (0, 0)


def test_what_is_cached_is_not_read_again(tmp_path: Path) -> None:
    row, store = write(tmp_path / "a.flac"), AudioStore(10**9)
    first = store.load(0, row)
    row.audio_path.unlink()
    np.testing.assert_array_equal(first, store.load(0, row))


def test_loud_floats_are_clipped_not_wrapped(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.array([1.5, -1.5, 0.5]), 16000, subtype="FLOAT")
    row = Utterance(audio_path=tmp_path / "a.wav", duration_s=1.0, text="a")
    assert decode(row).tolist() == [32767, -32768, 16384]


def test_unreadable_audio_is_told_and_not_tried_again(tmp_path: Path) -> None:
    (tmp_path / "x.wav").write_bytes(b"")
    row, store = Utterance(audio_path=tmp_path / "x.wav", duration_s=1.0, text="a"), AudioStore(10**9)
    assert store.load(7, row) is None
    assert "x.wav: 0 bytes" in store.unreadable[7]
    write(tmp_path / "x.wav")
    assert store.load(7, row) is None
    assert store.load(8, row) is not None


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_an_utterance_behind_the_end_is_unreadable(name: str, tmp_path: Path) -> None:
    row, store = write(tmp_path / name), AudioStore(10**9)
    assert store.load(0, part(row, 2.0, 1.0)) is None
    assert "no audio from 2.0 s on" in store.unreadable[0]
    short = store.load(1, part(row, 1.5, 1.0))
    assert short is not None and len(short) == 8000


# mapped


def test_the_header_is_the_one_that_libsndfile_writes(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", n_samples=1234)
    assert (tmp_path / "a.wav").read_bytes()[:44] == wav_header(1234)


@pytest.mark.parametrize(
    ("offset_s", "duration_s"), [(0, 2), (0, 1.2345678), (0.51237, 0.3), (1.9999, 1), (3 / 16000, 5 / 16000)]
)
def test_mapped_audio_equals_decoded_audio(offset_s: float, duration_s: float, tmp_path: Path) -> None:
    row, store = part(write(tmp_path / "a.wav"), offset_s, duration_s), AudioStore(10**9)
    decoded = load_audio(row.audio_path, offset_s=offset_s, duration_s=duration_s)
    mapped = store.load(0, row)
    assert mapped is not None and mapped.dtype == np.float32
    np.testing.assert_array_equal(mapped, decoded)
    assert not store.stored and store.n_bytes == 0  # it was mapped


def test_a_waveform_is_the_caller_s_own(tmp_path: Path) -> None:
    for name in ("a.wav", "a.flac"):
        row, store = write(tmp_path / name), AudioStore(10**9)
        for _ in range(2):
            waveform = store.load(0, row)
            assert waveform is not None
            np.testing.assert_array_equal(waveform * 32768, noise(32000))
            waveform *= 0


@pytest.mark.parametrize(
    ("rate", "n_channels", "subtype"),
    [(8000, 1, "PCM_16"), (16000, 2, "PCM_16"), (16000, 1, "PCM_24"), (16000, 1, "FLOAT"), (16000, 1, "ULAW")],
)
def test_other_wav_files_are_decoded(rate: int, n_channels: int, subtype: str, tmp_path: Path) -> None:
    path, store = tmp_path / "a.wav", AudioStore(10**9)
    soundfile.write(path, noise(4000 * n_channels).reshape(-1, n_channels) / 32768, rate, subtype=subtype)
    row = Utterance(audio_path=path, duration_s=4000 / rate, text="a")
    for _ in range(2):
        loaded = store.load(0, row)
        assert loaded is not None
        np.testing.assert_array_equal(loaded, decode(row) / np.float32(32768))
    assert list(store.stored) == [0]


def test_a_wav_written_to_a_pipe_is_decoded(tmp_path: Path) -> None:
    """Its header claims the largest size there is, since the writer did not know any better."""
    row, store = write(tmp_path / "a.wav"), AudioStore(10**9)
    content = row.audio_path.read_bytes()
    row.audio_path.write_bytes(content[:40] + b"\xff\xff\xff\xff" + content[44:])
    np.testing.assert_array_equal(store.load(0, row), noise(32000) / np.float32(32768))
    assert list(store.stored) == [0]


def test_a_truncated_file_is_unreadable(tmp_path: Path) -> None:
    row, store = write(tmp_path / "a.wav"), AudioStore(10**9)
    os.truncate(row.audio_path, 40000)
    assert store.load(0, row) is None
    assert "a.wav: truncated: 40000 bytes, its header says 64044" in store.unreadable[0]


def test_a_file_that_shrinks_while_it_is_mapped_is_unreadable(tmp_path: Path) -> None:
    """Touching what is mapped behind a file's end would kill the process (SIGBUS), and this test with it."""
    row, store = write(tmp_path / "a.wav", n_samples=10**6), AudioStore(10**9)
    assert store.load(0, row) is not None
    os.truncate(row.audio_path, 44)
    assert store.load(1, part(row, 60.0, 1.0)) is None
    assert "truncated" in store.unreadable[1]


def test_a_file_that_is_replaced_is_read_anew(tmp_path: Path) -> None:
    row, store = write(tmp_path / "a.wav"), AudioStore(10**9)
    store.load(0, row)
    write(tmp_path / "new.wav", seed=1)
    os.replace(tmp_path / "new.wav", row.audio_path)
    np.testing.assert_array_equal(store.load(0, row), noise(32000, seed=1) / np.float32(32768))


def test_a_mapped_file_that_vanishes_or_becomes_nonsense_is_unreadable(tmp_path: Path) -> None:
    row, store = write(tmp_path / "a.wav"), AudioStore(10**9)
    assert store.load(0, row) is not None
    row.audio_path.write_bytes(b"no sound at all" * 9999)
    assert store.load(1, row) is None
    assert "not audio" in store.unreadable[1]
    row.audio_path.unlink()
    assert store.load(2, row) is None
    assert "No such file" in store.unreadable[2]


def test_few_files_stay_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "MAX_MAPS", 3)
    rows, store = [write(tmp_path / f"{seed}.wav", 1000, seed) for seed in range(9)], AudioStore(10**9)
    n_open = len(os.listdir("/proc/self/fd"))
    for index in [*range(9), *range(9)]:
        np.testing.assert_array_equal(store.load(index, rows[index]), noise(1000, index) / np.float32(32768))
    assert len(os.listdir("/proc/self/fd")) <= n_open + 3


# threads


def test_threads_get_what_one_thread_gets(tmp_path: Path) -> None:
    rows = [write(tmp_path / f"{seed}.{('wav', 'flac')[seed % 2]}", 4000, seed) for seed in range(12)]
    (tmp_path / "5.flac").write_bytes(b"")
    store = AudioStore(3 * 8000)
    order = np.random.default_rng(0).integers(0, 12, 600)
    with ThreadPoolExecutor(8) as pool:
        loaded = list(pool.map(lambda index: store.load(int(index), rows[index]), order))
    for index, waveform in zip(order, loaded, strict=True):
        if index == 5:
            assert waveform is None
        else:
            np.testing.assert_array_equal(waveform, noise(4000, index) / np.float32(32768))
    assert list(store.unreadable) == [5]
    assert store.n_bytes == sum(samples.nbytes for samples in store.stored.values()) == 3 * 8000


def test_two_threads_decode_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also the same utterance, which is then stored once."""
    row, store, both = write(tmp_path / "a.flac"), AudioStore(10**9), threading.Barrier(2, timeout=30)

    def slow(utterance: Utterance) -> Samples:
        both.wait()
        return decode(utterance)

    monkeypatch.setattr(store_module, "decode", slow)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: store.load(0, row), range(2))
    np.testing.assert_array_equal(first, second)
    assert store.n_bytes == 64000
