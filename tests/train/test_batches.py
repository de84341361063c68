import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from data.augment import AugmentConfig, resolve
from data.manifest import Utterance, read_manifest
from data.store import AudioStore
from train.batches import Batch, Example, collate, load_ahead, make_batch
from train.sampler import Draw
from train.shapes import padded_samples

PLAIN = resolve(AugmentConfig(strength=0))


def examples(folder: Path) -> list[Example]:
    return [Example(utterance, "a b", (1, 2)) for utterance in read_manifest(folder / "train.jsonl").utterances]


def make(rows: list[Example], *draws: Draw, strength: float = 0.0, seed: tuple[int, ...] = (0,)) -> Batch:
    return make_batch(draws, rows, AudioStore(10**9), resolve(AugmentConfig(strength=strength)), None, seed)


def test_collate_pads_with_zeros() -> None:
    batch = collate([np.ones(3, np.float32), np.ones(1, np.float32)], [[5, 6], [7]], [10, 11])
    assert batch.waveform[:, :3].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert batch.waveform.shape == (2, padded_samples(3)) and not batch.waveform[:, 3:].any()
    assert (batch.lengths.tolist(), batch.labels.tolist(), batch.label_lengths.tolist()) == ([3, 1], [5, 6, 7], [2, 1])
    assert (batch.audio_s, batch.n_labels) == (4 / 16000, 3)


def test_halves_hold_the_same_utterances_without_needless_padding() -> None:
    waveforms = [np.full(n, n, np.float32) for n in (2, 3, 5, 4, 9)]
    batch = collate(waveforms, [[1], [2, 3], [], [4], [5, 6, 7]], [10, 11, 12, 13, 14])
    halves = batch.halves()
    assert [half.indices for half in halves] == [(10, 11), (12, 13, 14)]
    assert [half.waveform.shape for half in halves] == [(2, 3), (3, 9)]
    assert [half.labels.tolist() for half in halves] == [[1, 2, 3], [4, 5, 6, 7]]
    assert [half.label_lengths.tolist() for half in halves] == [[1, 2], [0, 1, 3]]
    assert sum(half.audio_s for half in halves) == batch.audio_s
    assert sum(half.n_labels for half in halves) == batch.n_labels


def test_a_batch_is_a_function_of_its_seed(tone_corpus: Path) -> None:
    draws = (Draw(0, 0.9), Draw(3, 1.1))
    first, again, other = (
        make(examples(tone_corpus), *draws, strength=1, seed=seed) for seed in ((1, 2), (1, 2), (3,))
    )
    assert torch.equal(first.waveform, again.waveform)
    assert not torch.equal(first.waveform, other.waveform)


def test_speed_changes_the_length(tone_corpus: Path) -> None:
    slow, plain = (make(examples(tone_corpus), Draw(0, speed)) for speed in (0.5, 1.0))
    assert int(slow.lengths[0]) == 2 * int(plain.lengths[0])


def test_a_batch_of_unreadable_audio_is_silence_without_labels(tmp_path: Path) -> None:
    (tmp_path / "x.wav").write_bytes(b"")
    broken = Example(Utterance(audio_path=tmp_path / "x.wav", duration_s=1.0, text="a"), "a", (1,))
    store = AudioStore(10**9)
    batch = make_batch([Draw(0, 1.0)], [broken], store, PLAIN, None, (0,))
    assert batch.indices == () and not batch.waveform.any() and batch.label_lengths.tolist() == [0]
    assert "x.wav" in store.unreadable[0]


@pytest.mark.parametrize("workers", [1, 3])
def test_loading_ahead_keeps_the_order_and_hands_errors_over(workers: int) -> None:
    def load(number: int) -> int:
        time.sleep(0.002 * (5 - number))  # the later, the sooner done
        if number == 5:
            raise RuntimeError("disk gone")
        return number

    seen = []
    with pytest.raises(RuntimeError, match="disk gone"):
        for number in load_ahead(range(9), load, depth=3, workers=workers):
            seen.append(number)
    assert seen == list(range(5))


def test_loading_ahead_stays_within_its_depth_and_ends_its_threads_when_closed() -> None:
    loaded: list[int] = []
    numbers = load_ahead(iter(range(10**6)), lambda n: loaded.append(n) or n, depth=3, workers=2)  # type: ignore[func-returns-value]
    next(numbers)
    numbers.close()  # type: ignore[attr-defined]
    assert 1 <= len(loaded) <= 4
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("batch-loader")]
