"""What filters of pseudo-labels remove, and how right what they leave is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from data.pseudo import Label, Selection, kept_cer, kept_hours
from data.scores import TextDistance


def make_report(
    labels: Sequence[Label],
    selection: Selection,
    references: Sequence[str] | None = None,
    distance: TextDistance | None = None,
) -> dict[str, Any]:
    """Return utterances and hours that each filter leaves alone, and all together; and those of each domain.

    Args:
        labels: candidates.
        selection: which of them pass.
        references: what was said, where that is known; then each filter's entry has the CER of what it leaves.
        distance: compares texts; needed with `references`.
    """
    filters: dict[str, dict[str, float | None]] = {}
    for name, kept in {
        "none": (True,) * len(labels),
        **selection.alone,
        "all together": selection.together,
    }.items():
        filters[name] = {"utterances": sum(kept), "hours": kept_hours(labels, kept)}
        if references is not None and distance is not None:
            filters[name]["cer"] = kept_cer(labels, references, kept, distance)
    domains = {}
    for domain in sorted({label.utterance.domain for label in labels}):
        members = [label.utterance.domain == domain for label in labels]
        left = [one and both for one, both in zip(members, selection.together, strict=True)]
        domains[domain] = {
            "utterances": sum(members),
            "hours": kept_hours(labels, members),
            "utterances_kept": sum(left),
            "hours_kept": kept_hours(labels, left),
        }
    return {"filters": filters, "domains": domains}
