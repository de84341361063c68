"""What `data pseudo-label` works on: unlabelled speech, cut where it is long, and the recognisers that label it."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from silero_like.cli.batch import Batch
from silero_like.cli.data_hear import Hearer, Work, one_by_one, own_hearer, run_groups
from silero_like.cli.decoder_options import Search
from silero_like.cli.evaluate_inputs import match_file, name_of
from silero_like.cli.evaluate_systems import PEERS, Command, System
from silero_like.cli.inputs import find_recordings
from silero_like.cli.workers import Workers
from silero_like.errors import AudioError

if TYPE_CHECKING:
    from data.cache import Cache
    from data.cut import Stretch
    from data.manifest import Utterance
    from data.scores import Heard

MANIFEST_SUFFIXES = (".jsonl", ".json")


def read_speech(
    inputs: Sequence[str], cache: Cache, batch: Batch, *, lang: str, domain: str, max_s: float, workers: Workers
) -> list[Utterance]:
    """Find the speech that inputs name, and cut what is longer than an utterance may be.

    Args:
        inputs: manifests, whose texts are ignored and may be absent; audio files, folders, globs.
        cache: where what is cut is remembered.
        batch: is told what cannot be read.
        lang: of the model; rows of other languages are left out and counted.
        domain: of what names none.
        max_s: longest utterance in seconds.
        workers: cut it.
    """
    from data.manifest import DEFAULT_DOMAIN, Utterance, read_manifest

    rows: list[Utterance] = []
    for path in (Path(text) for text in inputs if text.endswith(MANIFEST_SUFFIXES)):
        manifest = read_manifest(path, need_text=False)
        for problem in manifest.problems:
            batch.fail(problem)
        mine = [row for row in manifest.utterances if row.lang in ("", lang)]
        if len(mine) < len(manifest.utterances):
            click.echo(f"{path}: {len(manifest.utterances) - len(mine)} rows are not in {lang}: left out", err=True)
        rows += mine
    recordings, problems = find_recordings([text for text in inputs if not text.endswith(MANIFEST_SUFFIXES)])
    for unnamed in problems:
        batch.fail(unnamed.message)
    rows += [
        Utterance(audio_path=Path(recording.source).absolute(), duration_s=0.0, text="") for recording in recordings
    ]
    rows = [dataclasses.replace(row, domain=domain) if row.domain == DEFAULT_DOMAIN else row for row in rows]
    pieces = _cut_all([row for row in rows if not 0 < row.duration_s <= max_s], cache, batch, max_s, workers)
    found = [piece for row in rows for piece in pieces.get(row, [row] if 0 < row.duration_s <= max_s else [])]
    return [dataclasses.replace(row, lang=lang) for row in dict.fromkeys(found)]


def open_teachers(
    *,
    models: Sequence[str],
    command_lines: Sequence[str],
    peers: Sequence[str],
    search: Search,
    need_model: bool,
) -> tuple[list[Hearer], str | None]:
    """Open commands, peers and models, in this order; also return the models' language, None without a model.

    Raises:
        click.UsageError: models of several languages.
    """
    hearers = [_system_hearer(partial(Command, line)) for line in command_lines]
    hearers += [_system_hearer(PEERS[peer]) for peer in peers]
    langs = set()
    wanted: list[str | None] = [*models] or ([None] if need_model else [])
    for model in wanted:
        hearer, recognizer = own_hearer(model, search)
        hearers.append(hearer)
        langs.add(recognizer.config.lang)
    if len(langs) > 1:
        raise click.UsageError(f"the models are for {' and '.join(sorted(langs))}: label each language by itself")
    return hearers, langs.pop() if langs else None


def heard_in_file(path: Path, utterances: Sequence[Utterance], batch: Batch) -> list[Heard | None]:
    """Return what a file of transcripts says of each utterance; None where it says nothing, which is told."""
    from data.scores import Heard

    matched = match_file(path, utterances, batch)
    if n_missing := sum(text is None for text in matched.texts):
        click.echo(f"{path}: no text for {n_missing} of {len(utterances)} utterances, which are left out", err=True)
    return [
        None if text is None else Heard(text=text, confidence=confidence)
        for text, confidence in zip(matched.texts, matched.confidences, strict=True)
    ]


def _system_hearer(open_system: Callable[[], System]) -> Hearer:
    system = open_system()
    hear = partial(one_by_one, partial(_hear, system))
    return Hearer(system.name, system.name, hear, partial(_open_hear, open_system))


def _open_hear(open_system: Callable[[], System]) -> Work[Utterance, Heard]:
    return partial(one_by_one, partial(_hear, open_system()))


def _hear(system: System, utterance: Utterance) -> Heard:
    from data.scores import Heard, load_speech

    recognised = system.transcribe(load_speech(utterance))
    return Heard(text=recognised.text, confidence=recognised.confidence)


def _cut_all(
    rows: Sequence[Utterance], cache: Cache, batch: Batch, max_s: float, workers: Workers
) -> dict[Utterance, list[Utterance]]:
    """Cut recordings at their pauses, those of unknown length only where they turn out to be too long."""
    from data.cache import audio_key, key_of
    from data.cut import CUT_VERSION

    keys = dict(batch.run(rows, lambda row: key_of("cut", CUT_VERSION, max_s, *audio_key(row)), name_of))
    new = [row for row, key in keys.items() if cache.get(key) is None]
    results = run_groups(partial(one_by_one, partial(_cut, max_s)), new, name_of, workers=workers, group_size=1)
    for row, stretches in batch.sift(results, new, name_of):
        cache.put(keys[row], {"stretches": [[one.start_s, one.duration_s] for one in stretches]})
    found = {row: cache.get(key) for row, key in keys.items()}
    return {
        row: [
            dataclasses.replace(row, offset_s=round(row.offset_s + start_s, 3), duration_s=duration_s)
            for start_s, duration_s in value["stretches"]
        ]
        for row, value in found.items()
        if value is not None
    }


def _cut(max_s: float, row: Utterance) -> list[Stretch]:
    """Cut a recording, or a row of a manifest; a recording that is short enough stays whole."""
    from data.cut import Stretch, cut_at_pauses
    from data.scores import load_speech
    from silero_like.audio import SAMPLE_RATE, stream_audio
    from silero_like.vad import silero_detector

    if row.duration_s:
        return cut_at_pauses([load_speech(row)], silero_detector(), max_s=max_s)
    chunks = stream_audio(row.audio_path, window_s=max_s)
    first, second = next(chunks, None), next(chunks, None)
    if first is None:
        raise AudioError(f"{row.audio_path}: no audio in it")
    if second is None:
        return [Stretch(0.0, len(first) / SAMPLE_RATE)]
    return cut_at_pauses(itertools.chain([first, second], chunks), silero_detector(), max_s=max_s)
