"""Words, with their times and confidence, from aligned tokens."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import exp

from decode.align import Alignment

WORD_START = "\u2581"  # "▁", sentencepiece's mark for a space
HAN = "\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"  # with 々 and 〇
HAN_CHARACTER = re.compile(f"[{HAN}]")
TEXT_WORD = re.compile(rf"[{HAN}]|[^\s{HAN}]+")
PIECE_PART = re.compile(f"{WORD_START}?(?:[{HAN}]|[^{WORD_START}{HAN}]+)|{WORD_START}")

SPANS_AT_ONCE = 4096


@dataclass(frozen=True, slots=True)  # ten hours have a hundred thousand
class Word:
    """One word of a transcript: where it was said, in seconds, and how sure the model is of it, in [0, 1]."""

    word: str
    start: float
    end: float
    confidence: float


@dataclass(frozen=True)
class _Part:
    """A piece, or one character of a piece of several Chinese characters; times in frames."""

    text: str
    start: float
    end: float
    log_prob: float


def split_words(text: str) -> list[str]:
    """Split at white space, and make every Chinese (Han) character a word of its own.

    >>> split_words("see you  明天 ok吗")
    ['see', 'you', '明', '天', 'ok', '吗']
    """
    return TEXT_WORD.findall(text)


def group_words(pieces: Sequence[str], alignment: Alignment, frame_s: float, offset_s: float = 0.0) -> list[Word]:
    """Join aligned pieces into words.

    A word starts with the first frame of its first token and ends with the last frame of its last token, so words
    follow one another without overlap. CTC marks a token with a spike, often a single frame: the times are as fine as
    ``frame_s``, and a word of one token can look much shorter than it was said. A piece of several Chinese
    characters is shared out evenly among them.

    The confidence is the geometric mean of the word's token posteriors, a token's posterior being the geometric mean
    over its frames. It orders words by certainty; `decode.calibration` makes a probability of it.

    Args:
        pieces: the L sentencepiece pieces of the aligned tokens, "▁" marking the start of a word.
        alignment: of the same L tokens.
        frame_s: seconds a frame of ``log_probs``.
        offset_s: seconds added to every time.

    Raises:
        ValueError: the numbers of pieces and of aligned tokens differ.

    >>> import numpy as np
    >>> alignment = Alignment((5, 9), np.array([1, 3]), np.array([2, 5]), np.array([-0.5, 0.0], np.float32))
    >>> [(word.word, word.start, word.end) for word in group_words(["▁he", "llo"], alignment, frame_s=0.5)]
    [('hello', 0.5, 2.5)]
    """
    if len(pieces) != len(alignment.token_ids):
        raise ValueError(
            f"expected one piece for each of {len(alignment.token_ids)} aligned tokens, got {len(pieces)}: "
            "look up alignment.token_ids in the tokenizer's pieces"
        )
    return list(each_word(pieces, alignment, frame_s, offset_s))


def each_word(pieces: Iterable[str], alignment: Alignment, frame_s: float, offset_s: float = 0.0) -> Iterator[Word]:
    """Yield what `group_words` returns, one by one: the tokens of ten hours as lists of numbers are large."""
    for group in _groups(_parts(pieces, alignment)):
        text = "".join(part.text for part in group).lstrip(WORD_START)
        if text:
            confidence = min(1.0, exp(sum(part.log_prob for part in group) / len(group)))
            start, end = group[0].start * frame_s, group[-1].end * frame_s
            yield Word(text, offset_s + start, offset_s + end, confidence)


def _parts(pieces: Iterable[str], alignment: Alignment) -> Iterator[_Part]:
    for piece, (start, end, log_prob) in zip(pieces, _spans(alignment), strict=True):
        texts = PIECE_PART.findall(piece)
        edges = [start + (end - start) * number / len(texts) for number in range(len(texts))] + [end]
        for text, (part_start, part_end) in zip(texts, pairwise(edges), strict=True):
            yield _Part(text, part_start, part_end, log_prob)


def _spans(alignment: Alignment) -> Iterator[tuple[int, int, float]]:
    """Yield start, end and log-probability of each token."""
    columns = (alignment.start_frames, alignment.end_frames, alignment.log_probs)
    for at in range(0, len(alignment.token_ids), SPANS_AT_ONCE):
        yield from zip(*(column[at : at + SPANS_AT_ONCE].tolist() for column in columns), strict=True)


def _groups(parts: Iterator[_Part]) -> Iterator[list[_Part]]:
    """Split parts where a word starts: at a mark, and before and after a Chinese character."""
    group: list[_Part] = []
    for part in parts:
        is_mark_only = all(other.text == WORD_START for other in group)
        is_han = HAN_CHARACTER.search(part.text) or (group and HAN_CHARACTER.search(group[-1].text))
        if group and (part.text.startswith(WORD_START) or (is_han and not is_mark_only)):
            yield group
            group = []
        group.append(part)
    if group:
        yield group
