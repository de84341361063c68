"""Measure a torch model on the dev manifests, domain by domain, greedily."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from data.augment import change_speed
from data.manifest import Utterance
from decode.greedy import greedy_decode
from silero_like.audio import SAMPLE_RATE, load_audio
from silero_like.errors import AudioError
from silero_like.evaluation.scoring import Evaluation, Scored, evaluate, format_table
from silero_like.model.encoder import Recognizer
from train.batches import collate
from train.dataset import Dataset

BATCH_S = 120.0


def evaluate_model(model: Recognizer, data: Dataset, *, name: str) -> tuple[Evaluation, list[Scored]]:
    """Transcribe every dev utterance and score it; unreadable audio is named and left out, as in `evaluate`."""
    model.eval()
    scored = []
    for utterance, log_probs in all_log_probs(model, data.dev):
        token_ids = greedy_decode(log_probs, data.tokenizer.blank_id)
        scored.append(
            Scored(
                utterance_id=utterance.audio_path.name,
                domain=utterance.domain,
                speaker=utterance.speaker,
                duration_s=utterance.duration_s,
                reference=utterance.text,
                hypothesis=data.tokenizer.decode(token_ids),
            )
        )
    evaluation = evaluate(
        scored,
        normalizer=data.normalizer,
        normalizer_name=data.normalizer.label,
        lang=data.normalizer.name,
        model=name,
        decoder="greedy",
        audio_s_per_core_s=None,
    )
    return evaluation, scored


def format_examples(evaluation: Evaluation, scored: Sequence[Scored], n_examples: int = 5) -> tuple[str, str]:
    """Return the domain table, and a few references with their hypotheses, spread over the dev set."""
    chosen = scored[:: max(1, len(scored) // n_examples)][:n_examples]
    examples = "\n".join(f"  [{item.domain}] {item.reference}\n    -> {item.hypothesis}" for item in chosen)
    return format_table(evaluation), examples


@torch.inference_mode()
def all_log_probs(
    model: Recognizer, utterances: Sequence[Utterance], *, speed: float = 1.0
) -> Iterator[tuple[Utterance, np.ndarray]]:
    """Yield float32 `(T, V)` for each utterance, played at `speed`, run in batches of similar length.

    Unreadable audio is named and left out.
    """
    device = next(model.parameters()).device
    for group in _by_length(utterances):
        loaded = [(utterance, waveform) for utterance in group if (waveform := _load(utterance, speed)) is not None]
        if not loaded:
            continue
        batch = collate([waveform for _, waveform in loaded], [()] * len(loaded), range(len(loaded)))
        output = model(batch.waveform.to(device), batch.lengths.to(device))
        for row, (utterance, _) in enumerate(loaded):
            yield utterance, output.log_probs[row, : int(output.lengths[row])].float().cpu().numpy()


def _by_length(utterances: Sequence[Utterance]) -> Iterator[list[Utterance]]:
    group: list[Utterance] = []
    for utterance in sorted(utterances, key=lambda u: u.duration_s):
        if group and utterance.duration_s * (len(group) + 1) > BATCH_S:
            yield group
            group = []
        group.append(utterance)
    if group:
        yield group


def _load(utterance: Utterance, speed: float) -> np.ndarray | None:
    try:
        waveform = load_audio(utterance.audio_path, offset_s=utterance.offset_s, duration_s=utterance.duration_s)
    except AudioError as error:
        print(f"unreadable audio, left out: {error}", file=sys.stderr)
        return None
    return change_speed(waveform, speed, SAMPLE_RATE)


def dev_scalars(metrics: dict[str, Any]) -> dict[str, float | None]:
    """Flatten an evaluation to the numbers that are worth a curve."""
    rates = {f"dev/{name}": values["cer"] for name, values in metrics["domains"].items()}
    return {**rates, "dev/micro": metrics["micro"]["cer"], "dev/macro": metrics["macro"]["cer"]}
