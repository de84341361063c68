"""Long recordings made of short ones: utterances joined with pauses, in noise, so that the truth is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from data.cut import voiced_blocks
from data.manifest import Utterance, read_manifest
from silero_like.audio import SAMPLE_RATE, load_audio
from silero_like.vad import BLOCK, block_probabilities, silero_detector

Array = npt.NDArray[np.float32]

DOMAINS = ("accented_read", "audiobook", "commonvoice", "digits_8k", "spelling_digits")
"""Those with a dev set."""
PARTS = {"dev": slice(None), "dev-a": slice(0, None, 2), "dev-b": slice(1, None, 2)}
"""The dev sets, and every second utterance of each: what is chosen on one half is measured on the other."""
PAUSE_S = (0.3, 3.0)
SNR_DB = (10.0, 20.0)
LEVEL_DB = -26.0
"""Of every utterance, dBFS, give or take `LEVEL_RANGE_DB`."""
LEVEL_RANGE_DB = 4.0
CLICK_S = 0.1
"""Less voice than this, with nothing around it, is no speech."""


@dataclass(frozen=True)
class Spoken:
    """One utterance in a joined recording; times in seconds."""

    start: float
    end: float
    text: str
    domain: str


def pick(corpus: Path, split: str, hours: float, rng: np.random.Generator) -> list[Utterance]:
    """Draw utterances of all domains, each domain's share that of the dev set; all of dev, or of half of it."""
    dev = {domain: _read(corpus, domain, "dev") for domain in DOMAINS}
    if split in PARTS:
        chosen = [utterance for rows in dev.values() for utterance in rows[PARTS[split]]]
    else:
        n_all = sum(map(len, dev.values()))
        n = round(hours * 3600 / 6.2)  # seconds an utterance takes with its pause
        chosen = []
        for domain, rows in dev.items():
            train = _read(corpus, domain, "train")
            n_domain = min(len(train), round(n * len(rows) / n_all))
            chosen += [train[i] for i in rng.permutation(len(train))[:n_domain]]
    return [chosen[i] for i in rng.permutation(len(chosen))]


def write_recording(
    path: Path,
    utterances: Sequence[Utterance],
    corpus: Path,
    rng: np.random.Generator,
    *,
    trim: bool = True,
) -> list[Spoken]:
    """Join utterances into a 16-bit FLAC file and return what was said where; untrimmed, times hold silence too."""
    spoken: list[Spoken] = []
    noise = _Noise(corpus, rng)
    n_done = 0
    with soundfile.SoundFile(path, "w", SAMPLE_RATE, 1, format="FLAC", subtype="PCM_16") as file:
        for utterance in utterances:
            gap = np.zeros(round(rng.uniform(*PAUSE_S) * SAMPLE_RATE), np.float32)
            clip = load_audio(utterance.audio_path)
            clip = _trimmed(clip) if trim else clip
            clip = clip * _gain(clip, LEVEL_DB + rng.uniform(-LEVEL_RANGE_DB, LEVEL_RANGE_DB))
            start = n_done + len(gap)
            part = np.concatenate([gap, clip])
            n_done += len(part)
            spoken.append(Spoken(start / SAMPLE_RATE, n_done / SAMPLE_RATE, utterance.text, utterance.domain))
            file.write(np.clip(part + noise.take(len(part)), -1, 1))
    return spoken


class _Noise:
    """An endless stream of noise: stretches of 5 to 60 s of the corpus's clips, each at an SNR of its own."""

    def __init__(self, corpus: Path, rng: np.random.Generator) -> None:
        names = sorted(path for path in (corpus / "noise").iterdir() if path.suffix in {".opus", ".flac"})
        clips = [load_audio(path) for path in names if "rir" not in path.name]
        self._clips = [clip for clip in clips if len(clip) >= SAMPLE_RATE]
        self._rng = rng
        self._rest = np.zeros(0, np.float32)

    def take(self, n: int) -> Array:
        parts = [self._rest]
        while sum(map(len, parts)) < n:
            clip = self._clips[self._rng.integers(len(self._clips))]
            level = LEVEL_DB - self._rng.uniform(*SNR_DB)
            parts.append(clip * _gain(clip, level))
        whole = np.concatenate(parts)
        self._rest = whole[n:]
        return whole[:n]


def _read(corpus: Path, domain: str, split: str) -> tuple[Utterance, ...]:
    return read_manifest(corpus / f"{domain}.{split}.jsonl").utterances


def _gain(clip: Array, level_db: float) -> np.float32:
    return np.float32(10 ** (level_db / 20) / max(1e-6, float(np.sqrt(np.mean(clip.astype(np.float64) ** 2)))))


def _trimmed(clip: Array) -> Array:
    """Cut a clean clip to where Silero's detector hears a voice, so that the truth is where speech begins and ends.

    The detector hears the whole clip: begun amid a word, it takes silence for voice for a second and more.
    """
    probabilities = np.array(block_probabilities([clip], silero_detector()))
    voiced = voiced_blocks(probabilities, pause_s=CLICK_S, min_speech_s=CLICK_S)
    if not voiced:
        return clip
    return clip[max(0, voiced[0][0] - 1) * BLOCK : voiced[-1][1] * BLOCK]
