"""`silero-like data report`: a page to look at a corpus."""

from __future__ import annotations

import base64
import shlex
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

import click

from silero_like.cli.batch import Batch
from silero_like.cli.data_rows import GROUP_ROWS, n_processes, progress_bar, read_rows, row_options
from silero_like.cli.jobs import Jobs
from silero_like.cli.paths import OUTPUT_FILE, refuse_replacing
from silero_like.cli.players import as_address, link_to
from silero_like.writers import write_atomically

if TYPE_CHECKING:
    from data.examine import Sample
    from data.explorer import Shown

MAX_EMBEDDED_S = 15.0
MAX_EMBEDDED_TOTAL_S = 3600.0
"""About 18 MB."""


@click.command()
@row_options
@click.option("--html", "html_path", type=OUTPUT_FILE, required=True, help="Write the page here.")
@click.option("--rows", "n_rows", type=click.IntRange(min=1), default=2000, show_default=True, help="Rows to list.")
@click.option(
    "--embed-audio",
    is_flag=True,
    help="Put the recordings into the page instead of linking to them: the first 15 s of each, an hour and about "
    "18 MB in all; what is beyond that is linked.",
)
@click.pass_context
def report(
    context: click.Context,
    manifests: tuple[Path, ...],
    jobs: int | None,
    cache_path: Path | None,
    html_path: Path,
    n_rows: int,
    embed_audio: bool,
) -> None:
    """Write a page with the domain table, histograms, and utterances with spectrogram and player.

    It is one file and needs no server and no network; links to recordings are relative to it. Histograms and tables
    count all rows. Where there are more than --rows, those with findings, the extremes of each measure and a random
    sample are listed, about 3 kB each. Rows can be searched, filtered, and sorted by any column.

    \b
    Examples:
      silero-like data report train.jsonl dev.jsonl --html corpus.html
      silero-like data report samples/manifest.jsonl --html samples.html --embed-audio
    """
    import numpy as np

    from data.check import Limits, check
    from data.explorer import Corpus, choose_rows, render_explorer
    from data.statistics import describe, gather
    from silero_like import __version__

    refuse_replacing([html_path], manifests)
    batch = Batch(context)
    rows = read_rows(manifests, jobs, cache_path)
    for problem in (*rows.problems, *(f"{x.where}: {x.problem}" for x in rows.samples if x.problem)):
        batch.fail(problem)
    corpus = Corpus(
        title=", ".join(path.name for path in manifests) if len(manifests) <= 3 else f"{len(manifests)} manifests",
        samples=rows.samples,
        findings=check(rows.samples, (), Limits()),
        groups=gather(rows.samples, "domain", Limits()),
        total=describe(rows.samples, Limits()),
        provenance={
            "command": shlex.join(["silero-like", *sys.argv[1:]]),
            "version": __version__,
            "made": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        },
    )
    chosen = choose_rows(rows.samples, corpus.findings, n_rows, np.random.default_rng(0))
    write_atomically(html_path, render_explorer(corpus, _show(chosen, html_path, n_processes(jobs), embed_audio)))
    batch.finish(rows.n_rows, "rows")


def _show(samples: Sequence[Sample], html_path: Path, jobs: int, embed: bool) -> list[Shown]:
    """Decode the rows once more, for pictures and players."""
    from data.explorer import Shown

    seconds = accumulate(min(sample.duration_s, MAX_EMBEDDED_S) for sample in samples)
    tasks = [(sample, embed and end_s <= MAX_EMBEDDED_TOTAL_S) for sample, end_s in zip(samples, seconds, strict=True)]
    groups = [tasks[start : start + GROUP_ROWS] for start in range(0, len(tasks), GROUP_ROWS)]
    shown = []
    with progress_bar(len(samples), "drawing") as bar:
        for (sample, _), (image, audio) in Jobs(_media, _no_media, jobs).run(groups):
            shown.append(Shown(sample=sample, image=image, audio=audio or link_to(sample.utterance, html_path)))
            bar.update(1)
    return shown


def _media(group: Sequence[tuple[Sample, bool]]) -> list[tuple[str, str]]:
    """Return for each row the address of its picture and, if it is to be embedded, of its recording."""
    return [_picture_and_sound(sample, embed) for sample, embed in group]


def _no_media(task: tuple[Sample, bool], how: str) -> tuple[str, str]:
    return "", ""


def _picture_and_sound(sample: Sample, embed: bool) -> tuple[str, str]:
    """Return the addresses of a row's picture and, if asked for, of its recording; "" where it cannot be read."""
    from data.thumbnail import draw_spectrogram
    from silero_like.audio import SAMPLE_RATE, load_audio
    from silero_like.errors import SileroLikeError

    utterance = sample.utterance
    try:
        waveform = load_audio(utterance.audio_path, offset_s=utterance.offset_s, duration_s=utterance.duration_s)
    except SileroLikeError:
        return "", ""
    if not len(waveform):
        return "", ""
    image = base64.b64encode(draw_spectrogram(waveform, SAMPLE_RATE)).decode()
    audio = as_address(waveform[: round(MAX_EMBEDDED_S * SAMPLE_RATE)]) if embed else ""
    return f"data:image/png;base64,{image}", audio
