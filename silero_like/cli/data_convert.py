"""`silero-like data convert`: re-encode the recordings of a manifest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from silero_like.cli.data_import import finish, jobs_option, json_option, n_cores
from silero_like.cli.paths import INPUT_FILE, OUTPUT_FOLDER
from silero_like.cli.progress import ProgressLine

if TYPE_CHECKING:
    from data.summary import Summary


@click.command()
@click.argument("manifest", type=INPUT_FILE)
@click.argument("out_dir", type=OUTPUT_FOLDER)
@click.option(
    "--format",
    "format_name",
    type=click.Choice(["opus", "flac", "wav"]),
    default="opus",
    show_default=True,
    help="Ogg Opus is small, FLAC is exact, WAV is read fastest.",
)
@click.option(
    "--rate", type=click.Choice(["8000", "16000"]), default="16000", show_default=True, help="Samples a second."
)
@jobs_option
@json_option
@click.pass_context
def convert(
    context: click.Context,
    manifest: Path,
    out_dir: Path,
    format_name: str,
    rate: str,
    jobs: int | None,
    json_path: Path | None,
) -> None:
    """Write each utterance of a manifest as a file of its own, mono, and a manifest of them, into OUT_DIR.

    Stop it as you like and run it again: what is done is not done again, unless its recording has changed. Audio that
    cannot be read is named and left out.

    \b
    Examples:
      silero-like data convert train.jsonl small/ --jobs 8
      silero-like data convert calls.jsonl exact/ --format flac --rate 8000
    """
    from data.convert import Target, convert_manifest

    with manifest.open("rb") as file:
        n_rows = sum(1 for line in file if line.strip())
    target = Target(out_dir=out_dir.absolute(), format=format_name, rate=int(rate))
    with ProgressLine() as line:

        def advance(summary: Summary) -> None:
            if line.due():
                line.show(f"{summary.rows} of {n_rows} rows, {summary.audio_s / 3600:.2f} h, {summary.changed} written")

        summary = convert_manifest(manifest.absolute(), target, jobs or n_cores(), advance)
    finish(context, summary, out_dir / manifest.name, json_path, "written")
