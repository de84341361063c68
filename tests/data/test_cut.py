"""`data.cut` with a detector that hears loudness."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from data.cut import LEAD_S, Stretch, cut_at_pauses

Array = npt.NDArray[np.float32]


def speech_probability(block: Array) -> float:
    return float(min(1.0, abs(block).max()))


def sound(*parts: tuple[float, float]) -> list[Array]:
    """Chunks of odd sizes of (seconds, probability)."""
    waveform = np.concatenate([np.full(round(16000 * seconds), value, np.float32) for seconds, value in parts])
    return np.array_split(waveform, 7)


def test_pauses_end_utterances_and_silence_is_left_out() -> None:
    parts = sound((3.0, 0.0), (2.0, 0.9), (0.4, 0.0), (1.0, 0.9), (5.0, 0.0), (0.1, 1.0), (5.0, 0.0), (1.5, 0.7))
    first, second = cut_at_pauses(parts, speech_probability, max_s=10.0)
    assert first.start_s == pytest.approx(3.0 - LEAD_S, abs=0.05)
    assert first.duration_s == pytest.approx(3.4 + 2 * LEAD_S, abs=0.1)  # the breath within stays, the click does not
    assert second.start_s == pytest.approx(16.5 - LEAD_S, abs=0.05)
    assert second.start_s + second.duration_s == pytest.approx(18.0, abs=0.05)


def test_what_never_pauses_is_cut_where_it_is_least_like_speech() -> None:
    stretches = cut_at_pauses(sound((12.0, 1.0), (0.3, 0.6), (20.0, 1.0)), speech_probability, max_s=20.0)
    assert [round(stretch.start_s) for stretch in stretches] == [0, 12, 17]  # half of what is left, if all is alike
    ends = [stretch.start_s + stretch.duration_s for stretch in stretches]
    assert [stretch.start_s for stretch in stretches[1:]] == pytest.approx(ends[:-1], abs=0.002)
    assert ends[-1] == pytest.approx(32.3, abs=0.05)
    assert all(stretch.duration_s <= 20.0 for stretch in stretches)


def test_no_speech_at_all() -> None:
    assert cut_at_pauses(sound((3.0, 0.1)), speech_probability, max_s=10.0) == []
    assert cut_at_pauses([], speech_probability, max_s=10.0) == []
    assert cut_at_pauses(sound((1.0, 1.0)), speech_probability, max_s=10.0) == [Stretch(0.0, 1.024)]
