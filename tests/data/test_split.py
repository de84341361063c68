"""Splits: no key on two sides, nobody moves when data is added, shares come out."""

from __future__ import annotations

from pathlib import Path

import pytest

from data.manifest import Utterance, read_manifest, write_manifest
from data.split import Shares, split_manifest
from silero_like.errors import ConfigError


def write(folder: Path, name: str, speakers: range, n_each: int = 3) -> Path:
    (folder / "a.wav").touch()
    rows = [
        Utterance(
            audio_path=folder / "a.wav",
            duration_s=1.0,
            offset_s=float(speaker * 100 + number),
            text=f"Раз, {number}!",
            speaker=f"диктор {speaker}" if speaker else "",
        )
        for speaker in speakers
        for number in range(n_each)
    ]
    write_manifest(folder / name, rows)
    return folder / name


def parts(folder: Path, stem: str) -> dict[str, str]:
    """Return speaker -> part; a speaker in two parts fails."""
    where: dict[str, str] = {}
    for name in ("train", "dev", "test"):
        path = folder / f"{stem}.{name}.jsonl"
        for row in read_manifest(path).utterances if path.exists() else ():
            assert where.setdefault(row.speaker, name) == name
    return where


def test_speakers_stay_apart_and_stay_put(tmp_path: Path) -> None:
    shares = Shares(dev=0.2, test=0.1)
    for name, speakers in (("few.jsonl", range(60)), ("more.jsonl", range(400))):
        got, whole = split_manifest(write(tmp_path, name, speakers), tmp_path, shares, "speaker")
        assert sum(part.summary.utterances for part in got.values()) == 3 * len(speakers) == whole.utterances
        assert not whole.refused
    few, more = parts(tmp_path, "few"), parts(tmp_path, "more")
    assert few.items() <= more.items()
    assert few[""] == "train"
    assert 60 <= sum(part == "dev" for part in more.values()) <= 100
    assert 25 <= sum(part == "test" for part in more.values()) <= 55
    larger_dev = {name: Shares(dev=0.4, test=0.1).part(name) for name in more if name}
    assert all(larger_dev[name] == part for name, part in more.items() if part in ("dev", "test") and name)
    assert any(Shares(dev=0.2, test=0.1, seed=1).part(name) != part for name, part in more.items())


def test_other_keys(tmp_path: Path) -> None:
    manifest = write(tmp_path, "a.jsonl", range(1), 40)
    with pytest.raises(ConfigError, match="no row names its speaker: use --by recording"):
        split_manifest(manifest, tmp_path, Shares(dev=0.5, test=0), "speaker")
    assert [path.name for path in tmp_path.glob("*.jsonl")] == ["a.jsonl"]
    got, _ = split_manifest(manifest, tmp_path, Shares(dev=0.5, test=0), "recording")
    assert sorted(len(part.keys) for part in got.values()) == [0, 1]
    got, _ = split_manifest(write(tmp_path, "b.jsonl", range(9), 40), tmp_path, Shares(dev=0.5, test=0), "text")
    assert sum(len(part.keys) for part in got.values()) == 40
    assert list(got) == ["train", "dev"]


@pytest.mark.parametrize(("dev", "test"), [(0, 0), (0.5, 0.5), (-0.1, 0.2)])
def test_impossible_shares(dev: float, test: float) -> None:
    with pytest.raises(ConfigError, match="together above 0 and below 1"):
        Shares(dev=dev, test=test)
