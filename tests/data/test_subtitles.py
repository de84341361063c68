"""SRT and WebVTT as they are found in the wild."""

from __future__ import annotations

from pathlib import Path

import pytest

from data.subtitles import Cue, parse_subtitles, read_subtitles, spoken_text
from silero_like.errors import ManifestError

VTT = """WEBVTT - talk

STYLE
::cue { color: red }

NOTE not said
--

intro
00:01.000 --> 00:02.000 align:start position:10%
<v Ann>Hello <c.loud>there</c>

00:00:03.000 --> 00:00:04.000
[music]

27:46:40.500 --> 27:46:42.000
&gt;&gt; BOB: hi (laughs) you
"""


def test_vtt() -> None:
    found = parse_subtitles(VTT)
    assert found.cues == (Cue(1.0, 2.0, "Hello there"), Cue(100000.5, 100002.0, "hi you"))
    assert (found.n_silent, found.problems) == (1, ())


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_srt_with_any_line_ends_a_mark_and_overlapping_cues_out_of_order(line_end: str, tmp_path: Path) -> None:
    text = "2\n00:00:02,500 --> 00:00:04,000\nвторая <i>строка</i>\n\n1\n0:00:01,0 --> 00:00:03,000\n第一句。\n我们\n"
    path = tmp_path / "a.srt"
    path.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", line_end).encode())
    assert read_subtitles(path).cues == (Cue(1.0, 3.0, "第一句。 我们"), Cue(2.5, 4.0, "вторая строка"))


def test_numbers_say_the_order_where_times_are_careless_and_not_where_parts_were_joined() -> None:
    def order(*cues: tuple[int, int]) -> list[str]:
        lines = [f"{number}\n00:00:{start:02},000 --> 00:00:{start + 1:02},000\nc{number}\n" for number, start in cues]
        return [cue.text for cue in parse_subtitles("\n".join(lines)).cues]

    assert order((1, 5), (2, 3), (3, 6)) == ["c1", "c2", "c3"]
    assert order((3, 6), (1, 5), (2, 3)) == ["c1", "c2", "c3"]
    assert order((1, 30), (2, 35), (3, 3)) == ["c3", "c1", "c2"]


def test_broken_cues_are_told_and_the_rest_is_read() -> None:
    text = "1\n00:00:01,000 -> 00:00:02\nx\n\n2\n00:00:05,000 --> 00:00:04,000\ny\n\n3\nno times\n\n"
    text += "4\n00:00:06,000 --> 00:00:07,000\nfirst\n5\n00:00:08,000 --> 00:00:09,000\nsecond\n"
    text += "00:00:10,000 --> 00:00:11,000\n\n6\nnever --> late\n"
    found = parse_subtitles(text, "a.srt")
    assert [cue.text for cue in found.cues] == ["first", "second"]
    assert [problem.split(": ")[0] for problem in found.problems] == ["a.srt:1", "a.srt:5", "a.srt:9", "a.srt:20"]
    assert found.n_silent == 1
    assert "the end later, got '00:00:05,000 --> 00:00:04,000'" in found.problems[1]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["♪ la la la ♪"], ""),
        (["[MUSIC PLAYING]", "(door slams)"], ""),
        (["- Who? - Me."], "Who? - Me."),
        ([">> BOB: It's 5:30, he said: no."], "It's 5:30, he said: no."),
        (["DR. SMITH: yes", "ANN-MARIE: no"], "yes no"),
        (["Note: this stays"], "Note: this stays"),
        (["{\\an8}<font color='#fff'>AT&amp;T</font>"], "AT&T"),
        (["ИВАН: Ёлки! (смех)", "[музыка]", "— Да."], "Ёлки! Да."),
        (["张三：你好（笑声）", "【音乐】再见"], "你好 再见"),
        (["...", "♪♪"], ""),
    ],
)
def test_only_speech_remains(lines: list[str], said: str) -> None:
    assert spoken_text(lines) == said


def test_captions_that_roll_up_are_said_once() -> None:
    text = "00:01.000 --> 00:02.000\none two\n\n00:02.000 --> 00:03.000\none two\nthree\n\n"
    text += "00:03.050 --> 00:04.000\nthree\nfour\n\n00:09.000 --> 00:10.000\nfour\n"
    assert [cue.text for cue in parse_subtitles(text).cues] == ["one two", "three", "four", "four"]


def test_encodings(tmp_path: Path) -> None:
    text = "1\n00:00:01,000 --> 00:00:02,000\nПривет\n"
    path = tmp_path / "a.srt"
    path.write_bytes(text.encode("utf-16"))
    assert read_subtitles(path).cues[0].text == "Привет"
    path.write_bytes(text.encode("cp1251"))
    with pytest.raises(ManifestError, match=r"a\.srt:1: expected text in utf-8.*name its encoding"):
        read_subtitles(path)
    assert read_subtitles(path, "cp1251").cues[0].text == "Привет"
    path.write_text("no subtitles at all")
    with pytest.raises(ManifestError, match="expected an SRT or WebVTT file"):
        read_subtitles(path)
    with pytest.raises(ManifestError, match="cannot read"):
        read_subtitles(tmp_path / "none.srt")
