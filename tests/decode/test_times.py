"""Times of the search's result: those of a forced alignment of the whole, also of long recordings."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from decode.align import Alignment, align, align_long
from decode.beam import BeamSearch, beam_decode
from decode.config import BeamConfig
from decode.times import decode_parts
from decode.transitions import Floats


def speech_like(n_frames: int, seed: int) -> Floats:
    """Mostly blank, with spikes of 9 tokens that are sometimes doubtful, and a run of silence."""
    generator = np.random.default_rng(seed)
    scores = generator.normal(0, 1.0, (n_frames, 10))
    scores[:, 9] += 5.0
    spikes = np.flatnonzero(generator.random(n_frames) < 0.3)
    scores[spikes, generator.integers(0, 9, len(spikes))] += generator.uniform(4, 12, len(spikes))
    scores[n_frames // 2 : n_frames // 2 + n_frames // 8, 9] += 20.0
    return scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)


@pytest.mark.parametrize("n_frames", [0, 1, 40, 700])
def test_a_recording_in_parts_is_decoded_and_aligned_as_the_whole(n_frames: int) -> None:
    log_probs = speech_like(n_frames, seed=n_frames)
    config = BeamConfig(beam_width=30)
    search = BeamSearch(10, 9, config)
    search.step(speech_like(30, seed=1))  # it is begun anew
    found = decode_parts(iter(np.array_split(log_probs, 1 + n_frames // 9)), search, n_best=3)
    assert list(found.hypotheses) == beam_decode(log_probs, 9, config, n_best=3)
    assert_same(found.alignment, align(log_probs, found.hypotheses[0].token_ids, 9))


def test_no_part_is_silence() -> None:
    found = decode_parts(iter([]), BeamSearch(10, 9))
    assert found.alignment.token_ids == () and found.hypotheses[0].token_ids == ()


@pytest.mark.parametrize("seed", range(6))
def test_a_long_recording_is_aligned_as_the_whole(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    log_probs = speech_like(700, seed)
    token_ids = beam_decode(log_probs, 9, BeamConfig(beam_width=10))[0].token_ids
    assert len(token_ids) > 100 and any(a == b for a, b in pairwise(token_ids))
    monkeypatch.setattr("decode.align.HELD_FRAMES", 60)
    monkeypatch.setattr("decode.align.LOOK_AHEAD_FRAMES", 20)
    assert_same(align_long(log_probs, token_ids, 9), align(log_probs, token_ids, 9))
    assert align_long(log_probs, [], 9).token_ids == ()
    with pytest.raises(ValueError, match="expected at least 701 frames"):
        align_long(log_probs, [0, 1] * 350 + [0], 9)


def assert_same(found: Alignment, expected: Alignment) -> None:
    """60 ms, what is asked for, is less than a frame: the same frames."""
    assert found.token_ids == expected.token_ids
    assert (found.start_frames == expected.start_frames).all()
    assert (found.end_frames == expected.end_frames).all()
    assert found.log_probs == pytest.approx(expected.log_probs, abs=1e-5)  # kept in float32 on the way
