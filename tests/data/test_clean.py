"""`data.clean`: rankings and thresholds worked by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from data.clean import Judged, derived_thresholds, judge, share_thresholds
from data.manifest import Utterance


def judged(domain: str, misfits: list[float]) -> list[Judged]:
    return [
        Judged(
            utterance=Utterance(audio_path=Path(f"/{domain}/{number}.wav"), duration_s=1.0, text="a", domain=domain),
            heard="b",
            cer=misfit / 10,
            misfit=misfit,
            confidence=1.0,
        )
        for number, misfit in enumerate(misfits)
    ]


def test_thresholds_follow_each_domain() -> None:
    labels = judged("easy", [0.0, 0.1, 0.0, 30.0]) + judged("hard", [4.0, 6.0, 5.0, 7.0, 40.0])
    thresholds = derived_thresholds(labels, "misfit")
    assert thresholds == {"easy": 5.0, "hard": pytest.approx(6.0 + 4 * 1.4826 * 1.0)}
    verdict = judge(labels, "misfit", thresholds)
    assert {str(utterance.audio_path) for utterance in verdict.suspects} == {"/easy/3.wav", "/hard/4.wav"}
    assert [one.misfit for one in verdict.ranking[:3]] == [40.0, 30.0, 7.0]
    assert derived_thresholds(labels, "cer") == {"easy": 0.6, "hard": pytest.approx(0.6 + 4 * 1.4826 * 0.1)}


@pytest.mark.parametrize(("share", "n_suspects"), [(0.0, 0), (0.1, 1), (0.5, 5), (1.0, 10)])
def test_a_share_of_each_domain(share: float, n_suspects: int) -> None:
    labels = judged("a", [float(number) for number in range(10)]) + judged("b", [0.0] * 10)
    verdict = judge(labels, "misfit", share_thresholds(labels, "misfit", share))
    assert sum(utterance.domain == "a" for utterance in verdict.suspects) == n_suspects
    assert sum(utterance.domain == "b" for utterance in verdict.suspects) == (10 if share == 1.0 else 0)


def test_nothing_to_judge() -> None:
    assert derived_thresholds([], "misfit") == {}
    assert judge([], "misfit", {}).ranking == ()
