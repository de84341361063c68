"""`weights.safetensors` of a bundle: the parameters for fine-tuning, as float16 or, in half of that, int8 matrices."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

Stored = Literal["float16", "int8"]
"""How parameters are stored."""

MIN_SIZE = 1024
"""Numbers in a matrix that is worth storing as int8."""
SCALE = ".scale"
"""Behind the name of an int8 matrix: the float16 `(rows,)` that its rows are to be multiplied with."""


def write_weights(path: str | Path, weights: Mapping[str, Tensor], stored: Stored) -> None:
    """Write float32 parameters; int8 rounds each row of a matrix to 1/127 of its largest number."""
    tensors: dict[str, Tensor] = {}
    for name, value in weights.items():
        if stored == "int8" and value.ndim > 1 and value.numel() >= MIN_SIZE:
            rows = value.flatten(1)
            scale = (rows.abs().amax(1) / 127).clamp(min=1e-6).half()
            tensors[name] = (rows / scale.float()[:, None]).round().clamp(-127, 127).to(torch.int8).view(value.shape)
            tensors[name + SCALE] = scale
        else:
            tensors[name] = value.half()
    save_file(tensors, path)


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Return the parameters as float32."""
    tensors = load_file(path)
    weights = {name: value.float() for name, value in tensors.items() if not name.endswith(SCALE)}
    for name in weights.keys() & {name.removesuffix(SCALE) for name in tensors if name.endswith(SCALE)}:
        weights[name] *= tensors[name + SCALE].float().view(-1, *[1] * (weights[name].ndim - 1))
    return weights
