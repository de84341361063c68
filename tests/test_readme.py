"""The README's code is run, so that it cannot go stale; what is not run is listed with the reason."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = [(language, code.rstrip()) for language, code in re.findall(r"^```(\w*)\n(.*?)^```$", README, re.M | re.S)]
LINES = [line for language, code in BLOCKS if language == "sh" for line in code.splitlines()]

NOT_RUN = {
    "python3 -m venv --without-pip .venv": "an installation: .ci/run runs both commands in a fresh clone",
    "silero-like listen": "needs a microphone; tests/silero_like/test_microphone.py has a stand-in",
    "silero-like lm build": "prints nothing; tests/silero_like/test_cli_lm.py runs it",
    "silero-like transcribe calls/": "needs its model and a list; tests/silero_like/test_decoding.py has them",
    "silero-like data import": "no corpus here; tests/silero_like/test_cli_data_import.py and tests/data have some",
    "silero-like data split": "no corpus here; tests/silero_like/test_cli_data_import.py and tests/data have some",
    "silero-like data convert": "no corpus here; tests/silero_like/test_cli_data_import.py and tests/data have some",
    "silero-like data download": "no corpus here; tests/silero_like/test_cli_data_import.py and tests/data have some",
    "silero-like data report": "prints nothing; tests/data/test_explorer.py opens the page",
    "silero-like data check dev.jsonl": "needs a corpus; tests/silero_like/test_cli_data_quality.py makes one",
    "silero-like data clean": "needs labelled speech; tests/silero_like/test_cli_data_clean.py has some",
    "silero-like data pseudo-label": "needs recordings; tests/silero_like/test_cli_data_pseudo_label.py has some",
    "silero-like serve": "runs until it is ended; tests/silero_like/test_serve.py starts and ends it",
    "silero-like train recipes/en-tiny.yaml": "takes an hour and a half; tests/train trains a smaller model",
    "silero-like forecast runs/en-tiny": "needs that run; tests/silero_like/test_cli_runs.py has made-up ones",
    "silero-like evaluate dev.jsonl --model runs/en-tiny/bundle": "needs that run",
    "silero-like finetune runs/en-tiny/bundle": "needs that run; tests/train/test_finetune.py has a smaller one",
}
"""Start of a line -> why no test runs it."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the samples in it, as in a checkout, where commands may write."""
    shutil.copytree(ROOT / "samples", tmp_path / "samples")
    return tmp_path


def test_it_opens_with_the_two_commands() -> None:
    first, second = LINES[:2]
    assert [language for language, _ in BLOCKS[:2]] == ["sh", "sh"]
    assert all("\n" not in code for _, code in BLOCKS[:2])
    assert first.endswith(".venv/bin/silero-like transcribe samples/audiobook.opus")
    assert second.endswith(".venv/bin/python -m pytest")
    assert all(line.startswith("python3 -m venv") and "-c constraints.txt" in line for line in (first, second))


def test_every_line_is_run_or_excused() -> None:
    unknown = [line for line in LINES if not line.startswith(("silero-like ", *NOT_RUN))]
    assert unknown == []
    assert all(any(line.startswith(start) for line in LINES) for start in NOT_RUN), "NOT_RUN lists what is gone"
    assert {language for language, _ in BLOCKS} <= {"sh", "python"}


def test_every_link_leads_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    local = [link for link in links if "://" not in link]
    assert local
    missing = [link for link in local if not (ROOT / link).exists()]
    assert missing == []


@pytest.mark.parametrize("line", [line for line in LINES if not line.startswith(tuple(NOT_RUN))])
def test_command(line: str, folder: Path, bundled_model: Path) -> None:
    command = f"{shlex.quote(sys.executable)} -c 'from silero_like.cli import main; main()' "
    line = line.replace("silero-like ", command, 1)
    env = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache")}
    process = subprocess.run(line, shell=True, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stdout + process.stderr
    assert process.stdout or any(folder.glob("transcripts*"))


@pytest.mark.parametrize("code", [code for language, code in BLOCKS if language == "python"])
def test_python(code: str, folder: Path, bundled_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    exec(compile(code, "README.md", "exec"), {"__name__": "readme"})
