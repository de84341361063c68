"""What `benchmarks.pseudo_labels` and `benchmarks.noisy_student` publish is what they measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import noisy_student, pseudo_labels
from benchmarks.accuracy import RESULTS

DOCS = Path(__file__).resolve().parent.parent / "docs" / "pseudo-labels.md"
FOUND = {
    "own": {
        "teachers": ["large.jsonl", "tiny"],
        "all": {"hours": 2.0, "cer": 0.4},
        "curves": {"confidence": [{"hours": 2.0, "cer": 0.4}, {"hours": 0.9, "cer": 0.1}]},
    }
}


def test_the_table_by_hand() -> None:
    assert pseudo_labels.format_table(FOUND).splitlines()[2:] == [
        "| large.jsonl + tiny | none | 100 % | 40.0 | 1.00 |",
        "| | confidence | 45 % | 10.0 | 0.25 |",
    ]


def test_the_picture_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="of the [train] extra")
    pseudo_labels.draw({"own": FOUND["own"], "other": FOUND["own"]}, tmp_path / "x.svg")
    assert pseudo_labels.COLOURS["confidence"] in (tmp_path / "x.svg").read_text()


def test_rounds_by_hand() -> None:
    rounds = {
        str(number): {"macro": {"cer": cer}, "micro": {"cer": cer}, "pseudo_hours": 3.0 * number}
        for number, cer in enumerate([0.4, 0.3])
    }
    assert noisy_student.format_table({"7": rounds}).splitlines()[3] == "| 7 | 1 | 3.00 | 30.0 | 30.0 | 0.750 |"


def test_the_manual_quotes_the_measured_table() -> None:
    table = (RESULTS / "pseudo_labels.md").read_text(encoding="utf-8")
    found = json.loads((RESULTS / "pseudo_labels.json").read_text(encoding="utf-8"))
    assert table == pseudo_labels.format_table(found), "run: python -m benchmarks.pseudo_labels --draw"
    assert table in DOCS.read_text(encoding="utf-8")
