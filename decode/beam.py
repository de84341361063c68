"""CTC prefix beam search, vectorised over hypotheses and tokens.

The sum over all paths of Graves et al. (ICML 2006), searched as by Hannun et al. (2014): every hypothesis is a token
sequence with the probability of its paths that end in a blank and of those that end in its last token. Language models
and hotwords are scorers (`decode.lm`, `decode.hotwords`).

A frame costs a fixed number of NumPy calls. Frames that are blank almost surely are passed over: they only move
probability from the paths that end in a token to those that end in a blank.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from math import log

import numpy as np
import numpy.typing as npt

from decode.align import check_log_probs, check_normalised
from decode.config import BeamConfig
from decode.history import History, Settled
from decode.priors import check_log_priors, take_back
from decode.scorer import Scorer
from decode.transitions import Floats, Ints

INF = float("inf")
BLOCK_FRAMES = 256  # frames looked at together; scorers may tidy up between blocks
N_SCORED = 4  # times beam_width: so many extensions are scored; their rank before that lacks the last token's gain
HASH_FACTOR = -7046029254386353131  # odd; hashes of token sequences are polynomials in it modulo 2**64

LAST, HASH, PARENT, NODE, STATES = range(5)  # rows of BeamSearch._ids; from STATES on one row a scorer
BLANK, TOKEN, SCORE = range(3)  # rows of BeamSearch._scores: two log-probabilities, and what the scorers added


@dataclass(frozen=True)
class Hypothesis:
    """One result of the search."""

    token_ids: tuple[int, ...]
    """Its tokens, without blanks."""
    score: float
    """What hypotheses are ordered by: ``log_prob`` and the gains of all scorers."""
    log_prob: float
    """Natural log-probability of the tokens given the audio, without the priors' share if that is taken back: of all
    their paths that were not pruned. Where it was recombined with a better one, it has lost to that one what it had
    lost by then, an estimate."""


class BeamSearch:
    """A search that can be fed in parts: ``begin``, ``step`` for each part, ``end``.

    The parts' sizes do not change the result. A search may be used again and again; its scorers remember what they
    have looked up, so a later utterance is faster. Threads must not share one, nor its scorers.

    Args:
        n_labels: V.
        blank_id: index of the blank label.
        config: how to search.
        scorers: what adds to the scores; none is the plain acoustic model.

    Raises:
        ValueError: priors of another number of labels.
    """

    def __init__(
        self, n_labels: int, blank_id: int, config: BeamConfig | None = None, scorers: Sequence[Scorer] = ()
    ) -> None:
        self.config = config or BeamConfig()
        self.scorers = tuple(scorers)
        self.n_labels = n_labels
        self.blank_id = blank_id
        if self.config.prior_weight:
            check_log_priors(self.config.log_priors, n_labels)
        self._log_priors = np.array(self.config.log_priors)
        self._skip_log_prob = log(self.config.blank_skip)
        self._history = History()
        self._columns = np.full(n_labels + 1, -1)  # of each token in the frame's grid; the last place is no token's
        self.begin()

    def begin(self) -> None:
        """Forget what was fed."""
        states = [scorer.start() for scorer in self.scorers]
        self._ids = np.array([-1, 0, 0, 0, *states], dtype=np.int64)[:, None]
        self._scores = np.array([0.0, -INF, 0.0])[:, None]
        self._skipped: float | None = None  # log-probability of the blanks passed over since the last active frame
        self._frame = 0  # the next one
        self._history.clear()

    def step(self, log_probs: npt.NDArray[np.floating]) -> None:
        """Take the next frames.

        Args:
            log_probs: `(t, V)`, natural log-probabilities; -inf is allowed; t may be 0.

        Raises:
            ValueError: another shape, NaN, or rows that are no log-probabilities.
        """
        check_normalised(log_probs, self.n_labels, self.blank_id)
        for start in range(0, len(log_probs), BLOCK_FRAMES):
            self._step(self._scaled(log_probs[start : start + BLOCK_FRAMES].astype(np.float64)))

    def end(self, n_best: int = 1) -> list[Hypothesis]:
        """Return the best hypotheses of what was fed, best first; at least one, at most ``n_best``."""
        totals, log_probs = self._totals()
        best = np.argsort(-totals, kind="stable")[:n_best]
        paths = self._history.paths(self._ids[NODE, best], totals[best], log_probs[best])
        return [Hypothesis(*path) for path in islice(paths, n_best)]

    def partial(self) -> tuple[int, ...]:
        """Return the tokens of the hypothesis that is best so far."""
        ranks = np.logaddexp(self._scores[BLANK], self._scores[TOKEN]) + self._scores[SCORE]
        return self._history.settled + self._history.tokens(self._ids[NODE, ranks.argmax()])

    def settle(self, *, is_last: bool = False) -> Settled:
        """Return the tokens that became common to all hypotheses, and forget what had been possible in their place.

        The best result stays the same, to the last bit; what was recombined is not found by `end` any more. With
        `is_last` all hypotheses but the best one are dropped, and all its tokens settled.
        """
        if is_last:
            self._keep(np.array([self._totals()[0].argmax()]))
        settled, self._ids[NODE] = self._history.settle(self._ids[NODE], self._frame)
        return settled

    def _totals(self) -> tuple[Floats, Floats]:
        """Return the scores and log-probabilities of the hypotheses if this is the end."""
        log_probs = np.logaddexp(self._scores[BLANK], self._scores[TOKEN]) + (self._skipped or 0.0)
        totals = log_probs + self._scores[SCORE]
        for scorer, states in zip(self.scorers, self._ids[STATES:], strict=True):
            totals += scorer.ends(states)
        return totals, log_probs

    def _scaled(self, log_probs: Floats) -> Floats:
        weight = self.config.prior_weight
        return take_back(log_probs, self._log_priors, weight) if weight else log_probs

    def _step(self, log_probs: Floats) -> None:
        """Take a block of frames."""
        for scorer, states in zip(self.scorers, self._ids[STATES:], strict=True):
            states[:] = scorer.tidy(states)
        blanks = log_probs[:, self.blank_id].tolist()
        frames, tokens = np.nonzero(self._likely(log_probs))
        bounds = np.searchsorted(frames, np.arange(len(log_probs) + 1)).tolist()
        for frame, blank in enumerate(blanks):
            if blank > self._skip_log_prob:
                self._skipped = blank + (self._skipped or 0.0)
            else:
                self._pass_blanks()
                self._advance(log_probs[frame], tokens[bounds[frame] : bounds[frame + 1]])
            self._frame += 1

    def _likely(self, log_probs: Floats) -> npt.NDArray[np.bool_]:
        """Mark the tokens to try, `(t, V)`: the likely ones, and the best label where none is likely."""
        likely: npt.NDArray[np.bool_] = log_probs >= self.config.token_min_log_prob
        none = np.flatnonzero(~likely.any(axis=1))
        likely[none, log_probs[none].argmax(axis=1)] = True
        likely[:, self.blank_id] = False
        return likely

    def _pass_blanks(self) -> None:
        if self._skipped is not None:
            self._scores[BLANK] = np.logaddexp(self._scores[BLANK], self._scores[TOKEN]) + self._skipped
            self._scores[TOKEN] = -INF
            self._skipped = None

    def _advance(self, row: Floats, tokens: Ints) -> None:
        """Take one frame `(V,)` and try its ``tokens`` `(k,)`."""
        blank, token, score = self._scores
        total = np.logaddexp(blank, token)
        stay_blank = total + row[self.blank_id]
        stay_token = token + row[self._ids[LAST]]
        grid = total[:, None] + row[tokens]  # (n, k), each hypothesis extended by each token
        self._merge(grid, stay_token, row, tokens)
        stay = np.logaddexp(stay_blank, stay_token) + score
        parents, columns, ranks = self._candidates(grid, stay.max())
        tried = tokens[columns]
        gains = np.zeros(len(ranks))
        for scorer, states in zip(self.scorers, self._ids[STATES:], strict=True):
            gains += scorer.gains(states[parents], tried)
        kept = self._select(np.concatenate((stay, ranks + gains)))
        n_stay = int(np.searchsorted(kept, len(stay)))
        stayed, new = kept[:n_stay], kept[n_stay:] - len(stay)
        parents, tried, columns, gains = parents[new], tried[new], columns[new], gains[new]
        after = np.full((len(self._scores), len(kept)), -INF)
        after[BLANK, :n_stay], after[TOKEN, :n_stay] = stay_blank[stayed], stay_token[stayed]
        after[SCORE, :n_stay] = score[stayed]
        after[TOKEN, n_stay:], after[SCORE, n_stay:] = grid[parents, columns], score[parents] + gains
        self._scores = after
        self._ids = np.concatenate((self._ids[:, stayed], self._extended(parents, tried)), axis=1)
        if self.config.recombine:
            self._recombine()

    def _recombine(self) -> None:
        """Keep the best of those with the same last token and states: whatever follows, they gain the same."""
        keys = self._ids[LAST]
        for states in self._ids[STATES:]:
            keys = keys * HASH_FACTOR + states
        log_probs = np.logaddexp(self._scores[BLANK], self._scores[TOKEN])
        ranks = log_probs + self._scores[SCORE]
        order = np.lexsort((-ranks, keys))
        is_best = np.append(True, np.diff(keys[order]) != 0)
        if is_best.all():
            return
        lost, kept = order[~is_best], order[is_best][np.cumsum(is_best)[~is_best] - 1]
        nodes = self._ids[NODE]
        self._history.recombine(nodes[kept], nodes[lost], ranks[kept] - ranks[lost], log_probs[kept] - log_probs[lost])
        self._keep(np.sort(order[is_best]))

    def _keep(self, places: Ints) -> None:
        self._ids, self._scores = self._ids[:, places], self._scores[:, places]

    def _merge(self, grid: Floats, stay_token: Floats, row: Floats, tokens: Ints) -> None:
        """Repeat a token only after a blank; move what becomes a hypothesis that is there already to that one.

        Args:
            grid: `(n, k)`, log-probabilities of each hypothesis extended by each token; corrected in place.
            stay_token: `(n,)`, those of staying in the last token; added to in place.
        """
        self._columns[tokens] = np.arange(len(tokens))
        columns = self._columns[self._ids[LAST]]
        self._columns[tokens] = -1
        rows = np.flatnonzero(columns >= 0)  # hypotheses whose last token is tried
        columns = columns[rows]
        grid[rows, columns] = self._scores[BLANK, rows] + row[tokens[columns]]
        found, parents = np.nonzero(self._ids[PARENT, rows, None] == self._ids[HASH])
        children, columns = rows[found], columns[found]
        stay_token[children] = np.logaddexp(stay_token[children], grid[parents, columns])
        grid[parents, columns] = -INF

    def _candidates(self, grid: Floats, best: float) -> tuple[Ints, Ints, Floats]:
        """Return rows, columns and ranks `(m,)` of the extensions that are worth to be scored.

        The rank lacks the gain of the last token: what is far behind even so, or beyond some times the beam's width,
        is left out, which saves most of the scoring.
        """
        ranks = (grid + self._scores[SCORE, :, None]).ravel()
        floor = max(best, ranks.max(initial=-INF)) + self.config.beam_prune_log_prob
        kept = np.flatnonzero(ranks > floor)
        kept = kept[_best(ranks[kept], N_SCORED * self.config.beam_width)]
        rows, columns = np.divmod(kept, max(1, grid.shape[1]))
        return rows, columns, ranks[kept]

    def _select(self, ranks: Floats) -> Ints:
        """Return the indexes to keep, ascending; the best always."""
        kept = np.flatnonzero(ranks >= ranks.max() + self.config.beam_prune_log_prob)
        return kept[_best(ranks[kept], self.config.beam_width)]

    def _extended(self, parents: Ints, tokens: Ints) -> Ints:
        """Return the ids of some hypotheses `(m,)` extended by tokens `(m,)`."""
        ids = self._ids[:, parents]
        ids[LAST] = tokens
        ids[PARENT] = ids[HASH]
        ids[HASH] = ids[HASH] * HASH_FACTOR + (tokens + 1)
        ids[NODE] = self._history.append(ids[NODE], tokens, self._frame)
        for scorer, states in zip(self.scorers, ids[STATES:], strict=True):
            states[:] = scorer.advance(states, tokens)
        return ids


def beam_decode(
    log_probs: npt.NDArray[np.floating],
    blank_id: int,
    config: BeamConfig | None = None,
    scorers: Sequence[Scorer] = (),
    n_best: int = 1,
) -> list[Hypothesis]:
    """Return the best hypotheses of a whole utterance, best first.

    Args:
        log_probs: `(T, V)`, natural log-probabilities. T may be 0.
        blank_id: index of the blank label.
        config: how to search.
        scorers: what adds to the scores.
        n_best: at most so many.

    Raises:
        ValueError: as `BeamSearch.step`.

    >>> log_probs = np.log([[0.6, 0.4], [0.6, 0.4]])  # one token and blank: "a" has 0.36 + 0.24 + 0.24 of the paths
    >>> [(h.token_ids, np.exp(h.log_prob).round(2).item()) for h in beam_decode(log_probs, blank_id=1, n_best=2)]
    [((0,), 0.84), ((), 0.16)]
    """
    check_log_probs(log_probs, blank_id)
    search = BeamSearch(log_probs.shape[1], blank_id, config, scorers)
    search.step(log_probs)
    return search.end(n_best)


def _best(ranks: Floats, n: int) -> Ints | slice:
    """Select the ``n`` highest, in their order."""
    n_over = len(ranks) - n
    return slice(None) if n_over <= 0 else np.sort(np.argpartition(ranks, n_over)[n_over:])
