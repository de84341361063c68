import ctypes
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from data.augment import AugmentConfig, resolve
from silero_like.model.config import preset
from silero_like.model.encoder import Recognizer
from train.batches import Batch
from train.memory import CUDA_CONTEXT, MADE_UP_S, estimate_memory, keep_freed_memory, made_up_batch
from train.objective import Learned, Objective

STEP = 80  # samples of a frame of the toy
HIDDEN = 32


class Toy(nn.Module):
    """Two layers on frames of 5 ms, whose kept bytes can be counted by hand."""

    def __init__(self, *, bf16: bool) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(STEP, HIDDEN, bias=False), nn.Linear(HIDDEN, 1, bias=False)
        self.model, self.bf16 = SimpleNamespace(config=SimpleNamespace(n_labels=5)), bf16

    def forward(self, batch: Batch, generator: np.random.Generator) -> Learned:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.bf16):
            frames = batch.waveform.reshape(len(batch.lengths), -1, STEP)
            loss = self.second(torch.relu(self.first(frames))).sum()
        return Learned(loss, batch.labels, batch.lengths)


def objective(name: str, precision: str) -> Objective:
    torch.manual_seed(0)
    model = Recognizer(preset(name, n_labels=257))
    augmentation = resolve(AugmentConfig(strength=0))
    return Objective(model, inner_weight=0.3, precision=precision, augmentation=augmentation, compiled=False)


def test_what_is_kept_is_counted_by_storage_without_parameters() -> None:
    """Kept: the waveform, for the first layer's gradient, and the hidden layer, once for ReLU and the second layer."""
    estimate = estimate_memory(Toy(bf16=False), batch_s=100)  # type: ignore[arg-type]
    assert estimate.per_second == 4 * (16000 + 200 * HIDDEN)
    assert estimate.state == 20 * (STEP * HIDDEN + HIDDEN)
    assert estimate.total == estimate.state + 1.1 * 100 * estimate.per_second + CUDA_CONTEXT


def test_copies_of_the_weights_that_autocast_makes_do_not_grow_with_the_batch() -> None:
    """The second layer's copy is kept for its input's gradient; the first layer's input has none."""
    estimate = estimate_memory(Toy(bf16=True), batch_s=100)  # type: ignore[arg-type]
    assert estimate.per_second == 2 * (16000 + 200 * HIDDEN)
    assert estimate.state == 20 * (STEP * HIDDEN + HIDDEN) + 2 * HIDDEN


def test_frozen_parameters_need_no_gradient_and_no_moments() -> None:
    toy = Toy(bf16=False)
    toy.first.weight.requires_grad_(False)
    estimate = estimate_memory(toy, batch_s=100)  # type: ignore[arg-type]
    assert estimate.state == 8 * STEP * HIDDEN + 20 * HIDDEN
    assert estimate.per_second == 4 * 200 * HIDDEN  # the waveform is needed for the first layer's gradient only


def test_the_estimate_grows_with_batch_and_model_and_shrinks_with_precision() -> None:
    tiny = objective("tiny", "bf16")
    half, whole = (estimate_memory(tiny, batch_s) for batch_s in (60, 120))
    assert whole.activations == 2 * half.activations and whole.state == half.state
    small = estimate_memory(objective("small", "bf16"), 120)
    plain = estimate_memory(objective("tiny", "fp32"), 120)
    assert whole.total < small.total
    assert whole.activations < plain.activations < 2 * whole.activations  # log-probs and losses are float32 in both
    assert plain.state < whole.state  # bf16 keeps copies of the weights


@pytest.mark.parametrize("memory", [11e9, 24e9])
def test_the_largest_batch_fills_the_memory(memory: float) -> None:
    tiny = objective("tiny", "bf16")
    batch_s = estimate_memory(tiny, 120).largest_batch_s(memory)
    assert estimate_memory(tiny, batch_s).total == pytest.approx(memory)
    assert estimate_memory(tiny, batch_s).largest_batch_s(1e6) == 0


def test_the_estimate_says_what_fits_a_card() -> None:
    estimate = estimate_memory(Toy(bf16=False), batch_s=100)  # type: ignore[arg-type]
    assert str(estimate).startswith("about 0.7 GB a process on a GPU (state 0.00, activations 0.01, overhead 0.70);")
    assert str(estimate).endswith(f"11 GB hold a loop.batch_s of {estimate.largest_batch_s(11e9):.0f}")


def test_an_estimate_leaves_random_numbers_and_gradients_alone() -> None:
    tiny = objective("tiny", "fp32")
    before = torch.get_rng_state()
    estimate_memory(tiny, 120)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(parameter.grad is None for parameter in tiny.parameters())


def test_a_made_up_batch_has_labels_that_can_be_aligned() -> None:
    model = Recognizer(preset("tiny", n_labels=257))
    batch = made_up_batch(model, n_utterances=3, duration_s=MADE_UP_S)
    assert batch.lengths.tolist() == [MADE_UP_S * 16000] * 3 and batch.label_lengths.tolist() == [10] * 3
    assert int(batch.labels.min()) >= 0 and int(batch.labels.max()) < 256  # the blank is no label


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["tiny", "small"])
def test_the_estimate_is_close_to_the_measured_peak(name: str) -> None:
    learner = objective(name, "bf16").cuda()
    optimizer = torch.optim.AdamW(learner.parameters(), fused=True)
    average = [parameter.detach().clone() for parameter in learner.parameters()]
    estimate = estimate_memory(learner, 160)
    batch = made_up_batch(learner.model, n_utterances=10, duration_s=16.0).to(torch.device("cuda"))
    torch.cuda.reset_peak_memory_stats()
    for _ in range(3):
        learner(batch, np.random.default_rng(0)).loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    peak = torch.cuda.max_memory_allocated() + CUDA_CONTEXT
    assert average and 0.8 * peak < estimate.total < 1.3 * peak  # an estimate from 5 s; 16 s pad other blocks


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's malloc is tuned on Linux only")
def test_freed_memory_is_kept_where_malloc_can_be_told() -> None:
    assert keep_freed_memory() == hasattr(ctypes.CDLL(None), "mallopt")
