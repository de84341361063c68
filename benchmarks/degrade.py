"""Write a noisy, telephone-band copy of manifests, to measure how a recogniser stands it.

    python -m benchmarks.degrade dev.jsonl OUT_DIR --noise noise/index.json --snr-db 5 20
    python -m benchmarks.degrade dev.jsonl OUT_DIR --noise noise/index.json --effects telephone

Every utterance gets a stretch of noise at a random ratio within --snr-db (active speech over noise) and the band of a
telephone line, 300 to 3400 Hz; --effects names one of the two. The same seed writes the same samples whatever the order
of the rows: each is drawn from the seed and its own audio path and offset, as the manifest has them. Noise that a model
was trained with makes the result look better than new noise would.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

from data.effects import EffectsBank, add_noise, telephone_band
from data.manifest import Utterance, read_manifest, write_manifest
from silero_like.audio import SAMPLE_RATE, Waveform, load_audio
from silero_like.errors import ConfigError, SileroLikeError

EFFECTS = ("noise", "telephone")


def main() -> None:
    """Parse arguments and write one manifest, of the same name, for each one given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifests", nargs="+", type=Path, metavar="MANIFEST")
    parser.add_argument("out_dir", type=Path, metavar="OUT_DIR")
    parser.add_argument("--noise", required=True, type=Path, help="JSON index of noise clips")
    parser.add_argument("--snr-db", nargs=2, type=float, default=[5.0, 20.0], metavar=("LOWEST", "HIGHEST"))
    parser.add_argument("--effects", nargs="+", choices=EFFECTS, default=EFFECTS)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    try:
        bank = EffectsBank.load(arguments.noise)
        if not bank.noises:
            raise ConfigError(f"{arguments.noise}: no clip of kind noise: expected at least one")
        for manifest_path in arguments.manifests:
            path = arguments.out_dir / manifest_path.name
            if path.exists():
                raise ConfigError(f"{path} exists: manifests need different names and an empty OUT_DIR")
            n_written = degrade_manifest(
                manifest_path, path, bank, arguments.snr_db, arguments.seed, effects=arguments.effects
            )
            print(f"{path}: {n_written} utterances", file=sys.stderr)
    except SileroLikeError as error:
        sys.exit(f"error: {error}")


def degrade_manifest(
    source: Path, target: Path, bank: EffectsBank, snr_db: list[float], seed: int, *, effects: Sequence[str] = EFFECTS
) -> int:
    """Write the degraded copy of a manifest and its audio, as FLAC in a folder beside it; return the number of rows."""
    folder = Path(os.path.abspath(target.with_name(f"{target.stem}-audio")))
    folder.mkdir(parents=True, exist_ok=True)
    copies = []
    for number, utterance in enumerate(read_manifest(source, strict=True).utterances):
        generator = np.random.default_rng([seed, _key(utterance, source)])
        waveform = _degrade(utterance, bank, snr_db, generator, effects)
        audio_path = folder / f"{number:06}.flac"
        soundfile.write(audio_path, waveform, SAMPLE_RATE, subtype="PCM_16")
        duration_s = len(waveform) / SAMPLE_RATE
        copies.append(dataclasses.replace(utterance, audio_path=audio_path, offset_s=0.0, duration_s=duration_s))
    write_manifest(target, copies)
    return len(copies)


def _degrade(
    utterance: Utterance, bank: EffectsBank, snr_db: list[float], generator: np.random.Generator, effects: Sequence[str]
) -> Waveform:
    waveform = load_audio(utterance.audio_path, offset_s=utterance.offset_s, duration_s=utterance.duration_s)
    if "noise" in effects:
        noise = bank.noises[generator.integers(len(bank.noises))]
        waveform = add_noise(waveform, noise, generator.uniform(snr_db[0], snr_db[1]), generator)
    if "telephone" in effects:
        waveform = telephone_band(waveform)
    return waveform / max(1.0, float(np.abs(waveform).max()))


def _key(utterance: Utterance, manifest_path: Path) -> int:
    """Return a number that is the row's own and the same on every machine."""
    name = os.path.relpath(utterance.audio_path, manifest_path.parent)
    return zlib.crc32(f"{Path(name).as_posix()} {utterance.offset_s}".encode())


if __name__ == "__main__":
    main()
