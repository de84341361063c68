"""The search's language model scores against KenLM's own, and model files that are damaged."""

from __future__ import annotations

import gzip
from pathlib import Path

import kenlm
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from decode.config import BeamConfig
from decode.lm import WordScorer, make_lexicon
from decode.ngram import LN_10, KenLM, read_words
from decode.transitions import Ints

ARPA = """\\data\\
ngram 1=6
ngram 2=4
ngram 3=1

\\1-grams:
-1.5\t<unk>\t0
0\t<s>\t-0.3
-0.9\t</s>\t0
-0.7\tsee\t-0.2
-1.1\tsea\t-0.4
-1.3\tyou\t-0.1

\\2-grams:
-0.4\t<s> see\t-0.15
-0.3\tsee you\t-0.25
-0.5\tyou </s>\t0
-0.6\tsea you\t0

\\3-grams:
-0.1\t<s> see you

\\end\\
"""
PIECES = ("▁se", "e", "▁you", "a", "▁")


@pytest.fixture
def arpa_path(tmp_path: Path) -> Path:
    path = tmp_path / "model.arpa"
    path.write_text(ARPA)
    return path


def gain_of(scorer: WordScorer, token_ids: list[int]) -> float:
    state, total = np.array([scorer.start()]), 0.0
    for token_id in token_ids:
        tokens: Ints = np.array([token_id])
        total += float(scorer.gains(state, tokens)[0])
        state = scorer.advance(state, tokens)
    return total + float(scorer.ends(state)[0])


@pytest.mark.parametrize(
    ("token_ids", "n_unknown"),
    [([], 0), ([0, 1, 2], 0), ([0, 3, 2, 2], 0), ([0, 1, 1], 1), ([1, 2, 0], 2), ([4, 0, 1, 4], 0), ([2, 4, 4, 1], 1)],
)
def test_a_text_is_scored_as_kenlm_scores_it(arpa_path: Path, token_ids: list[int], n_unknown: int) -> None:
    config = BeamConfig(alpha=0.8, beta=0.3, unk_score=-4.0)
    ngram = KenLM(arpa_path)
    scorer = WordScorer(ngram, make_lexicon(ngram, read_words(arpa_path)), PIECES, config)
    text = "".join(PIECES[i] for i in token_ids).replace("▁", " ").split()
    expected = 0.8 * LN_10 * kenlm.Model(str(arpa_path)).score(" ".join(text)) + 0.3 * len(text) - 4.0 * n_unknown
    assert gain_of(scorer, token_ids) == pytest.approx(expected, abs=1e-5)  # KenLM adds in float32


def test_gzipped_and_plain_files_are_the_same(arpa_path: Path, tmp_path: Path) -> None:
    packed = tmp_path / "model.arpa.gz"
    packed.write_bytes(gzip.compress(arpa_path.read_bytes()))
    assert read_words(packed) == read_words(arpa_path) == ["<unk>", "<s>", "</s>", "see", "sea", "you"]
    assert KenLM(packed).order == KenLM(arpa_path).order == 3


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text.replace("\\data\\", "data"),
        lambda text: text.replace("ngram 1=6", "ngram 1=five"),
        lambda text: text.replace("ngram 1=6", "ngram 1=60"),
        lambda text: text[: len(text) // 3],
        lambda text: text[: text.index("-0.5\tyou")],
        lambda text: text.replace("-1.1\tsea", "x\tsea"),
        lambda text: "",
        lambda text: "\0\1\2" * 500,
    ],
)
@pytest.mark.parametrize("is_gzip", [False, True])
def test_a_damaged_model_is_refused_by_name(tmp_path: Path, damage: object, is_gzip: bool) -> None:
    assert callable(damage)
    path = tmp_path / "damaged.arpa"
    data = damage(ARPA).encode()
    path.write_bytes(gzip.compress(data) if is_gzip else data)
    with pytest.raises(
        ValueError, match=r"damaged\.arpa: not a language model, or a damaged one \(.*\): build it again"
    ):
        KenLM(path)


def test_a_cut_gzip_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "cut.arpa.gz"
    path.write_bytes(gzip.compress(ARPA.encode())[:-20])
    with pytest.raises(ValueError, match=r"cut\.arpa\.gz: not a language model, or a damaged one"):
        KenLM(path)
    for read in (KenLM, read_words):
        with pytest.raises(ValueError, match=r"gone\.arpa: no such file: expected a language model"):
            read(tmp_path / "gone.arpa")


def test_words_of_a_damaged_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "short.arpa"
    path.write_text(ARPA.replace("-1.1\tsea\t-0.4\n", ""))
    with pytest.raises(ValueError, match="expected 6 unigrams, found 5"):
        read_words(path)


@given(
    cut=st.integers(0, len(ARPA)),
    flips=st.lists(st.tuples(st.integers(0, len(ARPA) - 1), st.integers(0, 255)), max_size=4),
    is_cut=st.booleans(),
)
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_the_file_holds_it_loads_or_is_refused(
    tmp_path: Path, cut: int, flips: list[tuple[int, int]], is_cut: bool
) -> None:
    data = bytearray(ARPA.encode())
    for place, value in flips:
        data[place] = value
    path = tmp_path / "fuzzed.arpa"
    path.write_bytes(data[:cut] if is_cut else data)
    try:
        ngram = KenLM(path)
    except ValueError as error:
        assert str(path) in str(error)  # noqa: PT017
        return
    log_prob, state = ngram.score(ngram.begin(), "see")
    assert np.isfinite([log_prob, ngram.score(state, "nothing")[0]]).all()
