"""`--engine ray` on a Ray cluster of two nodes of one CPU, of which one is killed in the middle."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ray", reason="needs the extra [ray]")
pytestmark = [pytest.mark.slow, pytest.mark.corpus, pytest.mark.filterwarnings("default")]

MEMORY = 80 << 20
N_UTTERANCES = 150
COMMAND = [sys.executable, "-c", "from silero_like.cli import main; main()"]


class TwoNodes:
    """A head without CPUs, and two nodes of one CPU each."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        options = {"include_dashboard": False, "object_store_memory": MEMORY}
        self._cluster: Any = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **options})
        self.address = str(self._cluster.address)
        self._nodes: list[Any] = []
        self.complete()

    def complete(self) -> None:
        while len(self._nodes) < 2:
            self._nodes.append(self._cluster.add_node(num_cpus=1, object_store_memory=MEMORY))

    def kill_one(self) -> None:
        self._cluster.remove_node(self._nodes.pop(0), allow_graceful=False)

    def end(self) -> None:
        self._cluster.shutdown()


@pytest.fixture(scope="module")
def nodes() -> Iterator[TwoNodes]:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    cluster = TwoNodes()
    yield cluster
    cluster.end()


@pytest.fixture
def two_nodes(nodes: TwoNodes) -> TwoNodes:
    nodes.complete()
    return nodes


@pytest.fixture(scope="module")
def manifest(corpus_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Utterances of several domains, and one whose recording is no audio."""
    folder = tmp_path_factory.mktemp("speech")
    lines = []
    for path in sorted(corpus_path.glob("*.dev.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            if row["lang"] == "en":
                lines.append({**row, "audio_filepath": str(path.parent / row["audio_filepath"])})
    lines = lines[:: max(1, len(lines) // N_UTTERANCES)][:N_UTTERANCES]
    bad = folder / "bad.wav"
    bad.write_bytes(b"no audio")
    lines.insert(N_UTTERANCES // 2, {**lines[0], "audio_filepath": str(bad), "offset": 0.0})
    manifest = folder / "speech.jsonl"
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return manifest


def finish(process: subprocess.Popen[str], code: int = 1) -> str:
    """Wait for a command whose one bad recording must be all that fails; return its standard error."""
    _, errors = process.communicate(timeout=300)
    assert process.returncode == code, errors
    assert "bad.wav" in errors
    return errors


def start(*arguments: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen([*COMMAND, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run_and_kill(two_nodes: TwoNodes, count: Callable[[], int], *arguments: str | Path) -> str:
    """Run a command on the cluster, and kill a node when a third of the results is there."""
    process = start(*arguments, "--engine", "ray", "--address", two_nodes.address)
    while process.poll() is None and count() < N_UTTERANCES // 3:
        time.sleep(0.02)
    n_before = count()
    two_nodes.kill_one()
    errors = finish(process)
    print(errors)
    assert n_before < N_UTTERANCES, "killed too late to show anything"
    assert "a worker was lost" in errors
    return errors


def count_lines(path: Path) -> int:
    return len(path.read_bytes().splitlines()) if path.exists() else 0


def test_transcribe(two_nodes: TwoNodes, manifest: Path, tmp_path: Path) -> None:
    """Recordings of their own, as `transcribe` takes whole files: links with a number, as some names repeat."""
    folder, here, there = tmp_path / "in", tmp_path / "here", tmp_path / "there"
    folder.mkdir()
    for number, line in enumerate(manifest.read_text().splitlines()):
        source = Path(json.loads(line)["audio_filepath"])
        (folder / f"{number:03}-{source.name}").symlink_to(source)
    command: list[str | Path] = ["transcribe", folder, "--format", "json", "--output-dir"]
    finish(start(*command, here))
    run_and_kill(two_nodes, lambda: len(list(there.glob("*.json"))), *command, there)
    texts = [{path.name: json.loads(path.read_text())["text"] for path in out.iterdir()} for out in (here, there)]
    assert len(texts[0]) == N_UTTERANCES
    assert texts[0] == texts[1]


def test_evaluate(two_nodes: TwoNodes, manifest: Path, tmp_path: Path) -> None:
    """Rows and rates are those of this machine; resumed, nothing is left to do."""
    here, there, cache = tmp_path / "here.jsonl", tmp_path / "there.jsonl", tmp_path / "cache.jsonl"
    finish(start("evaluate", manifest, "--utterances", here))
    command: list[str | Path] = ["evaluate", manifest, "--cache", cache, "--utterances", there]
    run_and_kill(two_nodes, lambda: count_lines(cache), *command)
    assert there.read_text() == here.read_text()
    assert count_lines(there) == count_lines(cache) == N_UTTERANCES
    finish(start(*command))
    assert count_lines(cache) == N_UTTERANCES


def test_pseudo_label_and_a_kill_of_the_command(two_nodes: TwoNodes, manifest: Path, tmp_path: Path) -> None:
    """First the command is killed, then, when it goes on, a node."""
    here, there = tmp_path / "here.jsonl", tmp_path / "there" / "labels.jsonl"
    command: list[str | Path] = ["data", "pseudo-label", manifest]
    finish(start(*command, here))
    scores = there.with_suffix(".scores.jsonl")
    first = start(*command, there, "--engine", "ray", "--address", two_nodes.address)
    while count_lines(scores) < N_UTTERANCES // 6:
        time.sleep(0.02)
    first.kill()
    first.communicate()
    n_before = count_lines(scores)
    errors = run_and_kill(two_nodes, lambda: count_lines(scores), *command, there)
    assert f"{n_before} of {N_UTTERANCES + 1} utterances heard before" in errors
    keys = [json.loads(line)["key"] for line in scores.read_text().splitlines() if line.endswith("}")]
    assert 0 < n_before < len(keys) == len(set(keys)) == N_UTTERANCES
    rows = [[json.loads(line) for line in path.read_text().splitlines()] for path in (here, there)]
    assert [row["text"] for row in rows[0]] == [row["text"] for row in rows[1]]
