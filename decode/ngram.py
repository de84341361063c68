"""A KenLM file as the model that `decode.lm` scores with, and the list of its words, which KenLM itself keeps back."""

import gzip
import mmap
import shutil
import tempfile
import zlib
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from math import log
from pathlib import Path
from struct import Struct
from typing import Any

LN_10 = log(10.0)
MIN_LOG_PROB = -1e4  # in place of -inf, so that differences of scores stay numbers
GZIP_MAGIC = b"\x1f\x8b"
BINARY_MAGIC = b"mmap lm http://kheafield.com/code format version 5\n\0"
HAS_WORDS = Struct("<100x?")  # in the binary's header: whether the words stand at the end of the file
WORD_COUNT = Struct("<108xQ")
FIRST_WORD = b"<unk>\0"


class KenLM:
    """An n-gram model of the ``kenlm`` module.

    Args:
        path: ARPA, also gz, or KenLM binary.

    Attributes:
        order: its n.

    Raises:
        ValueError: missing, damaged, or no language model.
    """

    def __init__(self, path: str | Path) -> None:
        import kenlm

        config = kenlm.Config()
        config.show_progress = False
        config.arpa_complain = kenlm.ARPALoadComplain.NONE
        with reading(path), unzipped(Path(path)) as plain:
            self._model: Any = kenlm.Model(str(plain), config)
        self._new_state: Any = kenlm.State
        self.order: int = self._model.order

    def begin(self) -> Hashable:
        """Return the state at the start of a sentence."""
        state: Hashable = self._new_state()
        self._model.BeginSentenceWrite(state)
        return state

    def empty(self) -> Hashable:
        """Return the state of no words before."""
        state: Hashable = self._new_state()
        self._model.NullContextWrite(state)
        return state

    def score(self, state: Hashable, word: str) -> tuple[float, Hashable]:
        """Return ln p(word | state) and the state after it."""
        after = self._new_state()
        return max(MIN_LOG_PROB, self._model.BaseScore(state, word, after) * LN_10), after


def read_words(path: str | Path) -> list[str]:
    """Return the words of a language model file, ``<unk>``, ``<s>`` and ``</s>`` among them.

    Args:
        path: ARPA, also gz, or KenLM binary.

    Raises:
        ValueError: missing, damaged, no language model, or a binary that was built without its words.
    """
    with reading(path):
        with open(path, "rb") as file:
            is_binary = file.read(len(BINARY_MAGIC)) == BINARY_MAGIC
        return _binary_words(Path(path)) if is_binary else list(_arpa_words(Path(path)))


def _binary_words(path: Path) -> list[str]:
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if not HAS_WORDS.unpack_from(data)[0]:
            raise ValueError("it was built without its words")
        (n_words,) = WORD_COUNT.unpack_from(data)
        start = data.rfind(FIRST_WORD)
        words = data[start:].split(b"\0")[:-1] if start >= 0 else []
    if len(words) != n_words:
        raise ValueError(f"expected {n_words} words at its end, found {len(words)}")
    return [word.decode() for word in words]


def _arpa_words(path: Path) -> Iterator[str]:
    """Yield the second field of each line between ``\\1-grams:`` and the next section."""
    with open(path, "rb") as file:
        is_gzip = file.read(2) == GZIP_MAGIC
    expected = 0
    with gzip.open(path, "rt", encoding="utf-8") if is_gzip else open(path, encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("ngram 1="):
                expected = int(line[8:])
            if line.startswith("\\1-grams:"):
                break
        n_words = 0
        for line in lines:
            if line.startswith("\\"):
                break
            fields = line.split()
            if fields:
                n_words += 1
                yield fields[1]
    if not expected or n_words != expected:
        raise ValueError(f"expected {expected or 'some'} unigrams, found {n_words}")


@contextmanager
def reading(path: str | Path) -> Iterator[None]:
    """Say which file is wrong, and why."""
    if not Path(path).is_file():
        raise ValueError(f"{path}: no such file: expected a language model, ARPA or KenLM binary")
    try:
        yield
    except (OSError, RuntimeError, ValueError, EOFError, IndexError, zlib.error) as error:
        reason = " ".join(str(error).split()).removesuffix(".")
        raise ValueError(f"{path}: not a language model, or a damaged one ({reason}): build it again") from error


@contextmanager
def unzipped(path: Path) -> Iterator[Path]:
    """Give KenLM a plain file: the module on the package index cannot read gz."""
    with open(path, "rb") as file:
        is_gzip = file.read(2) == GZIP_MAGIC
    if not is_gzip:
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "model.arpa"
        with gzip.open(path) as packed, open(plain, "wb") as unpacked:
            shutil.copyfileobj(packed, unpacked)
        yield plain
