"""Run recognisers over utterances for `data clean` and `data pseudo-label`: here or on a cluster, and never twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from silero_like.cli.batch import Batch, Failure, failure
from silero_like.cli.decoder_options import Search, bundle_sha256, load_elsewhere, load_recognizer
from silero_like.cli.evaluate_inputs import name_of
from silero_like.cli.workers import GROUP, Workers

if TYPE_CHECKING:
    from data.cache import Cache
    from data.manifest import Utterance
    from data.scores import Heard
    from silero_like.recognizer import Recognizer

Item = TypeVar("Item")
Result = TypeVar("Result")
Work = Callable[[Sequence[Item]], Sequence[Result | Exception]]


@dataclass(frozen=True)
class Hearer:
    """Something that hears utterances, and what tells it and its settings from any other."""

    name: str
    key: str
    hear: Work[Utterance, Heard]
    open: Callable[[], Work[Utterance, Heard]]
    """Makes `hear` on another machine."""
    uses_label: bool = False


def own_hearer(model: str | None, search: Search, *, with_label: bool = False) -> tuple[Hearer, Recognizer]:
    """Open a model of ours with its decoder."""
    from data.scores import Listener

    recognizer = load_recognizer(model, search)
    key = own_key(recognizer, model, search, with_label)
    elsewhere = partial(_open_listener, with_label, bundle_sha256(model), model, search)
    hear = Listener(recognizer, with_label=with_label)
    return Hearer(recognizer.config.name, key, hear, elsewhere, with_label), recognizer


def own_key(recognizer: Recognizer, model: str | Path | None, search: Search, *others: object) -> str:
    """Return what tells a model of ours with its decoder, and whatever else counts, from any other."""
    from data.scores import model_key
    from silero_like.bundle import BUNDLED_PATH

    hotwords = search.hotwords_path.read_bytes().hex() if search.hotwords_path else ""
    own_lm = Path(search.lm) if search.lm and search.lm != "none" else None
    settings = (recognizer.decoder.name, search.beam_width, search.lm, hotwords, *others)
    return model_key(Path(model or BUNDLED_PATH), own_lm, settings)


def _open_listener(with_label: bool, sha256: str, model: str | None, search: Search) -> Work[Utterance, Heard]:
    from data.scores import Listener

    return Listener(load_elsewhere(sha256, model, search), with_label=with_label)


def hear_all(
    hearer: Hearer, utterances: Sequence[Utterance], cache: Cache, batch: Batch, workers: Workers
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
    results = run_groups(hearer.hear, new, name_of, workers=workers, open_work=hearer.open)
    for utterance, heard in batch.sift(results, new, name_of):
        cache.put(keys[utterance], heard.to_dict())
    found = ((utterance, cache.get(key)) for utterance, key in keys.items())
    return [(utterance, Heard(**values)) for utterance, values in found if values is not None]


def one_by_one(work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result | Exception]:
    """Do each item of a group by itself; in the place of one that fails stands its error."""
    done: list[Result | Exception] = []
    for item in items:
        try:
            done.append(work(item))
        except Exception as error:  # noqa: BLE001 - whatever it is, the other items go on
            done.append(error)
    return done


def run_groups(
    work: Work[Item, Result],
    items: Sequence[Item],
    name: Callable[[Item], str],
    *,
    workers: Workers,
    group_size: int = GROUP,
    open_work: Callable[[], Work[Item, Result]] | None = None,
) -> Iterator[tuple[Item, Result | Failure]]:
    """Yield each item with what became of it, as `Workers.run`: in order, but from a cluster as they come.

    A group is as many utterances as share a call of the model; a kill loses no more than these.
    """
    groups = [items[start : start + group_size] for start in range(0, len(items), group_size)]
    elsewhere = partial(_open_told, open_work, name) if open_work else None
    yield from workers.run(groups, partial(_told, work, name), name, elsewhere)


def _open_told(
    open_work: Callable[[], Work[Item, Result]], name: Callable[[Item], str]
) -> Callable[[Sequence[Item]], list[Result | Failure]]:
    return partial(_told, open_work(), name)


def _told(work: Work[Item, Result], name: Callable[[Item], str], group: Sequence[Item]) -> list[Result | Failure]:
    """Do a group, and put what went wrong into words."""
    done = zip(group, work(group), strict=True)
    return [failure(one, name(item)) if isinstance(one, Exception) else one for item, one in done]
