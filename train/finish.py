"""The end of a run: a bundle with its model card, the list of suspect labels, and for fine-tuning what it changed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from train.config import Recipe
from train.curriculum import Curriculum
from train.dataset import Dataset


def finish(recipe: Recipe, data: Dataset, curriculum: Curriculum, output_dir: Path) -> None:
    """Write what a finished run leaves behind."""
    write_suspects(output_dir / "suspects.jsonl", data, curriculum)
    if recipe.finetune.init and data.dev:
        print(change_table(output_dir / "log.jsonl", recipe, data), file=sys.stderr)
    if recipe.loop.bundle:
        path = write_bundle(output_dir)
        print(f"bundle: {path}", file=sys.stderr)


def write_bundle(output_dir: Path) -> Path:
    """Export the best weights, or the last where nothing was measured, as a bundle."""
    from silero_like.export import export_bundle
    from train.bundling import bundle_arguments
    from train.checkpoint import read_checkpoint

    best = output_dir / "best.safetensors"
    checkpoint = read_checkpoint(best if best.exists() else output_dir / "last.safetensors")
    return export_bundle(output_dir / "bundle", **bundle_arguments(checkpoint), half_weights=True)


def write_suspects(path: Path, data: Dataset, curriculum: Curriculum) -> None:
    """Write the utterances that stayed wrong while their neighbours were learned, the most striking first."""
    lines = []
    for suspect in curriculum.suspects():
        utterance = data.examples[suspect.index].utterance
        row = {
            "audio_filepath": str(utterance.audio_path),
            "offset": utterance.offset_s,
            "duration": utterance.duration_s,
            "domain": utterance.domain,
            "text": utterance.text,
            "hypothesis": suspect.hypothesis,
            "cer": round(suspect.cer, 3),
            "neighbours_cer": round(suspect.neighbours_cer, 3),
        }
        lines.append(json.dumps(row, ensure_ascii=False) + "\n")
    path.write_text("".join(lines), encoding="utf-8")
    if lines:
        print(f"{len(lines)} suspect labels: {path}", file=sys.stderr)


def change_table(log_path: Path, recipe: Recipe, data: Dataset) -> str:
    """Return the dev CER of new and old domains before and after fine-tuning, and its macro average over each."""
    evaluations = [
        line for line in map(json.loads, log_path.read_text(encoding="utf-8").splitlines()) if line["event"] == "eval"
    ]
    before, after = evaluations[0]["domains"], evaluations[-1]["domains"]
    new = {example.utterance.domain for example in data.examples if not example.is_replay}
    lines = [f"{'domain':24} {'kind':4} {'before':>8} {'after':>8}"]
    for kind, names in (("new", sorted(new & before.keys())), ("old", sorted(before.keys() - new))):
        lines += [_row(name, kind, before[name]["cer"], after[name]["cer"]) for name in names]
        if len(names) > 1:
            lines.append(_row("macro", kind, _macro(before, names), _macro(after, names)))
    return "\n".join(lines)


def _row(name: str, kind: str, before: float, after: float) -> str:
    return f"{name:24} {kind:4} {before:8.1%} {after:8.1%}"


def _macro(domains: dict[str, Any], names: list[str]) -> float:
    return sum(float(domains[name]["cer"]) for name in names) / len(names)
