"""What the loop learns from next: sampler, curriculum and loader threads, and all that they must remember."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from data.augment import Augmentation, EffectsBank, resolve
from data.store import AudioStore
from decode.greedy import collapse
from silero_like.errors import ConfigError
from silero_like.evaluation.edits import edit_distance
from train.batches import Batch, Example, load_ahead, make_batch
from train.config import Recipe
from train.curriculum import Curriculum, Observation, prior_difficulty
from train.dataset import Dataset, digest
from train.distributed import Group
from train.sampler import DomainSampler, Draw, Position, domain_shares
from train.targets import SoftTargets

BUDGET_AFTER_OUT_OF_MEMORY = 0.7


class Feed:
    """Yields the batches of this rank, round by round.

    The state of the feed is that of the beginning of the current round, how many of its batches have been learned from
    and what they showed; from it a resumed run plans the same round again.
    """

    def __init__(self, recipe: Recipe, data: Dataset, group: Group) -> None:
        self.recipe, self.data, self.group = recipe, data, group
        self.augmentation: Augmentation = resolve(recipe.augment)
        self.bank = EffectsBank.load(recipe.augment.noise, recipe.root) if recipe.augment.noise else None
        self.targets = read_targets(recipe, data) if recipe.distill.targets else None
        self.store = AudioStore(int(recipe.data.cache_gb * 1e9 / group.world_size))
        self.durations_s = np.array([example.utterance.duration_s for example in data.examples])
        self.domains = [example.domain for example in data.examples]
        self.base_shares = base_shares(recipe, data.examples)
        self.curriculum = Curriculum(recipe.curriculum, self.domains, self._prior())
        self.batch_s = recipe.loop.batch_s
        self.sampler = self._make_sampler()
        self.position = self.next_position = self.sampler.start()
        self.batch = 0
        """Batches of the current round already learned from."""
        self.round_batches = 0
        """Batches in the current round, known once it is planned."""
        self.observations: list[Observation] = []
        """This rank's, in the current round."""
        self.drawn: dict[str, int] = dict.fromkeys(self.sampler.names, 0)
        """Utterances planned so far, by domain."""

    def batches(self, step: int) -> Generator[Batch, None, None]:
        """Yield batches without end; call `done` after each. `step` is the number of steps taken so far."""
        while True:
            draws = self._plan(step - self.batch)
            tasks = enumerate(draws[self.batch :], start=self.batch)
            loop = self.recipe.loop
            for batch in load_ahead(tasks, self._load, depth=loop.prefetch_batches, workers=loop.workers):
                yield batch
                step += 1
            self._end_round(step)

    def done(self, batch: Batch, labels: Tensor, lengths: Tensor) -> float:
        """Note that a batch was learned from, and how well its greedy path fits; return the share of empty outputs."""
        self.batch += 1
        paths, n_frames = labels.cpu().numpy(), lengths.cpu().numpy()
        tokenizer, empty = self.data.tokenizer, 0
        for row, index in enumerate(batch.indices):
            token_ids = collapse(paths[row, : n_frames[row]], tokenizer.blank_id)
            empty += not token_ids
            if self.recipe.curriculum.enabled:
                reference, hypothesis = self.data.examples[index].text, tokenizer.decode(token_ids)
                errors = edit_distance(reference, hypothesis)
                self.observations.append(Observation(index, errors, len(reference), hypothesis))
        return empty / max(1, len(batch.indices))

    def lower_budget(self) -> None:
        """Make the batches of the next rounds smaller."""
        self.batch_s *= BUDGET_AFTER_OUT_OF_MEMORY

    def progress(self, step: int) -> float:
        """Return the share of the run that has passed."""
        return min(1.0, step / self.recipe.optimizer.total_steps)

    def first_batch(self) -> Batch:
        """Return a small augmented batch, to look at."""
        draws = [Draw(index, 1.0) for index in range(min(2, len(self.domains)))]
        return self._load((0, draws))

    def observed_shares(self) -> dict[str, float]:
        """Return the share of the draws so far that came from each domain."""
        total = sum(self.drawn.values())
        return {name: count / max(1, total) for name, count in self.drawn.items()}

    def passes(self) -> dict[str, float]:
        """Return how often each domain has been gone through."""
        sizes = {name: len(members) for name, members in zip(self.sampler.names, self.sampler.members, strict=True)}
        position = zip(self.sampler.names, self.position.passes, self.position.offsets, strict=True)
        return {name: number + offset / sizes[name] for name, number, offset in position}

    def unreadable(self) -> dict[int, str]:
        """Return why utterances cannot be read, by index; all ranks must call it together."""
        ranks = self.group.gather(dict(self.store.unreadable))  # a copy: the loader threads go on adding
        return {index: message for rank in ranks for index, message in rank.items()}

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return what a checkpoint keeps, as tensors and plain values; all ranks must call it together."""
        observations = [
            [(o.index, o.errors, o.chars, o.hypothesis) for o in rank] for rank in self.group.gather(self.observations)
        ]
        tensors = {"cer": torch.from_numpy(self.curriculum.cer), "count": torch.from_numpy(self.curriculum.count)}
        values = {
            "position": [self.position.round, self.position.passes, self.position.offsets],
            "domains": self.sampler.names,
            "batch": self.batch,
            "batch_s": self.batch_s,
            "round_batch_s": self.sampler.batch_s,
            "lowered": self.batch_s < self.recipe.loop.batch_s,
            "observations": observations,
            "drawn": self.drawn,
            **self.curriculum.state_dict(),
        }
        return tensors, json.loads(json.dumps(values))

    def restore(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Put a checkpoint's state back.

        Raises:
            ConfigError: the training set has other utterances or domains than the one that was left.
        """
        if values["domains"] != self.sampler.names or len(tensors["cer"]) != len(self.domains):
            raise ConfigError(
                f"{self.recipe.output_dir}: its run learned from {len(tensors['cer'])} utterances of "
                f"{', '.join(values['domains'])}, now there are {len(self.domains)} of "
                f"{', '.join(self.sampler.names)}: use a new output_dir, or `silero-like finetune`"
            )
        number, passes, offsets = values["position"]
        self.position, self.batch = Position(number, tuple(passes), tuple(offsets)), values["batch"]
        self.drawn = dict(values["drawn"])
        self.curriculum.load_state(values, tensors["cer"].numpy(), tensors["count"].numpy())
        ranks = [[Observation(*item) for item in rank] for rank in values["observations"]]
        if len(ranks) == self.group.world_size:
            self.observations = ranks[self.group.rank]
        elif self.group.rank == 0:
            self.observations = [item for rank in ranks for item in rank]
        if values["lowered"] and values["batch_s"] < self.batch_s:  # for lack of memory, in this round or before
            self.batch_s = values["round_batch_s"]
            self.sampler = self._make_sampler()
            self.batch_s = values["batch_s"]

    def _plan(self, step: int) -> list[list[Draw]]:
        """Plan the current round, which began at `step`."""
        progress = self.progress(step)
        shares, admitted = self.base_shares, np.ones(len(self.domains), np.bool_)
        if self.recipe.curriculum.enabled:
            shares, admitted = self._shares(), self.curriculum.admitted(progress)
        ranks, self.next_position = self.sampler.plan(self.position, shares, admitted)
        if not ranks[0]:
            raise ConfigError(f"fewer batches than {self.group.world_size} processes: raise sampling.round_batches")
        self.planned = [draw.index for batches in ranks for draws in batches for draw in draws]
        self.round_batches = len(ranks[0])
        self.batch = min(self.batch, self.round_batches)  # resumed with another number of processes
        return ranks[self.group.rank]

    def _shares(self) -> dict[str, float]:
        """Return the curriculum's shares; what is replayed keeps its part of the whole."""
        replayed = {example.domain for example in self.data.examples if example.is_replay}
        shares: dict[str, float] = {}
        for group in (self.base_shares.keys() - replayed, replayed):
            base = {name: self.base_shares[name] for name in sorted(group)}
            part = sum(base.values())
            shares |= {name: part * share for name, share in self.curriculum.shares(base).items()} if part else base
        return shares

    def _end_round(self, step: int) -> None:
        """Let the curriculum learn from what all ranks saw, and go on to the next round."""
        observations = [item for rank in self.group.gather(self.observations) for item in rank]
        self.curriculum.observe(observations, self.progress(step))
        for index in self.planned:
            self.drawn[self.domains[index]] += 1
        self.position, self.batch, self.observations = self.next_position, 0, []
        if self.sampler.batch_s != self.batch_s:
            self.sampler = self._make_sampler()

    def _load(self, task: tuple[int, list[Draw]]) -> Batch:
        number, draws = task
        seed = (self.recipe.seed, self.position.round, number, self.group.rank)
        return make_batch(draws, self.data.examples, self.store, self.augmentation, self.bank, seed, self.targets)

    def _make_sampler(self) -> DomainSampler:
        return DomainSampler(
            self.durations_s,
            self.domains,
            batch_s=self.batch_s,
            round_batches=self.recipe.sampling.round_batches,
            speeds=self.augmentation.speeds,
            seed=self.recipe.seed,
            world_size=self.group.world_size,
        )

    def _prior(self) -> npt.NDArray[np.float64]:
        quality = [example.utterance.quality for example in self.data.examples]
        return prior_difficulty(self.durations_s, self.domains, quality)


def read_targets(recipe: Recipe, data: Dataset) -> SoftTargets:
    """Read the recipe's soft targets.

    Raises:
        ConfigError: unreadable, for another tokenizer, or for other speech.
    """
    targets = SoftTargets(str(recipe.distill.targets), recipe.root)
    if targets.tokenizer_sha256 != digest(data.tokenizer_model):
        raise ConfigError(
            f"{recipe.distill.targets}: made with another tokenizer: name the teacher's in tokenizer.path, or run "
            "`silero-like distill`"
        )
    speeds = resolve(recipe.augment).speeds
    if not any(targets.find(example.utterance, speed) for example in data.examples for speed in speeds):
        raise ConfigError(
            f"{recipe.distill.targets}: {targets.teacher} has read none of this speech at any of the speeds "
            f"{', '.join(map(str, speeds))}: run `silero-like distill` with this recipe"
        )
    return targets


def base_shares(recipe: Recipe, examples: Sequence[Example]) -> dict[str, float]:
    """Return the share of every domain before the curriculum: new domains, and old ones within the share of replay.

    Raises:
        ConfigError: weights or targets for domains that there are not.
    """
    counts = Counter(example.domain for example in examples)
    for key, named in (
        ("sampling.weights", recipe.sampling.weights),
        ("curriculum.targets", recipe.curriculum.targets),
    ):
        for name in sorted(named.keys() - counts.keys()):
            raise ConfigError(f"{key} names unknown domain {name!r}: the domains are {', '.join(sorted(counts))}")
    if not any(example.is_replay for example in examples):
        return domain_shares(counts, recipe.sampling.weights, recipe.sampling.temperature)
    shares = {}
    for is_replay, part in ((False, 1 - recipe.finetune.replay), (True, recipe.finetune.replay)):
        group = Counter(example.domain for example in examples if example.is_replay == is_replay)
        weights = {name: weight for name, weight in recipe.sampling.weights.items() if name in group}
        for name, share in domain_shares(group, weights, recipe.sampling.temperature).items():
            shares[name] = part * share
    return shares
