"""`silero-like data synthesize`."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from silero_like.cli.batch import Batch, Failure, failure
from silero_like.cli.data_import import json_option, write_json
from silero_like.cli.paths import INPUT_TEXT, OUTPUT_FOLDER

if TYPE_CHECKING:
    from data.manifest import Utterance
    from data.synthesize import Line

LANGS = ("en", "ru", "zh")


@click.command()
@click.argument("text_path", metavar="TEXT", type=INPUT_TEXT)
@click.argument("out_dir", type=OUTPUT_FOLDER)
@click.option("--lang", type=click.Choice(LANGS), default="en", show_default=True, help="Language of the text.")
@click.option("--voice", "voices", multiple=True, help="A voice of espeak-ng, such as en-us+f3  [default: four]")
@click.option(
    "--speed", "speeds", type=click.IntRange(80, 450), multiple=True, help="Words a minute  [default: 130, 160, 190]"
)
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Lines spoken at a time.")
@json_option
@click.pass_context
def synthesize(
    context: click.Context,
    text_path: Path,
    out_dir: Path,
    lang: str,
    voices: tuple[str, ...],
    speeds: tuple[int, ...],
    jobs: int,
    json_path: Path | None,
) -> None:
    """Speak a text, a line an utterance, with espeak-ng.

    OUT_DIR gets a WAV file for each different line and manifest.jsonl: domain "narration", annotation "synthetic".
    Voices and speeds take turns. Run again, it speaks only what is missing. TEXT is a file, or - for standard input.

    \b
    Examples:
      silero-like data synthesize sentences.txt spoken/
      silero-like data synthesize sentences.txt spoken/ --lang ru --voice ru --voice ru+f2 --speed 150 --jobs 4
    """
    from data.manifest import write_manifest
    from data.synthesize import SPEEDS, VOICES, check_program, deal
    from silero_like.errors import SileroLikeError

    check_program()
    try:
        with click.open_file(str(text_path), encoding="utf-8-sig") as file:
            texts = list(dict.fromkeys(line.strip() for line in file if line.strip()))
    except UnicodeDecodeError as error:
        raise SileroLikeError(f"{text_path}: expected text in UTF-8: convert it ({error})") from error
    lines = deal(texts, voices or VOICES[lang], speeds or SPEEDS)
    out_dir.mkdir(parents=True, exist_ok=True)
    batch = Batch(context)
    with ThreadPoolExecutor(jobs) as pool:
        results = pool.map(partial(_spoken, out_dir, lang), lines)
        done = list(batch.sift(zip(lines, results, strict=True), lines, lambda line: line.text))
    write_manifest(out_dir / "manifest.jsonl", [utterance for _, utterance in done])
    audio_s = sum(utterance.duration_s for _, utterance in done)
    click.echo(f"{out_dir / 'manifest.jsonl'}: {len(done)} utterances, {audio_s / 3600:.2f} h", err=True)
    if json_path:
        about = {"lines": len(lines), "utterances": len(done), "audio_s": round(audio_s, 3), "failed": batch.n_failed}
        write_json(json_path, about)
    batch.finish(len(lines), "lines")


def _spoken(out_dir: Path, lang: str, line: Line) -> Utterance | Failure:
    from data.synthesize import synthesize as speak

    try:
        return speak(line, out_dir, lang)
    except Exception as error:  # noqa: BLE001 - whatever it is, the other lines are spoken
        return failure(error, line.text)
