"""Conversion: what goes in comes out, nothing is done twice, and a kill loses nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

import data.convert
from data.convert import FORMATS, JOURNAL, Target, convert_manifest
from data.manifest import Utterance, read_manifest, write_manifest
from silero_like.audio import load_audio
from silero_like.cli import main
from silero_like.errors import ConfigError


def tone(path: Path, seconds: float, rate: int = 16000, hz: float = 300) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.5 * np.sin(2 * np.pi * hz * np.arange(int(seconds * rate)) / rate), rate)
    return path


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Whole recordings, a stereo-rate one, two parts of a recording, one outside the folder, one that is no audio."""
    folder, outside = tmp_path / "in", tone(tmp_path / "elsewhere" / "e.wav", 0.5)
    (folder / "bad").mkdir(parents=True)
    (folder / "bad" / "x.wav").write_bytes(b"RIFF nothing")
    rows = [
        (tone(folder / "a" / "one.wav", 1.0), 0.0, 1.0, "раз"),
        (tone(folder / "b" / "one.flac", 1.5, 44100), 0.0, 1.5, "two"),
        (tone(folder / "long.wav", 9.0), 2.0, 1.25, "三"),
        (folder / "long.wav", 5.0, 1.0, "four"),
        (outside, 0.0, 0.5, "five"),
        (folder / "bad" / "x.wav", 0.0, 1.0, "six"),
        (tone(folder / "a" / "one.flac", 1.0), 0.0, 1.0, "seven"),
    ]
    path = folder / "set.jsonl"
    write_manifest(
        path,
        [
            Utterance(audio_path=audio, offset_s=offset, duration_s=duration, text=text, speaker="s", lang="ru")
            for audio, offset, duration, text in rows
        ],
    )
    return path


@pytest.mark.parametrize("rate", [16000, 8000])
@pytest.mark.parametrize("name", list(FORMATS))
def test_what_goes_in_comes_out(manifest: Path, tmp_path: Path, name: str, rate: int) -> None:
    out = tmp_path / "out"
    summary = convert_manifest(manifest, Target(out_dir=out, format=name, rate=rate), 2)
    assert dict(summary.refused) == {"audio cannot be read": 1, "another row has its file": 1}
    rows = read_manifest(out / "set.jsonl", strict=True).utterances
    assert [row.text for row in rows] == ["раз", "two", "三", "four", "five"]
    for before, after in zip(read_manifest(manifest).utterances, rows, strict=False):
        info = soundfile.info(after.audio_path)
        assert (info.samplerate, info.channels, info.format) == (rate, 1, FORMATS[name]["format"])
        assert after.duration_s == pytest.approx(before.duration_s, abs=1e-4) == pytest.approx(info.duration, abs=1e-4)
        assert (after.offset_s, after.speaker, after.lang) == (0.0, "s", "ru")
        first = load_audio(before.audio_path, offset_s=before.offset_s, duration_s=before.duration_s)
        second = load_audio(after.audio_path)
        n = min(len(first), len(second)) - 400
        assert np.corrcoef(first[400:n], second[400:n])[0, 1] > 0.98
    assert (out / f"long-2.000-1.250.{name}").is_file() and (out / f"a/one.{name}").is_file()


def test_loud_samples_are_clipped_not_wrapped(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.full(8000, 1.5), 16000, subtype="FLOAT")
    write_manifest(tmp_path / "a.jsonl", [Utterance(audio_path=tmp_path / "a.wav", duration_s=0.5, text="a")])
    convert_manifest(tmp_path / "a.jsonl", Target(out_dir=tmp_path / "out", format="flac"), 1)
    assert soundfile.read(tmp_path / "out" / "a.flac")[0].min() > 0.99


def test_nothing_is_done_twice_but_what_has_changed(manifest: Path, tmp_path: Path) -> None:
    target = Target(out_dir=tmp_path / "out", format="flac")
    assert convert_manifest(manifest, target, 2).changed == 5
    before = (target.out_dir / "set.jsonl").read_bytes()
    assert convert_manifest(manifest, target, 2).changed == 0
    assert (target.out_dir / "set.jsonl").read_bytes() == before
    tone(manifest.parent / "a" / "one.wav", 1.0, hz=500)  # its row and no other
    (target.out_dir / "b" / "one.flac").unlink()
    assert convert_manifest(manifest, target, 2).changed == 2
    (target.out_dir / "long-5.000-1.000.flac").write_bytes(b"cut")
    with (target.out_dir / JOURNAL).open("a") as journal:
        journal.write("torn li")
    assert convert_manifest(manifest, target, 2).changed == 1
    assert convert_manifest(manifest, replace(target, rate=8000), 2).changed == 5
    assert convert_manifest(manifest, replace(target, rate=8000), 2).changed == 0


def test_two_manifests_do_not_share_a_file(tmp_path: Path) -> None:
    """Recordings of one name in two folders, converted into one folder: the second is refused, not written over."""
    for name in ("x", "y"):
        path = tone(tmp_path / name / "a.wav", 0.5, hz=300 if name == "x" else 900)
        write_manifest(tmp_path / name / f"{name}.jsonl", [Utterance(audio_path=path, duration_s=0.5, text=name)])
    target = Target(out_dir=tmp_path / "out", format="flac")
    convert_manifest(tmp_path / "x" / "x.jsonl", target, 1)
    first = (tmp_path / "out" / "a.flac").read_bytes()
    assert convert_manifest(tmp_path / "y" / "y.jsonl", target, 1).refused == {"another row has its file": 1}
    assert (tmp_path / "out" / "a.flac").read_bytes() == first


def test_a_full_disk_ends_it_and_leaves_nothing_half(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    target = Target(out_dir=tmp_path / "out", format="wav")
    with monkeypatch.context() as patch:
        patch.setattr(data.convert.soundfile, "SoundFile", fail)
        with pytest.raises(ConfigError, match=r"No space left on device.*what is done stays"):
            convert_manifest(manifest, target, 1)
    assert [path.name for path in target.out_dir.rglob("*") if path.is_file()] == [JOURNAL]
    assert convert_manifest(manifest, target, 1).changed == 5


def test_killed_and_started_again(tmp_path: Path) -> None:
    """SIGKILL in the middle: what was written is whole and is not written again."""
    n_rows, path = 500, tone(tmp_path / "in" / "a.wav", 20)
    rows = (Utterance(audio_path=path, duration_s=0.3, offset_s=0.03 * n + 0.01, text="a") for n in range(n_rows))
    write_manifest(tmp_path / "in" / "set.jsonl", rows)
    out = tmp_path / "out"
    arguments = ["data", "convert", str(tmp_path / "in/set.jsonl"), str(out), "--jobs", "1", "--format", "flac"]
    command = [sys.executable, "-c", "from silero_like.cli import main; main()", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while len(list(out.glob("*.flac"))) < 3 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    made = {path.name: path.stat().st_mtime_ns for path in out.glob("*.flac")}
    journaled = (out / JOURNAL).read_text().count("\n")
    assert 2 <= journaled <= len(made) < n_rows and not (out / "set.jsonl").exists()
    result = CliRunner().invoke(main, [*arguments, "--json", str(tmp_path / "s.json")])
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "s.json").read_text())["changed"] == n_rows - journaled
    kept = sum(os.stat(out / name).st_mtime_ns == mtime for name, mtime in made.items())
    assert kept == journaled
    assert len(read_manifest(out / "set.jsonl", strict=True).utterances) == n_rows


def test_the_command(manifest: Path, tmp_path: Path) -> None:
    arguments = ["data", "convert", str(manifest), str(tmp_path / "out")]
    result = CliRunner().invoke(main, arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"{tmp_path}/out/set.jsonl: 5 utterances, 0.00 h; written: 5\n")
    assert "Error: audio cannot be read: 1 of 7 rows" in result.stderr
    assert "Traceback" not in result.stderr
    itself = CliRunner().invoke(main, ["data", "convert", str(manifest), str(manifest.parent)])
    assert itself.exit_code == 1 and "name another output folder" in itself.stderr
