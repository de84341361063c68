"""`silero-like evaluate`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from silero_like.cli.batch import Batch
from silero_like.cli.decoder_options import Search, decoder_options
from silero_like.cli.evaluate_inputs import (
    check_domains,
    check_lang,
    read_keywords,
    read_training,
    read_utterances,
    text_rule,
)
from silero_like.cli.evaluate_options import (
    Hints,
    Outputs,
    Rival,
    check_sources,
    hint_options,
    output_options,
    rival_options,
)
from silero_like.cli.evaluate_outputs import give_out
from silero_like.cli.evaluate_recognise import Opened, open_system, recognise
from silero_like.cli.evaluate_study import (
    known_words,
    make_study,
    provenance,
    read_texts,
    score,
    seen_domains,
)
from silero_like.cli.model_option import MODEL
from silero_like.cli.paths import INPUT_FILE, OUTPUT_FILE, refuse_replacing
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
@rival_options
@click.option("--name", help="What results call the system.")
@click.option("--lang", help="Language of the texts [default: the model's, or the rows' own].")
@click.option("--alike", is_flag=True, help="Write numbers and spelled letters alike, whatever the system's habit.")
@hint_options
@output_options
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
    rival: Rival,
    name: str | None,
    lang: str | None,
    alike: bool,
    hints: Hints,
    outputs: Outputs,
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
    check_sources(source, rival, search, workers, cache_path)
    outputs.check(cache_path)
    results = (outputs.utterances_path, outputs.json_path, outputs.html_path, cache_path)
    texts = (rival.hypotheses_path, hints.keywords_path, search.hotwords_path)
    refuse_replacing(results, (*manifests, *hints.training_data, *filter(None, texts)))
    batch = Batch(context)
    opened = None if rival.hypotheses_path else open_system(source, rival, search)
    config = opened.config if opened else None
    utterances, lang, hashes = read_utterances(manifests, check_lang(lang, config), batch)
    n_rows = len(utterances) + batch.n_failed
    training = read_training(hints.training_data, batch)
    check_domains((*hints.unseen, *hints.noisy), {utterance.domain for utterance in utterances}, "--unseen and --noisy")
    rule = text_rule(lang, alike)
    keywords = read_keywords(hints.keywords_path, rule) if hints.keywords_path else []
    pairs, speed = _find_texts(opened, rival.hypotheses_path, utterances, batch, workers, cache_path)
    if not pairs:
        batch.fail("nothing to evaluate: no usable row in the manifests")
        batch.finish(1, "rows")
    evaluation = score(
        [rule.apply(score) for _, score in pairs],
        rule,
        model=name or (source.name if source else "") or (opened.system.name if opened else str(rival.hypotheses_path)),
        decoder=opened.system.decoder if opened else "unknown",
        speed=speed,
    )
    study = make_study(
        evaluation,
        seen=seen_domains(training, config, hints.unseen, evaluation),
        noisy=hints.noisy,
        known_words=known_words(training, rule),
        tokens=opened.tokens if opened else None,
        keywords=keywords,
        provenance=provenance(hashes, source.path if source else None, is_own=config is not None),
    )
    give_out(study, pairs, batch, outputs)
    batch.finish(None if rival.hypotheses_path or hints.training_data else n_rows, "rows")


def _find_texts(
    opened: Opened | None,
    hypotheses_path: Path | None,
    utterances: Sequence[Utterance],
    batch: Batch,
    workers: Workers,
    cache_path: Path | None,
) -> tuple[list[tuple[Utterance, Scored]], float | None]:
    """Recognise every utterance, or read its text; also return seconds of audio a core-second, if it is known."""
    from data.cache import Cache

    if opened:
        return recognise(opened, utterances, batch, workers, Cache(cache_path) if cache_path else None)
    return read_texts(utterances, hypotheses_path, batch) if hypotheses_path else [], None
