"""What `bench` measures: that it is of the right work, not how fast this machine is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from silero_like import matrix_product, speed
from silero_like.bundle import load_bundle
from silero_like.cli import main
from silero_like.errors import AudioError, SileroLikeError
from silero_like.runtime import Runtime, open_session

if TYPE_CHECKING:
    from tests.silero_like.conftest import StandIn


@pytest.mark.parametrize("kind", ["float32", "int8"])
def test_the_graph_of_a_matrix_product_is_one(kind: str) -> None:
    generator = np.random.default_rng(0)
    a, b = generator.integers(0, 255, (3, 5)), generator.integers(-127, 127, (5, 7))
    types = (np.float32, np.float32) if kind == "float32" else (np.uint8, np.int8)
    session = open_session(matrix_product._model(kind, b.astype(types[1])))
    (found,) = session.run(None, {"a": a.astype(types[0])})
    assert (found == a @ b).all()
    assert matrix_product.matrix_product_rate(kind, side=64, repeats=2) > 1e6


def test_a_command_is_run_in_a_process_whose_memory_is_its_own() -> None:
    ballast = np.ones(60_000_000)  # 480 MB, which a fork would count
    run = speed.run_command(["--version"])
    assert run.output.startswith("silero_like ")
    assert 5 < run.peak_mb < 200 < ballast.nbytes / 1e6
    assert run.wall_s > 0 and run.core_s > 0
    with pytest.raises(SileroLikeError, match="No such command 'transcripe'"):
        speed.run_command(["transcripe"])


def test_bench(stand_in: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    soundfile.write(tmp_path / "talk.wav", stand_in.speak("one two three"), 16000)
    asked: list[tuple[Path, list[str]]] = []

    def start(path: Path, options: list[str]) -> float:
        asked.append((path, options))
        assert len(soundfile.read(path)[0]) == 160000  # ten seconds
        return 0.25

    monkeypatch.setattr(speed, "cold_start_s", start)
    arguments = ["bench", str(stand_in.path), "--audio", str(tmp_path / "talk.wav")]
    result = CliRunner().invoke(main, [*arguments, "--json", str(tmp_path / "bench.json")])
    assert result.exit_code == 0, result.output
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["cpu", "matrix", "stand-in,", "greedy", "int8"]
    assert "the command from its start: 0.25 s" in result.stdout
    assert [options for _, options in asked] == [["--model", str(stand_in.path), "--decoder", "greedy"]]
    figures = json.loads((tmp_path / "bench.json").read_text())
    assert set(figures) == {"cpu", "model", "matrix_product_per_s", "graph", "greedy"}
    assert figures["greedy"]["cold_start_s"] == 0.25 and figures["greedy"]["audio_s_per_core_s"] > 1


def test_bench_of_no_speech(stand_in: StandIn, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 16000)
    with pytest.raises(AudioError, match="expected speech, found no samples"):
        speed.write_excerpt(tmp_path / "empty.wav", tmp_path / "out.flac", 10.0)
    assert CliRunner().invoke(main, ["bench", str(tmp_path / "gone")]).exit_code == 2


def test_the_sentence_that_comes_with_it_is_speech(bundled_model: Path, tmp_path: Path) -> None:
    bundle = load_bundle(bundled_model)
    path = speed.write_excerpt(speed.SPEECH_PATH, tmp_path / "speech.flac", 10.0)
    assert soundfile.info(path).duration == 10.0
    assert speed.graph_speed(Runtime(bundle), audio_s=1.0, repeats=1) > 1
