"""What `data stats`, `report` and `check` share: manifests are read, and the audio of each row is examined once."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from silero_like.cli.batch import describe
from silero_like.cli.jobs import Jobs
from silero_like.cli.paths import INPUT_FILE, OUTPUT_FILE

if TYPE_CHECKING:
    from click._termui_impl import ProgressBar  # click has no public name for it

    from data.examine import Examined, Sample
    from data.manifest import Utterance
    from data.measure_cache import FileState

GROUP_ROWS = 16
"""Rows that a process takes at a time."""

Command = TypeVar("Command", bound=Callable[..., object])


def row_options(command: Command) -> Command:
    """Add the argument and options of a command that examines rows."""
    decorators = (
        click.argument("manifests", metavar="MANIFEST...", nargs=-1, required=True, type=INPUT_FILE),
        click.option("--jobs", type=click.IntRange(min=1), help="Processes that decode  [default: one a core]"),
        click.option(
            "--cache",
            "cache_path",
            type=OUTPUT_FILE,
            help="What was measured is kept here, by content, so that nothing is decoded twice  "
            "[default: silero-like/measures.sqlite in ~/.cache, or in XDG_CACHE_HOME]",
        ),
    )
    for decorate in reversed(decorators):
        command = decorate(command)
    return command


@dataclass(frozen=True, kw_only=True)
class Rows:
    """The rows of some manifests."""

    samples: tuple[Sample, ...]
    """Good rows, in order, with what their audio shows."""
    problems: tuple[str, ...]
    """``path:line: ...`` of each row that is none."""

    @property
    def n_rows(self) -> int:
        """All of them."""
        return len(self.samples) + len(self.problems)


def refuse_empty(path: Path, n_rows: int) -> None:
    """Say that a manifest without any row is none.

    Raises:
        ManifestError: it has no row.
    """
    from silero_like.errors import ManifestError

    if not n_rows:
        raise ManifestError(f"{path}: empty: expected JSON lines, a recording each (docs/data.md)")


def read_rows(paths: Sequence[Path], jobs: int | None, cache_path: Path | None) -> Rows:
    """Read manifests and examine their rows, with progress on a terminal.

    Raises:
        ManifestError: a manifest cannot be read, or is empty.
        ConfigError: `cache_path` is no cache.
    """
    from data.examine import Sample
    from data.manifest import Utterance, stream_manifest

    rows: list[tuple[Path, int, Utterance]] = []
    problems: list[str] = []
    for path in dict.fromkeys(paths):
        n_before = len(rows) + len(problems)
        for line, row in stream_manifest(path):
            if isinstance(row, Utterance):
                rows.append((path, line, row))
            else:
                problems.append(str(row))
        refuse_empty(path, len(rows) + len(problems) - n_before)
    results = _examine([row for *_, row in rows], n_processes(jobs), cache_path or _default_cache())
    samples = [
        Sample(manifest=path, line=line, utterance=row, problem=result)
        if isinstance(result, str)
        else Sample(manifest=path, line=line, utterance=row, examined=result)
        for (path, line, row), result in zip(rows, results, strict=True)
    ]
    return Rows(samples=tuple(samples), problems=tuple(problems))


def n_processes(jobs: int | None) -> int:
    """Return how many processes `--jobs` asks for."""
    return jobs or len(os.sched_getaffinity(0))


def _default_cache() -> Path:
    folder = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(folder) / "silero-like" / "measures.sqlite"


def _examine(utterances: Sequence[Utterance], jobs: int, cache_path: Path) -> list[Examined | str]:
    """Return for every utterance what its audio shows, or why it cannot be read; the latter is tried each time."""
    from data.measure_cache import open_cache

    results: dict[int, Examined | str] = {}
    with open_cache(cache_path) as cache, progress_bar(len(utterances), "examining") as bar:
        for number, utterance in enumerate(utterances):
            if known := cache.find(utterance):
                results[number] = known
                bar.update(1)
        missing = [number for number in range(len(utterances)) if number not in results]
        groups = [missing[start : start + GROUP_ROWS] for start in range(0, len(missing), GROUP_ROWS)]

        def work(numbers: Sequence[int]) -> list[_Answer | str]:
            return [_answer(utterances[number]) for number in numbers]

        def died(number: int, how: str) -> _Answer | str:
            return f"{utterances[number].audio_path}: {how}"

        for number, answer in Jobs(work, died, jobs).run(groups):
            if isinstance(answer, str):
                results[number] = answer
            else:
                results[number] = answer.examined
                cache.add(utterances[number], answer.state, answer.sha256, answer.examined)
            bar.update(1)
    return [results[number] for number in range(len(utterances))]


@dataclass(frozen=True)
class _Answer:
    """What a process found, and in which file."""

    state: FileState
    sha256: str
    examined: Examined


def _answer(utterance: Utterance) -> _Answer | str:
    from data.examine import examine
    from data.measure_cache import hash_state, stat_file

    try:
        state = stat_file(utterance.audio_path)
        return _Answer(state, hash_state(state), examine(utterance))
    except Exception as error:  # noqa: BLE001 - whatever it is, the other rows go on
        return describe(error, str(utterance.audio_path))


def progress_bar(length: int, label: str) -> ProgressBar[int]:
    """Return a progress bar over rows, with the time that is left; hidden when nobody sees it."""
    hidden = not length or not sys.stderr.isatty()
    return click.progressbar(length=length, label=label, file=sys.stderr, hidden=hidden, show_pos=True)
