"""The token sequences of a search, which share their beginnings."""

from collections import defaultdict
from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from itertools import count

import numpy as np

from decode.transitions import Floats, Ints

Part = tuple[int, int]  # a node, and one above it whose tokens and all above are left out
Entry = tuple[float, int, float, int, tuple[Part, ...]]  # loss, number, log-prob, node, and what follows its tokens


class History:
    """The tree of all hypotheses ever kept: each node is a token behind a parent node; node 0 is the root."""

    def __init__(self) -> None:
        self._nodes = np.zeros((2, 1024), dtype=np.int64)
        self.clear()

    def clear(self) -> None:
        """Forget all but the root."""
        self._size = 1
        self._recombined: list[tuple[Ints, Ints, Floats, Floats]] = []

    def append(self, parents: Ints, tokens: Ints) -> Ints:
        """Add a node for each parent and token; return the new nodes."""
        start, end = self._size, self._size + len(parents)
        if end > self._nodes.shape[1]:
            self._nodes = np.concatenate((self._nodes, np.zeros((2, end), np.int64)), axis=1)
        self._nodes[0, start:end], self._nodes[1, start:end] = parents, tokens
        self._size = end
        return np.arange(start, end)

    def recombine(self, kept: Ints, lost: Ints, scores: Floats, log_probs: Floats) -> None:
        """Note that nodes `(m,)` stand for others, too, whose scores and log-probs were lower by so much."""
        self._recombined.append((kept, lost, scores, log_probs))

    def tokens(self, node: int, above: int = 0) -> tuple[int, ...]:
        """Return the tokens from the root, or from behind a node ``above``, to a node."""
        found = []
        while node != above:
            found.append(int(self._nodes[1, node]))
            node = int(self._nodes[0, node])
        return tuple(reversed(found))

    def paths(self, nodes: Ints, scores: Floats, log_probs: Floats) -> Iterator[tuple[tuple[int, ...], float, float]]:
        """Yield different token sequences with score and log-prob, best first.

        They are those of some nodes `(m,)`, and those in which what was recombined takes the place of what it was
        recombined with, at any node on the way.

        Args:
            nodes: `(m,)`, of finished hypotheses.
            scores: `(m,)`.
            log_probs: `(m,)`.
        """
        others: dict[int, list[tuple[int, float, float]]] | None = None
        number = count()  # of equals the first one comes first
        heap: list[Entry] = [
            (-score, next(number), log_prob, node, ())
            for node, score, log_prob in zip(nodes.tolist(), scores.tolist(), log_probs.tolist(), strict=True)
        ]
        heapify(heap)
        seen = set()
        while heap:
            loss, _, log_prob, node, rest = heappop(heap)
            tokens = self.tokens(node) + tuple(token for part in rest for token in self.tokens(*part))
            if tokens not in seen:
                seen.add(tokens)
                yield tokens, -loss, log_prob
            others = self._others() if others is None else others
            above = node
            while above:
                for other, lost, lost_log_prob in others.get(above, ()):
                    parts = ((node, above), *rest)
                    heappush(heap, (loss + lost, next(number), log_prob - lost_log_prob, other, parts))
                above = int(self._nodes[0, above])

    def _others(self) -> dict[int, list[tuple[int, float, float]]]:
        """Return, by node, what it stands for, too: node, score and log-prob lost."""
        others = defaultdict(list)
        for arrays in self._recombined:
            for kept, *other in zip(*(array.tolist() for array in arrays), strict=True):
                others[kept].append(tuple(other))
        return others
