"""Helpers for language models: n-grams as dictionaries, read and scored the slow and plain way."""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from lm.corpus import Corpus, read_corpus
from lm.kneser_ney import Estimate, estimate
from lm.model import Model, word_columns

Table = dict[tuple[str, ...], tuple[float, float]]
"""N-gram -> (log10 probability, log10 back-off)."""


class Tables:
    """What the tests of this folder share."""

    @staticmethod
    def read(path: Path) -> Table:
        """Read an ARPA file without `lm.arpa`."""
        data = path.read_bytes()
        text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
        table: Table = {}
        for line in text.splitlines():
            fields = line.split("\t")
            if len(fields) > 1:
                table[tuple(fields[1].split(" "))] = (float(fields[0]), float(fields[2]) if len(fields) > 2 else 0.0)
        return table

    @staticmethod
    def of(model: Model) -> Table:
        """Return a model's n-grams."""
        table: Table = {}
        for n, grams in enumerate(model.orders, start=1):
            columns = word_columns(model.orders, n, np.arange(len(grams)))
            for row, numbers in enumerate(zip(grams.log_probs.tolist(), grams.backoffs.tolist(), strict=True)):
                table[tuple(model.words[column[row]] for column in columns)] = numbers
        return table

    @staticmethod
    def log_prob(table: Table, context: tuple[str, ...], word: str) -> float:
        """Return log10 p(word | context) by backing off."""
        if (*context, word) in table:
            return table[(*context, word)][0]
        backoff = table[context][1] if context in table else 0.0
        return backoff + Tables.log_prob(table, context[1:], word)

    @staticmethod
    def assert_close(found: Table, expected: Table, tolerance: float = 1e-5) -> None:
        """Compare two models; the default is for 32-bit arithmetic on small counts and numbers of 6 decimals."""
        assert found.keys() == expected.keys()
        for gram, numbers in expected.items():
            assert found[gram] == pytest.approx(numbers, abs=tolerance), gram

    @staticmethod
    def corpus(text: str | Iterable[str]) -> Corpus:
        return read_corpus(text.split("\n") if isinstance(text, str) else text)

    @staticmethod
    def estimate(text: str | Iterable[str], order: int, prune: tuple[int, ...] = ()) -> Estimate:
        return estimate(Tables.corpus(text), order, prune=prune)


@pytest.fixture(scope="session")
def tables() -> type[Tables]:
    return Tables


@pytest.fixture(scope="session")
def golden_path() -> Path:
    """Folder of a text and the models that lmplz made of it."""
    return Path(__file__).parent / "golden"
