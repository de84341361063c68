from __future__ import annotations

import gzip
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lm.arpa import read_arpa, read_arpa_counts, write_arpa
from lm.model import LanguageModelError, Model, NGrams
from lm.perplexity import load_kenlm

SMALL = """\\data\\
ngram 1=4
ngram 2=2

\\1-grams:
-1.5\t<unk>
0\t<s>\t-0.25
-0.5\t</s>
-0.75\ta\t-0.125

\\2-grams:
-0.5\ta </s>
-0.25\t<s> a

\\end\\
"""


@pytest.mark.parametrize("name", ["order3.arpa.gz", "order4-pruned.arpa.gz"])
def test_what_is_read_is_what_is_written(tables: Any, golden_path: Path, tmp_path: Path, name: str) -> None:
    expected = tables.read(golden_path / name)
    model = read_arpa(golden_path / name)
    tables.assert_close(tables.of(model), expected, 5e-7)  # 32 bits
    for suffix in (".arpa", ".arpa.gz"):
        write_arpa(tmp_path / f"copy{suffix}", model, decimals=7)
        tables.assert_close(tables.read(tmp_path / f"copy{suffix}"), expected, 5e-7)  # lmplz writes 7 digits
        again = read_arpa(tmp_path / f"copy{suffix}")
        assert again.words == model.words
        for old, new in zip(model.orders, again.orders, strict=True):
            assert np.array_equal(old.keys, new.keys)
            assert np.array_equal(old.contexts, new.contexts)
    assert [len(grams) for grams in model.orders] == read_arpa_counts(tmp_path / "copy.arpa.gz")


def test_the_file_worked_by_hand(tmp_path: Path) -> None:
    (tmp_path / "small.arpa").write_text(SMALL)
    model = read_arpa(tmp_path / "small.arpa")
    assert model.words == ["<unk>", "<s>", "</s>", "a"]
    write_arpa(tmp_path / "again.arpa", model, decimals=3)
    expected = SMALL
    for old, new in (("-1.5", "-1.500"), ("0\t<s>", "0.000\t<s>"), ("-0.5\t", "-0.500\t"), ("0.75", "0.750")):
        expected = expected.replace(old, new)
    expected = expected.replace("0.25\n", "0.250\n").replace("-0.25\t", "-0.250\t")
    assert (tmp_path / "again.arpa").read_text() == expected


def test_numbers_of_any_size(tables: Any, tmp_path: Path) -> None:
    values = np.array([-0.0004, 0.0, -9.9996, -12.5, -99.0, -100.25], np.float32)
    backoffs = np.array([0.0, 0.3, -0.0004, 1.0, -11.125, 2.5], np.float32)
    words = ["<unk>", "<s>", "</s>", "ä", "漢", "x"]
    model = Model(words, [NGrams(np.arange(6), np.zeros(6, np.int64), values, backoffs)])
    write_arpa(tmp_path / "model.arpa", model, decimals=3)
    table = tables.read(tmp_path / "model.arpa")
    assert [table[(word,)][0] for word in words] == [0, 0, -10, -12.5, -99, -100.25]
    assert [table[(word,)][1] for word in words] == [0, 0.3, 0, 1, -11.125, 2.5]


def test_specials_come_first_and_unk_is_added(tmp_path: Path) -> None:
    lines = SMALL.replace("ngram 1=4", "ngram 1=3").replace("-1.5\t<unk>\n", "").replace("0\t<s>\t-0.25\n", "")
    lines = lines.replace("-0.75\ta\t-0.125\n", "-0.75\ta\t-0.125\n0\t<s>\t-0.25\n")
    (tmp_path / "small.arpa").write_text(lines)
    model = read_arpa(tmp_path / "small.arpa")
    assert model.words == ["<unk>", "<s>", "</s>", "a"]
    assert model.orders[0].log_probs.tolist() == [-100, 0, -0.5, -0.75]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("\\data\\", "data", r":1: expected \\data\\ at the head"),
        ("ngram 2=2", "ngram 3=2", ":3: expected 'ngram 2=COUNT', found 'ngram 3=2'"),
        ("ngram 2=2", "ngram 2=two", ":3: expected 'ngram 2=COUNT'"),
        ("\\1-grams:", "\\2-grams:", ":5: expected 1 to 6 counts"),
        ("ngram 1=4", "ngram 1=3", r"expected \\2-grams: after 3 lines, found '-0.75"),
        ("ngram 1=4", "ngram 1=5", "expected a number, 1 word and"),
        ("ngram 2=2", "ngram 2=9", ":15: the file ends too early: it is truncated"),
        ("\\end\\", "", "truncated"),
        ("-0.5\ta </s>", "-0.5\ta", "expected a number, 2 words and"),
        ("-0.5\ta </s>", "-0.5\ta b", "holds 'b', which is not among the words"),
        ("-0.5\ta </s>", "-0.5\t<s> a", "a 2-gram is listed twice"),
        ("-1.5\t<unk>", "-1.5\ta", "a word is listed twice"),
        ("-1.5\t<unk>", "one\t<unk>", "expected numbers around the words"),
        ("-1.5\t<unk>", "nan\t<unk>", "not between -1000 and 1000"),
        ("-1.5\t<unk>", "-1e30\t<unk>", "not between -1000 and 1000"),
        ("-0.25\t<s> a", "0.25\t<s> a", "a 2-gram above has a log-probability of 0.25, expected 0 or less"),
        ("ngram 2=2", "ngram 2=99999999999", ":15: the file ends too early: it is truncated"),
        ("ngram 2=2", f"ngram 2={'9' * 5000}", ":3: expected 'ngram 2=COUNT'"),
        ("ngram 1=4", "ngram 1=16777216", "expected fewer than 16777216 words"),
        ("</s>\n-0.75", "<eos>\n-0.75", "the model lacks </s>"),
    ],
)
def test_damaged_files_are_named_with_the_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "bad.arpa"
    path.write_text(SMALL.replace(old, new, 1))
    with pytest.raises(LanguageModelError, match=message) as caught:
        read_arpa(path)
    assert str(path) in str(caught.value)


def test_missing_shorter_ngrams_are_told(golden_path: Path, tmp_path: Path) -> None:
    text = gzip.decompress((golden_path / "order3.arpa.gz").read_bytes()).decode()
    head, bigrams = text.split("\\2-grams:\n")
    first, rest = bigrams.split("\n", 1)
    gram = first.split("\t")[1]
    count = int(head.split("ngram 2=")[1].split("\n")[0])
    path = tmp_path / "bad.arpa"
    path.write_text(f"{head.replace(f'ngram 2={count}', f'ngram 2={count - 1}')}\\2-grams:\n{rest}")
    with pytest.raises(LanguageModelError, match=f"but not '{gram}'"):
        read_arpa(path)


def test_packed_files_are_told_by_their_bytes(golden_path: Path, tmp_path: Path) -> None:
    packed = (golden_path / "order3.arpa.gz").read_bytes()
    for name, data in (("packed.arpa", packed), ("plain.arpa.gz", gzip.decompress(packed))):
        (tmp_path / name).write_bytes(data)
        assert read_arpa(tmp_path / name).words == read_arpa(golden_path / "order3.arpa.gz").words
        assert load_kenlm(tmp_path / name).order == 3
    path = tmp_path / "bad.arpa.gz"
    path.write_bytes(packed[:5000])
    with pytest.raises(LanguageModelError, match="expected an ARPA file, plain or"):
        read_arpa(path)
    with pytest.raises(LanguageModelError, match=r"bad\.arpa\.gz: .*a damaged one .Compressed file ended"):
        load_kenlm(path)


@given(st.data())
def test_damage_never_ends_in_anything_but_our_error(data: st.DataObject) -> None:
    """A byte is changed, or a stretch is left out or put in; what is still read is a model that can be written."""
    text = SMALL.encode()
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 20)))
    damaged = text[:start] + data.draw(st.binary(max_size=3)) + text[end:]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.arpa"
        path.write_bytes(damaged)
        try:
            write_arpa(path, read_arpa(path))
            read_arpa(path)
            message = ""
        except LanguageModelError as error:
            message = str(error)
        assert message.startswith(f"{path}:") or not message


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, golden_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.arpa"
    path.write_text("old")

    def fail(*arguments: object) -> None:
        raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        write_arpa(path, read_arpa(golden_path / "order3.arpa.gz"), progress=fail)
    assert path.read_text() == "old"
    assert [path] == list(tmp_path.iterdir())
