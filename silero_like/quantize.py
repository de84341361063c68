"""int8 graphs: static quantisation of the linear layers, with ranges measured on real speech.

Weights are int8, symmetric, one scale for each output channel; activations are uint8 with one scale and zero point for
each tensor (Jacob et al., 2018). The graph says so in standard ONNX operators, QuantizeLinear and DequantizeLinear
around a Gemm, which ONNX Runtime runs as one integer product. A ReLU between two linear layers becomes the lower end of
a range. The frontend, depthwise convolutions, norms, attention and the layers that measure badly stay float32.

Weights take 7 of their 8 bits: processors without VNNI add two products in 16 bits, and 2 * 255 * 63 just fits.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

Array = npt.NDArray[np.float32]
Range = tuple[float, float]

WEIGHT_LEVELS = 63
PERCENTILE = 90.0
"""Of the extremes of the calibration utterances: the outermost would waste levels on one loud utterance."""
MAX_LAYER_KLS = (2e-4, 1e-4, 5e-5)
"""Nats a frame that a layer may change the log-probs by, alone, to become int8; the next where int8 costs too much."""
SCALE_FLOOR = 1e-8


@dataclass(frozen=True)
class Linear:
    """A linear layer of a graph: MatMul with a constant, and the Add of its bias."""

    name: str
    """As in the torch module: `conv_blocks.0.expand`."""
    source: str
    """Tensor `(B, T, n_in)` that goes in."""
    weight: str
    """Initializer `(n_in, n_out)`."""
    bias: str
    """Initializer `(n_out,)`."""
    output: str
    """Tensor `(B, T, n_out)` that comes out, behind the Add."""
    relu: str | None
    """The output behind a ReLU, if nothing but another linear layer reads it."""


def folded(path: str | Path) -> ModelProto:
    """Return the graph with constants folded, so that the weight of every linear layer is an initializer."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 3
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = str(Path(folder) / "folded.onnx")
        onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        return onnx.load(options.optimized_model_filepath)


def linear_layers(model: ModelProto) -> list[Linear]:
    """Return the linear layers of a folded graph, in its order; the frontend's filter bank has no bias and is none."""
    constants = {tensor.name for tensor in model.graph.initializer}
    readers = _readers(model)
    products = {
        node.output[0]: node for node in model.graph.node if node.op_type == "MatMul" and node.input[1] in constants
    }
    found = []
    for node in model.graph.node:
        product = next((products[name] for name in node.input if name in products), None)
        bias = next((name for name in node.input if name in constants and name.endswith(".bias")), None)
        if node.op_type == "Add" and product is not None and bias is not None:
            name = bias.removeprefix("model.").removesuffix(".bias")
            found.append(Linear(name, product.input[0], product.input[1], bias, node.output[0], None))
    sources = {layer.source for layer in found}
    relus = {
        node.input[0]: node.output[0]
        for node in model.graph.node
        if node.op_type == "Relu" and node.output[0] in sources and len(readers[node.output[0]]) == 1
    }
    return [Linear(**{**vars(layer), "relu": relus.get(layer.output)}) for layer in found]


def activation_ranges(model: ModelProto, names: Set[str], waveforms: Iterable[Array]) -> dict[str, Range]:
    """Return lowest and highest value of some tensors `(B, T, n)` over waveforms `(N,)`; 0 always lies between."""
    probe = ModelProto()
    probe.CopyFrom(model)
    order = sorted(names)
    probe.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in order)
    session = _session(probe)
    lows: list[list[float]] = []
    highs: list[list[float]] = []
    for waveform in waveforms:
        values = _run(session, order, waveform)
        lows.append([float(value.min()) for value in values])
        highs.append([float(value.max()) for value in values])
    low = np.minimum(np.percentile(lows, 100 - PERCENTILE, axis=0), 0)
    high = np.maximum(np.percentile(highs, PERCENTILE, axis=0), 0)
    return {name: (float(low[i]), float(high[i])) for i, name in enumerate(order)}


def sensitivity(
    model: ModelProto, layers: Sequence[Linear], ranges: Mapping[str, Range], waveforms: Sequence[Array]
) -> dict[str, float]:
    """Return, for each layer, how much the log-probs change when it alone is int8.

    Returns:
        Kullback-Leibler divergence of the int8 from the float32 labels, nats a frame, mean over the waveforms `(N,)`.
    """
    expected = _log_probs(model, waveforms)
    return {
        layer.name: _divergence(expected, _log_probs(quantized(model, [layer], ranges), waveforms)) for layer in layers
    }


def quantized(model: ModelProto, layers: Sequence[Linear], ranges: Mapping[str, Range]) -> ModelProto:
    """Return a copy of a folded graph in which `layers` are int8; `ranges` of what goes into each is needed."""
    return _Rewriter(model, layers, ranges).rewrite()


class _Rewriter:
    """Replaces the products, additions and ReLUs of some layers by QuantizeLinear, DequantizeLinear and Gemm."""

    def __init__(self, model: ModelProto, layers: Sequence[Linear], ranges: Mapping[str, Range]) -> None:
        self.model = ModelProto()
        self.model.CopyFrom(model)
        self.graph = self.model.graph
        self.constants = {tensor.name: tensor for tensor in self.graph.initializer}
        self.ranges = ranges
        self.by_output = {layer.output: layer for layer in layers}
        self.sources = {layer.source for layer in layers}
        self.rows: dict[str, str] = {}
        """Dequantised rows `(B * T, n)` of each tensor that goes into an int8 layer."""
        self.new: list[NodeProto] = []

    def rewrite(self) -> ModelProto:
        products = {
            node.output[0]
            for node in self.graph.node
            if node.op_type == "MatMul" and node.input[1] in {layer.weight for layer in self.by_output.values()}
        }
        fused = {layer.relu for layer in self.by_output.values() if layer.relu in self.sources}
        for node in list(self.graph.node):
            layer = self.by_output.get(node.output[0])
            if layer is not None:
                self._linear(layer)
            elif node.output[0] not in products and node.output[0] not in fused:
                self.new.append(node)
        nodes = _sorted(self.new, {value.name for value in self.graph.input} | set(self.constants))
        del self.graph.node[:]
        self.graph.node.extend(nodes)
        self._drop_unused()
        onnx.checker.check_model(self.model)
        return self.model

    def _linear(self, layer: Linear) -> None:
        rows = self._quantized_rows(layer.source)
        weight = numpy_helper.to_array(self.constants[layer.weight])
        scales = np.maximum(np.abs(weight).max(axis=0) / WEIGHT_LEVELS, SCALE_FLOOR).astype(np.float32)
        levels = np.clip(np.round(weight / scales), -WEIGHT_LEVELS, WEIGHT_LEVELS).astype(np.int8)
        quantized_weight = self._dequantize(f"{layer.name}.weight", levels, scales, axis=1)
        bias_scales = (scales * self._scale(layer.source)[0]).astype(np.float32)
        bias = np.round(numpy_helper.to_array(self.constants[layer.bias]) / bias_scales).astype(np.int32)
        quantized_bias = self._dequantize(f"{layer.name}.bias", bias, bias_scales, axis=0)
        fused = layer.relu is not None and layer.relu in self.sources
        flat = f"{layer.name}.rows"
        self.new.append(helper.make_node("Gemm", [rows, quantized_weight, quantized_bias], [flat]))
        if fused:
            assert layer.relu is not None
            self.rows[layer.relu] = self._through_uint8(layer.relu, flat)  # its zero is the range's lower end
        else:
            self._unflatten(layer, flat, weight.shape[1])

    def _quantized_rows(self, name: str) -> str:
        """Return the name of a tensor's dequantised rows, made once."""
        if name not in self.rows:
            n_in = next(
                numpy_helper.to_array(self.constants[layer.weight]).shape[0]
                for layer in self.by_output.values()
                if layer.source == name
            )
            shape = self._constant(f"rows.{n_in}", np.array([-1, n_in], np.int64))
            self.new.append(helper.make_node("Reshape", [name, shape], [f"{name}.rows"]))
            self.rows[name] = self._through_uint8(name, f"{name}.rows")
        return self.rows[name]

    def _through_uint8(self, name: str, rows: str) -> str:
        scale, zero = self._scale(name)
        scale_name = self._constant(f"{name}.scale", np.array(scale, np.float32))
        zero_name = self._constant(f"{name}.zero_point", np.array(zero, np.uint8))
        levels, back = f"{name}.uint8", f"{name}.dequantized"
        self.new.append(helper.make_node("QuantizeLinear", [rows, scale_name, zero_name], [levels]))
        self.new.append(helper.make_node("DequantizeLinear", [levels, scale_name, zero_name], [back]))
        return back

    def _scale(self, name: str) -> tuple[float, int]:
        low, high = self.ranges[name]
        scale = max((high - low) / 255, SCALE_FLOOR)
        return scale, round(-low / scale)

    def _dequantize(self, name: str, levels: npt.NDArray[np.integer], scales: Array, *, axis: int) -> str:
        inputs = [
            self._constant(f"{name}.levels", levels),
            self._constant(f"{name}.scales", scales),
            self._constant(f"{name}.zero_points", np.zeros(len(scales), levels.dtype)),
        ]
        self.new.append(helper.make_node("DequantizeLinear", inputs, [f"{name}.dequantized"], axis=axis))
        return f"{name}.dequantized"

    def _unflatten(self, layer: Linear, flat: str, n_out: int) -> None:
        """Rows `(B * T, n_out)` -> `(B, T, n_out)`."""
        tail = self._constant(f"tail.{n_out}", np.array([-1, n_out], np.int64))
        self.new.append(helper.make_node("Concat", [self._batch_size(), tail], [f"{layer.name}.shape"], axis=0))
        self.new.append(helper.make_node("Reshape", [flat, f"{layer.name}.shape"], [layer.output]))

    def _batch_size(self) -> str:
        if not any(node.output[0] == "batch_size" for node in self.new):
            self.new.append(helper.make_node("Shape", ["lengths"], ["batch_size"]))
        return "batch_size"

    def _constant(self, name: str, value: npt.NDArray[np.generic]) -> str:
        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(value, name)
            self.graph.initializer.append(self.constants[name])
        return name

    def _drop_unused(self) -> None:
        used = {name for node in self.graph.node for name in node.input}
        kept = [tensor for tensor in self.graph.initializer if tensor.name in used]
        del self.graph.initializer[:]
        self.graph.initializer.extend(kept)


def _session(model: ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _run(session: onnxruntime.InferenceSession, names: Sequence[str], waveform: Array) -> list[Array]:
    return session.run(names, {"waveform": waveform[None], "lengths": np.array([len(waveform)])})  # type: ignore[no-any-return]


def _log_probs(model: ModelProto, waveforms: Sequence[Array]) -> list[Array]:
    session = _session(model)
    return [_run(session, ["log_probs"], waveform)[0][0] for waveform in waveforms]


def _divergence(expected: Sequence[Array], found: Sequence[Array]) -> float:
    frames = [(np.exp(p) * (p - q)).sum(axis=-1) for p, q in zip(expected, found, strict=True)]
    return float(np.concatenate(frames).mean())


def _readers(model: ModelProto) -> dict[str, list[NodeProto]]:
    readers: dict[str, list[NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    return readers


def _sorted(nodes: Sequence[NodeProto], known: Set[str]) -> list[NodeProto]:
    """Put nodes in an order in which each comes after those it reads from."""
    have, waiting, ordered = {*known, ""}, list(nodes), []
    while waiting:
        ready = [node for node in waiting if have.issuperset(node.input)]
        if not ready:
            raise ValueError(f"{waiting[0].name}: reads what nothing writes")
        have.update(name for node in ready for name in node.output)
        ordered += ready
        waiting = [node for node in waiting if node.output[0] not in {name for n in ready for name in n.output}]
    return ordered
