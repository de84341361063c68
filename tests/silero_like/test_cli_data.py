"""`silero-like data` as a user meets it."""

from __future__ import annotations

import json
import os
import pty
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result

from silero_like.cli import main

COMMAND = [sys.executable, "-c", "from silero_like.cli import main; main()", "data", "pack"]


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["data", "pack", *map(str, arguments)])


def write(folder: Path, name: str, n_rows: int = 3) -> Path:
    """Write recordings of a second and their manifest."""
    folder.mkdir(exist_ok=True)
    rows = []
    for number in range(n_rows):
        soundfile.write(folder / f"{name}{number}.flac", np.full(16000, number / 10), 16000)
        rows.append({"audio_filepath": f"{name}{number}.flac", "duration": 1.0, "text": "a"})
    path = folder / f"{name}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def train(tmp_path: Path) -> Path:
    return write(tmp_path / "source", "train")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "packed"


def test_help_has_examples() -> None:
    result = run("--help")
    assert result.exit_code == 0
    assert "silero-like data pack train.jsonl dev.jsonl packed/" in result.stdout
    assert "default: 1024" in result.stdout


def test_packing_twice(train: Path, out: Path) -> None:
    dev = write(train.parent, "dev", 2)
    result = run(train, dev, out)
    assert (result.exit_code, result.stdout) == (0, "")
    space, *lines = result.stderr.splitlines()
    assert space.startswith(f"{out}: 0.00 GB needed, ")
    assert lines == [
        "train: packed (new): 3 utterances, 0.00 h, shards: 1",
        "dev: packed (new): 2 utterances, 0.00 h, shards: 1",
    ]
    assert sorted(os.listdir(out)) == ["dev-00000.wav", "dev.jsonl", "pack.json", "train-00000.wav", "train.jsonl"]
    again = run(train, dev, out, "--verify", "--jobs", "3")
    assert (again.exit_code, again.stderr) == (
        0,
        "train: unchanged: 3 utterances, 0.00 h, shards: 1\ndev: unchanged: 2 utterances, 0.00 h, shards: 1\n",
    )


def test_options_reach_the_pack(train: Path, out: Path) -> None:
    run(train, out, "--shard-mb", "7")
    assert json.loads((out / "pack.json").read_text())["manifests"]["train"]["shard_mb"] == 7
    shard = out / "train-00000.wav"
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    assert "unchanged" in run(train, out, "--shard-mb", "7").stderr
    result = run(train, out, "--shard-mb", "7", "--verify")
    assert "train: packed (train-00000.wav has other contents than were written): 3" in result.stderr


def test_unreadable_and_bad_rows_are_named_and_the_rest_is_packed(train: Path, out: Path) -> None:
    dev = write(train.parent, "dev")
    train.with_name("train1.flac").write_bytes(b"")
    with train.open("a") as file:
        file.write('{"text": "no audio"}\n')
    result = run(train, dev, out)
    assert result.exit_code == 1
    assert f"Error: {train}:2: {train.with_name('train1.flac')}: 0 bytes" in result.stderr
    assert f"Error: {train}:4: audio_filepath is missing" in result.stderr
    assert "train: packed (new): 2 utterances" in result.stderr
    assert "dev: packed (new): 3 utterances" in result.stderr
    assert result.stderr.endswith("2 of 7 utterances failed\n")
    again = run(train, dev, out)
    assert again.exit_code == 1  # still not all there
    assert "train: unchanged: 2 utterances, 0.00 h, shards: 1; to try" in again.stderr
    assert f"delete {out}/train.jsonl" in again.stderr
    assert "2 of 7 utterances failed" in again.stderr


def test_a_manifest_without_audio_does_not_stop_the_others(train: Path, out: Path) -> None:
    dev = write(train.parent, "dev")
    for path in train.parent.glob("train*.flac"):
        path.write_bytes(b"")
    result = run(train, dev, out)
    assert result.exit_code == 1
    assert "no utterance can be read" in result.stderr
    assert "dev: packed (new): 3 utterances" in result.stderr


def test_audio_shorter_than_the_manifest_says_is_counted(train: Path, out: Path) -> None:
    train.write_text(train.read_text().replace("1.0", "1.5"))
    result = run(train, out)
    assert result.exit_code == 0
    assert "3 shorter than the manifest said" in result.stderr


@pytest.fixture
def small_files() -> Iterator[None]:
    """Let writing a file past 50 kB fail, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("small_files")
def test_a_disk_that_takes_no_more(train: Path, out: Path) -> None:
    result = run(train, out)
    assert result.exit_code == 1
    assert f"Error: {out}: cannot write (File too large): free some space" in result.stderr
    assert os.listdir(out) == ["pack.json"]


def test_wrong_usage_exits_2(train: Path, out: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "other", "train")
    cases = {
        (train, other, out): "would both be packed as train.jsonl",
        (train, train.parent): "holds files but no pack.json",
        (tmp_path / "none.jsonl", out): "does not exist",
        (train, out, "--jobs", "0"): "x>=1",
        (train, out, "--shard-mb", "4096"): "1<=x<=2047",
        (out,): "Missing argument",
    }
    for arguments, expected in cases.items():
        result = run(*arguments)
        assert (result.exit_code, result.stdout) == (2, "")
        assert expected in result.stderr


def test_progress_shows_on_a_terminal(train: Path, out: Path) -> None:
    master, terminal = pty.openpty()
    process = subprocess.Popen([*COMMAND, train, out], stderr=terminal, stdout=subprocess.PIPE)
    os.close(terminal)
    shown = b""
    while True:
        try:
            shown += os.read(master, 1024)
        except OSError:  # the other end is closed
            break
    os.close(master)
    assert process.communicate() == (b"", None) and process.returncode == 0
    assert b"[1/1] train" in shown and b"2/3, 0.00 of 0.00 h" in shown and b"3/3" in shown
