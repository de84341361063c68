"""Does `data clean` find wrong labels? The texts of 5 % of the utterances change places; the ranking looks for them.

    python -m benchmarks.clean_labels                       # dev and training speech; needs the corpus
    python -m benchmarks.clean_labels --sets dev --model my-bundle

Texts change places across all domains, or within their own, which is harder: digits for digits. A text that meets an
equal one is no mistake and does not count. Found are those among the worst 8 % of all utterances, by misfit and by CER;
and those that the default thresholds suspect, with the true labels that they suspect as well. The bundled model has
learned from the training speech with its true labels; the dev speech it has never heard. Written are clean_labels.json
and .md.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from benchmarks.accuracy import RESULTS
from benchmarks.machine import describe_machine
from benchmarks.speech import ROOT
from data.cache import Cache
from data.clean import Judged, Measure, derived_thresholds, judge
from data.manifest import Utterance, read_manifest
from silero_like.cli.batch import Batch
from silero_like.cli.data_clean import judge_heard
from silero_like.cli.data_hear import hear_all, own_hearer
from silero_like.cli.decoder_options import Search
from silero_like.cli.workers import Workers

SWAPPED, WORST = 0.05, 0.08
MEASURES: tuple[Measure, ...] = ("misfit", "cer")


def main() -> None:
    """Parse arguments, measure, write and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="*", default=["dev", "train"], choices=["dev", "train"])
    parser.add_argument("--model", help="a bundle [default: the bundled model]")
    parser.add_argument("--seeds", nargs="*", type=int, default=[1, 2])
    parser.add_argument("--cache", type=Path, default=Path("clean_labels.scores.jsonl"), help="what was heard")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    path = arguments.out / "clean_labels.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    hearer, recognizer = own_hearer(arguments.model, Search(decoder="greedy"), with_label=True)
    cache, batch = Cache(arguments.cache), Batch(click.Context(click.Command("clean_labels")))
    workers = Workers(jobs=arguments.jobs)
    for name in arguments.sets:
        utterances = read_english(name)
        true = judge_heard(hear_all(hearer, utterances, cache, batch, workers), recognizer.config.lang)
        found[name] = {"model": hearer.name, "utterances": len(true), "machine": describe_machine(), "swaps": []}
        for seed in arguments.seeds:
            for within in (False, True):
                wrong = swap(utterances, seed, within=within)
                heard = hear_all(hearer, list(wrong.values()), cache, batch, workers)
                judged = judge_heard(heard, recognizer.config.lang)
                found[name]["swaps"].append({"seed": seed, "within": within, **score(true, judged, set(wrong))})
    arguments.out.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1) + "\n")
    path.with_suffix(".md").write_text(format_table(found))
    print(format_table(found))


def read_english(name: str) -> list[Utterance]:
    """Read the corpus's English manifests of a split."""
    corpus = Path(os.environ.get("SILERO_LIKE_CORPUS") or ROOT.parent / "shared" / "corpus")
    paths = sorted(path for path in corpus.glob(f"*.{name}.jsonl") if not path.name.startswith("commonvoice_zh"))
    return [utterance for path in paths for utterance in read_manifest(path).utterances]


def swap(utterances: Sequence[Utterance], seed: int, *, within: bool) -> dict[Utterance, Utterance]:
    """Return some utterances, each with another's text: true -> wrong."""
    numbers = random.Random(seed).sample(range(len(utterances)), round(SWAPPED * len(utterances)))
    groups: defaultdict[str, list[Utterance]] = defaultdict(list)
    for number in numbers:
        groups[utterances[number].domain if within else ""].append(utterances[number])
    pairs = [pair for group in groups.values() for pair in zip(group, [*group[1:], group[0]], strict=True)]
    return {
        one: dataclasses.replace(one, text=other.text) for one, other in pairs if one.text.lower() != other.text.lower()
    }


def score(true: Sequence[Judged], wrong: Sequence[Judged], replaced: set[Utterance]) -> dict[str, Any]:
    """Put wrong labels among true ones, and look where the ranking and the thresholds have them."""
    mixed = [*(one for one in true if one.utterance not in replaced), *wrong]
    is_wrong = {one.utterance for one in wrong}
    result: dict[str, Any] = {"swapped": len(wrong)}
    for measure in MEASURES:
        verdict = judge(mixed, measure, derived_thresholds(mixed, measure))
        worst = verdict.ranking[: round(WORST * len(mixed))]
        result[measure] = {
            "found_in_worst": sum(one.utterance in is_wrong for one in worst) / len(wrong),
            "suspected": len(verdict.suspects & is_wrong) / len(wrong),
            "true_suspected": len(verdict.suspects - is_wrong) / (len(mixed) - len(wrong)),
        }
    return result


def format_table(found: Mapping[str, Any]) -> str:
    """Render the means over the seeds as Markdown, in percent."""
    lines = ["| speech | texts from | ranked by | found in the worst 8 % | suspected | true labels suspected |"]
    lines.append("|---|---|---|---:|---:|---:|")
    for name, figures in found.items():
        for within in (False, True):
            swaps = [one for one in figures["swaps"] if one["within"] == within]
            for measure in MEASURES:
                means = [
                    sum(one[measure][key] for one in swaps) / len(swaps)
                    for key in ("found_in_worst", "suspected", "true_suspected")
                ]
                cells = [f"{name} ({figures['utterances']})", "the same domain" if within else "any domain", measure]
                lines.append(f"| {' | '.join([*cells, *(f'{100 * mean:.1f} %' for mean in means)])} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
