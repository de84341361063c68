"""`silero-like data pseudo-label`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from silero_like.cli.batch import Batch
from silero_like.cli.data_pseudo_inputs import read_speech
from silero_like.cli.data_pseudo_work import (
    MAX_S,
    FilterChoices,
    filter_options,
    format_report,
    label_speech,
    make_teachers,
)
from silero_like.cli.decoder_options import Search, decoder_options
from silero_like.cli.evaluate_systems import PEERS
from silero_like.cli.model_option import BUNDLE
from silero_like.cli.number import Number
from silero_like.cli.paths import INPUT_FILE, OUTPUT_FILE, refuse_replacing
from silero_like.cli.workers import Workers, worker_options


@click.command("pseudo-label")
@click.argument("inputs", metavar="AUDIO_OR_MANIFEST...", nargs=-1, required=True)
@click.argument("out", metavar="OUT.jsonl", type=OUTPUT_FILE)
@click.option(
    "--model",
    "models",
    metavar="BUNDLE",
    multiple=True,
    type=BUNDLE,
    help="A teacher: a model folder [default: bundled English, if there is no other teacher].",
)
@click.option("--command", "command_lines", metavar="'CMD {audio}'", multiple=True, help="A teacher that prints text.")
@click.option("--peer", "peers", multiple=True, type=click.Choice(list(PEERS)), help="A teacher (extra [peers]).")
@click.option(
    "--transcripts",
    "files",
    metavar="FILE",
    multiple=True,
    type=INPUT_FILE,
    help="A teacher: transcripts made elsewhere: .jsonl, .ctm, .tsv, else Kaldi text.",
)
@decoder_options
@filter_options
@click.option(
    "--probe", multiple=True, type=INPUT_FILE, metavar="MANIFEST", help="Labelled speech to try the filters on."
)
@click.option("--lang", help="Language [default: the models'].")
@click.option("--domain", default="default", show_default=True, help="Domain of speech that names none.")
@click.option(
    "--max-s",
    type=Number(min=1),
    default=MAX_S,
    show_default=True,
    help="Cut longer recordings at their pauses (extra [vad]).",
)
@click.option("--json", "json_path", type=OUTPUT_FILE, help="Write the report here, as JSON.")
@worker_options
@click.pass_context
def pseudo_label(
    context: click.Context,
    inputs: tuple[str, ...],
    out: Path,
    models: tuple[str, ...],
    command_lines: tuple[str, ...],
    peers: tuple[str, ...],
    files: tuple[Path, ...],
    search: Search,
    choices: FilterChoices,
    probe: tuple[Path, ...],
    lang: str | None,
    domain: str,
    max_s: float,
    json_path: Path | None,
    workers: Workers,
) -> None:
    """Let recognisers label speech, and keep what can be trusted.

    An input is a manifest, whose rows need no text, an audio file, a folder or a quoted glob. The first teacher's
    text is the label: files of transcripts come first, then commands, peers and models; of three or more teachers the
    text that is nearest to the others'. OUT is a manifest with annotation "pseudo" and the confidence as quality.

    The report says what each filter removes alone, and all of them together. With --probe, labelled speech goes the
    same way, and the report has the CER of what is kept. What was heard is kept in OUT's folder (.scores.jsonl), so
    another run, with other filters perhaps, or after a kill, hears nothing twice.

    \b
    Examples:
      silero-like data pseudo-label recordings/ labelled.jsonl --min-confidence 0.7
      silero-like data pseudo-label speech.jsonl labelled.jsonl --probe dev.jsonl --max-disagreement 0.1 --rate 0.5 4
      silero-like data pseudo-label speech.jsonl labelled.jsonl --transcripts large-model.jsonl --model runs/a/bundle
      silero-like data pseudo-label 'calls/**/*.wav' labelled.jsonl --rare 20 --known train.jsonl --jobs 8
      silero-like data pseudo-label speech.jsonl labelled.jsonl --engine ray --address head:6379
    """
    from data.cache import Cache

    refuse_replacing((out, json_path), (*map(Path, inputs), *probe, *files))
    filters = choices.filters()
    batch = Batch(context)
    teachers, lang = make_teachers(files, models, command_lines, peers, search, lang=lang)
    cache = Cache(out.with_suffix(".scores.jsonl"))
    speech = read_speech(inputs, cache, batch, lang=lang, domain=domain, max_s=max_s, workers=workers)
    report = label_speech(
        speech, out, teachers, filters, cache, batch, probe=probe, known=choices.known, workers=workers
    )
    if json_path:
        from silero_like.writers import write_atomically

        write_atomically(json_path, json.dumps(report, ensure_ascii=False, indent=1) + "\n")
    click.echo(format_report(report))
    batch.finish()
