"""What `benchmarks.pseudo_labels` and `benchmarks.noisy_student` publish is what they measured."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import clean_labels, noisy_student, pseudo_labels
from benchmarks.accuracy import RESULTS
from data.clean import Judged
from data.manifest import Utterance

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


def test_texts_change_places() -> None:
    texts = [f"text {number % 10}" for number in range(100)]
    utterances = [
        Utterance(audio_path=Path(f"/{number}"), duration_s=1.0, text=text, domain=str(number % 2))
        for number, text in enumerate(texts)
    ]
    wrong = clean_labels.swap(utterances, seed=1, within=True)
    assert 0 < len(wrong) <= 5
    for true, other in wrong.items():
        assert true.text != other.text
        assert int(other.text[-1]) % 2 == int(true.domain)  # of an utterance of the same domain
        assert (true.audio_path, true.domain) == (other.audio_path, other.domain)


def test_what_is_found_by_hand() -> None:
    def judged(number: int, misfit: float, text: str = "a") -> Judged:
        utterance = Utterance(audio_path=Path(f"/{number}"), duration_s=1.0, text=text)
        return Judged(utterance=utterance, heard="a", cer=0.0, misfit=misfit, confidence=1.0)

    true = [judged(number, 9.0 if number == 0 else 0.0) for number in range(25)]
    found = clean_labels.score(true, [judged(3, 8.0, "b"), judged(4, 1.0, "c")], {true[3].utterance, true[4].utterance})
    assert found["swapped"] == 2
    assert found["misfit"] == {"found_in_worst": 0.5, "suspected": 0.5, "true_suspected": 1 / 23}


def test_rounds_by_hand() -> None:
    rounds = {
        str(number): {"macro": {"cer": cer}, "micro": {"cer": cer}, "pseudo_hours": 3.0 * number}
        for number, cer in enumerate([0.4, 0.3])
    }
    assert noisy_student.format_table({"7": rounds}).splitlines()[3] == "| 7 | 1 | 3.00 | 30.0 | 30.0 | 0.750 |"


def test_what_stands_behind_the_dashes_is_handed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []

    def run(command: list[str], check: bool) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        return subprocess.CompletedProcess(command, 3)

    monkeypatch.setenv("SILERO_LIKE_CORPUS", str(tmp_path / "empty"))
    monkeypatch.setattr(noisy_student, "describe_machine", dict)
    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(sys, "argv", ["noisy_student", str(tmp_path), "--seeds", "7", "--", "--set", "a.b=1"])
    with pytest.raises(SystemExit, match="3"):
        noisy_student.main()
    assert commands[0][-2:] == ["--set", "a.b=1"]
    assert "seed=7" in commands[0]


@pytest.mark.parametrize("name", ["pseudo_labels", "clean_labels", "noisy_student"])
def test_the_manual_quotes_the_measured_table(name: str) -> None:
    table = (RESULTS / f"{name}.md").read_text(encoding="utf-8")
    found = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    rendered = {
        "pseudo_labels": pseudo_labels.format_table,
        "clean_labels": clean_labels.format_table,
        "noisy_student": lambda found: noisy_student.format_table(found["seeds"]),
    }[name](found)
    assert table == rendered
    assert table in DOCS.read_text(encoding="utf-8")
