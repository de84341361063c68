"""A curriculum held at a target character error rate, domain by domain.

The difficulty of an utterance is a running CER of the greedy output of the training batch itself; before the first
measurement it is a guess from length and `quality`, behind all that is known. A domain admits a window of its
utterances, sorted by difficulty, and one number, its level, moves both ends of the window: from -1 (only the easiest)
over 0 (everything) to 1 (only the hardest). The level goes towards the one at which the remembered CERs of what is
admitted, corrected by how the newest measurements compare with the remembered ones, meet the target. See A. Veysov,
"Towards an ImageNet Moment for Speech-to-Text", The Gradient, 2020, for the idea of holding the training CER, and
Platanios et al., "Competence-based Curriculum Learning", 2019, for opening the window with time.

Two rules keep it from doing harm. A domain that has never reached its target must not train on its easiest part for
ever: its level rises to 0, the whole domain, by `open_by` of the run. And a small domain that is soon learned must not
take the place of those that are not: shares follow the power `focus` of how many times its target a domain's CER is,
down to `least_share` of what they were.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from train.config import CurriculumConfig

LEVELS = np.linspace(-1, 1, 201)
LARGEST_CORRECTION = 3.0  # of remembered CERs, up or down
SMOOTHING_CHARS = 3000.0  # the running CER of a domain is a mean over about this many characters
UTTERANCE_MEMORY = 0.4  # weight of the newest CER of an utterance, once it has been measured a few times
SUSPECT_CER, SUSPECT_COUNT, NEIGHBOURS = 0.7, 4, 30  # two texts of like length differ by a CER of about 0.8


@dataclass(frozen=True)
class Observation:
    """What a training batch showed of one utterance."""

    index: int
    errors: int
    """Character edits between reference and greedy output."""
    chars: int
    """Characters of the reference, at least 1."""
    hypothesis: str = ""

    @property
    def cer(self) -> float:
        """Errors over characters, at most 1."""
        return min(1.0, self.errors / self.chars)


@dataclass
class DomainState:
    """The controller of one domain."""

    target: float
    level: float = -1.0
    """-1 admits only the easiest utterances, 0 everything, 1 only the hardest."""
    errors: float = 0.0
    chars: float = 0.0
    """Decayed sums behind the running CER."""
    expected: float = 0.0
    """As `errors`, of what was remembered of the same utterances before they were drawn."""
    reached: bool = False
    """Whether the running CER was ever at the target."""

    @property
    def cer(self) -> float | None:
        """Running CER of what was drawn; None before anything was."""
        return self.errors / self.chars if self.chars else None

    @property
    def correction(self) -> float:
        """How many times what was remembered the newest measurements are."""
        if not self.expected:
            return 1.0
        return float(np.clip(self.errors / self.expected, 1 / LARGEST_CORRECTION, LARGEST_CORRECTION))

    def observe(self, errors: float, chars: float, expected: float) -> None:
        """Add the sums of a round."""
        keep = float(np.exp(-chars / SMOOTHING_CHARS))
        self.errors, self.chars = self.errors * keep + errors, self.chars * keep + chars
        self.expected = self.expected * keep + expected


@dataclass(frozen=True)
class Window:
    """What a domain admits, as quantiles of difficulty."""

    low: float
    high: float


@dataclass(frozen=True)
class Suspect:
    """An utterance that stays wrong while its neighbours are learned: its label may be wrong."""

    index: int
    cer: float
    neighbours_cer: float
    hypothesis: str


@dataclass
class Curriculum:
    """Difficulty of every utterance and a controller for every domain."""

    config: CurriculumConfig
    domains: Sequence[str]
    """`(n,)` domain of each utterance."""
    prior: npt.NDArray[np.float64]
    """`(n,)` guessed difficulty in [0, 1], from `prior_difficulty`."""
    cer: npt.NDArray[np.float32] = field(init=False)
    """`(n,)` running CER; meaningless where `count` is 0."""
    count: npt.NDArray[np.int32] = field(init=False)
    """`(n,)` measurements."""
    states: dict[str, DomainState] = field(init=False)
    hypotheses: dict[int, str] = field(default_factory=dict)
    """Last greedy output of the utterances whose CER is near 1."""

    def __post_init__(self) -> None:
        names = sorted(set(self.domains))
        self.cer, self.count = np.zeros(len(self.domains), np.float32), np.zeros(len(self.domains), np.int32)
        labels = np.asarray(self.domains)
        self._members = {name: np.flatnonzero(labels == name) for name in names}
        self.states = {name: DomainState(self.config.targets.get(name, self.config.target_cer)) for name in names}

    def observe(self, observations: Sequence[Observation], progress: float) -> None:
        """Learn from a round's measurements and move the windows.

        Args:
            observations: in an order that is the same on all ranks.
            progress: share of the run that has passed, in [0, 1].
        """
        sums = {name: np.zeros(3) for name in self.states}
        for item in observations:
            expected = self.cer[item.index] if self.count[item.index] else item.cer
            sums[self.domains[item.index]] += np.array([item.cer, 1, expected]) * item.chars
            weight = max(UTTERANCE_MEMORY, 1 / (1 + int(self.count[item.index])))
            self.cer[item.index] += weight * (item.cer - self.cer[item.index])
            self.count[item.index] += 1
            self._remember(item)
        for name, totals in sums.items():
            errors, chars, expected = totals.tolist()
            if chars:
                self.states[name].observe(errors, chars, expected)
                self._move(name, progress)

    def window(self, name: str, progress: float) -> Window:
        """Return what a domain admits now."""
        level = max(self.states[name].level, self._lowest(self.states[name], progress))
        low, high = self._ends(np.array(level))
        return Window(float(low), float(high))

    def admitted(self, progress: float) -> npt.NDArray[np.bool_]:
        """Return `(n,)`: whether an utterance may be drawn; at least one of every domain."""
        admitted = np.zeros(len(self.domains), np.bool_)
        difficulty = self.difficulty()
        for name, members in self._members.items():
            window = self.window(name, progress)
            order = members[np.argsort(difficulty[members], kind="stable")]
            low = min(int(window.low * len(order)), len(order) - 1)
            admitted[order[low : max(low + 1, round(window.high * len(order)))]] = True
        return admitted

    def shares(self, base: Mapping[str, float]) -> dict[str, float]:
        """Return the domains' shares, lowered for those that are nearer to their target than the furthest one."""
        interest = self.interest()
        lowered = {name: share * interest[name] for name, share in base.items()}
        total = sum(lowered.values())
        return {name: share / total for name, share in lowered.items()}

    def interest(self) -> dict[str, float]:
        """Return by how much each domain's share is lowered: 1 for the one whose CER is the most times its target."""
        ratios = {name: state.cer / state.target for name, state in self.states.items() if state.cer is not None}
        furthest = max(ratios.values(), default=0.0) or 1.0
        powers = {name: (ratio / furthest) ** self.config.focus for name, ratio in ratios.items()}
        return {name: max(self.config.least_share, powers.get(name, 1.0)) for name in self.states}

    def difficulty(self) -> npt.NDArray[np.float64]:
        """Return `(n,)`: running CER where known, else between 1 and 2 by the prior."""
        return np.where(self.count > 0, self.cer, 1 + self.prior)

    def suspects(self) -> list[Suspect]:
        """Return utterances that stay near 100 % CER while those of like difficulty a priori are learned."""
        found = []
        for members in self._members.values():
            known = members[self.count[members] >= SUSPECT_COUNT]
            order = known[np.argsort(self.prior[known], kind="stable")]
            for place, index in enumerate(order):
                if self.cer[index] < SUSPECT_CER or int(index) not in self.hypotheses:
                    continue
                near = order[max(0, place - NEIGHBOURS // 2) : place + NEIGHBOURS // 2 + 1]
                others = float(np.median(self.cer[near]))
                if len(near) > NEIGHBOURS // 2 and others < SUSPECT_CER / 2:
                    found.append(Suspect(int(index), float(self.cer[index]), others, self.hypotheses[int(index)]))
        return sorted(found, key=lambda suspect: suspect.neighbours_cer)

    def report(self, progress: float) -> dict[str, dict[str, float | bool | None]]:
        """Return, for each domain, what the log shows."""
        difficulty, admitted, interest = self.difficulty(), self.admitted(progress), self.interest()
        lines: dict[str, dict[str, float | bool | None]] = {}
        for name, state in self.states.items():
            window = self.window(name, progress)
            drawn = difficulty[self._members[name]][admitted[self._members[name]]]
            lines[name] = {
                "target": state.target,
                "cer": state.cer,
                "low": window.low,
                "high": window.high,
                "difficulty": float(np.minimum(drawn, 1.0).mean()),
                "reached": state.reached,
                "interest": interest[name],
            }
        return lines

    def state_dict(self) -> dict[str, str]:
        """Return the controllers and remembered outputs as JSON; `cer` and `count` travel as arrays."""
        states = {name: vars(state) for name, state in self.states.items()}
        return {"controllers": json.dumps(states), "hypotheses": json.dumps(self.hypotheses, ensure_ascii=False)}

    def load_state(self, saved: Mapping[str, str], cer: npt.NDArray[np.float32], count: npt.NDArray[np.int32]) -> None:
        """Put a saved state back; targets stay as the recipe says now."""
        self.cer, self.count = cer.copy(), count.copy()
        self.hypotheses = {int(index): text for index, text in json.loads(saved["hypotheses"]).items()}
        for name, values in json.loads(saved["controllers"]).items():
            if name in self.states:
                self.states[name] = DomainState(**{**values, "target": self.states[name].target})

    def _move(self, name: str, progress: float) -> None:
        """Take a part of the way to the level at which the target should be met."""
        state = self.states[name]
        assert state.cer is not None  # a round with characters came before
        state.reached = state.reached or state.cer <= state.target
        step = self.config.gain * (self._wanted(name, state) - state.level)
        state.level = max(state.level + step, self._lowest(state, progress))

    def _wanted(self, name: str, state: DomainState) -> float:
        """Return the first level whose utterances should have the target's CER on average; what is unknown has 1."""
        remembered = np.sort(np.minimum(self.difficulty()[self._members[name]], 1.0))
        sums = np.concatenate([[0.0], np.cumsum(remembered)])
        low, high = (np.round(end * len(remembered)).astype(np.int64) for end in self._ends(LEVELS))
        means = (sums[high] - sums[low]) / np.maximum(1, high - low)
        first = int(np.searchsorted(means * state.correction, state.target))
        return float(LEVELS[min(first, len(LEVELS) - 1)])

    def _ends(self, level: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return the lower and upper ends of the window at each level."""
        low = np.maximum(level, 0.0) * (1 - self.config.hardest)
        high = 1 + np.minimum(level, 0.0) * (1 - self.config.easiest)
        return low, high

    def _lowest(self, state: DomainState, progress: float) -> float:
        """Return the level below which a domain does not go: it opens with time until its target is reached."""
        return -1.0 if state.reached else min(0.0, progress / self.config.open_by - 1)

    def _remember(self, item: Observation) -> None:
        if self.cer[item.index] >= SUSPECT_CER and self.count[item.index] >= SUSPECT_COUNT:
            self.hypotheses[item.index] = item.hypothesis
        else:
            self.hypotheses.pop(item.index, None)


def prior_difficulty(
    durations_s: npt.NDArray[np.float64], domains: Sequence[str], quality: Sequence[float | None]
) -> npt.NDArray[np.float64]:
    """Guess the difficulty of utterances in [0, 1]: long ones and those of low quality are harder.

    Args:
        durations_s: `(n,)`.
        domains: `(n,)`; lengths and qualities are ranked within a domain.
        quality: `(n,)`, higher is better; None where the manifest says nothing.
    """
    prior = np.zeros(len(durations_s))
    labels = np.asarray(domains)
    given = np.array([np.nan if value is None else value for value in quality], np.float64)
    for name in sorted(set(domains)):
        members = np.flatnonzero(labels == name)
        prior[members] = _ranks(durations_s[members])
        rated = members[~np.isnan(given[members])]
        if len(rated):
            prior[rated] = (prior[rated] + 1 - _ranks(given[rated])) / 2
    return prior


def _ranks(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return each value's rank, scaled to [0, 1]; equal values share a rank."""
    ordered = np.sort(values)
    return np.searchsorted(ordered, values, side="left") / max(1, len(values) - 1)
