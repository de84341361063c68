from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lm import model as model_module
from lm.corpus import LINES_A_BLOCK, corpus_text, normalized_texts, read_corpus, texts_by_domain
from lm.model import LanguageModelError
from lm.perplexity import score_text


def test_ids_and_counts_worked_by_hand() -> None:
    corpus = read_corpus(["b a b", "", "a"])
    assert corpus.words == ["<unk>", "<s>", "</s>", "b", "a"]
    assert corpus.tokens.tolist() == [1, 3, 4, 3, 2, 1, 4, 2]
    assert corpus.counts.tolist() == [0, 2, 2, 2, 2]
    assert (corpus.n_lines, corpus.n_words, corpus.n_repeated) == (2, 4, 0)
    assert " ".join(corpus_text(corpus)).split("\n")[0].split() == ["b", "a", "b"]


def test_repeated_lines_count_once_across_blocks() -> None:
    lines = [str(number % 7) for number in range(3 * LINES_A_BLOCK)]
    corpus = read_corpus(lines, drop_repeated=True)
    assert corpus.counts[3:].tolist() == [1] * 7
    assert corpus.n_repeated == len(lines) - 7


def test_chinese_characters_are_words() -> None:
    assert read_corpus(["我爱ok", "no"]).words[3:] == ["我", "爱", "ok", "no"]


def test_inputs_of_every_kind(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Mr. Smith's\n\n42\n")
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(b"Hello!\n"))
    rows = [
        {"audio_filepath": "x.wav", "duration": 1, "text": "Yes.", "lang": "en", "domain": "calls"},
        {"audio_filepath": "y.wav", "duration": 1, "text": "Да", "lang": "ru"},
        {"audio_filepath": "z.wav", "duration": -1, "text": "bad"},
    ]
    (tmp_path / "c.jsonl").write_text("\n".join(map(json.dumps, rows)))
    paths = [tmp_path / name for name in ("a.txt", "b.txt.gz", "c.jsonl")]
    told: list[str] = []
    assert list(normalized_texts(paths, "en", told.append)) == ["mister smith's", "", "forty two", "hello", "yes"]
    assert len(told) == 2 and ":3: duration" in told[0] and "1 rows are not in en" in told[1]
    assert texts_by_domain(paths, "en", told.append) == {
        "a": ["mister smith's", "forty two"],
        "b": ["hello"],
        "calls": ["yes"],
    }


PACKED = gzip.compress(bytes(range(48, 91)) * 9, mtime=0)  # named alike in every worker
DAMAGED = PACKED[:20] + bytes(byte ^ 255 for byte in PACKED[20:40]) + PACKED[40:]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"one\ntwo\ncaf\xe9\n", "found other bytes in line 1 or a little later: convert it"),
        (b"one\n" * 5000 + b"\xe9\n", "found other bytes in line [3-5][0-9]{3} or a little later: convert it"),
        ("one\n".encode("utf-16"), "expected UTF-8 text"),
        (PACKED[:-9], "a damaged or truncated .gz file"),
        (DAMAGED, "a damaged or truncated .gz file"),
    ],
)
def test_damaged_inputs(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(data)
    with pytest.raises(LanguageModelError, match=f"a.txt: .*{message}"):
        list(normalized_texts([path], "en", print))


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (gzip.compress(b"One.\n", mtime=0), ["one"]),
        (b"\xef\xbb\xbfOne two\r\nthree\r\n", ["one two", "three"]),
        (b"o\0ne\n\0\n", ["o ne", ""]),
        (b"", []),
        (b"no line feed", ["no line feed"]),
        (b"ab " * 400_000, [" ".join(["ab"] * 400_000)]),
    ],
)
def test_odd_inputs_that_are_fine(tmp_path: Path, data: bytes, lines: list[str]) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(data)
    assert list(normalized_texts([path], "en", print)) == lines


def test_too_many_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lm.corpus.MAX_WORDS", 4)
    with pytest.raises(LanguageModelError, match="5 different words, at most 4"):
        read_corpus(["a b"])
    assert model_module.MAX_WORDS == 2**24


class Letters:
    """Stands for a KenLM model that knows "a" and "b": both, and </s>, have a probability of 0.1."""

    def full_scores(self, line: str) -> Any:
        return [(-1.0 if word in "ab" else -7.0, 1, word not in "ab") for word in line.split()] + [(-1.0, 1, False)]


def test_perplexity_leaves_unknown_words_out() -> None:
    score = score_text(Letters(), ["a b", "", "c a"])
    assert (score.n_lines, score.n_words, score.n_unknown) == (2, 4, 1)
    assert score.perplexity == pytest.approx(10)
    assert score.unknown_rate == 0.25
    empty = score_text(Letters(), [])
    assert (empty.perplexity, empty.unknown_rate) == (1, 0)


def test_ids_are_stable_over_many_words() -> None:
    lines = [f"w{number} w{number * 7 % 1000}" for number in range(1000)]
    corpus = read_corpus(lines)
    words = np.array(corpus.words, object)
    assert " ".join(words[corpus.tokens]).replace("<s> ", "").replace(" </s>", "") == " ".join(lines)
