"""Kill a training run at random moments, start it again each time, and compare its end with an undisturbed run's.

    python -m benchmarks.kill_resume
    python -m benchmarks.kill_resume recipes/en-tiny.yaml --ranks 2 --set optimizer.total_steps=60

Without a recipe it trains a very small model on made-up speech of tones. Every kill is SIGKILL for all processes at a
random moment of a random step; one falls into the writing of a checkpoint, when half of the file is there. Prints a
table and exits with 1 unless every checkpoint that had been written could be read, and the end was bit-equal: weights,
averaged weights, optimizer, sampler, curriculum, the loss of every step, and the names of the files. Needs Linux.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import multiprocessing
import os
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess as Process
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from benchmarks.machine import describe_machine
from silero_like.errors import SileroLikeError
from tests.train.conftest import write_corpus
from train.checkpoint import Checkpoint, read_checkpoint
from train.config import Recipe, load_recipe
from train.curves import read_run
from train.loop import Trainer

START_S = 600.0  # how long a start may take
TONES: dict[str, Any] = {
    "name": "tones",
    "data": {"train": ["train.jsonl"], "dev": ["train.jsonl"]},
    "tokenizer": {"vocab_size": 10},
    "model": {"overrides": {"width": 32, "n_conv_blocks": 2, "n_attention_blocks": 1, "n_heads": 2, "se_every": 1}},
    "augment": {"strength": 0.5},
    "sampling": {"round_batches": 3},
    "optimizer": {"peak_lr": 0.01, "warmup_steps": 10, "total_steps": 200, "ema_decay": 0.9},
    "loop": {"batch_s": 8, "precision": "fp32", "eval_every": 25, "checkpoint_every": 7},
}


@dataclass(frozen=True)
class Kill:
    """What one kill found and left."""

    step: int
    """The last step in the log."""
    in_write: bool
    """Whether a checkpoint was being written."""
    written: int
    """Step of the newest checkpoint that was surely written."""
    found: int | None
    """Step of the checkpoint that was read afterwards; None without a readable one."""

    @property
    def kept(self) -> bool:
        """Whether no checkpoint was lost."""
        return self.found is not None and self.found >= self.written


def main() -> None:
    """Parse arguments, train twice, print a table and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", nargs="?")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder), arguments.recipe, arguments.overrides, arguments.ranks)
        try:
            run.to_the_end("whole")
            kills = run.kill(arguments.kills, np.random.default_rng(arguments.seed))
            run.to_the_end("killed")
        finally:
            run.end_by_force()
        found = differences(Path(folder, "whole"), Path(folder, "killed"))
    print(table(kills))
    print(f"differences from the undisturbed run: {'; '.join(found) or 'none, bit for bit'}")
    if arguments.json:
        figures = {"kills": [dataclasses.asdict(kill) for kill in kills], "differences": found}
        arguments.json.write_text(json.dumps({"machine": describe_machine(), **figures}, indent=1) + "\n")
    sys.exit(1 if found or not all(kill.kept for kill in kills) else 0)


class Run:
    """A recipe that is run undisturbed in the folder `whole`, and with kills in `killed`."""

    def __init__(self, folder: Path, recipe: str | None, overrides: Sequence[str], ranks: int) -> None:
        self.folder, self.ranks = folder, ranks
        self.recipe_path = recipe or str(write_tones(folder))
        self.overrides = [
            *overrides,
            "loop.log_every=1",
            "loop.threads=1",
            "loop.tensorboard=false",
            "loop.bundle=false",
        ]
        self.recipe: Recipe = load_recipe(self.recipe_path, self._overrides("whole"))
        self.processes: list[Process] = []

    def to_the_end(self, name: str) -> None:
        """Train, or go on, until the last step."""
        self._start(name)
        for process in self.processes:
            process.join()
        if any(process.exitcode for process in self.processes):
            raise SystemExit(f"the run {name!r} failed\n{self._stderr(name)}")

    def end_by_force(self) -> None:
        """Kill all processes at once, and wait until none is left."""
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.join()

    def kill(self, n_kills: int, generator: np.random.Generator) -> list[Kill]:
        """Start and kill again and again, and look at the checkpoint each time."""
        last = int(0.8 * self.recipe.optimizer.total_steps)  # far enough from the end to be there in time
        steps = np.sort(generator.integers(1, max(2, last), n_kills))
        in_write = int(generator.integers(n_kills // 2, n_kills))  # late, where it replaces another
        kills: list[Kill] = []
        for number, step in enumerate(steps):
            kills.append(self._kill(int(step), number == in_write, generator, kills))
        return kills

    def _kill(self, step: int, in_write: bool, generator: np.random.Generator, before: Sequence[Kill]) -> Kill:
        """Start and kill once: soon after `step`, or in the first writing from there on."""
        log = self.folder / "killed" / "log.jsonl"
        known = log.stat().st_size if log.exists() else 0
        self._start("killed")
        self._wait_for(lambda: logged_step(log, known) >= step)
        if in_write:
            (self.folder / "armed").touch()
            self._wait_for((self.folder / "writing").exists)
            (self.folder / "armed").unlink()
        else:
            time.sleep(generator.uniform(0, 0.1))  # a moment within a step
        if not all(process.is_alive() for process in self.processes):
            raise SystemExit("the run ended before it was killed\n" + self._stderr("killed"))
        self.end_by_force()
        every, reached = self.recipe.loop.checkpoint_every, logged_step(log, known)
        written = max([0, (reached - 1) // every * every, *(kill.found or 0 for kill in before)])
        return Kill(reached, in_write, written, self._found(written))

    def _found(self, written: int) -> int | None:
        """Return the step of the checkpoint; 0 where there is none and none was written."""
        path = self.folder / "killed" / "last.safetensors"
        if not path.exists() and not written:
            return 0
        try:
            return read_checkpoint(path).progress.step
        except SileroLikeError as error:
            print(error, file=sys.stderr)
            return None

    def _start(self, name: str) -> None:
        """Fork the ranks: torchrun would only add the minutes in which each of them imports PyTorch."""
        recipe, port = load_recipe(self.recipe_path, self._overrides(name)), free_port()
        fork = multiprocessing.get_context("fork")
        self.processes = [
            fork.Process(target=rank_main, args=(rank, self.ranks, port, recipe, self.folder))
            for rank in range(self.ranks)
        ]
        for process in self.processes:
            process.start()

    def _wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait until something is so, or a process has ended."""
        deadline = time.monotonic() + START_S
        while not condition() and all(process.is_alive() for process in self.processes):
            if time.monotonic() > deadline:
                raise SystemExit(f"the run took no step for {START_S:.0f} s")
            time.sleep(0.005)

    def _overrides(self, name: str) -> list[str]:
        return [*self.overrides, f"output_dir={self.folder / name}"]

    def _stderr(self, name: str) -> str:
        return (self.folder / f"{name}.stderr").read_text(errors="replace")[-3000:]


def write_tones(folder: Path) -> Path:
    """Write the corpus of the training tests and a recipe for it; return the recipe's path."""
    write_corpus(folder)
    recipe = {**TONES, "output_dir": str(folder / "run"), "data": {**TONES["data"], "root": str(folder)}}
    path = folder / "tones.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return path


def rank_main(rank: int, ranks: int, port: int, recipe: Recipe, folder: Path) -> None:
    """Be one rank of a run on CPUs; once `folder/armed` is there, hang with half a checkpoint written."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(ranks), "CUDA_VISIBLE_DEVICES": ""}
    os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    os.dup2(os.open(Path(f"{recipe.output_dir}.stderr"), os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
    fsync = os.fsync

    def hang(descriptor: int) -> None:
        fsync(descriptor)
        if (folder / "armed").exists():
            os.ftruncate(descriptor, os.fstat(descriptor).st_size // 2)
            (folder / "writing").touch()
            time.sleep(START_S)

    os.fsync = hang  # type: ignore[assignment]
    Trainer(recipe).run()


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as server:
        server.bind(("localhost", 0))
        return int(server.getsockname()[1])


def logged_step(log: Path, start: int) -> int:
    """Return the last training step that the log holds behind byte `start`; 0 without one."""
    if not log.exists():
        return 0
    text = log.read_bytes()[start:].split(b"\n")[:-1]  # the last one may still be growing
    lines = [json.loads(line) for line in text if line]
    return max((int(line["step"]) for line in lines if line["event"] == "train"), default=0)


def differences(a: Path, b: Path) -> list[str]:
    """Return what differs between the ends of two runs in the folders `a` and `b`."""
    found = []
    for name in ("last.safetensors", "best.safetensors"):
        if (a / name).exists() or (b / name).exists():
            found += [f"{name}: {what}" for what in unlike(read_checkpoint(a / name), read_checkpoint(b / name))]
    names = [sorted(path.name for path in folder.iterdir()) for folder in (a, b)]
    found += [f"files {names[0]} and {names[1]}"] if names[0] != names[1] else []
    losses = [{line["step"]: line["loss"] for line in read_run(folder).train} for folder in (a, b)]
    return found if losses[0] == losses[1] else [*found, "losses in log.jsonl"]


def unlike(a: Checkpoint, b: Checkpoint) -> list[str]:
    """Name the parts of two checkpoints that differ; time spent, output folder and command line may."""
    tensors, values = ("model", "average", "optimizer", "feed_tensors"), ("tokenizer", "metrics", "scaler", "feed")
    found = [part for part in tensors if not _same_tensors(getattr(a, part), getattr(b, part))]
    found += [part for part in values if getattr(a, part) != getattr(b, part)]
    same_clock = dataclasses.replace(a.progress, train_s=b.progress.train_s)
    return found if same_clock == b.progress else [*found, "progress"]


def _same_tensors(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(value, b[name]) for name, value in a.items())


def table(kills: Sequence[Kill]) -> str:
    """Return a line for each kill."""
    lines = [f"{'kill':>4} {'at step':>8} {'in a write':>10} {'checkpoint':>11} {'lost':>5}"]
    for number, kill in enumerate(kills, start=1):
        in_write, lost = "yes" if kill.in_write else "no", "no" if kill.kept else "YES"
        lines.append(f"{number:4} {kill.step:8} {in_write:>10} {kill.found!s:>11} {lost:>5}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
