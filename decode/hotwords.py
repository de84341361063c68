"""Hotwords: words and phrases that the search is to prefer (or, with a negative weight, to avoid).

Every occurrence of a phrase in the finished text adds its weight, once; phrases may overlap. An automaton over letters
(Aho and Corasick, 1975) is walked token by token, so it does not matter how a phrase is cut into tokens. A phrase that
is under way counts in part already, by the share of its letters, and the share is taken back when it breaks off. The
first letter earns nothing: so many words begin like it that better hypotheses would be pushed out of the beam.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import isfinite

import numpy as np

from decode.lexicon import marked
from decode.transitions import Floats, Ints, Transitions
from decode.words import WORD_START, split_words

DEFAULT_WEIGHT = 5.0
"""Natural log-score of a phrase for which no weight is given."""

MAX_ABS_WEIGHT = 1000.0


def read_hotwords(lines: Iterable[str], default_weight: float = DEFAULT_WEIGHT) -> dict[str, float]:
    """Read phrases, one a line, each perhaps followed by a tab and its weight.

    Empty lines are passed over; of a phrase that occurs twice the last line counts. White space within a phrase is
    made single spaces; case and spelling are left as they are.

    Raises:
        ValueError: a weight that is no number, not finite or beyond +-1000, or a line without a phrase.

    >>> read_hotwords(["silero", "", "new  york", "silero\\t8.5"])
    {'silero': 8.5, 'new york': 5.0}
    """
    hotwords = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip("\ufeff \t\r\n"):
            continue
        first, *weights = line.removeprefix("\ufeff").rstrip().split("\t")
        phrase = " ".join(first.split())
        if not phrase or len(weights) > 1:
            raise ValueError(
                f"line {number}: expected a phrase, and perhaps a tab and a weight, found {line.strip()!r}"
            )
        hotwords[phrase] = _weight(weights[0], f"line {number}: ") if weights else default_weight
    return hotwords


class HotwordScorer:
    """Scores the occurrences of phrases; one search at a time may use it.

    Args:
        hotwords: weight (natural log-score) of each phrase, spelled as the transcripts are.
        pieces: the sentencepiece piece of every token, in order.

    Raises:
        ValueError: a weight that is not finite or beyond +-1000, a phrase without letters, or one with a character
            that no piece has.
    """

    def __init__(self, hotwords: Mapping[str, float], pieces: Sequence[str]) -> None:
        self._letters = [marked(piece) for piece in pieces]
        known = set("".join(self._letters)) | {WORD_START}
        self._automaton = _Automaton()
        for phrase, weight in hotwords.items():
            letters = "".join(f"{WORD_START}{word}" for word in split_words(phrase)) + WORD_START
            _check_phrase(phrase, letters, known)
            self._automaton.add(letters, _weight(weight, f"hotword {phrase!r}: "))
        self._automaton.finish()
        self._nodes: Transitions[int] = Transitions(len(pieces))

    def start(self) -> int:
        """Return the state at the start of an utterance."""
        return self._nodes.number(self._automaton.walk(0, WORD_START)[0])

    def gains(self, states: Ints, tokens: Ints) -> Floats:
        """Return what each token `(m,)` adds after each state `(m,)`."""
        return self._nodes.look_up(states, tokens, self._walk)[1]

    def advance(self, states: Ints, tokens: Ints) -> Ints:
        """Return the states `(m,)` after tokens."""
        return self._nodes.look_up(states, tokens, self._walk)[0]

    def ends(self, states: Ints) -> Floats:
        """Return what ending in each state `(m,)` adds: the phrase that ends here, less what was given in advance."""
        nodes = [self._nodes.keys[state] for state in states.tolist()]
        return np.array([self._automaton.walk(node, WORD_START)[1] - self._automaton.shares[node] for node in nodes])

    def tidy(self, states: Ints) -> Ints:
        """Forget what is remembered, if it is much, but for some states `(m,)`; return these states' numbers."""
        return self._nodes.tidied(states)

    def _walk(self, node: int, token: int) -> tuple[int, float]:
        after, gain = self._automaton.walk(node, self._letters[token])
        return after, gain + self._automaton.shares[after] - self._automaton.shares[node]


class _Automaton:
    """The phrases' letters as a tree with links to the longest suffix that is in it too; node 0 is the root.

    Attributes:
        shares: by node, how much of a weight a phrase under way has earned: the best of all that are.
    """

    def __init__(self) -> None:
        self._next: dict[tuple[int, str], int] = {}
        self._ends_word = [False]
        self._weights = [0.0]
        self._links = [0]
        self.shares = [0.0]

    def add(self, letters: str, weight: float) -> None:
        """Add a phrase, from its opening mark to the mark behind it."""
        node, n_letters = 0, len(letters) - 2
        n_free = min(1, n_letters - 1)
        for depth, letter in enumerate(letters):
            after = self._next.setdefault((node, letter), len(self._links))
            if after == len(self._links):
                self._ends_word.append(letter == WORD_START)
                self._weights.append(0.0)
                self._links.append(0)
                self.shares.append(0.0)
            node = after
            if n_free < depth <= n_letters:
                self.shares[node] = max(self.shares[node], weight * (depth - n_free) / (n_letters - n_free))
        self._weights[node] += weight

    def finish(self) -> None:
        """Link every node, nearest to the root first; then a node has the weights of all phrases that end in it."""
        depths = {0: 0}
        for (parent, _), node in self._next.items():  # parents were added before their children
            depths[node] = depths[parent] + 1
        for (parent, letter), node in sorted(self._next.items(), key=lambda item: depths[item[1]]):
            link = self._step(self._links[parent], letter) if parent else 0
            self._links[node] = link
            self._weights[node] += self._weights[link]
            self.shares[node] = max(self.shares[node], self.shares[link])

    def walk(self, node: int, letters: str) -> tuple[int, float]:
        """Return the node after some letters, and the weights of the phrases that end on the way."""
        gain = 0.0
        for letter in letters:
            if letter == WORD_START and self._ends_word[node]:
                continue  # one mark between words, however many come
            node = self._step(node, letter)
            gain += self._weights[node]
        return node, gain

    def _step(self, node: int, letter: str) -> int:
        while (node, letter) not in self._next:
            if not node:
                return 0
            node = self._links[node]
        return self._next[node, letter]


def _check_phrase(phrase: str, letters: str, known: set[str]) -> None:
    if not letters.strip(WORD_START):
        raise ValueError(f"expected a hotword with letters, got {phrase!r}: remove it")
    unknown = sorted(set(letters) - known)
    if unknown:
        raise ValueError(
            f"hotword {phrase!r}: the model has no token with {', '.join(map(repr, unknown))}: "
            "write it as the model's transcripts are written (lower case, numbers in words)"
        )


def _weight(value: str | float, where: str) -> float:
    try:
        weight = float(value)
    except ValueError:
        raise ValueError(f"{where}expected a number as weight, got {value!r}") from None
    if not isfinite(weight) or abs(weight) > MAX_ABS_WEIGHT:
        raise ValueError(f"{where}expected a weight within +-{MAX_ABS_WEIGHT:g}, got {value}")
    return weight
