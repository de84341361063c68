"""How well a model predicts a text: perplexity and the share of unknown words, scored by KenLM."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from decode.ngram import read_words, reading, unzipped
from decode.words import split_words
from lm.model import Floats, Ints, LanguageModelError


@dataclass(frozen=True)
class TextScore:
    """What a model makes of a text."""

    n_lines: int
    """Lines, each of which ends with a predicted </s>."""
    n_words: int
    """Running words."""
    n_unknown: int
    """Running words that the model does not know."""
    log_prob: float
    """Sum of the log10 probabilities of the known words and of the </s>."""

    @property
    def unknown_rate(self) -> float:
        """Share of running words that the model does not know, 0 to 1."""
        return self.n_unknown / self.n_words if self.n_words else 0.0

    @property
    def perplexity(self) -> float:
        """Perplexity of the known words and the </s>: unknown words are left out, as a model gives them too little."""
        return float(10.0 ** (-self.log_prob / max(1, self.n_words - self.n_unknown + self.n_lines)))


def load_kenlm(path: str | Path) -> Any:
    """Load an ARPA file, plain or .gz, or a KenLM binary with the `kenlm` module, without its messages.

    Raises:
        LanguageModelError: KenLM cannot read it.
    """
    import kenlm

    config = kenlm.Config()
    config.show_progress = False
    config.arpa_complain = kenlm.ARPALoadComplain.NONE
    with _as_errors_of_models(), reading(path), unzipped(Path(path)) as plain:
        return kenlm.Model(str(plain), config)


def check_kenlm(path: str | Path) -> None:
    """Look whether KenLM can load a model and whether its words can be read, as the beam search needs them.

    Raises:
        LanguageModelError: one of the two cannot be done.
    """
    load_kenlm(path)
    with _as_errors_of_models():
        read_words(path)


@contextmanager
def _as_errors_of_models() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise LanguageModelError(str(error)) from error


def token_scores(model: Any, lines: Iterable[str]) -> tuple[Floats, Ints]:
    """Return the log10 probability of each word and </s> of normalised lines, and whether the model knows it."""
    scores = [score for line in lines for score in model.full_scores(" ".join(split_words(line)))]
    log_probs = np.array([score[0] for score in scores], np.float64)
    return log_probs, np.array([not score[2] for score in scores], bool)


def context_scores(model: Any, lines: Iterable[str], order: int) -> Floats:
    """Return, for each word and </s> of normalised lines, the log10 probability of the ``order - 1`` words before it.

    The sentence's start counts as one of them and has 1; with an unknown word it is -inf.
    """
    import kenlm

    state, after = kenlm.State(), kenlm.State()
    scores: list[float] = []
    for line in lines:
        words = split_words(line)
        for end in range(len(words) + 1):
            start = end - order + 1
            model.BeginSentenceWrite(state) if start < 0 else model.NullContextWrite(state)
            total = 0.0
            for word in words[max(0, start) : end]:
                found = model.BaseFullScore(state, word, after)
                total += -np.inf if found.oov else found.log_prob
                state, after = after, state
            scores.append(total)
    return np.array(scores)


def score_text(model: Any, lines: Iterable[str]) -> TextScore:
    """Score normalised lines; empty ones are passed over."""
    filled = [line for line in lines if line]
    log_probs, known = token_scores(model, filled)
    n_words = len(known) - len(filled)
    return TextScore(len(filled), n_words, int((~known).sum()), float(log_probs[known].sum()))
