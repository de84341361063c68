"""Rows of a manifest beside what their audio shows, made by hand without decoding."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from data.examine import Examined, Sample
from data.manifest import Utterance
from data.measures import Measures

GOOD = Measures(duration_s=3.0, level_db=-20.0, snr_db=40.0, bandwidth_hz=8000.0, clipped_share=0.0, silence_share=0.2)


def fingerprint_of(seed: int) -> str:
    steps = np.random.default_rng(seed).integers(-40, 40, 64).astype(np.int8)
    return steps.tobytes().hex()


def sample(
    line: int, text: str = "", *, lang: str = "en", speaker: str = "", manifest: str = "a.jsonl", **changes: object
) -> Sample:
    """Make a row without faults, whose speaker, text and sound are its own, and then change it."""
    text = text or " ".join(f"word{'abcdefghij'[int(digit)]}" for digit in f"{line:04d}")
    row = Utterance(
        audio_path=Path(f"/audio/{manifest}/{line}.wav"),
        duration_s=3.0,
        text=text,
        speaker=speaker or f"{manifest}{line}",
        lang=lang,
    )
    seed = line + 1000 * (manifest != "a.jsonl")
    examined = Examined(measures=GOOD, found_s=3.0, sha256=f"{seed:064x}", fingerprint=fingerprint_of(seed))
    measures = {field.name for field in dataclasses.fields(Measures)}
    of_row = {
        name: value for name, value in changes.items() if name in ("audio_path", "offset_s", "annotation", "domain")
    }
    examined = dataclasses.replace(
        examined,
        measures=dataclasses.replace(GOOD, **{name: value for name, value in changes.items() if name in measures}),  # type: ignore[arg-type]
        **{name: value for name, value in changes.items() if name not in measures and name not in of_row},  # type: ignore[arg-type]
    )
    return Sample(
        manifest=Path(manifest),
        line=line,
        utterance=dataclasses.replace(row, **of_row),  # type: ignore[arg-type]
        examined=examined,
    )
