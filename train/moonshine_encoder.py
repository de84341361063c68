"""Moonshine's encoder: what it makes of recordings, kept in a file, and read at any speed on the student's frames."""

from __future__ import annotations

import importlib.util
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt
import torch

from silero_like.audio import SAMPLE_RATE, load_audio
from silero_like.errors import AudioError, MissingExtraError, SileroLikeError
from silero_like.writers import write_atomically

Array = npt.NDArray[np.float32]

WIDTH, SHIFT_S = 288, 0.024
"""Of its features: numbers in each, seconds from one to the next."""
FRAME_S, PARTS = 0.08, 3
"""Of the student's grid; the head reads each frame as three parts."""
SHORTEST_S, TAIL_S = 1.0, 0.2
"""Silence is added to shorter recordings, and to the end of all: it was taught longer ones."""


@dataclass(frozen=True)
class Row:
    """A recording whose features are known."""

    audio_path: str
    offset_s: float
    n_samples: int
    start: int
    """Of its features."""
    n_features: int
    domain: str = ""
    text: str = ""
    token_ids: tuple[int, ...] = ()
    about: str = ""
    """Line of an unlabelled manifest."""


class Features:
    """Moonshine's features of many recordings, float16 in one file, and where each lies in it."""

    def __init__(self, path: Path) -> None:
        self.values = np.load(path, mmap_mode="r")
        rows = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        self.spans = {(audio_path, offset_s): (n, start, count) for audio_path, offset_s, n, start, count in rows}

    def row(self, audio_path: Path, offset_s: float, **known: Any) -> Row | None:
        """Return a recording, or None if it could not be read."""
        span = self.spans.get((str(audio_path), offset_s))
        return None if span is None or not span[2] else Row(str(audio_path), offset_s, *span, **known)

    def on_grid(self, row: Row, speed: float) -> Array:
        """Return its features as if played at `speed`, on the student's grid: float32 `(3 T, 288)`, interpolated."""
        n_frames = math.ceil(round(row.n_samples / speed) / (FRAME_S * SAMPLE_RATE))
        time_s = (np.arange(PARTS * n_frames) + 0.5) * FRAME_S / PARTS * speed
        position = np.clip(time_s / SHIFT_S - 1, 0, row.n_features - 1)  # feature i is of the time around (i + 1) 24 ms
        lower = np.minimum(position.astype(np.int64), max(0, row.n_features - 2))
        weight = (position - lower).astype(np.float32)[:, None]
        own = self.values[row.start : row.start + row.n_features].astype(np.float32)
        upper = own[np.minimum(lower + 1, row.n_features - 1)]
        return np.asarray(own[lower] * (1 - weight) + upper * weight, np.float32)


def encode(recordings: Sequence[tuple[Path, float, float]], path: Path) -> Features:
    """Let Moonshine read recordings (path, offset and duration in seconds); what is there already is not read again."""
    recordings = list(dict.fromkeys(recordings))
    wanted = {(str(audio_path), offset_s) for audio_path, offset_s, _ in recordings}
    index = path.with_suffix(".json")
    if index.exists() and wanted <= Features(path).spans.keys():
        return Features(path)
    session = _session()
    values, rows, start = [], [], 0
    hidden = not sys.stderr.isatty()
    with click.progressbar(recordings, label="Moonshine reads", file=sys.stderr, hidden=hidden) as bar:
        for audio_path, offset_s, duration_s in bar:
            try:
                waveform = load_audio(audio_path, offset_s=offset_s, duration_s=duration_s)
            except AudioError as error:
                print(f"unreadable audio, left out: {error}", file=sys.stderr)
                rows.append((str(audio_path), offset_s, 0, start, 0))
                continue
            features = _features(session, waveform)
            values.append(features)
            rows.append((str(audio_path), offset_s, len(waveform), start, len(features)))
            start += len(features)
    if not values:
        raise SileroLikeError("none of the recordings can be read")
    index.unlink(missing_ok=True)  # written last, it tells that the features are whole
    np.save(path, np.concatenate(values))
    write_atomically(index, json.dumps(rows, ensure_ascii=False))
    return Features(path)


def _session() -> Any:
    import onnxruntime

    found = importlib.util.find_spec("moonshine_voice")
    path = Path(str(found.origin)).parent / "assets" / "tiny-en" / "encoder_model.ort" if found else None
    if path is None or not path.exists():
        raise MissingExtraError("the teacher's model is not here: pip install 'moonshine-voice==0.0.49'")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _features(session: Any, waveform: Array) -> npt.NDArray[np.float16]:
    n_samples = len(waveform)
    padded = np.zeros((1, max(int(SHORTEST_S * SAMPLE_RATE), n_samples + int(TAIL_S * SAMPLE_RATE))), np.float32)
    padded[0, :n_samples] = waveform
    inputs = {"input_values": padded, "attention_mask": np.ones(padded.shape, np.int64)}
    features = session.run(None, inputs)[0][0]
    n_features = math.ceil(n_samples / (SHIFT_S * SAMPLE_RATE)) + 1
    return np.asarray(features[:n_features], np.float16)
