"""How well `data segment` and `data subtitles` find utterances in an hour whose truth is known.

    python -m benchmarks.segmentation --corpus ../shared/corpus --split dev --json segmentation.json
    python -m benchmarks.segmentation --corpus ../shared/corpus --lengths 0.5 1 2 4

Utterances are joined with pauses of 0.3 to 3 s in noise at 10 to 20 dB (`benchmarks.joined`; needs the [vad] extra).
The text is the transcript, whole, and with a tenth of its sentences missing, extra (from elsewhere) or swapped;
subtitles have every cue shifted by up to 2 s and a twentieth of the lines wrong. A sentence that is kept where
something else is said counts as wrong. --lengths measures time and memory of the command on training speech.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.joined import PARTS, Spoken, pick, write_recording
from benchmarks.machine import describe_machine
from data.segment import Heard, Segmenter, Sentence
from data.subtitles import Cue, parse_subtitles
from data.utterances import without_strays
from silero_like.audio import stream_audio
from silero_like.recognizer import load

VERSIONS = ("whole", "missing", "extra", "swapped")
TOLERANCE_S = 0.25
SHARE = 0.1
WRONG_LINES = 0.05
SHIFT_S = 2.0


@dataclass(frozen=True)
class Line:
    """A line of a text; `spoken` is None where nobody says it there."""

    text: str
    spoken: Spoken | None


def main() -> None:
    """Parse arguments, measure, print tables and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, default=Path(os.environ.get("SILERO_LIKE_CORPUS", "../shared/corpus")))
    parser.add_argument("--split", choices=["train", *PARTS], default="dev", help="speech to join")
    parser.add_argument("--seed", type=int, default=2, help="of the recording and its texts")
    parser.add_argument("--model", help="bundle [default: bundled English]")
    parser.add_argument("--min-score", type=float, help="in place of the default")
    parser.add_argument(
        "--lengths", type=float, nargs="*", default=[], help="hours to measure time and memory of, alone"
    )
    parser.add_argument("--peer", action="store_true", help="compare with the package ctc-segmentation")
    parser.add_argument("--work", type=Path, default=Path("/tmp/segmentation"), help="where recordings are kept")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    figures: dict[str, Any] = {"machine": describe_machine()}
    print(json.dumps(figures["machine"]))
    if arguments.lengths:
        figures["lengths"] = [measure_length(arguments, hours) for hours in arguments.lengths]
    else:
        figures |= measure_quality(arguments)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")


def measure_quality(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure all versions of the text, and subtitles, on one recording."""
    path, spoken = make(arguments, arguments.split, 1.0, trim=True)
    spare = [row.text for row in pick(arguments.corpus, "train", 1.0, np.random.default_rng(1000 + arguments.seed))]
    segmenter = Segmenter(load(arguments.model, decoder="greedy"))
    heard = segmenter.hear(path)
    print(f"{path.name}: {len(spoken)} utterances, {heard.duration_s / 3600:.2f} h")
    print("text               intact kept  wrong kept  boundaries  precision  core s")
    rows: dict[str, Any] = {}
    peers: dict[str, Any] = {}
    bias = (0.0, 0.0)  # its times are early by habit: they are moved by what is best for it on the whole text
    for version in VERSIONS:
        lines = spoiled(spoken, version, spare, np.random.default_rng(arguments.seed))
        texts = [line.text for line in lines]
        started = time.process_time()
        found = segmenter.find_in(heard, stream_audio(path), texts, min_score=arguments.min_score)
        core_s = time.process_time() - started
        rows[version] = show(version, count(lines, found, segmenter), core_s)
        if arguments.peer:
            started = time.process_time()
            theirs = peer_sentences(heard, segmenter, texts)
            core_s = time.process_time() - started
            if version == "whole":
                bias = median_errors(lines, theirs)
            theirs = [dataclasses.replace(one, start=one.start - bias[0], end=one.end - bias[1]) for one in theirs]
            strict = as_strict_as(rows[version], lines, theirs, segmenter)
            peers[version] = show("ctc-segmentation", count(lines, strict, segmenter), core_s)
    started = time.process_time()
    lines, found = find_cues(segmenter, heard, path, spoken, spare, arguments)
    rows["subtitles"] = show("subtitles", count(lines, found, segmenter), time.process_time() - started)
    return {"rows": rows, "ctc-segmentation": peers}


def spoiled(spoken: Sequence[Spoken], version: str, spare: Sequence[str], rng: np.random.Generator) -> list[Line]:
    """Return the transcript with a tenth of its sentences missing, extra or swapped."""
    lines = [Line(one.text, one) for one in spoken]
    n = round(SHARE * len(lines))
    if version == "swapped":
        for a, b in rng.permutation(len(lines))[: n // 2 * 2].reshape(-1, 2):
            lines[a], lines[b] = Line(lines[b].text, None), Line(lines[a].text, None)
    elif version == "missing":
        gone = set(rng.permutation(len(lines))[:n].tolist())
        lines = [line for number, line in enumerate(lines) if number not in gone]
    elif version == "extra":
        for place in sorted(rng.integers(0, len(lines) + 1, n).tolist(), reverse=True):
            lines.insert(place, Line(spare[int(rng.integers(len(spare)))], None))
    return lines


def find_cues(
    segmenter: Segmenter,
    heard: Heard,
    path: Path,
    spoken: Sequence[Spoken],
    spare: Sequence[str],
    arguments: argparse.Namespace,
) -> tuple[list[Line], list[Sentence]]:
    """Write subtitles with shifted cues and wrong lines among music and noises, read them, and find the cues."""
    rng = np.random.default_rng(arguments.seed)
    wrong = set(rng.permutation(len(spoken))[: round(WRONG_LINES * len(spoken))].tolist())
    cues = [
        Cue(
            max(0.0, one.start + shift),
            max(0.1, one.end + shift),
            spare[number % len(spare)] if number in wrong else one.text,
        )
        for number, (one, shift) in enumerate(zip(spoken, rng.uniform(-SHIFT_S, SHIFT_S, len(spoken)), strict=True))
    ]
    line_of = {number: Line(cue.text, None if number in wrong else spoken[number]) for number, cue in enumerate(cues)}
    blocks = [
        f"{number}\n{stamp(cue.start)} --> {stamp(cue.end)}\n<i>{cue.text}</i> [noise]\n"
        for number, cue in enumerate(cues)
    ]
    blocks[10:10] = ["00:00:01,000 --> 00:00:02,000\n[music]\n"]
    read = parse_subtitles("\n".join(blocks)).cues
    ordered = [
        line_of[number]
        for number in sorted(line_of, key=lambda number: (round(cues[number].start, 3), round(cues[number].end, 3)))
    ]
    if len(read) != len(ordered):
        raise SystemExit(f"expected {len(ordered)} cues, read {len(read)}")
    found = segmenter.find_in(heard, stream_audio(path), [cue.text for cue in read], min_score=arguments.min_score)
    return ordered, without_strays(found, read)


def stamp(seconds: float) -> str:
    """Write a time as SRT does."""
    whole, milliseconds = divmod(round(seconds * 1000), 1000)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02},{milliseconds:03}"


def count(lines: Sequence[Line], found: Sequence[Sentence], segmenter: Segmenter) -> dict[str, Any]:
    """Compare what was kept with the truth."""
    kept = [(line, one) for line, one in zip(lines, found, strict=True) if not one.dropped]
    intact = [line for line in lines if line.spoken]
    wrong = [line for line in lines if not line.spoken]
    spoken = [line.spoken for line in intact if line.spoken]
    right = [is_said(line, one, spoken, segmenter) for line, one in kept]
    good = [(line, one) for (line, one), ok in zip(kept, right, strict=True) if line.spoken and ok]
    exact = [is_exact(line.spoken, one) for line, one in good if line.spoken]
    n_wrong = sum(not line.spoken and not ok for (line, _), ok in zip(kept, right, strict=True))
    domains = sorted({one.domain for one in spoken})
    return {
        "intact": len(intact),
        "intact_kept": len(good) / len(intact),
        "wrong": len(wrong),
        "wrong_kept": n_wrong / len(wrong) if wrong else None,
        "boundaries": sum(exact) / max(1, sum(line.spoken is not None for line, _ in kept)),
        "precision": sum(right) / max(1, len(right)),
        "domains": {
            domain: {
                "kept": share([line.spoken for line, _ in good], [line.spoken for line in intact], domain),
                "boundaries": float(
                    np.mean(
                        [
                            ok
                            for ok, (line, _) in zip(exact, good, strict=True)
                            if line.spoken and line.spoken.domain == domain
                        ]
                        or [False]
                    )
                ),
            }
            for domain in domains
        },
    }


def share(part: Sequence[Spoken | None], whole: Sequence[Spoken | None], domain: str) -> float:
    """Return which share of a domain's utterances is in a part."""
    return sum(one.domain == domain for one in part if one) / sum(one.domain == domain for one in whole if one)


def is_said(line: Line, one: Sentence, spoken: Sequence[Spoken], segmenter: Segmenter) -> bool:
    """Tell whether a kept sentence lies where its words are said: by its own utterance or one of the same text."""

    def overlap(other: Spoken) -> float:
        return min(one.end, other.end) - max(one.start, other.start)

    there = line.spoken if line.spoken and overlap(line.spoken) > 0 else max(spoken, key=overlap)
    shared = overlap(there) > 0.5 * min(one.end - one.start, there.end - there.start)
    return shared and segmenter.normalize(there.text) == segmenter.normalize(line.text)


def is_exact(spoken: Spoken | None, one: Sentence) -> bool:
    """Tell whether both boundaries are near the truth."""
    return spoken is not None and max(abs(one.start - spoken.start), abs(one.end - spoken.end)) <= TOLERANCE_S


def peer_sentences(heard: Heard, segmenter: Segmenter, texts: Sequence[str]) -> list[Sentence]:
    """Segment with the package ctc-segmentation, on the same log_probs and tokens, all sentences kept."""
    import ctc_segmentation as ctc

    config = ctc.CtcSegmentationParameters()
    config.char_list = [*segmenter.pieces, "<blank>"]
    config.blank = len(segmenter.pieces)
    config.index_duration = heard.duration_s / len(heard.log_probs)
    tokens = [np.array(segmenter.tokens(text)) for text in texts]
    matrix, begins = ctc.prepare_token_list(config, tokens)
    timings, char_probs, _ = ctc.ctc_segmentation(config, heard.log_probs.astype(np.float32), matrix)
    segments = ctc.determine_utterance_segments(config, begins, char_probs, timings, list(texts))
    return [
        Sentence(text, "", max(0.0, start), max(0.0, end), score)
        for text, (start, end, score) in zip(texts, segments, strict=True)
    ]


def median_errors(lines: Sequence[Line], found: Sequence[Sentence]) -> tuple[float, float]:
    """Return by how much starts and ends are late."""
    errors = [
        (one.start - line.spoken.start, one.end - line.spoken.end)
        for line, one in zip(lines, found, strict=True)
        if line.spoken
    ]
    start, end = np.median(errors, axis=0)
    return float(start), float(end)


def as_strict_as(
    ours: dict[str, Any], lines: Sequence[Line], found: Sequence[Sentence], segmenter: Segmenter
) -> list[Sentence]:
    """Drop the peer's lowest scores until it keeps no more wrong sentences than we do."""
    best = list(found)
    for threshold in np.quantile([one.score for one in found], np.linspace(0, 0.99, 100)):
        best = [dataclasses.replace(one, dropped="" if one.score >= threshold else "low score") for one in found]
        counts = count(lines, best, segmenter)
        if (counts["wrong_kept"] or 0) <= (ours["wrong_kept"] or 0):
            break
    return best


def show(name: str, row: dict[str, Any], core_s: float) -> dict[str, Any]:
    """Print a row of the table and return it with the time it took."""
    wrong = "-" if row["wrong_kept"] is None else f"{row['wrong_kept']:.3f}"
    kept, boundaries = row["intact_kept"], row["boundaries"]
    print(f"{name:17} {kept:12.3f} {wrong:>11} {boundaries:11.3f} {row['precision']:10.3f} {core_s:7.1f}")
    domains = (f"{domain} {d['kept']:.2f}/{d['boundaries']:.2f}" for domain, d in row["domains"].items())
    print("    kept/boundaries: " + ", ".join(domains), flush=True)
    return {**row, "core_s": round(core_s, 1)}


def make(arguments: argparse.Namespace, split: str, hours: float, *, trim: bool) -> tuple[Path, list[Spoken]]:
    """Make a recording, or take the one that was made before."""
    path = arguments.work / f"{split}-{hours:g}h-{arguments.seed}{'' if trim else '-untrimmed'}.flac"
    truth = path.with_suffix(".json")
    if not truth.exists():
        rng = np.random.default_rng(arguments.seed)
        spoken = write_recording(path, pick(arguments.corpus, split, hours, rng), arguments.corpus, rng, trim=trim)
        truth.write_text(json.dumps([dataclasses.asdict(one) for one in spoken]))
    return path, [Spoken(**one) for one in json.loads(truth.read_text())]


_MEASURE = """
import resource, sys
from silero_like.cli import main
try: main(sys.argv[1:])
except SystemExit as end: code = end.code
usage = resource.getrusage(resource.RUSAGE_SELF)
print(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, file=sys.stderr)
sys.exit(code)
"""


def measure_length(arguments: argparse.Namespace, hours: float) -> dict[str, Any]:
    """Measure processor time and memory of the command on so many hours."""
    path, spoken = make(arguments, "train", hours, trim=False)
    text = path.with_suffix(".txt")
    text.write_text("".join(one.text + "\n" for one in spoken))
    command = [sys.executable, "-c", _MEASURE, "data", "segment", str(path), str(text)]
    command.append(str(path.with_suffix(".jsonl")))
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    core_s, memory_mb = map(float, done.stderr.split()[-2:])
    summary = json.loads(done.stdout)
    row = {"hours": summary["audio_s"] / 3600, "core_s": core_s, "memory_mb": memory_mb}
    row["kept"] = summary["utterances"] / summary["sentences"]
    print(f"{row['hours']:6.2f} h {core_s:7.1f} core s {memory_mb:7.0f} MB, kept {row['kept']:.2f}", flush=True)
    return row


if __name__ == "__main__":
    main()
