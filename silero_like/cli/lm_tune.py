"""``silero-like lm tune``: how much the language model is to weigh in the beam search."""

from __future__ import annotations

import hashlib
import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from silero_like.cli.batch import Batch
from silero_like.cli.lm_options import log_probs_option, model_option, say, show_progress
from silero_like.cli.paths import INPUT_FILE, OUTPUT_FILE, refuse_replacing
from silero_like.cli.pictures import check_picture_path, new_figure, save_figure
from silero_like.writers import write_atomically

if TYPE_CHECKING:
    from decode.beam import BeamSearch
    from lm.corpus import Progress
    from lm.surface import Surface, Utterances
    from lm.tune import Decoded
    from silero_like.recognizer import Recognizer

    Report = dict[str, Any]

UNK_SCORES = (-20.0, -10.0, -5.0, -2.5, 0.0)
ALPHAS, BETAS = (0.0, 1.5, 0.1), (-1.0, 6.0, 0.5)  # first, last, step


def tune_models(
    recognizer: Recognizer,
    utterances: Utterances,
    models: tuple[Path, ...],
    beam_width: int,
) -> list[tuple[Report, Surface]]:
    """Find the best settings for each model; the reports are what --json writes."""
    import numpy as np

    from decode.calibration import Calibration, calibrated, calibration_error, fit_calibration, reliability
    from decode.config import BeamConfig
    from decode.lm import make_lexicon
    from decode.ngram import KenLM, read_words
    from decode.priors import find_log_priors
    from lm.perplexity import load_kenlm
    from lm.tune import PRUNINGS, Task, decode, find_settings, tightest
    from silero_like.evaluation.edits import edit_distance

    config = BeamConfig(beam_width=beam_width, log_priors=find_log_priors(utterances.log_probs))
    alphas, betas = (np.arange(first, last + step / 2, step).round(3) for first, last, step in (ALPHAS, BETAS))
    pieces, spell = recognizer.tokenizer.pieces, recognizer.tokenizer.decode
    found = []
    for path in models:
        ngram = KenLM(path)
        lexicon, scorer = make_lexicon(ngram, read_words(path)), load_kenlm(path)
        task = Task(utterances, ngram, lexicon, scorer, pieces, spell, edit_distance)
        with show_progress() as show:
            rates, best = find_settings(task, config, (np.array(UNK_SCORES), alphas, betas), progress=show)
            prunings = (replace(best, token_min_log_prob=low, beam_prune_log_prob=drop) for low, drop in PRUNINGS)
            tried = [decode(task, pruned, show) for pruned in prunings]
        report = _report(path, rates, tried, chosen := tightest(tried))
        confidences, is_right = _judge_words(recognizer, task.search(chosen.config), utterances)
        errors = {
            calibration: calibration_error(reliability([calibrated(c, calibration) for c in confidences], is_right))
            for calibration in (Calibration(), fit_calibration(confidences, is_right))
        }
        kept = min(errors, key=lambda calibration: errors[calibration])
        report["decoder"] |= {"confidence_temperature": kept.temperature, "confidence_offset": kept.offset}
        report["calibration_error_without"], report["calibration_error"] = errors[Calibration()], errors[kept]
        found.append((report, rates))
    return found


def _judge_words(recognizer: Recognizer, search: BeamSearch, utterances: Utterances) -> tuple[list[float], list[bool]]:
    """Return the confidence of every word that a search finds, and whether it was said."""
    from decode.times import decode_parts
    from decode.words import group_words, split_words
    from silero_like.evaluation.breakdown import align_words

    confidences: list[float] = []
    is_right: list[bool] = []
    for log_probs, reference in zip(utterances.log_probs, utterances.references, strict=True):
        alignment = decode_parts([log_probs], search).alignment
        pieces = [recognizer.tokenizer.pieces[token_id] for token_id in alignment.token_ids]
        words = group_words(pieces, alignment, recognizer.config.frame_s)
        confidences += [word.confidence for word in words]
        pairs = align_words(split_words(reference), [word.word for word in words])
        is_right += [said == heard for said, heard in pairs if heard]
    return confidences, is_right


def read_utterances(
    recognizer: Recognizer,
    model_path: Path,
    manifests: tuple[Path, ...],
    store: Path | None,
    batch: Batch,
    show: Progress,
) -> Utterances:
    """Run the acoustic model on manifests, or read what an earlier run stored; what is wrong with rows is told."""
    import numpy as np

    from data.text import get_normalizer
    from lm.corpus import manifest_rows
    from lm.files import replacing
    from lm.surface import Utterances
    from silero_like.audio import load_audio
    from silero_like.errors import AudioError

    normalizer = get_normalizer(recognizer.config.normalizer)
    rows = [row for path in manifests for row in manifest_rows(path, recognizer.config.lang, batch.fail, say)]
    model_sum = hashlib.sha256(model_path.read_bytes()).hexdigest()
    key = json.dumps([model_sum, *([str(row.audio_path), row.offset_s, row.duration_s] for row in rows)])
    stored = _stored(store, key)
    if stored is None:
        stored = []
        for number, row in enumerate(rows):
            try:
                waveform = load_audio(row.audio_path, offset_s=row.offset_s, duration_s=row.duration_s)
            except AudioError as error:
                batch.fail(f"{error}: taken as empty, which is wrong under all settings alike")
                waveform = np.zeros(0, np.float32)
            stored.append(np.concatenate(list(recognizer.runtime.stream_log_probs(iter([waveform])))))
            show("acoustic model", number + 1, len(rows))
        if store is not None:
            with replacing(store) as file:
                np.savez_compressed(file, key=np.array(key), **{f"{number:06}": x for number, x in enumerate(stored)})
    return Utterances(stored, [normalizer(row.text) for row in rows], [row.domain for row in rows])


def _stored(store: Path | None, key: str) -> list[Any] | None:
    """Return the stored log-probs if they are those of the same model and utterances."""
    import numpy as np

    if store is None or not store.is_file():
        return None
    try:
        with store.open("rb") as file, np.load(file) as data:
            if str(data["key"]) == key:
                return [data[name] for name in sorted(data.files) if name != "key"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise click.ClickException(f"{store}: expected log-probs that this command stored: name a new file") from error
    say(f"{store}: of another model or other recordings: computing anew")
    return None


def _report(path: Path, rates: Surface, tried: list[Decoded], chosen: Decoded) -> Report:
    unk_id = rates.best()[0]
    return {
        "lm": str(path),
        "size_mb": round(path.stat().st_size / 1e6, 3),
        "decoder": chosen.config.to_dict(),
        "macro_wer": chosen.macro,
        "macro_wer_without": float(rates.without.mean()),
        "domains": {
            name: {"wer": chosen.wer[name], "wer_without": float(without)}
            for name, without in zip(rates.domains, rates.without, strict=True)
        },
        "prunings": [
            {
                "token_min_log_prob": each.config.token_min_log_prob,
                "beam_prune_log_prob": each.config.beam_prune_log_prob,
                "macro_wer": each.macro,
                "cpu_s": round(each.cpu_s, 2),
            }
            for each in tried
        ],
        "surface": {
            "unk_scores": list(UNK_SCORES),
            "alphas": rates.alphas.round(3).tolist(),
            "betas": rates.betas.round(3).tolist(),
            "macro_wer": rates.macro.round(5).tolist(),
            "shown_unk_score": UNK_SCORES[unk_id],
        },
    }


def draw(found: list[tuple[Report, Surface]], path: Path) -> None:
    """Draw each model's mean word error rate over alpha and beta, under the chosen score of unknown words."""
    figure, panels = new_figure(["beta"] * len(found), "alpha")
    for panel, (report, rates) in zip(panels, found, strict=True):
        drawn = panel.contourf(rates.alphas, rates.betas, 100 * rates.macro[rates.best()[0]].T, levels=20)
        panel.plot(report["decoder"]["alpha"], report["decoder"]["beta"], "w+", markersize=12)
        panel.set_title(f"{Path(report['lm']).name}: mean WER, %")
        figure.colorbar(drawn, ax=panel)
    save_figure(figure, path)


def show_report(report: Report) -> None:
    """Print what was found for one model."""
    values = ", ".join(f"{name} {value:g}" for name, value in report["decoder"].items() if name != "log_priors")
    click.echo(f"{report['lm']} ({report['size_mb']} MB): {values}")
    for name, rates in report["domains"].items():
        click.echo(f"  {name:20} WER {rates['wer_without']:7.2%} -> {rates['wer']:7.2%}")
    click.echo(f"  {'mean':20} WER {report['macro_wer_without']:7.2%} -> {report['macro_wer']:7.2%}")
    errors = f"{report['calibration_error_without']:7.2%} -> {report['calibration_error']:7.2%}"
    click.echo(f"  {'confidence':20} ECE {errors}")
    for each in report["prunings"]:
        pruning = f"{each['token_min_log_prob']:g} / {each['beam_prune_log_prob']:g}"
        click.echo(f"  {'pruning ' + pruning:20} WER {each['macro_wer']:7.2%}, {each['cpu_s']:.1f} s of processor time")


@click.command()
@click.argument("manifests", metavar="MANIFEST...", nargs=-1, required=True, type=INPUT_FILE)
@click.option(
    "--lm",
    "models",
    multiple=True,
    required=True,
    type=INPUT_FILE,
    help="Language model; several, such as differently pruned ones, are compared.",
)
@model_option
@click.option("--beam-width", type=click.IntRange(min=1), default=100, show_default=True, help="Of the searches.")
@log_probs_option
@click.option("--json", "json_path", type=OUTPUT_FILE, help="Write all of it as JSON.")
@click.option(
    "--plot",
    type=OUTPUT_FILE,
    callback=check_picture_path,
    help="Draw the error rate over alpha and beta: .png or .svg.",
)
@click.option(
    "--save", is_flag=True, help="Put the best language model, a KenLM binary, and its settings into the bundle."
)
@click.pass_context
def tune(
    context: click.Context,
    manifests: tuple[Path, ...],
    models: tuple[Path, ...],
    model: Path | None,
    beam_width: int,
    store: Path | None,
    json_path: Path | None,
    plot: Path | None,
    save: bool,
) -> None:
    """Find the weights and the pruning of the beam search with language models, on development speech.

    Every utterance is decoded some times; from the lists of hypotheses the word error rate of many weights (alpha,
    beta, unk_score) is computed at once, until the best ones have been decoded with; so for several shares of the
    labels' priors, their mean probabilities on this speech, that are taken back (prior_weight). Chosen is the lowest
    mean over the domains under which no domain loses more than 1 point against the acoustic model alone. With it all is
    decoded under several prunings, and the tightest is taken that costs no more than 0.1 points. Tune on speech that
    stands for what is to be transcribed, and check on other speech. Confidences are calibrated, too, if they then
    tell better how often words are right.

    \b
    Examples:
      silero-like lm tune dev.jsonl --lm general.bin
      silero-like lm tune dev/*.jsonl --lm small.bin --lm large.bin --log-probs dev.npz --plot surface.png
      silero-like lm tune dev/*.jsonl --lm small.bin --model my-model --save
    """
    from lm.binary import read_binary_counts
    from lm.perplexity import check_kenlm
    from silero_like.bundle import BUNDLED_PATH, MODEL_NAME, set_language_model
    from silero_like.recognizer import load

    refuse_replacing((json_path, plot, store), (*manifests, *models))
    for path in models:
        check_kenlm(path)
        if save and not read_binary_counts(path):
            raise click.UsageError(f"--save puts a KenLM binary into the bundle, {path} is ARPA: write a .bin of it")
    bundle_path, batch = model or BUNDLED_PATH, Batch(context)
    recognizer = load(bundle_path)
    with show_progress() as show:
        utterances = read_utterances(recognizer, bundle_path / MODEL_NAME, manifests, store, batch, show)
    if not any(len(log_probs) for log_probs in utterances.log_probs):
        raise click.ClickException("no usable row in the manifests: check their language, and that there is audio")
    found = sorted(tune_models(recognizer, utterances, models, beam_width), key=lambda pair: pair[0]["macro_wer"])
    for report, _ in found:
        show_report(report)
    if json_path:
        write_atomically(json_path, json.dumps([report for report, _ in found], indent=1) + "\n")
    if plot:
        draw(found, plot)
    if save:
        best = found[0][0]
        set_language_model(bundle_path, best["lm"], best["decoder"])
        say(f"{bundle_path}: now holds {best['lm']} and its settings")
    batch.finish()
