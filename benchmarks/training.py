"""Training throughput: seconds of audio a second, and where the time of a step goes.

    python -m benchmarks.training recipes/en-tiny.yaml --steps 60
    python -m benchmarks.training recipes/en-tiny.yaml --set model.preset=small --set loop.batch_s=60 --operators
    OMP_NUM_THREADS=1 torchrun --nproc-per-node 2 -m benchmarks.training recipes/en-tiny.yaml

Runs real steps of a recipe on its own data in a temporary folder, after a warm-up. Prints the share of time spent
waiting for data, clipping gradients and measuring difficulty, and on a GPU the peak memory beside its estimate; with
--operators also the costliest operators. Audio that is not in memory yet costs its decoding: for the speed of a long
run, pack the data or give a --warmup of more than one pass.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from benchmarks.machine import describe_machine
from train.batches import Batch
from train.config import load_recipe
from train.loop import Trainer
from train.memory import estimate_memory
from train.telemetry import Timers


def main() -> None:
    """Parse arguments, measure, print a table and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--steps", type=int, default=60, help="steps to time")
    parser.add_argument("--warmup", type=int, default=10, help="steps before that")
    parser.add_argument("--operators", action="store_true", help="profile a few more steps, operator by operator")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    arguments = parser.parse_args()
    run = os.getppid() if "RANK" in os.environ else os.getpid()  # all processes of torchrun need one folder
    folder = Path(tempfile.gettempdir()) / f"silero-like-training-{run}"
    try:
        overrides = [*arguments.overrides, f"output_dir={folder}", "data.dev=[]"]
        trainer = Trainer(load_recipe(arguments.recipe, overrides))
        figures = measure(trainer, arguments.steps, arguments.warmup, arguments.operators)
        trainer.group.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if trainer.group.rank:
        return
    for name, value in figures.items():
        print(f"{name:28} {value:.4g}" if isinstance(value, float) else f"{name:28} {value}")
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": describe_machine(), **figures}, indent=1) + "\n")


def measure(trainer: Trainer, steps: int, warmup: int, operators: bool) -> dict[str, float | int | str]:
    """Time `steps` training steps after `warmup` ones."""
    batches = trainer.feed.batches(0)
    take_steps(trainer, batches, warmup)
    trainer.timers = timers = Timers()
    take_steps(trainer, batches, steps)
    if operators:
        profile(trainer, batches)
    figures: dict[str, float | int | str] = {
        "model": trainer.recipe.model.preset,
        "parameters": sum(p.numel() for p in trainer.model.parameters()),
        "precision": trainer.recipe.loop.precision,
        "batch_s": trainer.recipe.loop.batch_s,
        "device": str(trainer.group.device),
        "processes": trainer.group.world_size,
        "threads": torch.get_num_threads(),
        **{name: value for name, value in timers.summary().items() if name.endswith(("_per_s", "_share"))},
        "step_ms": 1000 * timers.step_s / steps,
    }
    if trainer.group.device.type == "cuda":
        figures["peak_gb"] = torch.cuda.max_memory_allocated() / 1e9
        figures["estimated_gb"] = estimate_memory(trainer.objective, trainer.feed.batch_s).total / 1e9
    return figures


def take_steps(trainer: Trainer, batches: Iterator[Batch], steps: int) -> None:
    """Take training steps as the loop does."""
    for _ in range(steps):
        started = time.perf_counter()
        batch = next(batches)
        trainer.timers.wait_s += time.perf_counter() - started
        trainer._step(batch, started)


def profile(trainer: Trainer, batches: Iterator[Batch]) -> None:
    """Print the costliest operators of a few steps."""
    with torch.profiler.profile() as profiler:
        take_steps(trainer, batches, 10)
    print(profiler.key_averages().table(sort_by="self_cpu_time_total", row_limit=20, max_name_column_width=40))


if __name__ == "__main__":
    main()
