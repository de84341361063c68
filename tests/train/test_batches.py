from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from data.manifest import read_manifest
from train.batches import AudioCache, Batch, Example, collate, make_batch, prefetch
from train.config import AugmentConfig
from train.sampler import Draw

PLAIN = AugmentConfig(speeds=[1.0], gain_db=0)


def examples(folder: Path) -> list[Example]:
    return [Example(utterance, (1, 2)) for utterance in read_manifest(folder / "train.jsonl").utterances]


def test_collate_pads_with_zeros() -> None:
    batch = collate([np.ones(3, np.float32), np.ones(1, np.float32)], [[5, 6], [7]], [10, 11])
    assert batch.waveform.tolist() == [[1, 1, 1], [1, 0, 0]]
    assert (batch.lengths.tolist(), batch.labels.tolist(), batch.label_lengths.tolist()) == ([3, 1], [5, 6, 7], [2, 1])


def test_cached_audio_equals_decoded_audio_and_the_bound_holds(tone_corpus: Path) -> None:
    rows = examples(tone_corpus)
    plenty, none = AudioCache(10**9), AudioCache(0)
    for _ in range(2):
        for index, row in enumerate(rows[:4]):
            a, b = plenty.load(index, row.utterance), none.load(index, row.utterance)
            assert a is not None and b is not None
            np.testing.assert_array_equal(a, b)
    assert len(plenty.stored) == 4 and plenty.n_bytes > 0
    assert not none.stored and none.n_bytes == 0


def test_a_batch_is_a_function_of_its_seed(tone_corpus: Path) -> None:
    rows, cache = examples(tone_corpus), AudioCache(10**9)
    draws = [Draw(0, 0.9), Draw(3, 1.1)]
    loud = AugmentConfig(gain_db=10)
    first, again, other = (make_batch(draws, rows, cache, loud, seed) for seed in ((1, 2), (1, 2), (1, 3)))
    assert torch.equal(first.waveform, again.waveform)
    assert not torch.equal(first.waveform, other.waveform)


def test_speed_changes_the_length(tone_corpus: Path) -> None:
    rows, cache = examples(tone_corpus), AudioCache(10**9)
    slow, plain = (make_batch([Draw(0, speed)], rows, cache, PLAIN, (0,)) for speed in (0.5, 1.0))
    assert int(slow.lengths[0]) == 2 * int(plain.lengths[0])


def test_a_batch_of_unreadable_audio_is_silence_without_labels(tmp_path: Path, tone_corpus: Path) -> None:
    row = examples(tone_corpus)[0]
    (tmp_path / "x.wav").write_bytes(b"")
    broken = Example(type(row.utterance)(audio_path=tmp_path / "x.wav", duration_s=1.0, text="a"), (1,))
    cache = AudioCache(10**9)
    batch = make_batch([Draw(0, 1.0)], [broken], cache, PLAIN, (0,))
    assert batch.indices == () and not batch.waveform.any() and batch.label_lengths.tolist() == [0]
    assert "x.wav" in cache.unreadable[0]


def test_prefetch_keeps_order_and_hands_errors_over() -> None:
    def numbered() -> Iterator[Batch]:
        for number in range(5):
            yield collate([np.zeros(1, np.float32)], [()], [number])
        raise RuntimeError("disk gone")

    seen = []
    with pytest.raises(RuntimeError, match="disk gone"):
        for batch in prefetch(numbered(), 2):
            seen.append(batch.indices[0])
    assert seen == list(range(5))


def test_prefetch_stops_its_thread_when_closed() -> None:
    made = []

    def endless() -> Iterator[Batch]:
        while True:
            made.append(1)
            yield collate([np.zeros(1, np.float32)], [()], [0])

    batches = prefetch(endless(), 3)
    next(batches)
    batches.close()  # type: ignore[attr-defined]
    count = len(made)
    assert count <= 6
    assert len(made) == count
