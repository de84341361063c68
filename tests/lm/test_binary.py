from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lm.arpa import read_arpa, write_arpa
from lm.binary import _hash_table, _pack_bits, read_binary_counts, write_binary
from lm.lmplz import run_build_binary, run_lmplz
from lm.model import LanguageModelError
from lm.perplexity import load_kenlm, token_scores


@pytest.fixture
def lines(golden_path: Path) -> list[str]:
    return [*(golden_path / "text.txt").read_text().splitlines(), "words it has never seen zzz it was", "zzz"]


@pytest.mark.parametrize("name", ["order3.arpa.gz", "order4-pruned.arpa.gz"])
def test_probing_scores_as_the_arpa_file(golden_path: Path, tmp_path: Path, lines: list[str], name: str) -> None:
    write_binary(tmp_path / "model.bin", read_arpa(golden_path / name), "probing")
    arpa, binary = load_kenlm(golden_path / name), load_kenlm(tmp_path / "model.bin")
    for expected, found in zip(token_scores(arpa, lines), token_scores(binary, lines), strict=True):
        assert np.array_equal(expected, found)


def test_states_are_those_of_the_arpa_file(golden_path: Path, tmp_path: Path, lines: list[str]) -> None:
    """A decoder merges hypotheses of equal state, so the signs of zeros matter."""
    import kenlm

    write_binary(tmp_path / "model.bin", read_arpa(golden_path / "order4-pruned.arpa.gz"), "probing")
    models = [load_kenlm(golden_path / "order4-pruned.arpa.gz"), load_kenlm(tmp_path / "model.bin")]
    n_states = []
    for model in models:
        states = set()
        for line in lines:
            state = kenlm.State()
            model.BeginSentenceWrite(state)
            for word in line.split():
                after = kenlm.State()
                model.BaseScore(state, word, after)
                states.add(after)
                state = after
        n_states.append(len(states))
    assert n_states[0] == n_states[1] > 100


@pytest.mark.parametrize("name", ["order3.arpa.gz", "order4-pruned.arpa.gz"])
def test_tries_are_the_bytes_of_build_binary(golden_path: Path, tmp_path: Path, name: str) -> None:
    """The sums of what build_binary wrote are kept in golden/tries.sha256."""
    write_binary(tmp_path / "model.bin", read_arpa(golden_path / name), "trie")
    digest = hashlib.sha256((tmp_path / "model.bin").read_bytes()).hexdigest()
    sums = dict(line.split()[::-1] for line in (golden_path / "tries.sha256").read_text().splitlines())
    assert digest == sums[name.replace(".arpa.gz", ".bin")]


def test_a_trie_scores_nearly_as_the_arpa_file(golden_path: Path, tmp_path: Path, lines: list[str]) -> None:
    write_binary(tmp_path / "model.bin", read_arpa(golden_path / "order3.arpa.gz"), "trie")
    expected, known = token_scores(load_kenlm(golden_path / "order3.arpa.gz"), lines)
    found, known_too = token_scores(load_kenlm(tmp_path / "model.bin"), lines)
    assert np.array_equal(known, known_too)
    assert np.abs(expected - found).mean() < 0.02  # 256 values for numbers from about -6 to 0


@pytest.mark.parametrize("structure", ["probing", "trie"])
def test_bigrams_and_an_empty_order(tables: Any, tmp_path: Path, structure: str) -> None:
    text = ["a b", "b a", "c"]
    for order, prune in ((2, (0,)), (3, (0, 0, 9)), (4, (0, 1))):
        model = tables.estimate(text, order, prune).model
        write_binary(tmp_path / "model.bin", model, structure)
        write_arpa(tmp_path / "model.arpa", model, decimals=8)
        arpa, binary = load_kenlm(tmp_path / "model.arpa"), load_kenlm(tmp_path / "model.bin")
        assert token_scores(binary, text)[0] == pytest.approx(token_scores(arpa, text)[0], abs=1e-6)


@pytest.mark.parametrize("structure", ["probing", "trie"])
def test_against_build_binary_where_there_is_one(
    golden_path: Path, tmp_path: Path, lines: list[str], structure: str
) -> None:
    if shutil.which("build_binary") is None:
        pytest.skip("build_binary is not on the PATH")
    model = read_arpa(golden_path / "order3.arpa.gz")
    write_arpa(tmp_path / "model.arpa", model, decimals=8)
    write_binary(tmp_path / "ours.bin", read_arpa(tmp_path / "model.arpa"), structure)
    run_build_binary(tmp_path / "model.arpa", tmp_path / "theirs.bin", structure)
    ours, theirs = (tmp_path / "ours.bin").read_bytes(), (tmp_path / "theirs.bin").read_bytes()
    if structure == "trie":
        assert ours == theirs
    else:  # the same entries, at other places where several would have the same one
        assert len(ours) == len(theirs)
        assert sorted(ours) == sorted(theirs)


def test_lmplz_and_our_estimate_make_one_model(tables: Any, golden_path: Path, tmp_path: Path) -> None:
    if shutil.which("lmplz") is None:
        pytest.skip("lmplz is not on the PATH")
    corpus = tables.corpus((golden_path / "text.txt").read_text().strip())
    run_lmplz(corpus, tmp_path / "model.arpa", 3, memory_mb=50)
    tables.assert_close(tables.read(tmp_path / "model.arpa"), tables.read(golden_path / "order3.arpa.gz"), 0)


def test_programs_that_are_missing_or_fail(
    tables: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, golden_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    corpus = tables.corpus("a b")
    with pytest.raises(LanguageModelError, match="lmplz is not on the PATH"):
        run_lmplz(corpus, tmp_path / "model.arpa", 2)
    for name in ("lmplz", "build_binary"):
        (tmp_path / name).write_text("#!/bin/sh\necho out of luck >&2\nexit 3\n")
        (tmp_path / name).chmod(0o755)
    with pytest.raises(LanguageModelError, match=r"lmplz failed \(exit code 3\): out of luck"):
        run_lmplz(corpus, tmp_path / "model.arpa", 2)
    with pytest.raises(LanguageModelError, match=r"build_binary failed \(exit code 3\): out of luck"):
        run_build_binary(tmp_path / "model.arpa", tmp_path / "model.bin", "trie")


def test_the_head(golden_path: Path, tmp_path: Path) -> None:
    model = read_arpa(golden_path / "order3.arpa.gz")
    for structure, name in (("probing", "probing"), ("trie", "quantized trie")):
        write_binary(tmp_path / "model.bin", model, structure)
        assert read_binary_counts(tmp_path / "model.bin") == (name, [len(grams) for grams in model.orders])
    assert read_binary_counts(golden_path / "text.txt") is None
    with pytest.raises(LanguageModelError, match="order 2 or more"):
        write_binary(tmp_path / "model.bin", type(model)(model.words, model.orders[:1]), "trie")


def test_a_truncated_binary_is_refused(golden_path: Path, tmp_path: Path) -> None:
    write_binary(tmp_path / "model.bin", read_arpa(golden_path / "order3.arpa.gz"), "trie")
    data = (tmp_path / "model.bin").read_bytes()
    (tmp_path / "model.bin").write_bytes(data[: len(data) // 2])
    with pytest.raises(LanguageModelError, match=r"model\.bin: .*a damaged one .*headers say it should be at least"):
        load_kenlm(tmp_path / "model.bin")
    for size in (60, 90, 100):
        (tmp_path / "model.bin").write_bytes(data[:size])
        with pytest.raises(LanguageModelError, match="truncated or damaged KenLM binary"):
            read_binary_counts(tmp_path / "model.bin")


def test_entries_that_are_too_wide_are_refused() -> None:
    with pytest.raises(LanguageModelError, match="entries take 65 bits"):
        _pack_bits([(24, np.zeros(1)), (8, np.zeros(1)), (8, np.zeros(1)), (25, np.zeros(1))], 1)


def test_hash_table_finds_every_entry_by_probing() -> None:
    """Any layout will do in which no free place lies between an entry and where it should be; some wrap around."""
    rng = np.random.default_rng(0)
    for size in (1, 2, 7, 100, 1000):
        keys = rng.integers(1, 2**63, size).astype(np.uint64)
        n_buckets = max(size + 1, int(1.5 * size))
        keys[: size // 2] = np.uint64(n_buckets - 1) + np.arange(size // 2, dtype=np.uint64) * np.uint64(n_buckets)
        table = np.frombuffer(
            _hash_table(keys, {"id": ("<u4", np.arange(size))}, size), [("key", "<u8"), ("id", "<u4")]
        )
        assert len(table) == n_buckets
        for number, key in enumerate(keys.tolist()):
            at = key % n_buckets
            while table["key"][at] != key:
                assert table["key"][at] != 0
                at = (at + 1) % n_buckets
            assert table["id"][at] == number
