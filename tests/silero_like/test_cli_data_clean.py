"""`silero-like data clean` as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from data.manifest import read_manifest
from data.scores import Listener
from silero_like.cli import main
from tests.silero_like.conftest import StandIn

TEXTS = ["one two", "three four five", "six", "seven one", "two two three", "five six seven"]


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["data", "clean", *map(str, arguments)])


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def train(stand_in: StandIn, tmp_path: Path) -> Path:
    """Six utterances; the label of the last is another's."""
    rows = [{"text": text, "domain": "a" if number % 2 else "b"} for number, text in enumerate(TEXTS)]
    rows[-1] = {"text": "one two three four", "said": TEXTS[-1], "domain": "a"}
    return stand_in.record(tmp_path / "source" / "train.jsonl", rows)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def test_wrong_labels_are_put_aside_and_nothing_is_lost(stand_in: StandIn, train: Path, out: Path) -> None:
    before = train.read_bytes()
    result = run(train, "--out", out, "--model", stand_in.path)
    assert (result.exit_code, result.stderr) == (0, "")
    kept, suspects = read_manifest(out / "train.jsonl"), read_manifest(out / "quarantine" / "train.jsonl")
    assert [utterance.text for utterance in suspects.utterances] == ["one two three four"]
    assert {*kept.utterances, *suspects.utterances} == set(read_manifest(train).utterances)
    assert train.read_bytes() == before
    worst = lines(out / "ranking.jsonl")[0]
    assert (worst["pred_text"], worst["suspect"]) == (TEXTS[-1], True)
    assert worst["misfit"] > 5 > lines(out / "ranking.jsonl")[1]["misfit"]
    summary = json.loads((out / "summary.json").read_text())
    assert {name: row["suspects"] for name, row in summary["domains"].items()} == {"a": 1, "b": 0}
    assert "1 (33.3%)" in result.stdout


def test_nothing_is_heard_twice(stand_in: StandIn, train: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[str] = []
    listen = Listener.__call__

    def counted(self: Listener, utterances: Any) -> Any:
        heard.extend(utterance.text for utterance in utterances)
        return listen(self, utterances)

    monkeypatch.setattr(Listener, "__call__", counted)
    run(train, "--out", out, "--model", stand_in.path)
    assert len(heard) == len(TEXTS)
    scores = (out / "scores.jsonl").read_bytes()
    (out / "scores.jsonl").write_bytes(scores[: len(scores) // 2])  # killed amid a line
    n_whole = (scores[: len(scores) // 2]).count(b"\n")
    first = lines(out / "ranking.jsonl")
    heard.clear()
    result = run(train, "--out", out, "--model", stand_in.path, "--by", "cer")
    assert len(heard) == len(TEXTS) - n_whole
    assert result.stderr == f"stand-in: {n_whole} of {len(TEXTS)} utterances heard before\n"
    assert {row["misfit"] for row in lines(out / "ranking.jsonl")} == {row["misfit"] for row in first}
    train.write_text(train.read_text().replace("three four five", "five four three"))
    heard.clear()
    run(train, "--out", out, "--model", stand_in.path)
    assert heard == ["five four three"]  # another label is another question


def test_processes_give_the_same(stand_in: StandIn, tmp_path: Path, out: Path) -> None:
    train = stand_in.record(tmp_path / "many.jsonl", [{"text": text} for text in TEXTS * 3])
    run(train, "--out", out, "--model", stand_in.path)
    run(train, "--out", tmp_path / "two", "--model", stand_in.path, "--jobs", "2")
    assert lines(tmp_path / "two" / "ranking.jsonl") == lines(out / "ranking.jsonl")


def test_unreadable_audio_goes_to_quarantine(stand_in: StandIn, train: Path, out: Path) -> None:
    (train.parent / "train-0.wav").unlink()
    (train.parent / "train-2.wav").write_bytes(b"noise")
    train.write_text(train.read_text() + "not a row\n")
    result = run(train, "--out", out, "--model", stand_in.path)
    assert result.exit_code == 1
    told = result.stderr.splitlines()
    assert told[0].startswith(f"Error: {train}:7: not JSON")
    assert "train-0.wav: cannot read the recording" in told[1]
    assert "train-2.wav" in told[2]
    assert told[3] == "3 of 7 rows failed"
    quarantined = read_manifest(out / "quarantine" / "train.jsonl", check_audio=False).utterances
    assert [utterance.text for utterance in quarantined] == ["one two", "six", "one two three four"]


def test_thresholds_can_be_given(stand_in: StandIn, train: Path, out: Path) -> None:
    def n_suspects(*options: str) -> dict[str, int]:
        result = run(train, "--out", out, "--model", stand_in.path, *options)
        assert result.exit_code == 0, result.output
        domains = json.loads((out / "summary.json").read_text())["domains"]
        return {name: row["suspects"] for name, row in domains.items()}

    assert n_suspects("--threshold", "99") == {"a": 0, "b": 0}
    assert n_suspects("--threshold", "b=-1") == {"a": 1, "b": 3}
    assert n_suspects("--threshold", "b=99", "--threshold", "-1") == {"a": 3, "b": 0}
    assert n_suspects("--worst", "0.34", "--by", "cer") == {"a": 1, "b": 0}  # the labels of b are all equally good


def test_rows_of_another_language_are_kept(stand_in: StandIn, train: Path, out: Path) -> None:
    train.write_text(train.read_text().replace('"text": "six"', '"text": "шесть", "lang": "ru"'))
    result = run(train, "--out", out, "--model", stand_in.path)
    assert result.stderr == "1 rows are not in en: kept without a look\n"
    assert "шесть" in [utterance.text for utterance in read_manifest(out / "train.jsonl").utterances]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--worst", "0.1", "--threshold", "3"], "give --worst or --threshold, not both"),
        (["--threshold", "c=3"], "no domain 'c'; there are a, b"),
        (["--threshold", "a=x"], "expected [DOMAIN=]NUMBER, got 'a=x'"),
    ],
)
def test_wrong_usage(stand_in: StandIn, train: Path, out: Path, options: list[str], message: str) -> None:
    result = run(train, "--out", out, "--model", stand_in.path, *options)
    assert result.exit_code == 2
    assert message in result.stderr


def test_an_empty_manifest_is_refused(train: Path, out: Path) -> None:
    empty = train.with_name("empty.jsonl")
    empty.write_text("\n")
    result = run(train, empty, "--out", out)
    assert result.exit_code == 1
    assert "empty.jsonl: empty: expected JSON lines" in result.stderr
    assert not out.exists()


def test_inputs_are_never_replaced(train: Path) -> None:
    result = run(train, "--out", train.parent)
    assert (result.exit_code, "--out would replace" in result.stderr) == (2, True)
    other = train.parent / "more" / "train.jsonl"
    other.parent.mkdir()
    other.write_bytes(train.read_bytes())
    result = run(train, other, "--out", train.parent / "out")
    assert (result.exit_code, "2 manifests are called train" in result.stderr) == (2, True)
    train.rename(train.with_name("scores.jsonl"))
    result = run(train.with_name("scores.jsonl"), "--out", train.parent / "out")
    assert (result.exit_code, "may not be called scores.jsonl" in result.stderr) == (2, True)
