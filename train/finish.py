"""The end of a run: a bundle with its model card, the list of suspect labels, and for fine-tuning what it changed."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from train.config import Recipe
from train.curriculum import Curriculum
from train.curves import read_run
from train.dataset import Dataset

MAX_COLUMNS = 6  # evaluations that the table of a fine-tuning run shows


def finish(recipe: Recipe, data: Dataset, curriculum: Curriculum, output_dir: Path) -> None:
    """Write what a finished run leaves behind, and say on stderr what it is."""
    write_suspects(output_dir / "suspects.jsonl", data, curriculum)
    if recipe.loop.bundle:
        print(write_bundle(output_dir), file=sys.stderr)
    if recipe.finetune.init and data.dev:
        print(change_table(output_dir, data), file=sys.stderr)


def write_bundle(output_dir: Path) -> str:
    """Export the best weights, or the last where nothing was measured, as a bundle; return a line about it.

    The language model of a bundle that was fine-tuned goes with it, with the settings of the search, unless the new
    model writes another language.
    """
    from silero_like.bundle import LM_NAME, load_bundle, set_language_model
    from silero_like.export import export_bundle
    from train.bundling import bundle_arguments
    from train.checkpoint import read_checkpoint

    best = output_dir / "best.safetensors"
    checkpoint = read_checkpoint(best if best.exists() else output_dir / "last.safetensors")
    path = export_bundle(output_dir / "bundle", **bundle_arguments(checkpoint), stored="float16")
    step = checkpoint.progress.step
    note = "" if step else ": no evaluation was better than the model that the run began from"
    init = checkpoint.recipe["finetune"]["init"]
    if init and (Path(init) / LM_NAME).is_file():
        source = load_bundle(init)
        if source.config.normalizer == checkpoint.provenance["normalizer"]:
            has_other_labels = source.tokenizer_path.read_bytes() != checkpoint.tokenizer
            left_out = ("prior_weight", "log_priors") if has_other_labels else ()
            settings = {name: value for name, value in source.decoder.items() if name not in left_out}
            set_language_model(path, Path(init) / LM_NAME, settings)
            note += f", with the language model of {init} (silero-like lm tune --save fits its weight anew)"
    return f"bundle: {path}, the weights of step {step}{note}"


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


def change_table(output_dir: Path, data: Dataset) -> str:
    """Return the dev CER of new and old domains before, during and after fine-tuning, and its macro average."""
    evals = read_run(output_dir).evals
    if not evals:
        return f"{output_dir}: its log holds no evaluation"
    picked = dict.fromkeys(round(place * (len(evals) - 1) / (MAX_COLUMNS - 1)) for place in range(MAX_COLUMNS))
    shown = [evals[index] for index in picked]
    titles = ["before", *(f"step {line['step']}" for line in shown[1:-1]), "after"]
    columns = [line["domains"] for line in shown]
    new = {example.utterance.domain for example in data.examples if not example.is_replay}
    lines = [_row("domain", "kind", titles)]
    for kind, names in (("new", sorted(new & columns[0].keys())), ("old", sorted(columns[0].keys() - new))):
        lines += [_row(name, kind, [_mean_cer(domains, [name]) for domains in columns]) for name in names]
        if len(names) > 1:
            lines.append(_row("macro", kind, [_mean_cer(domains, names) for domains in columns]))
    return "\n".join(lines)


def _row(name: str, kind: str, cells: list[str]) -> str:
    return f"{name:24} {kind:4}" + "".join(f"{cell:>12}" for cell in cells)


def _mean_cer(domains: Mapping[str, Any], names: list[str]) -> str:
    """Return the mean CER of some domains; "-" where one of them has none, for lack of words, or was not measured."""
    if not domains.keys() >= set(names):
        return "-"
    rates = [domains[name]["cer"] for name in names]
    return "-" if None in rates else f"{sum(rates) / len(rates):.1%}"
