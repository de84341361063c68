"""The token sequences of a search, which share their beginnings."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from itertools import count

import numpy as np

from decode.transitions import Floats, Ints

PARENT, TOKEN, FRAME = range(3)  # rows of History._nodes

Part = tuple[int, int]  # a node, and one above it whose tokens and all above are left out
Entry = tuple[float, int, float, int, tuple[Part, ...]]  # loss, number, log-prob, node, and what follows its tokens


@dataclass(frozen=True)
class Settled:
    """Tokens that no hypothesis lacks any more.

    Attributes:
        token_ids: int64 `(m,)`, which follow those that were settled before.
        first_frames: int64 `(m,)`, ascending: the frame in which each was tried, before which no path had it.
        until: the frame before which no hypothesis tried any other token.
    """

    token_ids: Ints
    first_frames: Ints
    until: int


class History:
    """The tree of all hypotheses: each node is a token, tried in some frame, behind a parent node; node 0 is the root.

    Attributes:
        settled: the tokens that were settled, from the beginning to the root.
    """

    def __init__(self) -> None:
        self._nodes = np.zeros((3, 1024), dtype=np.int64)
        self.clear()

    def clear(self) -> None:
        """Forget all but the root."""
        self._size = 1
        self._recombined: list[tuple[Ints, Ints, Floats, Floats]] = []
        self.settled: tuple[int, ...] = ()

    def append(self, parents: Ints, tokens: Ints, frame: int) -> Ints:
        """Add a node for each parent and token; return the new nodes."""
        start, end = self._size, self._size + len(parents)
        if end > self._nodes.shape[1]:
            self._nodes = np.concatenate((self._nodes, np.zeros((3, end), np.int64)), axis=1)
        self._nodes[PARENT, start:end], self._nodes[TOKEN, start:end] = parents, tokens
        self._nodes[FRAME, start:end] = frame
        self._size = end
        return np.arange(start, end)

    def settle(self, nodes: Ints, frame: int) -> tuple[Settled, Ints]:
        """Keep nothing but the ways from the root to some nodes `(m,)`, and settle the tokens that these ways share.

        Args:
            nodes: of all hypotheses.
            frame: the next frame.

        Returns:
            What was settled, and the new numbers of the nodes.
        """
        kept, is_end = self._ways(nodes), np.zeros(self._size, dtype=np.bool_)
        is_end[nodes] = True
        n_children = np.bincount(self._nodes[PARENT, kept[1:]], minlength=self._size)
        root = int(np.argmax(is_end[kept] | (n_children[kept] != 1)))  # a parent has a lower number than its children
        shared, kept = kept[1 : root + 1], kept[root:]
        until = min([frame, *self._nodes[FRAME, kept[1:]].tolist()])
        settled = Settled(self._nodes[TOKEN, shared], self._nodes[FRAME, shared], until)
        self.settled += tuple(settled.token_ids.tolist())
        numbers = np.zeros(self._size, dtype=np.int64)
        numbers[kept] = np.arange(len(kept))
        self._nodes[:, : len(kept)] = self._nodes[:, kept]
        self._nodes[PARENT, : len(kept)] = numbers[self._nodes[PARENT, : len(kept)]]
        self._size, self._recombined = len(kept), []
        return settled, numbers[nodes]

    def _ways(self, nodes: Ints) -> Ints:
        """Return some nodes and all above them, ascending."""
        is_kept = np.zeros(self._size, dtype=np.bool_)
        is_kept[0] = True
        while len(nodes):
            is_kept[nodes] = True
            nodes = np.unique(self._nodes[PARENT, nodes])
            nodes = nodes[~is_kept[nodes]]
        return np.flatnonzero(is_kept)

    def recombine(self, kept: Ints, lost: Ints, scores: Floats, log_probs: Floats) -> None:
        """Note that nodes `(m,)` stand for others, too, whose scores and log-probs were lower by so much."""
        self._recombined.append((kept, lost, scores, log_probs))

    def tokens(self, node: int, above: int = 0) -> tuple[int, ...]:
        """Return the tokens from the root, or from behind a node ``above``, to a node."""
        found = []
        while node != above:
            found.append(int(self._nodes[TOKEN, node]))
            node = int(self._nodes[PARENT, node])
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
                yield self.settled + tokens, -loss, log_prob
            others = self._others() if others is None else others
            above = node
            while above:
                for other, lost, lost_log_prob in others.get(above, ()):
                    parts = ((node, above), *rest)
                    heappush(heap, (loss + lost, next(number), log_prob - lost_log_prob, other, parts))
                above = int(self._nodes[PARENT, above])

    def _others(self) -> dict[int, list[tuple[int, float, float]]]:
        """Return, by node, what it stands for, too: node, score and log-prob lost."""
        others = defaultdict(list)
        for arrays in self._recombined:
            for kept, *other in zip(*(array.tolist() for array in arrays), strict=True):
                others[kept].append(tuple(other))
        return others
