"""Where work is done changes nothing: the pool of a cluster without the cluster, and the commands that use it."""

from __future__ import annotations

import json
import pickle
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from data.cache import Cache
from silero_like.cli import main, ray_cluster
from silero_like.cli.batch import Failure
from silero_like.cli.pool import TRIES, Event, Pool
from silero_like.cli.transcribe_journal import Journal
from silero_like.cli.workers import Workers
from silero_like.errors import SileroLikeError
from tests.silero_like.conftest import StandIn

TEXTS = ["one two", "three four five", "six", "seven one", "two two", "three"]


class Rehearsal:
    """A cluster in this process: what is sent is pickled, results come in any order, and workers are lost.

    Args:
        open_work: as of `RayCluster`.
        seed: of the order and the losses.
        n_losses: workers lost by chance, before they are ready or in the middle of a group.
        deadly: items of which a worker dies.
    """

    def __init__(
        self,
        open_work: Callable[[], Callable[[Sequence[Any]], Sequence[Any]]],
        seed: int = 0,
        n_losses: int = 0,
        deadly: Sequence[object] = (),
    ) -> None:
        self.n_cpus = 3
        self.sent: list[Any] = []
        self.ended = False
        self._open_work = pickle.dumps(open_work)
        self._random, self._n_losses, self._deadly = random.Random(seed), n_losses, deadly
        self._works: dict[int, Any] = {}
        self._groups: dict[int, bytes | None] = {}

    def begin(self) -> int:
        worker = len(self._works)
        self._works[worker] = None
        self._groups[worker] = None
        return worker

    def send(self, worker: int, group: Sequence[Any]) -> None:
        assert self._works[worker] and worker not in self._groups, "only a worker that is ready and idle can begin"
        self._groups[worker] = pickle.dumps(group)
        self.sent += group

    def wait(self, timeout_s: float) -> list[Event[Any]]:
        if not self._groups:
            return []
        worker = self._random.choice(sorted(self._groups))
        pickled = self._groups.pop(worker)
        group = pickle.loads(pickled) if pickled else []
        is_lost = self._n_losses > 0 and self._random.random() < 0.3
        self._n_losses -= is_lost
        if is_lost or set(group) & set(self._deadly):
            return [Event(worker, "lost", reason="gone")]
        if self._works[worker] is None:
            self._works[worker] = pickle.loads(self._open_work)()
            return [Event(worker, "ready")]
        return [Event(worker, "done", pickle.loads(pickle.dumps(self._works[worker](group))))]

    def end(self) -> None:
        self.ended = True


def square(numbers: Sequence[int]) -> list[int]:
    return [number * number for number in numbers]


def open_square() -> Callable[[Sequence[int]], list[int]]:
    return square


@settings(max_examples=50)
@given(
    sizes=st.lists(st.integers(0, 5), max_size=8),
    n_workers=st.integers(1, 4),
    seed=st.integers(0, 99),
    n_losses=st.integers(0, 12),
    deadly=st.sets(st.integers(0, 20), max_size=3),
)
def test_each_item_has_one_result_whatever_is_lost(
    sizes: list[int], n_workers: int, seed: int, n_losses: int, deadly: set[int]
) -> None:
    numbers = iter(range(100))
    groups = [[next(numbers) for _ in range(size)] for size in sizes]
    cluster = Rehearsal(open_square, seed, n_losses, sorted(deadly))
    found = list(Pool(cluster, lambda number, reason: -1, n_workers, lambda _: None).run(groups))
    assert sorted(number for number, _ in found) == list(range(sum(sizes)))
    wrong = {number for number, result in found if result != number * number}
    assert deadly & set(range(sum(sizes))) <= wrong
    assert len(wrong - deadly) <= n_losses // TRIES  # of bad luck: as many workers as it takes, one after the other
    assert cluster.ended


def test_a_lost_group_is_done_again_whole_and_the_guilty_item_is_named() -> None:
    cluster = Rehearsal(open_square, deadly=[3])
    told: list[str] = []
    found = dict(Pool(cluster, lambda number, reason: f"{number}: {reason}", 1, told.append).run([[1, 2, 3], [4]]))
    assert found == {1: 1, 2: 4, 4: 16, 3: "3: 3 workers were lost with it, the last: gone"}
    assert cluster.sent == [*[1, 2, 3] * TRIES, 1, 2, *[3] * TRIES, 4]
    assert told[0] == "a worker was lost (gone): its group of 3 is done again"
    assert told[2] == "3 workers were lost with one group: its 3 go one by one"


def test_a_cluster_without_a_free_cpu_is_told_and_one_that_loses_all_is_given_up() -> None:
    class Full(Rehearsal):
        def begin(self) -> int:
            return 7

    told: list[str] = []

    def tell(message: str) -> None:
        told.append(message)
        if len(told) == 2:
            raise KeyboardInterrupt

    full = Full(open_square)
    with pytest.raises(KeyboardInterrupt):
        list(Pool(full, lambda *_: 0, 2, tell).run([[1]]))
    assert told == ["no worker yet: waiting for a free CPU of the cluster"] * 2
    assert full.ended
    cluster = Rehearsal(open_square, n_losses=10**6)
    cluster._random.random = lambda: 0.0  # type: ignore[method-assign]
    with pytest.raises(SileroLikeError, match=r"no worker of the cluster stays alive \(gone\)"):
        list(Pool(cluster, lambda *_: 0, 2, tell).run([[1]]))


def test_workers_here_and_elsewhere(rehearse: list[Rehearsal]) -> None:
    groups = [[1, 2], [3]]
    for workers in (Workers(), Workers(jobs=2), Workers(is_ray=True), Workers(is_ray=True, jobs=1)):
        assert dict(workers.run(groups, square, str)) == {1: 1, 2: 4, 3: 9}
        assert list(workers.run([], square, str)) == []
    assert len(rehearse) == 2
    assert [Workers(jobs=3).shares(100), Workers().shares(100), Workers(is_ray=True).shares(100)] == [3, 1, 6]
    rehearse.clear()
    failed = dict(Workers(is_ray=True).run([[13]], square, str))[13]
    assert failed == Failure("13: 3 workers were lost with it, the last: gone")


@pytest.fixture
def rehearse(monkeypatch: pytest.MonkeyPatch) -> list[Rehearsal]:
    """Put clusters that lose two workers, and all that touch 13, in Ray's place; return those that were made."""
    made: list[Rehearsal] = []

    def make(open_work: Callable[[], Any], address: str | None) -> Rehearsal:
        made.append(Rehearsal(open_work, seed=len(made), n_losses=2, deadly=[13]))
        return made[-1]

    monkeypatch.setattr(ray_cluster, "RayCluster", make)
    return made


@pytest.fixture
def speech(stand_in: StandIn, tmp_path: Path) -> Path:
    """A manifest whose third row is no audio."""
    rows = [{"text": text, "lang": "en", "domain": "calls"} for text in TEXTS]
    path = stand_in.record(tmp_path / "in" / "speech.jsonl", rows)
    path.with_name("speech-2.wav").write_bytes(b"no audio")
    return path


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [*map(str, arguments)])


RAY = ("--engine", "ray")


def test_transcribe_on_a_cluster(stand_in: StandIn, speech: Path, tmp_path: Path, rehearse: list[Rehearsal]) -> None:
    """In order on standard output; a file for each in a folder."""
    command = ("transcribe", speech.parent, "--model", stand_in.path, "--format", "jsonl")
    here, there = run(*command), run(*command, *RAY)
    assert (there.exit_code, there.stdout) == (here.exit_code, here.stdout) == (1, here.stdout)
    assert [json.loads(line)["text"] for line in there.stdout.splitlines()] == TEXTS[:2] + TEXTS[3:]
    assert "speech-2.wav: not audio" in there.stderr
    assert there.stderr.endswith("1 of 6 inputs failed\n")
    run(*command, *RAY, "--output-dir", tmp_path / "out")
    assert len(list((tmp_path / "out").iterdir())) == 5
    assert len(rehearse) == 2


def test_transcribe_on_a_cluster_goes_on_after_a_kill(
    stand_in: StandIn, speech: Path, tmp_path: Path, rehearse: list[Rehearsal], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal is that of a run here: either goes on from the other's."""
    command = ("transcribe", speech.parent, "--model", stand_in.path, "--format", "json", "--resume", "--output-dir")
    run(*command, tmp_path / "here")
    here, there = tmp_path / "here", tmp_path / "there"
    finish = Journal.finish

    def finish_two(self: Journal, path: Path, state: str) -> None:
        if len(list(there.glob("*.json"))) > 2:
            raise KeyboardInterrupt
        finish(self, path, state)

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "finish", finish_two)
        assert run(*command, there, *RAY).exit_code == 1
    again = run(*command, there, *RAY)
    assert again.stderr.endswith("2 of 6 recordings were done before\n1 of 6 inputs failed\n")
    assert len(set(rehearse[-1].sent)) == 4
    texts = [{path.name: path.read_text() for path in out.glob("*.json")} for out in (here, there)]
    assert len(texts[0]) == 5
    assert texts[0] == texts[1]
    assert run(*command, there).stderr.endswith("5 of 6 recordings were done before\n1 of 6 inputs failed\n")
    assert run(*command, here, *RAY).stderr.endswith("5 of 6 recordings were done before\n1 of 6 inputs failed\n")
    (here / "speech-0.json").unlink()
    assert "4 of 6" in run(*command, here, *RAY).stderr


def test_evaluate_on_a_cluster_goes_on_after_a_kill(
    stand_in: StandIn, speech: Path, tmp_path: Path, rehearse: list[Rehearsal], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there, cache = tmp_path / "here.jsonl", tmp_path / "there.jsonl", tmp_path / "heard" / "cache.jsonl"
    command = ("evaluate", speech, "--model", stand_in.path, "--utterances")
    plain = run(*command, here)
    monkeypatch.setattr("silero_like.cli.evaluate_recognise.GROUP", 2)
    put = Cache.put

    def put_two(self: Cache, key: str, value: dict[str, Any]) -> None:
        if len(self._values) == 2:
            raise KeyboardInterrupt
        put(self, key, value)

    with monkeypatch.context() as patch:
        patch.setattr(Cache, "put", put_two)
        assert run(*command, there, *RAY, "--cache", cache).exit_code == 1
    assert len(cache.read_text().splitlines()) == 2
    assert not there.exists()
    again = run(*command, there, *RAY, "--cache", cache)
    assert (again.exit_code, there.read_text()) == (plain.exit_code, here.read_text()) == (1, here.read_text())
    assert "speech-2.wav: not audio" in again.stderr
    assert len(cache.read_text().splitlines()) == len(TEXTS) - 1
    assert len(set(rehearse[-1].sent)) == len(TEXTS) - 2
    run(*command, there, "--cache", cache, "--jobs", "2")
    assert there.read_text() == here.read_text()
    assert len(cache.read_text().splitlines()) == len(TEXTS) - 1


def test_pseudo_labels_from_a_cluster(
    stand_in: StandIn, speech: Path, tmp_path: Path, rehearse: list[Rehearsal]
) -> None:
    texts = []
    for name, where in (("here", ()), ("there", RAY)):
        out = tmp_path / name / "labels.jsonl"
        result = run("data", "pseudo-label", speech, out, "--model", stand_in.path, *where)
        assert (result.exit_code, "speech-2.wav: not audio" in result.stderr) == (1, True)
        rows = [json.loads(line) for line in out.read_text().splitlines()]
        texts.append([row["text"] for row in rows])
    assert texts[0] == texts[1] == TEXTS[:2] + TEXTS[3:]
    scores = (tmp_path / "there" / "labels.scores.jsonl").read_text().splitlines()
    assert len({json.loads(line)["key"] for line in scores}) == len(scores) == 5
    assert len(rehearse) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["transcribe", "a.wav", "--address", "head:6379"], "--address is for a Ray cluster: give --engine ray, too"),
        (["transcribe", "--watch", "in", "--output-dir", "out", *RAY], "--watch works on this machine"),
        (["transcribe", "-", *RAY], "standard input cannot be shared by --engine ray"),
        (["evaluate", "in/speech.jsonl", "--hypotheses", "in/speech.jsonl", *RAY], "--engine: nothing is recognised"),
    ],
)
def test_what_cannot_be_shared_is_refused(
    speech: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(speech.parent.parent)
    result = run(*arguments)
    assert (result.exit_code, message in result.stderr) == (2, True), result.stderr


def test_another_model_on_a_node_is_refused(
    stand_in: StandIn, speech: Path, rehearse: list[Rehearsal], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("silero_like.cli.transcribe.bundle_sha256", lambda _: "another")
    result = run("transcribe", speech.parent, "--model", stand_in.path, *RAY)
    assert (result.exit_code, f"has another model at {stand_in.path}" in result.stderr) == (1, True)
    assert rehearse[0].ended


def test_without_ray_the_extra_is_named(stand_in: StandIn, speech: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    result = run("transcribe", speech.parent, "--model", stand_in.path, *RAY)
    assert (result.exit_code, "pip install 'silero_like[ray]'" in result.stderr) == (1, True)
