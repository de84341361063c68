"""Peak memory of `silero-like transcribe` on long recordings, and what cutting them into windows does to the text.

    python -m benchmarks.memory                          # one hour and ten, greedy and beam: some ten minutes
    python -m benchmarks.memory --hours 0.2 0.5 --decoders beam --suffix opus

The recordings are dev speech (the corpus's, or that of --manifests), repeated in another order each time, written in a
temporary folder. Each is transcribed by a process of its own; its peak is that of resident memory, files it has mapped
included. The bars: under 600 MB, and with the longest file within 15 % of the peak with the shortest.

The text of the shortest file, cut into the usual windows, is compared with that in windows four times as long, whose
inner part sees the same audio: the share of the words that are the same is to be at least 99.9 %.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.machine import bar, machine_lines, write_figures
from benchmarks.speech import read_utterances, read_waveform, repeated, write_sound
from decode.greedy import greedy_align_parts
from silero_like import load
from silero_like.audio import stream_audio
from silero_like.evaluation.edits import edit_distance
from silero_like.recognizer import Recognizer
from silero_like.runtime import WINDOW_S
from silero_like.speed import run_command

MAX_MB = 600.0
MAX_GROWTH = 1.15
MIN_SAME = 0.999


def main() -> None:
    """Parse arguments, measure, print a table and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--manifests", nargs="*", type=Path, default=[], help="[default: the corpus's English dev sets]"
    )
    parser.add_argument("--hours", type=float, nargs="+", default=[1.0, 10.0], help="lengths [default: 1 10]")
    parser.add_argument("--decoders", nargs="+", default=["greedy", "beam"], choices=["greedy", "beam"])
    parser.add_argument("--suffix", choices=["flac", "opus"], default="flac", help="[default: flac]")
    parser.add_argument("--model", help="a bundle [default: the bundled model]")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        print(f"{'hours':>6} {'decoder':8} {'peak MB':>8} {'wall s':>7} {'core s':>7} {'words':>7}")
        for hours in sorted(arguments.hours):
            path = make_recording(arguments.manifests, hours, Path(folder) / f"{hours:g}.{arguments.suffix}")
            for decoder in arguments.decoders:
                rows.append(measure(path, hours, decoder, arguments.model))
                print(format_row(rows[-1]), flush=True)
            if hours == min(arguments.hours):
                same = same_words(load(arguments.model, decoder="greedy"), path)
                print(f"{same:.3%} of the words are those of windows four times as long (bar: {MIN_SAME:.1%})")
            path.unlink()
    bars = check_bars(rows, same)
    print(*bars, machine_lines(), sep="\n")
    write_figures(arguments.json, {"bars": bars, "same_words": same, "rows": rows})


def make_recording(manifests: list[Path], hours: float, path: Path) -> Path:
    """Write dev speech again and again."""
    waveforms = [read_waveform(row) for row in read_utterances(manifests)]
    return write_sound(path, repeated(waveforms, 3600 * hours))


def measure(path: Path, hours: float, decoder: str, model: str | None) -> dict[str, Any]:
    """Transcribe a file in a process of its own."""
    options = ["--decoder", decoder, "--format", "json", *(["--model", model] if model else [])]
    run = run_command(["transcribe", path, *options])
    n_words = len(json.loads(run.output)["words"])
    return {
        "hours": hours,
        "decoder": decoder,
        "peak_mb": run.peak_mb,
        "wall_s": run.wall_s,
        "core_s": run.core_s,
        "words": n_words,
    }


def same_words(recognizer: Recognizer, path: Path) -> float:
    """Return the share of the words that two ways to cut a recording have in common."""
    texts = []
    for window_s in (WINDOW_S, 4 * WINDOW_S):
        parts = recognizer.runtime.stream_log_probs(stream_audio(path), window_s)
        alignment = greedy_align_parts(parts, recognizer.config.blank_id)
        texts.append(recognizer.tokenizer.decode(alignment.token_ids).split())
    return 1 - edit_distance(*texts) / max(1, len(texts[0]))


def check_bars(rows: list[dict[str, Any]], same: float) -> list[str]:
    """Compare with what is asked for."""
    bars = [
        bar("MB at the most", max(row["peak_mb"] for row in rows), at_most=MAX_MB),
        bar("of the words the same", same, at_least=MIN_SAME),
    ]
    for decoder in sorted({row["decoder"] for row in rows}):
        peaks = [row["peak_mb"] for row in rows if row["decoder"] == decoder]
        name = f"times the memory, longest file by shortest, {decoder}"
        bars.append(bar(name, peaks[-1] / peaks[0], at_most=MAX_GROWTH))
    return bars


def format_row(row: dict[str, Any]) -> str:
    """Return a line of the table."""
    return (
        f"{row['hours']:6g} {row['decoder']:8} {row['peak_mb']:8.0f} {row['wall_s']:7.1f} {row['core_s']:7.1f} "
        f"{row['words']:7}"
    )


if __name__ == "__main__":
    main()
