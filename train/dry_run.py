"""`train RECIPE --dry-run`: is the recipe sound, do the manifests read, what will a batch and its memory look like?

Nothing is learned and nothing is written; the audio of the manifests is not opened.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from data.augment import EffectsBank, resolve
from train.config import Recipe
from train.dataset import Dataset, load_dataset
from train.feed import base_shares, read_targets
from train.memory import estimate_memory, made_up_batch
from train.objective import Objective
from train.sampler import DomainSampler, Draw
from train.start import make_model, parameter_groups, read_source
from train.targets import check_grid


def dry_run(recipe: Recipe) -> str:
    """Check a recipe as far as that goes without training, and return the report.

    Raises:
        SileroLikeError: what training would have stumbled over.
    """
    source = read_source(recipe.finetune.init) if recipe.finetune.init else None
    known = source.tokenizer if source and recipe.finetune.vocabulary == "keep" else None
    with tempfile.TemporaryDirectory() as folder:
        data = load_dataset(recipe, known, work_dir=Path(folder))
    model = make_model(recipe, data.tokenizer, source)
    if recipe.distill.targets:
        check_grid(read_targets(recipe, data), model.config)
    groups = parameter_groups(model, recipe.optimizer, recipe.finetune)
    objective = Objective(
        model,
        inner_weight=recipe.optimizer.inner_ctc_weight,
        consistency_weight=recipe.optimizer.consistency_weight,
        precision="bf16" if recipe.loop.precision == "fp16" else recipe.loop.precision,  # fp16 is for GPUs; same size
        augmentation=resolve(recipe.augment),
        compiled=False,
    )
    learned = objective(made_up_batch(model, n_utterances=2, duration_s=3.0), np.random.default_rng(0))
    learned.loss.backward()
    n_parameters = sum(parameter.numel() for parameter in model.parameters())
    audio_s = sum(example.utterance.duration_s for example in data.examples)
    passes = recipe.optimizer.total_steps * recipe.loop.batch_s / audio_s
    lines = [
        f"{recipe.name}: {n_parameters / 1e6:.2f} M parameters, {data.tokenizer.vocab_size} pieces",
        *_finetuning(recipe, groups),
        *_domains(data, base_shares(recipe, data.examples)),
        f"left out: {'; '.join(f'{n} {reason}' for reason, n in data.left_out.items() if n) or 'none'}",
        *_batches(recipe, data),
        *_noise(recipe),
        f"{recipe.optimizer.total_steps} steps: at most {passes:.1f} passes a process",
        f"memory: {estimate_memory(objective, recipe.loop.batch_s)}",
        f"one step on made-up data: loss {float(learned.loss.detach()):.2f}",
        "This was a dry run: nothing was trained, no audio was decoded.",
    ]
    return "\n".join(lines)


def _finetuning(recipe: Recipe, groups: list[dict[str, Any]]) -> list[str]:
    learning = sum(parameter.numel() for group in groups for parameter in group["params"])
    return [f"goes on from {recipe.finetune.init}: {learning / 1e6:.2f} M learn"] if recipe.finetune.init else []


def _noise(recipe: Recipe) -> list[str]:
    if recipe.augment.noise is None:
        return []
    bank = EffectsBank.load(recipe.augment.noise, recipe.root)
    return [f"augmentation: {len(bank.noises)} noise clips, {len(bank.responses)} room responses"]


def _domains(data: Dataset, shares: dict[str, float]) -> list[str]:
    counts = Counter(example.domain for example in data.examples)
    lines = [f"{'domain':28} {'utterances':>10} {'hours':>8} {'share':>7}"]
    return lines + [f"{name:28} {counts[name]:10} {data.hours[name]:8.2f} {shares[name]:7.1%}" for name in shares]


def _batches(recipe: Recipe, data: Dataset) -> list[str]:
    """Describe the batches of the first round without a curriculum."""
    durations_s = np.array([example.utterance.duration_s for example in data.examples])
    speeds = resolve(recipe.augment).speeds
    sampler = DomainSampler(
        durations_s,
        [example.domain for example in data.examples],
        batch_s=recipe.loop.batch_s,
        round_batches=recipe.sampling.round_batches,
        speeds=speeds,
        seed=recipe.seed,
    )
    shares = base_shares(recipe, data.examples)
    (batches,), _ = sampler.plan(sampler.start(), shares, np.ones(len(durations_s), np.bool_))
    sizes = [len(batch) for batch in batches]
    longest = [max(_played_s(draw, durations_s) for draw in batch) for batch in batches]
    padded = sum(size * length for size, length in zip(sizes, longest, strict=True))
    audio = sum(_played_s(draw, durations_s) for batch in batches for draw in batch)
    return [
        f"batches of the first round: {len(batches)}, {min(sizes)} to {max(sizes)} utterances of {min(longest):.1f} to "
        f"{max(longest):.1f} s, {audio / padded:.0%} of the padded length is audio"
    ]


def _played_s(draw: Draw, durations_s: np.ndarray) -> float:
    return float(durations_s[draw.index]) / draw.speed
