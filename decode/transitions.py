"""Automata over tokens whose states are found as a search meets them, and looked up for many hypotheses at once."""

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Key = TypeVar("Key", bound=Hashable)
Number = TypeVar("Number", bound=np.generic)

MAX_CELLS = 1 << 22  # (state, token) pairs remembered before the table is emptied: 67 MB
UNSEEN = 0


class Transitions(Generic[Key]):
    """What each token does in each state: a table that is filled one cell at a time, when it is first asked for.

    What finds a cell is given anew with every look-up: a table that held a method of its owner would, with it, stay in
    memory until the garbage collector looks for cycles, and the language model too.

    Args:
        n_tokens: width of the table.

    Attributes:
        keys: what each state stands for, by number.
    """

    def __init__(self, n_tokens: int) -> None:
        self._n_tokens = n_tokens
        self._next: Ints
        self._gains: Floats
        self.clear()

    def number(self, key: Key) -> int:
        """Return the number of a state."""
        state = self._numbers.setdefault(key, len(self.keys))
        if state == len(self.keys):
            self.keys.append(key)
            if state == len(self._next):
                self._next, self._gains = doubled(self._next), doubled(self._gains)
        return state

    def look_up(self, states: Ints, tokens: Ints, find: Callable[[Key, int], tuple[Key, float]]) -> tuple[Ints, Floats]:
        """Return the next states and the gains `(m,)` of tokens `(m,)` in states `(m,)`.

        Args:
            states: numbers.
            tokens: of each state.
            find: returns the key of the next state and the gain, given a state's key and a token; always the same.
        """
        after = self._next[states, tokens]
        if not after.all():
            unseen = np.flatnonzero(after == UNSEEN)
            for state, token in set(zip(states[unseen].tolist(), tokens[unseen].tolist(), strict=True)):
                key, gain = find(self.keys[state], token)
                number = self.number(key)  # may make the tables longer: before they are written to
                self._next[state, token], self._gains[state, token] = number + 1, gain
            after = self._next[states, tokens]
        return after - 1, self._gains[states, tokens]

    @property
    def is_full(self) -> bool:
        """Whether the table had better be emptied."""
        return len(self.keys) * self._n_tokens > MAX_CELLS

    def tidied(self, states: Ints) -> Ints:
        """Empty the table if it is full; return the new numbers of some states `(m,)`."""
        if not self.is_full:
            return states
        keys = [self.keys[state] for state in states.tolist()]
        self.clear()
        return np.array([self.number(key) for key in keys], dtype=np.int64)

    def clear(self) -> None:
        """Forget all states."""
        self._numbers: dict[Key, int] = {}
        self.keys: list[Key] = []
        shape = MAX_CELLS // self._n_tokens + 1, self._n_tokens  # memory that is not written to costs nothing
        self._next = np.zeros(shape, dtype=np.int64)  # one more than the number, so that 0 is UNSEEN
        self._gains = np.zeros(shape)


def doubled(array: npt.NDArray[Number]) -> npt.NDArray[Number]:
    """Return an array twice as long, the new half zero."""
    longer = np.zeros((2 * len(array), *array.shape[1:]), array.dtype)
    longer[: len(array)] = array
    return longer
