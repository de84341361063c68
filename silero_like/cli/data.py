"""`silero-like data`: prepare what a model learns from."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from silero_like.cli import data_align, data_convert, data_download, data_import, data_segment
from silero_like.cli.batch import Batch
from silero_like.cli.data_agree import agree
from silero_like.cli.data_check import check
from silero_like.cli.data_clean import clean
from silero_like.cli.data_noisy_student import noisy_student
from silero_like.cli.data_pseudo_label import pseudo_label
from silero_like.cli.data_report import report
from silero_like.cli.data_stats import stats
from silero_like.cli.data_synthesize import synthesize
from silero_like.cli.paths import INPUT_FILE, OUTPUT_FOLDER

if TYPE_CHECKING:
    from click._termui_impl import ProgressBar  # click has no public name for it

    from data.manifest import Utterance
    from data.pack import Survey
    from data.pack_files import Packed


@click.group()
def data() -> None:
    """Prepare what a model learns from.

    \b
    Examples:
      silero-like data import folder recordings/ train.jsonl --lang ru
      silero-like data split train.jsonl
      silero-like data pack corpus/*.train.jsonl packed/
      silero-like data stats corpus/*.jsonl
      silero-like data report corpus/*.jsonl --html corpus.html
      silero-like data check dev.jsonl --against train.jsonl
      silero-like data segment lecture.mp3 lecture.txt lecture.jsonl
      silero-like data clean train.jsonl --out clean/
      silero-like data pseudo-label recordings/ pseudo.jsonl
    """


COMMANDS = (
    agree,
    check,
    clean,
    data_align.align,
    data_convert.convert,
    data_download.download,
    data_import.export,
    data_import.import_command,
    data_import.split,
    data_segment.segment,
    data_segment.subtitles,
    noisy_student,
    pseudo_label,
    report,
    stats,
    synthesize,
)
for command in COMMANDS:
    data.add_command(command)


@data.command()
@click.argument(
    "manifests",
    metavar="MANIFEST...",
    nargs=-1,
    required=True,
    type=INPUT_FILE,
)
@click.argument("out_dir", type=OUTPUT_FOLDER)
@click.option("--jobs", type=click.IntRange(min=1), help="Threads that decode  [default: one a core]")
@click.option(
    "--shard-mb",
    type=click.IntRange(1, 2047),  # some readers take the sizes in a WAV header as signed
    default=1024,
    show_default=True,
    help="Largest size of a shard in MiB.",
)
@click.option("--verify", is_flag=True, help="Compare checksums of what is packed already, not sizes alone.")
@click.pass_context
def pack(
    context: click.Context, manifests: tuple[Path, ...], out_dir: Path, jobs: int | None, shard_mb: int, verify: bool
) -> None:
    """Decode the audio of manifests once, into a few large WAV files.

    OUT_DIR gets a manifest of the same name for each MANIFEST, and shards: 16 kHz mono 16-bit WAV files with the
    utterances one after another. Training reads them without decoding; so does any program that knows manifests with
    offsets. Point data.root of the recipe at OUT_DIR.

    Run it again after a change: only manifests that have changed, or whose recordings have, are packed again. Audio
    that cannot be read is named and left out.

    \b
    Examples:
      silero-like data pack train.jsonl dev.jsonl packed/
      silero-like data pack corpus/*.jsonl packed/ --shard-mb 512 --jobs 8
      silero-like data pack corpus/*.jsonl packed/ --verify
    """
    from data.pack import open_pack
    from silero_like.errors import ConfigError

    batch = Batch(context)
    n_jobs = jobs or len(os.sched_getaffinity(0))
    try:
        with open_pack(out_dir) as opened:
            with _bar(len(manifests), "comparing") as bar:
                surveys = []
                for survey in opened.survey(manifests, shard_mb=shard_mb, verify=verify):
                    surveys.append(survey)
                    bar.update(1)
            if any(survey.reason for survey in surveys):
                needed, free = opened.check_space(surveys)
                click.echo(f"{out_dir}: {needed / 1e9:.2f} GB needed, {free / 1e9:.2f} GB free", err=True)

            def update(survey: Survey) -> Packed:
                with _progress(survey) as advance:
                    return opened.update(survey, jobs=n_jobs, advance=advance)

            for survey, packed in batch.run(surveys, update, lambda survey: survey.name):
                _tell(batch, survey, packed, out_dir)
    except ConfigError as error:
        raise click.UsageError(str(error)) from error
    n_rows = sum(len(survey.manifest.utterances) + len(survey.manifest.problems) for survey in surveys)
    batch.finish(n_rows, "utterances")


def _tell(batch: Batch, survey: Survey, packed: Packed, out_dir: Path) -> None:
    """Name what was left out of a manifest, and say in a line what the pack holds of it."""
    for problem in (*survey.manifest.problems, *packed.unreadable):
        batch.fail(problem)
    line = f"{survey.name}: {f'packed ({survey.reason})' if survey.reason else 'unchanged'}: "
    line += f"{packed.n_utterances} utterances, {packed.duration_s / 3600:.2f} h, shards: {len(packed.files) - 1}"
    if packed.n_shorter:
        line += f"; {packed.n_shorter} shorter than the manifest said (the pack says what there is)"
    if packed.unreadable and not survey.reason:
        line += f"; to try unreadable ones again, delete {out_dir / survey.name}.jsonl"
    click.echo(line, err=True)


@contextlib.contextmanager
def _progress(survey: Survey) -> Iterator[Callable[[Utterance], None]]:
    """Show how far a manifest is; yields what to call with each utterance that is done."""
    n_total, total_s = len(survey.manifest.utterances), sum(x.duration_s for x in survey.manifest.utterances)
    n_done, done_s = 0, 0.0
    with _bar(max(1, round(total_s)) if survey.reason else 0, survey.name) as bar:

        def advance(utterance: Utterance) -> None:
            nonlocal n_done, done_s
            n_done, done_s = n_done + 1, done_s + utterance.duration_s
            bar.update(round(done_s) - bar.pos, f"{n_done}/{n_total}, {done_s / 3600:.2f} of {total_s / 3600:.2f} h")

        yield advance


def _bar(length: int, label: str) -> ProgressBar[str]:
    """Return a progress bar with the time that is left; hidden when there is nothing to do, or nobody to see it."""
    hidden = not length or not sys.stderr.isatty()
    return click.progressbar(
        length=length, label=label, file=sys.stderr, hidden=hidden, item_show_func=lambda text: text
    )
