"""`silero-like data agree` as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from data.manifest import read_manifest
from silero_like.cli import main

TEXTS = {
    "en": [("Two cats!", "two cats"), ("a dog", "a fog"), ("yes", None), ("...", "?"), ("no", "never")],
    "ru": [("Ёлка, чай", "елка чай"), ("кот", "код"), ("да", None), ("...", "?"), ("нет", "никогда")],
    "zh": [("我用 Python。", "我用python"), ("你呢好", "你呢号"), ("是", None), ("...", "？"), ("不", "从来没有")],
}


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["data", "agree", *map(str, arguments)])


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def sources(folder: Path, lang: str) -> tuple[Path, Path]:
    """Two manifests of the same recordings, in folders of their own; the second lacks one."""
    a, b = [], []
    for number, (first, second) in enumerate(TEXTS[lang]):
        audio = folder / "audio" / f"{number}.wav"
        audio.parent.mkdir(exist_ok=True)
        audio.touch()
        row = {"duration": 1800.0, "domain": "x" if number < 3 else "y", "lang": lang}
        a.append({"audio_filepath": str(audio), "text": first, **row})
        if second is not None:
            b.append({"audio_filepath": f"../audio/{number}.wav", "text": second, **row})
    return write(folder / "a" / "a.jsonl", a), write(folder / "b" / "b.jsonl", b)


@pytest.mark.parametrize("lang", TEXTS)
def test_rows_that_agree_are_kept(tmp_path: Path, lang: str) -> None:
    a, b = sources(tmp_path, lang)
    out, summary = tmp_path / "out.jsonl", tmp_path / "out.json"
    result = run(a, b, out, "--json", summary)
    assert (result.exit_code, result.stderr) == (0, "")
    (row,) = read_manifest(out).utterances
    assert (row.text, row.quality, row.domain) == (TEXTS[lang][0][0], 1.0, "x")
    x = json.loads(summary.read_text())["domains"]["x"]
    n_chars = len(TEXTS[lang][1][0])
    assert x == {
        "utterances": 3, "hours": 1.5, "missing": 1, "kept": 1, "kept_hours": 0.5, "kept_disagreement": 0.0,
        "disagreement": pytest.approx(1 / n_chars / 2),
    }  # fmt: skip
    assert result.stdout.splitlines()[2].split()[:4] == ["y", "2", "1.00", "0"]


def test_the_other_text_and_another_threshold(tmp_path: Path) -> None:
    a, b = sources(tmp_path, "en")
    out = tmp_path / "out.jsonl"
    assert run(a, b, out, "--keep", "b", "--max-disagreement", "0.2").exit_code == 0
    assert [(row.text, row.quality) for row in read_manifest(out).utterances] == [("two cats", 1.0), ("a fog", 0.8)]


def test_transcripts_and_what_does_not_fit(tmp_path: Path) -> None:
    a, _ = sources(tmp_path, "en")
    b = tmp_path / "b.tsv"
    b.write_text("0.wav\ttwo cats\nother.wav\twho\n")
    result = run(a, b, tmp_path / "out.jsonl")
    assert (result.exit_code, result.stderr) == (1, f"Error: {b}:2: other.wav is not in the manifests\n")
    assert len(read_manifest(tmp_path / "out.jsonl").utterances) == 1


def test_an_input_is_not_replaced(tmp_path: Path) -> None:
    a, b = sources(tmp_path, "en")
    result = run(a, b, b)
    assert (result.exit_code, "would replace" in result.stderr) == (2, True)
