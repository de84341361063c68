"""The work between the inputs and the outputs of `silero-like evaluate`: recognise, score, explain."""

from __future__ import annotations

import platform
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from silero_like.cli.batch import Batch, describe
from silero_like.cli.evaluate_inputs import TextRule, match_file, name_of
from silero_like.cli.evaluate_systems import PEERS, Command, EngineSystem, Recognised, System, core_seconds
from silero_like.errors import AudioError

if TYPE_CHECKING:
    from data.manifest import Utterance
    from silero_like.bundle import BundleConfig
    from silero_like.engines import ModelSource
    from silero_like.evaluation.scoring import Evaluation, Row, Scored
    from silero_like.evaluation.study import Study
    from silero_like.recognizer import Recognizer

SHORT_S, SHORT_SHARE = 0.5, 0.1
"""A recording that lacks more than both is told: durations in manifests are often rounded."""


def open_system(
    own: Callable[[], Recognizer], command_line: str | None, peer: str | None, other: ModelSource | None
) -> tuple[BundleConfig | None, Callable[[str], Sequence[str]] | None, System]:
    """Open what is to be measured; for a model of `own`, also return its configuration and its way to split a text."""
    if command_line:
        return None, None, Command(command_line)
    if peer:
        return None, None, PEERS[peer]()
    if other:
        from silero_like.engines import open_engine

        return None, None, EngineSystem(open_engine(other))
    recognizer = own()
    tokenizer = recognizer.tokenizer
    return (
        recognizer.config,
        lambda text: [tokenizer.pieces[token_id] for token_id in tokenizer.encode(text)],
        EngineSystem(recognizer, recognizer.decoder.name),
    )


def recognise(
    system: System, utterances: Sequence[Utterance], batch: Batch
) -> tuple[list[tuple[Utterance, Scored]], float]:
    """Transcribe every utterance whose audio can be read; also return seconds of audio a core-second.

    Where the recogniser fails on a good recording, that is told and counts as an empty transcript.
    """
    from data.measures import estimate_bandwidth, estimate_snr, frame_levels
    from silero_like.audio import SAMPLE_RATE, load_audio

    core_s = 0.0

    def work(utterance: Utterance) -> Scored:
        nonlocal core_s
        start_s = core_seconds()
        waveform = load_audio(utterance.audio_path, offset_s=utterance.offset_s, duration_s=utterance.duration_s)
        _check_length(len(waveform) / SAMPLE_RATE, utterance, batch)
        try:
            recognised = system.transcribe(waveform)
        except AudioError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the recording was good and the system failed on it
            batch.fail(f"{name_of(utterance)}: {describe(error)}; it counts as an empty transcript")
            recognised = Recognised("")
        core_s += core_seconds() - start_s
        return _scored(
            utterance,
            recognised.text,
            recognised.confidence,
            recognised.word_confidences,
            snr_db=estimate_snr(frame_levels(waveform, SAMPLE_RATE)),
            bandwidth_hz=estimate_bandwidth(waveform, SAMPLE_RATE),
        )

    pairs = list(batch.run(utterances, work, name_of))
    return pairs, sum(score.duration_s for _, score in pairs) / max(core_s, 1e-9)


def _check_length(found_s: float, utterance: Utterance, batch: Batch) -> None:
    """Tell of a recording that is cut short.

    Raises:
        AudioError: none of the utterance is left.
    """
    missing_s = utterance.duration_s - found_s
    problem = f"{name_of(utterance)}: {found_s:.2f} s of audio, where the manifest has {utterance.duration_s:.2f} s"
    if not found_s:
        raise AudioError(f"{problem}: get the whole recording, or mend the manifest")
    if missing_s > max(SHORT_S, SHORT_SHARE * utterance.duration_s):
        batch.fail(f"{problem}, so words may be missing: get the whole recording, or mend the manifest")


def read_texts(utterances: Sequence[Utterance], path: Path, batch: Batch) -> list[tuple[Utterance, Scored]]:
    """Give every utterance its text from a file of transcripts."""
    texts = match_file(path, utterances, batch)
    return [(utterance, _scored(utterance, text)) for utterance, text in zip(utterances, texts, strict=True)]


def _scored(
    utterance: Utterance,
    hypothesis: str,
    confidence: float | None = None,
    word_confidences: tuple[float, ...] = (),
    *,
    snr_db: float | None = None,
    bandwidth_hz: float | None = None,
) -> Scored:
    from silero_like.evaluation.scoring import Scored

    return Scored(
        utterance_id=name_of(utterance),
        domain=utterance.domain,
        speaker=utterance.speaker,
        duration_s=utterance.duration_s,
        reference=utterance.text,
        hypothesis=hypothesis,
        confidence=confidence,
        word_confidences=word_confidences,
        snr_db=snr_db,
        bandwidth_hz=bandwidth_hz,
    )


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
