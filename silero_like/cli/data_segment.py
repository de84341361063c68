"""`silero-like data segment` and `data subtitles`: long recordings and their texts become utterances."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import click

from silero_like.cli.batch import Batch
from silero_like.cli.long_recordings import Choices, long_recording_options, process
from silero_like.cli.paths import INPUT_FILE, OUTPUT_FILE
from silero_like.errors import ManifestError

if TYPE_CHECKING:
    from data.utterances import Request


@click.command()
@click.argument("inputs", metavar="(RECORDING TEXT | MANIFEST)", nargs=-1, required=True, type=INPUT_FILE)
@click.argument("out", metavar="OUT.jsonl", type=OUTPUT_FILE)
@click.option("--sentences", is_flag=True, help="Cut the lines of the text where sentences end.")
@long_recording_options(0.0, 30.0)
@click.pass_context
def segment(context: click.Context, inputs: tuple[Path, ...], out: Path, sentences: bool, choices: Choices) -> None:
    """Cut long recordings into utterances by their texts.

    TEXT holds an utterance a line, in the order in which they are said; or give a MANIFEST whose rows are recordings
    with their whole transcripts. Music, noise, speech without text and text that nobody says are passed over.

    OUT.jsonl gets a row for each utterance, with its text as it is written and, as quality, a score: 0 where the model
    hears just what is written, below -7 for text that is not said. Low scores are left out, and so is what suits the
    sound little better than other text would, or lies elsewhere when it is heard alone; the summary that is printed
    counts them. Recordings of a manifest that are done are not done again after an interruption.

    \b
    Examples:
      silero-like data segment lecture.mp3 lecture.txt lecture.jsonl
      silero-like data segment book.flac book.txt book.jsonl --sentences --max-duration 15 --all book.all.jsonl
      silero-like data segment recordings.jsonl utterances.jsonl --model runs/mine/bundle --jobs 2
    """
    from data.manifest import Utterance, read_manifest
    from data.passages import passages_of, read_passages

    choices.check(out, inputs)
    batch = Batch(context)
    if len(inputs) == 2:
        like = Utterance(audio_path=inputs[0].absolute(), duration_s=1.0, text="-")
        texts = [(like, read_passages(inputs[1], split=sentences))]
    elif len(inputs) == 1 and inputs[0].suffix == ".jsonl":
        manifest = read_manifest(inputs[0])
        for problem in manifest.problems:
            batch.fail(problem)
        texts = [(row, passages_of(row.text, split=sentences)) for row in manifest.utterances]
    else:
        raise click.UsageError("expected RECORDING TEXT OUT.jsonl, or MANIFEST.jsonl OUT.jsonl")
    requests = [
        choices.request(dataclasses.replace(like, offset_s=0.0, annotation="aligned"), passages)
        for like, passages in texts
    ]
    process(batch, requests, out, choices)


@click.command()
@click.argument(
    "inputs", metavar="(MEDIA SUBS | FOLDER)", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path)
)
@click.argument("out", metavar="OUT.jsonl", type=OUTPUT_FILE)
@click.option("--encoding", help="Of the subtitles, such as cp1251 [default: UTF-8, or UTF-16 with its mark].")
@long_recording_options(1.0, 15.0)
@click.pass_context
def subtitles(
    context: click.Context, inputs: tuple[Path, ...], out: Path, encoding: str | None, choices: Choices
) -> None:
    """Make utterances of audio or video with SRT or WebVTT subtitles.

    MEDIA is what SUBS belongs to; or give a FOLDER (searched through) where subtitles stand beside media of the same
    name. Music, noises, songs, speaker labels and tags are taken out of the cues. Each cue is found in the sound
    itself, so it does not matter when cues begin late, run fast or skip an advertisement; a cue is kept if it suits
    the sound (--min-score) and lies where the cues around it lie. Short cues are joined, long ones cut.

    \b
    Examples:
      silero-like data subtitles film.mkv film.srt film.jsonl
      silero-like data subtitles talks/ talks.jsonl --min-duration 2 --max-duration 20 --jobs 2
      silero-like data subtitles show.mp4 show.ru.srt show.jsonl --encoding cp1251 --model runs/ru/bundle
    """
    choices.check(out, inputs)
    batch = Batch(context)
    requests = []
    for media, path in _pairs(batch, inputs):
        try:
            requests.append(_request(media, path, encoding, choices))
        except ManifestError as error:
            batch.fail(str(error))
    process(batch, requests, out, choices)


def _pairs(batch: Batch, inputs: tuple[Path, ...]) -> list[tuple[Path, Path]]:
    """Return each recording with its subtitles."""
    from data.subtitles import SUBTITLE_SUFFIXES
    from silero_like.audio import AUDIO_SUFFIXES

    if len(inputs) == 2 and inputs[0].is_file() and inputs[1].is_file():
        return [(inputs[0], inputs[1])]
    if len(inputs) != 1 or not inputs[0].is_dir():
        raise click.UsageError("expected MEDIA SUBS OUT.jsonl, or FOLDER OUT.jsonl")
    pairs = []
    for path in sorted(path for path in inputs[0].rglob("*") if path.suffix.lower() in SUBTITLE_SUFFIXES):
        beside = [other for other in sorted(path.parent.iterdir()) if other.suffix.lower() in AUDIO_SUFFIXES]
        media = [other for other in beside if path.name.startswith(f"{other.stem}.")]
        if media:
            pairs.append((max(media, key=lambda other: len(other.stem)), path))
        else:
            batch.fail(f"{path}: no audio or video of that name beside it")
    if not pairs:
        raise click.UsageError(f"{inputs[0]}: no .srt or .vtt file with media of its name in this folder")
    return pairs


def _request(media: Path, path: Path, encoding: str | None, choices: Choices) -> Request:
    from data.manifest import Utterance
    from data.subtitles import read_subtitles

    found = read_subtitles(path, encoding)
    for problem in found.problems:
        click.echo(problem, err=True)
    like = Utterance(audio_path=media.absolute(), duration_s=1.0, text="-", annotation="subtitles")
    return choices.request(like, [cue.text for cue in found.cues], found.cues)
