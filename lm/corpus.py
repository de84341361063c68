"""Text for language models: read, normalised, and laid down as word ids in a temporary file.

The ids take 4 bytes a word on disk. In memory are the vocabulary (about 150 bytes a word) and, when repeated lines are
dropped, about 100 bytes for each different line.
"""

import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from data.manifest import Utterance, read_manifest
from data.text import get_normalizer
from decode.words import HAN_CHARACTER, split_words
from lm.files import DAMAGED_GZIP, open_text
from lm.model import BOS, EOS, MAX_WORDS, SPECIAL_WORDS, Ints, LanguageModelError, blocks

LINES_A_BLOCK = 10_000

Tell = Callable[[str], None]
"""Called with a message."""

Progress = Callable[[str, int, int], None]
"""Called with (what is done, how much of it, out of how much; 0 when that is not known)."""


def no_progress(what: str, done: int, total: int) -> None:
    """Show nothing."""


@dataclass(frozen=True)
class Corpus:
    """Text as word ids."""

    words: list[str]
    """By id, in the order of their first occurrence; the first three are ``SPECIAL_WORDS``."""
    tokens: Ints
    """int32 ``(T,)``, on disk: ``BOS``, the words of a line, ``EOS``, line after line."""
    counts: Ints
    """int64 ``(V,)``: how often each word occurs."""
    n_lines: int
    """Lines that have a word, repeated ones left out if asked for."""
    n_repeated: int
    """Repeated lines that were left out."""

    @property
    def n_words(self) -> int:
        """Running words, without the sentence marks."""
        return len(self.tokens) - 2 * self.n_lines


def read_corpus(texts: Iterable[str], *, drop_repeated: bool = False, progress: Progress = no_progress) -> Corpus:
    """Turn normalised lines into word ids; Chinese characters are words of their own, empty lines are passed over.

    Args:
        texts: normalised lines, one sentence each.
        drop_repeated: count each different line once.
        progress: called after each block of lines.

    Raises:
        LanguageModelError: no word in the whole text, or more than 16 million different ones.
    """
    ids = _Ids(SPECIAL_WORDS)
    n_lines = n_repeated = 0
    seen: set[str] = set()
    lines = iter(texts)
    with tempfile.TemporaryFile() as file:
        while block := list(islice(lines, LINES_A_BLOCK)):
            kept = [line for line in block if line]
            if drop_repeated:
                fresh = list(dict.fromkeys(line for line in kept if line not in seen))
                seen.update(fresh)
                n_repeated += len(kept) - len(fresh)
                kept = fresh
            n_lines += len(kept)
            np.fromiter(map(ids.__getitem__, _split(kept)), np.int32).tofile(file)
            progress("reading lines", n_lines, 0)
        if not n_lines:
            raise LanguageModelError("the text holds no word: check the input, and that --lang is its language")
        if len(ids) > MAX_WORDS:
            raise LanguageModelError(f"{len(ids)} different words, at most {MAX_WORDS} fit: is this text normalised?")
        tokens = np.memmap(file, np.int32, "r")
    counts = np.zeros(len(ids), np.int64)
    for block_slice in blocks(len(tokens)):
        counts += np.bincount(tokens[block_slice], minlength=len(ids))
    return Corpus(list(ids), tokens, counts, n_lines, n_repeated)


def corpus_text(corpus: Corpus) -> Iterator[str]:
    """Yield the text of a corpus, a line for each of its lines, in pieces of about a million words."""
    words = np.array(["", "", "\n", *corpus.words[3:]], object)
    for block in blocks(len(corpus.tokens)):
        tokens = corpus.tokens[block]
        yield " ".join(words[tokens[tokens != BOS]]) + " "


def normalized_texts(paths: Iterable[Path], lang: str, tell: Tell, tell_left_out: Tell | None = None) -> Iterator[str]:
    """Yield the normalised lines of texts (plain, .gz, or "-" for standard input) and manifests (.jsonl).

    Args:
        paths: the inputs.
        lang: a language code or normaliser.
        tell: called with each bad row of a manifest.
        tell_left_out: called with how many rows of a manifest are of another language; `tell` when None.

    Raises:
        LanguageModelError: a text that is not UTF-8 or a damaged .gz file.
    """
    normalizer = get_normalizer(lang)
    for path in paths:
        if path.suffix == ".jsonl":
            yield from (normalizer(row.text) for row in manifest_rows(path, normalizer.name, tell, tell_left_out))
        else:
            n_lines = 0
            with open_text(path) as file:
                try:
                    for line in file:
                        yield normalizer(line)
                        n_lines += 1
                except UnicodeDecodeError as error:
                    raise LanguageModelError(
                        f"{path}: expected UTF-8 text, found other bytes in line {n_lines + 1} or a little later: "
                        "convert it (iconv -f WINDOWS-1252 -t UTF-8, say)"
                    ) from error
                except DAMAGED_GZIP as error:
                    raise LanguageModelError(
                        f"{path}: a damaged or truncated .gz file ({error}): get it again"
                    ) from error


def texts_by_domain(
    paths: Iterable[Path], lang: str, tell: Tell, tell_left_out: Tell | None = None
) -> dict[str, list[str]]:
    """Return normalised lines, without empty ones: of manifests by domain, of texts by the file's name.

    Arguments and errors are those of `normalized_texts`.
    """
    normalizer = get_normalizer(lang)
    texts: dict[str, list[str]] = {}
    for path in paths:
        if path.suffix == ".jsonl":
            for row in manifest_rows(path, normalizer.name, tell, tell_left_out):
                texts.setdefault(row.domain, []).append(normalizer(row.text))
        else:
            texts.setdefault(path.name.split(".")[0], []).extend(normalized_texts([path], lang, tell, tell_left_out))
    return {name: [line for line in lines if line] for name, lines in texts.items()}


def manifest_rows(path: Path, lang: str, tell: Tell, tell_left_out: Tell | None = None) -> list[Utterance]:
    """Return a manifest's rows of a language; the rest of the arguments is as in `normalized_texts`."""
    manifest = read_manifest(path, check_audio=False)
    for problem in manifest.problems:
        tell(problem)
    rows = [row for row in manifest.utterances if row.lang in ("", lang)]
    if n_other := len(manifest.utterances) - len(rows):
        (tell_left_out or tell)(f"{path}: {n_other} rows are not in {lang} and were left out")
    return rows


class _Ids(dict[str, int]):
    """Word -> id; a new word gets the next one."""

    def __init__(self, words: Iterable[str]) -> None:
        super().__init__((word, number) for number, word in enumerate(words))

    def __missing__(self, word: str) -> int:
        self[word] = number = len(self)
        return number


def _split(lines: list[str]) -> list[str]:
    """Return the words of lines with sentence marks around each line."""
    text = "".join([f"{SPECIAL_WORDS[BOS]} {line} {SPECIAL_WORDS[EOS]} " for line in lines])
    return split_words(text) if HAN_CHARACTER.search(text) else text.split()
