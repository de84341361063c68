"""`data.cache`: nothing is done twice, whatever a kill left behind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from data.cache import Cache, audio_key, key_of
from data.manifest import Utterance
from silero_like.errors import AudioError, SileroLikeError


def test_values_come_back(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "cache.jsonl"
    cache = Cache(path)
    assert cache.get("a") is None
    cache.put("a", {"text": "ёж 猫 \u2028"})
    cache.put("b", {})
    cache.put("a", {"text": "later"})
    assert cache.get("a") == Cache(path).get("a") == {"text": "later"}
    assert Cache(path).get("b") == {}


@pytest.mark.parametrize("n_bytes", range(1, 40))
def test_a_line_cut_short_is_lost_alone(tmp_path: Path, n_bytes: int) -> None:
    path = tmp_path / "cache.jsonl"
    Cache(path).put("a", {"n": 1})
    whole = path.read_bytes()
    Cache(path).put("b", {"n": 2})
    path.write_bytes((whole + path.read_bytes()[len(whole) :][:n_bytes])[: len(whole) + n_bytes])
    again = Cache(path)
    again.put("c", {"n": 3})
    found = Cache(path)
    assert (found.get("a"), found.get("c")) == ({"n": 1}, {"n": 3})


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(SileroLikeError, match="cannot read the results of earlier work"):
        Cache(tmp_path)


def test_another_kind_of_file_gets_no_lines(tmp_path: Path) -> None:
    path = tmp_path / "manifest.jsonl"
    path.write_text('{"audio_filepath": "a.wav"}\n')
    with pytest.raises(SileroLikeError, match="found other content: name another file"):
        Cache(path)


def test_keys_tell_everything_apart(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"one")
    utterance = Utterance(audio_path=path, duration_s=1.0, text="")
    later = Utterance(audio_path=path, duration_s=1.0, text="", offset_s=1.0)
    keys = {key_of("model", *audio_key(utterance)), key_of("other", *audio_key(utterance))}
    keys |= {key_of("model", *audio_key(later)), key_of("mode", "l", *audio_key(utterance))}
    os.utime(path, (0, 0))
    assert len(keys | {key_of("model", *audio_key(utterance))}) == 5
    path.unlink()
    with pytest.raises(AudioError, match="cannot read the recording"):
        audio_key(utterance)
