"""Packs: what goes in comes out, only what changed is written, and no moment to be killed at leaves a half pack."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import data.pack
from data.manifest import Utterance, read_manifest
from data.pack import PackError, open_pack
from data.pack_files import Packed
from data.store import AudioStore, Samples, decode
from silero_like.audio import load_audio
from silero_like.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]


def write_audio(path: Path, n_samples: int, rate: int = 16000, seed: int = 0, **options: Any) -> None:
    """Write a fading tone with noise in it."""
    generator = np.random.default_rng(seed)
    time_s = np.arange(n_samples) / rate
    waveform = 0.4 * np.sin(2 * np.pi * (300 + 40 * seed) * time_s) + 0.02 * generator.standard_normal(n_samples)
    soundfile.write(path, waveform * np.linspace(1, 0.2, n_samples), rate, **options)


def write_rows(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A manifest with audio of several kinds: 16 and 8 kHz, stereo, opus, parts of a recording."""
    folder = tmp_path / "source"
    folder.mkdir()
    write_audio(folder / "a.wav", 20_001)
    write_audio(folder / "tel.opus", 8000, 8000, seed=1, format="OGG", subtype="OPUS")
    write_audio(folder / "cd.flac", 44_100, 44_100, seed=2)
    write_audio(folder / "long.flac", 64_000, seed=3)
    return write_rows(
        folder / "train.jsonl",
        {"audio_filepath": "a.wav", "duration": 1.25, "text": "one", "speaker": "x", "domain": "d", "n": [1, 2.50]},
        {"audio_filepath": "tel.opus", "duration": 1.0, "text": "два", "annotation": "manual", "quality": 0.5},
        {"audio_filepath": "cd.flac", "duration": 1.0, "text": "three", "speaker": None},
        {"audio_filepath": "long.flac", "offset": 0.5, "duration": 1.3333, "text": "four"},
        {"offset": 2.12345, "text": "five", "duration": 1.0, "audio_filepath": str(folder / "long.flac")},
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "packed"


def pack(folder: Path, *manifests: Path, shard_mb: int = 1024, verify: bool = False) -> dict[str, tuple[str, Packed]]:
    """Pack manifests; return for each name why it was packed ("" if it was not) and what is packed."""
    with open_pack(folder) as opened:
        surveys = list(opened.survey(manifests, shard_mb=shard_mb, verify=verify))
        return {survey.name: (survey.reason, opened.update(survey, jobs=2)) for survey in surveys}


def samples_of(path: Path) -> list[Samples]:
    """Decode the utterances of a manifest the plain way."""
    return [decode(utterance) for utterance in read_manifest(path, strict=True).utterances]


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.iterdir()}


def assert_equal(found: list[Samples], expected: list[Samples]) -> None:
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


# what a pack holds


def test_a_pack_holds_the_samples_that_load_audio_gives(source: Path, folder: Path) -> None:
    pack(folder, source)
    for row, packed in zip(
        read_manifest(source).utterances, read_manifest(folder / "train.jsonl", strict=True).utterances, strict=True
    ):
        waveform = load_audio(row.audio_path, offset_s=row.offset_s, duration_s=row.duration_s)
        expected = np.rint(waveform * 32768)
        assert len(expected) > 8000 and np.abs(expected).max() < 32768  # loud, not clipped: nothing else to do here
        np.testing.assert_array_equal(decode(packed), expected)
        assert packed.duration_s == len(expected) / 16000


def test_plain_soundfile_reads_a_pack(source: Path, folder: Path) -> None:
    pack(folder, source)
    expected = samples_of(source)
    rows = [json.loads(line) for line in (folder / "train.jsonl").read_text(encoding="utf-8").splitlines()]
    info = soundfile.info(folder / "train-00000.wav")
    assert (info.samplerate, info.channels, info.subtype) == (16000, 1, "PCM_16")
    assert info.frames == sum(map(len, expected))
    for row, samples in zip(rows, expected, strict=True):
        start, n_samples = row["offset"] * 16000, row["duration"] * 16000
        assert start == round(start) and n_samples == round(n_samples)  # exact, not only near
        found, _ = soundfile.read(
            folder / row["audio_filepath"], start=int(start), frames=int(n_samples), dtype="int16"
        )
        np.testing.assert_array_equal(found, samples)


def test_the_store_maps_a_pack(source: Path, folder: Path) -> None:
    pack(folder, source)
    files, packed = AudioStore(10**9), AudioStore(10**9)
    pairs = zip(read_manifest(source).utterances, read_manifest(folder / "train.jsonl").utterances, strict=True)
    for index, (row, packed_row) in enumerate(pairs):
        np.testing.assert_array_equal(files.load(index, row), packed.load(index, packed_row))
    assert not packed.stored and not packed.unreadable and not files.unreadable


def test_a_truncated_shard_is_told_by_the_store(source: Path, folder: Path) -> None:
    pack(folder, source)
    os.truncate(folder / "train-00000.wav", 5000)
    row, store = read_manifest(folder / "train.jsonl").utterances[0], AudioStore(0)
    assert store.load(0, row) is None
    assert "train-00000.wav: truncated: 5000 bytes" in store.unreadable[0]


def test_other_fields_stay_as_they_are(source: Path, folder: Path) -> None:
    with source.open("a") as file:  # \ud800 is half a character, which JSON can say and UTF-8 cannot
        file.write('\n{"text": "six", "duration": 1, "audio_filepath": "a.wav", "offset": 0.1, "odd": "\\ud800"}\n')
    pack(folder, source)
    before = [json.loads(line) for line in source.read_text().splitlines() if line]
    after = [json.loads(line) for line in (folder / "train.jsonl").read_text(encoding="utf-8").splitlines()]
    places = {"audio_filepath": "train-00000.wav", "offset": 0, "duration": 0}
    assert [row | places for row in before] == [row | {"offset": 0, "duration": 0} for row in after]
    assert "два" in (folder / "train.jsonl").read_text(encoding="utf-8")


def test_pack_json_lists_what_was_written(source: Path, folder: Path) -> None:
    ((reason, packed),) = pack(folder, source).values()
    content = json.loads((folder / "pack.json").read_text())
    assert (reason, content["format"]) == ("new", 1)
    about = content["manifests"]["train"]
    assert about["source_sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()
    assert {*about["files"], "pack.json"} == set(os.listdir(folder))
    for name, file in about["files"].items():
        written = (folder / name).read_bytes()
        assert file == {"n_bytes": len(written), "sha256": hashlib.sha256(written).hexdigest()}
    assert about["n_utterances"] == packed.n_utterances == 5
    assert packed.duration_s == sum(map(len, samples_of(source))) / 16000


def test_shards_are_full_but_not_larger(tmp_path: Path, folder: Path) -> None:
    """A shard of 1 MiB holds 32.77 s; 40 s gets one of its own."""
    lengths = [10, 10, 10, 10, 40, 2, 30, 1]
    for number, length in enumerate(lengths):
        write_audio(tmp_path / f"{number}.wav", length * 16000, seed=number)
    source = write_rows(
        tmp_path / "m.jsonl",
        *({"audio_filepath": f"{n}.wav", "duration": length, "text": "a"} for n, length in enumerate(lengths)),
    )
    pack(folder, source, shard_mb=1)
    rows = read_manifest(folder / "m.jsonl", strict=True).utterances
    assert [int(row.audio_path.stem[-5:]) for row in rows] == [0, 0, 0, 1, 2, 3, 3, 4]
    sizes = [path.stat().st_size for path in sorted(folder.glob("*.wav"))]
    assert sizes == [44 + 32000 * seconds for seconds in (30, 10, 40, 32, 1)]
    assert_equal(samples_of(folder / "m.jsonl"), samples_of(source))


def test_order_is_kept_and_few_are_decoded_ahead(source: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"audio_filepath": "a.wav", "duration": 0.01, "offset": n / 100, "text": "a"} for n in range(100)]
    write_rows(source, *rows)
    lock, n_started, ahead = threading.Lock(), 0, []

    def uneven(utterance: Utterance) -> Samples:
        nonlocal n_started
        with lock:
            n_started += 1
        time.sleep(0.01 * (round(utterance.offset_s * 100) % 7 == 0))
        return decode(utterance)

    def advance(_: Utterance) -> None:
        ahead.append(n_started - len(ahead))

    monkeypatch.setattr(data.pack, "decode", uneven)
    with open_pack(folder) as opened:
        opened.update(*opened.survey([source]), jobs=3, advance=advance)
    assert_equal(samples_of(folder / "train.jsonl"), samples_of(source))
    assert len(ahead) == 100 and max(ahead) <= 4 * 3 + 1  # the one that is being dealt with is counted too


def test_long_audio_is_not_decoded_far_ahead(source: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data.pack, "AHEAD_S", 2.5)
    rows = [{"audio_filepath": "long.flac", "duration": 1, "offset": n / 10, "text": "a"} for n in range(20)]
    write_rows(source, *rows)
    n_started, ahead = 0, []

    def counted(utterance: Utterance) -> Samples:
        nonlocal n_started
        n_started += 1
        return decode(utterance)

    monkeypatch.setattr(data.pack, "decode", counted)
    with open_pack(folder) as opened:
        opened.update(*opened.survey([source]), jobs=8, advance=lambda _: ahead.append(n_started - len(ahead)))
    assert len(ahead) == 20 and max(ahead) <= 3


# only what changed


def test_what_is_unchanged_is_not_written_again(source: Path, folder: Path) -> None:
    pack(folder, source)
    before = snapshot(folder)
    for verify in (False, True):
        assert pack(folder, source, verify=verify)["train"][0] == ""
        assert snapshot(folder) == before


def test_a_moved_source_is_unchanged(source: Path, folder: Path) -> None:
    write_rows(source, {"audio_filepath": "a.wav", "duration": 1, "text": "a"})
    pack(folder, source)
    source = Path(shutil.move(source.parent, source.parent.with_name("elsewhere"))) / source.name
    assert pack(folder, source)["train"][0] == ""


def test_a_touched_recording_is_packed_again(source: Path, folder: Path) -> None:
    other = write_rows(source.with_name("dev.jsonl"), {"audio_filepath": "a.wav", "duration": 1, "text": "a"})
    pack(folder, source, other)
    before = snapshot(folder)
    write_audio(source.with_name("cd.flac"), 44_100, 44_100, seed=9)
    assert {name: reason for name, (reason, _) in pack(folder, source, other).items()} == {
        "train": "its source has changed",
        "dev": "",
    }
    assert_equal(samples_of(folder / "train.jsonl"), samples_of(source))
    assert sorted(os.listdir(folder)) == ["dev-00000.wav", "dev.jsonl", "pack.json", "train-00001.wav", "train.jsonl"]
    assert snapshot(folder)["dev-00000.wav"] == before["dev-00000.wav"]


def test_a_changed_manifest_and_a_recording_that_appears_are_packed(source: Path, folder: Path) -> None:
    with source.open("a") as file:
        file.write(json.dumps({"audio_filepath": "late.wav", "duration": 1, "text": "late"}) + "\n")
    assert pack(folder, source)["train"][1].n_utterances == 5
    write_audio(source.with_name("late.wav"), 16000)
    reason, packed = pack(folder, source)["train"]
    assert (reason, packed.n_utterances) == ("its source has changed", 6)
    source.write_text("".join(source.read_text().splitlines(keepends=True)[1:]))
    reason, packed = pack(folder, source)["train"]
    assert (reason, packed.n_utterances) == ("its source has changed", 5)


def test_other_options_pack_again(source: Path, folder: Path) -> None:
    pack(folder, source)
    assert "shards of 5 MiB" in pack(folder, source, shard_mb=5)["train"][0]
    assert pack(folder, source, shard_mb=5)["train"][0] == ""


DAMAGES = {
    "truncated shard": ("train-00000.wav", lambda path: os.truncate(path, 1000), "has 1000 bytes instead of"),
    "missing shard": ("train-00000.wav", os.unlink, "is missing"),
    "missing manifest": ("train.jsonl", os.unlink, "is missing"),
    "edited manifest": ("train.jsonl", lambda path: path.write_text(path.read_text().replace("one", "two")), "other"),
    "damaged pack.json": ("pack.json", lambda path: path.write_text('{"format": 1, "manif'), "new"),
    "senseless pack.json": ("pack.json", lambda path: path.write_text('{"format": 1, "manifests": {"a": 3}}'), "new"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_pack_is_written_again(damage: str, source: Path, folder: Path) -> None:
    pack(folder, source)
    name, spoil, expected = DAMAGES[damage]
    spoil(folder / name)
    assert expected in pack(folder, source)["train"][0]
    assert_equal(samples_of(folder / "train.jsonl"), samples_of(source))
    assert pack(folder, source, verify=True)["train"][0] == ""
    assert len(os.listdir(folder)) == 3


def test_a_flipped_bit_is_found_by_verify(source: Path, folder: Path) -> None:
    pack(folder, source)
    content = bytearray((folder / "train-00000.wav").read_bytes())
    content[10_000] ^= 1
    (folder / "train-00000.wav").write_bytes(content)
    assert pack(folder, source)["train"][0] == ""
    assert "other contents" in pack(folder, source, verify=True)["train"][0]
    assert_equal(samples_of(folder / "train.jsonl"), samples_of(source))


# killed


KILLED = """
import os, sys
from data.pack import open_pack
name, left = sys.argv[1], int(sys.argv[2])
real = getattr(os, name)
def killed(*arguments):
    global left
    if left == 0:
        os._exit(9)  # no cleaning up, as with kill -9
    left -= 1
    return real(*arguments)
setattr(os, name, killed)
with open_pack(sys.argv[3]) as opened:
    opened.update(*opened.survey([sys.argv[4]], shard_mb=1), jobs=1)
"""


def kill(folder: Path, source: Path, call: str, number: int) -> int:
    """Pack in a process that dies at its `number`-th call of `os.replace` or `os.fsync`; return its exit code."""
    command = [sys.executable, "-c", KILLED, call, str(number), str(folder), str(source)]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def assert_repaired(folder: Path, source: Path) -> None:
    pack(folder, source, shard_mb=1)
    assert_equal(samples_of(folder / "train.jsonl"), samples_of(source))
    assert pack(folder, source, shard_mb=1, verify=True)["train"][0] == ""
    listed = json.loads((folder / "pack.json").read_text())["manifests"]["train"]["files"]
    assert {*listed, "pack.json"} == set(os.listdir(folder))  # nothing is left over


@pytest.mark.parametrize(("call", "number"), [("fsync", 0), ("fsync", 1), ("replace", 1), ("replace", 3)])
def test_killed_while_packing_for_the_first_time(call: str, number: int, source: Path, folder: Path) -> None:
    assert kill(folder, source, call, number) == 9
    assert not (folder / "train.jsonl").exists() or call == "replace"
    assert_repaired(folder, source)


@pytest.mark.parametrize("number", range(6))
def test_killed_while_packing_again(number: int, source: Path, folder: Path) -> None:
    """At every renaming (pack.json, two shards, manifest, pack.json) the manifest reads as all old or all new."""
    pack(folder, source, shard_mb=1)
    old = samples_of(source)
    write_audio(source.with_name("a.wav"), 30 * 16000, seed=8)
    write_audio(source.with_name("long.flac"), 64_000, seed=9)
    source.write_text(source.read_text().replace("1.25", "29.5"))
    code = kill(folder, source, "replace", number)
    assert code == (0 if number == 5 else 9)
    assert_equal(samples_of(folder / "train.jsonl"), old if number <= 3 else samples_of(source))
    with open_pack(folder):
        assert list(folder.glob(".*")) == []  # what the killed run left under temporary names is gone
    assert_repaired(folder, source)


def test_killed_while_replacing_a_flipped_bit(source: Path, folder: Path) -> None:
    """The new manifest is in place, and all that pack.json says of the old one still looks right."""
    pack(folder, source, shard_mb=1)
    shard = folder / "train-00000.wav"
    shard.write_bytes(shard.read_bytes()[:-2] + b"ab")
    script = KILLED.replace("shard_mb=1)", "shard_mb=1, verify=True)")
    command = [sys.executable, "-c", script, "replace", "3", str(folder), str(source)]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 9
    assert_equal(samples_of(folder / "train.jsonl"), samples_of(source))
    assert_repaired(folder, source)


def test_only_one_process_packs(source: Path, folder: Path) -> None:
    with open_pack(folder), pytest.raises(PackError, match="another process is packing"), open_pack(folder):
        pass
    pack(folder, source)


# what goes wrong


def test_unreadable_rows_are_left_out_and_told(source: Path, folder: Path) -> None:
    source.with_name("a.wav").write_bytes(b"")
    source.write_text(source.read_text().replace('"offset": 2.12345', '"offset": 99'))
    _, packed = pack(folder, source)["train"]
    assert packed.n_utterances == 3
    assert packed.unreadable[0].startswith(f"{source}:1: ") and "a.wav: 0 bytes" in packed.unreadable[0]
    assert packed.unreadable[1].startswith(f"{source}:5: ") and "no audio from 99.0 s on" in packed.unreadable[1]
    assert [row.text for row in read_manifest(folder / "train.jsonl").utterances] == ["два", "three", "four"]
    again = pack(folder, source)["train"]
    assert again == ("", packed)  # told each time
    (folder / "train.jsonl").unlink()  # what the command advises, after a missing program was installed, say
    assert pack(folder, source)["train"][0] == "train.jsonl is missing"


def test_nothing_readable_packs_nothing(source: Path, folder: Path) -> None:
    pack(folder, source)
    before = samples_of(folder / "train.jsonl")
    for path in source.parent.iterdir():
        if path != source:
            path.write_bytes(b"")
    with pytest.raises(PackError, match=r"no utterance can be read.*train\.jsonl:1: .*0 bytes"):
        pack(folder, source)
    assert_equal(samples_of(folder / "train.jsonl"), before)
    source.write_text("\n")
    with pytest.raises(PackError, match="empty"):
        pack(folder, source)


def test_audio_that_is_shorter_than_the_manifest_says(source: Path, folder: Path) -> None:
    """5 ms is rounding, 50 ms is not; either way the pack says what there is."""
    rows = [{"audio_filepath": "a.wav", "duration": 20_001 / 16000 + extra, "text": "a"} for extra in (0.005, 0.05)]
    counts = []
    for row in rows:
        write_rows(source, row)
        counts.append(pack(folder, source)["train"][1].n_shorter)
        assert [row.duration_s for row in read_manifest(folder / "train.jsonl").utterances] == [20_001 / 16000]
    assert counts == [0, 1]


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the second file that is written meet a full disk, as its data is flushed."""
    real, calls = os.fsync, iter(range(99))

    def fsync(descriptor: int) -> None:
        if next(calls):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    yield
    monkeypatch.undo()


@pytest.mark.usefixtures("full_disk")
def test_a_full_disk_leaves_nothing_half_written(source: Path, folder: Path) -> None:
    with pytest.raises(PackError, match="No space left on device"):
        pack(folder, source)
    assert os.listdir(folder) == ["pack.json"]


def test_too_little_space_is_told_before_anything_is_written(
    source: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(source)._replace(free=100_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with open_pack(folder) as opened, pytest.raises(PackError, match=r"needs 0\.00 GB, 0\.00 GB are free"):
        opened.check_space(list(opened.survey([source])))
    assert os.listdir(folder) == []


def test_the_space_that_is_needed(source: Path, folder: Path) -> None:
    """Both new: the sum. One packed and unchanged: the other. One changed: old and new lie there together."""
    dev = write_rows(source.with_name("dev.jsonl"), {"audio_filepath": "cd.flac", "duration": 1, "text": "a"})
    train_bytes, dev_bytes = round((1.25 + 1 + 1 + 1.3333 + 1) * 32000), 32000
    with open_pack(folder) as opened:
        surveys = list(opened.survey([source, dev]))
        assert opened.check_space(surveys)[0] == train_bytes + dev_bytes
        opened.update(surveys[0], jobs=1)
        assert opened.check_space(list(opened.survey([source, dev])))[0] == dev_bytes
        os.utime(source.with_name("a.wav"), (1, 1))
        surveys = list(opened.survey([source, dev]))
        assert opened.check_space(surveys)[0] == train_bytes  # more than what comes after: the old shard is gone then


def test_a_manifest_that_changes_meanwhile(source: Path, folder: Path) -> None:
    with open_pack(folder) as opened:
        (survey,) = opened.survey([source])
        source.write_text(source.read_text() + "\n")
        with pytest.raises(PackError, match="has changed since"):
            opened.update(survey, jobs=1)


def test_manifests_of_one_name_are_refused(source: Path, folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "train.jsonl"
    other.parent.mkdir()
    write_audio(other.with_name("a.wav"), 16000)
    write_rows(other, {"audio_filepath": "a.wav", "duration": 1, "text": "a"})
    with pytest.raises(ConfigError, match=r"source.train\.jsonl and .*other.train\.jsonl would both"):
        pack(folder, source, other)
    pack(folder, source)
    with pytest.raises(ConfigError, match="was packed from another manifest"):  # in another run too
        pack(folder, other)
    assert pack(folder, source)["train"][0] == ""
    (folder / "train.jsonl").unlink()  # the cure that is offered
    assert pack(folder, other)["train"][1].n_utterances == 1


def test_a_folder_that_is_no_pack_is_refused(source: Path, tmp_path: Path) -> None:
    before = snapshot(source.parent)
    with pytest.raises(ConfigError, match=r"holds files but no pack\.json"):
        pack(source.parent, source)
    assert snapshot(source.parent) == before


def test_a_pack_is_not_packed_into_itself(source: Path, folder: Path) -> None:
    pack(folder, source)
    with pytest.raises(ConfigError, match="lies in the pack itself"):
        pack(folder, folder / "train.jsonl")


def test_a_pack_of_a_pack_is_the_same(source: Path, folder: Path, tmp_path: Path) -> None:
    pack(folder, source)
    pack(tmp_path / "copy", folder / "train.jsonl")
    for name in ("train.jsonl", "train-00000.wav"):
        assert (folder / name).read_bytes() == (tmp_path / "copy" / name).read_bytes()


def test_a_newer_format_is_refused(source: Path, folder: Path) -> None:
    pack(folder, source)
    (folder / "pack.json").write_text('{"format": 2, "manifests": {}}')
    with pytest.raises(ConfigError, match="format 2, expected 1: update"):
        pack(folder, source)


@pytest.mark.corpus
def test_real_speech(corpus_path: Path, folder: Path, tmp_path: Path) -> None:
    sources = []
    for domain in ("digits_8k", "audiobook", "accented_read"):
        lines = (corpus_path / f"{domain}.dev.jsonl").read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines[:8]]
        for row in rows:
            row["audio_filepath"] = str(corpus_path / row["audio_filepath"])
        sources.append(write_rows(tmp_path / f"{domain}.jsonl", *rows))
    for name, (_, packed) in pack(folder, *sources).items():
        assert (packed.n_utterances, packed.n_shorter, packed.unreadable) == (8, 0, ())
        manifest = read_manifest(folder / f"{name}.jsonl")
        assert manifest.problems == ()
        assert {row.domain for row in manifest.utterances} == {name}
        assert_equal(samples_of(manifest.path), samples_of(tmp_path / f"{name}.jsonl"))
