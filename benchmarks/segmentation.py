"""How well `data segment` and `data subtitles` find utterances in an hour whose truth is known.

    python -m benchmarks.segmentation --corpus ../shared/corpus --split dev-b --seeds 2 3 4 --json segmentation.json
    python -m benchmarks.segmentation --corpus ../shared/corpus --lengths 0.5 1 2 4

Utterances are joined with pauses of 0.3 to 3 s in noise at 10 to 20 dB (`benchmarks.joined`; needs the [vad] extra).
The text is the transcript, whole, and with a tenth of its sentences missing, extra (from elsewhere) or swapped;
subtitles have every cue shifted by up to 2 s and a twentieth of the lines wrong. A sentence that is kept where
something else is said counts as wrong. Thresholds were chosen on dev-a, half of the utterances. --lengths measures
time and memory of the command on training speech.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.joined import PARTS, Spoken, pick, write_recording
from benchmarks.machine import describe_machine
from benchmarks.outcomes import VERSIONS, Line, Outcome, outcomes, spoiled, subtitled, tally
from data.segment import Heard, Segmenter, Sentence
from data.utterances import CUE_EVIDENCE, without_strays
from silero_like.audio import stream_audio
from silero_like.recognizer import load


def main() -> None:
    """Parse arguments, measure, print tables and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, default=Path(os.environ.get("SILERO_LIKE_CORPUS", "../shared/corpus")))
    parser.add_argument("--split", choices=["train", *PARTS], default="dev", help="speech to join")
    parser.add_argument("--seeds", type=int, nargs="+", default=[2], help="a recording and its texts for each")
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
    """Measure all versions of the text, and subtitles, on a recording for each seed, taken together."""
    segmenter = Segmenter(load(arguments.model, decoder="greedy"))
    rows: dict[str, list[Outcome]] = {version: [] for version in (*VERSIONS, "subtitles")}
    peers: dict[str, list[Outcome]] = {version: [] for version in VERSIONS if arguments.peer}
    n_unread, late_s = 0, (0.0, 0.0)
    for seed in arguments.seeds:
        path, spoken = make(arguments, seed, arguments.split, 1.0, trim=True)
        utterances = pick(arguments.corpus, "train", 1.0, np.random.default_rng(1000 + seed))
        spare = [row.text for row in utterances]
        heard = segmenter.hear(path)
        print(f"{path.name}: {len(spoken)} utterances, {heard.duration_s / 3600:.2f} h", flush=True)
        for version in VERSIONS:
            lines = spoiled(spoken, version, spare, np.random.default_rng(seed))
            texts = [line.text for line in lines]
            found = segmenter.find_in(heard, stream_audio(path), texts, min_score=arguments.min_score)
            rows[version] += outcomes(lines, found, spoken, segmenter.normalize)
            if arguments.peer:
                theirs = peer_sentences(heard, segmenter, texts)
                # its times are early by habit: they are moved by what is best for it on the whole text
                late_s = median_errors(lines, theirs) if version == "whole" else late_s
                theirs = [replace(one, start=one.start - late_s[0], end=one.end - late_s[1]) for one in theirs]
                peers[version] += outcomes(lines, theirs, spoken, segmenter.normalize)
        lines, cues = subtitled(spoken, spare, np.random.default_rng(seed))
        n_unread += len(spoken) - len(lines)
        texts = [cue.text for cue in cues]
        found = segmenter.find_in(heard, stream_audio(path), texts, min_score=arguments.min_score, known=CUE_EVIDENCE)
        rows["subtitles"] += outcomes(lines, without_strays(found, cues), spoken, segmenter.normalize)
    print("text               intact kept  wrong kept  boundaries  precision")
    counts = {version: show(version, tally(rows[version], n_unread * (version == "subtitles"))) for version in rows}
    strict = {name: show(f"peer, {name}", as_strict_as(counts[name], peers[name])) for name in peers}
    return {"rows": counts, "ctc-segmentation": strict}


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
    pairs = [(one, line.spoken) for line, one in zip(lines, found, strict=True) if line.spoken]
    start, end = np.median([(one.start - true.start, one.end - true.end) for one, true in pairs], axis=0)
    return float(start), float(end)


def as_strict_as(ours: dict[str, Any], rows: Sequence[Outcome]) -> dict[str, Any]:
    """Count the peer's, with its lowest scores dropped until it keeps no more wrong sentences than we do."""
    counts: dict[str, Any] = {}
    for threshold in np.quantile([row.found.score for row in rows], np.linspace(0, 0.99, 100)):
        counts = tally([row if row.found.score >= threshold else row.left_out() for row in rows])
        if (counts["wrong_kept"] or 0) <= (ours["wrong_kept"] or 0):
            break
    return counts


def show(name: str, row: dict[str, Any]) -> dict[str, Any]:
    """Print a row of the table and return it."""
    wrong = "-" if row["wrong_kept"] is None else f"{row['wrong_kept']:.3f}"
    kept, boundaries = row["intact_kept"], row["boundaries"]
    print(f"{name:17} {kept:12.3f} {wrong:>11} {boundaries:11.3f} {row['precision']:10.3f}")
    domains = (f"{domain} {d['kept']:.2f}/{d['boundaries']:.2f}" for domain, d in row["domains"].items())
    print("    kept/boundaries: " + ", ".join(domains), flush=True)
    return row


def make(
    arguments: argparse.Namespace, seed: int, split: str, hours: float, *, trim: bool
) -> tuple[Path, list[Spoken]]:
    """Make a recording, or take the one that was made before."""
    path = arguments.work / f"{split}-{hours:g}h-{seed}{'' if trim else '-untrimmed'}.flac"
    truth = path.with_suffix(".json")
    if not truth.exists():
        rng = np.random.default_rng(seed)
        spoken = write_recording(path, pick(arguments.corpus, split, hours, rng), arguments.corpus, rng, trim=trim)
        truth.write_text(json.dumps([asdict(one) for one in spoken]))
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
    path, spoken = make(arguments, arguments.seeds[0], "train", hours, trim=False)
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
