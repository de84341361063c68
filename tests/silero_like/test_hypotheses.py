"""Transcripts from anywhere: formats, matching by name, and one writing for numbers and letters."""

from __future__ import annotations

from pathlib import Path

import pytest

from silero_like.errors import SileroLikeError
from silero_like.evaluation.alike import spell_digits, write_alike
from silero_like.evaluation.hypotheses import Segment, match_hypotheses, read_hypotheses

SEGMENTS = [
    Segment(Path("/data/a/one.opus"), 0.0, 2.0),
    Segment(Path("/data/b/two.wav"), 0.0, 3.0),
    Segment(Path("/data/b/talk.wav"), 0.0, 4.0),
    Segment(Path("/data/b/talk.wav"), 4.0, 4.0),
]


def texts(folder: Path, name: str, content: str) -> tuple[list[str | None], list[str]]:
    path = folder / name
    path.write_text(content, encoding="utf-8")
    hypotheses, problems = read_hypotheses(path)
    matched = match_hypotheses(SEGMENTS, hypotheses)
    return matched.texts, [*problems, *matched.problems]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (
            "h.jsonl",
            '{"audio_filepath": "a/one.opus", "text": "hello there"}\n'
            '{"audio_filepath": "/else/where/b/two.wav", "pred_text": "you", "text": "reference"}\n'
            '{"audio_filepath": "talk.wav", "offset": 4, "text": "late"}\n',
        ),
        ("h.ctm", ";; comment\none 1 0.1 0.2 hello\none 1 0.5 0.2 there 0.9\ntwo 1 9 0.2 you\ntalk A 4.1 0.2 late\n"),
        ("h.tsv", "x\tpath\tsentence\n1\tone.opus\thello there\n2\ttwo.wav\tyou\n"),
        ("h.tsv", "one.opus\thello there\ntwo.wav\tyou\n"),
        ("text", "one hello there\n\ntwo  you\n"),
    ],
    ids=["jsonl", "ctm", "tsv", "plain-tsv", "kaldi"],
)
def test_every_format_is_read_and_matched(name: str, content: str, tmp_path: Path) -> None:
    found, problems = texts(tmp_path, name, content)
    assert problems == []
    assert [text and text.strip() for text in found[:2]] == ["hello there", "you"]
    assert found[2] is None
    assert found[3] == ("late" if name in ("h.jsonl", "h.ctm") else None)


def test_what_does_not_fit_is_told_by_file_and_line(tmp_path: Path) -> None:
    content = "\n".join(
        [
            '{"audio_filepath": "one.opus", "text": "first"}',
            '{"audio_filepath": "one.opus", "text": "second"}',
            '{"audio_filepath": "absent.opus", "text": "x"}',
            '{"audio_filepath": "talk.wav", "text": "which half?"}',
            '{"audio_filepath": "talk.wav", "offset": 1.0, "text": "x"}',
            "{",
            '{"text": "no name"}',
        ]
    )
    found, problems = texts(tmp_path, "h.jsonl", content)
    assert found == ["first", None, None, None]
    path = tmp_path / "h.jsonl"
    assert [problem.split(": ")[0] for problem in problems] == [f"{path}:{line}" for line in (6, 7, 2, 3, 4, 5)]
    assert "absent.opus is not in the manifests" in problems[3]
    assert "2 utterances" in problems[4]


def test_a_name_that_could_be_two_recordings_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text("x hello\nb/x there\n")
    segments = [Segment(Path(f"/data/{folder}/x.wav"), 0.0, 1.0) for folder in "ab"]
    matched = match_hypotheses(segments, read_hypotheses(path)[0])
    assert matched.texts == [None, "there"]
    assert "give more of it" in matched.problems[0]


def test_unreadable_files_and_headers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SileroLikeError, match="cannot read"):
        read_hypotheses(tmp_path / "absent.jsonl")
    (tmp_path / "h.tsv").write_text("path\twords\n")
    with pytest.raises(SileroLikeError, match="expected columns"):
        read_hypotheses(tmp_path / "h.tsv")
    (tmp_path / "g.tsv").write_text("one.opus\ntwo.wav\tyou\n")
    assert "expected at least 2 columns" in read_hypotheses(tmp_path / "g.tsv")[1][0]


def test_a_file_without_any_transcript_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "h.json"
    path.write_text('[\n{\n"audio_filepath": "one.opus",\n"text": "hello"\n}\n]\n')  # as --format json writes
    with pytest.raises(SileroLikeError, match=r"h\.json:1: not JSON.*nor is any other line.*--format jsonl"):
        read_hypotheses(path)


@pytest.mark.parametrize(
    ("said", "digits"),
    [
        ("six three five", "six three five"),
        ("six hundred thirty five", "six three five"),
        ("six hundred and thirty five", "six three five"),
        ("nineteen eighty four", "one nine eight four"),
        ("one thousand nine hundred eighty four", "one nine eight four"),
        ("two thousand five", "two zero zero five"),
        ("twenty twenty", "two zero two zero"),
        ("a hundred", "one zero zero"),
        ("a cat and a hundred and one dogs", "a cat and one zero one dogs"),
        ("four oh nine", "four zero nine"),
        ("oh no", "oh no"),
        ("o one", "o one"),
        ("one million two thousand", "one zero zero two zero zero zero"),
        ("two thousand three million", "two zero zero zero three zero zero zero zero zero zero"),
        ("zero hundred", "zero hundred"),
        ("hundreds", "hundreds"),
    ],
)
def test_numbers_become_digits(said: str, digits: str) -> None:
    assert " ".join(spell_digits(said.split())) == digits
    assert " ".join(spell_digits(digits.split())) == digits


@pytest.mark.parametrize(
    ("reference", "hypothesis", "rewritten"),
    [
        ("g l e n n", "glenn", "g l e n n"),
        ("g l e n n", "glen", "g l e n"),
        ("enter m e d a", "enter meda", "enter m e d a"),
        ("the usa today", "the u s a today", "the usa today"),
        ("i am a man", "i am aman", "i am aman"),
        ("c a t cat", "cat cat", "cat cat"),
        ("see you", "c u", "c u"),
    ],
)
def test_letters_and_words_are_alike_in_the_hypothesis(reference: str, hypothesis: str, rewritten: str) -> None:
    assert write_alike(reference.split(), hypothesis.split()) == (reference.split(), rewritten.split())
