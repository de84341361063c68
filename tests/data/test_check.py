"""Faults, repeats and leaks, each in rows made to have them; worked by hand."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from data.check import KINDS, Finding, Limits, check
from data.examine import Sample
from data.statistics import describe, format_groups, gather
from silero_like.errors import ConfigError
from tests.data.rows import fingerprint_of, sample

SENTENCES = {
    "en": "The quick brown fox jumps over it.",
    "ru": "Съешь ещё этих мягких французских булок.",
    "zh": "我们明天早上一起去公园吧。",
}
DEFAULTS = Limits()


def found(
    samples: list[Sample], against: tuple[Sample, ...] = (), limits: Limits = DEFAULTS
) -> list[tuple[str, str, str]]:
    return [(finding.kind, finding.where, finding.other) for finding in check(samples, against, limits)]


def test_rows_without_faults() -> None:
    assert (
        found(
            [sample(line) for line in range(1, 20)], tuple(sample(line, manifest="b.jsonl") for line in range(20, 40))
        )
        == []
    )


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("shorter", {"found_s": 2.85}),
        ("longer", {"found_s": 3.6}),
        ("silent", {"level_db": -61.0}),
        ("silent", {"silence_share": 0.96}),
        ("clipped", {"clipped_share": 0.002}),
        ("slow", {"text": "a"}),
    ],
)
def test_one_fault_of_one_row(kind: str, changes: dict[str, object]) -> None:
    assert found([sample(1), sample(2, **changes)]) == [(kind, "a.jsonl:2", "")]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changes", [{"found_s": 2.91}, {"found_s": 3.49}, {"clipped_share": 0.0009}, {"level_db": -59.0}]
)
def test_what_still_passes(changes: dict[str, object]) -> None:
    assert found([sample(1, **changes)]) == []  # type: ignore[arg-type]


def test_unreadable_audio_is_one_finding() -> None:
    bad = dataclasses.replace(sample(1), examined=None, problem="a.wav: not audio")
    assert check([bad], (), Limits()) == [
        Finding(kind="unreadable", where="a.jsonl:1", audio_filepath="/audio/a.jsonl/1.wav", detail="a.wav: not audio")
    ]


def test_a_recording_that_holds_other_rows_too_may_go_on() -> None:
    path = Path("/audio/long.wav")
    rows = [sample(1, audio_path=path, found_s=4.0), sample(2, audio_path=path, offset_s=3.0, found_s=4.0)]
    assert found(rows) == []
    assert found(rows[:1]) == [("longer", "a.jsonl:1", "")]


@pytest.mark.parametrize("lang", SENTENCES)
def test_rates_in_three_languages(lang: str) -> None:
    """Twenty characters of Mandarin a second are more than one can say, as are sixty letters."""
    text = SENTENCES[lang]
    assert found([sample(1, text, lang=lang)]) == []
    assert [kind for kind, *_ in found([sample(1, text, lang=lang, duration_s=0.6)])] == ["fast"]


def test_a_han_character_counts_as_three_letters() -> None:
    row = sample(1, "我 today，去", lang="zh")
    assert (row.n_chars, row.n_letters) == (7, 11)
    assert row.chars_per_s == pytest.approx(7 / 3)


def test_numbers_count_as_they_are_said() -> None:
    assert sample(1, "1999").text == "one thousand nine hundred ninety nine"
    assert sample(1, "Straße 7", lang="de").text == "strasse 7"  # no normaliser: lower case


def test_the_same_samples_again() -> None:
    copy = sample(2, sha256=f"{1:064x}")
    assert found([sample(1), copy]) == [("same audio", "a.jsonl:2", "a.jsonl:1")]
    (finding,) = check([sample(1), copy], (), Limits())
    assert finding.detail.startswith("the same samples, but another text: “worda worda")


def test_a_copy_coded_anew_is_known_by_its_sound_where_the_text_is_the_same() -> None:
    """Rows 1 and 2 sound alike to the fingerprint; whether they are one recording is told by their samples."""
    steps = np.frombuffer(bytes.fromhex(fingerprint_of(1)), np.int8)
    near = (steps + np.tile([2, -2], 32).astype(np.int8)).tobytes().hex()  # 1 dB away
    first = sample(1, "yes")
    copy = sample(2, "Yes!", fingerprint=near, duration_s=3.04)
    waveform = np.random.default_rng(0).standard_normal((2, 1000)).astype(np.float32)

    def heard(row: Sample, kept: float = 1.0) -> list[tuple[str, str]]:
        """Check a row after the first, which it is mixed from."""
        audio = {1: waveform[0], 2: kept * waveform[0] + (1 - kept) * waveform[1]}
        findings = check([first, row], (), DEFAULTS, lambda utterance: audio[int(utterance.audio_path.stem)])
        return [(finding.where, finding.other) for finding in findings]

    assert heard(copy, 0.8) == [("a.jsonl:2", "a.jsonl:1")]
    assert heard(copy, 0.6) == []
    assert heard(sample(2, "no", fingerprint=near)) == []
    assert heard(sample(2, "yes", fingerprint=near, duration_s=3.2)) == []
    assert heard(sample(2, "yes", fingerprint=fingerprint_of(5))) == []


def test_silences_are_not_copies_of_each_other() -> None:
    rows = [sample(line, "hmm", level_db=-90.0, sha256="0" * 64, fingerprint="00" * 64) for line in (1, 2)]
    assert {kind for kind, *_ in found(rows)} == {"silent"}


@pytest.mark.parametrize("lang", SENTENCES)
def test_a_sentence_twice_by_one_speaker(lang: str) -> None:
    text = SENTENCES[lang]
    rows = [sample(1, text, lang=lang, speaker="s"), sample(2, text.lower() + "!", lang=lang, speaker="s")]
    assert found(rows) == [("same text", "a.jsonl:2", "a.jsonl:1")]
    assert found([rows[0], sample(2, text, lang=lang, speaker="t")]) == []  # two speakers may say the same
    assert found([sample(1, "stop", speaker="s"), sample(2, "stop", speaker="s")]) == []  # commands are said twice


@pytest.mark.parametrize("lang", SENTENCES)
def test_leaks(lang: str) -> None:
    train = (
        sample(9, SENTENCES[lang], lang=lang, speaker="s", manifest="b.jsonl"),
        sample(10, "yes", manifest="b.jsonl"),
    )
    assert found([sample(1, speaker="s")], train) == [("leak: same speaker", "a.jsonl:1", "b.jsonl:9")]
    assert found([sample(1, SENTENCES[lang].upper(), lang=lang)], train) == [
        ("leak: same sentence", "a.jsonl:1", "b.jsonl:9")
    ]
    assert found([sample(1, sha256=f"{1009:064x}")], train) == [("leak: same audio", "a.jsonl:1", "b.jsonl:9")]
    assert found([sample(1, "yes")], train) == []
    assert found([sample(1, "yes")], train, Limits(sentence=1)) == [("leak: same sentence", "a.jsonl:1", "b.jsonl:10")]


def test_speakers_without_a_name_are_nobody() -> None:
    nameless = [
        dataclasses.replace(row, utterance=dataclasses.replace(row.utterance, speaker=""))
        for row in (sample(1), sample(2))
    ]
    assert found(nameless[:1], tuple(nameless[1:])) == []


def test_findings_come_by_kind() -> None:
    rows = [sample(1, found_s=2.0, clipped_share=0.5), sample(2, found_s=2.0)]
    assert [kind for kind, *_ in found(rows)] == ["shorter", "shorter", "clipped"]
    assert all(kind in KINDS for kind, *_ in found(rows))


def test_impossible_limits() -> None:
    with pytest.raises(ConfigError, match="longer_s = 2: expected above 0 s and below 1 s"):
        Limits(longer_s=2.0)


def test_the_table_worked_by_hand() -> None:
    rows = [
        sample(1, speaker="x", domain="b", annotation="manual", snr_db=10.0),
        sample(2, speaker="x", domain="b", annotation="pseudo", snr_db=30.0, clipped_share=0.01),
        sample(3, speaker="y", domain="a", duration_s=6.0, silence_share=0.8),
        dataclasses.replace(sample(4, domain="a"), examined=None, problem="gone"),
    ]
    groups, total = gather(rows, "domain", Limits()), describe(rows, Limits())
    assert list(groups) == ["a", "b"]
    assert (groups["a"].utterances, groups["a"].unreadable, groups["a"].audio_s) == (1, 1, 6.0)
    assert groups["b"].annotations == {"manual": 1, "pseudo": 1}
    assert (groups["b"].speakers, groups["b"].clipped) == (1, 1)
    assert groups["b"].quantiles["snr_db"] == pytest.approx({"min": 10, "p05": 11, "median": 20, "p95": 29, "max": 30})
    assert total.silence_share == pytest.approx((0.2 * 6 + 0.8 * 6) / 12)
    assert (total.speakers, total.n_bytes) == (3, 0)
    lines = format_groups(groups, total, "domain").splitlines()
    line = "b 2 0.00 0.000 1 3.0 3.0 3.0 6.7 -20 20 8.0 50.0 20.0 manual 1, pseudo 1"
    assert " ".join(lines[2].split()) == line
    assert lines[3].startswith("all")
    assert "–" in format_groups(gather(rows[3:], "domain", Limits()), total, "domain")  # nothing to measure
