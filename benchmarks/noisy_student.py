"""Does unlabelled speech help? A quarter of the labels is taken away, and two rounds of noisy student make up for it.

    python -m benchmarks.noisy_student runs/noisy --seeds 1 2 -- --set optimizer.total_steps=6000

Of every domain of the corpus's English training speech a quarter, by speaker where there are enough, loses its labels.
For each seed `silero-like data noisy-student` trains on the rest (round 0) and then goes its rounds; what stands behind
-- is handed on to it, behind the filters here, which it may replace. Run again, it goes on where it stopped. Written
are noisy_student.json and .md.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import itertools
import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.accuracy import CLI, RESULTS
from benchmarks.machine import describe_machine
from benchmarks.speech import ROOT
from data.manifest import Utterance, read_manifest, write_manifest

MIN_SPEAKERS = 8
"""In a domain with fewer, utterances are drawn instead."""
FILTERS = ["--min-confidence", "0.5", "--rate", "0.3", "5", "--rare", "50"]


def main() -> None:
    """Parse arguments, divide the speech, run the rounds, write and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of the manifests and the rounds")
    parser.add_argument("--recipe", type=Path, default=ROOT / "recipes" / "en-tiny.yaml")
    parser.add_argument("--seeds", nargs="*", type=int, default=[1, 2])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULTS)
    own = list(itertools.takewhile(lambda word: word != "--", sys.argv[1:]))
    arguments, options = parser.parse_args(own), sys.argv[len(own) + 2 :]
    labelled, unlabelled = divide(arguments.folder)
    found: dict[str, Any] = {"machine": describe_machine(), "options": options, "seeds": {}}
    for seed in arguments.seeds:
        out = arguments.folder / f"seed-{seed}"
        command = [*CLI, "data", "noisy-student", str(arguments.recipe), str(unlabelled)]
        command += ["--out", str(out), "--rounds", str(arguments.rounds), "--set", f"seed={seed}"]
        command += ["--set", f"data.train={json.dumps([str(labelled)])}", *FILTERS, *options]
        if code := subprocess.run(command, check=False).returncode:
            sys.exit(code)
        found["seeds"][str(seed)] = json.loads((out / "rounds.json").read_text())["rounds"]
        arguments.out.mkdir(parents=True, exist_ok=True)
        (arguments.out / "noisy_student.json").write_text(json.dumps(found, indent=1) + "\n")
    table = format_table(found["seeds"])
    (arguments.out / "noisy_student.md").write_text(table)
    print(table)


def divide(folder: Path) -> tuple[Path, Path]:
    """Write manifests of three quarters of the corpus's English training speech, and of the rest, without texts."""
    corpus = Path(os.environ.get("SILERO_LIKE_CORPUS") or ROOT.parent / "shared" / "corpus")
    paths = sorted(path for path in corpus.glob("*.train.jsonl") if not path.name.startswith("commonvoice_zh"))
    domains: defaultdict[str, list[Utterance]] = defaultdict(list)
    for path in paths:
        for utterance in read_manifest(path).utterances:
            domains[utterance.domain].append(utterance)
    kept: list[Utterance] = []
    taken: list[Utterance] = []
    for members in domains.values():
        by_speaker = len({utterance.speaker for utterance in members}) >= MIN_SPEAKERS
        for utterance in members:
            drawn = utterance.speaker if by_speaker else utterance.audio_path.name
            is_taken = hashlib.sha256(drawn.encode()).digest()[0] < 64
            (taken if is_taken else kept).append(utterance)
    labelled, unlabelled = folder / "labelled.jsonl", folder / "unlabelled.jsonl"
    write_manifest(labelled, kept)
    write_manifest(unlabelled, [dataclasses.replace(utterance, text="") for utterance in taken])
    return labelled.absolute(), unlabelled.absolute()


def format_table(seeds: Mapping[str, Mapping[str, Any]]) -> str:
    """Render the CER of each round, and what it gained on round 0, as Markdown."""
    lines = ["| seed | round | pseudo-labelled hours | macro CER % | micro CER % | over round 0 |"]
    lines.append("|---|---|---:|---:|---:|---:|")
    for seed, rounds in seeds.items():
        for number, one in rounds.items():
            macro, micro = one["macro"]["cer"], one["micro"]["cer"]
            cells: Sequence[str] = (
                *(seed, number, f"{one['pseudo_hours']:.2f}", f"{100 * macro:.1f}", f"{100 * micro:.1f}"),
                f"{macro / rounds['0']['macro']['cer']:.3f}",
            )
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
