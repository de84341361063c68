"""What a beam search asks of a language model or a list of hotwords."""

from typing import Protocol

from decode.transitions import Floats, Ints


class Scorer(Protocol):
    """What adds to a hypothesis' score, token by token. A state stands for all that it must know of the past.

    The gains of a whole hypothesis and the one of its end sum to its score; before the end they may hold a guess of
    what is to come, so that good hypotheses are kept. Equal states and tokens give equal gains.
    """

    def start(self) -> int:
        """Return the state of the empty hypothesis, at the start of an utterance."""

    def gains(self, states: Ints, tokens: Ints) -> Floats:
        """Return what each token `(m,)` adds after each state `(m,)`."""

    def advance(self, states: Ints, tokens: Ints) -> Ints:
        """Return the states `(m,)` after tokens; asked only for what `gains` was asked before."""

    def ends(self, states: Ints) -> Floats:
        """Return what ending in each state `(m,)` adds."""

    def tidy(self, states: Ints) -> Ints:
        """Forget what is remembered, if it is much, but for some states `(m,)`; return these states' numbers."""
