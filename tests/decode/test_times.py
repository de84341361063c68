"""Times of the search's result: those of a forced alignment of the whole, also of long recordings."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from decode.align import Alignment, align
from decode.align_long import align_long
from decode.beam import BeamSearch, beam_decode
from decode.config import BeamConfig
from decode.hotwords import HotwordScorer
from decode.lm import WordScorer, make_lexicon
from decode.times import decode_parts
from decode.transitions import Floats
from tests.decode.bigrams import PIECES, Bigrams


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
    monkeypatch.setattr("decode.align_long.HELD_FRAMES", 60)
    monkeypatch.setattr("decode.align_long.LOOK_AHEAD_FRAMES", 20)
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


@given(
    seed=st.integers(0, 10**6),
    n_frames=st.integers(0, 160),
    cuts=st.lists(st.integers(0, 160), max_size=12),
    with_scorers=st.booleans(),
    recombine=st.booleans(),
    noise=st.floats(0.5, 3.0),
)
@example(
    seed=3593, n_frames=102, cuts=[], with_scorers=True, recombine=True, noise=1.0625
)  # more tokens than fit behind
@settings(max_examples=40, deadline=None)
def test_settling_tokens_on_the_way_changes_nothing(
    seed: int, n_frames: int, cuts: list[int], with_scorers: bool, recombine: bool, noise: float
) -> None:
    config = BeamConfig(beam_width=8, beam_prune_log_prob=-6.0, blank_skip=0.9, alpha=0.6, recombine=recombine)
    log_probs = doubtful(n_frames, seed, noise)
    scorers = [WordScorer(Bigrams(), make_lexicon(Bigrams(), Bigrams.known), PIECES, config)] if with_scorers else []
    hotwords = [HotwordScorer({"abb a": 3.0, "b": -1.0}, PIECES)] if with_scorers else []
    search = BeamSearch(4, 3, config, [*scorers, *hotwords])
    with pytest.MonkeyPatch.context() as patch:
        for name, n in (("HELD_FRAMES", 24), ("LOOK_AHEAD_FRAMES", 6), ("SILENT_FRAMES", 3)):
            patch.setattr(f"decode.align_long.{name}", n)
        found = decode_parts(iter(np.split(log_probs, sorted(cuts))), search)
        kept = decode_parts([log_probs], search, n_best=2)  # which settles nothing before the end
        several = decode_parts(iter(np.split(log_probs, sorted(cuts))), search, n_best=2)
    assert found.hypotheses[0] == kept.hypotheses[0]  # scores, too, to the last bit
    for other in (kept, several):
        assert found.alignment.token_ids == other.alignment.token_ids
        assert (found.alignment.start_frames == other.alignment.start_frames).all()
        assert (found.alignment.end_frames == other.alignment.end_frames).all()
        assert (found.alignment.log_probs == other.alignment.log_probs).all()


def doubtful(n_frames: int, seed: int, noise: float) -> Floats:
    """Three tokens and silences, more or less certain."""
    generator = np.random.default_rng(seed)
    scores = generator.normal(0, noise, (n_frames, 4))
    scores[:, 3] += 6.0 * (np.sin(np.arange(n_frames) / generator.uniform(2, 9)) > 0)
    return scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)


@pytest.mark.parametrize("kind", ["speech", "silence", "noise"])
def test_a_long_recording_takes_no_more_memory_than_a_shorter_one(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("decode.align_long.HELD_FRAMES", 100)
    monkeypatch.setattr("decode.align_long.LOOK_AHEAD_FRAMES", 20)
    config = BeamConfig(beam_width=20, beam_prune_log_prob=-8.0)
    scorer = WordScorer(Bigrams(), make_lexicon(Bigrams(), Bigrams.known), PIECES, config)
    search = BeamSearch(4, 3, config, [scorer])
    peaks = []
    for n_parts in (1, 4, 16):  # the first one for what the scorer remembers
        tracemalloc.start()
        decode_parts((_part(kind, seed) for seed in range(n_parts)), search)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] < 1.2 * peaks[1]


def _part(kind: str, seed: int) -> Floats:
    if kind == "speech":
        return doubtful(100, seed, noise=1.5)
    blank = 0.999 if kind == "silence" else 0.95
    return np.log(np.tile([*[(1 - blank) / 3] * 3, blank], (100, 1)))


@pytest.mark.parametrize("n_silent", [5, 60, 3000])
def test_a_silence_between_words_keeps_its_length(n_silent: int) -> None:
    rows = np.full((2 * n_silent + 2, 4), 1e-4)
    rows[:, 3] = 1 - 3e-4
    rows[[n_silent, 2 * n_silent + 1], [0, 1]] = 1.0
    log_probs = np.log(rows / rows.sum(axis=1, keepdims=True))
    found = decode_parts(np.array_split(log_probs, 7), BeamSearch(4, 3)).alignment
    assert found.token_ids == (0, 1)
    assert found.start_frames.tolist() == [n_silent, 2 * n_silent + 1]
    assert found.end_frames.tolist() == [n_silent + 1, 2 * n_silent + 2]


def test_settled_tokens_are_part_of_every_result() -> None:
    log_probs = speech_like(400, seed=5)
    whole, settling = BeamSearch(10, 9, BeamConfig(beam_width=30)), BeamSearch(10, 9, BeamConfig(beam_width=30))
    n_settled = 0
    for part in np.array_split(log_probs, 20):
        whole.step(part)
        settling.step(part)
        settled = settling.settle()
        n_settled += len(settled.token_ids)
        assert (np.diff(settled.first_frames) > 0).all() and all(settled.first_frames < settled.until)
        assert settling.partial() == whole.partial()
        assert settling.end()[0] == whole.end()[0]
    assert 0.8 * len(whole.partial()) < n_settled < len(whole.partial())


def test_a_token_without_end_does_not_stop_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("decode.align_long.HELD_FRAMES", 20)
    monkeypatch.setattr("decode.align_long.LOOK_AHEAD_FRAMES", 5)
    log_probs = np.log(np.tile([0.999, 0.0005, 0.0005], (100, 1)))
    assert decode_parts([log_probs], BeamSearch(3, 2)).alignment.token_ids == (0,)
