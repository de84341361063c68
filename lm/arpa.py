"""ARPA files: the text format of n-gram models, plain or gzipped.

Numbers have a fixed number of decimals, and a back-off of 0 is left out, as the format allows.
"""

from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import IO

import numpy as np

from lm.corpus import Progress, no_progress
from lm.files import DAMAGED_GZIP, open_text, replacing
from lm.model import (
    MAX_ORDER,
    MAX_WORDS,
    SPECIAL_WORDS,
    WORD_BITS,
    Floats,
    Ints,
    LanguageModelError,
    Model,
    NGrams,
    blocks,
    context_keys,
    find,
    word_columns,
)

LINES_A_BLOCK = 1 << 16
MISSING_UNK = -100.0  # what KenLM gives <unk> when a model has none
NOT_ARPA = "expected an ARPA file, plain or .gz (a KenLM binary cannot be turned back: keep its .arpa.gz)"
MAX_DIGITS = 12  # of a number of n-grams
MAX_NUMBER = 1000.0  # log10 probabilities and back-offs are smaller


def write_arpa(path: str | Path, model: Model, *, decimals: int = 6, progress: Progress = no_progress) -> None:
    """Write a model whole or not at all; gzipped if the name ends in .gz."""
    path = Path(path)
    sizes = [len(grams) for grams in model.orders]
    n_done = 0
    with replacing(path) as file:
        file.write("\n".join(["\\data\\", *(f"ngram {n}={size}" for n, size in enumerate(sizes, 1)), ""]).encode())
        word_pool = _WordPool(model.words)
        for n, grams in enumerate(model.orders, start=1):
            file.write(f"\n\\{n}-grams:".encode())
            for block in blocks(len(grams), LINES_A_BLOCK):
                columns = word_columns(model.orders, n, np.arange(block.start, block.stop))
                file.write(_lines(grams.log_probs[block], grams.backoffs[block], word_pool, columns, decimals))
                n_done += block.stop - block.start
                progress("writing", n_done, sum(sizes))
            file.write(b"\n")
        file.write(b"\n\\end\\\n")


def read_arpa(path: str | Path) -> Model:
    """Read a model. One without <unk> gets it with KenLM's log10 probability of -100.

    Raises:
        LanguageModelError: not an ARPA file, truncated or damaged, with the line; or an n-gram whose shorter n-grams
            are not listed.
    """
    path = Path(path)
    with open_text(path) as file:
        lines = _Lines(path, file)
        try:
            return _read_model(lines)
        except (UnicodeDecodeError, *DAMAGED_GZIP) as error:
            raise lines.error(f"{NOT_ARPA}: {error}") from error


def read_arpa_counts(path: str | Path) -> list[int]:
    """Return how many n-grams of each order the head of an ARPA file announces.

    Raises:
        LanguageModelError: not an ARPA file.
    """
    with open_text(Path(path)) as file:
        lines = _Lines(Path(path), file)
        try:
            return _read_counts(lines)
        except (UnicodeDecodeError, *DAMAGED_GZIP) as error:
            raise lines.error(f"{NOT_ARPA}: {error}") from error


class _WordPool:
    """The bytes of all words, each with a space before it."""

    def __init__(self, words: list[str]) -> None:
        encoded = [f" {word}".encode() for word in words]
        self.data = np.frombuffer(b"".join(encoded), np.uint8)
        self.lengths = np.array([len(word) for word in encoded])
        self.starts = np.cumsum(self.lengths) - self.lengths


def _lines(log_probs: Floats, backoffs: Floats, pool: _WordPool, columns: list[Ints], decimals: int) -> bytes:
    """Return the lines of some n-grams, each with a line feed before it.

    The bytes are gathered from a pool of all words and numbers, which is several times faster than formatting lines.
    """
    numbers, number_starts, number_lengths = _numbers(log_probs, decimals, b"\n")
    weights, weight_starts, weight_lengths = _numbers(backoffs, decimals, b"\t")
    weight_lengths = np.where(np.abs(backoffs) * 10**decimals < 0.5, 0, weight_lengths)
    data = np.concatenate([pool.data, numbers, weights])
    starts = [number_starts + len(pool.data), *(pool.starts[column] for column in columns)]
    starts.append(weight_starts + len(pool.data) + len(numbers))
    lengths = np.stack([number_lengths, *(pool.lengths[column] for column in columns), weight_lengths], 1).ravel()
    ends = np.cumsum(lengths)
    shifts = np.stack(starts, 1).ravel() - (ends - lengths)
    text = data[np.repeat(shifts, lengths) + np.arange(ends[-1])]
    first_words = (ends - lengths).reshape(len(log_probs), -1)[:, 1]
    text[first_words] = ord("\t")
    return bytes(text)


def _numbers(values: Floats, decimals: int, lead: bytes) -> tuple[Ints, Ints, Ints]:
    """Format numbers above -1000 after a lead byte: all bytes, and where each number starts and how long it is."""
    scaled = np.rint(np.abs(values.astype(np.float64)) * 10**decimals).astype(np.int64)
    signed = (values < 0) & (scaled > 0)
    width = decimals + 6  # lead, sign, three digits, point, decimals
    text = np.full((len(values), width), ord("."), np.uint8)
    rest = scaled
    for place in reversed(range(2, width)):
        if place != width - 1 - decimals:
            rest, digits = np.divmod(rest, 10)
            text[:, place] = ord("0") + digits
    n_whole = 1 + (scaled >= 10 ** (decimals + 1)) + (scaled >= 10 ** (decimals + 2))
    starts = width - decimals - 2 - n_whole - signed
    rows = np.arange(len(values))
    text[rows[signed], starts[signed] + 1] = ord("-")
    text[rows, starts] = lead[0]
    return text.ravel(), rows * width + starts, width - starts


class _Lines:
    """The lines of an ARPA file, counted for its errors."""

    def __init__(self, path: Path, file: IO[str]) -> None:
        self.path, self.number, self._file = path, 0, file

    def error(self, message: str) -> LanguageModelError:
        return LanguageModelError(f"{self.path}:{max(1, self.number)}: {message}")

    def next_filled(self) -> str:
        """Return the next line that is not blank, without the white space around it."""
        for line in self._file:
            self.number += 1
            if line.strip():
                return line.strip()
        raise self.error("the file ends too early: it is truncated")

    def take(self, count: int) -> list[list[str]]:
        """Return the words of the next lines."""
        lines = list(islice(self._file, count))
        self.number += len(lines)
        if len(lines) < count:
            raise self.error("the file ends too early: it is truncated")
        return [line.split() for line in lines]


def _read_counts(lines: _Lines) -> list[int]:
    """Read the head; the next line is the first section's."""
    first = lines.next_filled()
    while first.startswith("#"):
        first = lines.next_filled()
    if first != "\\data\\":
        raise lines.error(f"expected \\data\\ at the head of an ARPA file, found {first[:60]!r}")
    counts: list[int] = []
    while not (line := lines.next_filled()).startswith("\\"):
        name, _, number = line.partition("=")
        if name != f"ngram {len(counts) + 1}" or not (
            number.isascii() and number.isdigit() and len(number) < MAX_DIGITS
        ):
            raise lines.error(f"expected 'ngram {len(counts) + 1}=COUNT', found {line[:60]!r}")
        counts.append(int(number))
    if not 1 <= len(counts) <= MAX_ORDER or line != "\\1-grams:":
        raise lines.error(
            f"expected 1 to {MAX_ORDER} counts and then \\1-grams:, found {len(counts)} and {line[:60]!r}"
        )
    if counts[0] >= MAX_WORDS:
        raise lines.error(f"expected fewer than {MAX_WORDS} words, found {counts[0]}: limit the vocabulary")
    return counts


def _read_model(lines: _Lines) -> Model:
    counts = _read_counts(lines)
    words, unigrams = _read_unigrams(lines, counts[0])
    ids = {word: number for number, word in enumerate(words)}
    orders = [unigrams]
    for n, count in enumerate(counts[1:], start=2):
        if (line := lines.next_filled()) != f"\\{n}-grams:":
            raise lines.error(f"expected \\{n}-grams: after {counts[n - 2]} lines, found {line[:60]!r}")
        orders.append(_read_order(lines, orders, ids, count))
    if (line := lines.next_filled()) != "\\end\\":
        raise lines.error(f"expected \\end\\ after {counts[-1]} lines, found {line[:60]!r}")
    return Model(words, orders)


def _read_unigrams(lines: _Lines, count: int) -> tuple[list[str], NGrams]:
    """Read the words; the special ones are moved to the front."""
    ids: dict[str, int] = {}
    _, log_probs, backoffs = _read_rows(lines, 1, count, ids.setdefault)
    listed = list(ids)
    if len(listed) < count:
        raise lines.error("a word is listed twice")
    if missing := {*SPECIAL_WORDS[1:]} - {*listed}:
        raise lines.error(f"the model lacks {' and '.join(sorted(missing))}")
    if SPECIAL_WORDS[0] not in ids:
        listed.append(SPECIAL_WORDS[0])
        log_probs, backoffs = np.append(log_probs, np.float32(MISSING_UNK)), np.append(backoffs, np.float32(0))
    front = [listed.index(word) for word in SPECIAL_WORDS]
    order = np.concatenate([front, np.setdiff1d(np.arange(len(listed)), front)])
    words = [listed[number] for number in order]
    return words, NGrams(np.arange(len(words)), np.zeros(len(words), np.int64), log_probs[order], backoffs[order])


def _read_order(lines: _Lines, orders: list[NGrams], ids: dict[str, int], count: int) -> NGrams:
    """Read the n-grams of an order and sort them."""
    n = len(orders) + 1
    words, log_probs, backoffs = _read_rows(lines, n, count, ids)
    index = words[:, -1]
    for lower, first in zip(orders, reversed(range(n - 1)), strict=True):
        keys = index.astype(np.int64) << WORD_BITS | words[:, first]
        if lower is not orders[-1]:
            index = find(orders[n - 1 - first].keys, keys)
            if (index < 0).any():
                raise _unlisted(lines, ids, words[int(np.argmin(index))], first)
    by_key = np.argsort(keys)
    keys = keys[by_key]
    if (keys[1:] == keys[:-1]).any():
        raise lines.error(f"a {n}-gram is listed twice")
    contexts = find(orders[-1].keys, context_keys(orders[-1], keys))
    if (contexts < 0).any():
        raise _unlisted(lines, ids, words[by_key[int(np.argmin(contexts))]], 0, -1)
    return NGrams(keys, contexts, log_probs[by_key], backoffs[by_key])


def _unlisted(lines: _Lines, ids: dict[str, int], row: Ints, start: int, stop: int | None = None) -> LanguageModelError:
    """Name an n-gram that is listed, and the part of it that is not."""
    listed = list(ids)
    words = [listed[number] for number in row]
    return lines.error(
        f"the model lists {' '.join(words)!r} but not {' '.join(words[start:stop])!r}: a model is read only if it "
        "keeps the shorter n-grams of each n-gram, as those of silero-like and lmplz do"
    )


def _read_rows(
    lines: _Lines, n: int, count: int, ids: dict[str, int] | Callable[[str, int], int]
) -> tuple[Ints, Floats, Floats]:
    """Return the words, log-probs and back-offs of a section's lines.

    Args:
        lines: the file, at the section's first line.
        n: its order.
        count: its lines.
        ids: the words' ids; or, where they are still to be had, what is called with each word and its line.

    Returns:
        int32 ``(count, n)`` and two float32 ``(count,)``.
    """
    parts = [(np.zeros((0, n), np.int32), np.zeros((0, 2), np.float32))]  # grows, as the count may be a lie
    for block in blocks(count, LINES_A_BLOCK):
        rows = lines.take(block.stop - block.start)
        for row in rows:
            if not n + 1 <= len(row) <= n + 2:
                raise _bad_row(lines, n, row)
        try:
            numbers = [(float(row[0]), float(row[n + 1]) if len(row) == n + 2 else 0.0) for row in rows]
            if isinstance(ids, dict):
                words = [[ids[word] for word in row[1 : n + 1]] for row in rows]
            else:
                words = [[ids(row[1], number)] for number, row in enumerate(rows, start=block.start)]
        except ValueError as error:
            raise lines.error(f"expected numbers around the words of the {n}-grams above: {error}") from error
        except KeyError as error:
            raise lines.error(f"a {n}-gram above holds {error}, which is not among the words") from error
        parts.append((np.array(words, np.int32), _checked(lines, n, np.array(numbers))))
    all_words, all_numbers = (np.concatenate(column) for column in zip(*parts, strict=True))
    return all_words, all_numbers[:, 0], all_numbers[:, 1]


def _checked(lines: _Lines, n: int, numbers: Floats) -> Floats:
    """Return log-probabilities and back-offs, ``(m, 2)``, that can be."""
    if np.isnan(numbers).any() or (np.abs(numbers) >= MAX_NUMBER).any():
        raise lines.error(f"a {n}-gram above has a number that is not between -{MAX_NUMBER:g} and {MAX_NUMBER:g}")
    if (numbers[:, 0] > 0).any():
        raise lines.error(f"a {n}-gram above has a log-probability of {numbers[:, 0].max():g}, expected 0 or less")
    return numbers.astype(np.float32)


def _bad_row(lines: _Lines, n: int, row: list[str]) -> LanguageModelError:
    return lines.error(
        f"expected a number, {n} word{'s' if n > 1 else ''} and a back-off or nothing in every line of this section, "
        f"found {' '.join(row)[:60]!r}"
    )
