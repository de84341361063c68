"""The training loop.

One process: `silero-like train RECIPE` or `python -m train RECIPE`.
Two GPUs (or two CPU processes): `torchrun --nproc-per-node 2 -m train RECIPE`.

Rank 0 writes checkpoints and log. A run that is started again in the same output folder resumes from `last.safetensors`
and, on a CPU with the same number of threads, ends with the same bits as one that was never interrupted.
"""

from __future__ import annotations

import dataclasses
import json
import math
import platform
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

import silero_like
from silero_like.errors import ConfigError
from silero_like.model.config import ModelConfig, preset
from silero_like.model.encoder import Recognizer
from silero_like.tokenizer import Tokenizer
from train.batches import AudioCache, Batch, make_batch, prefetch
from train.checkpoint import (
    Checkpoint,
    Progress,
    optimizer_tensors,
    read_checkpoint,
    restore_optimizer,
    write_checkpoint,
)
from train.config import Recipe
from train.dataset import Dataset, feature_samples, load_dataset
from train.distributed import Group
from train.evaluation import evaluate_model, print_examples
from train.memory import keep_freed_memory
from train.objective import Objective
from train.sampler import epoch_batches


@dataclass
class Timers:
    """Seconds spent since the last log line, and what was learned meanwhile."""

    wait_s: float = 0.0
    clip_s: float = 0.0
    step_s: float = 0.0
    audio_s: float = 0.0
    losses: list[float] = field(default_factory=list)
    grad_norms: list[float] = field(default_factory=list)


class Trainer:
    """A run: its model, optimizer, data and position."""

    def __init__(self, recipe: Recipe, *, command: str = "") -> None:
        self.recipe = recipe
        self.command = command
        self.group = Group()
        keep_freed_memory()
        if recipe.loop.threads:
            torch.set_num_threads(recipe.loop.threads)
        self.output_dir = Path(recipe.output_dir)
        self.output_dir.mkdir(parents=True, exist_ok=True)
        self.checkpoint = self._last_checkpoint()
        self.data = self._load_data()
        self.model = self._make_model().to(self.group.device)
        self.average = {name: value.clone() for name, value in self.model.state_dict().items()}
        self.names = {parameter: name for name, parameter in self.model.named_parameters()}
        self.optimizer = self._make_optimizer()
        self.scaler = torch.amp.GradScaler(self.group.device.type, enabled=recipe.loop.precision == "fp16")
        self.progress = Progress()
        self.metrics: dict[str, Any] = {}
        if self.checkpoint:
            self._restore(self.checkpoint)
        objective = Objective(
            self.model,
            inner_weight=recipe.optimizer.inner_ctc_weight,
            precision=recipe.loop.precision,
            augment=recipe.augment,
        )
        self.objective = DistributedDataParallel(objective) if self.group.world_size > 1 else objective
        self.cache = AudioCache(int(recipe.data.cache_gb * 1e9 / self.group.world_size))
        self.timers = Timers()

    def run(self) -> None:
        """Train until `total_steps`, logging, evaluating and writing checkpoints on the way."""
        self._announce()
        batches = prefetch(self._batches(), self.recipe.loop.prefetch_batches)
        total = self.recipe.optimizer.total_steps
        while self.progress.step < total:
            started = time.perf_counter()
            batch = next(batches)
            self.timers.wait_s += time.perf_counter() - started
            self._step(batch)
            self._advance(batch, time.perf_counter() - started)
            step = self.progress.step
            if step % self.recipe.loop.log_every == 0 or step == total:
                self._log()
            if step % self.recipe.loop.eval_every == 0 or step == total:
                self._evaluate()
            if step % self.recipe.loop.checkpoint_every == 0 or step == total:
                self._save("last.safetensors")
            if self.recipe.loop.keep_every and step % self.recipe.loop.keep_every == 0:
                self._save(f"step-{step}.safetensors")
        batches.close()  # type: ignore[attr-defined]
        self._report_unreadable()
        self.group.close()

    def _step(self, batch: Batch) -> None:
        """One update; a step whose loss or gradient is not finite is skipped and counted."""
        step, optimizer = self.progress.step, self.recipe.optimizer
        lr = learning_rate(step, optimizer.peak_lr, optimizer.warmup_steps, optimizer.total_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        torch.manual_seed(hash((self.recipe.seed, step, self.group.rank)) % 2**63)  # dropout: a function of the step
        generator = np.random.default_rng((self.recipe.seed, step, self.group.rank))
        loss = self.objective(batch.to(self.group.device), generator)
        self.scaler.scale(loss).backward()
        started = time.perf_counter()
        self.scaler.unscale_(self.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), optimizer.clip_norm, foreach=True)
        self.timers.clip_s += time.perf_counter() - started
        if bool(torch.isfinite(norm)):
            self.scaler.step(self.optimizer)
            self._update_average()
            self.timers.losses.append(float(loss.detach()))
            self.timers.grad_norms.append(float(norm))
        else:
            self.progress = dataclasses.replace(self.progress, skipped_steps=self.progress.skipped_steps + 1)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)

    def _update_average(self) -> None:
        """Move the averaged weights, faster at first: decay min(ema_decay, (1 + step) / (10 + step))."""
        step = self.progress.step
        decay = min(self.recipe.optimizer.ema_decay, (1 + step) / (10 + step))
        current = {name: value.detach() for name, value in self.model.named_parameters()}
        averages = [self.average[name] for name in current]
        torch._foreach_lerp_(averages, list(current.values()), 1 - decay)

    def _advance(self, batch: Batch, elapsed_s: float) -> None:
        audio_s = self.group.sum(batch.audio_s)
        self.timers.audio_s += audio_s
        self.timers.step_s += elapsed_s
        self.progress = dataclasses.replace(
            self.progress,
            step=self.progress.step + 1,
            batch=self.progress.batch + 1,
            audio_s=self.progress.audio_s + audio_s,
            train_s=self.progress.train_s + elapsed_s,
        )
        if self.progress.batch >= self._n_batches(self.progress.epoch):
            self.progress = dataclasses.replace(self.progress, epoch=self.progress.epoch + 1, batch=0)

    def _batches(self) -> Iterator[Batch]:
        """Yield batches from the current position on, without end."""
        epoch, first = self.progress.epoch, self.progress.batch
        while True:
            for number, draws in enumerate(self._plan(epoch)[first:], start=first):
                seed = (self.recipe.seed, epoch, number, self.group.rank)
                yield make_batch(draws, self.data.examples, self.cache, self.recipe.augment, seed)
            epoch, first = epoch + 1, 0

    def _plan(self, epoch: int) -> list[list[Any]]:
        plan: list[list[Any]] = list(
            epoch_batches(
                np.array([example.utterance.duration_s for example in self.data.examples]),
                batch_s=self.recipe.loop.batch_s,
                speeds=self.recipe.augment.speeds,
                seed=self.recipe.seed,
                epoch=epoch,
                rank=self.group.rank,
                world_size=self.group.world_size,
            )
        )
        if not plan:
            raise ConfigError(f"fewer batches than {self.group.world_size} processes: lower loop.batch_s")
        return plan

    def _n_batches(self, epoch: int) -> int:
        if getattr(self, "_counted_epoch", None) != epoch:
            self._counted_epoch, self._counted_batches = epoch, len(self._plan(epoch))
        return self._counted_batches

    def _evaluate(self) -> None:
        """Measure the averaged weights on every dev manifest; keep them as `best` when the micro CER is the lowest."""
        if self.group.rank == 0 and self.data.dev:
            model = Recognizer(self.model.config).to(self.group.device)
            model.load_state_dict(self.average)
            evaluation, examples = evaluate_model(model, self.data, name=self.recipe.name)
            self.metrics = evaluation.to_dict()
            self._write_log({"event": "eval", "step": self.progress.step, **self.metrics})
            print_examples(evaluation, examples)
            cer = self.metrics["micro"]["cer"]  # None when no dev audio could be read
            if cer is not None and cer < self.progress.best_cer:
                self.progress = dataclasses.replace(self.progress, best_cer=cer)
                self._save("best.safetensors")
        self.group.barrier()

    def _log(self) -> None:
        timers, self.timers = self.timers, Timers()
        line = {
            "event": "train",
            "step": self.progress.step,
            "epoch": self.progress.epoch,
            "loss": _mean(timers.losses),
            "lr": self.optimizer.param_groups[0]["lr"],
            "grad_norm": _mean(timers.grad_norms),
            "audio_s_per_s": timers.audio_s / timers.step_s,
            "wait_share": timers.wait_s / timers.step_s,
            "clip_share": timers.clip_s / timers.step_s,
            "hours_seen": self.progress.audio_s / 3600,
            "train_s": self.progress.train_s,
            "skipped_steps": self.progress.skipped_steps,
            "unreadable": len(self.cache.unreadable),
        }
        self._write_log({key: _rounded(value) for key, value in line.items()})
        if self.group.rank == 0:
            total = self.recipe.optimizer.total_steps
            print(
                f"step {line['step']}/{total}  loss {line['loss']:.3f}  lr {line['lr']:.2e}  "
                f"{line['audio_s_per_s']:.0f} s/s  wait {line['wait_share']:.1%}  epoch {line['epoch']}",
                file=sys.stderr,
                flush=True,
            )

    def _write_log(self, line: dict[str, Any]) -> None:
        if self.group.rank == 0:
            with (self.output_dir / "log.jsonl").open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(line, ensure_ascii=False) + "\n")

    def _save(self, name: str) -> None:
        if self.group.rank == 0:
            write_checkpoint(
                self.output_dir / name,
                Checkpoint(
                    model=dict(self.model.state_dict()),
                    average=self.average,
                    optimizer=optimizer_tensors(self.optimizer, self.names),
                    tokenizer=self.data.tokenizer_model,
                    model_config=self.model.config.to_dict(),
                    recipe=dataclasses.asdict(self.recipe),
                    provenance=self._provenance(),
                    progress=self.progress,
                    scaler=self.scaler.state_dict(),
                    metrics=self.metrics,
                ),
            )

    def _provenance(self) -> dict[str, Any]:
        return {
            "command": self.command,
            "seed": self.recipe.seed,
            "world_size": self.group.world_size,
            "device": str(self.group.device),
            "threads": torch.get_num_threads(),
            "hours": self.data.hours,
            "manifests_sha256": self.data.hashes,
            "left_out": self.data.left_out,
            "normalizer": self.data.normalizer.label,
            "lang": self.recipe.data.lang,
            "versions": {
                "silero_like": silero_like.__version__,
                "torch": torch.__version__,
                "numpy": np.__version__,
                "python": platform.python_version(),
            },
        }

    def _last_checkpoint(self) -> Checkpoint | None:
        path = self.output_dir / "last.safetensors"
        return read_checkpoint(path) if path.exists() else None

    def _load_data(self) -> Dataset:
        """Rank 0 trains the tokenizer; the others wait and read it."""
        known = self.checkpoint.tokenizer if self.checkpoint else None
        if known is None and self.group.rank > 0:
            self.group.barrier()
            known = (self.output_dir / "tokenizer.model").read_bytes()
            return load_dataset(self.recipe, known, work_dir=self.output_dir)
        data = load_dataset(self.recipe, known, work_dir=self.output_dir)
        if known is None:
            (self.output_dir / "tokenizer.model").write_bytes(data.tokenizer_model)
            self.group.barrier()
        return data

    def _make_model(self) -> Recognizer:
        torch.manual_seed(self.recipe.seed)
        model = Recognizer(make_config(self.recipe, self.data.tokenizer))
        if not self.checkpoint:
            model.frontend.fit(torch.from_numpy(w) for w in feature_samples(self.data.examples, self.recipe.seed))
        return model

    def _make_optimizer(self) -> torch.optim.Optimizer:
        matrices = [p for p in self.model.parameters() if p.ndim > 1]
        vectors = [p for p in self.model.parameters() if p.ndim <= 1]
        groups: list[dict[str, list[Tensor] | float]] = [
            {"params": list(matrices), "weight_decay": self.recipe.optimizer.weight_decay},
            {"params": list(vectors), "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, lr=self.recipe.optimizer.peak_lr, betas=(0.9, 0.98), fused=True)

    def _restore(self, checkpoint: Checkpoint) -> None:
        if not _same_shape(checkpoint.model_config, self.model.config.to_dict()):
            raise ConfigError(
                f"{self.output_dir}: its checkpoint is of another architecture: "
                "use a new output_dir, or the recipe that began this run"
            )
        self.model.load_state_dict(checkpoint.model)
        self.average = {name: value.to(self.group.device) for name, value in checkpoint.average.items()}
        restore_optimizer(self.optimizer, self.names, checkpoint.optimizer)
        if checkpoint.scaler:
            self.scaler.load_state_dict(checkpoint.scaler)
        self.progress, self.metrics = checkpoint.progress, checkpoint.metrics

    def _announce(self) -> None:
        if self.group.rank:
            return
        parameters = sum(p.numel() for p in self.model.parameters())
        hours = sum(self.data.hours.values())
        left_out = "; ".join(f"{count} {reason}" for reason, count in self.data.left_out.items() if count) or "none"
        print(
            f"{self.recipe.name}: {parameters / 1e6:.2f} M parameters, {len(self.data.examples)} utterances, "
            f"{hours:.2f} h, {self._n_batches(self.progress.epoch)} batches an epoch, from step {self.progress.step}\n"
            f"left out: {left_out}",
            file=sys.stderr,
        )

    def _report_unreadable(self) -> None:
        for message in self.cache.unreadable.values():
            print(f"unreadable audio, skipped: {message}", file=sys.stderr)


def learning_rate(step: int, peak: float, warmup_steps: int, total_steps: int) -> float:
    """Linear warm-up to `peak`, then a cosine to zero at `total_steps`.

    >>> [round(learning_rate(s, 1.0, 10, 110), 3) for s in (0, 9, 60, 109)]
    [0.1, 1.0, 0.5, 0.0]
    """
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup_steps) / max(1, total_steps - warmup_steps)))


def make_config(recipe: Recipe, tokenizer: Tokenizer) -> ModelConfig:
    """Return the architecture that a recipe asks for."""
    return preset(recipe.model.preset, n_labels=tokenizer.n_labels, **recipe.model.overrides)


def _same_shape(a: dict[str, Any], b: dict[str, Any]) -> bool:
    """Whether two architectures hold the same weights: dropout may change between the parts of a run."""
    return {**a, "dropout": None} == {**b, "dropout": None}


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def _rounded(value: float | str) -> float | str | None:
    if isinstance(value, float):
        return None if math.isnan(value) else float(f"{value:.5g}")
    return value
