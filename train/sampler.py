"""Which utterances are learned from next: a pure function of seed, position, shares and what the curriculum admits.

Training data is drawn in rounds of about `round_batches` steps. A round draws utterances one by one: the domain by its
share, the utterance as the next admitted one of the domain's current pass. A pass is a random permutation of a domain,
so nothing is drawn twice before the domain has been gone through. The draws of a round are then cut into batches of
similar length, and the batches are dealt to the ranks; every rank plans the same round and keeps its own part, so no
process needs to talk to another, and a run that resumes plans the same round again.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from silero_like.errors import ConfigError
from silero_like.model.config import SAMPLE_RATE
from train.shapes import padded_samples


@dataclass(frozen=True)
class Draw:
    """One utterance of a batch and how fast it is played."""

    index: int
    speed: float


@dataclass(frozen=True)
class Position:
    """Where the sampler stands: everything that a round depends on besides its arguments."""

    round: int
    """Rounds drawn so far."""
    passes: tuple[int, ...]
    """For each domain, in sorted order: passes begun before the current one."""
    offsets: tuple[int, ...]
    """For each domain: how far its current pass has been gone through."""


def domain_shares(
    n_utterances: Mapping[str, int], weights: Mapping[str, float], temperature: float | None
) -> dict[str, float]:
    """Return the probability that a draw comes from each domain.

    Without explicit weights the share is proportional to n ** (1 / temperature): None, the limit, draws all domains
    equally, 1 draws as the data lies (Arivazhagan et al., 2019, section 3.1, for the temperature).

    Raises:
        ConfigError: weights that name other domains than there are, or that are not positive.

    >>> domain_shares({"calls": 300, "talks": 100}, {}, 1.0)
    {'calls': 0.75, 'talks': 0.25}
    """
    if not weights:
        weights = {name: 1.0 if temperature is None else n ** (1 / temperature) for name, n in n_utterances.items()}
    for name in sorted(n_utterances.keys() ^ weights.keys()):
        problem = "names no weight for" if name in n_utterances else "names unknown"
        known = ", ".join(sorted(n_utterances))
        raise ConfigError(f"sampling.weights {problem} domain {name!r}: the domains are {known}")
    total = sum(weights.values())
    return {name: weights[name] / total for name in sorted(n_utterances)}


class DomainSampler:
    """Draws rounds of batches from domains."""

    def __init__(
        self,
        durations_s: npt.NDArray[np.float64],
        domains: Sequence[str],
        *,
        batch_s: float,
        round_batches: int,
        speeds: Sequence[float],
        seed: int,
        world_size: int = 1,
    ) -> None:
        """Prepare.

        Args:
            durations_s: `(n,)` seconds of each utterance.
            domains: `(n,)` its domain.
            batch_s: bound on batch size x longest utterance with its padding, in seconds after the speed change.
            round_batches: about how many batches a rank gets in a round.
            speeds: factors drawn with equal probability.
        """
        self.durations_s, self.batch_s, self.seed, self.world_size = durations_s, batch_s, seed, world_size
        self.round_s = round_batches * batch_s * world_size
        self.speeds = np.asarray(speeds, np.float64)
        self.names = sorted(set(domains))
        labels = np.asarray(domains)
        self.members = [np.flatnonzero(labels == name) for name in self.names]
        self._orders: dict[int, tuple[int, npt.NDArray[np.int64]]] = {}

    def start(self) -> Position:
        """Return the position before the first round."""
        return Position(0, (0,) * len(self.names), (0,) * len(self.names))

    def plan(
        self, position: Position, shares: Mapping[str, float], admitted: npt.NDArray[np.bool_]
    ) -> tuple[list[list[list[Draw]]], Position]:
        """Draw a round.

        Args:
            position: where the sampler stands.
            shares: probability of each domain.
            admitted: `(n,)` whether an utterance may be drawn; at least one in every domain.

        Returns:
            the batches of each rank, equally many, and the position after the round.
        """
        generator = np.random.default_rng((self.seed, position.round))
        draws, position = self._draw(position, shares, admitted, generator)
        played_s = {draw: self.durations_s[draw.index] / draw.speed for draw in draws}
        batches = list(self._cut(sorted(draws, key=lambda draw: played_s[draw]), played_s))
        self._even(batches)
        order = generator.permutation(len(batches))
        usable = len(batches) - len(batches) % self.world_size
        ranks = [[batches[i] for i in order[rank : usable : self.world_size]] for rank in range(self.world_size)]
        return ranks, replace(position, round=position.round + 1)

    def _draw(
        self,
        position: Position,
        shares: Mapping[str, float],
        admitted: npt.NDArray[np.bool_],
        generator: np.random.Generator,
    ) -> tuple[list[Draw], Position]:
        """Draw utterances until the round holds enough audio."""
        passes, offsets = list(position.passes), list(position.offsets)
        cumulative = np.cumsum([shares[name] for name in self.names])
        draws: list[Draw] = []
        total_s = 0.0
        while total_s < self.round_s:
            domain = int(np.searchsorted(cumulative, generator.random() * cumulative[-1], side="right"))
            order = self._order(domain, passes[domain])
            while offsets[domain] < len(order) and not admitted[order[offsets[domain]]]:
                offsets[domain] += 1
            if offsets[domain] == len(order):  # a new pass, from its own beginning; this draw is repeated
                passes[domain], offsets[domain] = passes[domain] + 1, 0
                continue
            draw = Draw(int(order[offsets[domain]]), float(self.speeds[generator.integers(len(self.speeds))]))
            offsets[domain] += 1
            draws.append(draw)
            total_s += float(self.durations_s[draw.index]) / draw.speed
        return draws, replace(position, passes=tuple(passes), offsets=tuple(offsets))

    def _order(self, domain: int, number: int) -> npt.NDArray[np.int64]:
        """Return pass `number` of a domain as utterance indices."""
        known, order = self._orders.get(domain, (-1, np.zeros(0, np.int64)))
        if known != number:
            generator = np.random.default_rng((self.seed, 1, domain, number))
            order = generator.permutation(self.members[domain])
            self._orders[domain] = number, order
        return order

    def _cut(self, draws: Sequence[Draw], played_s: Mapping[Draw, float]) -> Iterator[list[Draw]]:
        """Cut draws sorted by length into batches within the budget; one that is too long is a batch of its own."""
        batch: list[Draw] = []
        for draw in draws:
            length_s = padded_samples(round(played_s[draw] * SAMPLE_RATE)) / SAMPLE_RATE
            if batch and length_s * (len(batch) + 1) > self.batch_s:
                yield batch
                batch = []
            batch.append(draw)
        if batch:
            yield batch

    def _even(self, batches: list[list[Draw]]) -> None:
        """Halve the fullest batches until every rank gets equally many."""
        while len(batches) % self.world_size and max(map(len, batches)) > 1:
            fullest = max(range(len(batches)), key=lambda i: len(batches[i]))
            batch = batches[fullest]
            middle = math.ceil(len(batch) / 2)
            batches[fullest : fullest + 1] = [batch[:middle], batch[middle:]]
