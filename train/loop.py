"""The training loop.

One process: `silero-like train RECIPE` or `python -m train RECIPE`.
Two GPUs (or two CPU processes): `torchrun --nproc-per-node 2 -m train RECIPE`. Several machines: docs/training.md.

Rank 0 writes checkpoints and log. A run that is started again in the same output folder resumes from `last.safetensors`
and, on a CPU with the same number of threads, ends with the same bits as one that was never interrupted.
"""

from __future__ import annotations

import dataclasses
import math
import time
from contextlib import closing
from pathlib import Path

import torch
import yaml

from silero_like.errors import ConfigError, SileroLikeError
from silero_like.model.encoder import Recognizer
from train.batches import Batch
from train.checkpoint import (
    Checkpoint,
    Progress,
    optimizer_tensors,
    read_checkpoint,
    remove_unfinished,
    restore_optimizer,
    write_checkpoint,
)
from train.config import Recipe
from train.dataset import digest
from train.distributed import SAME, Group
from train.evaluation import dev_scalars, evaluate_model, format_examples
from train.feed import Feed
from train.finish import finish
from train.gradients import add_gradients
from train.interruptions import plain_disk_errors, stop_signals
from train.memory import estimate_memory, keep_freed_memory
from train.objective import Learned, Objective
from train.schedule import consistency_weight, learning_rate
from train.shapes import keep_compiled
from train.start import load_data_and_model, parameter_groups, provenance
from train.targets import check_grid
from train.telemetry import Telemetry, Timers

MAX_DEAF_STEPS = 20  # steps in a row without any audio, after which the disk must have gone


class Trainer:
    """A run: its model, optimizer, data and position."""

    @plain_disk_errors()
    def __init__(self, recipe: Recipe, *, command: str = "") -> None:
        keep_freed_memory()
        keep_compiled()
        self.recipe, self.command = recipe, command
        self.group = Group(recipe.loop.timeout_s)
        if recipe.loop.threads:
            torch.set_num_threads(recipe.loop.threads)
        self.output_dir = Path(recipe.output_dir)
        self.output_dir.mkdir(parents=True, exist_ok=True)
        last = self.output_dir / "last.safetensors"
        checkpoint = read_checkpoint(last) if last.exists() else None
        self.group.agree(
            SAME, recipe=digest(repr(recipe).encode())[:8], last_step=checkpoint and checkpoint.progress.step
        )
        self.telemetry = Telemetry(self.output_dir, active=self.group.rank == 0, tensorboard=recipe.loop.tensorboard)
        self.data, self.model = load_data_and_model(recipe, self.group, checkpoint)
        self.average = {name: value.clone() for name, value in self.model.state_dict().items()}
        self.groups = parameter_groups(self.model, recipe.optimizer, recipe.finetune)
        self.parameters = {n: p for n, p in self.model.named_parameters() if p.requires_grad}
        self.optimizer = torch.optim.AdamW(self.groups, lr=recipe.optimizer.peak_lr, betas=(0.9, 0.98), fused=True)
        self.scaler = torch.amp.GradScaler(self.group.device.type, enabled=recipe.loop.precision == "fp16")
        self.feed = Feed(recipe, self.data, self.group)
        if self.feed.targets:
            check_grid(self.feed.targets, self.model.config)
        self.objective = Objective(
            self.model,
            inner_weight=recipe.optimizer.inner_ctc_weight,
            consistency_weight=recipe.optimizer.consistency_weight,
            distill_weight=recipe.distill.weight,
            precision=recipe.loop.precision,
            augmentation=self.feed.augmentation,
            compiled=recipe.loop.compile,
        )
        self.progress, self.metrics, self.timers = Progress(), {}, Timers()  # type: ignore[var-annotated]
        self.unwritten: set[str] = set()
        """Checkpoints whose last writing failed."""
        self.deaf_steps = 0
        if checkpoint:
            self._restore(checkpoint)

    @plain_disk_errors()
    def run(self) -> None:
        """Train until `total_steps`, logging, evaluating and writing checkpoints on the way."""
        self._announce()
        loop, total = self.recipe.loop, self.recipe.optimizer.total_steps
        if self.recipe.finetune.init and self.progress.step == 0:
            self._evaluate()
        with stop_signals() as stopped, closing(self.feed.batches(self.progress.step)) as batches:
            stop = False
            while self.progress.step < total and not stop:
                started = time.perf_counter()
                batch = next(batches)
                self.timers.wait_s += time.perf_counter() - started
                stop = self._step(batch, started, stop=bool(stopped))
                step = self.progress.step
                if step % loop.log_every == 0 or step == total:
                    self._log()
                if step % loop.eval_every == 0 or step == total:
                    self._evaluate()
                if step % loop.checkpoint_every == 0 or step == total or stop:
                    self._save("last.safetensors")
                if loop.keep_every and step % loop.keep_every == 0:
                    self._save(f"step-{step}.safetensors")
        self._end(finished=self.progress.step >= total)

    def _step(self, batch: Batch, started: float, *, stop: bool = False) -> bool:
        """Take one step; return whether any process was asked to stop."""
        self.objective.consistency_weight = consistency_weight(self.progress.step, self.recipe.optimizer)
        learned, split = self.backward(batch)
        audio_s, stops, splits, n_heard = self.group.average_gradients(
            self.parameters.values(), (batch.audio_s, float(stop), float(split), len(batch.indices))
        )
        self._check_heard(n_heard)
        self.scaler.unscale_(self.optimizer)
        clip_started = time.perf_counter()
        norm = torch.nn.utils.clip_grad_norm_(self.parameters.values(), self.recipe.optimizer.clip_norm, foreach=True)
        finite = bool(torch.isfinite(norm))
        self.timers.clip_s += time.perf_counter() - clip_started
        if finite:
            self._set_learning_rate()
            self.scaler.step(self.optimizer)
            self._update_average()
            self.timers.losses.append(float(learned.loss))
            self.timers.grad_norms.append(float(norm))
        else:
            self._skip(batch, float(learned.loss))
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        if splits:
            self._lower_budget()
        self._observe(batch, learned)
        self._advance(audio_s, started)
        return stops > 0

    def backward(self, batch: Batch) -> tuple[Learned, bool]:
        """Add a batch's gradients to those of the parameters; return what it showed, and whether it had to be cut."""
        seed = (self.recipe.seed, self.progress.step, self.group.rank)
        return add_gradients(self.objective, self.scaler, batch, self.group.device, seed)

    def _set_learning_rate(self) -> None:
        optimizer = self.recipe.optimizer
        rate = learning_rate(self.progress.step, optimizer.peak_lr, optimizer.warmup_steps, optimizer.total_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["lr_scale"]

    def _update_average(self) -> None:
        """Move the averaged weights, faster at first: decay min(ema_decay, (1 + step) / (10 + step))."""
        step = self.progress.step
        decay = min(self.recipe.optimizer.ema_decay, (1 + step) / (10 + step))
        averages = [self.average[name] for name in self.parameters]
        torch._foreach_lerp_(averages, [value.detach() for value in self.parameters.values()], 1 - decay)

    def _skip(self, batch: Batch, loss: float) -> None:
        """Count a step whose loss or gradient is not finite, and name the utterances of the batch.

        The scaled gradient of a finite loss may leave the range of fp16; the scaler, told of it, then lowers its scale,
        and nobody is to blame. Below a scale of 1 it was not the scale.
        """
        self.progress = dataclasses.replace(self.progress, skipped_steps=self.progress.skipped_steps + 1)
        mine = [str(self.data.examples[index].utterance.audio_path) for index in batch.indices]
        ranks = self.group.gather((math.isfinite(loss), mine))
        bad = [paths for is_finite, paths in ranks if not is_finite]
        scale = float(self.scaler.get_scale())
        if not bad and self.scaler.is_enabled() and scale >= 1:
            self.telemetry.event("overflow", step=self.progress.step, loss_scale=scale)
            return
        bad = bad or [paths for _, paths in ranks]
        self.telemetry.skipped(self.progress.step, [path for paths in bad for path in paths])

    def _lower_budget(self) -> None:
        """Make all later batches smaller, once."""
        if self.feed.batch_s == self.recipe.loop.batch_s:
            self.feed.lower_budget()
            self.telemetry.out_of_memory(self.progress.step, self.feed.batch_s, self.recipe.loop.batch_s)

    def _check_heard(self, n_utterances: float) -> None:
        """End the run, on all processes, when none of them has read any audio for a while."""
        self.deaf_steps = 0 if n_utterances else self.deaf_steps + 1
        if self.deaf_steps == MAX_DEAF_STEPS:
            reasons = [*self.feed.unreadable().values()]
            raise SileroLikeError(
                f"step {self.progress.step}: no audio at all could be read for {MAX_DEAF_STEPS} steps "
                f"({reasons[-1]}): is the disk there? The same command goes on from the last checkpoint"
            )

    def _observe(self, batch: Batch, learned: Learned) -> None:
        """Let the curriculum see what the model read, and warn of a model that reads nothing."""
        started = time.perf_counter()
        empty = self.feed.done(batch, learned.labels, learned.lengths)
        self.timers.empty.append(empty)
        blank_steps = self.progress.blank_steps + 1 if empty == 1 else 0
        self.progress = dataclasses.replace(self.progress, blank_steps=blank_steps)
        if blank_steps and blank_steps % self.recipe.loop.blank_warning_steps == 0:
            self.telemetry.only_blanks(self.progress.step, blank_steps)
        self.timers.curriculum_s += time.perf_counter() - started

    def _advance(self, audio_s: float, started: float) -> None:
        elapsed_s = time.perf_counter() - started
        self.timers.audio_s += audio_s
        self.timers.step_s += elapsed_s
        self.progress = dataclasses.replace(
            self.progress,
            step=self.progress.step + 1,
            audio_s=self.progress.audio_s + audio_s,
            train_s=self.progress.train_s + elapsed_s,
        )

    def _evaluate(self) -> None:
        """Measure the averaged weights on every dev manifest; keep them as `best` when the micro CER is the lowest."""
        best_before = self.progress.best_cer
        improved = self.group.rank == 0 and bool(self.data.dev) and self._measure()
        if any(self.group.gather(improved)):
            self._save("best.safetensors")
            if "best.safetensors" in self.unwritten:  # the one on the disk is still the best there is
                self.progress = dataclasses.replace(self.progress, best_cer=best_before)

    def _measure(self) -> bool:
        """Measure, tell the result, and return whether it is the best so far."""
        model = Recognizer(self.model.config).to(self.group.device)
        model.load_state_dict(self.average)
        try:
            evaluation, scored = evaluate_model(model, self.data, name=self.recipe.name)
        except SileroLikeError as error:  # no dev audio could be read
            self.telemetry.say(f"warning: step {self.progress.step}: nothing was measured: {error}")
            return False
        self.metrics = evaluation.to_dict()
        self.telemetry.event("eval", step=self.progress.step, **self.metrics)
        table, examples = format_examples(evaluation, scored)
        self.telemetry.say(f"{table}\n{examples}")
        self.telemetry.texts(self.progress.step, examples)
        self.telemetry.scalars(self.progress.step, dev_scalars(self.metrics))
        cer = self.metrics["micro"]["cer"]  # None when the dev texts hold no words
        improved = cer is not None and cer < self.progress.best_cer
        if improved:
            self.progress = dataclasses.replace(self.progress, best_cer=cer)
        return improved

    def _log(self) -> None:
        timers, self.timers = self.timers, Timers()
        curriculum = self.recipe.curriculum.enabled
        progress = self.feed.progress(self.progress.step)
        unreadable = self.feed.unreadable()
        self.telemetry.unreadable(self.progress.step, unreadable)
        self.telemetry.train(
            total_steps=self.recipe.optimizer.total_steps,
            timers=timers,
            step=self.progress.step,
            epoch=self.progress.audio_s / (3600 * sum(self.data.hours.values())),
            lr=max(group["lr"] for group in self.optimizer.param_groups),
            hours_seen=self.progress.audio_s / 3600,
            train_s=self.progress.train_s,
            skipped_steps=self.progress.skipped_steps,
            unreadable=len(unreadable),
            passes=self.feed.passes(),
            shares=self.feed.observed_shares(),
            curriculum=self.feed.curriculum.report(progress) if curriculum else None,
        )

    def _save(self, name: str) -> None:
        """Write a checkpoint; all ranks call it, the first writes. A full disk costs this checkpoint, not the run."""
        feed_tensors, feed = self.feed.state()
        if self.group.rank:
            return
        teacher = self.feed.targets.teacher if self.feed.targets else None
        checkpoint = Checkpoint(
            model=dict(self.model.state_dict()),
            average=self.average,
            optimizer=optimizer_tensors(self.optimizer, self.parameters),
            tokenizer=self.data.tokenizer_model,
            model_config=self.model.config.to_dict(),
            recipe=dataclasses.asdict(self.recipe),
            provenance=provenance(self.recipe, self.data, self.group, self.command, teacher),
            progress=self.progress,
            scaler=self.scaler.state_dict(),
            metrics=self.metrics,
            feed=feed,
            feed_tensors=feed_tensors,
        )
        try:
            write_checkpoint(self.output_dir / name, checkpoint)
            self.unwritten.discard(name)
        except OSError as error:
            self.unwritten.add(name)
            self.telemetry.say(
                f"warning: step {self.progress.step}: cannot write {self.output_dir / name}: {error.strerror}; the "
                "checkpoint before it is whole, and the run goes on: make room before it ends"
            )

    def _restore(self, checkpoint: Checkpoint) -> None:
        step, total_steps = checkpoint.progress.step, self.recipe.optimizer.total_steps
        if step > total_steps:
            raise ConfigError(
                f"{self.output_dir}: its checkpoint is at step {step}, past the end of the run: raise "
                f"optimizer.total_steps from {total_steps}, or use a new output_dir"
            )
        known = checkpoint.provenance["manifests_sha256"].values()
        for name in (*self.recipe.data.train, *self.recipe.data.replay):
            if self.data.hashes[name] not in known:
                self.telemetry.say(f"warning: {name} has changed since the checkpoint; this run cannot be repeated")
        self.average = {name: value.to(self.group.device) for name, value in checkpoint.average.items()}
        restore_optimizer(self.optimizer, self.parameters, checkpoint.optimizer)
        if checkpoint.scaler:
            self.scaler.load_state_dict(checkpoint.scaler)
        self.feed.restore(checkpoint.feed_tensors, checkpoint.feed)
        self.progress, self.metrics = checkpoint.progress, checkpoint.metrics

    def _announce(self) -> None:
        """Say what begins, keep the recipe as it is run, and clear away what a kill has left."""
        if self.group.rank:
            return
        remove_unfinished(self.output_dir)
        recipe = yaml.safe_dump(dataclasses.asdict(self.recipe), sort_keys=False, allow_unicode=True)
        (self.output_dir / "recipe.yaml").write_text(recipe, encoding="utf-8")
        parameters = sum(p.numel() for p in self.model.parameters())
        left_out = "; ".join(f"{count} {reason}" for reason, count in self.data.left_out.items() if count) or "none"
        self.telemetry.say(
            f"{self.recipe.name}: {parameters / 1e6:.2f} M parameters, {len(self.data.examples)} utterances, "
            f"{sum(self.data.hours.values()):.2f} h, from step {self.progress.step} of "
            f"{self.recipe.optimizer.total_steps}, on {self.group.world_size} x {self.group.device.type}\n"
            f"left out: {left_out}\nmemory: {estimate_memory(self.objective, self.recipe.loop.batch_s)}"
        )
        first = self.feed.first_batch().to(self.group.device)
        features, n_frames = self.model.frontend(first.waveform, first.lengths)
        self.telemetry.spectrogram(self.progress.step, features[0, : int(n_frames[0])].cpu().numpy())

    def _end(self, *, finished: bool) -> None:
        self.telemetry.unreadable(self.progress.step, self.feed.unreadable())
        self.telemetry.close()
        self.group.close()
        if self.unwritten:
            names = ", ".join(sorted(self.unwritten))
            raise SileroLikeError(f"{self.output_dir}: {names} could not be written: make room and run again")
        if not finished:
            self.telemetry.say(f"stopped at step {self.progress.step}; the same command goes on from there")
        elif self.group.rank == 0:
            finish(self.recipe, self.data, self.feed.curriculum, self.output_dir)
