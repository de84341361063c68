"""A stand-in model that needs no torch and no training: it hears tones, one for each token."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest
import soundfile

from silero_like.bundle import BUNDLE_FORMAT, BundleConfig, write_checksums
from silero_like.tokenizer import Tokenizer, train_tokenizer

if TYPE_CHECKING:
    from silero_like.serve.settings import ServeSettings

Array = npt.NDArray[np.float32]

FRAME = 1280  # samples
BLOCK_FRAMES = 4
CONTEXT_FRAMES = 3  # two of the convolution, three of a gate's block of four: the larger
AMPLITUDE = 0.3
BLANK_SCORE = 5.0
TOKEN_SCORE = 20.0


@dataclass(frozen=True)
class StandIn:
    """A bundle on disk and the voice that its model understands."""

    path: Path
    tokenizer: Tokenizer

    def speak(self, text: str, *, n_tone: int = 3, n_gap: int = 2) -> Array:
        """Return float32 `(N,)`: for each token of `text` its tone for `n_tone` frames, then `n_gap` of silence."""
        parts = [np.zeros(FRAME * n_gap)]
        for token_id in self.tokenizer.encode(text):
            time = np.arange(FRAME * n_tone) / 16000
            parts += [AMPLITUDE * np.sin(2 * np.pi * _hz(token_id) * time), np.zeros(FRAME * n_gap)]
        return np.concatenate(parts).astype(np.float32)

    def record(self, path: Path, rows: list[dict[str, Any]]) -> Path:
        """Write a manifest and its recordings: of each row `said`, or its `text` where it has no `said`."""
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = []
        for number, row in enumerate(rows):
            waveform = self.speak(row.get("said", row["text"]))
            soundfile.write(path.with_name(f"{path.stem}-{number}.wav"), waveform, 16000)
            values = {"audio_filepath": f"{path.stem}-{number}.wav", "duration": len(waveform) / 16000, **row}
            lines.append(json.dumps(values, ensure_ascii=False) + "\n")
        path.write_text("".join(lines), encoding="utf-8")
        return path


@pytest.fixture(scope="session")
def _stand_in(tmp_path_factory: pytest.TempPathFactory) -> StandIn:
    pytest.importorskip("onnx", reason="the stand-in model is built with onnx, of the [train] extra")
    path = tmp_path_factory.mktemp("stand-in") / "bundle"
    path.mkdir()
    tokenizer = train_tokenizer(["one two three four five six seven"] * 9, path / "tokenizer.model", vocab_size=24)
    config = BundleConfig(
        format=BUNDLE_FORMAT,
        name="stand-in",
        lang="en",
        normalizer="en-1",
        n_labels=tokenizer.n_labels,
        blank_id=tokenizer.blank_id,
        block_frames=BLOCK_FRAMES,
        context_frames=CONTEXT_FRAMES,
        preset="tiny",
        model={"kind": "tones"},
        training={},
        metrics={},
    )
    (path / "config.json").write_text(json.dumps(dataclasses.asdict(config)))
    (path / "model.onnx").write_bytes(_tone_model(tokenizer.n_labels))
    (path / "MODEL_CARD.md").write_text("# Stand-in\n\nHears tones.\n")
    write_checksums(path)
    return StandIn(path, tokenizer)


@pytest.fixture
def stand_in(_stand_in: StandIn, tmp_path: Path) -> StandIn:
    """Give a copy that a test may damage."""
    path = tmp_path / "bundle"
    shutil.copytree(_stand_in.path, path)
    return StandIn(path, _stand_in.tokenizer)


@pytest.fixture(scope="session")
def sherpa_path(bundled_model: Path, shared_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled model as sherpa-onnx reads it, made once for all tests and workers, which leave it as it is."""
    pytest.importorskip("sherpa_onnx", reason="needs the [sherpa-onnx] extra")
    pytest.importorskip("onnx", reason="export needs the train extra")
    from silero_like.sherpa import write_sherpa

    kept = shared_path / "for-phones"
    if not kept.exists():
        made = tmp_path_factory.mktemp("sherpa") / kept.name
        write_sherpa(bundled_model, made)
        with contextlib.suppress(OSError):  # another worker was faster
            made.rename(kept)
    return kept


@pytest.fixture(scope="module")
def tone_settings(_stand_in: StandIn, tmp_path_factory: pytest.TempPathFactory) -> ServeSettings:
    """A server of one worker; its model is a copy of the stand-in that the tests of a file may change."""
    from silero_like.cli.decoder_options import read_hotword_lines
    from silero_like.engines import OWN, ModelSource
    from silero_like.serve.settings import ServeSettings

    path = tmp_path_factory.mktemp("served") / "bundle"
    shutil.copytree(_stand_in.path, path)
    return ServeSettings(models={"tones": ModelSource(OWN, path)}, read_hotwords=read_hotword_lines, workers=1)


@pytest.fixture(scope="module")
def two_turns(_stand_in: StandIn) -> npt.NDArray[np.int16]:
    """Samples `(N,)` for a live stream: two words, a second of silence, a third one."""
    parts = [_stand_in.speak("one two"), np.zeros(16000, np.float32), _stand_in.speak("three")]
    return (np.concatenate(parts) * 32767).astype("<i2")


def _hz(token_id: int) -> float:
    return 400.0 + 100.0 * token_id  # whole periods in a frame, so tones do not hear each other


def _tone_model(n_labels: int) -> bytes:
    """Build the graph: tone energies of each frame, a convolution of 5 frames plus a gate shared by 4, log-softmax.

    Without a bias before the last layer a zero frame equals padding, so results do not depend on padding; the gate's
    blocks of `BLOCK_FRAMES` begin at the start of the waveform, so windows must begin at multiples of it.
    """
    from onnx import TensorProto, helper, numpy_helper

    n_tones = n_labels - 1
    phase = 2 * np.pi * np.array([[_hz(k)] for k in range(n_tones)]) * np.arange(FRAME) / 16000
    tones = np.concatenate([np.sin(phase), np.cos(phase)])[:, None] * (2 / FRAME)
    energy = np.zeros((n_labels, 2 * n_tones))  # row k adds sin^2 and cos^2 of tone k; the blank's row is empty
    energy[:n_tones] = np.tile(np.eye(n_tones) * TOKEN_SCORE / AMPLITUDE**2, (1, 2))
    gate = np.full((n_labels, 2 * n_tones, BLOCK_FRAMES), 0.05) * np.arange(1, n_labels + 1)[:, None, None] / n_labels
    constants = {
        "tones": tones,
        "smooth": energy[:, :, None] * np.array([0.02, 0.08, 1.0, 0.08, 0.02]),
        "bias": np.eye(n_labels)[-1] * BLANK_SCORE,
        "gate": gate,
        "spread": np.ones((n_labels, 1, BLOCK_FRAMES)),
    }
    integers = {"axis1": [1], "first": [0], "time": [2], "round_up": [FRAME - 1], "frame": [FRAME]}
    node = helper.make_node
    nodes = [
        node("Unsqueeze", ["waveform", "axis1"], ["signal"]),
        node("Conv", ["signal", "tones"], ["waves"], strides=[FRAME], pads=[0, FRAME - 1]),
        node("Mul", ["waves", "waves"], ["energies"]),
        node("Conv", ["energies", "smooth", "bias"], ["smoothed"], pads=[2, 2]),
        node("Conv", ["energies", "gate"], ["gates"], strides=[BLOCK_FRAMES], pads=[0, BLOCK_FRAMES - 1]),
        node("ConvTranspose", ["gates", "spread"], ["long"], strides=[BLOCK_FRAMES], group=n_labels),
        node("Shape", ["smoothed"], ["n_frames"], start=2, end=3),
        node("Slice", ["long", "first", "n_frames", "time"], ["cut"]),
        node("Add", ["smoothed", "cut"], ["scores"]),
        node("Transpose", ["scores"], ["rows"], perm=[0, 2, 1]),
        node("LogSoftmax", ["rows"], ["log_probs"], axis=-1),
        node("Add", ["lengths", "round_up"], ["more"]),
        node("Div", ["more", "frame"], ["log_prob_lengths"]),
    ]
    tensor, float32, int64 = helper.make_tensor_value_info, TensorProto.FLOAT, TensorProto.INT64
    graph = helper.make_graph(
        nodes,
        "tones",
        [tensor("waveform", float32, ["B", "N"]), tensor("lengths", int64, ["B"])],
        [tensor("log_probs", float32, ["B", "T", n_labels]), tensor("log_prob_lengths", int64, ["B"])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in constants.items()]
        + [numpy_helper.from_array(np.array(value, np.int64), name) for name, value in integers.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    return bytes(model.SerializeToString())
