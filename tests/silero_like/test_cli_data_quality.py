"""`silero-like data stats` and `data check` as a user meets them."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result

from data.examine import Examined, examine
from data.manifest import Utterance, read_manifest
from data.measure_cache import MeasureCache
from silero_like.cli import main

TEXTS = {
    "en": ("The first of three sentences.", "A second sentence is here too."),
    "ru": ("Съешь ещё этих мягких булок.", "Да выпей же чаю с лимоном."),
    "zh": ("我们明天早上一起去公园吧。", "今天的天气真的非常好啊。"),
}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Six recordings of two seconds, two of each language, without faults."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    generator = np.random.default_rng(0)
    rows = []
    for lang, texts in TEXTS.items():
        for number, text in enumerate(texts):
            name = f"{lang}{number}.flac"
            soundfile.write(folder / name, 0.05 * generator.standard_normal(32000), 16000)
            speaker = f"{lang}-{number}"
            rows.append(
                {
                    "audio_filepath": name,
                    "duration": 2.0,
                    "text": text,
                    "speaker": speaker,
                    "domain": lang,
                    "lang": lang,
                }
            )
    write(folder / "train.jsonl", rows)
    return folder / "train.jsonl"


def write(path: Path, rows: list[dict[str, object]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def rows_of(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def run(command: str, *arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["data", command, *map(str, arguments)])


def fail(_: Utterance) -> Examined:
    raise AssertionError("decoded")


@pytest.mark.parametrize("command", ["stats", "check", "report"])
def test_help_has_examples(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert f"silero-like data {command} " in result.stdout.split("Examples:")[1]


def test_the_domain_table(corpus: Path, tmp_path: Path) -> None:
    result = run("stats", corpus, "--json", tmp_path / "stats.json", "--jobs", "2")
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines[:5]] == ["domain", "en", "ru", "zh", "all"]
    assert lines[3].split()[:8] == ["zh", "2", "0.00", "0.000", "2", "2.0", "2.0", "2.0"]
    found = json.loads((tmp_path / "stats.json").read_text())
    assert found["groups"]["zh"]["quantiles"]["chars_per_s"]["max"] == 6.0
    assert found["all"]["utterances"] == 6
    assert found["all"]["n_bytes"] == sum(path.stat().st_size for path in corpus.parent.glob("*.flac"))
    by = run("stats", corpus, "--by", "speaker").stdout
    assert [line.split()[0] for line in by.splitlines()[1:4]] == ["en-0", "en-1", "ru-0"]


def test_a_second_run_decodes_nothing(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run("stats", corpus)
    monkeypatch.setattr("data.examine.examine", fail)
    second = run("stats", corpus)
    assert (second.exit_code, second.stdout) == (0, first.stdout)
    moved = corpus.parent.rename(corpus.parent.with_name("moved")) / corpus.name
    assert run("check", moved).exit_code == 0
    other = run("stats", moved, "--cache", corpus.parent.with_name("other.sqlite"))
    assert other.exit_code == 1 and "decoded" in other.stderr


def test_an_interrupted_run_keeps_what_it_did(corpus: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    add, n_done = MeasureCache.add, 0

    def interrupted(self: MeasureCache, *arguments: object) -> None:
        nonlocal n_done
        add(self, *arguments)  # type: ignore[arg-type]
        n_done += 1
        if n_done == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(MeasureCache, "add", interrupted)
    assert run("stats", corpus).exit_code == 1
    database = sqlite3.connect(tmp_path / "cache" / "silero-like" / "measures.sqlite")
    assert database.execute("SELECT count(*) FROM examined").fetchone() == (4,)
    database.close()
    assert run("stats", corpus).exit_code == 0
    assert n_done == 6


def test_bad_rows_and_audio_are_named_and_the_rest_is_counted(corpus: Path, tmp_path: Path) -> None:
    (corpus.parent / "en1.flac").write_bytes(b"no sound")
    with corpus.open("a") as file:
        file.write("\n{}\n")
    page = tmp_path / "page.html"
    for result in (run("stats", corpus), run("report", corpus, "--html", page)):
        assert result.exit_code == 1
        assert f"Error: {corpus}:8: audio_filepath is missing" in result.stderr
        assert f"Error: {corpus}:2: {corpus.parent / 'en1.flac'}: not audio" in result.stderr
        assert result.stderr.endswith("2 of 7 rows failed\n")
    assert page.is_file()
    assert run("stats", corpus).stdout.splitlines()[1].split()[:2] == ["en", "1"]


def test_a_recording_that_kills_its_process_fails_alone(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def kills(utterance: Utterance) -> Examined:
        if utterance.audio_path.name == "ru1.flac":
            os.kill(os.getpid(), signal.SIGKILL)
        return examine(utterance)

    monkeypatch.setattr("data.examine.examine", kills)
    result = run("stats", corpus)
    assert result.exit_code == 1
    assert f"Error: {corpus}:4: {corpus.parent / 'ru1.flac'}: its process was ended by SIGKILL" in result.stderr
    assert "1 of 6 rows failed" in result.stderr


def test_progress_shows_on_a_terminal(corpus: Path) -> None:
    master, terminal = pty.openpty()
    command = [sys.executable, "-c", "from silero_like.cli import main; main()", "data", "stats", corpus]
    with subprocess.Popen(command, stderr=terminal, stdout=subprocess.DEVNULL) as process:
        os.close(terminal)
        shown = b""
        with contextlib.suppress(OSError):  # the other end is closed
            while data := os.read(master, 1024):
                shown += data
    os.close(master)
    assert process.returncode == 0
    assert b"examining" in shown and b"6/6" in shown


def test_nothing_found(corpus: Path) -> None:
    result = run("check", corpus, "--against", corpus.parent / "other.jsonl")
    assert result.exit_code == 2
    result = run("check", corpus)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "0 of 6 rows with a finding, 0 findings\n", "")


def damaged(corpus: Path) -> Path:
    """Give every row of a copy a fault, the last aside."""
    rows, folder = rows_of(corpus), corpus.parent
    (folder / "bad.flac").write_bytes((folder / "en0.flac").read_bytes()[:30])
    silence, loud = np.zeros(32000), np.clip(np.random.default_rng(1).standard_normal(32000), -1, 1)
    soundfile.write(folder / "silent.flac", silence, 16000)
    soundfile.write(folder / "loud.flac", loud, 16000)
    soundfile.write(folder / "again.wav", soundfile.read(folder / "zh1.flac")[0], 16000)
    changes: list[dict[str, object]] = [
        {"audio_filepath": "bad.flac"},
        {"audio_filepath": "silent.flac"},
        {"audio_filepath": "loud.flac"},
        {"duration": 3.0},
        {"text": "我们明天早上一起去公园吧" * 4},
        {},
    ]
    rows = [row | change for row, change in zip(rows, changes, strict=True)]
    write(folder / "bad.jsonl", [*rows, rows[5] | {"audio_filepath": "again.wav"}, {"text": "none"}])
    return folder / "bad.jsonl"


def test_every_fault_is_named_once(corpus: Path, tmp_path: Path) -> None:
    bad = damaged(corpus)
    result = run("check", bad, "--json", tmp_path / "f.json", "--write-clean", tmp_path / "out" / "clean.jsonl")
    assert result.exit_code == 1
    found = json.loads((tmp_path / "f.json").read_text())
    rows = [(finding["kind"], finding["where"].rpartition(":")[2]) for finding in found["findings"]]
    assert rows == [
        ("row", "8"),
        ("unreadable", "1"),
        ("shorter", "4"),
        ("silent", "2"),
        ("clipped", "3"),
        ("fast", "5"),
        ("same audio", "7"),
    ]
    assert found["counts"] == {
        kind: 1 if kind in dict(rows) else 0
        for kind in (
            "row",
            "unreadable",
            "shorter",
            "longer",
            "silent",
            "clipped",
            "fast",
            "slow",
            "same audio",
            "same text",
        )
    }
    assert found["findings"][-1]["other"] == f"{bad}:6"
    assert (
        f"shorter: 1 (the recording ends before the declared end: truncated?)\n  {bad}:4: 2.00 s of audio"
        in result.stdout
    )
    assert f"{bad}:7: the same samples = {bad}:6" in result.stdout
    assert f"\n  {bad}:8: audio_filepath is missing\n" in result.stdout
    assert result.stdout.endswith("7 of 8 rows with a finding, 7 findings\n")
    clean = read_manifest(tmp_path / "out" / "clean.jsonl")
    assert [row.audio_path.name for row in clean.utterances] == ["zh1.flac"]
    assert clean.utterances[0].text == TEXTS["zh"][1]


@pytest.mark.parametrize("lang", TEXTS)
def test_leaks_between_train_and_test(corpus: Path, lang: str) -> None:
    rows = [row for row in rows_of(corpus) if row["lang"] == lang]
    shutil.copy(corpus.parent / f"{lang}0.flac", corpus.parent / "copy.flac")
    soundfile.write(corpus.parent / "new.flac", 0.05 * np.random.default_rng(9).standard_normal(32000), 16000)
    write(
        corpus.parent / "test.jsonl",
        [
            rows[0] | {"audio_filepath": "copy.flac", "speaker": "new", "text": "something else"},
            rows[0] | {"audio_filepath": "new.flac", "text": f"{rows[1]['text']}!"},
        ],
    )
    result = run("check", corpus.parent / "test.jsonl", "--against", corpus)
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert [line for line in lines if line.startswith("leak")] == [
        "leak: same audio: 1 (the recording is in --against too)",
        "leak: same speaker: 1 (the speaker is in --against too)",
        "leak: same sentence: 1 (the sentence is in --against too)",
    ]
    test = corpus.parent / "test.jsonl"
    assert lines[1].startswith(f"  {test}:1: the same samples, but another text")
    assert lines[3].startswith(f"  {test}:2: {lang}-0, rows there: 1 = {corpus}:")
    assert lines[-1] == "2 of 2 rows with a finding, 3 findings"


def test_what_cannot_be_compared_with_is_told(corpus: Path) -> None:
    rows = rows_of(corpus)
    write(corpus.parent / "test.jsonl", rows[:1])
    write(corpus.parent / "other.jsonl", [rows[2], rows[3] | {"audio_filepath": "gone.flac"}])
    result = run("check", corpus.parent / "test.jsonl", "--against", corpus.parent / "other.jsonl")
    assert result.exit_code == 1
    assert "gone.flac; not compared with" in result.stderr
    assert result.stdout == "0 of 1 rows with a finding, 0 findings\n"


def test_limits_and_how_much_is_shown(corpus: Path) -> None:
    result = run("check", corpus, "--limit", "level_db=-1", "--show", "2")
    assert result.exit_code == 1
    assert result.stdout.splitlines()[0].startswith("silent: 6")
    assert result.stdout.splitlines()[3] == "  and 4 more"
    for setting, expected in {
        "loud=1": "expected NAME=VALUE with one of shorter_s,",
        "fast=much": "expected a number, got 'much'",
        "longer_s=1": "longer_s = 1: expected above 0 s",
    }.items():
        result = run("check", corpus, "--limit", setting)
        assert result.exit_code == 2 and expected in result.stderr


@pytest.mark.parametrize("command", ["stats", "check", "report"])
def test_a_manifest_without_rows(corpus: Path, command: str) -> None:
    empty, page = corpus.with_name("empty.jsonl"), corpus.with_suffix(".html")
    empty.write_text("\n")
    result = run(command, corpus, empty, *(["--html", page] if command == "report" else []))
    assert result.exit_code == 1 and f"{empty}: empty: expected JSON lines" in result.stderr
    assert not page.exists()


def test_a_file_that_is_no_cache(corpus: Path) -> None:
    result = run("stats", corpus, "--cache", corpus)
    assert result.exit_code == 1
    assert "expected a cache of measures" in result.stderr and "Traceback" not in result.stderr
    assert len(rows_of(corpus)) == 6
