"""Subtitles: every word once and in order, in cues that can be read."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decode.words import Word
from silero_like.recognizer import Transcript
from silero_like.subtitles import COLUMNS_PER_S, LINE_COLUMNS, MAX_CUE_S, columns, make_cues
from silero_like.writers import render


def transcript(words: list[tuple[str, float, float]], text: str | None = None) -> Transcript:
    """Make a transcript of (word, start, end)."""
    found = tuple(Word(word, start, end, 0.9) for word, start, end in words)
    return Transcript("", 99.0, text or " ".join(word for word, *_ in words), 0.9, found, "m")


def evenly(text: str, per_s: float = 2.5) -> Transcript:
    """Speak words, or letters where there are no spaces, at an even pace."""
    words = text.split() if " " in text else list(text)
    return transcript([(word, n / per_s, (n + 0.9) / per_s) for n, word in enumerate(words)], text)


ENGLISH = "the first line breaks where both halves are about as long and no word is ever cut in two at all"
RUSSIAN = "первая строка кончается там где обе половины почти равны и ни одно слово не разорвано пополам"
MANDARIN = "这个句子很长所以它会被分成两行但是每一行都不会超过二十一个汉字这样大家都可以很舒服地看完"


def test_srt_by_hand() -> None:
    spoken = transcript([("one", 0.08, 0.4), ("two", 0.5, 0.9), ("three", 3.0, 3.2), ("four", 3661.0, 3661.5)])
    assert render(spoken, "srt") == (
        "1\n00:00:00,080 --> 00:00:01,080\none two\n\n"
        "2\n00:00:03,000 --> 00:00:04,000\nthree\n\n"
        "3\n01:01:01,000 --> 01:01:02,000\nfour"
    )


def test_vtt_by_hand_escapes_what_it_would_read_as_a_tag() -> None:
    assert render(transcript([("a<b", 1.0, 3.0)]), "vtt") == "WEBVTT\n\n00:00:01.000 --> 00:00:03.000\na&lt;b"
    assert render(transcript([]), "vtt") == "WEBVTT"
    assert render(transcript([]), "srt") == ""


@pytest.mark.parametrize("text", [ENGLISH, RUSSIAN, MANDARIN])
def test_long_speech_becomes_short_lines_in_every_script(text: str) -> None:
    cues = make_cues(evenly(text, per_s=4.0))
    assert len(cues) > 1
    assert ("" if text == MANDARIN else " ").join(cue.text for cue in cues) == text
    lines = [line for cue in cues for line in cue.lines]
    assert max(map(columns, lines)) <= LINE_COLUMNS
    assert any(len(cue.lines) == 2 for cue in cues)
    assert all(line == line.strip() for line in lines)


def test_a_cue_that_is_too_long_ends_in_its_longest_pause() -> None:
    words = [(f"word{n}", 0.8 * n + (0.3 if n >= 7 else 0), 0.8 * n + 0.6 + (0.3 if n >= 7 else 0)) for n in range(10)]
    first, second = make_cues(transcript(words))
    assert [len(first.words), len(second.words)] == [7, 3]


@given(
    st.lists(
        st.tuples(
            st.text("abcжя明", min_size=1, max_size=12),
            st.floats(0, 2.5),  # the pause before it
            st.floats(0.02, 1.5),
        ),
        max_size=60,
    )
)
def test_cues_keep_the_rules(spoken: list[tuple[str, float, float]]) -> None:
    words, now = [], 0.0
    for word, pause, length in spoken:
        words.append((word, now + pause, now + pause + length))
        now += pause + length
    cues = make_cues(transcript(words))
    assert [word.word for cue in cues for word in cue.words] == [word for word, *_ in words]
    for cue in cues:
        assert len(cue.lines) <= 2 and all(columns(line) <= LINE_COLUMNS for line in cue.lines)
        assert cue.start == cue.words[0].start and cue.end - cue.start <= MAX_CUE_S + 1e-9
    for cue, after in pairwise(cues):
        assert cue.end <= after.start
        least = max(1.0, sum(map(columns, cue.lines)) / COLUMNS_PER_S)
        assert cue.end - cue.start >= min(least, MAX_CUE_S) - 1e-9 or cue.end == after.start
