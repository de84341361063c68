"""The parts that `data segment` and `data subtitles` are made of: anchors, lengths, passages, strays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from data.anchors import Anchor, corridor_of, find_anchors
from data.judge import cut
from data.lengths import Piece, fit_lengths
from data.manifest import Utterance
from data.passages import passages_of, read_passages
from data.segment import Sentence
from data.subtitles import Cue
from data.text import normalize_en, normalize_zh
from data.utterances import Found, without_strays
from decode.align import Alignment
from decode.segment import BLOCK_FRAMES
from decode.words import Word
from silero_like.errors import ManifestError


@pytest.mark.parametrize(
    "letters", ["abcdefghijklmnopqrstuvwxyz", "абвгдежзиклмнопрст", "".join(map(chr, range(0x4E00, 0x5200)))]
)
def test_anchors_survive_errors_and_swapped_passages(letters: str) -> None:
    rng = np.random.default_rng(0)
    n = len(letters)
    written = rng.integers(0, n, 4000)
    heard = np.where(rng.random(4000) < 0.05, rng.integers(0, n, 4000), written)
    heard = np.concatenate([heard[:1000], heard[2000:2200], heard[1200:2000], heard[1000:1200], heard[2200:]])
    true = np.concatenate([np.r_[0:1000], np.r_[2000:2200], np.r_[1200:2000], np.r_[1000:1200], np.r_[2200:4000]])
    frames = np.arange(4000) * 3
    alignment = Alignment(tuple(heard.tolist()), frames, frames + 1, np.zeros(4000, np.float32))
    anchors = find_anchors(alignment, written.tolist(), [f"▁{letter}" for letter in letters])
    assert len(anchors) > 100
    assert all(true[anchor.frame // 3] == anchor.token for anchor in anchors)
    tokens = [anchor.token for anchor in anchors]
    assert tokens == sorted(tokens) and not set(tokens) & set(range(1000, 1200))


def test_a_corridor_bounds_each_block_by_anchors_behind_the_margin() -> None:
    anchors = [Anchor(frame, frame // 2) for frame in range(0, 5000, 50)]
    corridor = corridor_of(anchors, 5000, 2500, 100)
    assert (corridor.first[0], corridor.last[-1]) == (0, 2500)
    assert (np.diff(corridor.first) >= 0).all() and (np.diff(corridor.last) >= 0).all()
    middle = np.arange(5, 30)
    assert (corridor.first[middle] <= (middle * BLOCK_FRAMES - 100) / 2).all()
    assert (corridor.last[middle] >= ((middle + 1) * BLOCK_FRAMES + 100) / 2).all()
    assert (corridor.last - corridor.first)[middle].max() < 400
    nothing = corridor_of([], 500, 70, 100)
    assert (nothing.first == 0).all() and (nothing.last == 70).all()


def words(*times: tuple[float, float], names: str = "abcdefgh") -> tuple[Word, ...]:
    return tuple(Word(name, start, end, 1.0) for name, (start, end) in zip(names, times, strict=False))


def test_short_pieces_are_joined_and_long_ones_cut_at_the_longest_pause() -> None:
    long = Piece(0.0, 8.0, "A, b c. D!", -1.0, words((0, 1), (1.2, 2), (2.1, 3), (6, 8)))
    short = Piece(8.5, 9.0, "e", -2.0, words((8.5, 9.0), names="e"), follows=True)
    far = Piece(15.0, 15.5, "f", -3.0, words((15, 15.5), names="f"), follows=True)
    pieces = fit_lengths([long, short, far], 1.0, 5.0, normalize_en)
    assert [(piece.text, piece.start, piece.end, piece.score) for piece in pieces] == [
        ("A, b c.", 0.0, 4.5, -1.0),
        ("D! e", 4.5, 9.0, -2.0),
        ("f", 15.0, 15.5, -3.0),
    ]


def test_mandarin_is_cut_and_joined_without_spaces() -> None:
    piece = Piece(0.0, 4.0, "你好，再见。", 0.0, words((0, 0.5), (0.6, 1), (3, 3.5), (3.5, 4), names="你好再见"))
    halves = fit_lengths([piece], 0.0, 3.0, normalize_zh)
    assert [half.text for half in halves] == ["你好", "，再见。"]
    assert [piece.text for piece in fit_lengths(halves, 2.5, 5.0, normalize_zh)] == ["你好，再见。"]


def test_pieces_with_something_left_out_between_are_not_joined() -> None:
    a = Piece(0.0, 0.5, "a", 0.0, ())
    assert len(fit_lengths([a, Piece(0.6, 1.0, "b", 0.0, (), follows=False)], 1.0, 5.0, str)) == 2
    assert len(fit_lengths([a, Piece(0.6, 1.0, "b", 0.0, (), follows=True)], 1.0, 5.0, str)) == 1
    assert len(fit_lengths([a, Piece(0.6, 1.0, "b", 0.0, (), follows=True)], 0.0, 5.0, str)) == 2


def test_passages(tmp_path: Path) -> None:
    assert passages_of(" one\n\ntwo. Three ") == ["one", "two. Three"]
    assert passages_of("one\ntwo. Three", split=True) == ["one", "two.", "Three"]
    assert passages_of("Он пришёл. «Кто?» — спросила она. Да!") == ["Он пришёл.", "«Кто?» — спросила она.", "Да!"]
    assert passages_of("Это А. С. Пушкин. Mrs. U. Le Guin. Bye") == ["Это А. С. Пушкин.", "Mrs. U. Le Guin.", "Bye"]
    assert passages_of("你好。他说：“来吗？”她走了！") == ["你好。", "他说：“来吗？”", "她走了！"]
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbfone\r\ntwo\r\n")
    assert read_passages(path) == ["one", "two"]
    for data, expected in ((b"\xff\xfe", "expected UTF-8"), (b" \n", "no text in it")):
        path.write_bytes(data)
        with pytest.raises(ManifestError, match=expected):
            read_passages(path)


def test_sentences_far_from_their_cues_are_dropped_whatever_the_drift() -> None:
    cues = [Cue(10.0 * number, 10.0 * number + 2, "x") for number in range(40)]
    sentences = [Sentence("x", start=cue.start * 1.04 + 7 + (60 if cue.start > 200 else 0), end=1e9) for cue in cues]
    assert without_strays(sentences, cues) == sentences
    sentences[5] = Sentence("x", start=sentences[5].start + 9)
    sentences[30] = Sentence("x", start=sentences[30].start - 9)
    checked = without_strays(sentences, cues)
    assert [number for number, sentence in enumerate(checked) if sentence.dropped] == [5, 30]
    assert checked[5].dropped == "far from its cue"


def test_windows_are_cut_from_a_stream_of_any_chunks() -> None:
    waveform = np.arange(16000 * 4, dtype=np.float32)
    windows = [(0.0, 0.5), (0.25, 1.0), (2.0, 3.0), (3.5, 9.0)]
    cuts = list(cut(np.array_split(waveform, 7), windows))
    for (start, end), found in zip(windows, cuts, strict=True):
        assert found.tolist() == waveform[round(start * 16000) : round(end * 16000)].tolist()


def test_results_survive_json() -> None:
    row = Utterance(audio_path=Path("/a/b.wav"), duration_s=1.5, text="你好", offset_s=2.0, quality=-0.5)
    found = Found(
        kept=(row,),
        sentences=(Sentence("你好", "", 2.0, 3.5, -0.5),),
        n_dropped={"not found": 1},
        duration_s=9.0,
        shift_s=(1.0, 2.0),
    )
    assert Found.from_json(found.to_json()) == found
