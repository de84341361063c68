"""The work between what was recognised and the outputs of `silero-like evaluate`: score, explain."""

from __future__ import annotations

import platform
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from silero_like.cli.batch import Batch
from silero_like.cli.evaluate_inputs import TextRule, texts_in_file
from silero_like.cli.evaluate_recognise import make_scored

if TYPE_CHECKING:
    from data.manifest import Utterance
    from silero_like.bundle import BundleConfig
    from silero_like.evaluation.scoring import Evaluation, Row, Scored
    from silero_like.evaluation.study import Study


def read_texts(utterances: Sequence[Utterance], path: Path, batch: Batch) -> list[tuple[Utterance, Scored]]:
    """Give every utterance its text from a file of transcripts."""
    texts = texts_in_file(path, utterances, batch)
    return [(utterance, make_scored(utterance, text)) for utterance, text in zip(utterances, texts, strict=True)]


def score(scored: Sequence[Scored], rule: TextRule, *, model: str, decoder: str, speed: float | None) -> Evaluation:
    from silero_like.evaluation.scoring import evaluate

    return evaluate(
        scored,
        normalizer=rule.normalizer,
        normalizer_name=rule.label,
        lang=rule.normalizer.name,
        model=model,
        decoder=decoder,
        audio_s_per_core_s=speed,
    )


def make_study(
    evaluation: Evaluation,
    *,
    seen: set[str] | None,
    noisy: Sequence[str],
    known_words: set[str] | None,
    tokens: Callable[[str], Sequence[str]] | None,
    keywords: Sequence[tuple[str, ...]],
    provenance: dict[str, Any],
) -> Study:
    from silero_like.evaluation.breakdown import break_down
    from silero_like.evaluation.difficulty import NOISY_BELOW_DB, describe_domain, find_gap
    from silero_like.evaluation.study import Study

    rows: dict[str, list[Row]] = {name: [] for name in evaluation.domains}
    for row in evaluation.rows:
        rows[row.item.domain].append(row)
    difficulty = {name: describe_domain(members, known_words) for name, members in rows.items()}
    estimates = {name: domain.snr_db for name, domain in difficulty.items() if domain.snr_db is not None}
    quiet = {name for name, snr_db in estimates.items() if snr_db < NOISY_BELOW_DB}
    gaps = (
        find_gap(evaluation, ("seen", "unseen"), set() if seen is None else set(rows) - seen),
        find_gap(evaluation, ("clean", "noisy"), set(noisy) or quiet),
    )
    return Study(
        evaluation=evaluation,
        breakdown=break_down(evaluation.rows, tokens=tokens or list, keywords=keywords),
        difficulty=difficulty,
        gaps=tuple(gap for gap in gaps if gap),
        provenance=provenance,
    )


def seen_domains(
    training: Sequence[Utterance], config: BundleConfig | None, unseen: Sequence[str], evaluation: Evaluation
) -> set[str] | None:
    """Return the domains that the model was trained on: all but those named, or those of its data; None if unknown."""
    if unseen:
        return set(evaluation.domains) - set(unseen)
    if training:
        return {utterance.domain for utterance in training}
    hours = config.training.get("hours") if config else None
    return set(hours) if isinstance(hours, dict) else None


def known_words(training: Sequence[Utterance], rule: TextRule) -> set[str] | None:
    from decode.words import split_words

    return {word for utterance in training for word in split_words(rule.normalizer(utterance.text))} or None


def provenance(manifests: dict[str, str], model: Path | None, *, is_own: bool) -> dict[str, Any]:
    """Return what is needed to come to the same figures again."""
    import hashlib

    import numpy as np

    import silero_like
    from silero_like.bundle import BUNDLED_PATH

    checksums = (model or BUNDLED_PATH) / "checksums.json"
    versions = {"silero_like": silero_like.__version__, "numpy": np.__version__, "python": platform.python_version()}
    return {
        "command": shlex.join(["silero-like", *sys.argv[1:]]),
        "versions": versions,
        "manifests_sha256": manifests,
        "model_sha256": hashlib.sha256(checksums.read_bytes()).hexdigest() if is_own else None,
    }
