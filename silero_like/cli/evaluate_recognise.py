"""Recognise the utterances of `silero-like evaluate`: here or on a cluster, and, with a cache, none twice."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from silero_like.cli.batch import Batch, describe
from silero_like.cli.data_hear import Work, one_by_one, own_key, run_groups
from silero_like.cli.decoder_options import Search, bundle_sha256, load_elsewhere, load_recognizer
from silero_like.cli.evaluate_inputs import name_of
from silero_like.cli.evaluate_options import Rival
from silero_like.cli.evaluate_systems import PEERS, Command, EngineSystem, Recognised, System, core_seconds
from silero_like.cli.workers import GROUP, Workers
from silero_like.errors import AudioError

if TYPE_CHECKING:
    from data.cache import Cache
    from data.manifest import Utterance
    from silero_like.bundle import BundleConfig
    from silero_like.engines import ModelSource
    from silero_like.evaluation.scoring import Scored

SHORT_S, SHORT_SHARE = 0.5, 0.1
"""A recording that lacks more than both is told: durations in manifests are often rounded."""


@dataclass(frozen=True, kw_only=True)
class Opened:
    """What is to be measured."""

    system: System
    key: str
    """What tells it and its settings from any other."""
    open: Callable[[], System]
    """Makes it on another machine."""
    config: BundleConfig | None = None
    """Of a model of ours."""
    tokens: Callable[[str], Sequence[str]] | None = None
    """Its way to split a text."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a system heard in an utterance, how it sounds, and what it cost."""

    text: str
    confidence: float | None
    word_confidences: tuple[float, ...]
    snr_db: float | None
    bandwidth_hz: float | None
    core_s: float
    """Seconds of processor time, reading the file included."""
    short: str = ""
    """What is to be told of a recording that is cut short."""
    error: str = ""
    """How the system failed; the text is empty then."""


def open_system(source: ModelSource | None, rival: Rival, search: Search) -> Opened:
    """Open a command, a peer, another engine, or else a model of ours, the bundled one if there is no source."""
    other = source if source and not source.is_own else None
    if rival.command_line is not None or rival.peer or other:
        opener: Callable[[], System] = partial(Command, rival.command_line or "")
        if rival.command_line is None:
            opener = partial(_open_other, other) if other else PEERS[str(rival.peer)]
        system = opener()
        return Opened(system=system, key=f"{system.name} {other}", open=opener)
    model = source.path if source else None
    recognizer = load_recognizer(model, search)
    tokenizer = recognizer.tokenizer
    return Opened(
        system=EngineSystem(recognizer, recognizer.decoder.name),
        key=own_key(recognizer, model, search),
        open=partial(_open_own, bundle_sha256(model), model, search),
        config=recognizer.config,
        tokens=lambda text: [tokenizer.pieces[token_id] for token_id in tokenizer.encode(text)],
    )


def _open_other(source: ModelSource) -> System:
    from silero_like.engines import open_engine

    return EngineSystem(open_engine(source))


def _open_own(sha256: str, model: Path | None, search: Search) -> System:
    recognizer = load_elsewhere(sha256, model, search)
    return EngineSystem(recognizer, recognizer.decoder.name)


def recognise(
    opened: Opened, utterances: Sequence[Utterance], batch: Batch, workers: Workers, cache: Cache | None
) -> tuple[list[tuple[Utterance, Scored]], float]:
    """Transcribe every utterance whose audio can be read; also return seconds of audio a core-second.

    Where the recogniser fails on a good recording, that is told and counts as an empty transcript. What is in the
    cache is not done again.
    """
    keys = dict(batch.run(utterances, partial(_key, opened), name_of)) if cache else {}
    kept = {utterance: cache.get(key) for utterance, key in keys.items()} if cache else {}
    found = {utterance: Measured(**values) for utterance, values in kept.items() if values is not None}
    new = [utterance for utterance in (keys if cache else utterances) if utterance not in found]
    results = run_groups(
        partial(one_by_one, partial(_measure, opened.system)),
        new,
        name_of,
        workers=workers,
        group_size=GROUP if workers.is_ray else 1,
        open_work=partial(_open_work, opened.open),
    )
    for utterance, measured in batch.sift(results, new, name_of):
        found[utterance] = measured
        if cache and not measured.error:
            cache.put(keys[utterance], dataclasses.asdict(measured))
    return _in_order(found, utterances, batch)


def _key(opened: Opened, utterance: Utterance) -> str:
    from data.cache import audio_key, key_of

    return key_of("evaluate", opened.key, *audio_key(utterance))


def _in_order(
    found: dict[Utterance, Measured], utterances: Sequence[Utterance], batch: Batch
) -> tuple[list[tuple[Utterance, Scored]], float]:
    """Tell what is to be told of each, and return them in the manifests' order."""
    pairs, core_s = [], 0.0
    for utterance in utterances:
        if (measured := found.get(utterance)) is None:
            continue
        if measured.short:
            batch.fail(measured.short)
        if measured.error:
            batch.fail(f"{name_of(utterance)}: {measured.error}; it counts as an empty transcript")
        core_s += measured.core_s
        scored = make_scored(utterance, measured.text, measured.confidence, tuple(measured.word_confidences))
        scored = dataclasses.replace(scored, snr_db=measured.snr_db, bandwidth_hz=measured.bandwidth_hz)
        pairs.append((utterance, scored))
    return pairs, sum(score.duration_s for _, score in pairs) / max(core_s, 1e-9)


def _open_work(open_system: Callable[[], System]) -> Work[Utterance, Measured]:
    return partial(one_by_one, partial(_measure, open_system()))


def _measure(system: System, utterance: Utterance) -> Measured:
    from data.measures import estimate_bandwidth, estimate_snr, frame_levels
    from silero_like.audio import SAMPLE_RATE, load_audio

    start_s = core_seconds()
    waveform = load_audio(utterance.audio_path, offset_s=utterance.offset_s, duration_s=utterance.duration_s)
    short = _check_length(len(waveform) / SAMPLE_RATE, utterance)
    error_told = ""
    try:
        recognised = system.transcribe(waveform)
    except AudioError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, the recording was good and the system failed on it
        recognised, error_told = Recognised(""), describe(error)
    core_s = core_seconds() - start_s
    return Measured(
        text=recognised.text,
        confidence=recognised.confidence,
        word_confidences=recognised.word_confidences,
        snr_db=estimate_snr(frame_levels(waveform, SAMPLE_RATE)),
        bandwidth_hz=estimate_bandwidth(waveform, SAMPLE_RATE),
        core_s=core_s,
        short=short,
        error=error_told,
    )


def _check_length(found_s: float, utterance: Utterance) -> str:
    """Return what is to be told of a recording that is cut short, "" of one that is not.

    Raises:
        AudioError: none of the utterance is left.
    """
    missing_s = utterance.duration_s - found_s
    problem = f"{name_of(utterance)}: {found_s:.2f} s of audio, where the manifest has {utterance.duration_s:.2f} s"
    if not found_s:
        raise AudioError(f"{problem}: get the whole recording, or mend the manifest")
    is_short = missing_s > max(SHORT_S, SHORT_SHARE * utterance.duration_s)
    return f"{problem}, so words may be missing: get the whole recording, or mend the manifest" if is_short else ""


def make_scored(
    utterance: Utterance,
    hypothesis: str,
    confidence: float | None = None,
    word_confidences: tuple[float, ...] = (),
) -> Scored:
    """Put an utterance beside what was heard in it."""
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
    )
