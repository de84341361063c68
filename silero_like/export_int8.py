"""Float bundle -> int8 bundle."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnxruntime

from silero_like.bundle import MODEL_NAME, load_bundle, write_checksums
from silero_like.errors import BundleError
from silero_like.quantize import (
    MAX_LAYER_KLS,
    Array,
    activation_ranges,
    folded,
    linear_layers,
    quantized,
    sensitivity,
)
from silero_like.reference import make_reference
from silero_like.runtime import Runtime

QUANTIZATION_NAME = "quantization.json"


def quantize_bundle(
    source: str | Path,
    target: Path,
    waveforms: Sequence[Array],
    calibration: Mapping[str, Any],
    *,
    max_layer_kl: float = MAX_LAYER_KLS[0],
) -> dict[str, float]:
    """Write a copy of a float bundle whose linear layers are int8; weights for fine-tuning stay what they are.

    Args:
        source: folder of the float bundle.
        target: folder to make.
        waveforms: calibration speech, float32 `(N,)` each, 16 kHz; a hundred utterances of all domains serve well.
        calibration: what they are, for `quantization.json`.
        max_layer_kl: nats a frame that a layer may change the log-probs by, alone, to become int8.

    Returns:
        What each linear layer would change as int8, nats a frame; those above `max_layer_kl` stayed float32.

    Raises:
        BundleError: the bundle is int8 already, or has no linear layer.
    """
    bundle = load_bundle(source)
    model = folded(bundle.model_path)
    if any(node.op_type == "DequantizeLinear" for node in model.graph.node):
        raise BundleError(f"{source}: expected a float bundle, this one is int8 already: export the checkpoint again")
    layers = linear_layers(model)
    if not layers:
        raise BundleError(f"{source}: no linear layer found in its graph: export the checkpoint again")
    ranges = activation_ranges(model, {layer.source for layer in layers}, waveforms)
    changes = sensitivity(model, layers, ranges, waveforms[::3])
    chosen = [layer for layer in layers if changes[layer.name] <= max_layer_kl]
    shutil.copytree(bundle.path, target)
    (target / MODEL_NAME).write_bytes(quantized(model, chosen, ranges).SerializeToString())
    report = {
        "weights": "int8, 7 bits, one scale an output channel",
        "activations": "uint8, static",
        "onnxruntime": onnxruntime.__version__,
        "calibration": dict(calibration),
        "max_layer_kl": max_layer_kl,
        "layers": {
            layer.name: {"kl": round(changes[layer.name], 7), "type": "int8" if layer in chosen else "float32"}
            for layer in layers
        },
    }
    write_json(target / QUANTIZATION_NAME, report)
    write_checksums(target)
    write_json(target / "reference.json", make_reference(Runtime(load_bundle(target))))
    write_checksums(target)
    return changes


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write an indented object."""
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
