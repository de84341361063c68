"""`silero-like data synthesize`, with a stand-in for espeak-ng and, where it is installed, the program itself."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from data.manifest import read_manifest
from silero_like.audio import load_audio
from silero_like.cli import main

TEXTS = {"en": ["hello there", "-v is no option"], "ru": ["привет", "ёж"], "zh": ["我用 Python", "你呢"]}
FAKE = f"""#!{sys.executable}
import sys, wave
arguments = dict(zip(sys.argv[1:-1:2], sys.argv[2:-1:2]))
assert sys.argv[-1] == "--stdin", sys.argv
text = sys.stdin.buffer.read().decode()
with open({{log!r}}, "a") as log:
    log.write(" ".join([arguments["-v"], arguments["-s"]]) + "\\n")
if text == "hopeless":
    sys.exit("espeak-ng: no such voice")
with wave.open(arguments["-w"], "wb") as file:
    file.setparams((1, 2, 22050, 0, "NONE", "none"))
    file.writeframes(bytes(2 * 2205 * (0 if text == "mute" else len(text))))
"""


def run(*arguments: str | Path, stdin: str | None = None) -> Result:
    return CliRunner().invoke(main, ["data", "synthesize", *map(str, arguments)], input=stdin)


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a stand-in on the path was asked to say, a line each."""
    program, log = tmp_path / "bin" / "espeak-ng", tmp_path / "log"
    program.parent.mkdir()
    program.write_text(FAKE.format(log=str(log)))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    return log


@pytest.mark.parametrize("lang", TEXTS)
def test_lines_become_utterances(log: Path, tmp_path: Path, lang: str) -> None:
    text = tmp_path / "text.txt"
    text.write_text("\ufeff" + "\n\n".join([*TEXTS[lang], TEXTS[lang][0]]), encoding="utf-8")
    result = run(text, tmp_path / "out", "--lang", lang)
    assert (result.exit_code, result.stdout) == (0, "")
    rows = read_manifest(tmp_path / "out" / "manifest.jsonl").utterances
    assert [(row.text, row.lang, row.domain, row.annotation) for row in rows] == [
        (line, lang, "narration", "synthetic") for line in TEXTS[lang]
    ]
    assert [row.duration_s for row in rows] == pytest.approx([len(line) / 10 for line in TEXTS[lang]], abs=1e-3)
    assert len({row.speaker for row in rows}) == 2
    said = log.read_text()
    run(text, tmp_path / "out", "--lang", lang)
    assert log.read_text() == said  # nothing is spoken twice


def test_voices_and_speeds_take_turns(log: Path, tmp_path: Path) -> None:
    options = ["--voice", "en-us", "--voice", "en+f3", "--speed", "100", "--speed", "200"]
    result = run("-", tmp_path / "out", *options, stdin="a\nb\nc\nd\n")
    assert result.exit_code == 0, result.output
    assert log.read_text().splitlines() == ["en-us 100", "en+f3 100", "en-us 200", "en+f3 200"]


def test_a_line_that_fails_stops_nothing(log: Path, tmp_path: Path) -> None:
    summary = tmp_path / "summary.json"
    options = ["--jobs", "2", "--json", str(summary)]
    result = run("-", tmp_path / "out", *options, stdin="good\nhopeless\nmute\nbetter\n")
    assert result.exit_code == 1
    assert "Error: espeak-ng -v en-gb+f2 ended with code 1: espeak-ng: no such voice\n" in result.stderr
    assert "says nothing for 'mute'" in result.stderr
    assert result.stderr.endswith("2 utterances, 0.00 h\n2 of 4 lines failed\n")
    rows = read_manifest(tmp_path / "out" / "manifest.jsonl").utterances
    assert [row.text for row in rows] == ["good", "better"]
    told = {"lines": 4, "utterances": 2, "audio_s": sum(row.duration_s for row in rows), "failed": 2}
    assert json.loads(summary.read_text()) == told


def test_without_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    result = run("-", tmp_path / "out", stdin="a\n")
    assert (result.exit_code, "espeak-ng is not installed: apt install espeak-ng" in result.stderr) == (1, True)


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")
@pytest.mark.parametrize("lang", TEXTS)
def test_the_program_itself(tmp_path: Path, lang: str) -> None:
    result = run("-", tmp_path / "out", "--lang", lang, stdin="\n".join(TEXTS[lang]))
    assert result.exit_code == 0, result.stderr
    for row in read_manifest(tmp_path / "out" / "manifest.jsonl").utterances:
        assert 0.2 < row.duration_s < 5
        assert abs(load_audio(row.audio_path)).max() > 0.05
