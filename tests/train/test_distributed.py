"""Several processes: what one of them meets must neither hang nor lead astray the others."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE
from typing import TYPE_CHECKING, Any, Protocol

import pytest
import torch

from train.checkpoint import Checkpoint, read_checkpoint
from train.config import load_recipe
from train.loop import Trainer

if TYPE_CHECKING:
    from conftest import Started

ROOT = Path(__file__).parents[2]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]
START_S = 600.0
"""How long a start may take on very busy cores."""
HANG_S = 300.0
"""How long processes may outlive a killed one or a signal; less than `loop.timeout_s`, which would end them anyway."""
SMALL = ["loop.batch_s=4", "data.dev=[]", "loop.timeout_s=600"]

# Forks pairs of ranks, as importing PyTorch takes long: a line on stdin names folder, port, patch and arguments of one.
# Without torchrun, which would end the rest when one fails: here they must do it by themselves. The patch is run in
# each rank before training. What a rank holds at its end goes to rankN.json.
NURSERY = """
import hashlib, json, multiprocessing, os, sys
from pathlib import Path
import torch, torch._dynamo, torch.distributed
import train.loop
from silero_like.cli.train import train as command

def rank_main(rank, port, folder, patch, arguments):
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="localhost", MASTER_PORT=port)
    os.dup2(os.open(folder / f"rank{rank}.err", os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
    end, step, seen = train.loop.Trainer._end, train.loop.Trainer._step, []

    def note(trainer, batch, *more, **named):
        seen.append(batch.indices)
        return step(trainer, batch, *more, **named)

    def record(trainer, **named):
        digest = hashlib.sha256()
        for value in trainer.model.state_dict().values():
            digest.update(value.numpy().tobytes())
        held = {"weights": digest.hexdigest(), "batch_s": trainer.feed.batch_s, "planned": trainer.feed.planned,
                "step": trainer.progress.step, "skipped": trainer.progress.skipped_steps}
        (folder / f"rank{rank}.json").write_text(json.dumps(held))
        (folder / f"rank{rank}.seen").write_text(json.dumps(seen))
        end(trainer, **named)

    train.loop.Trainer._end, train.loop.Trainer._step = record, note
    exec(patch, {"rank": rank})
    command.main(arguments)

fork = multiprocessing.get_context("fork")
for line in sys.stdin:
    folder, port, patch, arguments = json.loads(line)
    ranks = [fork.Process(target=rank_main, args=(n, port, Path(folder), patch, arguments)) for n in range(2)]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join(300)
        rank.kill()
        rank.join()
    print(json.dumps([rank.exitcode for rank in ranks]), flush=True)
"""


@dataclass(frozen=True)
class Ranks:
    """How two ranks ended."""

    codes: list[int]
    errors: list[str]
    """What each wrote to stderr."""
    held: list[dict[str, Any]]
    """What each held at the end of training; missing for one that failed."""
    seen: list[list[list[int]]]
    """The utterances of each one's batches."""


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("localhost", 0))
        return int(server.getsockname()[1])


def options(overrides: list[str]) -> list[str]:
    return [part for override in overrides for part in ("--set", override)]


@pytest.fixture(scope="module")
def nursery(started: Callable[[], Started]) -> Iterator[subprocess.Popen[str]]:
    """The process that forks pairs of ranks."""
    own = started()
    command = [sys.executable, "-c", NURSERY]
    with subprocess.Popen(command, env=own.environment, stdin=PIPE, stdout=PIPE, text=True) as process:
        yield process
        own.kill()


class TwoRanks(Protocol):
    """Trains with two ranks and waits for both."""

    def __call__(self, *overrides: str, patch: str = "") -> Ranks: ...


@pytest.fixture
def two_ranks(nursery: subprocess.Popen[str], recipe_path: Path) -> TwoRanks:
    folder = recipe_path.parent

    def train(*overrides: str, patch: str = "") -> Ranks:
        for path in folder.glob("rank*"):
            path.unlink()
        arguments = [str(recipe_path), *options([*SMALL, *overrides])]
        assert nursery.stdin and nursery.stdout
        nursery.stdin.write(json.dumps([str(folder), str(free_port()), patch, arguments]) + "\n")
        nursery.stdin.flush()
        codes = json.loads(nursery.stdout.readline())
        errors = [(folder / f"rank{rank}.err").read_text() for rank in range(2)]
        held, seen = (
            [json.loads(path.read_text()) for path in sorted(folder.glob(f"rank*.{kind}"))] for kind in ("json", "seen")
        )
        return Ranks(codes, errors, held, seen)

    return train


def assert_in_step(ranks: Ranks) -> None:
    assert ranks.codes == [0, 0], ranks.errors
    first, second = ranks.held
    assert first == second


def events(folder: Path, name: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "run" / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["event"] == name]


def last(folder: Path) -> Checkpoint:
    return read_checkpoint(folder / "last.safetensors")


def assert_same_bits(a: Checkpoint, b: Checkpoint) -> None:
    for name in ("model", "average", "optimizer", "feed_tensors"):
        left, right = getattr(a, name), getattr(b, name)
        assert left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left), name
    assert a.feed == b.feed


def test_two_processes_share_the_data_and_end_with_equal_weights(two_ranks: TwoRanks) -> None:
    ranks = two_ranks("optimizer.total_steps=12", "curriculum.enabled=false", "sampling.round_batches=4")
    assert_in_step(ranks)
    seen = [[index for batch in batches for index in batch] for batches in ranks.seen]
    assert all(seen)
    numbers = Counter(seen[0] + seen[1])
    assert max(numbers.values()) - min(numbers[index] for index in range(24)) <= 2  # shared; the last pass is cut short


ONE_BAD_LOSS = """
import torch
from train.objective import Objective
ctc, calls = Objective._ctc, []
def bad(self, *arguments):
    calls.append(1)
    return ctc(self, *arguments) * (torch.nan if rank == 1 and len(calls) in (7, 8) else 1)  # two calls a step
Objective._ctc = bad
"""


def test_a_loss_that_is_not_finite_on_one_rank_is_skipped_by_all(two_ranks: TwoRanks, tmp_path: Path) -> None:
    ranks = two_ranks(patch=ONE_BAD_LOSS)
    assert_in_step(ranks)
    assert ranks.held[0]["skipped"] == 1
    (skipped,) = events(tmp_path, "skipped")
    assert skipped["step"] == 3
    named = sorted(int(Path(path).stem) for path in skipped["utterances"])
    assert named == sorted(ranks.seen[1][3])  # the batch of the rank that it happened to, whose files count from 0
    assert "loss or gradient is not finite" in ranks.errors[0] and "finite" not in ranks.errors[1]


ONE_SMALL_MEMORY = """
import torch
from train.objective import Objective
forward = Objective.forward
def limited(self, batch, generator):
    if rank == 1 and len(batch.lengths) > 1:
        raise torch.OutOfMemoryError("made up")
    return forward(self, batch, generator)
Objective.forward = limited
"""


def test_one_rank_out_of_memory_lowers_the_budget_of_all(two_ranks: TwoRanks, tmp_path: Path) -> None:
    ranks = two_ranks(patch=ONE_SMALL_MEMORY)
    assert_in_step(ranks)
    assert ranks.held[0]["batch_s"] == pytest.approx(0.7 * 4)
    assert len(events(tmp_path, "out_of_memory")) == 1
    assert ranks.errors[0].count("out of GPU memory") == 1


ONE_DEAF = """
from silero_like.errors import AudioError
from data.store import AudioStore
load = AudioStore._samples
def deaf(self, index, utterance):
    if rank == 1:
        raise AudioError(f"{utterance.audio_path}: gone")
    return load(self, index, utterance)
AudioStore._samples = deaf
"""


def test_a_rank_that_can_read_nothing_keeps_step_and_its_files_are_counted(two_ranks: TwoRanks, tmp_path: Path) -> None:
    ranks = two_ranks(patch=ONE_DEAF)
    assert_in_step(ranks)
    assert events(tmp_path, "train")[-1]["unreadable"] > 0
    assert "unreadable audio, skipped: " in ranks.errors[0]


FAIL = """
from silero_like.errors import ConfigError
from train.loop import Trainer
take = Trainer.{method}
def fail(self, *arguments, **named):
    if rank == {rank} and self.progress.step == {step}:
        raise ConfigError("the one that failed")
    return take(self, *arguments, **named)
Trainer.{method} = fail
"""


@pytest.mark.parametrize(("method", "rank", "step"), [("_step", 0, 3), ("_step", 1, 3), ("_evaluate", 0, 8)])
def test_a_failing_rank_ends_the_other(two_ranks: TwoRanks, method: str, rank: int, step: int) -> None:
    ranks = two_ranks(patch=FAIL.format(method=method, rank=rank, step=step))
    assert ranks.codes == [1, 1]
    assert ranks.errors[rank].splitlines()[-1] == "Error: the one that failed"
    assert f"Error: process {1 - rank} of 2 cannot reach the others" in ranks.errors[1 - rank]
    assert not any(word in ranks.errors[1 - rank] for word in ("Timed out", "Traceback"))  # at once, and in one line


READ = """
from silero_like.errors import ManifestError
import train.dataset
read = train.dataset.read_manifest
def fail(path):
    if rank == 0:
        raise ManifestError(f"{path}: cannot read the manifest")
    return read(path)
train.dataset.read_manifest = fail
"""


def test_a_manifest_that_only_one_rank_cannot_read_ends_both(two_ranks: TwoRanks) -> None:
    ranks = two_ranks(patch=READ)
    assert ranks.codes == [1, 1]
    assert "cannot read the manifest" in ranks.errors[0] and "cannot reach the others" in ranks.errors[1]


OTHER_SEED = """
import train.config, dataclasses
load = train.config.load_recipe
train.config.load_recipe = lambda *arguments: dataclasses.replace(load(*arguments), seed=rank)
"""


def test_ranks_with_different_recipes_are_refused(two_ranks: TwoRanks) -> None:
    ranks = two_ranks(patch=OTHER_SEED)
    assert ranks.codes == [1, 1]
    assert all("the processes of this run differ in recipe (" in error for error in ranks.errors)


OTHER_DATA = """
import train.dataset
read = train.dataset._read
train.dataset._read = lambda *arguments: read(*arguments)[rank:]
"""


def test_ranks_with_different_data_are_refused(two_ranks: TwoRanks) -> None:
    ranks = two_ranks(patch=OTHER_DATA)
    assert ranks.codes == [1, 1]
    assert all("the processes of this run differ in training data (" in error for error in ranks.errors)


STOP_ONE = """
import os, signal
from train.loop import Trainer
take = Trainer._step
def stop(self, *arguments, **named):
    if rank == 1 and self.progress.step == 2:
        os.kill(os.getpid(), signal.SIGTERM)
    return take(self, *arguments, **named)
Trainer._step = stop
"""


def test_a_signal_to_one_rank_stops_all_at_one_step_and_the_rest_ends_with_the_same_bits(
    two_ranks: TwoRanks, recipe_path: Path, tmp_path: Path
) -> None:
    whole = two_ranks()
    assert_in_step(whole)
    (tmp_path / "run").rename(tmp_path / "whole")
    assert_in_step(stopped := two_ranks(patch=STOP_ONE))
    assert stopped.held[0]["step"] in (3, 4) and last(tmp_path / "run").progress.step == stopped.held[0]["step"]
    shutil.copytree(tmp_path / "run", tmp_path / "stopped")
    assert_in_step(resumed := two_ranks())
    assert resumed.held == whole.held
    assert_same_bits(last(tmp_path / "whole"), last(tmp_path / "run"))
    # one process goes on from what two have left
    alone = Trainer(load_recipe(recipe_path, [*SMALL, f"output_dir={tmp_path / 'stopped'}"]))
    alone.run()
    assert alone.progress.step == 8


SILENT = """
import time
from train.loop import Trainer
take = Trainer._step
def sleep(self, *arguments, **named):
    if rank == 1 and self.progress.step == 3:
        time.sleep(20)
    return take(self, *arguments, **named)
Trainer._step = sleep
"""


@pytest.mark.slow
def test_a_silent_rank_is_waited_for_no_longer_than_the_recipe_says(two_ranks: TwoRanks) -> None:
    ranks = two_ranks("loop.timeout_s=10", patch=SILENT)
    assert ranks.codes[0] == 1 and "cannot reach the others (Timed out" in ranks.errors[0]


# Processes as users start them

ENDLESS = ["optimizer.total_steps=1000000", "loop.log_every=1"]  # it can but be stopped


def start(own: Started, recipe_path: Path, launcher: list[str], *overrides: str) -> subprocess.Popen[bytes]:
    command = [*launcher, "-m", "train", str(recipe_path), *options([*SMALL, *ENDLESS, *overrides])]
    with (recipe_path.parent / "stderr").open("ab") as stream:
        return subprocess.Popen(command, env=own.environment, stderr=stream)


def wait_for_step(folder: Path, step: int, *processes: subprocess.Popen[bytes]) -> None:
    """Wait until a run has logged a step."""
    log, deadline = folder / "log.jsonl", time.monotonic() + START_S
    while not (log.exists() and f'"step": {step}, ' in log.read_text()):
        assert time.monotonic() < deadline and all(process.poll() is None for process in processes)
        time.sleep(0.01)


@pytest.mark.slow
def test_sigterm_to_torchrun_saves_and_ends_all_processes(
    recipe_path: Path, tmp_path: Path, started: Callable[[], Started]
) -> None:
    own = started()
    launcher = [*TORCHRUN, "--standalone", "--nproc-per-node", "2"]
    process = start(own, recipe_path, launcher, "loop.checkpoint_every=1000000")
    wait_for_step(tmp_path / "run", 3, process)
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=HANG_S)
    assert not own.pids()
    step = last(tmp_path / "run").progress.step
    assert step > 3
    assert f"stopped at step {step}; the same command goes on from there" in (tmp_path / "stderr").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("lost", [0, 1], ids=["the first node", "the second node"])
def test_a_node_that_is_killed_ends_the_other_and_both_go_on_from_the_checkpoint(
    recipe_path: Path, tmp_path: Path, started: Callable[[], Started], two_ranks: TwoRanks, lost: int
) -> None:
    rendezvous = ["--rdzv-backend", "c10d", "--rdzv-endpoint", f"localhost:{free_port()}", "--rdzv-id", "test"]
    launcher = [*TORCHRUN, "--nnodes", "2", "--nproc-per-node", "1", *rendezvous]
    owns, nodes = [started(), started()], []
    for own, is_host in zip(owns, ("1", "0"), strict=True):  # the first node holds the rendezvous
        node = [*launcher, "--rdzv-conf", f"is_host={is_host}"]
        nodes.append(start(own, recipe_path, node, "loop.checkpoint_every=5"))
    wait_for_step(tmp_path / "run", 12, *nodes)
    owns[lost].kill()
    nodes[lost].wait()
    assert nodes[1 - lost].wait(timeout=HANG_S) != 0
    assert not owns[1 - lost].pids()
    told = (tmp_path / "stderr").read_text()
    # whichever notices first: the process, or torchrun that its rendezvous has gone with the first node
    assert "of 2 cannot reach the others" in told or "RendezvousConnectionError" in told
    step = last(tmp_path / "run").progress.step
    assert step >= 10 and step % 5 == 0
    assert_in_step(resumed := two_ranks(f"optimizer.total_steps={step + 2}"))
    assert resumed.held[0]["step"] == step + 2 and len(resumed.seen[0]) == 2


# A small disk; a run's checkpoints take about half a megabyte, and a new one is written before the old one goes.
FULL_DISK = """
mount -t tmpfs -o size={size} none "$1" || exit 99
"$2" -m train "$3" --set output_dir="$1/run" --set optimizer.total_steps=4 --set loop.checkpoint_every=2
"""


@pytest.mark.slow
@pytest.mark.parametrize(("size", "message"), [("20k", "No space left on device"), ("600k", "could not be written")])
def test_a_disk_that_is_really_full_is_one_clear_error(
    recipe_path: Path, tmp_path: Path, started: Callable[[], Started], size: str, message: str
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    own_mounts = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", FULL_DISK.format(size=size)]
    try:
        done = subprocess.run(
            [*own_mounts, "sh", str(disk), sys.executable, str(recipe_path)],
            env=started().environment, capture_output=True, text=True, timeout=START_S,
        )  # fmt: skip
    except FileNotFoundError:
        pytest.skip("no unshare here")
    if done.returncode == 99 or "unshare:" in done.stderr:
        pytest.skip(f"no disk of one's own here: {done.stderr}")
    assert done.returncode == 1 and message in done.stderr, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_kill_in_the_writing_of_a_checkpoint_loses_nothing(started: Callable[[], Started]) -> None:
    command = [sys.executable, "-m", "benchmarks.kill_resume", "--kills", "1"]
    done = subprocess.run(
        [*command, *options(["optimizer.total_steps=30"])],
        cwd=ROOT, env=started().environment, capture_output=True, text=True, timeout=3 * START_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "none, bit for bit" in done.stdout and " yes " in done.stdout
