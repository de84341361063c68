"""What went wrong: which words and tokens are taken for which, which are lost, where the errors lie, keywords."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from decode.calibration import Bin, calibration_error, reliability
from silero_like.evaluation.edits import align, format_rate
from silero_like.evaluation.scoring import Row

N_BINS = 5
FACTORS: dict[str, Callable[[Row], float | None]] = {
    "duration (s)": lambda row: row.item.duration_s,
    "words a second": lambda row: len(row.reference) / row.item.duration_s if row.item.duration_s else None,
    "SNR estimate (dB)": lambda row: row.item.snr_db,
    "confidence": lambda row: row.item.confidence,
}


@dataclass(frozen=True)
class Lost:
    """A word of the references that was replaced or left out."""

    word: str
    n_lost: int
    n_said: int


@dataclass(frozen=True)
class Group:
    """The utterances whose factor lies from `low` to `high`."""

    low: float
    high: float
    utterances: int
    wer: float | None


@dataclass(frozen=True)
class Keyword:
    """How often a word or phrase was said, was recognised, and both in one utterance."""

    phrase: str
    n_said: int
    n_recognised: int
    n_both: int

    @property
    def recall(self) -> float | None:
        """Share of what was said that was recognised; None when it was never said."""
        return self.n_both / self.n_said if self.n_said else None

    @property
    def precision(self) -> float | None:
        """Share of what was recognised that was said; None when it was never recognised."""
        return self.n_both / self.n_recognised if self.n_recognised else None

    @property
    def f1(self) -> float | None:
        """Harmonic mean of the two; None when it was neither said nor recognised."""
        both = self.n_said + self.n_recognised
        return 2 * self.n_both / both if both else None


@dataclass(frozen=True, kw_only=True)
class Breakdown:
    """The errors of an evaluation, most frequent first."""

    substitutions: list[tuple[tuple[str, str], int]]
    """((said, recognised), count) of words."""
    insertions: list[tuple[str, int]]
    """(word, count)."""
    lost: list[Lost]
    confusions: list[tuple[tuple[str, str], int]]
    """((said, recognised), count) of tokens; "" stands for none."""
    factors: dict[str, list[Group]]
    """Error rate by duration, speaking rate, SNR and confidence; factors that are not known are left out."""
    worst: list[Row]
    """Utterances by WER, then by errors."""
    keywords: list[Keyword]
    calibration: list[Bin]
    """Words by confidence, and how many of them are right; empty where the recogniser gives no confidences."""


def break_down(
    rows: Sequence[Row],
    *,
    n_most: int = 20,
    tokens: Callable[[str], Sequence[str]] = list,
    keywords: Sequence[tuple[str, ...]] = (),
) -> Breakdown:
    """Count what was taken for what.

    Args:
        rows: every utterance of an evaluation.
        n_most: how long each list is at most.
        tokens: splits a text into what confusions are counted in: characters, or a tokenizer's pieces.
        keywords: normalised words of each keyword or phrase.
    """
    said, lost = Counter(word for row in rows for word in row.reference), Counter[str]()
    pairs, insertions, confusions = Counter[tuple[str, str]](), Counter[str](), Counter[tuple[str, str]]()
    for row in rows:
        if not row.chars.errors:
            continue
        for word, heard in align_words(row.reference, row.hypothesis):
            if not word:
                insertions[heard] += 1
            elif word != heard:
                lost[word] += 1
                pairs[word, heard] += 1
        spoken, recognised = (tokens(" ".join(words)) for words in (row.reference, row.hypothesis))
        confusions.update(pair for pair in align(spoken, recognised) if pair[0] != pair[1])
    return Breakdown(
        substitutions=[(pair, n) for pair, n in pairs.most_common() if pair[1]][:n_most],
        insertions=insertions.most_common(n_most),
        lost=[Lost(word, n, said[word]) for word, n in lost.most_common(n_most)],
        confusions=confusions.most_common(n_most),
        factors={name: bins for name, factor in FACTORS.items() if (bins := bin_errors(rows, factor))},
        worst=sorted((row for row in rows if row.words.errors), key=_badness, reverse=True)[:n_most],
        keywords=find_keywords(rows, keywords),
        calibration=reliability(*judge_words(rows)),
    )


def judge_words(rows: Sequence[Row]) -> tuple[list[float], list[bool]]:
    """Return the confidence of every word recognised, and whether it was said; without words that the rules changed."""
    confidences: list[float] = []
    is_right: list[bool] = []
    for row in rows:
        if len(row.hypothesis) == len(row.item.word_confidences):
            confidences += row.item.word_confidences
            is_right += [word == heard for word, heard in align_words(row.reference, row.hypothesis) if heard]
    return confidences, is_right


def align_words(reference: Sequence[str], hypothesis: Sequence[str]) -> list[tuple[str, str]]:
    """Align words by the fewest edits; of equal alignments, pair words with the same first and last letters.

    >>> align_words("the cat sat".split(), "the cut sat sat".split())
    [('the', 'the'), ('cat', 'cut'), ('', 'sat'), ('sat', 'sat')]
    """
    pairs: list[tuple[str, str]] = []
    for is_same, group in groupby(align(reference, hypothesis), key=lambda pair: pair[0] == pair[1]):
        run = list(group)
        said, heard = [word for word, _ in run if word], [word for _, word in run if word]
        if is_same:
            pairs += run
        elif len(said) <= len(heard):
            pairs += _pair_alike(said, heard)
        else:
            pairs += [(word, other) for other, word in _pair_alike(heard, said)]
    return pairs


def bin_errors(rows: Sequence[Row], factor: Callable[[Row], float | None]) -> list[Group]:
    """Split the utterances into up to five groups of about equal size by a factor, and give each its WER."""
    known = sorted(((value, row) for row in rows if (value := factor(row)) is not None), key=lambda pair: pair[0])
    bins = []
    for part in np.array_split(np.arange(len(known)), min(N_BINS, len(known)) or 1):
        members = [known[index] for index in part]
        if members:
            errors, n_words = (sum(getattr(row.words, key) for _, row in members) for key in ("errors", "length"))
            bins.append(Group(members[0][0], members[-1][0], len(members), errors / n_words if n_words else None))
    return bins


def find_keywords(rows: Sequence[Row], keywords: Sequence[tuple[str, ...]]) -> list[Keyword]:
    """Count keywords and phrases; what was said and recognised within one utterance is a hit, wherever it stands."""
    result = []
    for keyword in keywords:
        counts = [(occurrences(row.reference, keyword), occurrences(row.hypothesis, keyword)) for row in rows]
        said, recognised = (sum(column) for column in zip(*counts, strict=True)) if counts else (0, 0)
        result.append(Keyword(" ".join(keyword), said, recognised, sum(min(pair) for pair in counts)))
    return result


def format_breakdown(breakdown: Breakdown) -> str:
    """Render it as text for a terminal; rates are fractions."""
    return "\n\n".join("\n".join(part) for part in _parts(breakdown) if len(part) > 1)


def format_keywords(keywords: Sequence[Keyword]) -> list[str]:
    """Render a table of keywords, a line each and the sum of all."""
    total = Keyword("all", *(sum(getattr(k, key) for k in keywords) for key in ("n_said", "n_recognised", "n_both")))
    lines = [f"{'keyword':24} {'said':>5} {'heard':>5} {'recall':>7} {'precision':>9} {'F1':>7}"]
    for keyword in [*keywords, total]:
        rates = (f"{format_rate(keyword.recall):>7} {format_rate(keyword.precision):>9} {format_rate(keyword.f1):>7}",)
        lines.append(f"{keyword.phrase:24} {keyword.n_said:5} {keyword.n_recognised:5} {rates[0]}")
    return lines


def _pair_alike(few: Sequence[str], many: Sequence[str]) -> list[tuple[str, str]]:
    """Give each of `few` words one of `many`, in order, so that most ends agree; the rest stands alone."""
    spare = len(many) - len(few)
    best: list[list[tuple[int, list[int]]]] = [[(0, [])] * (spare + 1)]  # [words placed][words of `many` left alone]
    for index, word in enumerate(few):
        row: list[tuple[int, list[int]]] = []
        for n_alone in range(spare + 1):
            ends, places = best[-1][n_alone]
            other = many[index + n_alone]
            placed = (ends + (word[0] == other[0]) + (word[-1] == other[-1]), [*places, index + n_alone])
            row.append(max([*row[-1:], placed], key=lambda found: found[0]))
        best.append(row)
    words = dict(zip(best[-1][-1][1], few, strict=True))
    return [(words.get(place, ""), other) for place, other in enumerate(many)]


def _parts(breakdown: Breakdown) -> Iterator[list[str]]:
    yield ["most frequent substitutions", *(f"{n:6} {_arrow(pair)}" for pair, n in breakdown.substitutions)]
    yield ["words most often lost", *(f"{word.n_lost:6} of {word.n_said}  {word.word}" for word in breakdown.lost)]
    yield ["words most often made up", *(f"{n:6} {word}" for word, n in breakdown.insertions)]
    yield ["confusions by token", *(f"{n:6} {_arrow(pair)}" for pair, n in breakdown.confusions)]
    for name, bins in breakdown.factors.items():
        yield [
            f"WER by {name}",
            *(f"  {b.low:8.2f} - {b.high:8.2f} {b.utterances:6} {format_rate(b.wer)}" for b in bins),
        ]
    error = f"expected calibration error {calibration_error(breakdown.calibration):.3f}"
    lines = (f"  {c.low:8.2f} - {c.high:8.2f} {c.n_words:6} {c.accuracy:.3f}" for c in breakdown.calibration)
    yield [f"right words by confidence, {error}", *lines]
    yield ["worst utterances", *(_utterance(row) for row in breakdown.worst)]
    yield format_keywords(breakdown.keywords) if breakdown.keywords else []


def _arrow(pair: tuple[str, str]) -> str:
    return f"{pair[0] or '(nothing)'} -> {pair[1] or '(nothing)'}"


def _utterance(row: Row) -> str:
    texts = (" ".join(words) for words in (row.reference, row.hypothesis))
    return "\n    ".join([f"  {format_rate(row.words.rate)} {row.item.utterance_id}", *texts])


def _badness(row: Row) -> tuple[float, int, str]:
    return (row.words.rate or 0.0, row.words.errors, row.item.utterance_id)


def occurrences(words: Sequence[str], phrase: tuple[str, ...]) -> int:
    """Count the places at which a phrase stands."""
    return sum(tuple(words[start : start + len(phrase)]) == phrase for start in range(len(words) - len(phrase) + 1))
