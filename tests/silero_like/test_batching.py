"""Many recordings: neither batches nor processes change the text or the order, and only what is bad fails."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pytest
import soundfile

from decode.times import Decoded
from silero_like import load
from silero_like.audio import load_audio
from silero_like.batching import SHORT_S, transcribe_batch
from silero_like.cli.inputs import GROUP_BYTES, GROUP_FILES, Recording, grouped
from silero_like.cli.jobs import Jobs
from silero_like.errors import AudioError
from silero_like.recognizer import Recognizer, Transcript

if TYPE_CHECKING:
    from conftest import StandIn

Array = npt.NDArray[np.float32]
COMMAND = [sys.executable, "-c", "from silero_like.cli import main; main()", "transcribe"]
TEXTS = ["one", "two three four five", "", "six seven", "three " * 9 + "one", "four four", "five six seven one two"]


@pytest.fixture
def talks(stand_in: StandIn, tmp_path: Path) -> list[Path]:
    """Recordings of `TEXTS`, from a sixth of a second to more than `SHORT_S`; and one that is none."""
    folder = tmp_path / "talks"
    folder.mkdir()
    paths = [folder / f"{number}.wav" for number in range(len(TEXTS))]
    for path, text in zip(paths, TEXTS, strict=True):
        soundfile.write(path, stand_in.speak(text), 16000)
    assert soundfile.info(paths[4]).duration > SHORT_S
    bad = folder / "3-bad.wav"
    bad.write_text("not a recording")
    return [*paths[:4], bad, *paths[4:]]


@pytest.mark.parametrize("batch_size", [1, 2, 16])
def test_a_batch_is_each_alone(stand_in: StandIn, talks: list[Path], batch_size: int) -> None:
    recognizer = load(stand_in.path)
    outcomes = transcribe_batch(recognizer, [str(path) for path in talks], batch_size=batch_size)
    assert isinstance(outcomes.pop(4), AudioError)
    del talks[4]
    assert [outcome.text for outcome in outcomes if isinstance(outcome, Transcript)] == [text.strip() for text in TEXTS]
    for path, outcome in zip(talks, outcomes, strict=True):
        assert isinstance(outcome, Transcript)
        alone = recognizer.transcribe(path)
        assert (outcome.audio_filepath, outcome.duration) == (str(path), alone.duration)
        assert [(word.word, word.start, word.end) for word in outcome.words] == [
            (word.word, word.start, word.end) for word in alone.words
        ]
        assert outcome.confidence == pytest.approx(alone.confidence, abs=1e-4)


def test_a_call_holds_similar_lengths_and_no_more_than_it_may(
    stand_in: StandIn, talks: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    recognizer = load(stand_in.path)
    calls: list[list[int]] = []
    compute = recognizer.runtime.log_probs_batch

    def record(waveforms: Sequence[Array]) -> list[Array]:
        calls.append([len(waveform) for waveform in waveforms])
        return compute(waveforms)

    monkeypatch.setattr(recognizer.runtime, "log_probs_batch", record)
    transcribe_batch(recognizer, [str(path) for path in (*talks[:4], *talks[6:]) for _ in range(5)], batch_size=8)
    lengths = [length for call in calls for length in call]
    assert len(lengths) == 30
    assert lengths == sorted(lengths)
    assert max(map(len, calls)) == 8
    assert max(len(call) * max(call) for call in calls) <= 20 * 16000


def test_only_the_guilty_of_a_batch_fails(
    stand_in: StandIn, talks: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    recognizer = load(stand_in.path)
    decode = recognizer.decoder.decode_parts

    def breaks_once(parts: Iterable[Array], n_best: int = 1) -> Decoded:
        decoded = decode(parts)
        if len(decoded.alignment.token_ids) == len(stand_in.tokenizer.encode(TEXTS[1])):
            raise ZeroDivisionError("a bug")
        return decoded

    monkeypatch.setattr(recognizer.decoder, "decode_parts", breaks_once)
    outcomes = transcribe_batch(recognizer, [str(path) for path in talks[:4]])
    texts = [outcome.text if isinstance(outcome, Transcript) else repr(outcome) for outcome in outcomes]
    assert texts == [TEXTS[0], "ZeroDivisionError('a bug')", "", TEXTS[3]]


@pytest.mark.parametrize("jobs", [1, 2, 3])
def test_jobs_change_neither_text_nor_order(stand_in: StandIn, talks: list[Path], jobs: int) -> None:
    command = [*COMMAND, "--model", str(stand_in.path), "--jobs", str(jobs), *map(str, talks)]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    good = zip([*talks[:4], *talks[5:]], TEXTS, strict=True)
    assert process.stdout == "".join(f"{path}\t{text.strip()}\n" for path, text in good)
    error, summary = process.stderr.splitlines()
    assert error.startswith(f"Error: {talks[4]}: not audio")
    assert (process.returncode, summary) == (1, "1 of 8 inputs failed")


def test_standard_input_is_for_one_process(stand_in: StandIn, talks: list[Path]) -> None:
    command = [*COMMAND, "--model", str(stand_in.path), "--jobs", "2", "-"]
    with talks[1].open("rb") as file:
        alone = subprocess.run(command, stdin=file, capture_output=True, text=True, check=True)
    assert alone.stdout == f"{TEXTS[1]}\n"
    both = subprocess.run([*command, str(talks[0])], input="", capture_output=True, text=True, check=False)
    assert both.returncode == 2
    assert "standard input cannot be shared by --jobs" in both.stderr


def _square(numbers: Sequence[int]) -> list[int]:
    """Square numbers; 0 takes long, and a negative one ends the process."""
    for number in numbers:
        if number < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        if number == 0:
            time.sleep(0.3)
    return [number * number for number in numbers]


def _jobs(n_jobs: int) -> Jobs[int, int | str]:
    return Jobs(_square, lambda number, reason: f"{number}: {reason}", n_jobs)


@pytest.mark.parametrize("n_jobs", [1, 2, 5])
def test_results_come_in_order(n_jobs: int) -> None:
    groups = [[0, 1], [2], [], [3, 4, 5], [0], [6]]
    numbers = [number for group in groups for number in group]
    assert list(_jobs(n_jobs).run(groups)) == [(number, number * number) for number in numbers]
    assert list(_jobs(n_jobs).run([])) == []
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_process_that_dies_costs_one_item(n_jobs: int) -> None:
    found = dict(_jobs(n_jobs).run([[1, 2], [3, -4, 5], [-6], [7]]))
    assert [found[number] for number in (1, 2, 3, 5, 7)] == [1, 4, 9, 25, 49]
    for number in (-4, -6):
        assert str(found[number]) == f"{number}: its process was ended by SIGKILL: use fewer --jobs if memory ran out"


def test_who_stops_reading_ends_the_processes() -> None:
    results = _jobs(2).run([[1], [2], [0], [0], [3]])
    assert next(results) == (1, 1)
    assert multiprocessing.active_children()
    results.close()  # type: ignore[attr-defined]
    assert not multiprocessing.active_children()


def _work_on(pipe: Connection) -> None:
    def work(numbers: Sequence[int]) -> list[int]:
        pipe.send(os.getpid())
        time.sleep(60)
        return list(numbers)

    list(Jobs(work, lambda number, reason: number, 2).run([[1], [2]]))


@pytest.mark.skipif(sys.platform != "linux", reason="Linux ends them, other systems when they next look at their pipe")
def test_who_is_killed_takes_the_processes_along() -> None:
    ours, theirs = multiprocessing.get_context("fork").Pipe()
    parent = multiprocessing.get_context("fork").Process(target=_work_on, args=(theirs,))
    parent.start()
    theirs.close()
    assert len({ours.recv(), ours.recv()}) == 2
    parent.kill()
    parent.join()
    assert ours.poll(5)  # the last process that held the other end is gone
    with pytest.raises(EOFError):
        ours.recv()


def test_groups_keep_the_order_and_leave_large_files_alone(tmp_path: Path) -> None:
    sizes = [10, GROUP_BYTES + 1, 10, *[GROUP_BYTES // 2] * 3, *[1] * (2 * GROUP_FILES)]
    recordings = []
    for number, size in enumerate(sizes):
        path = tmp_path / f"{number}.wav"
        with path.open("wb") as file:
            file.truncate(size)
        recordings.append(Recording(str(path), Path(path.name)))
    os.mkfifo(tmp_path / "pipe")
    pipe, after = Recording(str(tmp_path / "pipe"), Path("pipe")), recordings[-1]
    recordings[-1:] = [pipe, after]
    groups = grouped(recordings, 1)
    assert [recording for group in groups for recording in group] == recordings
    assert [len(group) for group in groups] == [1, 1, 2, 2, GROUP_FILES, GROUP_FILES - 1, 1, 1]
    assert [len(group) for group in grouped(recordings[6:16], 4)] == [3, 3, 3, 1]


@pytest.mark.corpus
def test_batches_do_not_change_the_text_of_real_speech(corpus_path: Path, tmp_path: Path) -> None:
    recognizer, sources = load(decoder="greedy"), dev_recordings(corpus_path, tmp_path, 7)
    alone = [recognizer.transcribe(source).text for source in sources]
    assert len(set(alone)) > 30
    for batch_size in (1, 4, 16):
        assert batch_texts(recognizer, sources, batch_size) == alone


@pytest.mark.slow
@pytest.mark.corpus
def test_neither_batches_nor_jobs_change_the_text_of_any_dev_utterance(corpus_path: Path, tmp_path: Path) -> None:
    recognizer, sources = load(decoder="greedy"), dev_recordings(corpus_path, tmp_path)
    alone = [recognizer.transcribe(source).text for source in sources]
    differing = {
        (batch_size, source, text, other)
        for batch_size in (1, 4, 16)
        for source, text, other in zip(sources, alone, batch_texts(recognizer, sources, batch_size), strict=True)
        if text != other
    }
    assert len(sources) > 600 and not differing
    expected = "".join(f"{source}\t{text}\n" for source, text in zip(sources, alone, strict=True))
    for jobs in ("1", "2"):
        command = [*COMMAND, "--decoder", "greedy", "--jobs", jobs, *sources]
        assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == expected


def dev_recordings(corpus_path: Path, folder: Path, n_each: int | None = None) -> list[str]:
    """Write English dev utterances, or so many of each set, as files of their own."""
    sources = []
    for domain in ("accented_read", "audiobook", "commonvoice", "digits_8k", "spelling_digits"):
        rows = [json.loads(line) for line in (corpus_path / f"{domain}.dev.jsonl").read_text().splitlines()]
        for row in rows[:: len(rows) // n_each if n_each else 1]:
            path, offset = corpus_path / row["audio_filepath"], row.get("offset", 0.0)
            sources.append(str(folder / f"{len(sources):04}.wav"))
            soundfile.write(sources[-1], load_audio(path, offset_s=offset, duration_s=row["duration"]), 16000)
    return sources


def batch_texts(recognizer: Recognizer, sources: list[str], batch_size: int) -> list[str]:
    outcomes = transcribe_batch(recognizer, sources, batch_size=batch_size)
    return [outcome.text for outcome in outcomes if isinstance(outcome, Transcript)]
