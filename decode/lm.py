"""Language models in the beam search: n-grams over words, with a look into unfinished words, or over tokens.

What a finished text adds is, for every word, ``alpha * ln p(word | words before) + beta``, with ``unk_score`` more for
a word that the model does not know, and ``alpha * ln p(</s> | words before)`` at its end. A word is scored when the
next one starts. Until then it counts as the best word that begins like it (unigram smearing), and as an unknown word as
soon as there is none. A Chinese character is a word of its own.
"""

from collections.abc import Hashable, Iterable, Sequence
from typing import Protocol

import numpy as np

from decode.config import BeamConfig
from decode.lexicon import Lexicon, marked
from decode.transitions import Floats, Ints, Transitions, doubled
from decode.words import WORD_START

UNK, BOS, EOS = "<unk>", "<s>", "</s>"
MAX_STATES = 1 << 19  # remembered before all but the current ones are forgotten: some 100 MB
CONTINUES, STARTS, CHAINS = range(3)  # what a token does: go on with the word, start the next, or several such steps
EMPTY = 0  # number of the beginning without letters

Beginning = str | None
"""The letters of an unfinished word; None once no known word begins so."""


class Ngram(Protocol):
    """A back-off model over words. Its states are hashable and stand for the words before."""

    def begin(self) -> Hashable:
        """Return the state at the start of a sentence."""

    def empty(self) -> Hashable:
        """Return the state of no words before, to ask for unigrams."""

    def score(self, state: Hashable, word: str) -> tuple[float, Hashable]:
        """Return ln p(word | state), finite, and the state after it; "</s>" is a word, unknown ones are "<unk>"."""


def make_lexicon(ngram: Ngram, words: Iterable[str], extra: Iterable[str] = ()) -> Lexicon:
    """Look up the unigrams of a model's words.

    Args:
        ngram: the model.
        words: the words it knows.
        extra: words that are to count as known even so (hotwords); the model gives them what it gives ``<unk>``.
    """
    empty = ngram.empty()
    known = set(words).union(extra) - {UNK, BOS, EOS, ""}
    return Lexicon.of({word: ngram.score(empty, word)[0] for word in known})


class WordScorer:
    """Scores words with an n-gram model.

    Whatever was looked up is kept, so each pair of words before and unfinished word asks the model once. One search
    at a time may use it.

    Args:
        ngram: the model.
        lexicon: its words, and any others that are to count as known.
        pieces: the sentencepiece piece of every token, in order; the blank has none.
        config: for alpha, beta and unk_score.

    Raises:
        ValueError: no word can be written with the pieces.
    """

    def __init__(self, ngram: Ngram, lexicon: Lexicon, pieces: Sequence[str], config: BeamConfig) -> None:
        _check_overlap(lexicon.words, pieces)
        self._ngram, self._lexicon, self._config = ngram, lexicon, config
        self._unknown = config.alpha * ngram.score(ngram.empty(), UNK)[0] + config.unk_score
        self._parts = [tuple(marked(piece).split(WORD_START)) for piece in pieces]
        self._kinds = np.array([_kind(parts) for parts in self._parts])
        self._has_chains = CHAINS in self._kinds
        self._promises: dict[str, float] = {"": 0.0}  # of beginnings of known words
        self._words: Transitions[Beginning] = Transitions(len(pieces))
        self._forget()

    def start(self) -> int:
        """Return the state at the start of an utterance."""
        return self._state(self._ngram.begin(), "")

    def gains(self, states: Ints, tokens: Ints) -> Floats:
        """Return what each token `(m,)` adds after each state `(m,)`."""
        kinds = self._kinds[tokens]
        gains = self._extend_all(states, tokens, kinds)[1]
        starts = np.flatnonzero(kinds == STARTS)
        gains[starts] += self._finish(states[starts])
        for i, state, token in self._chained(kinds, states, tokens):
            gains[i] = self._chain(state, token)[0]
        return gains

    def advance(self, states: Ints, tokens: Ints) -> Ints:
        """Return the states `(m,)` after tokens."""
        kinds = self._kinds[tokens]
        contexts = np.where(kinds == STARTS, self._next_context[states], self._context[states])
        after = self._states(contexts, self._extend_all(states, tokens, kinds)[0])
        for i, state, token in self._chained(kinds, states, tokens):
            after[i] = self._chain(state, token)[1]
        return after

    def ends(self, states: Ints) -> Floats:
        """Return what ending in each state `(m,)` adds: the last word, and the end of the sentence."""
        finished = self._finish(states)
        before = [self._ngram_states[context] for context in self._next_context[states].tolist()]
        return finished + self._config.alpha * np.array([self._ngram.score(state, EOS)[0] for state in before])

    def tidy(self, states: Ints) -> Ints:
        """Forget what is remembered, if it is much, but for some states `(m,)`; return these states' numbers."""
        if len(self._state_of) < MAX_STATES and not self._words.is_full:
            return states
        keys = [
            (self._ngram_states[self._context[state]], self._words.keys[self._beginning[state]]) for state in states
        ]
        self._forget()
        return np.array([self._state(*key) for key in keys], dtype=np.int64)

    def _forget(self) -> None:
        self._words.clear()
        self._words.number("")  # gets EMPTY
        self._contexts: dict[Hashable, int] = {}  # numbers of the n-gram model's states
        self._ngram_states: list[Hashable] = []
        self._chains: dict[tuple[int, int], tuple[float, int]] = {}
        # A state is a context and the beginning of a word.
        self._state_of: dict[int, int] = {}
        self._context, self._beginning, self._next_context = np.zeros((3, 1024), dtype=np.int64)
        self._finished = np.zeros(1024)  # what finishing its word adds; valid where the next context is not -1

    def _key(self, state: int) -> tuple[Hashable, Beginning]:
        return self._ngram_states[self._context[state]], self._words.keys[self._beginning[state]]

    def _state(self, ngram_state: Hashable, beginning: Beginning) -> int:
        context, word = np.array([self._context_of(ngram_state)]), np.array([self._words.number(beginning)])
        return int(self._states(context, word)[0])

    def _states(self, contexts: Ints, beginnings: Ints) -> Ints:
        """Return the states of contexts and beginnings `(m,)`."""
        numbers, n_before = self._state_of, len(self._state_of)
        keys = contexts << 32 | beginnings
        states = np.array([numbers.setdefault(key, len(numbers)) for key in keys.tolist()], dtype=np.int64)
        while len(numbers) > len(self._finished):
            self._context, self._beginning = doubled(self._context), doubled(self._beginning)
            self._next_context, self._finished = doubled(self._next_context), doubled(self._finished)
        new = states >= n_before
        self._context[states[new]], self._beginning[states[new]] = contexts[new], beginnings[new]
        self._next_context[states[new]] = -1
        return states

    def _context_of(self, ngram_state: Hashable) -> int:
        number = self._contexts.setdefault(ngram_state, len(self._ngram_states))
        if number == len(self._ngram_states):
            self._ngram_states.append(ngram_state)
        return number

    def _finish(self, states: Ints) -> Floats:
        """Return what finishing the word of each state `(m,)` adds to what its beginning promised."""
        for state in set(states[self._next_context[states] < 0].tolist()):
            ngram_state, word = self._key(state)
            if word == "":
                self._next_context[state], self._finished[state] = self._context[state], 0.0
                continue
            is_known = word is not None and word in self._lexicon
            log_prob, after = self._ngram.score(ngram_state, word if is_known and word else UNK)
            score = self._config.alpha * log_prob + self._config.beta + (0.0 if is_known else self._config.unk_score)
            self._next_context[state], self._finished[state] = self._context_of(after), score - self._promise(word)
        return self._finished[states]

    def _promise(self, beginning: Beginning) -> float:
        """Return the score of the best word that begins so."""
        return self._unknown if beginning is None else self._promises[beginning]

    def _extend(self, beginning: Beginning, letters: str) -> Beginning:
        if beginning is None:
            return None
        longer = beginning + letters
        if longer not in self._promises:
            log_prob = self._lexicon.best(longer)
            if log_prob is None:
                return None
            self._promises[longer] = self._config.alpha * log_prob
        return longer

    def _extend_all(self, states: Ints, tokens: Ints, kinds: Ints) -> tuple[Ints, Floats]:
        # What a start of a word is, and promises, does not depend on the word before: all share the place of EMPTY.
        beginnings = np.where(kinds == STARTS, EMPTY, self._beginning[states])
        return self._words.look_up(beginnings, tokens, self._extend_by_token)

    def _extend_by_token(self, beginning: Beginning, token: int) -> tuple[Beginning, float]:
        parts = self._parts[token]
        if len(parts) == 1:
            after = self._extend(beginning, parts[0])
            return after, self._promise(after) - self._promise(beginning)
        after = self._extend("", parts[-1])
        return after, self._promise(after)

    def _chained(self, kinds: Ints, states: Ints, tokens: Ints) -> Iterable[tuple[int, int, int]]:
        """Return (index, state, token) of the tokens that are more than the start or the rest of a word."""
        if not self._has_chains:
            return ()
        found = np.flatnonzero(kinds == CHAINS)
        return zip(found.tolist(), states[found].tolist(), tokens[found].tolist(), strict=True)

    def _chain(self, state: int, token: int) -> tuple[float, int]:
        """Return the gain of a token that finishes words inside it, and the state after it."""
        if (state, token) not in self._chains:
            first, *rest = self._parts[token]
            ngram_state, before = self._key(state)
            beginning = self._extend(before, first)
            gain = self._promise(beginning) - self._promise(before)
            after = self._state(ngram_state, beginning)
            for part in rest:
                gain += float(self._finish(np.array([after]))[0])
                beginning = self._extend("", part)
                gain += self._promise(beginning)
                after = self._state(self._ngram_states[self._next_context[after]], beginning)
            self._chains[state, token] = gain, after
        return self._chains[state, token]


class TokenScorer:
    """Scores tokens with an n-gram model whose words are sentencepiece pieces; beta counts tokens.

    Args:
        ngram: the model.
        words: the words it knows.
        pieces: the piece of every token, in order.
        config: for alpha, beta, and unk_score, added for a piece that the model does not know.

    Raises:
        ValueError: the model knows none of the pieces.
    """

    def __init__(self, ngram: Ngram, words: Iterable[str], pieces: Sequence[str], config: BeamConfig) -> None:
        known = set(words)
        if known.isdisjoint(pieces):
            raise ValueError(
                "expected a language model over the tokens, got one that knows none of the pieces "
                f"({_some(pieces)}): build it from text split into these pieces"
            )
        self._ngram, self._config = ngram, config
        self._pieces = [piece if piece in known else UNK for piece in pieces]
        self._tokens: Transitions[Hashable] = Transitions(len(pieces))

    def start(self) -> int:
        """Return the state at the start of an utterance."""
        return self._tokens.number(self._ngram.begin())

    def gains(self, states: Ints, tokens: Ints) -> Floats:
        """Return what each token `(m,)` adds after each state `(m,)`."""
        return self._tokens.look_up(states, tokens, self._score)[1]

    def advance(self, states: Ints, tokens: Ints) -> Ints:
        """Return the states `(m,)` after tokens."""
        return self._tokens.look_up(states, tokens, self._score)[0]

    def ends(self, states: Ints) -> Floats:
        """Return what the end of the sentence adds in each state `(m,)`."""
        log_probs = [self._ngram.score(self._tokens.keys[state], EOS)[0] for state in states.tolist()]
        return self._config.alpha * np.array(log_probs)

    def tidy(self, states: Ints) -> Ints:
        """Forget what is remembered, if it is much, but for some states `(m,)`; return these states' numbers."""
        return self._tokens.tidied(states)

    def _score(self, ngram_state: Hashable, token: int) -> tuple[Hashable, float]:
        piece = self._pieces[token]
        log_prob, after = self._ngram.score(ngram_state, piece)
        unk_score = self._config.unk_score if piece == UNK else 0.0
        return after, self._config.alpha * log_prob + self._config.beta + unk_score


def _kind(parts: Sequence[str]) -> int:
    if len(parts) == 1:
        return CONTINUES
    return STARTS if len(parts) == 2 and not parts[0] else CHAINS


def _check_overlap(words: Sequence[str], pieces: Sequence[str]) -> None:
    letters = set("".join(pieces))
    if not any(letters.issuperset(word) for word in words):
        raise ValueError(
            f"expected a language model of words that the tokens can spell, got {_some(words)} for pieces like "
            f"{_some(pieces)}: normalise the model's text as the transcripts were (case, script)"
        )


def _some(texts: Sequence[str]) -> str:
    return ", ".join(repr(text) for text in texts[1:6]) or "nothing"
