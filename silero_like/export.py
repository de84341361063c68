"""Checkpoint -> bundle: the folder that a deployed machine loads."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from silero_like.bundle import BUNDLE_FORMAT, WEIGHTS_NAME, BundleConfig, load_bundle, write_checksums
from silero_like.errors import BundleError
from silero_like.model.config import SAMPLE_RATE, from_dict
from silero_like.model.encoder import Recognizer
from silero_like.model.summary import summarize
from silero_like.reference import make_reference
from silero_like.runtime import Runtime
from silero_like.tokenizer import Tokenizer
from silero_like.weights import Stored, write_weights

if TYPE_CHECKING:
    import onnx

OPSET = 18
PARITY_TOLERANCE = (
    1e-3  # largest difference of log-probs between torch and ONNX Runtime, float32 rounding over ~20 layers
)


def export_bundle(
    output_dir: str | Path,
    *,
    weights: Mapping[str, Tensor],
    model_config: Mapping[str, Any],
    tokenizer_model: bytes,
    name: str,
    preset: str,
    lang: str,
    normalizer: str,
    training: Mapping[str, Any],
    metrics: Mapping[str, Any],
    model_card: str,
    stored: Stored | None = None,
) -> Path:
    """Write a bundle: graph, tokenizer, config, model card, weights for fine-tuning, checksums.

    The folder is made beside its final place and renamed, so that a failed export leaves nothing half-done.

    Args:
        output_dir: folder to make; an existing bundle there is replaced, any other non-empty folder is an error.
        weights: state of `Recognizer`, averaged weights.
        model_config: fields of `ModelConfig`.
        stored: how to store weights for fine-tuning, if at all. The graph then holds float16, too, and computes in
            float32: half the size on disk, the same speed; log-probs change by about 1e-3.

    Raises:
        BundleError: the folder is in use, or ONNX Runtime disagrees with torch.
    """
    target = Path(output_dir)
    with _making(target) as folder:
        model = Recognizer(from_dict(dict(model_config))).eval()
        rounded = {key: _round(value) if stored else value for key, value in weights.items()}
        model.load_state_dict(rounded)
        export_onnx(model, folder / "model.onnx", half_weights=stored is not None)
        (folder / "tokenizer.model").write_bytes(tokenizer_model)
        if stored:
            write_weights(folder / WEIGHTS_NAME, rounded, stored)
        config = BundleConfig(
            format=BUNDLE_FORMAT,
            name=name,
            lang=lang,
            normalizer=normalizer,
            sample_rate=SAMPLE_RATE,
            frame_s=model.config.frame_s,
            n_labels=model.config.n_labels,
            blank_id=Tokenizer(tokenizer_model).blank_id,
            block_frames=1,
            context_frames=model.config.context_frames,
            preset=preset,
            model={**model.config.to_dict(), **summarize(model.config)},
            training=dict(training),
            metrics=dict(metrics),
        )
        (folder / "config.json").write_text(_json(dataclasses.asdict(config)), encoding="utf-8")
        (folder / "MODEL_CARD.md").write_text(model_card, encoding="utf-8")
        write_checksums(folder)
        runtime = Runtime(load_bundle(folder))
        check_parity(model, runtime)
        (folder / "reference.json").write_text(_json(make_reference(runtime)), encoding="utf-8")
        write_checksums(folder)
    return target


def check_target(target: Path) -> None:
    """Make the parent of a bundle's folder.

    Raises:
        BundleError: the folder is in use for something else.
    """
    if target.exists() and any(target.iterdir()) and not (target / "checksums.json").exists():
        raise BundleError(f"{target}: not empty and not a bundle: name a new folder")
    target.parent.mkdir(parents=True, exist_ok=True)


def place_bundle(folder: Path, target: Path) -> None:
    """Put a finished bundle in its place, and make it readable to all."""
    folder.chmod(0o755)
    for file in folder.iterdir():
        file.chmod(0o644)
    if target.exists():
        shutil.rmtree(target)
    os.replace(folder, target)


def export_onnx(model: Recognizer, path: Path, *, half_weights: bool = False) -> None:
    """Write the graph, with weights as float16 if asked to."""
    proto = convert(model)
    if half_weights:
        _store_half(proto)
    path.write_bytes(proto.SerializeToString())


def convert(model: Recognizer) -> onnx.ModelProto:
    """Return the graph: waveform `(B, N)` and lengths `(B,)` in, log_probs `(B, T, V)` and lengths `(B,)` out."""
    waveform, lengths = torch.zeros(2, 2 * SAMPLE_RATE), torch.tensor([2 * SAMPLE_RATE, SAMPLE_RATE])
    dynamic = torch.export.Dim.DYNAMIC
    with warnings.catch_warnings(), _quiet("torch.onnx"):  # the exporter warns about its own internals
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            _Inference(model),
            (waveform, lengths),
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            input_names=["waveform", "lengths"],
            output_names=["log_probs", "log_prob_lengths"],
            dynamic_shapes={"waveform": {0: dynamic, 1: dynamic}, "lengths": {0: dynamic}},
        )
    if program is None:
        raise BundleError("the ONNX exporter returned nothing")
    proto: onnx.ModelProto = program.model_proto
    _strip_metadata(proto)
    return proto


def check_parity(model: Recognizer, runtime: Runtime, *, seed: int = 0) -> float:
    """Return the largest difference between torch and ONNX Runtime on noise of several lengths.

    Raises:
        BundleError: it exceeds `PARITY_TOLERANCE`.
    """
    generator = np.random.default_rng(seed)
    worst = 0.0
    for n_samples in (8_000, 50_001, 200_000):
        waveform = (0.1 * generator.standard_normal(n_samples)).astype(np.float32)
        with torch.inference_mode():
            output = model(torch.from_numpy(waveform)[None], torch.tensor([n_samples]))
        expected = output.log_probs[0, : int(output.lengths[0])].numpy()
        worst = max(worst, float(np.abs(runtime.log_probs(waveform) - expected).max()))
    if worst > PARITY_TOLERANCE:
        raise BundleError(
            f"ONNX differs from torch by {worst:.2e}, more than {PARITY_TOLERANCE}: do not use this export"
        )
    return worst


def torch_log_probs(
    weights: Mapping[str, Tensor], model_config: Mapping[str, Any]
) -> Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]:
    """Return the float32 torch model as a function from a waveform `(N,)` to log-probs `(T, V)`."""
    model = Recognizer(from_dict(dict(model_config))).eval()
    model.load_state_dict(weights)

    @torch.inference_mode()
    def log_probs(waveform: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        output = model(torch.from_numpy(waveform)[None], torch.tensor([len(waveform)]))
        return output.log_probs[0, : int(output.lengths[0])].numpy()  # type: ignore[no-any-return]

    return log_probs


class _Inference(nn.Module):
    """The recogniser with a tuple for output, as the exporter wants it."""

    def __init__(self, model: Recognizer) -> None:
        super().__init__()
        self.model = model

    def forward(self, waveform: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        output = self.model(waveform, lengths)
        return output.log_probs, output.lengths


@contextmanager
def _quiet(logger_name: str) -> Iterator[None]:
    logger = logging.getLogger(logger_name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _strip_metadata(proto: Any) -> None:
    """Drop what the exporter notes of the source code: stack traces with paths of the exporting machine."""
    for holder in (proto, proto.graph, *proto.graph.node, *proto.graph.value_info, *proto.functions):
        del holder.metadata_props[:]
        holder.doc_string = ""


def _store_half(proto: Any) -> None:
    """Replace large float32 initializers by float16 ones and a Cast, which ONNX Runtime folds when it loads."""
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for tensor in proto.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(tensor)
        half = values.astype(np.float16)
        if values.size < 1024 or not np.array_equal(half.astype(np.float32), values):
            continue  # small, or not rounded on purpose: the frontend's kernels stay exact
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(half, f"{name}_half"))
        casts.append(helper.make_node("Cast", [f"{name}_half"], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *proto.graph.node]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)


def _round(value: Tensor) -> Tensor:
    """Round matrices to what float16 can hold."""
    return value.half().float() if value.is_floating_point() and value.numel() >= 1024 else value


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


@contextmanager
def _making(target: Path) -> Iterator[Path]:
    """Give a folder that takes the place of `target` when all is done, and leaves nothing behind when it is not."""
    check_target(target)
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        yield temporary
        place_bundle(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
