"""`silero-like evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from silero_like.cli.batch import Batch
from silero_like.cli.decoder_options import Search, decoder_options
from silero_like.cli.evaluate_inputs import (
    check_domains,
    check_lang,
    check_outputs,
    check_sources,
    read_keywords,
    read_training,
    read_utterances,
    text_rule,
)
from silero_like.cli.evaluate_outputs import print_study, write_outputs
from silero_like.cli.evaluate_recognise import open_system, recognise
from silero_like.cli.evaluate_study import (
    known_words,
    make_study,
    provenance,
    read_texts,
    score,
    seen_domains,
)
from silero_like.cli.evaluate_systems import PEERS
from silero_like.cli.model_option import MODEL
from silero_like.cli.paths import INPUT_FILE, OUTPUT_FILE
from silero_like.cli.workers import Workers, worker_options

if TYPE_CHECKING:
    from data.manifest import Utterance
    from silero_like.engines import ModelSource
    from silero_like.evaluation.scoring import Scored


@click.command()
@click.argument("manifests", metavar="MANIFEST...", nargs=-1, required=True, type=INPUT_FILE)
@click.option(
    "--model",
    "source",
    type=MODEL,
    help="Model folder, and what runs it if it is not ours: pocketsphinx, sherpa-onnx [default: bundled English].",
)
@decoder_options
@click.option(
    "--hypotheses",
    "hypotheses_path",
    type=INPUT_FILE,
    help="Score these transcripts: .jsonl, .ctm, .tsv, else Kaldi text.",
)
@click.option("--command", "command_line", metavar="'CMD {audio}'", help="Measure a recogniser that prints its text.")
@click.option("--peer", type=click.Choice(list(PEERS)), help="Measure this recogniser (extra [peers]).")
@click.option("--name", help="What results call the system.")
@click.option("--lang", help="Language of the texts [default: the model's, or the rows' own].")
@click.option("--alike", is_flag=True, help="Write numbers and spelled letters alike, whatever the system's habit.")
@click.option(
    "--training-data",
    metavar="MANIFEST",
    multiple=True,
    type=INPUT_FILE,
    help="What the model learned from: its domains are seen, its words known.",
)
@click.option("--unseen", metavar="DOMAIN", multiple=True, help="A domain that the model was not trained on.")
@click.option("--noisy", metavar="DOMAIN", multiple=True, help="A noisy domain [default: by the SNR estimate].")
@click.option(
    "--keywords",
    "keywords_path",
    type=INPUT_FILE,
    help="Words or phrases, one a line, to count.",
)
@click.option("--details", is_flag=True, help="Print difficulty, gaps and what went wrong too.")
@click.option(
    "--utterances",
    "utterances_path",
    type=OUTPUT_FILE,
    help="Write each row's texts and counts here (JSON lines).",
)
@click.option("--json", "json_path", type=OUTPUT_FILE, help="Write the evaluation here, as JSON.")
@click.option("--html", "html_path", type=OUTPUT_FILE, help="Write a report here, one page that needs nothing else.")
@click.option("--embed-audio", is_flag=True, help="Put the recordings into the page instead of linking them.")
@click.option(
    "--cache",
    "cache_path",
    type=OUTPUT_FILE,
    help="Keep what is recognised here (JSON lines): another run, after a kill perhaps, goes on from it.",
)
@worker_options
@click.pass_context
def evaluate(
    context: click.Context,
    manifests: tuple[Path, ...],
    source: ModelSource | None,
    search: Search,
    hypotheses_path: Path | None,
    command_line: str | None,
    peer: str | None,
    name: str | None,
    lang: str | None,
    alike: bool,
    training_data: tuple[Path, ...],
    unseen: tuple[str, ...],
    noisy: tuple[str, ...],
    keywords_path: Path | None,
    details: bool,
    utterances_path: Path | None,
    json_path: Path | None,
    html_path: Path | None,
    embed_audio: bool,
    cache_path: Path | None,
    workers: Workers,
) -> None:
    """Measure error rates, domain by domain.

    The recordings of every MANIFEST are transcribed and compared with their texts. A manifest is JSON lines:
    audio_filepath, duration, text, and optionally speaker, domain, lang, source, offset. Rows of another language than
    the model's are left out. Speed is seconds of audio a second of processor time, reading the files included.

    Another system's transcripts are scored with --hypotheses, another recogniser is run with --command or --peer. An
    utterance without a transcript counts as an empty one, and is told.

    \b
    Examples:
      silero-like evaluate samples/manifest.jsonl
      silero-like evaluate *.dev.jsonl --model my-model --json dev.json --html dev.html
      silero-like evaluate dev.jsonl --model sherpa-onnx:models/nemo --alike
      silero-like evaluate dev.jsonl --hypotheses theirs.ctm --utterances theirs.jsonl
      silero-like evaluate dev.jsonl --command 'whisper-cli -nt -np -f {audio}' --alike
      silero-like evaluate large.jsonl --engine ray --address head:6379 --cache large.heard.jsonl --json large.json
    """
    other = source if source and not source.is_own else None
    sources = {"--model": source, "--hypotheses": hypotheses_path, "--command": command_line, "--peer": peer}
    work = {"--cache": cache_path, "--jobs": workers.jobs, "--engine": workers.is_ray or None}
    check_sources(sources, search.given, work, is_own=not other)
    outputs = {"--utterances": utterances_path, "--json": json_path, "--html": html_path, "--cache": cache_path}
    check_outputs(outputs, embed_audio)
    from data.cache import Cache

    batch = Batch(context)
    model = source.path if source else None
    opened = None if hypotheses_path else open_system(command_line, peer, other, model, search)
    config = opened.config if opened else None
    utterances, lang, hashes = read_utterances(manifests, check_lang(lang, config), batch)
    n_rows = len(utterances) + batch.n_failed
    training = read_training(training_data, batch)
    check_domains((*unseen, *noisy), {utterance.domain for utterance in utterances}, "--unseen and --noisy")
    rule = text_rule(lang, alike)
    keywords = read_keywords(keywords_path, rule) if keywords_path else []
    pairs: list[tuple[Utterance, Scored]] = []
    speed = None
    if opened:
        cache = Cache(cache_path) if cache_path else None
        pairs, speed = recognise(opened, utterances, batch, workers, cache)
    elif hypotheses_path:
        pairs = read_texts(utterances, hypotheses_path, batch)
    if not pairs:
        batch.fail("nothing to evaluate: no usable row in the manifests")
        batch.finish(1, "rows")
    evaluation = score(
        [rule.apply(score) for _, score in pairs],
        rule,
        model=name or (source.name if source else "") or (opened.system.name if opened else str(hypotheses_path)),
        decoder=opened.system.decoder if opened else "unknown",
        speed=speed,
    )
    study = make_study(
        evaluation,
        seen=seen_domains(training, config, unseen, evaluation),
        noisy=noisy,
        known_words=known_words(training, rule),
        tokens=opened.tokens if opened else None,
        keywords=keywords,
        provenance=provenance(hashes, model, is_own=config is not None),
    )
    print_study(study, details)
    write_outputs(
        study,
        pairs,
        batch,
        json_path=json_path,
        utterances_path=utterances_path,
        html_path=html_path,
        embed_audio=embed_audio,
    )
    batch.finish(None if hypotheses_path or training_data else n_rows, "rows")
