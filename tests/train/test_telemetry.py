import json
import math
from pathlib import Path

import numpy as np
import pytest

from train.config import load_recipe
from train.loop import Trainer
from train.telemetry import Telemetry, Timers


def lines(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def timers(wait_s: float = 0.01) -> Timers:
    return Timers(wait_s=wait_s, clip_s=0.02, step_s=1.0, audio_s=40.0, losses=[1.0, 2.0], grad_norms=[], empty=[0.0])


def log(telemetry: Telemetry, wait_s: float = 0.01) -> None:
    telemetry.train(total_steps=9, timers=timers(wait_s), step=3, epoch=0.5, lr=1e-3, curriculum=None)


def test_a_line_holds_shares_and_means_and_no_nan(tmp_path: Path) -> None:
    log(Telemetry(tmp_path, active=True, tensorboard=False))
    (line,) = lines(tmp_path)
    assert line["loss"] == 1.5 and line["audio_s_per_s"] == 40 and line["clip_share"] == 0.02
    assert line["grad_norm"] is None  # every step was skipped: JSON has no NaN


def test_waiting_for_data_is_warned_about_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    telemetry = Telemetry(tmp_path, active=True, tensorboard=False)
    for wait_s in (0.01, 0.3, 0.4):
        log(telemetry, wait_s)
    assert capsys.readouterr().err.count("goes to waiting for data") == 1


def test_other_ranks_are_silent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log(Telemetry(tmp_path, active=False, tensorboard=True))
    assert capsys.readouterr().err == "" and not list(tmp_path.iterdir())


def test_tensorboard_gets_scalars_texts_and_a_spectrogram(recipe_path: Path, tmp_path: Path) -> None:
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    Trainer(load_recipe(recipe_path, ["loop.tensorboard=true"])).run()
    events = event_accumulator.EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    tags = events.Tags()
    assert {"loss", "lr", "audio_s_per_s", "dev/micro", "dev/tones"} <= set(tags["scalars"])
    assert "augmented sample" in tags["images"] and "examples/text_summary" in tags["tensors"]
    losses = [event.value for event in events.Scalars("loss")]
    logged = [line["loss"] for line in lines(tmp_path / "run") if line["event"] == "train"]
    np.testing.assert_allclose(losses, np.array(logged, float), rtol=1e-4)  # the log keeps five digits


def test_the_log_shows_what_the_curriculum_does(recipe_path: Path, tmp_path: Path) -> None:
    Trainer(load_recipe(recipe_path, ["optimizer.total_steps=12", "data.dev=[]"])).run()
    last = lines(tmp_path / "run")[-1]
    report = last["curriculum"]["tones"]  # type: ignore[index]
    assert report["target"] == 0.1 and 0 <= report["cer"] <= 1 and report["low"] <= report["high"] <= 1
    assert 0 <= report["difficulty"] <= 1 and not math.isnan(report["difficulty"])
    assert last["shares"] == {"tones": 1.0} and last["passes"]["tones"] > 0  # type: ignore[index]
    assert 0 <= float(str(last["curriculum_share"])) < 1
