"""`silero-like data align`: when each word of a manifest is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from silero_like.cli.batch import Batch
from silero_like.cli.inputs import Recording, output_paths
from silero_like.cli.long_recordings import JOBS_OPTION, each
from silero_like.cli.model_option import bundle_option
from silero_like.cli.paths import INPUT_FILE, OUTPUT_FOLDER
from silero_like.errors import SileroLikeError
from silero_like.writers import suffix_of

if TYPE_CHECKING:
    from data.manifest import Manifest, Utterance
    from decode.words import Word

Task = tuple[tuple["Utterance", ...], Path]


@dataclass(frozen=True)
class Aligned:
    """What became of a recording."""

    n_words: int
    problems: tuple[str, ...]
    """Of rows that could not be aligned."""


@click.command()
@click.argument("manifest", type=INPUT_FILE)
@click.argument("out_dir", type=OUTPUT_FOLDER)
@click.option(
    "--format", "format_", type=click.Choice(["ctm", "textgrid"]), default="ctm", show_default=True, help="File format."
)
@bundle_option
@JOBS_OPTION
@click.option("--overwrite", is_flag=True, help="Align recordings again whose file is there.")
@click.pass_context
def align(
    context: click.Context, manifest: Path, out_dir: Path, format_: str, model: str | None, jobs: int, overwrite: bool
) -> None:
    """Find when each word of a manifest is said.

    OUT_DIR gets a file for each recording, with the words of all its utterances: CTM (recording, channel, start,
    duration, word, confidence) or a Praat TextGrid with a tier of utterances and one of words. Words are written as the
    model writes them. Recordings whose file is there are passed over, so an interrupted command goes on where it was.
    Rows that cannot be aligned are told and left out; with --overwrite they are tried again.

    \b
    Examples:
      silero-like data align samples/manifest.jsonl times/
      silero-like data align utterances.jsonl times/ --format textgrid --model runs/mine/bundle
    """
    from data.manifest import read_manifest

    batch = Batch(context)
    rows = read_manifest(manifest)
    for problem in rows.problems:
        batch.fail(problem)
    tasks = _tasks(rows, out_dir, format_)
    todo = [task for task in tasks if overwrite or not task[1].exists()]
    n_words = 0
    if todo:
        for _, aligned in batch.sift(each(_writer(model, format_), todo, _name, jobs), todo, _name):
            n_words += aligned.n_words
            for problem in aligned.problems:
                batch.fail(problem)
    summary = {"recordings": len(tasks), "done_before": len(tasks) - len(todo), "failed": batch.n_failed}
    click.echo(json.dumps({**summary, "words": n_words}))
    batch.finish()


def _name(task: Task) -> str:
    return str(task[0][0].audio_path)


def _tasks(manifest: Manifest, out_dir: Path, format_: str) -> list[Task]:
    """Return the utterances of each recording, by time, with the file to write."""
    utterances: dict[Path, list[Utterance]] = {}
    for utterance in manifest.utterances:
        utterances.setdefault(utterance.audio_path, []).append(utterance)
    folder = manifest.path.parent.absolute()
    recordings = [
        Recording(str(path), path.relative_to(folder) if path.is_relative_to(folder) else Path(path.name))
        for path in utterances
    ]
    paths = output_paths(recordings, out_dir, suffix_of(format_))
    ordered = [tuple(sorted(rows, key=lambda row: row.offset_s)) for rows in utterances.values()]
    return list(zip(ordered, paths, strict=True))


def _writer(model: str | None, format_: str) -> Callable[[Task], Aligned]:
    """Load the model; return what aligns a recording and writes its file, if any row of it can be aligned."""
    from data.word_times import WordAligner
    from silero_like.recognizer import load
    from silero_like.timings import ctm, textgrid, word_spans
    from silero_like.writers import write_atomically

    aligner = WordAligner(load(model, decoder="greedy"))

    def write(task: Task) -> Aligned:
        rows, path = task
        found: dict[Utterance, list[Word]] = {}
        problems = []
        for row in rows:
            try:
                found[row] = aligner.words(row)
            except SileroLikeError as error:
                problems.append(str(error))
        words = [word for of_row in found.values() for word in of_row]
        if format_ == "ctm":
            text = ctm(rows[0].audio_path.stem, words)
        else:
            spans = [(row.offset_s, row.offset_s + row.duration_s, row.text) for row in found]
            text = textgrid({"utterances": spans, "words": word_spans(words)}, 0.0)
        if found:
            write_atomically(path, text)
        return Aligned(len(words), tuple(problems))

    return write
