"""Seconds of audio a core-second of the acoustic model in ONNX Runtime, one thread, float32 and int8.

    python -m benchmarks.acoustic_model            # presets, untrained: speed does not depend on the weights
    python -m benchmarks.acoustic_model --presets --model my-bundle --seconds 15

Also measures, in the same run, what this core reaches in a matrix product of each kind, and prints which share of it
the model reaches: whole, and its encoder without the frontend, which is float32 in all graphs. The share of an int8
graph is of the int8 product, though some of its layers are float32.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto

from benchmarks.machine import machine_lines, write_figures
from silero_like.bundle import load_bundle
from silero_like.matrix_product import matrix_product_rate
from silero_like.runtime import open_session
from silero_like.speed import noise_batch, time_core

FEATURES_A_S = 100  # frames of the frontend


@dataclass(frozen=True)
class Graph:
    """What is to be timed."""

    name: str
    kind: str
    """Of its matrix products: "float32" or "int8"."""
    path: Path
    macs: int
    """Multiplications a second of audio."""


def main() -> None:
    """Parse arguments, measure, print a table and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", nargs="*", default=["tiny", "small"], help="untrained presets to export and time")
    parser.add_argument("--model", nargs="*", default=[], help="bundle folders to time as well")
    parser.add_argument("--seconds", type=float, nargs="*", default=[5.0, 15.0, 60.0], help="lengths of audio")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    arguments = parser.parse_args()
    rates = {kind: matrix_product_rate(kind) for kind in ("float32", "int8")}
    for kind, rate in rates.items():
        print(f"one core: {rate / 1e9:.0f} G operations a second in a {kind} matrix product of side 1024")
    print(
        f"{'model':24} {'':8} {'audio s':>8} {'s/core-s':>9} {'Gop/s':>6} {'share':>6} {'frontend':>9} {'encoder':>8}"
    )
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for graph in graphs(arguments.presets, arguments.model, Path(folder)):
            for seconds in arguments.seconds:
                rows.append(measure(graph, seconds, rates[graph.kind]))
                print(format_row(rows[-1]), flush=True)
    for line in gains(rows):
        print(line)
    print(machine_lines())
    write_figures(arguments.json, {"matrix_product_per_s": rates, "rows": rows})


def graphs(presets: list[str], models: list[str], folder: Path) -> Iterator[Graph]:
    """Yield the graphs of untrained presets, float32 and int8, and of bundles."""
    for name in presets:
        graph = export_preset(name, folder)
        yield graph
        yield quantize(graph, folder)
    for model in models:
        bundle = load_bundle(model)
        is_int8 = any(node.op_type == "DequantizeLinear" for node in onnx.load(bundle.model_path).graph.node)
        kind = "int8" if is_int8 else "float32"
        yield Graph(bundle.config.name, kind, bundle.model_path, int(bundle.config.model["macs_per_audio_s"]))


def export_preset(name: str, folder: Path) -> Graph:
    """Export an untrained preset."""
    import torch

    from silero_like.export import export_onnx
    from silero_like.model.config import preset
    from silero_like.model.encoder import Recognizer
    from silero_like.model.summary import summarize

    torch.manual_seed(0)
    config = preset(name, n_labels=257)
    path = folder / f"{name}.onnx"
    export_onnx(Recognizer(config).eval(), path)
    return Graph(name, "float32", path, int(summarize(config)["macs_per_audio_s"]))


def quantize(graph: Graph, folder: Path) -> Graph:
    """Make every linear layer int8, with ranges from noise."""
    from silero_like.quantize import activation_ranges, folded, linear_layers, quantized

    model = folded(graph.path)
    layers = linear_layers(model)
    ranges = activation_ranges(model, {layer.source for layer in layers}, noise_batch(5.0)["waveform"])
    path = folder / f"{graph.name}-int8.onnx"
    path.write_bytes(quantized(model, layers, ranges).SerializeToString())
    return Graph(graph.name, "int8", path, graph.macs)


def measure(graph: Graph, audio_s: float, rate: float) -> dict[str, Any]:
    """Time one graph on noise, whole and its frontend."""
    frontend = frontend_of(onnx.load(graph.path))
    whole_s, frontend_s = (core_s(model, audio_s) for model in (graph.path, frontend.SerializeToString()))
    frontend_macs = audio_s * FEATURES_A_S * n_weights(frontend)
    operations, encoder_operations = 2 * graph.macs * audio_s, 2 * (graph.macs * audio_s - frontend_macs)
    figures = {
        "audio_s": audio_s,
        "audio_s_per_core_s": audio_s / whole_s,
        "gop_per_s": operations / whole_s / 1e9,
        "share_of_matrix_product": operations / whole_s / rate,
        "frontend_share_of_time": frontend_s / whole_s,
        "encoder_share_of_matrix_product": encoder_operations / max(whole_s - frontend_s, 1e-9) / rate,
    }
    return {**asdict(graph), "path": graph.path.name, **figures}


def core_s(model: Path | bytes, audio_s: float) -> float:
    """Return the processor time of one call, one waveform of so many seconds."""
    session, batch = open_session(model), noise_batch(audio_s)
    feeds = {value.name: batch[value.name] for value in session.get_inputs()}
    runs = max(1, round(60 / audio_s))
    return time_core(lambda: [session.run(None, feeds) for _ in range(runs)]) / runs


def frontend_of(model: ModelProto) -> ModelProto:
    """Return the part of a graph up to the logarithm of the mel energies."""
    (log,) = (node for node in model.graph.node if node.op_type == "Log")
    makers = {name: node for node in model.graph.node for name in node.output}
    found: dict[int, onnx.NodeProto] = {}
    open_names = [log.output[0]]
    while open_names:
        node = makers.get(open_names.pop())
        if node is not None and id(node) not in found:
            found[id(node)] = node
            open_names += node.input
    nodes = [node for node in model.graph.node if id(node) in found]
    names = {name for node in nodes for name in node.input}
    graph = onnx.helper.make_graph(
        nodes,
        "frontend",
        [value for value in model.graph.input if value.name in names],
        [onnx.helper.make_tensor_value_info(log.output[0], onnx.TensorProto.FLOAT, None)],
        [tensor for tensor in model.graph.initializer if tensor.name in names],
    )
    return onnx.helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)


def n_weights(frontend: ModelProto) -> int:
    """Return how many weights the frontend multiplies a frame with: its convolution's and its filter bank's."""
    read = {node.input[1] for node in frontend.graph.node if node.op_type in ("Conv", "MatMul")}
    return sum(int(np.prod(tensor.dims)) for tensor in frontend.graph.initializer if tensor.name in read)


def gains(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Say how much faster the int8 graph of a preset is."""
    for row in rows:
        for other in rows:
            if (row["kind"], other["kind"]) == ("float32", "int8") and all(
                row[key] == other[key] for key in ("name", "audio_s")
            ):
                times = other["audio_s_per_core_s"] / row["audio_s_per_core_s"]
                yield f"{row['name']}, {row['audio_s']:g} s: int8 is {times:.2f} times as fast as float32"


def format_row(row: dict[str, Any]) -> str:
    """Return a line of the table."""
    return (
        f"{row['name']:24} {row['kind']:8} {row['audio_s']:8.0f} {row['audio_s_per_core_s']:9.0f} "
        f"{row['gop_per_s']:6.0f} {row['share_of_matrix_product']:6.0%} {row['frontend_share_of_time']:9.0%} "
        f"{row['encoder_share_of_matrix_product']:8.0%}"
    )


if __name__ == "__main__":
    main()
