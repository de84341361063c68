"""What an export costs in accuracy and gives in speed: torch, float graph and int8 graph on the same dev speech."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt

from data.manifest import Utterance, read_manifest
from data.text import get_normalizer
from decode.greedy import greedy_decode
from silero_like.audio import load_audio
from silero_like.bundle import BundleConfig
from silero_like.errors import AudioError
from silero_like.evaluation.scoring import Evaluation, Scored, evaluate
from silero_like.tokenizer import Tokenizer

Array = npt.NDArray[np.float32]
LogProbs = Callable[[Array], Array]


@dataclass(frozen=True)
class Row:
    """One system on the dev speech."""

    system: str
    size_mb: float
    """Of its weights or graph."""
    evaluation: Evaluation
    same_text: float
    """Share of the utterances whose text is that of the first system."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        domains = {
            name: {"cer": score.chars.rate, "wer": score.words.rate} for name, score in self.evaluation.domains.items()
        }
        return {
            "system": self.system,
            "size_mb": round(self.size_mb, 2),
            "audio_s_per_core_s": self.evaluation.audio_s_per_core_s,
            "same_text": self.same_text,
            "domains": domains,
        }


class Parity:
    """Measures systems on the same utterances.

    Args:
        utterances: dev utterances with their audio.
        config: of the bundle, for language and normaliser.
        tokenizer: of the bundle.
    """

    def __init__(self, utterances: Sequence[Utterance], config: BundleConfig, tokenizer: Tokenizer) -> None:
        self.utterances, self.config, self.tokenizer = utterances, config, tokenizer
        self.normalizer = get_normalizer(config.lang)
        self.rows: list[Row] = []
        self._texts: list[str] = []
        """Of the first system."""

    def measure(self, system: str, size_mb: float, log_probs: LogProbs) -> Row:
        """Recognise all utterances greedily and add a row."""
        read, texts, core_s = [], [], 0.0
        with click.progressbar(
            length=len(self.utterances), label=system, file=sys.stderr, hidden=not sys.stderr.isatty()
        ) as bar:
            for utterance in self.utterances:
                bar.update(1)
                waveform = read_waveform(utterance)
                if waveform is None:
                    continue
                read.append(utterance)
                started = time.process_time()
                scores = log_probs(waveform)
                core_s += time.process_time() - started
                texts.append(self.tokenizer.decode(greedy_decode(scores, self.config.blank_id)))
        if not self.rows:  # later systems are given what the first could be given
            self.utterances, self._texts = read, texts
        same = [text == first for text, first in zip(texts, self._texts, strict=True)]
        self.rows.append(Row(system, size_mb, self._evaluate(system, texts, core_s), sum(same) / len(same)))
        return self.rows[-1]

    def _evaluate(self, system: str, texts: Sequence[str], core_s: float) -> Evaluation:
        scored = [
            Scored(
                utterance_id=f"{utterance.audio_path}@{utterance.offset_s}",
                domain=utterance.domain,
                speaker=utterance.speaker,
                duration_s=utterance.duration_s,
                reference=utterance.text,
                hypothesis=text,
            )
            for utterance, text in zip(self.utterances, texts, strict=True)
        ]
        return evaluate(
            scored,
            normalizer=self.normalizer,
            normalizer_name=self.normalizer.label,
            lang=self.config.lang,
            model=system,
            decoder="greedy",
            audio_s_per_core_s=round(sum(item.duration_s for item in scored) / max(core_s, 1e-9), 1),
        )

    def table(self) -> str:
        """Return the rows as text: size, speed, agreement, CER and WER in percent for every domain."""
        domains = list(self.rows[0].evaluation.domains)
        lines = [
            f"{'':8}{'MB':>7}{'s/core-s':>10}{'same text':>11}" + "".join(f"{name[:15]:>17}" for name in domains),
            " " * 36 + f"{'CER    WER':>17}" * len(domains),
        ]
        for row in self.rows:
            rates = [row.evaluation.domains[name] for name in domains]
            cells = "".join(f"{_percent(rate.chars.rate):>10} {_percent(rate.words.rate):>6}" for rate in rates)
            speed = row.evaluation.audio_s_per_core_s
            lines.append(f"{row.system:8}{row.size_mb:>7.1f}{speed:>10.0f}{row.same_text:>11.1%}{cells}")
        return "\n".join(lines)


def worst_loss(before: Row, after: Row) -> tuple[float, str]:
    """Return the largest rise of a domain's CER, in points, and its domain."""
    rises = [
        (100 * ((score.chars.rate or 0) - (before.evaluation.domains[name].chars.rate or 0)), name)
        for name, score in after.evaluation.domains.items()
    ]
    return max(rises)


def read_waveform(utterance: Utterance) -> Array | None:
    """Return float32 `(N,)`, 16 kHz; audio that cannot be read is named, and None."""
    try:
        return load_audio(utterance.audio_path, offset_s=utterance.offset_s, duration_s=utterance.duration_s)
    except AudioError as error:
        click.echo(f"left out: {error}", err=True)
        return None


def read_speech(paths: Sequence[Path], lang: str, n_each: int | None = None) -> list[Utterance]:
    """Return utterances of manifests: all of them, or `n_each` of each, spread evenly; bad rows are named."""
    chosen: list[Utterance] = []
    for path in paths:
        manifest = read_manifest(path)
        for problem in manifest.problems:
            click.echo(f"left out: {problem}", err=True)
        rows = [row for row in manifest.utterances if row.lang in ("", lang)]
        chosen += rows if n_each is None else rows[:: max(1, len(rows) // n_each)][:n_each]
    return chosen


def _percent(rate: float | None) -> str:
    return "-" if rate is None else f"{100 * rate:.2f}"
