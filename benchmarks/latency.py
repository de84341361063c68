"""How soon live speech is recognised on one core, and what that costs in accuracy.

    python -m benchmarks.latency dev.jsonl other.dev.jsonl --utterances 40 --json latency.json

Utterances of the manifests are joined with pauses of 0.8 to 1.6 s, in another order for each stream, and fed in
chunks of 40 ms. One core serves the streams first come, first served. Its clock waits for the next chunk at no cost and
moves by the CPU time of each call, so a run takes less time than the speech, and other processes hardly matter.

* first: from the end of the first word, as `transcribe` places it in the utterance alone, to the first result.
* final: from the end of speech (the last 25 ms within 32 dB of the loudest) to the last final result before the next
  utterance.
* missed: utterances of which nothing was recognised in their time; they are in no latency.
* passes: seconds of audio that go through the model, for a second of speech. Times the model's multiply-adds for a
  second, it is the work.
* CER of the final results of one stream, that of the same audio in one piece, and how far the two texts are apart.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.machine import describe_machine
from data.manifest import read_manifest
from data.text import get_normalizer
from silero_like import load
from silero_like.audio import SAMPLE_RATE, load_audio
from silero_like.evaluation.edits import edit_counts
from silero_like.recognizer import Recognizer
from silero_like.streaming import StreamResult

Array = npt.NDArray[np.float32]

CHUNK = SAMPLE_RATE // 25
SPEECH_DB = 32.0
PAUSE_S = (0.8, 1.6)
EARLY_S = 0.3  # a final result so long before the end of speech counts: only noise or breath came after
HEADER = (
    "latency streams | first: median   p95 | final: median   p95   max | missed |  core passes |    CER  whole  apart"
)


@dataclass(frozen=True)
class Utterance:
    """Speech and what is known of it, in seconds from its own beginning."""

    text: str
    waveform: Array
    start_s: float
    first_word_s: float
    end_s: float


@dataclass(frozen=True)
class Session:
    """What one stream hears."""

    waveform: Array
    utterances: list[Utterance]
    offsets_s: list[float]


@dataclass
class Heard:
    """What one stream gave: results, each with the clock when it was there."""

    results: list[tuple[float, StreamResult]]

    @property
    def text(self) -> str:
        """The final results, joined."""
        return " ".join(result.text for _, result in self.results if result.is_final and result.text)


def main() -> None:
    """Parse arguments, measure, print a table and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifests", nargs="+", type=Path)
    parser.add_argument("--model", help="bundle folder; the bundled one by default")
    parser.add_argument("--utterances", type=int, default=40, help="how many, evenly from all manifests")
    parser.add_argument("--streams", type=int, nargs="*", default=[1, 8])
    parser.add_argument("--latency", type=float, nargs="*", default=[0.32, 0.56, 0.8, 1.2, 2.0])
    parser.add_argument("--json", type=Path, help="where to write the figures")
    arguments = parser.parse_args()
    recognizer = load(arguments.model)
    utterances = read_utterances(recognizer, arguments.manifests, arguments.utterances)
    rows = []
    print(HEADER)
    for latency_s in arguments.latency:
        for n_streams in arguments.streams:
            rows.append(measure(recognizer, utterances, latency_s, n_streams))
            print(format_row(rows[-1]), flush=True)
    if arguments.json:
        figures = {"machine": describe_machine(), "model": recognizer.config.name, "rows": rows}
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")


def format_row(row: dict[str, Any]) -> str:
    """Return a line of the table."""
    return (
        f"{row['latency_s']:7.2f} {row['streams']:7} | {row['first_s'][0]:13.2f} {row['first_s'][1]:5.2f} | "
        f"{row['final_s'][0]:13.2f} {row['final_s'][1]:5.2f} {row['final_s'][2]:5.2f} | {row['missed']:6} | "
        f"{row['core_share']:5.0%} {row['passes']:6.1f} | "
        f"{row['cer']:6.2%} {row['cer_whole']:6.2%} {row['apart']:6.2%}"
    )


def measure(recognizer: Recognizer, utterances: list[Utterance], latency_s: float, n_streams: int) -> dict[str, Any]:
    """Serve some streams at once; return latencies as median, 95th percentile and maximum, and error rates."""
    sessions = [join(utterances, seed) for seed in range(n_streams)]
    counted = _CountedAudio(recognizer)
    heard, busy_s = serve(recognizer, sessions, latency_s)
    passes = counted.stop() / sum(len(session.waveform) for session in sessions)
    firsts, finals, n_missed = [], [], 0
    for session, results in zip(sessions, heard, strict=True):
        for first, final in latencies(session, results):
            if first is None or final is None:
                n_missed += 1
            else:
                firsts.append(first)
                finals.append(final)
    if not firsts:
        raise SystemExit("nothing was recognised of any utterance: is the model for their language?")
    duration_s = max(len(session.waveform) for session in sessions) / SAMPLE_RATE
    return {
        "latency_s": latency_s,
        "streams": n_streams,
        "first_s": _summary(firsts),
        "final_s": _summary(finals),
        "missed": n_missed,
        "core_share": busy_s / duration_s,
        "passes": passes,
        **error_rates(recognizer, sessions[0], heard[0]),  # the others hear the same in another order
    }


def serve(recognizer: Recognizer, sessions: Sequence[Session], latency_s: float) -> tuple[list[Heard], float]:
    """Feed every session in real time to one core; return what each stream gave, and the core's busy seconds."""
    streams = [recognizer.stream(latency_s=latency_s) for _ in sessions]
    heard = [Heard([]) for _ in sessions]
    shift = CHUNK / SAMPLE_RATE / len(sessions)  # chunks of different streams do not arrive in the same instant
    arrivals = sorted(
        (
            (min(start + CHUNK, len(session.waveform)) / SAMPLE_RATE + shift * number, number, start)
            for number, session in enumerate(sessions)
            for start in range(0, len(session.waveform), CHUNK)
        ),
    )
    clock = busy_s = 0.0
    for arrival, number, start in arrivals:
        started = time.process_time()
        results = streams[number].accept_waveform(sessions[number].waveform[start : start + CHUNK])
        cost = time.process_time() - started
        clock, busy_s = max(clock, arrival) + cost, busy_s + cost
        heard[number].results += [(clock, result) for result in results]
    for stream, each in zip(streams, heard, strict=True):
        each.results += [(clock, result) for result in stream.finish()]
    return heard, busy_s


def latencies(session: Session, heard: Heard) -> list[tuple[float | None, float | None]]:
    """Return (first, final) of every utterance, None where there was no such result in its time."""
    found = []
    starts = [offset + each.start_s for offset, each in zip(session.offsets_s, session.utterances, strict=True)]
    times = zip(session.offsets_s, session.utterances, starts, [*starts[1:], np.inf], strict=True)
    for offset, utterance, start, until in times:
        end = offset + utterance.end_s
        first = [when for when, result in heard.results if start <= when < until and result.text]
        final = [when for when, result in heard.results if end - EARLY_S <= when < until and result.is_final]
        found.append(
            (first[0] - offset - utterance.first_word_s if first else None, final[-1] - end if final else None)
        )
    return found


def error_rates(recognizer: Recognizer, session: Session, heard: Heard) -> dict[str, float]:
    """Compare one stream's text with the references, and with the same audio recognised in one piece."""
    reference = " ".join(utterance.text for utterance in session.utterances)
    whole = recognizer.transcribe(session.waveform).text
    return {
        "cer": edit_counts(reference, heard.text).errors / len(reference),
        "cer_whole": edit_counts(reference, whole).errors / len(reference),
        "apart": edit_counts(whole, heard.text).errors / max(1, len(whole)),
    }


def read_utterances(recognizer: Recognizer, manifests: Sequence[Path], n_utterances: int) -> list[Utterance]:
    """Take utterances evenly from manifests, and find where speech begins and ends in each."""
    normalize, found = get_normalizer(recognizer.config.lang), []
    for path in manifests:
        rows, n_rows = read_manifest(path).utterances, max(1, n_utterances // len(manifests))
        for row in rows[:: max(1, len(rows) // n_rows)][:n_rows]:
            waveform = load_audio(row.audio_path, offset_s=row.offset_s, duration_s=row.duration_s)
            start_s, end_s = speech_edges(waveform)
            words = recognizer.transcribe(waveform).words
            found.append(Utterance(normalize(row.text), waveform, start_s, words[0].end if words else end_s, end_s))
    return found


def speech_edges(waveform: Array) -> tuple[float, float]:
    """Return the seconds at which the first and the last 25 ms near the loudest begin and end."""
    starts = range(0, max(1, len(waveform) - 400), 160)
    energy = np.array([np.mean(waveform[start : start + 400] ** 2) for start in starts])
    level_db = 10 * np.log10(1e-18 + energy)
    loud = np.flatnonzero(level_db > level_db.max() - SPEECH_DB)
    return loud[0] * 0.01, loud[-1] * 0.01 + 0.025


def join(utterances: Sequence[Utterance], seed: int) -> Session:
    """Put utterances in a random order, a pause of faint noise behind each."""
    generator = np.random.default_rng(seed)
    order = [utterances[i] for i in generator.permutation(len(utterances))]
    parts: list[Array] = []
    offsets, n_samples = [], 0
    for utterance in order:
        pause = 1e-4 * generator.standard_normal(int(generator.uniform(*PAUSE_S) * SAMPLE_RATE))
        offsets.append(n_samples / SAMPLE_RATE)
        parts += [utterance.waveform, pause.astype(np.float32)]
        n_samples += len(utterance.waveform) + len(pause)
    return Session(np.concatenate(parts), order, offsets)


class _CountedAudio:
    """Counts the samples that go through a recogniser's model."""

    def __init__(self, recognizer: Recognizer) -> None:
        self._runtime, self._log_probs, self._n_samples = recognizer.runtime, recognizer.runtime.log_probs, 0
        self._runtime.log_probs = self._count  # type: ignore[method-assign]

    def _count(self, waveform: Array) -> Array:
        self._n_samples += len(waveform)
        return self._log_probs(waveform)

    def stop(self) -> int:
        self._runtime.log_probs = self._log_probs  # type: ignore[method-assign]
        return self._n_samples


def _summary(values: Sequence[float]) -> list[float]:
    return [round(float(value), 3) for value in np.percentile(values, [50, 95, 100])]


if __name__ == "__main__":
    main()
