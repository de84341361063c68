"""What a run tells: JSON lines, a line on stderr, TensorBoard, and warnings with what to try."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

WAIT_WARNING = 0.05
BLANK_ADVICE = (
    "a CTC model begins so, but should be past it by now. Try, one at a time: a lower optimizer.peak_lr, a longer "
    "optimizer.warmup_steps, a smaller loop.batch_s (more steps for the same audio), and look whether text and audio "
    "belong together (silero-like info, a few utterances by ear)"
)


@dataclass
class Timers:
    """Seconds spent since the last log line, and what was learned meanwhile."""

    wait_s: float = 0.0
    clip_s: float = 0.0
    curriculum_s: float = 0.0
    step_s: float = 0.0
    audio_s: float = 0.0
    losses: list[float] = field(default_factory=list)
    grad_norms: list[float] = field(default_factory=list)
    empty: list[float] = field(default_factory=list)
    """Share of utterances without any output, by step."""

    def summary(self) -> dict[str, float]:
        """Return the means and shares that a log line shows; a mean of nothing is NaN."""
        return {
            "loss": _mean(self.losses),
            "grad_norm": _mean(self.grad_norms),
            "audio_s_per_s": self.audio_s / self.step_s,
            "wait_share": self.wait_s / self.step_s,
            "clip_share": self.clip_s / self.step_s,
            "curriculum_share": self.curriculum_s / self.step_s,
            "empty_share": _mean(self.empty),
        }


class Telemetry:
    """Writes to the run's folder; silent on all ranks but the first."""

    def __init__(self, output_dir: Path, *, active: bool, tensorboard: bool) -> None:
        self.path, self.active = output_dir / "log.jsonl", active
        self.warned: set[str] = set()
        self.told: set[int] = set()
        self.board = _board(output_dir / "tensorboard") if active and tensorboard else None

    def event(self, name: str, **values: Any) -> None:
        """Append a line to log.jsonl; a full disk is told, and does not end the run."""
        if not self.active:
            return
        line = json.dumps({"event": name, **_plain(values)}, ensure_ascii=False)
        try:
            with self.path.open("ab+") as stream:
                stream.seek(-min(1, stream.tell()), os.SEEK_END)
                start = b"" if stream.read() in (b"", b"\n") else b"\n"  # a kill or a full disk left half a line
                stream.write(start + line.encode() + b"\n")
        except OSError as error:
            self.warn_once("log", f"cannot write {self.path}: {error.strerror}; the run goes on without its log")

    def say(self, message: str) -> None:
        """Print to stderr, if it is still there: a closed terminal or a full disk does not end the run."""
        if self.active:
            with suppress(OSError):
                print(message, file=sys.stderr, flush=True)

    def warn_once(self, key: str, message: str) -> None:
        """Print a warning, the first time."""
        if key not in self.warned:
            self.warned.add(key)
            self.say(f"warning: {message}")

    def unreadable(self, step: int, messages: Mapping[int, str]) -> None:
        """Name audio that could not be read, given by index of its utterance, once each."""
        new = [messages[index] for index in sorted(messages.keys() - self.told)]
        self.told |= messages.keys()
        if new:
            self.event("unreadable", step=step, messages=new)
            more = f" (and {len(new) - 3} more, named in log.jsonl)" if len(new) > 3 else ""
            self.say(f"unreadable audio, skipped: {'; '.join(new[:3])}{more}")

    def skipped(self, step: int, utterances: Sequence[str]) -> None:
        """Name the utterances of a batch whose loss or gradient is not finite."""
        self.event("skipped", step=step, utterances=utterances)
        self.say(
            f"step {step}: loss or gradient is not finite, skipped; {len(utterances)} utterances: "
            f"{', '.join(utterances[:3])}{', ... (all in log.jsonl)' if len(utterances) > 3 else ''}"
        )

    def out_of_memory(self, step: int, batch_s: float, before_s: float) -> None:
        """Tell that batches are smaller from now on: seconds of audio, and what they were."""
        self.event("out_of_memory", step=step, batch_s=batch_s)
        self.say(
            f"step {step}: out of GPU memory; the batch was split, and loop.batch_s is {batch_s:.0f} instead of "
            f"{before_s:.0f} from the next round on"
        )

    def only_blanks(self, step: int, n_steps: int) -> None:
        """Warn of a model that has read nothing for so many steps."""
        self.event("only_blanks", step=step, steps=n_steps)
        self.say(f"warning: nothing but blanks for {n_steps} steps; {BLANK_ADVICE}")

    def train(self, *, total_steps: int, timers: Timers, **values: Any) -> None:
        """Log a stretch of training."""
        summary = timers.summary()
        self.event("train", **values, **summary)
        self.say(
            f"step {values['step']}/{total_steps}  loss {summary['loss']:.3f}  lr {values['lr']:.2e}  "
            f"{summary['audio_s_per_s']:.0f} s/s  wait {summary['wait_share']:.1%}  epoch {values['epoch']:.2f}"
            + _curriculum(values.get("curriculum"))
        )
        if summary["wait_share"] > WAIT_WARNING:
            self.warn_once(
                "wait",
                f"{summary['wait_share']:.0%} of the time goes to waiting for data: raise loop.workers or "
                "data.cache_gb, or pack the data (silero-like data pack)",
            )
        self.scalars(values["step"], {**summary, "lr": values["lr"]})

    def scalars(self, step: int, values: Mapping[str, float | None]) -> None:
        """Add numbers to TensorBoard."""
        for name, value in values.items():
            if value is not None and math.isfinite(value):
                self._show("add_scalar", name, value, step)

    def texts(self, step: int, lines: str) -> None:
        """Add example texts to TensorBoard."""
        self._show("add_text", "examples", lines, step)

    def spectrogram(self, step: int, features: npt.NDArray[np.float32]) -> None:
        """Add the features `(T, F)` of an augmented sample to TensorBoard, low frequencies at the bottom."""
        image = np.clip((features.T[::-1] + 2) / 4, 0, 1)
        self._show("add_image", "augmented sample", image, step, dataformats="HW")

    def close(self) -> None:
        """Finish the TensorBoard file."""
        self._show("close")

    def _show(self, method: str, *arguments: Any, **named: Any) -> None:
        """Call a method of the TensorBoard writer; a full disk ends TensorBoard, not the run."""
        if not self.board:
            return
        try:
            getattr(self.board, method)(*arguments, **named)
        except OSError as error:
            self.board = None
            self.warn_once("board", f"cannot write TensorBoard's files: {error.strerror}; the run goes on without them")


def _board(folder: Path) -> Any:
    """Return a TensorBoard writer, or None where the package is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder))


def _curriculum(report: Mapping[str, Mapping[str, Any]] | None) -> str:
    """Return the running CER of each domain; + marks a window without the easiest, - one without the hardest."""
    if not report:
        return ""
    marks = {name: "+" if line["low"] else "-" if line["high"] < 1 else "" for name, line in report.items()}
    cers = [f"{name} {line['cer']:.0%}{marks[name]}" for name, line in report.items() if line["cer"] is not None]
    return "\n  train CER: " + ", ".join(cers) if cers else ""


def _plain(value: Any) -> Any:
    """Round floats to five digits; NaN and infinity, which JSON lacks, become null."""
    if isinstance(value, float):
        return float(f"{value:.5g}") if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else math.nan
