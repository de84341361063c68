"""``silero-like lm hotwords``: what a list of hotwords brings, and what it costs, as its weights grow."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from silero_like.cli.batch import Batch
from silero_like.cli.lm_options import log_probs_option, model_option, show_progress
from silero_like.cli.lm_tune import read_utterances
from silero_like.cli.paths import INPUT_FILE, OUTPUT_FILE, refuse_replacing
from silero_like.cli.pictures import check_picture_path, new_figure, save_figure
from silero_like.writers import write_atomically

if TYPE_CHECKING:
    from lm.corpus import Progress
    from lm.surface import Utterances
    from silero_like.decoding import BeamDecoder
    from silero_like.recognizer import Recognizer

    Point = dict[str, Any]

SCALES = (0.0, 0.4, 0.8, 1.2, 1.6, 2.0)


def measure(
    recognizer: Recognizer, decoder: BeamDecoder, utterances: Utterances, hotwords: Mapping[str, float], show: Progress
) -> Point:
    """Return word error rate, and recall, precision and counts of all hotwords together, in utterances decoded so."""
    from decode.words import split_words
    from silero_like.evaluation.breakdown import Keyword, occurrences
    from silero_like.evaluation.edits import edit_distance

    phrases = [tuple(split_words(phrase)) for phrase in hotwords]
    n_errors = n_words = 0
    counts: list[tuple[int, int]] = []
    for number, (log_probs, text) in enumerate(zip(utterances.log_probs, utterances.references, strict=True), 1):
        decoder.search.begin()
        decoder.search.step(log_probs)
        reference = split_words(text)
        found = split_words(recognizer.tokenizer.decode(decoder.search.end()[0].token_ids))
        n_errors, n_words = n_errors + edit_distance(reference, found), n_words + len(reference)
        counts += [(occurrences(reference, phrase), occurrences(found, phrase)) for phrase in phrases]
        show("decoding", number, len(utterances.references))
    said, recognised = (sum(column) for column in zip(*counts, strict=True))
    total = Keyword("all", said, recognised, sum(min(pair) for pair in counts))
    return {
        "wer": n_errors / max(1, n_words),
        **{name: getattr(total, name) for name in ("recall", "precision", "n_said", "n_recognised", "n_both")},
    }


def draw(points: list[Point], path: Path) -> None:
    """Draw recall, precision and word error rate over the scale of the weights."""
    figure, panels = new_figure(["%"] * 3, "weights times")
    for panel, name in zip(panels, ("recall", "precision", "wer"), strict=True):
        known = [(point["scale"], 100 * point[name]) for point in points if point[name] is not None]
        panel.plot(*zip(*known, strict=True), "o-")
        panel.set_title({"wer": "word error rate"}.get(name, f"{name} of hotwords"))
    save_figure(figure, path)


@click.command()
@click.argument("manifests", metavar="MANIFEST...", nargs=-1, required=True, type=INPUT_FILE)
@click.option(
    "--hotwords",
    "hotwords_path",
    required=True,
    type=INPUT_FILE,
    help="Words and phrases, one a line, each perhaps with a tab and its weight [default: 5].",
)
@click.option("--scale", "scales", multiple=True, type=float, default=SCALES, show_default=True, help="Repeatable.")
@model_option
@click.option("--lm", metavar="PATH|none", help="Language model [default: the model's, if it has one].")
@click.option("--beam-width", type=click.IntRange(min=1), help="Hypotheses kept [default: the model's, or 100].")
@log_probs_option
@click.option("--json", "json_path", type=OUTPUT_FILE, help="Write the figures as JSON.")
@click.option(
    "--plot",
    type=OUTPUT_FILE,
    callback=check_picture_path,
    help="Draw the curves: .png or .svg.",
)
@click.pass_context
def hotwords(
    context: click.Context,
    manifests: tuple[Path, ...],
    hotwords_path: Path,
    scales: tuple[float, ...],
    model: Path | None,
    lm: str | None,
    beam_width: int | None,
    store: Path | None,
    json_path: Path | None,
    plot: Path | None,
) -> None:
    """Show what hotwords bring and cost as their weights grow.

    Development speech is decoded with all weights times each --scale. Recall is the share of what was said of the list
    that was recognised; precision the share of what was recognised of it that was said. Names that are never said in
    the speech show how many false alarms a list brings.

    \b
    Examples:
      silero-like lm hotwords dev.jsonl --hotwords names.txt
      silero-like lm hotwords dev/*.jsonl --hotwords names.txt --scale 0 --scale 1 --scale 2 --plot curve.png
    """
    from silero_like.bundle import BUNDLED_PATH, MODEL_NAME, load_bundle
    from silero_like.cli.decoder_options import read_hotwords_file
    from silero_like.decoding import make_decoder
    from silero_like.recognizer import load

    refuse_replacing((json_path, plot, store), (*manifests, hotwords_path, *([Path(lm)] if lm else [])))
    bundle = load_bundle(model or BUNDLED_PATH)
    weights = read_hotwords_file(hotwords_path, bundle.config.lang)
    if not weights:
        raise click.ClickException(f"{hotwords_path}: no hotword in it: write one a line")
    recognizer = load(bundle.path, decoder="greedy")
    batch = Batch(context)
    with show_progress() as show:
        utterances = read_utterances(recognizer, bundle.path / MODEL_NAME, manifests, store, batch, show)
    if not utterances.references:
        raise click.ClickException("no usable row in the manifests: check their language")
    points = []
    click.echo(f"{'weights':>7} {'said':>5} {'heard':>5} {'recall':>7} {'precision':>9} {'WER':>7}")
    for scale in scales:
        scaled = {phrase: scale * weight for phrase, weight in weights.items()}
        decoder: Any = make_decoder(
            "beam", bundle, recognizer.tokenizer, lm_path=lm, beam_width=beam_width, hotwords=scaled
        )
        with show_progress() as show:
            points.append({"scale": scale, **measure(recognizer, decoder, utterances, scaled, show)})
        point = points[-1]
        rates = (f"{point[name]:.1%}" if point[name] is not None else "-" for name in ("recall", "precision"))
        cells = "{:>7} {:>9}".format(*rates)
        click.echo(f"{f'x {scale:g}':>7} {point['n_said']:5} {point['n_recognised']:5} {cells} {point['wer']:7.2%}")
    if json_path:
        write_atomically(json_path, json.dumps(points, indent=1) + "\n")
    if plot:
        draw(points, plot)
    batch.finish()
