"""Seconds of audio a core-second of the acoustic model in ONNX Runtime, one thread.

    python -m benchmarks.acoustic_model            # presets, untrained: speed does not depend on the weights
    python -m benchmarks.acoustic_model --model my-bundle --seconds 15

Also measures this core's float32 matrix-product rate in the same run, and prints which share of it the model reaches.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime

from benchmarks.machine import describe_machine

REPEATS = 5


def main() -> None:
    """Parse arguments, measure, print a table and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", nargs="*", default=["tiny", "small"], help="untrained presets to export and time")
    parser.add_argument("--model", nargs="*", default=[], help="bundle folders to time as well")
    parser.add_argument("--seconds", type=float, nargs="*", default=[5.0, 15.0, 60.0], help="lengths of audio")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    arguments = parser.parse_args()
    rate = matrix_product_rate()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        graphs = {name: export_preset(name, Path(folder)) for name in arguments.presets}
        graphs |= {model: (Path(model) / "model.onnx", macs_of_bundle(Path(model))) for model in arguments.model}
        for name, (path, macs) in graphs.items():
            session = open_session(path)
            rows += [measure(name, session, seconds, macs, rate) for seconds in arguments.seconds]
    print(f"one core: {rate / 1e9:.0f} GFLOP/s in a float32 matrix product of side 1024")
    print(f"{'model':24} {'audio s':>8} {'s/core-s':>9} {'GFLOP/s':>8} {'share':>6}")
    for row in rows:
        print(
            f"{row['model']:24} {row['audio_s']:8.0f} {row['audio_s_per_core_s']:9.0f} {row['gflop_per_s']:8.0f} "
            f"{row['share_of_matrix_product']:6.0%}"
        )
    if arguments.json:
        figures = {"machine": describe_machine(), "matrix_product_gflop_per_s": rate / 1e9, "rows": rows}
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")


def measure(
    name: str, session: onnxruntime.InferenceSession, audio_s: float, macs_per_audio_s: int, rate: float
) -> dict[str, float | str]:
    """Time one session on noise: the median of several runs, in CPU time of this process."""
    n_samples = int(audio_s * 16000)
    waveform = np.random.default_rng(0).standard_normal((1, n_samples)).astype(np.float32) * 0.1
    feeds = {"waveform": waveform, "lengths": np.array([n_samples])}
    session.run(None, feeds)
    runs = max(1, round(60 / audio_s))
    times = []
    for _ in range(REPEATS):
        started = time.process_time()
        for _ in range(runs):
            session.run(None, feeds)
        times.append((time.process_time() - started) / runs)
    speed = audio_s / float(np.median(times))
    flops = 2 * macs_per_audio_s * speed
    return {
        "model": name,
        "audio_s": audio_s,
        "audio_s_per_core_s": speed,
        "gflop_per_s": flops / 1e9,
        "share_of_matrix_product": flops / rate,
    }


def matrix_product_rate(side: int = 1024, repeats: int = 20) -> float:
    """Return float32 operations a second of one core in a square ONNX Runtime matrix product (the best of several)."""
    from onnx import TensorProto, helper

    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [side, side]) for name in "abc"]
    graph = helper.make_graph([helper.make_node("MatMul", ["a", "b"], ["c"])], "product", value[:2], value[2:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 10
    session = open_session(model.SerializeToString())
    feeds = {name: np.ones((side, side), np.float32) for name in "ab"}
    session.run(None, feeds)
    times = []
    for _ in range(repeats):
        started = time.process_time()
        session.run(None, feeds)
        times.append(time.process_time() - started)
    return float(2 * side**3 / min(times))


def open_session(model: Path | bytes) -> onnxruntime.InferenceSession:
    """Open a graph on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model if isinstance(model, bytes) else str(model), options)


def export_preset(name: str, folder: Path) -> tuple[Path, int]:
    """Export an untrained preset; return its graph and its multiply-adds per second of audio."""
    import torch

    from silero_like.export import export_onnx
    from silero_like.model.config import preset
    from silero_like.model.encoder import Recognizer
    from silero_like.model.summary import summarize

    torch.manual_seed(0)
    config = preset(name, n_labels=257)
    path = folder / f"{name}.onnx"
    export_onnx(Recognizer(config).eval(), path)
    return path, int(summarize(config)["macs_per_audio_s"])


def macs_of_bundle(path: Path) -> int:
    """Read a bundle's multiply-adds per second of audio."""
    return int(json.loads((path / "config.json").read_text())["model"]["macs_per_audio_s"])


if __name__ == "__main__":
    main()
