"""Two systems on the same utterances, domain by domain, in figures and in words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from silero_like.errors import SileroLikeError
from silero_like.evaluation.scoring import Evaluation, Row
from silero_like.evaluation.uncertainty import ALPHA, MIN_SPEAKERS, Difference, compare_rates, holm, make_blocks


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Paired tests of the word error rates of two systems, A and B."""

    names: tuple[str, str]
    normalizer: str
    domains: Mapping[str, Difference]
    adjusted: Mapping[str, float]
    """The domains' p-values after Holm: one false alarm among all domains in 20 experiments."""
    micro: Difference
    """All utterances together."""

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values: differences are B's rate minus A's."""
        domains = {
            name: {**difference.to_dict(), "p_adjusted": self.adjusted[name], "verdict": self.verdict(name)}
            for name, difference in self.domains.items()
        }
        names = dict(zip("ab", self.names, strict=True))
        micro = {**self.micro.to_dict(), "verdict": describe(self.micro, self.micro.p)}
        return {**names, "normalizer": self.normalizer, "domains": domains, "micro": micro}

    def verdict(self, domain: str) -> str:
        """Say in words whether the difference in a domain is real."""
        return describe(self.domains[domain], self.adjusted[domain])


def compare(a: Evaluation, b: Evaluation, seed: int = 0) -> Comparison:
    """Test whether B's errors differ from A's; both hold the same utterances, in the same order.

    Raises:
        SileroLikeError: the texts went through different normalisers.
    """
    if a.normalizer != b.normalizer:
        raise SileroLikeError(
            f"expected one text normaliser, got {a.normalizer} and {b.normalizer}: evaluate one of them again"
        )
    pairs: dict[str, list[tuple[Row, Row]]] = {name: [] for name in a.domains}
    for pair in zip(a.rows, b.rows, strict=True):
        pairs[pair[0].item.domain].append(pair)
    domains = {name: _difference([members], seed) for name, members in pairs.items()}
    adjusted = holm([difference.p for difference in domains.values()])
    return Comparison(
        names=(a.model, b.model),
        normalizer=a.normalizer,
        domains=domains,
        adjusted=dict(zip(domains, adjusted, strict=True)),
        micro=_difference(list(pairs.values()), seed),
    )


def describe(difference: Difference, p: float) -> str:
    """Say in words what a test found.

    >>> describe(Difference(rate_a=0.2, rate_b=0.1, ci95=(-0.15, -0.05), p=0.001, detectable=0.07, by="speaker"), 0.001)
    'B is better by 10.0 points (5.0 to 15.0): real, p = 0.001'
    """
    if p > ALPHA:
        remark = f"; one of {100 * difference.detectable:.1f} points would probably show"
        return f"no difference shown (p = {p:.2g})" + (remark if difference.detectable else "")
    better, sign = ("B", -100) if difference.value < 0 else ("A", 100)
    low, high = sorted(sign * limit for limit in difference.ci95)
    whose = "" if difference.by == "speaker" else ", for these speakers"
    shown = f"p = {p:.1g}" if p > 0.0005 else "p < 0.001"
    return f"{better} is better by {sign * difference.value:.1f} points ({low:.1f} to {high:.1f}): real{whose}, {shown}"


def format_comparison(comparison: Comparison) -> str:
    """Render it as text for a terminal; rates are fractions."""
    a, b = comparison.names
    width = max(map(len, ("domain", *comparison.domains)))
    lines = [f"A: {a}", f"B: {b}", f"normaliser {comparison.normalizer}", ""]
    lines.append(f"{'domain':{width}}  WER A  WER B   B - A     95 % interval   verdict")
    for name, difference in comparison.domains.items():
        lines.append(f"{name:{width}}  {_figures(difference)}  {comparison.verdict(name)}")
    lines.append(f"{'micro':{width}}  {_figures(comparison.micro)}  {describe(comparison.micro, comparison.micro.p)}")
    lines.append("")
    lines.append(f"Differences are tested over speakers, or over utterances where fewer than {MIN_SPEAKERS} are named.")
    if len(comparison.domains) > 1:
        lines.append(f"The domains' p-values are adjusted for {len(comparison.domains)} tests (Holm).")
    return "\n".join(lines)


def _difference(parts: Sequence[Sequence[tuple[Row, Row]]], seed: int) -> Difference:
    """Compare the pairs of rows of one or more domains."""
    blocks = [
        make_blocks(
            [a.item.speaker for a, _ in pairs], [(a.words.errors, b.words.errors, a.words.length) for a, b in pairs]
        )
        for pairs in parts
    ]
    return compare_rates(blocks, np.random.default_rng(seed))


def _figures(difference: Difference) -> str:
    low, high = difference.ci95
    return f"{difference.rate_a:.3f}  {difference.rate_b:.3f}  {difference.value:+.3f}  {low:+.3f} to {high:+.3f}"
