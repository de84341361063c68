"""The page that travels with a model: what it learned from, how it was made, how well it does, domain by domain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def model_card(
    name: str,
    *,
    lang: str,
    model: Mapping[str, Any],
    training: Mapping[str, Any],
    metrics: Mapping[str, Any],
    licence: str,
    attributions: Sequence[str],
    limits: Sequence[str],
) -> str:
    """Return MODEL_CARD.md.

    Args:
        model: `n_parameters`, `macs_per_audio_s`, `receptive_field_s`.
        training: command, seed, versions, hours per domain, manifest hashes, steps, seconds.
        metrics: the evaluation JSON of the dev manifests, or empty.
    """
    sections = [
        f"# {name}\n",
        f"A speech recogniser for language `{lang}`: {model['n_parameters'] / 1e6:.2f} million parameters, "
        f"{model['macs_per_audio_s'] / 1e6:.0f} million multiply-adds a second of audio, "
        f"receptive field {model['receptive_field_s']} s. 16 kHz mono in, BPE tokens out, CTC.\n",
        "## Accuracy\n",
        _accuracy(metrics),
        "## Training data\n",
        _hours(training.get("hours", {})),
        "## How it was made\n",
        _list(_provenance(training)),
        "## Limits\n",
        _list(limits) if limits else "Not stated.\n",
        "## Licence and attribution\n",
        f"Weights: {licence}.\n",
        _list(attributions) if attributions else "",
    ]
    return "\n".join(section for section in sections if section)


def _accuracy(metrics: Mapping[str, Any]) -> str:
    if not metrics:
        return "Not measured.\n"
    rows = [
        f"| {domain} | {row['utterances']} | {row['audio_s'] / 60:.1f} | {_percent(row['wer'])} | {_interval(row)} "
        f"| {_percent(row['cer'])} |"
        for domain, row in metrics["domains"].items()
    ]
    rows += [
        f"| {kind} average | | | {_percent(metrics[kind]['wer'])} | | {_percent(metrics[kind]['cer'])} |"
        for kind in ("macro", "micro")
    ]
    head = "| domain (dev) | utterances | minutes | WER | 95 % interval | CER |\n|---|---:|---:|---:|---:|---:|"
    about = f"Decoder: {metrics['decoder']}; text normaliser: {metrics['normalizer']}."
    return "\n".join([about, "", head, *rows, ""])


def _hours(hours: Mapping[str, float]) -> str:
    rows = [f"| {domain} | {value:.2f} |" for domain, value in sorted(hours.items())]
    return "\n".join(["| domain | hours |", "|---|---:|", *rows, f"| all | {sum(hours.values()):.2f} |", ""])


def _provenance(training: Mapping[str, Any]) -> list[str]:
    facts = [
        f"{key}: {training[key]}"
        for key in ("command", "teacher", "averaged_steps", "seed", "steps", "hours_seen", "train_minutes", "device")
        if key in training
    ]
    facts += [f"{package} {version}" for package, version in training.get("versions", {}).items()]
    facts += [f"{manifest}: SHA-256 {digest}" for manifest, digest in training.get("manifests_sha256", {}).items()]
    return facts


def _list(lines: Sequence[str]) -> str:
    return "\n".join([*(f"* {line}" for line in lines), ""])


def _percent(rate: float | None) -> str:
    return "-" if rate is None else f"{100 * rate:.1f} %"


def _interval(row: Mapping[str, Any]) -> str:
    interval = row.get("wer_ci95")
    return "-" if not interval else f"{100 * interval[0]:.1f} - {100 * interval[1]:.1f} %"
