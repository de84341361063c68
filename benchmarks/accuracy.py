"""Error rates and speed of the bundled model and of public recognisers, domain by domain, in one run.

    python -m benchmarks.accuracy                                      # needs the extra [peers] and the corpus
    python -m benchmarks.accuracy --systems greedy beam --lm en.bin
    python -m benchmarks.accuracy --draw                               # table and picture again, from the JSON

Each system is measured by `silero-like evaluate --alike` in a process of its own, one after the other, so that numbers
and spelled letters count alike, and time is processor time. Written are accuracy.json (every figure, with machine and
versions), accuracy.md (the table that the README quotes) and accuracy.svg (its picture). With --systems, the figures of
the other systems stay as they are; the JSON tells which machine and commit each comes from.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.machine import describe_machine
from benchmarks.speech import ROOT, english_dev_manifests

RESULTS = ROOT / "benchmarks" / "results"
CLI = [sys.executable, "-c", "from silero_like.cli import main; main()"]
SYSTEMS = {
    "greedy": ("ours, greedy", ["--decoder", "greedy"]),
    "beam": ("ours, beam", ["--decoder", "beam"]),
    "tiny": ("en-tiny, beam", ["--model", "en-tiny", "--decoder", "beam"]),
    "pocketsphinx": ("PocketSphinx", ["--peer", "pocketsphinx"]),
    "moonshine-tiny": ("Moonshine tiny", ["--peer", "moonshine-tiny"]),
}
"""Name -> title and options of `evaluate`."""
COLOURS = ["#1f6fb2", "#6db3e8", "#7fb77e", "#8a8f98", "#d8842c"]


def main() -> None:
    """Parse arguments, measure, write and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--manifests", nargs="*", type=Path, help="the corpus's English dev sets if none is given")
    parser.add_argument("--systems", nargs="*", choices=list(SYSTEMS), default=list(SYSTEMS))
    parser.add_argument("--model", help="a bundle [default: the bundled model]")
    parser.add_argument("--lm", help="language model of the beam search [default: the model's]")
    parser.add_argument("--keep", type=Path, help="folder for each system's transcripts, to compare or score again")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--draw", action="store_true", help="measure nothing")
    arguments = parser.parse_args()
    path = arguments.out / "accuracy.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    for name in [] if arguments.draw else arguments.systems:
        options = [*SYSTEMS[name][1], *_own_options(name, arguments.model, arguments.lm)]
        kept = arguments.keep / f"{name}.jsonl" if arguments.keep else None
        found[name] = measure(options, arguments.manifests or english_dev_manifests(), kept)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(_in_order(found), indent=1, ensure_ascii=False) + "\n")
    table = format_table(found)
    path.with_suffix(".md").write_text(table)
    draw(found, path.with_suffix(".svg"))
    print(table)


def measure(options: Sequence[str], manifests: Sequence[Path], transcripts_path: Path | None) -> dict[str, Any]:
    """Run `evaluate` and return its JSON, with the machine in place of the speakers' figures."""
    with tempfile.TemporaryDirectory() as folder:
        out, transcripts = Path(folder) / "out.json", transcripts_path or Path(folder) / "transcripts.jsonl"
        command = [*CLI, "evaluate", *map(str, manifests), *options, "--alike", "--json", str(out)]
        command += ["--utterances", str(transcripts)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        code = subprocess.run(command, stdout=subprocess.DEVNULL, check=False, env=environment).returncode
        if code not in (0, 1):  # 1: some utterances failed, were told, and count as empty
            raise SystemExit(f"evaluate ended with code {code}")
        figures: dict[str, Any] = json.loads(out.read_text())
    kept = ("model", "normalizer", "decoder", "domains", "macro", "micro", "worst", "audio_s_per_core_s", "difficulty")
    hashes = figures["provenance"]["manifests_sha256"]
    return {
        **{key: figures[key] for key in kept},
        "options": [option if not os.path.exists(option) else Path(option).name for option in options],
        "model_sha256": figures["provenance"]["model_sha256"],
        "manifests_sha256": {Path(manifest).name: value for manifest, value in hashes.items()},
        "machine": describe_machine(),
    }


def format_table(found: Mapping[str, Any]) -> str:
    """Render the word error rates in percent, with 95 % intervals, as Markdown."""
    found = _in_order(found)
    domains = sorted({domain for figures in found.values() for domain in figures["domains"]})
    rows = [["WER %, 95 % interval (dev)", *(SYSTEMS[name][0] for name in found)], ["---", *["---:"] * len(found)]]
    for domain in domains:
        rows.append([domain, *(_cell(figures["domains"].get(domain)) for figures in found.values())])
    rows.append(["mean of the domains", *(f"**{100 * figures['macro']['wer']:.1f}**" for figures in found.values())])
    rows.append(["all utterances", *(_cell(figures["micro"]) for figures in found.values())])
    speeds = (f"{figures['audio_s_per_core_s']:.0f}" for figures in found.values())
    rows.append(["seconds of audio a core-second", *speeds])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def draw(found: Mapping[str, Any], path: Path) -> None:
    """Draw a bar with its interval for each system in each domain; the same figures always give the same file."""
    import matplotlib as mpl

    from silero_like.cli.pictures import new_figure, save_figure

    found = _in_order(found)
    domains = sorted({domain for figures in found.values() for domain in figures["domains"]})
    with mpl.rc_context({"svg.hashsalt": "accuracy"}):
        figure, (panel,) = new_figure([""], "word error rate, %")
        figure.set_size_inches(8, 0.9 + 0.24 * len(domains) * (len(found) + 1))
        for number, (name, figures) in enumerate(found.items()):
            scores = [figures["domains"][domain] for domain in domains]
            places = [row + (number - (len(found) - 1) / 2) * 0.8 / len(found) for row in range(len(domains))]
            rates = [100 * score["wer"] for score in scores]
            limits = [score["wer_ci95"] or [score["wer"]] * 2 for score in scores]
            spread = [
                [abs(100 * pair[side] - rate) for pair, rate in zip(limits, rates, strict=True)] for side in (0, 1)
            ]
            colour = COLOURS[list(SYSTEMS).index(name)]
            panel.barh(
                places, rates, 0.75 / len(found), xerr=list(spread), color=colour, label=SYSTEMS[name][0], capsize=2
            )
        panel.set_yticks(range(len(domains)), domains)
        panel.invert_yaxis()
        panel.set_xlim(left=0, right=105)
        figure.legend(loc="outside upper center", ncols=len(found), frameon=False)
        save_figure(figure, path)


def _own_options(name: str, model: str | None, lm: str | None) -> list[str]:
    if name not in ("greedy", "beam"):
        return []
    return [*(["--model", model] if model else []), *(["--lm", lm] if lm and name == "beam" else [])]


def _in_order(found: Mapping[str, Any]) -> dict[str, Any]:
    return {name: found[name] for name in SYSTEMS if name in found}


def _cell(score: Mapping[str, Any] | None) -> str:
    if score is None or score["wer"] is None:
        return "–"
    low_high = " – ".join(f"{100 * limit:.1f}" for limit in score["wer_ci95"]) if score["wer_ci95"] else "–"
    return f"{100 * score['wer']:.1f} ({low_high}{'*' if score['ci95_by'] == 'utterance' else ''})"


if __name__ == "__main__":
    main()
