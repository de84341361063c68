"""`evaluate` of other systems and `compare` as a user meets them: figures, names of what is wrong, exit codes."""

from __future__ import annotations

import base64
import io
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result

from silero_like.cli import main
from silero_like.cli.evaluate_inputs import text_rule
from silero_like.cli.evaluate_systems import Command, core_seconds
from silero_like.errors import SileroLikeError

if TYPE_CHECKING:
    from tests.silero_like.conftest import StandIn


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Four recordings of noise in two domains."""
    texts = {"one": "call me at 635", "two": "hello there", "three": "G L E N N", "four": "good bye"}
    rows = []
    for number, (name, text) in enumerate(texts.items()):
        path = tmp_path / f"{name}.wav"
        soundfile.write(path, np.random.default_rng(number).standard_normal(16000) * 0.01, 16000)
        domain = "phone" if number < 2 else "read"
        rows.append({"audio_filepath": path.name, "duration": 1.0, "text": text, "domain": domain, "lang": "en"})
    return write(tmp_path / "manifest.jsonl", rows)


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_transcripts_of_another_system_are_scored(manifest: Path, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("one call me at six three five\ntwo hello\nthree Glenn\nfour good bye\n")
    out, lines = tmp_path / "out.json", tmp_path / "lines.jsonl"
    arguments = ("--hypotheses", tmp_path / "text", "--json", out, "--utterances", lines, "--name", "theirs")
    result = run("evaluate", manifest, *arguments, "--alike", "--unseen", "read")
    assert (result.exit_code, result.stderr) == (0, "")
    found = json.loads(out.read_text())
    assert (found["model"], found["normalizer"], found["audio_s_per_core_s"]) == ("theirs", "en-1+alike-1", None)
    assert (found["domains"]["phone"]["wer"], found["domains"]["read"]["wer"]) == (1 / 8, 0)
    assert found["gaps"]["unseen - seen"]["wer"] == -1 / 8
    assert found["provenance"]["manifests_sha256"].keys() == {str(manifest)}
    rows = [json.loads(line) for line in lines.read_text().splitlines()]
    assert [row["pred_text"] for row in rows][2] == "Glenn"
    assert [row["deletions"] for row in rows] == [0, 1, 0, 0]
    plain = run("evaluate", manifest, "--hypotheses", tmp_path / "text")
    assert "normaliser en-1\n" in plain.stdout


def test_what_is_wrong_is_told_by_name_and_the_rest_is_scored(manifest: Path, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    rows += [{**rows[0]}, {"audio_filepath": "two.wav", "duration": 1.0, "offset": 0.5}, {**rows[3], "offset": 0.1}]
    del rows[-1]["domain"]
    write(manifest, rows)
    again = write(tmp_path / "again.jsonl", rows[1:2])
    hypotheses = [{"audio_filepath": name, "text": "hello there"} for name in ("two.wav", "absent.wav", "two")]
    theirs = write(tmp_path / "theirs.jsonl", hypotheses)
    result = run("evaluate", manifest, again, "--hypotheses", theirs, "--lang", "en")
    assert result.exit_code == 1
    expected = [
        f"{manifest}:5: duplicate of line 1",
        f"{manifest}:6: text is missing",
        "1 rows name no domain and count as 'default'",
        f"{again}: {tmp_path / 'two.wav'} is in an earlier manifest too",
        f"{theirs}:2: absent.wav is not in the manifests",
        f"{theirs}:3: a second hypothesis for two",
        f"no hypothesis for {tmp_path / 'one.wav'}, which counts as an empty one",
        f"no hypothesis for {tmp_path / 'four.wav'} at 0.1 s",
    ]
    for text in expected:
        assert text in result.stderr
    assert result.stderr.count("Error:") == 9
    micro = result.stdout.splitlines()[-3].split()
    assert (micro[0], micro[1]) == ("micro", "5")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--unseen", "radio"], "no utterance is of the domain radio"),
        (["--noisy", "radio"], "no utterance is of the domain radio"),
        (["--peer", "pocketsphinx", "--command", "x {audio}"], "give one of"),
    ],
)
def test_wrong_usage(arguments: list[str], message: str, manifest: Path, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("one hello\n")
    source = [] if "--command" in arguments else ["--hypotheses", str(tmp_path / "text")]
    result = run("evaluate", manifest, *source, *arguments)
    assert result.exit_code == 2
    assert message in result.stderr


def test_a_command_is_run_on_every_utterance(manifest: Path, tmp_path: Path) -> None:
    script = tmp_path / "their recogniser.py"
    script.write_text(
        "import sys, soundfile\n"
        "info = soundfile.info(sys.argv[1])\n"
        "assert (info.samplerate, info.channels, info.frames) == (16000, 1, 16000)\n"
        "print('good'); print(' bye')\n"
    )
    result = run("evaluate", manifest, "--command", f"'{sys.executable}' '{script}' {{audio}}", "--details")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "speed: " in result.stdout
    assert "hello -> good" in result.stdout
    assert "SNR dB" in result.stdout
    script.write_text("import sys; sys.exit('no licence')")
    result = run("evaluate", manifest, "--command", f"'{sys.executable}' '{script}' {{audio}}")
    assert result.exit_code == 1
    assert "ended with code 1: no licence; it counts as an empty transcript" in result.stderr
    assert result.stderr.endswith("4 of 4 rows failed\n")
    assert f"Error: {tmp_path}/" in result.stderr and len(set(result.stderr.splitlines())) == 5  # each names its own


def test_a_command_without_a_place_for_the_recording_is_refused() -> None:
    with pytest.raises(SileroLikeError, match=r"expected \{audio\}"):
        Command("recognise it")


def test_time_of_commands_counts_too() -> None:
    import subprocess

    before = core_seconds()
    subprocess.run([sys.executable, "-c", "sum(range(10**6))"], check=True)
    assert core_seconds() > before


def test_a_page_links_the_recordings_or_holds_them(manifest: Path, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    rows[1] |= {"audio_filepath": "one.wav", "offset": 0.25, "duration": 0.5}
    write(manifest, rows)
    theirs = [{"offset": 0.0, **row, "pred_text": "call me"} for row in rows]
    command = ["evaluate", manifest, "--hypotheses", write(tmp_path / "theirs.jsonl", theirs)]
    pages = [tmp_path / "pages" / "linked.html", tmp_path / "held.html"]
    assert run(*command, "--html", pages[0]).exit_code == 0
    assert run(*command, "--html", pages[1], "--embed-audio").exit_code == 0
    linked, held = (page.read_text(encoding="utf-8") for page in pages)
    assert '"audio":"../one.wav"' in linked
    assert '"audio":"../one.wav#t=0.25,0.75"' in linked
    sounds = re.findall('"audio":"data:audio/ogg;base64,([^"]+)"', held)
    seconds = [soundfile.info(io.BytesIO(base64.b64decode(sound))).duration for sound in sounds]
    assert seconds == pytest.approx([1.0, 0.5, 1.0, 1.0], abs=0.05)  # Opus has packets of 20 ms


@pytest.mark.parametrize("peer", ["pocketsphinx", "moonshine-tiny"])
def test_peers_recognise_speech(peer: str, tmp_path: Path) -> None:
    pytest.importorskip({"pocketsphinx": "pocketsphinx", "moonshine-tiny": "moonshine_voice"}[peer], reason="[peers]")
    samples = Path(__file__).resolve().parents[2] / "samples" / "manifest.jsonl"
    result = run("evaluate", samples, "--peer", peer, "--alike", "--json", tmp_path / "out.json")
    assert result.exit_code == 0
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["model"] == peer
    assert found["domains"]["audiobook"]["wer"] < 0.5


def test_keywords_and_difficulty_of_a_model_of_ours(stand_in: StandIn, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", stand_in.speak("one two three"), 16000)
    row = {"audio_filepath": "a.wav", "duration": 2.0, "text": "one two four", "domain": "a"}
    row["duration"] = soundfile.info(tmp_path / "a.wav").duration
    manifest = write(tmp_path / "m.jsonl", [row])
    training = write(tmp_path / "training.jsonl", [{**row, "domain": "b", "text": "one two"}])
    (tmp_path / "words.txt").write_text("# numbers\nOne Two\t3.5\nfour # lost\n")
    out = tmp_path / "out.json"
    arguments = ("--keywords", tmp_path / "words.txt", "--training-data", training, "--json", out)
    result = run("evaluate", manifest, "--model", stand_in.path, *arguments, "--details")
    assert (result.exit_code, result.stderr) == (0, "")
    found = json.loads(out.read_text())
    assert (found["keywords"]["one two"]["recall"], found["keywords"]["four"]["recall"]) == (1, 0)
    (sure,) = found["calibration"]["bins"]  # two of three words are right, of all it is sure
    assert sure["accuracy"] == pytest.approx(2 / 3) and sure["n_words"] == 3
    assert found["calibration"]["error"] == pytest.approx(sure["confidence"] - 2 / 3, abs=1e-5)
    assert "right words by confidence, expected calibration error 0.333" in result.stdout
    assert found["difficulty"]["a"]["oov_rate"] == pytest.approx(1 / 3)
    assert found["gaps"] == {}  # no domain was seen
    assert len(found["provenance"]["model_sha256"]) == 64
    assert "▁" in result.stdout  # confusions by the model's own tokens


def test_a_keyword_file_without_keywords_is_refused(manifest: Path, tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("# nothing\n")
    (tmp_path / "text").write_text("one x\ntwo x\nthree x\nfour x\n")
    result = run("evaluate", manifest, "--hypotheses", tmp_path / "text", "--keywords", tmp_path / "words.txt")
    assert result.exit_code == 1
    assert "expected a keyword" in result.stderr


def test_text_rules_are_read_back_from_their_labels() -> None:
    assert text_rule("en-1+alike-1", alike=False).label == text_rule("en", alike=True).label
    with pytest.raises(SileroLikeError, match="no text rule"):
        text_rule("en-1+alike-9", alike=False)
    with pytest.raises(SileroLikeError, match="for English"):
        text_rule("ru", alike=True)


# compare


def utterances(path: Path, wrong: float, n: int = 60, **more: Any) -> Path:
    """Write rows of which a share has one wrong word of two."""
    rows = [
        {
            "audio_filepath": f"/data/{number}.wav",
            "text": "Good morning",
            "pred_text": "good evening" if number < wrong * n else "good morning",
            "domain": "ab"[number % 2],
            "speaker": f"s{number % 14}",
            **more,
        }
        for number in range(n)
    ]
    return write(path, rows)


def test_compare_says_in_words_whether_a_difference_is_real(tmp_path: Path) -> None:
    a, b = utterances(tmp_path / "a.jsonl", 0.6), utterances(tmp_path / "b.jsonl", 0.1)
    (tmp_path / "words.txt").write_text("morning\n")
    result = run("compare", a, b, "--json", tmp_path / "out.json", "--keywords", tmp_path / "words.txt")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "B is better by 25.0 points" in result.stdout
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["micro"]["difference"] == pytest.approx(-0.25)
    assert found["micro"]["by"] == "speaker"
    assert found["domains"].keys() == {"a", "b"}
    assert [found["keywords"][letter]["morning"]["recall"] for letter in "ab"] == [pytest.approx(0.4), 0.9]
    same = run("compare", a, a)
    assert same.stdout.count("no difference shown (p = 1)") == 3


def test_compare_tells_what_cannot_be_compared(tmp_path: Path) -> None:
    a, b = utterances(tmp_path / "a.jsonl", 0.5), utterances(tmp_path / "b.jsonl", 0.5, n=59)
    lines = b.read_text().splitlines()
    lines[0] = lines[0].replace("Good morning", "Good night")
    b.write_text("\n".join([*lines, lines[5], "{"]))
    result = run("compare", a, b)
    assert result.exit_code == 1
    assert f"{b}: no row for /data/59.wav" in result.stderr
    assert "/data/0.wav: the two files have different references" in result.stderr
    assert f"{b}:60: /data/5.wav stands in the file twice" in result.stderr
    assert f"{b}:61: expected a JSON object" in result.stderr
    assert result.stderr.endswith("4 problems\n")


def test_compare_refuses_other_normalisers_and_other_sets(tmp_path: Path) -> None:
    a = utterances(tmp_path / "a.jsonl", 0.5)
    alike = utterances(tmp_path / "b.jsonl", 0.5, normalizer="en-1+alike-1")
    assert "expected one text normaliser" in run("compare", a, alike).stderr
    other = write(tmp_path / "c.jsonl", [{"audio_filepath": "/x", "text": "a", "pred_text": "b"}])
    assert "share no utterance" in run("compare", a, other).stderr
