"""Bundle -> the layout in which sherpa-onnx reads NeMo CTC models: features in, log-probs out, and `tokens.txt`.

sherpa-onnx (https://github.com/k2-fsa/sherpa-onnx) computes the features itself, as `model.frontend` does up to the
logarithm. So the graph is the bundle's own, float or int8, from behind the logarithm on; the normalisation by training
speech stays inside. What the frontend takes from the waveform's shape is computed from that of the features.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from silero_like.bundle import CARD_NAME, BundleConfig, load_bundle, write_checksums
from silero_like.errors import BundleError
from silero_like.model.config import HOP_LENGTH, MAX_STRIDE
from silero_like.reference import TOLERANCE, reference_waveform
from silero_like.tokenizer import Tokenizer

TOKENS_NAME = "tokens.txt"
BLANK = "<blk>"


def write_sherpa(source: str | Path, target: Path) -> None:
    """Write a bundle's model as `model.onnx`, or `model.int8.onnx`, with `tokens.txt` and the model card.

    Args:
        source: folder of a bundle.
        target: folder to make.

    Raises:
        BundleError: the graph is not one that `export_bundle` or `quantize_bundle` writes.
    """
    bundle = load_bundle(source)
    model = onnx.load(bundle.model_path)
    is_int8 = any(node.op_type == "DequantizeLinear" for node in model.graph.node)
    graph = without_frontend(model, bundle.config)
    target.mkdir()
    (target / ("model.int8.onnx" if is_int8 else "model.onnx")).write_bytes(graph.SerializeToString())
    pieces = (*Tokenizer(bundle.tokenizer_path).pieces, BLANK)
    (target / TOKENS_NAME).write_text("".join(f"{piece} {i}\n" for i, piece in enumerate(pieces)), encoding="utf-8")
    shutil.copyfile(bundle.path / CARD_NAME, target / CARD_NAME)
    write_checksums(target)


def without_frontend(model: ModelProto, config: BundleConfig) -> ModelProto:
    """Return a graph from log-mel features to log-probs, with sherpa-onnx's metadata.

    Returns:
        Inputs `audio_signal` float32 `(B, F, T)` and `length` int64 `(B,)` in frames of 10 ms; output `log_probs`
        `(B, T', V)`.

    Raises:
        BundleError: no logarithm that the frontend ends with, or something else still needs the waveform.
    """
    ends = [node.output[0] for node in model.graph.node if node.op_type == "Log"]
    if len(ends) != 1:
        raise BundleError(f"expected a graph with one logarithm, the frontend's end, found {len(ends)}: export it anew")
    cut = ModelProto()
    cut.CopyFrom(model)
    rest = [node for node in model.graph.node if node.output[0] != ends[0]]
    nodes = [_shape_part(node) if _reads_shape(node) else node for node in rest]
    _rebuild(cut, [*_entrance(ends[0]), *nodes], config.model["n_mels"])
    metadata = {
        "model_type": "EncDecCTCModelBPE",
        "vocab_size": config.n_labels,  # blank included
        "subsampling_factor": config.frame_samples // HOP_LENGTH,
        "normalize_type": "",  # done inside
        "feat_dim": config.model["n_mels"],
        "name": config.name,
        "language": config.lang,
    }
    helper.set_model_props(cut, {key: str(value) for key, value in metadata.items()})
    onnx.checker.check_model(cut)
    _check(model, cut, ends[0])
    return cut


def _entrance(features: str) -> list[NodeProto]:
    """Return nodes that lead from the new inputs to `features` and to length and shape of a waveform that has them.

    T frames, padded to whole frames of log_probs as the frontend would, belong to 160 T - 80 samples and a few more.
    """
    node = helper.make_node
    return [
        node("Transpose", ["audio_signal"], ["sherpa.rows"], perm=[0, 2, 1]),
        node("Shape", ["audio_signal"], ["sherpa.batch"], start=0, end=1),
        node("Shape", ["audio_signal"], ["sherpa.frames"], start=2, end=3),
        node("Neg", ["sherpa.frames"], ["sherpa.minus"]),
        node("Mod", ["sherpa.minus", "sherpa.stride"], ["sherpa.missing"]),
        node("Concat", ["sherpa.begin", "sherpa.missing", "sherpa.zero"], ["sherpa.pads"], axis=0),
        node("Pad", ["sherpa.rows", "sherpa.pads"], [features]),
        node("Mul", ["length", "sherpa.hop"], ["sherpa.ends"]),
        node("Sub", ["sherpa.ends", "sherpa.half"], ["lengths"]),
        node("Mul", ["sherpa.frames", "sherpa.hop"], ["sherpa.end"]),
        node("Sub", ["sherpa.end", "sherpa.half"], ["sherpa.samples"]),
        node("Concat", ["sherpa.batch", "sherpa.samples"], ["sherpa.shape"], axis=0),
    ]


_CONSTANTS = {
    "sherpa.stride": [MAX_STRIDE],
    "sherpa.begin": [0, 0, 0, 0],
    "sherpa.zero": [0],
    "sherpa.hop": [HOP_LENGTH],
    "sherpa.half": [HOP_LENGTH // 2],
    **{f"sherpa.axis{i}": [i] for i in range(3)},
}


def _reads_shape(node: NodeProto) -> bool:
    return node.op_type == "Shape" and node.input[0] == "waveform"


def _shape_part(node: NodeProto) -> NodeProto:
    """Turn `Shape(waveform)`, of all axes or some, into a part of the computed shape."""
    part = {attribute.name: attribute.i for attribute in node.attribute}
    bounds = [f"sherpa.axis{part.get('start', 0)}", f"sherpa.axis{part.get('end', 2)}"]
    return helper.make_node("Slice", ["sherpa.shape", *bounds], list(node.output))


def _rebuild(model: ModelProto, nodes: list[NodeProto], n_mels: int) -> None:
    """Give a graph new inputs, its first output only, and of `nodes` those that this output needs."""
    graph, needed, kept = model.graph, {"log_probs"}, []
    for node in reversed(nodes):
        if needed.intersection(node.output):
            needed.update(node.input)
            kept.append(node)
    if "waveform" in needed:
        raise BundleError("a part behind the frontend reads the waveform: export the model anew")
    constants = [tensor for tensor in graph.initializer if tensor.name in needed]
    constants += [numpy_helper.from_array(np.array(v, np.int64), k) for k, v in _CONSTANTS.items() if k in needed]
    output = next(value for value in graph.output if value.name == "log_probs")
    tensor = helper.make_tensor_value_info
    inputs = [
        tensor("audio_signal", TensorProto.FLOAT, ["B", n_mels, "T"]),
        tensor("length", TensorProto.INT64, ["B"]),
    ]
    rebuilt = helper.make_graph(kept[::-1], "features_to_log_probs", inputs, [output], constants)
    graph.CopyFrom(rebuilt)
    domains = {node.domain for node in kept}
    used = [opset for opset in model.opset_import if opset.domain in domains]
    del model.opset_import[:]
    model.opset_import.extend(used)


def _check(model: ModelProto, cut: ModelProto, features: str) -> None:
    """Compare the two on the reference signal, of which not every frame is whole."""
    probe = ModelProto()
    probe.CopyFrom(model)
    probe.graph.output.append(helper.make_tensor_value_info(features, TensorProto.FLOAT, None))
    waveform = reference_waveform()[None, :-700]
    lengths = np.array([waveform.shape[1]])
    expected, log_mel = _session(probe).run(["log_probs", features], {"waveform": waveform, "lengths": lengths})
    length = (lengths + HOP_LENGTH // 2) // HOP_LENGTH
    signal = np.ascontiguousarray(log_mel[:, : length[0]].transpose(0, 2, 1))
    (found,) = _session(cut).run(None, {"audio_signal": signal, "length": length})
    if found.shape != expected.shape or np.abs(found - expected).max() > TOLERANCE:
        raise BundleError("the graph without its frontend differs from the one with it: do not use this export")


def _session(model: ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
