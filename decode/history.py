"""The token sequences of a search, which share their beginnings."""

import numpy as np

from decode.transitions import Ints


class History:
    """The tree of all hypotheses ever kept: each node is a token behind a parent node; node 0 is the root."""

    def __init__(self) -> None:
        self._nodes = np.zeros((2, 1024), dtype=np.int64)
        self._size = 1

    def clear(self) -> None:
        self._size = 1

    def append(self, parents: Ints, tokens: Ints) -> Ints:
        """Add a node for each parent and token; return the new nodes."""
        start, end = self._size, self._size + len(parents)
        if end > self._nodes.shape[1]:
            self._nodes = np.concatenate((self._nodes, np.zeros((2, end), np.int64)), axis=1)
        self._nodes[0, start:end], self._nodes[1, start:end] = parents, tokens
        self._size = end
        return np.arange(start, end)

    def tokens(self, node: int) -> tuple[int, ...]:
        """Return the tokens from the root to a node."""
        found = []
        while node:
            found.append(int(self._nodes[1, node]))
            node = int(self._nodes[0, node])
        return tuple(reversed(found))
