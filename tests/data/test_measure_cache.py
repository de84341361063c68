"""What is decoded once is never decoded again, whatever the file is called."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from data.examine import Examined, examine, fingerprint_of
from data.manifest import Utterance
from data.measure_cache import CacheError, hash_state, open_cache, stat_file
from silero_like.errors import ConfigError, SileroLikeError


def utterance(path: Path, duration_s: float = 1.0, offset_s: float = 0.0) -> Utterance:
    return Utterance(audio_path=path, duration_s=duration_s, offset_s=offset_s, text="a")


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "a.flac"
    soundfile.write(path, 0.1 * np.random.default_rng(0).standard_normal(3 * 16000), 16000)
    return path


def keep(cache_path: Path, row: Utterance) -> Examined:
    state, examined = stat_file(row.audio_path), examine(row)
    with open_cache(cache_path) as cache:
        cache.add(row, state, hash_state(state), examined)
    return examined


def test_an_utterance_is_found_again_and_no_other(recording: Path, tmp_path: Path) -> None:
    path = tmp_path / "new" / "cache.sqlite"
    examined = keep(path, utterance(recording))
    with open_cache(path) as cache:
        assert cache.find(utterance(recording)) == examined
        assert cache.find(utterance(recording, 1.5)) is None
        assert cache.find(utterance(recording, offset_s=0.5)) is None
        assert cache.find(utterance(tmp_path / "none.flac")) is None


def test_a_copy_and_a_touched_file_are_known_by_content(recording: Path, tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    examined = keep(path, utterance(recording))
    copy = tmp_path / "копия 文件.flac"
    shutil.copy(recording, copy)
    os.utime(recording, (1, 1))
    with open_cache(path) as cache:
        assert cache.find(utterance(copy)) == examined
        assert cache.find(utterance(recording)) == examined


def test_a_file_whose_bytes_changed_is_not(recording: Path, tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    keep(path, utterance(recording))
    data = bytearray(recording.read_bytes())
    data[-1] ^= 1
    recording.write_bytes(data)
    os.utime(recording, (2, 2))
    with open_cache(path) as cache:
        assert cache.find(utterance(recording)) is None


def test_what_was_added_is_on_disk_soon_and_others_may_write(
    recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So a process that is killed loses little, and two may share a cache."""
    path, row = tmp_path / "cache.sqlite", utterance(recording)
    state, examined = stat_file(recording), examine(row)
    monkeypatch.setattr("data.measure_cache.WRITE_S", -1.0)
    with open_cache(path) as one, open_cache(path) as other:
        one.add(row, state, hash_state(state), examined)
        assert other.find(row) == examined
        other.add(utterance(recording, 2.0), state, hash_state(state), examined)
        monkeypatch.setattr("data.measure_cache.WRITE_S", 60.0)
        one.add(utterance(recording, 3.0), state, hash_state(state), examined)
        assert other.find(utterance(recording, 3.0)) is None
    with open_cache(path) as again:
        assert again.find(utterance(recording, 2.0)) == again.find(utterance(recording, 3.0)) == examined


def test_other_files_are_no_caches(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text("nothing of the kind " * 100)
    with pytest.raises(ConfigError, match="expected a cache of measures"), open_cache(path):
        pass
    with pytest.raises(CacheError, match="name another file"), open_cache(tmp_path):
        pass


def test_what_is_examined_is_the_declared_stretch(recording: Path) -> None:
    part = examine(utterance(recording, 1.0, 0.5))
    assert (part.measures.duration_s, part.found_s) == (1.0, 2.0)
    assert examine(utterance(recording, 5.0)).found_s == 3.0
    assert fingerprint_of(part).shape == (64,)
    whole, rounded = examine(utterance(recording, 3.0)), examine(utterance(recording, 2.96))
    assert whole.sha256 == rounded.sha256  # a duration that was rounded does not hide a copy


def test_the_same_samples_in_another_container_have_the_same_hash(recording: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", soundfile.read(recording)[0], 16000)
    assert examine(utterance(tmp_path / "a.wav", 3.0)).sha256 == examine(utterance(recording, 3.0)).sha256


def test_nothing_left_after_the_offset(recording: Path) -> None:
    with pytest.raises(SileroLikeError, match=r"a\.flac: no audio from 4\.0 s on: expected 1\.0 s"):
        examine(utterance(recording, 1.0, 4.0))
