"""`silero-like evaluate`."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from silero_like.cli.batch import Batch
from silero_like.cli.decoder_options import decoder_options, load_recognizer
from silero_like.cli.evaluate_inputs import check_domains, read_keywords, read_utterances, text_rule
from silero_like.cli.evaluate_study import (
    known_words,
    make_study,
    open_system,
    provenance,
    read_texts,
    recognise,
    score,
    seen_domains,
)
from silero_like.cli.evaluate_systems import PEERS
from silero_like.writers import write_atomically

if TYPE_CHECKING:
    from data.manifest import Utterance
    from silero_like.evaluation.scoring import Evaluation, Row, Scored
    from silero_like.evaluation.study import Study

_FILE = click.Path(dir_okay=False, path_type=Path)
_INPUT = click.Path(exists=True, dir_okay=False)


@click.command()
@click.argument("manifests", metavar="MANIFEST...", nargs=-1, required=True, type=_INPUT)
@click.option(
    "--model", metavar="BUNDLE", type=click.Path(exists=True), help="Model folder [default: bundled English]."
)
@decoder_options
@click.option(
    "--hypotheses",
    "hypotheses_path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
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
    type=_INPUT,
    help="What the model learned from: its domains are seen, its words known.",
)
@click.option("--unseen", metavar="DOMAIN", multiple=True, help="A domain that the model was not trained on.")
@click.option("--noisy", metavar="DOMAIN", multiple=True, help="A noisy domain [default: by the SNR estimate].")
@click.option(
    "--keywords",
    "keywords_path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Words or phrases, one a line, to count.",
)
@click.option("--details", is_flag=True, help="Print difficulty, gaps and what went wrong too.")
@click.option(
    "--utterances", "utterances_path", type=_FILE, help="Write each row's text, pred_text and counts here (JSON lines)."
)
@click.option("--json", "json_path", type=_FILE, help="Write the evaluation here, as JSON.")
@click.option("--html", "html_path", type=_FILE, help="Write a report here, one page that needs nothing else.")
@click.option("--embed-audio", is_flag=True, help="Put the recordings into the page instead of linking them.")
@click.pass_context
def evaluate(
    context: click.Context,
    manifests: tuple[str, ...],
    model: str | None,
    decoder: str | None,
    beam_width: int | None,
    lm: str | None,
    hotwords_path: Path | None,
    hypotheses_path: Path | None,
    command_line: str | None,
    peer: str | None,
    name: str | None,
    lang: str | None,
    alike: bool,
    training_data: tuple[str, ...],
    unseen: tuple[str, ...],
    noisy: tuple[str, ...],
    keywords_path: Path | None,
    details: bool,
    utterances_path: Path | None,
    json_path: Path | None,
    html_path: Path | None,
    embed_audio: bool,
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
      silero-like evaluate dev.jsonl --hypotheses theirs.ctm --utterances theirs.jsonl
      silero-like evaluate dev.jsonl --command 'whisper-cli -nt -np -f {audio}' --alike
    """
    if sum(option is not None for option in (model, hypotheses_path, command_line, peer)) > 1:
        raise click.UsageError("give one of --model, --hypotheses, --command and --peer")
    batch = Batch(context)
    own = partial(load_recognizer, model, decoder, beam_width, lm, hotwords_path)
    config, tokens, system = (None, None, None) if hypotheses_path else open_system(own, command_line, peer)
    utterances, lang, hashes = read_utterances(manifests, config.lang if config else lang, batch)
    check_domains((*unseen, *noisy), {utterance.domain for utterance in utterances}, "--unseen and --noisy")
    rule = text_rule(lang, alike)
    keywords = read_keywords(keywords_path, rule) if keywords_path else []
    n_rows = len(utterances) + batch.n_failed
    pairs: list[tuple[Utterance, Scored]] = []
    speed = None
    if system:
        pairs, speed = recognise(system, utterances, batch)
    elif hypotheses_path:
        pairs = read_texts(utterances, hypotheses_path, batch)
    if not pairs:
        batch.fail("nothing to evaluate: no usable row in the manifests")
        batch.finish(1, "rows")
    evaluation = score(
        [rule.apply(score) for _, score in pairs],
        rule,
        model=name or (system.name if system else str(hypotheses_path)),
        decoder=system.decoder if system else "unknown",
        speed=speed,
    )
    study = make_study(
        evaluation,
        seen=seen_domains(training_data, config, unseen, evaluation),
        noisy=noisy,
        known_words=known_words(training_data, rule),
        tokens=tokens,
        keywords=keywords,
        provenance=provenance(dict(zip(manifests, hashes, strict=True)), model, is_own=config is not None),
    )
    _print(study, details)
    if json_path:
        write_atomically(json_path, json.dumps(study.to_dict(), ensure_ascii=False, indent=1) + "\n")
    if utterances_path:
        lines = (_line(*pair, row, evaluation) for pair, row in zip(pairs, evaluation.rows, strict=True))
        write_atomically(utterances_path, "".join(lines))
    if html_path:
        from silero_like.evaluation.report import render_report

        sources = [_source(utterance, html_path, embed_audio) for utterance, _ in pairs]
        write_atomically(html_path, render_report(study, sources))
    batch.finish(max(n_rows, 1), "rows")


def _print(study: Study, details: bool) -> None:
    from silero_like.evaluation.breakdown import format_breakdown, format_keywords
    from silero_like.evaluation.scoring import format_table
    from silero_like.evaluation.study import format_study

    click.echo(format_table(study.evaluation))
    if study.evaluation.audio_s_per_core_s is not None:
        click.echo(f"speed: {study.evaluation.audio_s_per_core_s:.0f} s of audio a core-second")
    if details:
        click.echo(f"\n{format_study(study)}\n\n{format_breakdown(study.breakdown)}")
    elif study.breakdown.keywords:
        click.echo("\n".join(["", *format_keywords(study.breakdown.keywords)]))


def _line(utterance: Utterance, score: Scored, row: Row, evaluation: Evaluation) -> str:
    """One line of the utterances file, with NeMo's field names; texts as they came, counts after normalisation."""
    values = {
        "audio_filepath": str(utterance.audio_path),
        "offset": utterance.offset_s,
        "duration": utterance.duration_s,
        "domain": utterance.domain,
        "speaker": utterance.speaker,
        "text": score.reference,
        "pred_text": score.hypothesis,
        "system": evaluation.model,
        "normalizer": evaluation.normalizer,
        "wer": row.words.rate,
        "cer": row.chars.rate,
        "words": row.words.length,
        "substitutions": row.words.substitutions,
        "insertions": row.words.insertions,
        "deletions": row.words.deletions,
        "confidence": score.confidence,
        "snr_db": score.snr_db,
    }
    return json.dumps(values, ensure_ascii=False) + "\n"


def _source(utterance: Utterance, html_path: Path, embed: bool) -> str:
    """Return where the page finds the recording: a relative link, or the recording itself."""
    import base64
    import io
    import os
    from urllib.parse import quote

    if embed:
        import soundfile

        from silero_like.audio import SAMPLE_RATE, load_audio
        from silero_like.errors import AudioError

        try:
            waveform = load_audio(utterance.audio_path, offset_s=utterance.offset_s, duration_s=utterance.duration_s)
        except AudioError:
            return ""
        buffer = io.BytesIO()
        soundfile.write(buffer, waveform, SAMPLE_RATE, format="OGG", subtype="OPUS")
        return "data:audio/ogg;base64," + base64.b64encode(buffer.getvalue()).decode()
    link = quote(os.path.relpath(utterance.audio_path, html_path.parent.resolve()))
    end_s = utterance.offset_s + utterance.duration_s
    return f"{link}#t={utterance.offset_s:g},{end_s:g}" if utterance.offset_s else link
