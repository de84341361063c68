"""Waveform -> log_probs with ONNX Runtime, whole or in windows that stitch to exactly the whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime

from silero_like.bundle import Bundle
from silero_like.errors import BundleError

Array = npt.NDArray[np.float32]

WINDOW_S = 150.0
"""Seconds of audio, context included, that one call of the model sees when a recording is longer."""

_INPUTS = ["waveform", "lengths"]
_OUTPUTS = ["log_probs", "log_prob_lengths"]


class Runtime:
    """The model of a bundle.

    Args:
        bundle: from `load_bundle`.
        n_threads: threads of one call. They belong to this object alone, and none waits by spinning.

    Raises:
        BundleError: ONNX Runtime cannot load the model, or it is not one that ``docs/format.md`` describes.
    """

    def __init__(self, bundle: Bundle, *, n_threads: int = 1) -> None:
        self.config = bundle.config
        self._session = _load(bundle, n_threads)

    def log_probs(self, waveform: Array) -> Array:
        """Return natural log-probabilities float32 `(T, V)` of one waveform, float32 `(N,)`; T is 0 when N is."""
        return self.log_probs_batch([waveform])[0]

    def log_probs_batch(self, waveforms: Sequence[Array]) -> list[Array]:
        """Return `(T, V)` for each of several waveforms `(N,)`, computed as one padded batch.

        Each is what `log_probs` gives for it alone, to 1e-4 (0.05 of an int8 graph). Memory grows with the longest
        times their number.
        """
        lengths = np.array([len(waveform) for waveform in waveforms], dtype=np.int64)
        if not lengths.any():
            return [np.zeros((0, self.config.n_labels), np.float32) for _ in waveforms]
        # padding changes nothing, so an utterance shorter than the first frame's analysis window is no special case
        batch = np.zeros((len(waveforms), max(int(lengths.max()), self.config.frame_samples)), np.float32)
        for row, waveform in zip(batch, waveforms, strict=True):
            row[: len(waveform)] = waveform
        log_probs, n_frames = self._session.run(_OUTPUTS, dict(zip(_INPUTS, (batch, lengths), strict=True)))
        n_frames = np.where(lengths, n_frames, 0)
        return [rows[:n] for rows, n in zip(log_probs, n_frames, strict=True)]

    def stream_log_probs(self, chunks: Iterable[Array], window_s: float = WINDOW_S) -> Iterator[Array]:
        """Yield successive parts `(t, V)` of the log_probs of a recording of any length.

        Every window but the first starts, and every window but the last ends, `context_frames` before and after the
        frames taken from it, so the parts concatenate to `log_probs` of the whole, to 1e-4 (float32 rounding).

        Args:
            chunks: successive parts `(n,)` of the waveform, of any sizes (`stream_audio`).
            window_s: seconds of audio in one call of the model, both contexts included; at least the contexts and one
                block are taken. Memory grows with it, accuracy does not.
        """
        samples, (left, core, right) = self.config.frame_samples, self._window_frames(window_s)
        n_window = (left + core + right) * samples
        pending: list[Array] = []
        n_pending = 0
        n_skip = 0  # frames at the head of the pending samples that are already out: none, then the left context
        for chunk in chunks:
            pending.append(chunk)
            n_pending += len(chunk)
            if n_pending <= n_window:
                continue
            waveform = np.concatenate(pending)
            while len(waveform) > n_window:
                n_out = n_skip + core if n_skip else left + core
                yield self.log_probs(waveform[:n_window])[n_skip:n_out]
                waveform = waveform[(n_out - left) * samples :]
                n_skip = left
            pending, n_pending = [waveform], len(waveform)
        if pending:
            yield self.log_probs(np.concatenate(pending))[n_skip:]

    def _window_frames(self, window_s: float) -> tuple[int, int, int]:
        """Divide a window into left context, new frames and right context; the first two are whole blocks."""
        block, right = self.config.block_frames, self.config.context_frames
        left = -(-right // block) * block
        core = (int(window_s / self.config.frame_s) - left - right) // block * block
        return left, max(core, block), right


def open_session(model: Path | bytes, n_threads: int = 1) -> onnxruntime.InferenceSession:
    """Open a graph; its threads belong to it alone, and none waits by spinning."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = n_threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3  # errors: they come as exceptions too, warnings are no use to a user
    source = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def _load(bundle: Bundle, n_threads: int) -> onnxruntime.InferenceSession:
    try:
        session = open_session(bundle.model_path, n_threads)
    except Exception as error:  # its exceptions have no base class of their own, and some span lines
        reason = " ".join(str(error).split())
        raise BundleError(
            f"{bundle.model_path}: ONNX Runtime cannot load it ({reason}): export the bundle again"
        ) from error
    _check_graph(session, bundle)
    return session


def _check_graph(session: onnxruntime.InferenceSession, bundle: Bundle) -> None:
    found = [value.name for value in session.get_inputs()], [value.name for value in session.get_outputs()]
    if found != (_INPUTS, _OUTPUTS):
        raise BundleError(
            f"{bundle.model_path}: expected inputs {_INPUTS} and outputs {_OUTPUTS}, found {found[0]} and {found[1]}: "
            "export the bundle again"
        )
    n_labels = session.get_outputs()[0].shape[-1]
    if isinstance(n_labels, int) and n_labels != bundle.config.n_labels:
        raise BundleError(
            f"{bundle.model_path}: expected {bundle.config.n_labels} labels as in config.json, found {n_labels}: "
            "export the bundle again"
        )
