"""The training objective."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from data.augment import AugmentConfig, resolve
from silero_like.errors import ConfigError
from silero_like.model.config import preset
from silero_like.model.encoder import Recognizer
from train.memory import made_up_batch
from train.objective import Objective, disagreement


def objective(strength: float, consistency_weight: float) -> Objective:
    torch.manual_seed(0)
    model = Recognizer(preset("tiny", n_labels=9, width=32, n_conv_blocks=2, n_attention_blocks=1, dropout=0.0))
    augmentation = resolve(AugmentConfig(strength=strength))
    return Objective(
        model,
        inner_weight=0.3,
        precision="fp32",
        augmentation=augmentation,
        compiled=False,
        consistency_weight=consistency_weight,
    )


def test_disagreement_by_hand() -> None:
    even, sure = [math.log(0.5)] * 2, [math.log(0.9), math.log(0.1)]
    log_probs = torch.tensor([[even, even, even], [sure, even, sure]], requires_grad=True)  # T = 3, the last is padding
    to_sure = 0.5 * math.log(0.5 / 0.9) + 0.5 * math.log(0.5 / 0.1)
    to_even = 0.9 * math.log(0.9 / 0.5) + 0.1 * math.log(0.1 / 0.5)
    loss = disagreement(log_probs, torch.tensor([2, 2]))
    assert loss.item() == pytest.approx((to_sure + to_even) / 2)
    loss.backward()  # type: ignore[no-untyped-call]
    expected = [[-0.5 * 0.9, -0.5 * 0.1], [-0.5 * 0.5, -0.5 * 0.5]]  # minus half the other copy, which is fixed
    torch.testing.assert_close(log_probs.grad[:, 0], torch.tensor(expected))  # type: ignore[index]
    assert not log_probs.grad[:, 2].any()  # type: ignore[index]


def test_copies_that_are_masked_alike_change_nothing() -> None:
    once, twice = objective(0, 0.0), objective(0, 0.5)
    batch = made_up_batch(once.model, n_utterances=3, duration_s=1.0)
    losses = [float(which(batch, np.random.default_rng(0)).loss.detach()) for which in (once, twice)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)  # float32 sums over other batch sizes


def test_copies_that_are_masked_differently_are_pulled_together() -> None:
    free, bound = objective(0.9, 0.01), objective(0.9, 5.0)
    apart = {}
    for name, which in (("free", free), ("bound", bound)):
        batch = made_up_batch(which.model, n_utterances=3, duration_s=2.0)
        optimizer = torch.optim.Adam(which.parameters(), lr=3e-3)
        for step in range(15):
            optimizer.zero_grad()
            which(batch, np.random.default_rng(step)).loss.backward()
            optimizer.step()
        output = which._encode(batch, 2, np.random.default_rng(99))
        apart[name] = float(disagreement(output.log_probs, output.lengths).detach())
    assert apart["bound"] < 0.5 * apart["free"]


def test_the_greedy_path_is_that_of_one_copy() -> None:
    which = objective(0.9, 0.2)
    batch = made_up_batch(which.model, n_utterances=3, duration_s=1.0)
    learned = which(batch, np.random.default_rng(0))
    assert learned.labels.shape == (3, int(learned.lengths.max())) and learned.lengths.shape == (3,)


def test_compiling_is_refused_on_a_cpu() -> None:
    model = Recognizer(preset("tiny", n_labels=9, width=32, n_conv_blocks=1, n_attention_blocks=1))
    augmentation = resolve(AugmentConfig(strength=0))
    with pytest.raises(ConfigError, match=r"loop\.compile works on a GPU only"):
        Objective(model, inner_weight=0.3, precision="fp32", augmentation=augmentation, compiled=True)
