"""What each choice of training gives: runs that differ in one thing, at an equal audio budget, and their table.

    python -m benchmarks.ablation sampling --steps 4000
    python -m benchmarks.ablation vocabulary --only stride-4 --only 256
    python -m benchmarks.ablation forgetting

Groups: sampling, augmentation, vocabulary, forgetting. Every run lies in its own folder under --out, finished ones are
not repeated and interrupted ones resume. The table shows the last evaluation of each run. --set changes all runs of a
group alike.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from train.config import CurriculumConfig

HARD_END = 1 - CurriculumConfig().hardest - 0.005
RECIPE = "recipes/en-tiny.yaml"
UNIFORM = ("sampling.temperature=1", "curriculum.enabled=false")
BALANCED = ("sampling.temperature=null", "curriculum.enabled=false")
CLEAN = "curriculum.targets={digits_8k: 0.05, spelling_digits: 0.05}"
NATURAL_CURRICULUM = ("sampling.temperature=1", "curriculum.enabled=true", CLEAN)
BOTH = ("sampling.temperature=2", "curriculum.enabled=true", CLEAN)
REACHABLE = (  # about what 60 % of 3,000 steps give without a curriculum, so that there is something to hold
    "curriculum.targets={accented_read: 0.55, audiobook: 0.4, command_grammar: 0.1, commonvoice: 0.55, "
    "digits_8k: 0.25, read_prompts: 0.4, spelling_digits: 0.25, telephone_prompts: 0.25, wakewords: 0.1}"
)
OPEN_AUGMENTATION = tuple(
    f"augment.{key}=null"
    for key in ("speeds", "gain_db", "frequency_masks", "frequency_mask_bins", "time_masks_per_s", "time_mask_frames")
)
NOT_SPELLING = (
    "data.train=[accented_read.train.jsonl, audiobook.train.jsonl, command_grammar.train.jsonl, "
    "commonvoice.train.jsonl, digits_8k.train.jsonl, read_prompts.train.jsonl, telephone_prompts.train.jsonl, "
    "wakewords.train.jsonl]"
)
OLD = NOT_SPELLING.replace("data.train=", "data.replay=")
SPELLING = "data.train=[spelling_digits.train.jsonl]"


@dataclass(frozen=True)
class Variant:
    """One run of a group."""

    overrides: tuple[str, ...]
    start: str | None = None
    """Run of the same group whose best weights it is fine-tuned from."""
    share_of_steps: float = 1.0


def strength(value: float) -> tuple[str, ...]:
    """Return overrides that leave all augmentation to one knob."""
    return (*OPEN_AUGMENTATION, f"augment.strength={value}", "augment.noise=noise/index.json")


GROUPS: dict[str, dict[str, Variant]] = {
    "sampling": {
        "uniform": Variant((*UNIFORM, *strength(0))),
        "balanced": Variant((*BALANCED, *strength(0))),
        "temperature-2": Variant((*BALANCED, *strength(0), "sampling.temperature=2")),
        "curriculum": Variant((*NATURAL_CURRICULUM, *strength(0))),
        "both": Variant((*BOTH, *strength(0))),
        "both-augmented": Variant((*BOTH, *strength(0.5))),
        "reachable": Variant((*NATURAL_CURRICULUM, *strength(0), REACHABLE)),
    },
    "augmentation": {str(value): Variant((*BOTH, *strength(value))) for value in (0.2, 0.5, 0.9)},
    "vocabulary": {
        **{
            str(size): Variant((*UNIFORM, *strength(0), f"tokenizer.vocab_size={size}"))
            for size in (128, 256, 512, 1000)
        },
        "stride-4": Variant((*UNIFORM, *strength(0), "model.overrides={stride: 4}")),
    },
    "forgetting": {
        "old": Variant((*UNIFORM, NOT_SPELLING)),
        "no-replay": Variant((*UNIFORM, SPELLING), start="old", share_of_steps=0.15),
        "replay-0.5": Variant((*UNIFORM, SPELLING, OLD, "finetune.replay=0.5"), start="old", share_of_steps=0.15),
        "replay-0.8": Variant((*UNIFORM, SPELLING, OLD, "finetune.replay=0.8"), start="old", share_of_steps=0.15),
    },
}


def main() -> None:
    """Run what is missing, then print the table and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("group", choices=sorted(GROUPS))
    parser.add_argument("--steps", type=int, default=4000, help="steps of a run from nothing")
    parser.add_argument("--batch-s", type=float, default=60.0, help="seconds of audio in a batch")
    parser.add_argument("--out", type=Path, default=Path("runs/ablation"))
    parser.add_argument("--only", action="append", default=[], metavar="VARIANT", help="these runs only")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--json", type=Path, help="where to write the table")
    arguments = parser.parse_args()
    folder = arguments.out / arguments.group
    variants = {n: v for n, v in GROUPS[arguments.group].items() if not arguments.only or n in arguments.only}
    for name, variant in variants.items():
        steps = round(arguments.steps * variant.share_of_steps)
        overrides = [*budget(steps, arguments.batch_s, variant), *variant.overrides, *arguments.overrides]
        train(folder, name, variant, steps, overrides)
    rows = {name: last_line(folder / name) for name in variants}
    print(table(rows))
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def budget(steps: int, batch_s: float, variant: Variant) -> list[str]:
    """Return overrides for the length of a run and for what is not wanted in an experiment."""
    rate = 5e-4 if variant.start else 2e-3
    return [
        f"optimizer.total_steps={steps}",
        f"optimizer.warmup_steps={min(500, steps // 8)}",
        f"optimizer.peak_lr={rate}",
        f"loop.batch_s={batch_s}",
        f"loop.eval_every={max(1, steps // 20)}",
        "loop.bundle=false",
        "loop.tensorboard=false",
    ]


def train(folder: Path, name: str, variant: Variant, steps: int, overrides: list[str]) -> None:
    """Start or resume a run, unless it is finished."""
    evaluated = evaluations(folder / name)
    if evaluated and evaluated[-1]["step"] >= steps:
        return
    start = [f"finetune.init={folder / variant.start / 'best.safetensors'}"] if variant.start else []
    command = [sys.executable, "-m", "train", RECIPE]
    for override in [*overrides, *start, f"output_dir={folder / name}", f"name={folder.name}-{name}"]:
        command += ["--set", override]
    print(f"--- {name}", file=sys.stderr, flush=True)
    subprocess.run(command, check=True)


def evaluations(folder: Path) -> list[dict[str, Any]]:
    """Return the evaluations of a run, in order."""
    path = folder / "log.jsonl"
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
    return [line for line in lines if line["event"] == "eval"]


def last_line(folder: Path) -> dict[str, Any]:
    """Return the last evaluation of a run with its cost, and how well the curriculum held its targets."""
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    trained = [line for line in lines if line["event"] == "train"]
    evaluation = [line for line in lines if line["event"] == "eval"][-1]
    return {
        "domains": {name: {k: v[k] for k in ("cer", "wer")} for name, v in evaluation["domains"].items()},
        "macro": evaluation["macro"],
        "micro": {k: evaluation["micro"][k] for k in ("cer", "wer")},
        "worst": evaluation["worst"],
        "step": evaluation["step"],
        "hours_seen": trained[-1]["hours_seen"],
        "train_s": trained[-1]["train_s"],
        "audio_s_per_s": 3600 * trained[-1]["hours_seen"] / trained[-1]["train_s"],
        "held": held(trained),
    }


def held(trained: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Return, by domain that reached its target, how many later log lines are within 2 points of it.

    "reachable" counts the lines whose window was not yet at its hard end: after that even the hardest utterances are
    read better than the target.
    """
    result = {}
    for name in trained[-1].get("curriculum") or {}:
        lines = [line["curriculum"][name] for line in trained if line["curriculum"]]
        first = next((i for i, line in enumerate(lines) if line["reached"]), None)
        if first is not None:
            near = [abs(line["cer"] - line["target"]) <= 0.02 for line in lines[first:]]
            free = [ok for ok, line in zip(near, lines[first:], strict=True) if line["low"] < HARD_END]
            result[name] = {"lines": len(near), "held": sum(near), "reachable": len(free), "reachable_held": sum(free)}
    return result


def table(rows: dict[str, dict[str, Any]]) -> str:
    """Return a Markdown table: CER of every domain, averages, and speed."""
    domains = sorted({name for row in rows.values() for name in row["domains"]})
    heads = ["run", *domains, "macro", "micro", "micro WER", "hours", "min", "s/s"]
    lines = ["| " + " | ".join(heads) + " |", "|---" + "|---:" * (len(heads) - 1) + "|"]
    for name, row in rows.items():
        cers = [row["domains"][d]["cer"] for d in domains] + [
            row["macro"]["cer"],
            row["micro"]["cer"],
            row["micro"]["wer"],
        ]
        cost = [f"{row['hours_seen']:.1f}", f"{row['train_s'] / 60:.1f}", f"{row['audio_s_per_s']:.0f}"]
        lines.append("| " + " | ".join([name, *(f"{100 * cer:.1f}" for cer in cers), *cost]) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
