"""What changes with the step of a run: the learning rate, and when the second copy of a batch is read."""

from __future__ import annotations

import math

from train.config import OptimizerConfig


def learning_rate(step: int, peak: float, warmup_steps: int, total_steps: int) -> float:
    """Linear warm-up to `peak`, then a cosine to zero at `total_steps`.

    >>> [round(learning_rate(s, 1.0, 10, 110), 3) for s in (0, 9, 60, 109)]
    [0.1, 1.0, 0.5, 0.0]
    """
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup_steps) / max(1, total_steps - warmup_steps)))


def consistency_weight(step: int, optimizer: OptimizerConfig) -> float:
    """Weight of the agreement of two copies at a step: 0 until `consistency_from` of the run.

    >>> halves = OptimizerConfig(total_steps=10, consistency_weight=0.2, consistency_from=0.5)
    >>> [consistency_weight(step, halves) for step in (0, 4, 5, 9)]
    [0.0, 0.0, 0.2, 0.2]
    """
    return optimizer.consistency_weight if step >= optimizer.consistency_from * optimizer.total_steps else 0.0
