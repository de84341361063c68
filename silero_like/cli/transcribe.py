"""`silero-like transcribe`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import click

from silero_like.cli.batch import Batch
from silero_like.cli.decoder_options import Search, bundle_sha256, decoder_options, load_elsewhere, load_recognizer
from silero_like.cli.inputs import Recording, find_recordings, output_paths
from silero_like.cli.model_option import bundle_option
from silero_like.cli.paths import INPUT_FOLDER, OUTPUT_FILE, OUTPUT_FOLDER, refuse_replacing
from silero_like.cli.transcribe_work import Finished, Settings, Work
from silero_like.cli.workers import Workers, worker_options
from silero_like.writers import FORMATS, suffix_of

JOINED_FORMATS = ("txt", "json", "jsonl", "ctm")
"""Formats in which several transcripts can follow one another on standard output."""


@click.command()
@click.argument("inputs", metavar="[INPUT...]", nargs=-1)
@bundle_option
@decoder_options
@click.option(
    "--format", "format_", type=click.Choice(FORMATS), default="txt", show_default=True, help="Output format."
)
@click.option(
    "--output-dir",
    type=OUTPUT_FOLDER,
    help="Write a file for each recording here instead of to standard output.",
)
@click.option("--resume", is_flag=True, help="Pass over what is in --output-dir, of the same audio, model and options.")
@click.option(
    "--failures", "failures_path", type=OUTPUT_FILE, help="Also list what failed: path and error, as JSON lines."
)
@click.option("--alternatives", type=click.IntRange(min=1), help="Other texts, in json and jsonl, at most so many.")
@click.option("--channel", type=click.IntRange(min=0), help="Take one channel, from 0 [default: the mean of all].")
@click.option(
    "--channels",
    type=click.Choice(["mix", "separate"]),
    default="mix",
    show_default=True,
    help="Take the mean of the channels, or transcribe each by itself, as of calls with a speaker on each.",
)
@click.option("--vad", is_flag=True, help="Leave out long silences and noise without a voice (needs the extra [vad]).")
@click.option(
    "--casing",
    type=click.Choice(["none", "pauses"]),
    default="none",
    show_default=True,
    help="Capital letters: none, or at the beginning and behind pauses of 0.7 s, where a sentence may begin.",
)
@click.option(
    "--watch", type=INPUT_FOLDER, help="Transcribe what is in this folder and what comes, until stopped; --resume."
)
@worker_options
@click.pass_context
def transcribe(
    context: click.Context,
    inputs: tuple[str, ...],
    model: str | None,
    search: Search,
    format_: str,
    output_dir: Path | None,
    resume: bool,
    failures_path: Path | None,
    alternatives: int | None,
    channel: int | None,
    channels: str,
    vad: bool,
    casing: str,
    watch: Path | None,
    workers: Workers,
) -> None:
    """Turn recordings into text.

    An INPUT is a file, a folder (searched through), a quoted glob, an http(s) address, @LIST for a file with an INPUT a
    line, or - for standard input.

    One recording's text is printed alone; of several, each line is the path, a tab and the text. json is one object
    for one recording and a list of objects for several; jsonl is one object a line.

    \b
    Examples:
      silero-like transcribe samples/audiobook.opus
      silero-like transcribe talks/ 'calls/**/*.wav' --format jsonl > transcripts.jsonl
      silero-like transcribe talks/ --format json --output-dir transcripts/ --jobs 2 --resume
      silero-like transcribe talk.mp3 --format srt --output-dir .
      silero-like transcribe call.wav --channels separate
      silero-like transcribe talk.flac --lm my.arpa.gz --hotwords names.txt
      silero-like transcribe night.flac --vad --format jsonl
      silero-like transcribe @list.txt https://example.org/talk.mp3 --failures failed.jsonl
      silero-like transcribe --watch inbox/ --output-dir transcripts/
      silero-like transcribe /data/calls/ --engine ray --address head:6379 --output-dir /data/texts/ --resume
      cat talk.flac | silero-like transcribe -
    """
    settings = Settings(
        format=format_,
        alternatives=alternatives,
        channel=channel,
        separate=channels == "separate",
        vad=vad,
        casing=casing == "pauses",
    )
    if watch and workers.is_ray:
        raise click.UsageError("--watch works on this machine: leave --engine ray out")
    _check(settings, inputs, watch, resume, output_dir)
    recordings, problems = find_recordings(inputs)
    _check_recordings(recordings, output_dir, format_, workers)
    paths = _paths(recordings, output_dir, format_)
    batch = Batch(context)
    if failures_path:
        named = (*(text.removeprefix("@") for text in inputs), *(recording.source for recording in recordings))
        refuse_replacing([failures_path], map(Path, named))
        batch.list_failures(failures_path)
    for problem in problems:
        batch.fail(problem.message, problem.source)
    if watch or recordings:
        elsewhere = partial(load_elsewhere, bundle_sha256(model), model, search) if workers.is_ray else None
        work = Work(load_recognizer(model, search), settings, paths, elsewhere=elsewhere)
        if output_dir:
            made_by = (*_model_state(model, search), search.decoder, search.beam_width, settings)
            work = _with_journal(context, work, output_dir, made_by, resume=resume or watch is not None)
        if watch and output_dir:
            n_files = _watch(watch, output_dir, work, workers, batch)
            batch.finish(n_files, "files")
            return
        _write(work, recordings, workers, batch)
    batch.finish(len(recordings) + len(problems), "inputs")


def _check(
    settings: Settings, inputs: Sequence[str], watch: Path | None, resume: bool, output_dir: Path | None
) -> None:
    """Refuse options that do not go together."""
    if bool(inputs) == bool(watch):
        raise click.UsageError(
            "name inputs or a folder to --watch, not both" if watch else "Missing argument 'INPUT...'."
        )
    if (resume or watch) and not output_dir:
        raise click.UsageError(f"{'--watch' if watch else '--resume'} needs --output-dir: it remembers what is there")
    if settings.alternatives and settings.format not in ("json", "jsonl"):
        raise click.UsageError("--alternatives needs --format json or jsonl")
    if settings.separate and (settings.alternatives or settings.channel is not None):
        other = "--alternatives" if settings.alternatives else "--channel"
        raise click.UsageError(f"--channels separate does not go with {other}: leave one of them out")


def _check_recordings(recordings: Sequence[Recording], output_dir: Path | None, format_: str, workers: Workers) -> None:
    """Refuse what cannot be done with so many recordings."""
    is_shared = workers.is_ray or (workers.shares(1) > 1 and len(recordings) > 1)
    if is_shared and any(recording.source == "-" for recording in recordings):
        option = "--engine ray" if workers.is_ray else "--jobs"
        raise click.UsageError(f"standard input cannot be shared by {option}: transcribe it by itself")
    if len(recordings) > 1 and format_ not in JOINED_FORMATS and not output_dir:
        raise click.UsageError(f"--format {format_} of several recordings needs --output-dir: each is a file")


def _paths(recordings: Sequence[Recording], output_dir: Path | None, format_: str) -> dict[Recording, Path]:
    """Name the file of each recording; none for standard output."""
    if not output_dir:
        return {}
    return dict(zip(recordings, output_paths(recordings, output_dir, suffix_of(format_)), strict=True))


def _model_state(model: str | None, search: Search) -> list[str]:
    """Return what tells the model, the language model, the hotwords and this program from others."""
    from silero_like import __version__
    from silero_like.bundle import BUNDLED_PATH, CHECKSUMS_NAME
    from silero_like.cli.transcribe_journal import digest

    states = [__version__]
    for path in (Path(model or BUNDLED_PATH) / CHECKSUMS_NAME, search.lm, search.hotwords_path):
        if path in (None, "none"):
            states.append(str(path))
        else:
            with open(str(path), "rb") as file:
                states.append(digest(file))
    return states


def _with_journal(
    context: click.Context, work: Work, output_dir: Path, made_by: Iterable[object], *, resume: bool
) -> Work:
    """Let work know what was done before; without --resume what it writes over counts as not done."""
    from silero_like.cli.transcribe_journal import JOURNAL, Journal

    if not (resume or (output_dir / JOURNAL).exists()):
        return work
    journal = Journal(output_dir, made_by)
    context.call_on_close(journal.close)
    journal.clear(work.paths.values())
    if resume:
        return dataclasses.replace(work, journal=journal, alone=True)
    for path in work.paths.values():
        journal.begin(path)
    return work


def _write(work: Work, recordings: Sequence[Recording], workers: Workers, batch: Batch) -> None:
    """Transcribe recordings, to their files or to standard output."""
    done = batch.sift(work.run(recordings, workers), recordings, lambda recording: recording.source)
    if not work.paths:
        _print(done, work.settings, several=len(recordings) > 1)
    elif n_before := sum(finished.before for _, finished in done):
        click.echo(f"{n_before} of {len(recordings)} recordings were done before", err=True)


def _watch(folder: Path, output_dir: Path, work: Work, workers: Workers, batch: Batch) -> int:
    """Transcribe what is in a folder and what comes, until a signal ends it; return how many files it was."""
    from silero_like.cli.signals import until_stopped
    from silero_like.cli.watch import settled_recordings

    n_files = 0
    with until_stopped():
        for present, ready in settled_recordings(folder):
            paths = _paths(present, output_dir, work.settings.format)
            n_files += len(ready)
            if work.journal:
                work.journal.clear(paths.values())
            _write(dataclasses.replace(work, paths=paths), ready, workers, batch)
    click.echo("stopped; the same command goes on", err=True)
    return n_files


def _print(done: Iterator[tuple[Recording, Finished]], settings: Settings, *, several: bool) -> None:
    """Write each transcript to standard output as soon as it is there."""
    is_list = several and settings.format == "json"
    before = "["
    for recording, finished in done:
        if is_list:
            _echo(f"{before}\n{finished.text}", newline=False)
            before = ","
        elif several and settings.format == "txt":
            for line in finished.text.split("\n"):  # a turn a line, of separate channels
                _echo(f"{recording.source}\t{line}")
        else:
            _echo(finished.text)
    if is_list:
        _echo("[]" if before == "[" else "\n]")


def _echo(text: str, *, newline: bool = True) -> None:
    """Print at once; file names that are not UTF-8 get question marks."""
    click.echo(text.encode("utf-8", "replace"), nl=newline)
