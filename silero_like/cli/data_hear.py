"""Run recognisers over utterances for `data clean` and `data pseudo-label`: in processes, and never twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from silero_like.cli.batch import Batch, Failure, failure
from silero_like.cli.decoder_options import load_recognizer
from silero_like.cli.evaluate_inputs import name_of
from silero_like.cli.jobs import Jobs

if TYPE_CHECKING:
    from data.cache import Cache
    from data.manifest import Utterance
    from data.scores import Heard
    from silero_like.recognizer import Recognizer

Item = TypeVar("Item")
Result = TypeVar("Result")

GROUP = 16
"""Utterances that a process hears at a time: as many as share a call of the model; a kill loses no more than these."""


@dataclass(frozen=True)
class Hearer:
    """Something that hears utterances, and what tells it and its settings from any other."""

    name: str
    key: str
    hear: Callable[[Sequence[Utterance]], list[Heard | Exception]]
    uses_label: bool = False


def own_hearer(
    model: str | None,
    decoder: str | None,
    beam_width: int | None,
    lm: str | None,
    hotwords_path: Path | None,
    *,
    with_label: bool = False,
) -> tuple[Hearer, Recognizer]:
    """Open a model of ours with the options of its decoder."""
    from data.scores import Listener, model_key
    from silero_like.bundle import BUNDLED_PATH

    recognizer = load_recognizer(model, decoder, beam_width, lm, hotwords_path)
    hotwords = hotwords_path.read_bytes().hex() if hotwords_path else ""
    own_lm = Path(lm) if lm and lm != "none" else None
    key = model_key(
        Path(model or BUNDLED_PATH), own_lm, (recognizer.decoder.name, beam_width, lm, hotwords, with_label)
    )
    return Hearer(recognizer.config.name, key, Listener(recognizer, with_label=with_label), with_label), recognizer


def hear_all(
    hearer: Hearer, utterances: Sequence[Utterance], cache: Cache, batch: Batch, jobs: int
) -> list[tuple[Utterance, Heard]]:
    """Hear every utterance, or find it in the cache; what cannot be heard is told, counted and left out.

    Returns:
        what was heard, in the order of the utterances.
    """
    from data.cache import audio_key, key_of
    from data.scores import Heard

    keys = dict(
        batch.run(
            utterances,
            lambda u: key_of(hearer.key, *audio_key(u), *([u.text] if hearer.uses_label else [])),
            name_of,
        )
    )
    new = sorted((u for u, key in keys.items() if cache.get(key) is None), key=lambda u: -u.duration_s)
    if len(new) < len(keys):
        click.echo(f"{hearer.name}: {len(keys) - len(new)} of {len(keys)} utterances heard before", err=True)
    results = run_groups(hearer.hear, new, name_of, jobs=jobs, group_size=GROUP)
    for utterance, heard in batch.sift(results, new, name_of):
        cache.put(keys[utterance], heard.to_dict())
    found = ((utterance, cache.get(key)) for utterance, key in keys.items())
    return [(utterance, Heard(**values)) for utterance, values in found if values is not None]


def run_groups(
    work: Callable[[Sequence[Item]], Sequence[Result | Exception]],
    items: Sequence[Item],
    name: Callable[[Item], str],
    *,
    jobs: int,
    group_size: int,
) -> Iterator[tuple[Item, Result | Failure]]:
    """Yield each item with what became of it, in order, from as many processes as are wanted."""
    groups = [items[start : start + group_size] for start in range(0, len(items), group_size)]

    def told(group: Sequence[Item]) -> list[Result | Failure]:
        done = zip(group, work(group), strict=True)
        return [failure(one, name(item)) if isinstance(one, Exception) else one for item, one in done]

    if jobs > 1 and len(groups) > 1:
        processes = Jobs(told, lambda item, reason: Failure(f"{name(item)}: {reason}"), min(jobs, len(groups)))
        yield from processes.run(groups)
        return
    for group in groups:
        yield from zip(group, told(group), strict=True)
