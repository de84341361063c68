"""Error rates of each domain: how often a recogniser is wrong, and how sure of that the figure is.

Rules, the same in training, `evaluate` and the model card:

* Both texts pass through one normaliser first; its name is stored with the rates.
* A word is what stands between white space, and every Chinese character is a word of its own.
* CER counts code points, the single spaces between words included (as jiwer and NeMo do). Mandarin is written without
  spaces, so there they are left out, and CER equals WER as long as no Latin words or numbers are mixed in.
* Rates are errors over reference length, both summed over utterances first; they may exceed 1. An utterance with an
  empty reference adds its insertions and no length. Where the summed length is 0 the rate is undefined: ``None``
  (``null`` in JSON), and the macro average and the worst domain leave that domain out.
* Empty counts the utterances in which nothing was recognised although something was said. The balance is
  (insertions - deletions) / (insertions + deletions) in words: -1 where words are only lost, 1 where they are only
  made up, ``None`` where neither happens.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import fsum
from typing import Any

import numpy as np

from decode.words import split_words
from silero_like.errors import SileroLikeError
from silero_like.evaluation.edits import Counts, edit_counts
from silero_like.evaluation.table import format_table
from silero_like.evaluation.uncertainty import Blocks, all_by, make_blocks, rate_interval

__all__ = ["Counts", "Evaluation", "Row", "Score", "Scored", "edit_counts", "evaluate", "format_table"]

LANGS_WITHOUT_SPACES = frozenset({"zh"})
WORD_COLUMNS, CHAR_COLUMNS = (8, 3), (9, 7)
"""Errors and length in what `_columns` gives for an utterance."""


@dataclass(frozen=True, kw_only=True)
class Scored:
    """One utterance with what was said and what was recognised, both as they came, not normalised."""

    utterance_id: str
    domain: str
    speaker: str
    """Empty when unknown."""
    duration_s: float
    reference: str
    hypothesis: str
    confidence: float | None = None
    """The recogniser's own, in [0, 1]; None when it gives none."""
    word_confidences: tuple[float, ...] = ()
    """Of each word of the hypothesis; empty when it gives none."""
    snr_db: float | None = None
    """Estimated signal-to-noise ratio; None when the audio was not looked at."""
    bandwidth_hz: float | None = None
    """Highest frequency that carries something; None when the audio was not looked at."""


@dataclass(frozen=True)
class Row:
    """One utterance with its counts and the normalised words that they count."""

    item: Scored
    reference: tuple[str, ...]
    hypothesis: tuple[str, ...]
    words: Counts
    chars: Counts

    @property
    def is_empty(self) -> bool:
        """Nothing was recognised although something was said."""
        return bool(self.reference) and not self.hypothesis


@dataclass(frozen=True, kw_only=True)
class Score:
    """The sums over a set of utterances."""

    utterances: int
    audio_s: float
    words: Counts
    chars: Counts
    wer_ci95: tuple[float, float] | None
    """95 % bootstrap interval of the WER; None when there is nothing to resample."""
    cer_ci95: tuple[float, float] | None
    """The same of the CER."""
    ci95_by: str
    """What was resampled: "speaker" or "utterance"."""
    speakers: int
    """Speakers with a name."""
    empty: int
    """Utterances in which nothing was recognised although something was said."""

    @property
    def balance(self) -> float | None:
        """Insertions less deletions, over both together; None when there are neither."""
        both = self.words.insertions + self.words.deletions
        return (self.words.insertions - self.words.deletions) / both if both else None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields of one domain in the evaluation JSON; the edits are those of the words."""
        return {
            "utterances": self.utterances,
            "audio_s": self.audio_s,
            "words": self.words.length,
            "chars": self.chars.length,
            "wer": self.words.rate,
            "cer": self.chars.rate,
            "wer_ci95": list(self.wer_ci95) if self.wer_ci95 else None,
            "substitutions": self.words.substitutions,
            "insertions": self.words.insertions,
            "deletions": self.words.deletions,
            "empty": self.empty,
            "empty_rate": self.empty / self.utterances,
            "balance": self.balance,
            "cer_ci95": list(self.cer_ci95) if self.cer_ci95 else None,
            "ci95_by": self.ci95_by,
            "speakers": self.speakers,
        }


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """How well one model with one decoder does, domain by domain; domains are sorted by name."""

    model: str
    normalizer: str
    decoder: str
    domains: Mapping[str, Score]
    micro: Score
    """All utterances together."""
    macro_ci95: Mapping[str, tuple[float, float] | None]
    """95 % intervals of the macro averages, "wer" and "cer"."""
    audio_s_per_core_s: float | None
    """Seconds of audio recognised in a second by one core; None when it was not measured."""
    rows: tuple[Row, ...]
    """Every utterance, in the order given."""

    @property
    def macro(self) -> dict[str, float | None]:
        """The plain means of the domains' WER and CER: each domain counts alike, however small."""
        return {
            "wer": _mean(score.words.rate for score in self.domains.values()),
            "cer": _mean(score.chars.rate for score in self.domains.values()),
        }

    @property
    def worst(self) -> str | None:
        """The domain with the highest CER; of equals the first by name."""
        rates = {name: score.chars.rate for name, score in self.domains.items()}
        return max((name for name in rates if rates[name] is not None), key=lambda name: rates[name] or 0, default=None)

    def to_dict(self) -> dict[str, Any]:
        """Return the evaluation JSON: rates are fractions; `micro` has the fields of a domain."""
        worst = self.worst
        score = self.domains[worst] if worst is not None else None
        return {
            "model": self.model,
            "normalizer": self.normalizer,
            "decoder": self.decoder,
            "domains": {name: score.to_dict() for name, score in self.domains.items()},
            "macro": {**self.macro, **{f"{name}_ci95": ci95 and list(ci95) for name, ci95 in self.macro_ci95.items()}},
            "micro": self.micro.to_dict(),
            "worst": score and {"domain": worst, "wer": score.words.rate, "cer": score.chars.rate},
            "audio_s_per_core_s": self.audio_s_per_core_s,
        }


def evaluate(
    scored: Sequence[Scored],
    *,
    normalizer: Callable[[str], str],
    normalizer_name: str,
    lang: str,
    model: str,
    decoder: str,
    audio_s_per_core_s: float | None,
    seed: int = 0,
) -> Evaluation:
    """Score recognised utterances of one language, domain by domain; the rules stand at the top of this file.

    The intervals come from 1,000 bootstrap resamples, drawn with `seed` for each domain afresh, of whole speakers or of
    single utterances (uncertainty.py). That of all utterances resamples every domain by itself.

    Args:
        scored: in any order; the result does not depend on it, apart from the draws of the bootstrap.
        normalizer: applied to references and hypotheses.
        normalizer_name: its recorded name, such as "en-1".
        lang: "zh" leaves spaces out of the CER.

    Raises:
        SileroLikeError: there is no utterance.
    """
    if not scored:
        raise SileroLikeError("expected utterances to score, got none: check that the manifest is not empty")
    rows = [_count(item, normalizer, lang) for item in scored]
    domains: dict[str, list[Row]] = {name: [] for name in sorted({item.domain for item in scored})}
    for row in rows:
        domains[row.item.domain].append(row)
    blocks = {
        name: make_blocks([row.item.speaker for row in members], [_columns(row) for row in members])
        for name, members in domains.items()
    }
    return Evaluation(
        model=model,
        normalizer=normalizer_name,
        decoder=decoder,
        domains={name: _score(members, [blocks[name]], seed) for name, members in domains.items()},
        micro=_score(rows, list(blocks.values()), seed),
        macro_ci95={
            name: _interval(list(blocks.values()), columns, seed, alike=True)
            for name, columns in (("wer", WORD_COLUMNS), ("cer", CHAR_COLUMNS))
        },
        audio_s_per_core_s=audio_s_per_core_s,
        rows=tuple(rows),
    )


def _score(rows: Sequence[Row], blocks: Sequence[Blocks], seed: int) -> Score:
    """Sum the rows of one or more domains and estimate how sure the rates are, each domain resampled by itself."""
    sums = np.sum([part.sums.sum(axis=0) for part in blocks], axis=0).tolist()
    return Score(
        utterances=len(rows),
        audio_s=fsum(row.item.duration_s for row in rows),
        words=Counts(*sums[:4]),
        chars=Counts(*sums[4:8]),
        wer_ci95=_interval(blocks, WORD_COLUMNS, seed),
        cer_ci95=_interval(blocks, CHAR_COLUMNS, seed),
        ci95_by=all_by(blocks),
        speakers=len({row.item.speaker for row in rows} - {""}),
        empty=sum(row.is_empty for row in rows),
    )


def _columns(row: Row) -> tuple[int, ...]:
    return (*row.words, *row.chars, row.words.errors, row.chars.errors)


def _interval(
    parts: Sequence[Blocks], columns: tuple[int, int], seed: int, *, alike: bool = False
) -> tuple[float, float] | None:
    """Return the interval of the mean of all parts' rates, weighted by their lengths, or alike."""
    lengths = [float(part.sums[:, columns[1]].sum()) for part in parts]
    spoken = [(part, 1.0 if alike else length) for part, length in zip(parts, lengths, strict=True) if length]
    if not spoken:
        return None
    total = fsum(weight for _, weight in spoken)
    weights = [weight / total for _, weight in spoken]
    return rate_interval([part for part, _ in spoken], columns, np.random.default_rng(seed), weights)


def _count(item: Scored, normalizer: Callable[[str], str], lang: str) -> Row:
    reference, hypothesis = split_words(normalizer(item.reference)), split_words(normalizer(item.hypothesis))
    space = "" if lang in LANGS_WITHOUT_SPACES else " "
    return Row(
        item,
        tuple(reference),
        tuple(hypothesis),
        edit_counts(reference, hypothesis),
        edit_counts(space.join(reference), space.join(hypothesis)),
    )


def _mean(rates: Iterable[float | None]) -> float | None:
    known = [rate for rate in rates if rate is not None]
    return fsum(known) / len(known) if known else None
