"""`silero-like evaluate`."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from silero_like.cli.batch import Batch
from silero_like.writers import write_atomically

if TYPE_CHECKING:
    from data.manifest import Utterance
    from silero_like.evaluation.scoring import Scored
    from silero_like.recognizer import Recognizer

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.argument(
    "manifests", metavar="MANIFEST...", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False)
)
@click.option(
    "--model", metavar="BUNDLE", type=click.Path(exists=True), help="Model folder [default: bundled English]."
)
@click.option("--decoder", type=click.Choice(["greedy"]), default="greedy", show_default=True, help="Search.")
@click.option(
    "--utterances", "utterances_path", type=_FILE, help="Write each row's text and pred_text here (JSON lines)."
)
@click.option("--json", "json_path", type=_FILE, help="Write the evaluation here, as JSON.")
@click.pass_context
def evaluate(
    context: click.Context,
    manifests: tuple[str, ...],
    model: str | None,
    decoder: str,
    utterances_path: Path | None,
    json_path: Path | None,
) -> None:
    """Measure error rates, domain by domain.

    The recordings of every MANIFEST are transcribed and compared with their texts. A manifest is JSON lines:
    audio_filepath, duration, text, and optionally speaker, domain, lang, source, offset. Rows of another language than
    the model's are left out. Speed is seconds of audio a second of processor time, reading the files included.

    \b
    Examples:
      silero-like evaluate samples/manifest.jsonl
      silero-like evaluate *.dev.jsonl --model my-model --json dev.json --utterances dev.utterances.jsonl
    """
    from data.text import get_normalizer
    from silero_like.evaluation import scoring
    from silero_like.recognizer import load

    recognizer = load(model)
    batch = Batch(context)
    utterances = _read(manifests, recognizer.config.lang, batch)
    n_rows = len(utterances) + batch.n_failed
    scored, audio_s_per_core_s = _recognise(recognizer, utterances, batch)
    if scored:
        normalizer = get_normalizer(recognizer.config.lang)
        evaluation = scoring.evaluate(
            [score for _, score in scored],
            normalizer=normalizer,
            normalizer_name=normalizer.label,
            lang=recognizer.config.lang,
            model=recognizer.config.name,
            decoder=decoder,
            audio_s_per_core_s=audio_s_per_core_s,
        )
        click.echo(scoring.format_table(evaluation))
        click.echo(f"speed: {audio_s_per_core_s:.0f} s of audio a core-second")
        if json_path:
            write_atomically(json_path, json.dumps(evaluation.to_dict(), ensure_ascii=False, indent=1) + "\n")
        if utterances_path:
            write_atomically(utterances_path, "".join(_row(utterance, score) for utterance, score in scored))
    else:
        batch.fail("nothing to evaluate: no usable row in the manifests")
    batch.finish(max(n_rows, 1), "rows")


def _read(manifests: Sequence[str], lang: str, batch: Batch) -> list[Utterance]:
    """Read the rows of the model's language; bad rows are told and counted as failures."""
    from data.manifest import read_manifest

    utterances = []
    for path in manifests:
        manifest = read_manifest(path)
        for problem in manifest.problems:
            batch.fail(problem)
        usable = [utterance for utterance in manifest.utterances if utterance.lang in ("", lang)]
        if n_other := len(manifest.utterances) - len(usable):
            click.echo(f"{path}: {n_other} rows are not in {lang} and were left out", err=True)
        utterances += usable
    return utterances


def _recognise(
    recognizer: Recognizer, utterances: Sequence[Utterance], batch: Batch
) -> tuple[list[tuple[Utterance, Scored]], float]:
    """Transcribe every utterance; also return seconds of audio a second of this process's processor time."""
    from silero_like.audio import load_audio
    from silero_like.evaluation.scoring import Scored

    def score(utterance: Utterance) -> Scored:
        waveform = load_audio(utterance.audio_path, offset_s=utterance.offset_s, duration_s=utterance.duration_s)
        return Scored(
            utterance_id=_name(utterance),
            domain=utterance.domain,
            speaker=utterance.speaker,
            duration_s=utterance.duration_s,
            reference=utterance.text,
            hypothesis=recognizer.transcribe(waveform).text,
        )

    start_s = time.process_time()
    scored = list(batch.run(utterances, score, _name))
    core_s = time.process_time() - start_s
    return scored, sum(score.duration_s for _, score in scored) / max(core_s, 1e-9)


def _name(utterance: Utterance) -> str:
    return str(utterance.audio_path) + (f" at {utterance.offset_s:g} s" if utterance.offset_s else "")


def _row(utterance: Utterance, score: Scored) -> str:
    """One line of the utterances file, with NeMo's field names."""
    row = {
        "audio_filepath": str(utterance.audio_path),
        "offset": utterance.offset_s,
        "duration": utterance.duration_s,
        "domain": utterance.domain,
        "speaker": utterance.speaker,
        "text": score.reference,
        "pred_text": score.hypothesis,
    }
    return json.dumps(row, ensure_ascii=False) + "\n"
