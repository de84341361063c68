"""The file of a bundle's weights: what is stored is what is read, as exactly as its numbers allow."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from silero_like.weights import read_weights, write_weights


@pytest.fixture
def weights() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    rows = 10.0 ** -(torch.arange(64.0)[:, None] % 5)  # of very different sizes
    return {
        "stem.conv.weight": torch.randn(64, 1, 1, 33, generator=generator),
        "head.1.weight": rows * torch.randn(64, 32, generator=generator),
        "head.1.bias": torch.randn(2000, generator=generator),
        "small.weight": torch.randn(4, 4, generator=generator),
        "nothing.weight": torch.zeros(64, 32),
    }


def test_float16_keeps_eleven_bits(weights: dict[str, Tensor], tmp_path: Path) -> None:
    write_weights(tmp_path / "weights.safetensors", weights, "float16")
    read = read_weights(tmp_path / "weights.safetensors")
    assert read.keys() == weights.keys()
    assert all(torch.equal(value, weights[name].half().float()) for name, value in read.items())


def test_int8_is_exact_to_half_a_step_of_each_row(weights: dict[str, Tensor], tmp_path: Path) -> None:
    for stored in ("float16", "int8"):
        write_weights(tmp_path / stored, weights, stored)
    read = read_weights(tmp_path / "int8")
    assert {name: value.shape for name, value in read.items()} == {name: w.shape for name, w in weights.items()}
    assert all(value.dtype == torch.float32 for value in read.values())
    for name in ("stem.conv.weight", "head.1.weight", "nothing.weight"):
        step = weights[name].flatten(1).abs().amax(1) / 127
        error = (read[name] - weights[name]).flatten(1).abs().amax(1)
        assert bool((error <= 0.55 * step + 127 * 2.0**-25).all()), name  # a scale is a float16 itself
    for name in ("head.1.bias", "small.weight"):
        assert torch.equal(read[name], weights[name].half().float())


def test_int8_takes_about_half_of_float16(tmp_path: Path) -> None:
    weights = {"head.1.weight": torch.randn(512, 512)}
    for stored in ("float16", "int8"):
        write_weights(tmp_path / stored, weights, stored)
    assert (tmp_path / "int8").stat().st_size < 0.51 * (tmp_path / "float16").stat().st_size
