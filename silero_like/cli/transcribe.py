"""`silero-like transcribe`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from silero_like.cli.batch import Batch, Failure, describe, failure
from silero_like.cli.decoder_options import bundle_sha256, decoder_options, load_elsewhere, load_recognizer
from silero_like.cli.engine import Engine, Work, engine_options, in_order
from silero_like.cli.inputs import Recording, find_recordings, grouped, output_paths
from silero_like.cli.paths import OUTPUT_FOLDER
from silero_like.writers import FORMATS, render, write_transcript

if TYPE_CHECKING:
    from silero_like.recognizer import Recognizer, Transcript


@click.command()
@click.argument("inputs", metavar="INPUT...", nargs=-1, required=True)
@click.option(
    "--model", metavar="BUNDLE", type=click.Path(exists=True), help="Model folder [default: bundled English]."
)
@decoder_options
@click.option(
    "--format", "format_", type=click.Choice(FORMATS), default="txt", show_default=True, help="Output format."
)
@click.option(
    "--output-dir",
    type=OUTPUT_FOLDER,
    help="Write a file for each recording here instead of to standard output.",
)
@click.option("--alternatives", type=click.IntRange(min=1), help="Other texts, in json and jsonl, at most so many.")
@click.option("--channel", type=click.IntRange(min=0), help="Take one channel, from 0 [default: the mean of all].")
@click.option("--vad", is_flag=True, help="Leave out long silences and noise without a voice (needs the extra [vad]).")
@engine_options
@click.pass_context
def transcribe(
    context: click.Context,
    inputs: tuple[str, ...],
    model: str | None,
    decoder: str | None,
    beam_width: int | None,
    lm: str | None,
    hotwords_path: Path | None,
    format_: str,
    output_dir: Path | None,
    alternatives: int | None,
    channel: int | None,
    vad: bool,
    engine: Engine,
) -> None:
    """Turn recordings into text.

    An INPUT is a file, a folder (searched through), a quoted glob, or - for standard input.

    One recording's text is printed alone; of several, each line is the path, a tab and the text. json is one object
    for one recording and a list of objects for several; jsonl is one object a line.

    \b
    Examples:
      silero-like transcribe samples/audiobook.opus
      silero-like transcribe talks/ 'calls/**/*.wav' --format jsonl > transcripts.jsonl
      silero-like transcribe talks/ --format json --output-dir transcripts/ --jobs 2
      silero-like transcribe talk.mp3 --format srt --output-dir .
      silero-like transcribe talk.flac --lm my.arpa.gz --hotwords names.txt
      silero-like transcribe night.flac --vad --format jsonl
      silero-like transcribe /data/calls/ --engine ray --address head:6379 --format json --output-dir /data/texts/
      cat talk.flac | silero-like transcribe -
    """
    if alternatives and format_ not in ("json", "jsonl"):
        raise click.UsageError("--alternatives needs --format json or jsonl")
    recordings, problems = find_recordings(inputs)
    is_shared = engine.is_ray or (engine.shares(1) > 1 and len(recordings) > 1)
    if is_shared and any(recording.source == "-" for recording in recordings):
        option = "--engine ray" if engine.is_ray else "--jobs"
        raise click.UsageError(f"standard input cannot be shared by {option}: transcribe it by itself")
    if len(recordings) > 1 and format_ in ("srt", "vtt") and not output_dir:
        raise click.UsageError(f"--format {format_} of several recordings needs --output-dir: each is a file")
    paths = output_paths(recordings, output_dir, f".{format_}") if output_dir else []
    batch = Batch(context)
    for problem in problems:
        batch.fail(problem)
    if recordings:
        options, settings = (model, decoder, beam_width, lm, hotwords_path), (channel, alternatives, vad)
        results = engine.run(
            grouped(recordings, engine.shares(len(recordings))),
            partial(_transcribe_group, load_recognizer(*options), *settings),
            lambda recording: recording.source,
            partial(_open_work, (bundle_sha256(model), *options), settings),
        )
        if not output_dir:
            results = in_order(recordings, results)
        done = batch.sift(results, recordings, lambda recording: recording.source)
        if output_dir:
            path_of = dict(zip(recordings, paths, strict=True))
            for recording, transcript in done:
                try:
                    write_transcript(transcript, path_of[recording], format_)
                except OSError as error:
                    batch.fail(describe(error, recording.source))
        else:
            _print(done, format_, several=len(recordings) > 1)
    batch.finish(len(recordings) + len(problems), "inputs")


def _open_work(options: tuple[Any, ...], settings: tuple[Any, ...]) -> Work[Recording, Transcript]:
    """Make `_transcribe_group` on another machine."""
    return partial(_transcribe_group, load_elsewhere(*options), *settings)


def _transcribe_group(
    recognizer: Recognizer, channel: int | None, alternatives: int | None, vad: bool, group: Sequence[Recording]
) -> list[Transcript | Failure]:
    from silero_like.batching import transcribe_batch

    sources = [recording.source for recording in group]
    outcomes = transcribe_batch(recognizer, sources, channel=channel, n_alternatives=alternatives, vad=vad)
    return [
        failure(outcome, source) if isinstance(outcome, Exception) else outcome
        for source, outcome in zip(sources, outcomes, strict=True)
    ]


def _print(done: Iterator[tuple[Recording, Transcript]], format_: str, *, several: bool) -> None:
    """Write each transcript to standard output as soon as it is there."""
    is_list = several and format_ == "json"
    before = "["
    for recording, transcript in done:
        text = render(transcript, format_)
        if is_list:
            _echo(f"{before}\n{text}", newline=False)
            before = ","
        else:
            _echo(f"{recording.source}\t{text}" if several and format_ == "txt" else text)
    if is_list:
        _echo("[]" if before == "[" else "\n]")


def _echo(text: str, *, newline: bool = True) -> None:
    """Print at once; file names that are not UTF-8 get question marks."""
    click.echo(text.encode("utf-8", "replace"), nl=newline)
