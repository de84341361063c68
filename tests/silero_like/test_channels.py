"""Channels apart, capitals behind pauses, and the formats that tell when what is said."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

from decode.words import Word
from silero_like import load
from silero_like.audio import count_channels
from silero_like.casing import case_by_pauses
from silero_like.channels import ChannelWord, join_channels, transcribe_channels
from silero_like.errors import AudioError
from silero_like.recognizer import Transcript
from silero_like.timings import ctm, textgrid, word_spans
from silero_like.writers import FORMATS, render

if TYPE_CHECKING:
    from tests.silero_like.conftest import StandIn


def said(text: str, *starts: float) -> Transcript:
    """Say the words of a text, or the characters of one without spaces, each for 0.2 s."""
    words = [Word(word, start, start + 0.2, 0.9) for word, start in zip(text.split(" "), starts, strict=True)]
    joined = text if all(map(str.isascii, text)) or "а" <= text[0] <= "я" else text.replace(" ", "")
    return Transcript("a call.wav", 4.0, joined, 0.5, tuple(words), "m")


CALL = join_channels([said("да кто это", 0.1, 2.0, 2.4), said("你 好", 1.0, 1.25)])
"""A question, an answer in another script, another question."""


def test_words_of_channels_come_in_time_order_with_their_channel() -> None:
    assert [(word.word, word.channel) for word in CALL.words if isinstance(word, ChannelWord)] == [
        ("да", 1),
        ("你", 2),
        ("好", 2),
        ("кто", 1),
        ("это", 1),
    ]
    values = json.loads(render(CALL, "json"))
    assert values == json.loads(render(CALL, "jsonl"))
    assert values["text"] == "да\n你好\nкто это"
    assert values["words"][1] == {"word": "你", "start": 1.0, "end": 1.2, "confidence": 0.9, "channel": 2}
    assert values["channels"][1] == {"channel": 2, "text": "你好", "confidence": 0.5}


def test_texts_and_subtitles_name_the_channel() -> None:
    assert render(CALL, "txt") == "channel 1: да\nchannel 2: 你好\nchannel 1: кто это"
    cues = [block.split("\n") for block in render(CALL, "srt").split("\n\n")]
    assert [(cue[1][:12], cue[2]) for cue in cues] == [
        ("00:00:00,100", "channel 1: да"),
        ("00:00:01,000", "channel 2: 你好"),
        ("00:00:02,000", "channel 1: кто это"),
    ]
    assert "channel 2: 你好" in render(CALL, "vtt")


def test_both_may_speak_at_once() -> None:
    left, right = said("a b c", 0.0, 0.3, 0.6), said("x y z", 0.1, 0.4, 0.7)
    call = join_channels([left, right])
    assert [word.word for word in call.words] == list("axbycz")
    assert render(call, "txt") == "channel 1: a b c\nchannel 2: x y z"


def test_tables_by_hand() -> None:
    assert render(said("one two", 0.1, 2.0), "tsv") == "start\tend\ttext\n100\t300\tone\n2000\t2200\ttwo"
    assert render(CALL, "tsv").split("\n")[1:] == ["100\t300\tда\t1", "1000\t1450\t你好\t2", "2000\t2600\tкто это\t1"]
    lines = render(CALL, "ctm").split("\n")
    assert lines[0] == "a_call 1 0.100 0.200 да 0.9000"
    assert [line.split()[1] for line in lines] == ["1", "1", "1", "2", "2"]  # as NIST's scorer wants them


def test_word_times() -> None:
    words = [Word("привет", 0.5, 0.75, 0.9), Word("明", 0.7, 1.25, 1.0)]
    assert ctm("my talk", words) == "my_talk 1 0.500 0.250 привет 0.9000\nmy_talk 1 0.700 0.550 明 1.0000\n"
    grid = textgrid({"utterances": [(0.25, 1.5, 'say "hi"')], "words": word_spans(words)}, 1.5)
    assert grid.count("intervals [") == 2 + 4
    assert 'text = "say ""hi"""' in grid and "xmin = 0.750\n            xmax = 1.250" in grid


def test_a_textgrid_has_tiers_for_each_channel() -> None:
    grid = render(CALL, "textgrid")
    names = [line.split('"')[1] for line in grid.split("\n") if line.strip().startswith("name")]
    assert names == ["utterances (channel 1)", "words (channel 1)", "utterances (channel 2)", "words (channel 2)"]
    assert "size = 2\n" in render(said("one", 0.5), "textgrid")


@pytest.mark.parametrize("format", FORMATS)
def test_silence_can_be_written_in_every_format(format: str) -> None:
    silence = dataclasses.replace(CALL, text="", words=(), channels=None)
    assert "None" not in render(silence, format)
    assert "None" not in render(join_channels([silence, silence]), format)


@pytest.mark.parametrize(
    ("lang", "text", "starts", "cased"),
    [
        ("en", "so i think it's me i'm sure", (0.1, 0.3, 0.5, 0.7, 0.9, 2.0, 2.2), "So I think it's me I'm sure"),
        ("ru", "это он ёлка и я", (0.1, 0.3, 1.3, 1.5, 1.7), "Это он Ёлка и я"),
        ("zh", "ok 你 好", (0.1, 1.5, 3.0), "ok你好"),
    ],
)
def test_casing_by_pauses(lang: str, text: str, starts: tuple[float, ...], cased: str) -> None:
    plain = said(text, *starts)
    transcript = case_by_pauses(plain, lang)
    assert transcript.text == cased
    assert "".join(word.word for word in transcript.words) == cased.replace(" ", "")
    assert [word.start for word in transcript.words] == [word.start for word in plain.words]


def test_channels_are_cased_each() -> None:
    assert case_by_pauses(CALL, "ru").text == "Да\n你好\nКто это"


@pytest.fixture
def call(stand_in: StandIn, tmp_path: Path) -> Path:
    """A recording whose right channel answers its left one."""
    left, right = stand_in.speak("one two"), stand_in.speak("three")
    both = np.zeros((len(left) + len(right), 2), np.float32)
    both[: len(left), 0], both[len(left) :, 1] = left, right
    soundfile.write(tmp_path / "call.wav", both, 16000)
    return tmp_path / "call.wav"


def test_each_channel_is_heard_by_itself(stand_in: StandIn, call: Path) -> None:
    recognizer = load(stand_in.path)
    transcript = transcribe_channels(recognizer, call)
    assert transcript.text == "one two\nthree"
    assert transcript.channels == tuple(recognizer.transcribe(call, channel=n) for n in (0, 1))
    with call.open("rb") as file:
        assert transcribe_channels(recognizer, file).words == transcript.words


def test_channels_are_counted(call: Path, tmp_path: Path) -> None:
    assert count_channels(call) == 2
    soundfile.write(tmp_path / "empty.wav", np.zeros((0, 3)), 16000)
    assert count_channels(tmp_path / "empty.wav") == 1
    with pytest.raises(AudioError, match="No such file"):
        count_channels(tmp_path / "missing.wav")
