"""Published figures are those that were measured: the README quotes the files in benchmarks/results."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.accuracy import RESULTS, draw, format_table

README = Path(__file__).resolve().parent.parent / "README.md"


def figures(rate: float) -> dict[str, object]:
    score = {"wer": rate, "wer_ci95": [rate - 0.05, rate + 0.1], "ci95_by": "speaker"}
    few = {"wer": 0.0, "wer_ci95": None, "ci95_by": "utterance"}
    rates = {"domains": {"a": score, "b": few}, "micro": score, "macro": {"wer": rate / 2}}
    return {**rates, "audio_s_per_core_s": 12.3}


def test_the_table_by_hand() -> None:
    table = format_table({"pocketsphinx": figures(0.5), "greedy": figures(0.25)})
    assert table.splitlines() == [
        "| WER %, 95 % interval (dev) | ours, greedy | PocketSphinx |",
        "| --- | ---: | ---: |",
        "| a | 25.0 (20.0 – 35.0) | 50.0 (45.0 – 60.0) |",
        "| b | 0.0 (–*) | 0.0 (–*) |",
        "| mean of the domains | **12.5** | **25.0** |",
        "| all utterances | 25.0 (20.0 – 35.0) | 50.0 (45.0 – 60.0) |",
        "| seconds of audio a core-second | 12 | 12 |",
    ]


def test_the_picture_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="of the [train] extra")
    draw({"greedy": figures(0.25), "moonshine-tiny": figures(0.5)}, tmp_path / "x.svg")
    text = (tmp_path / "x.svg").read_text()
    assert text.lstrip().startswith("<?xml")
    assert "#1f6fb2" in text
    assert "#d8842c" in text


@pytest.mark.skipif(not (RESULTS / "accuracy.json").exists(), reason="not measured yet: python -m benchmarks.accuracy")
def test_the_readme_quotes_the_measured_table() -> None:
    found = json.loads((RESULTS / "accuracy.json").read_text(encoding="utf-8"))
    table = (RESULTS / "accuracy.md").read_text(encoding="utf-8")
    assert table == format_table(found), "run: python -m benchmarks.accuracy --draw"
    assert table in README.read_text(encoding="utf-8"), (
        "README.md has other figures than benchmarks/results/accuracy.md"
    )
