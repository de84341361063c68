"""What a model costs: parameters, multiply-adds per second of audio, receptive field."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from silero_like.model.config import SAMPLE_RATE, ModelConfig, preset
from silero_like.model.encoder import Recognizer

SUMMARY_S = 20.48  # a multiple of every block, so that no padding is counted


def summarize(config: ModelConfig | str, n_labels: int = 257) -> dict[str, Any]:
    """Count what inference of a config, or of a preset's name, costs.

    Returns:
        `n_parameters` (the training-only inner head not counted), `macs_per_audio_s` (multiply-adds of all
        convolutions and matrix products, frontend included) and `receptive_field_s` (both sides together).
    """
    if isinstance(config, str):
        config = preset(config, n_labels=n_labels)
    with torch.device("meta"):
        model = Recognizer(config).eval()
        waveform = torch.zeros(1, int(SUMMARY_S * SAMPLE_RATE))
        lengths = torch.full((1,), waveform.shape[1])
        counter = FlopCounterMode(display=False)
        with counter, torch.no_grad():
            model(waveform, lengths)
    inner = sum(p.numel() for p in model.inner_head.parameters())
    return {
        "n_parameters": sum(p.numel() for p in model.parameters()) - inner,
        "macs_per_audio_s": round(counter.get_total_flops() / 2 / SUMMARY_S),
        "receptive_field_s": round((2 * config.context_frames + 1) * config.frame_s, 2),
    }
