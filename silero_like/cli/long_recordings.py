"""What `silero-like data segment` and `data subtitles` share: options, work that can be resumed, a summary."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from silero_like.cli.batch import Batch, Failure, failure
from silero_like.cli.jobs import Jobs
from silero_like.cli.model_option import bundle_option
from silero_like.cli.number import Number
from silero_like.cli.option_group import option_group
from silero_like.cli.paths import OUTPUT_FILE, refuse_replacing

if TYPE_CHECKING:
    from data.manifest import Utterance
    from data.subtitles import Cue
    from data.utterances import Found, Request

JOBS_OPTION = click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Processes.")
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What the options that both commands have say."""

    model: str | None
    min_score: float | None
    min_duration: float
    max_duration: float
    channel: int | None
    all_path: Path | None
    jobs: int

    def check(self, out: Path, inputs: Sequence[Path]) -> None:
        """Raise a usage error for outputs in place of inputs, and for bounds that nothing lies between."""
        refuse_replacing((out, self.all_path), inputs)
        refuse_replacing((self.all_path,), (out,))
        if self.min_duration > self.max_duration:
            raise click.UsageError(
                f"--min-duration {self.min_duration:g} is above --max-duration {self.max_duration:g}: give both"
            )

    def request(self, like: Utterance, texts: Sequence[str], cues: Sequence[Cue] = ()) -> Request:
        """Return a request for utterances of the chosen scores and lengths."""
        from data.utterances import Request

        return Request(
            like=like,
            texts=tuple(texts),
            cues=tuple(cues),
            min_score=self.min_score,
            shortest_s=self.min_duration,
            longest_s=self.max_duration,
            channel=self.channel,
        )


def long_recording_options(shortest_s: float, longest_s: float) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add --model, --min-score, --min-duration, --max-duration, --channel, --all and --jobs, handed on as `choices`."""
    return option_group(
        "choices",
        Choices,
        bundle_option,
        click.option("--min-score", type=Number(max=0), help="Keep sentences from this score on [default: -5]."),
        click.option(
            "--min-duration",
            type=Number(min=0),
            default=shortest_s,
            show_default=True,
            help="Seconds; shorter utterances are joined to neighbours, or left out. 0 keeps each as it is.",
        ),
        click.option(
            "--max-duration",
            type=Number(min=1),
            default=longest_s,
            show_default=True,
            help="Seconds; longer utterances are cut at their pauses, or left out.",
        ),
        click.option("--channel", type=click.IntRange(min=0), help="Take one channel, from 0 [default: the mean]."),
        click.option(
            "--all", "all_path", type=OUTPUT_FILE, help="Also list every sentence: times, score, why dropped."
        ),
        JOBS_OPTION,
    )


def process(batch: Batch, requests: Sequence[Request], out: Path, choices: Choices) -> None:
    """Cut recordings into utterances, write their manifest, print a summary and end the command.

    What is done is kept beside OUT until all is, so that an interrupted command goes on where it was.
    """
    from data.manifest import write_manifest
    from data.segment import Segmenter
    from data.utterances import make_utterances
    from silero_like.bundle import BUNDLED_PATH, load_bundle
    from silero_like.recognizer import load

    n_inputs = len(requests) + batch.n_failed
    bundle = load_bundle(choices.model or BUNDLED_PATH, verify=False)
    journal = _Journal(out.with_name(f".{out.name}.partial"), (bundle.path / "checksums.json").read_bytes())
    done = journal.read()
    todo = [request for request in requests if journal.key(request) not in done]
    if len(todo) < len(requests):
        click.echo(f"{len(requests) - len(todo)} of {len(requests)} recordings were done before", err=True)
    if todo:
        make = partial(make_utterances, Segmenter(load(choices.model, decoder="greedy")))
        for request, found in batch.sift(each(make, todo, _name, choices.jobs), todo, _name):
            journal.add(request, found)
            done[journal.key(request)] = found
    good = [(request, done[journal.key(request)]) for request in requests if journal.key(request) in done]
    write_manifest(out, (row for _, found in good for row in found.kept))
    if choices.all_path:
        _write_all(choices.all_path, good)
    click.echo(json.dumps(_summary([found for _, found in good], batch.n_failed), ensure_ascii=False))
    if not batch.n_failed:
        journal.remove()
    batch.finish(n_inputs, "recordings")


def each(
    work: Callable[[Item], Result], items: Sequence[Item], name: Callable[[Item], str], jobs: int
) -> Iterator[tuple[Item, Result | Failure]]:
    """Yield items, in order, with what work makes of each or why it failed; in processes if there are several."""
    told = partial(_told, work, name)
    if min(jobs, len(items)) > 1:
        processes = Jobs(told, lambda item, reason: Failure(f"{name(item)}: {reason}"), min(jobs, len(items)))
        yield from processes.run([[item] for item in items])
        return
    for item in items:
        yield item, told([item])[0]


def _told(work: Callable[[Item], Result], name: Callable[[Item], str], items: Sequence[Item]) -> list[Result | Failure]:
    results: list[Result | Failure] = []
    for item in items:
        try:
            results.append(work(item))
        except Exception as error:  # noqa: BLE001 - whatever it is, the rest of the batch goes on
            results.append(failure(error, name(item)))
    return results


class _Journal:
    """What has been done, a line a recording; a line of other settings or of a changed recording is of no use."""

    def __init__(self, path: Path, model: bytes) -> None:
        self._path, self._model = path, model

    def key(self, request: Request) -> str:
        """Return a hash of all that the result depends on."""
        status = request.like.audio_path.stat() if request.like.audio_path.is_file() else None
        told = (repr(request), status and (status.st_size, status.st_mtime_ns), self._model)
        return hashlib.sha256(repr(told).encode("utf-8", "replace")).hexdigest()

    def read(self) -> dict[str, Found]:
        """Return what is there; a line that was cut off is passed over."""
        from data.utterances import Found

        done = {}
        lines = self._path.read_text(encoding="utf-8").split("\n")[:-1] if self._path.is_file() else []
        for line in lines:
            try:
                row = json.loads(line)
            except ValueError:  # the line during which the command was killed, and what was written behind it
                continue
            done[row["key"]] = Found.from_json(row["found"])
        return done

    def add(self, request: Request, found: Found) -> None:
        """Keep a result."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps({"key": self.key(request), "found": found.to_json()}, default=dataclasses.asdict)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")

    def remove(self) -> None:
        """Forget all."""
        self._path.unlink(missing_ok=True)


def _name(request: Request) -> str:
    return str(request.like.audio_path)


def _write_all(path: Path, good: Sequence[tuple[Request, Found]]) -> None:
    from silero_like.writers import write_atomically

    rows = [
        {
            "audio_filepath": _name(request),
            "offset": round(sentence.start, 3),
            "duration": round(sentence.end - sentence.start, 3),
            "text": sentence.text,
            "quality": round(sentence.score, 3),
            "dropped": sentence.dropped,
        }
        for request, found in good
        for sentence in found.sentences
    ]
    write_atomically(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def _summary(found: Sequence[Found], n_failed: int) -> dict[str, Any]:
    n_dropped = sum((Counter(one.n_dropped) for one in found), Counter())
    kept = [row for one in found for row in one.kept]
    summary: dict[str, Any] = {
        "recordings": len(found),
        "failed": n_failed,
        "audio_s": round(sum(one.duration_s for one in found), 3),
        "sentences": sum(len(one.sentences) for one in found),
        "dropped": dict(n_dropped),
        "utterances": len(kept),
        "utterances_s": round(sum(row.duration_s for row in kept), 3),
    }
    shifts = [one.shift_s for one in found if one.shift_s]
    return {**summary, "shift_s": shifts} if shifts else summary
