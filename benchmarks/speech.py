"""Real speech for benchmarks: the corpus's dev sets as waveforms and as files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from data.manifest import Utterance, read_manifest
from silero_like.audio import SAMPLE_RATE, load_audio

Array = npt.NDArray[np.float32]

ROOT = Path(__file__).resolve().parent.parent
SUBTYPES = {"flac": "PCM_16", "opus": "OPUS"}


def english_dev_manifests() -> list[Path]:
    """Return the corpus's dev manifests, but for the Mandarin one."""
    corpus = Path(os.environ.get("SILERO_LIKE_CORPUS") or ROOT.parent / "shared" / "corpus")
    return sorted(path for path in corpus.glob("*.dev.jsonl") if not path.name.startswith("commonvoice_zh"))


def read_utterances(manifests: Sequence[Path], limit: int | None = None) -> list[Utterance]:
    """Return the utterances of manifests, or so many of them, evenly spread."""
    rows = [row for path in manifests or english_dev_manifests() for row in read_manifest(path).utterances]
    if not rows:
        raise SystemExit("no speech: name manifests, or set SILERO_LIKE_CORPUS")
    n = min(limit or len(rows), len(rows))
    return [rows[place * len(rows) // n] for place in range(n)]


def read_waveform(row: Utterance) -> Array:
    """Return an utterance's audio, float32 `(N,)`, 16 kHz."""
    return load_audio(row.audio_path, offset_s=row.offset_s, duration_s=row.duration_s)


def write_sound(path: Path, waveforms: Iterator[Array] | Sequence[Array], sample_rate: int = SAMPLE_RATE) -> Path:
    """Write waveforms, one behind the other, in the format of the path's ending: flac or opus."""
    kind = path.suffix[1:]
    container = "OGG" if kind == "opus" else kind.upper()
    with soundfile.SoundFile(path, "w", sample_rate, 1, SUBTYPES[kind], format=container) as file:
        for waveform in waveforms:
            file.write(waveform)
    return path


def repeated(waveforms: Sequence[Array], duration_s: float) -> Iterator[Array]:
    """Yield waveforms, again and again in another order, until they last so long."""
    generator, n_left = np.random.default_rng(0), round(duration_s * SAMPLE_RATE)
    while n_left > 0:
        for number in generator.permutation(len(waveforms)):
            yield waveforms[number][:n_left]
            n_left -= len(waveforms[number])
            if n_left <= 0:
                break
