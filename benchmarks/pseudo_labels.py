"""Filters of pseudo-labels: hours kept against the CER of what is kept, on labelled speech treated as unlabelled.

    python -m benchmarks.pseudo_labels                                     # the bundled model teaches; needs the corpus
    python -m benchmarks.pseudo_labels --name outside --peer moonshine-tiny --model silero_like/models/en
    python -m benchmarks.pseudo_labels --name outside --transcripts large.jsonl --model silero_like/models/en
    python -m benchmarks.pseudo_labels --draw                              # table and picture again, from the JSON

The teachers are those of `silero-like data pseudo-label`. Each filter alone is tightened step by step; then all four
together, by one rule that knows no truth: of strictness s, confidence loses its worst s / 2, disagreement its worst s,
the rate s / 20 at each end, of utterances, and --rare is 20. The oracle sorts by the true CER: no filter that keeps or
drops whole utterances can do better. Written are pseudo_labels.json, .md and .svg; with another --name, the curves of
the other teachers stay.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.accuracy import RESULTS
from benchmarks.machine import describe_machine
from benchmarks.speech import english_dev_manifests
from data.cache import Cache
from data.manifest import read_manifest
from data.pseudo import Filters, Label, kept_cer, kept_hours, select
from data.scores import TextDistance
from silero_like.cli.batch import Batch
from silero_like.cli.data_pseudo_work import Teachers, make_teachers
from silero_like.cli.decoder_options import Search
from silero_like.cli.workers import Workers

SHARES = [round(0.05 * number, 2) for number in range(20, 1, -1)]
"""Of the utterances that a filter alone keeps."""
STRICTNESS = [round(0.025 * number, 3) for number in range(39)]
RARE = (1000, 100, 50, 20, 10, 5, 3, 2, 1)
ALL_RARE = 20
COLOURS = {
    "confidence": "#1f6fb2", "disagreement": "#d8842c", "rate": "#8a8f98", "rare": "#7b5aa6", "all four": "#2c8c4a",
    "oracle": "#c9ccd1",
}  # fmt: skip
Point = dict[str, float]


def main() -> None:
    """Parse arguments, label, measure, write and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--manifests", nargs="*", type=Path, help="the corpus's English dev sets if none is given")
    parser.add_argument("--name", default="own", help="what the results call these teachers")
    parser.add_argument("--model", action="append", default=[], help="a bundle")
    parser.add_argument("--peer", action="append", default=[])
    parser.add_argument("--transcripts", action="append", default=[], type=Path)
    parser.add_argument("--cache", type=Path, default=Path("pseudo_labels.scores.jsonl"), help="what was heard")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--draw", action="store_true", help="measure nothing")
    arguments = parser.parse_args()
    path = arguments.out / "pseudo_labels.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    if not arguments.draw:
        lang = "en" if arguments.peer else None
        teachers, _ = make_teachers(arguments.transcripts, arguments.model, (), arguments.peer, Search(), lang=lang)
        found[arguments.name] = measure(teachers, arguments.manifests or english_dev_manifests(), arguments.cache)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(found, indent=1) + "\n")
    table = format_table(found)
    path.with_suffix(".md").write_text(table)
    draw(found, path.with_suffix(".svg"))
    print(table)


def measure(teachers: Teachers, manifests: Sequence[Path], cache_path: Path) -> dict[str, Any]:
    """Label the manifests' speech, and return the curve of each filter."""
    utterances = [utterance for path in manifests for utterance in read_manifest(path).utterances]
    batch = Batch(click.Context(click.Command("pseudo_labels")))
    labels = teachers.label(utterances, Cache(cache_path), batch, Workers())
    truth = {(utterance.audio_path, utterance.offset_s): utterance.text for utterance in utterances}
    references = [truth[label.utterance.audio_path, label.utterance.offset_s] for label in labels]
    distance = teachers.distance

    def point(kept: Sequence[bool]) -> Point:
        cer = kept_cer(labels, references, kept, distance)
        return {"hours": kept_hours(labels, kept), "cer": float("nan") if cer is None else cer}

    return {
        "teachers": [name.rpartition("/")[2] for name in teachers.names],
        "utterances": len(labels),
        "left_out": len(utterances) - len(labels),
        "all": point([True] * len(labels)),
        "curves": _curves(labels, references, distance, point),
        "machine": describe_machine(),
    }


def _curves(
    labels: Sequence[Label],
    references: Sequence[str],
    distance: TextDistance,
    point: Callable[[Sequence[bool]], Point],
) -> dict[str, list[Point]]:
    cer = np.array(
        [distance.cer(reference, label.utterance.text) for reference, label in zip(references, labels, strict=True)]
    )
    confidence = np.array([label.confidence if label.confidence is not None else np.nan for label in labels])
    disagreement = np.array([label.disagreement if label.disagreement is not None else np.nan for label in labels])
    rate = np.array([len(distance.words(x.utterance.text)) / x.utterance.duration_s for x in labels])

    def keep(filters: Filters) -> Point:
        return point(select(labels, filters, distance).together)

    def filters(strictness: float) -> Filters:
        low, high = np.quantile(rate, [strictness / 20, 1 - strictness / 20])
        return Filters(
            min_confidence=float(np.quantile(confidence, strictness / 2)),
            max_disagreement=float(np.quantile(disagreement, 1 - strictness)),
            rate=(float(low), float(high)),
            rare=ALL_RARE,
        )

    ends = [((1 - share) / 2, (1 + share) / 2) for share in SHARES]
    return {
        "confidence": [keep(Filters(min_confidence=float(np.quantile(confidence, 1 - share)))) for share in SHARES],
        "disagreement": [keep(Filters(max_disagreement=float(np.quantile(disagreement, share)))) for share in SHARES],
        "rate": [keep(Filters(rate=tuple(np.quantile(rate, pair)))) for pair in ends],
        "rare": [keep(Filters(rare=number, rare_speaker_s=0.0)) for number in RARE],
        "all four": [keep(filters(strictness)) for strictness in STRICTNESS],
        "oracle": [point((cer <= np.quantile(cer, share)).tolist()) for share in SHARES],
    }


def at_half(curve: Sequence[Point], whole: Point) -> Point:
    """Return the point of a curve whose hours are nearest to half of all."""
    return min(curve, key=lambda point: abs(point["hours"] - whole["hours"] / 2))


def format_table(found: Mapping[str, Any]) -> str:
    """Render what each filter comes to when it keeps about half of the hours, as Markdown."""
    lines = [
        "| teachers | filter | share of hours kept | CER % of them | over that of all |",
        "|---|---|---:|---:|---:|",
    ]
    for figures in found.values():
        whole, names = figures["all"], " + ".join(figures["teachers"])
        lines.append(f"| {names} | none | 100 % | {100 * whole['cer']:.1f} | 1.00 |")
        for name, curve in figures["curves"].items():
            point = at_half(curve, whole)
            share, ratio = point["hours"] / whole["hours"], point["cer"] / whole["cer"]
            lines.append(f"| | {name} | {100 * share:.0f} % | {100 * point['cer']:.1f} | {ratio:.2f} |")
    return "\n".join([*lines, ""])


def draw(found: Mapping[str, Any], path: Path) -> None:
    """Draw the curves of each teacher in a panel of its own; the same figures always give the same file."""
    import matplotlib as mpl

    from silero_like.cli.pictures import new_figure, save_figure

    with mpl.rc_context({"svg.hashsalt": "pseudo_labels"}):
        figure, panels = new_figure(["CER of what is kept, %"] * len(found), "share of hours kept, %")
        for panel, figures in zip(panels, found.values(), strict=True):
            whole = figures["all"]
            for name, curve in figures["curves"].items():
                points = sorted((100 * point["hours"] / whole["hours"], 100 * point["cer"]) for point in curve)
                panel.plot(*zip(*points, strict=True), color=COLOURS[name], label=name, marker=".")
            panel.axhline(50 * whole["cer"], color="#888888", linestyle="--", linewidth=1)
            panel.axvline(50, color="#888888", linestyle="--", linewidth=1)
            panel.set(xlim=(0, 101), ylim=(0, None), title=" + ".join(figures["teachers"]))
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
        save_figure(figure, path)


if __name__ == "__main__":
    main()
