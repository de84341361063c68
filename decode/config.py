"""The settings of the beam search."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any


@dataclass(frozen=True, kw_only=True)
class BeamConfig:
    """How to search, and how much the language model weighs; natural logarithms throughout.

    Raises:
        ValueError: a value out of its range.
    """

    beam_width: int = 100
    """Hypotheses kept from frame to frame."""
    beam_prune_log_prob: float = -10.0
    """Hypotheses so much below the best one are dropped; -1e9 keeps all."""
    token_min_log_prob: float = -6.0
    """Tokens below it are not tried in a frame; -1e9 tries all that are possible."""
    blank_skip: float = 0.99
    """A frame whose blank has a higher probability is taken as blank alone; 1 never does so."""
    alpha: float = 0.5
    """Weight of the language model's log-probabilities."""
    beta: float = 1.0
    """Added for every word (or token, with a token model)."""
    unk_score: float = -5.0
    """Added for every word that the language model does not know, beside what it gives ``<unk>``."""
    confidence_temperature: float = 1.0
    """Not of the search: what the log-odds of words' confidences are divided by (`decode.calibration`)."""
    confidence_offset: float = 0.0
    """Not of the search: what is added to them then."""
    prior_weight: float = 0.0
    """How much of the labels' priors is taken back (`decode.priors`); 0 takes the network at its word."""
    log_priors: tuple[float, ...] = ()
    """Natural logarithm of each label's prior, `(V,)`; needed by a `prior_weight` above 0."""
    recombine: bool = True
    """Of hypotheses that no scorer can tell apart from here on, and that end in the same token, keep only the best."""

    def __post_init__(self) -> None:
        _require(isinstance(self.recombine, bool), "true or false as recombine", self.recombine)
        for field in dataclasses.fields(self)[:-2]:
            _require(_is_number(value := getattr(self, field.name)), f"a finite number as {field.name}", value)
        priors = self.log_priors
        _require(isinstance(priors, tuple) and all(map(_is_number, priors)), "finite numbers as log_priors", priors)
        _require(isinstance(self.beam_width, int) and self.beam_width >= 1, "beam_width of at least 1", self.beam_width)
        _require(self.beam_prune_log_prob < 0, "beam_prune_log_prob below 0", self.beam_prune_log_prob)
        _require(self.token_min_log_prob < 0, "token_min_log_prob below 0", self.token_min_log_prob)
        _require(0 < self.blank_skip <= 1, "blank_skip in (0, 1]", self.blank_skip)
        _require(self.alpha >= 0, "alpha of at least 0", self.alpha)
        _require(self.confidence_temperature > 0, "confidence_temperature above 0", self.confidence_temperature)
        _require(abs(self.confidence_offset) <= 100, "confidence_offset from -100 to 100", self.confidence_offset)
        _require(self.prior_weight >= 0, "prior_weight of at least 0", self.prior_weight)
        _require(bool(priors) or not self.prior_weight, "log_priors beside a prior_weight", "none")

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values; `from_dict` makes an equal config of them."""
        return dataclasses.asdict(self) | {"log_priors": list(self.log_priors)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "BeamConfig":
        """Make a config; what is left out gets its default.

        Raises:
            ValueError: an unknown key, or a value that cannot be.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        unknown = sorted(set(values).difference(names))
        _require(not unknown, f"settings among {', '.join(names)}", ", ".join(unknown))
        priors = values.get("log_priors", ())
        return cls(**{**values, "log_priors": tuple(priors) if isinstance(priors, list) else priors})


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def _require(is_right: bool, expected: str, found: object) -> None:
    if not is_right:
        raise ValueError(f"expected {expected}, got {found}")
