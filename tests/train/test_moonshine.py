"""A foreign encoder as a teacher; it is played by the spectrum here, since its package is an extra."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from silero_like.errors import ConfigError, MissingExtraError
from train import moonshine, moonshine_encoder
from train.config import load_recipe
from train.dataset import load_dataset
from train.loop import Trainer
from train.targets import SoftTargets

SHIFT = 384


class Spectrum:
    """Gives 288 numbers every 24 ms, as Moonshine does."""

    n_calls = 0

    def run(self, _: None, inputs: dict[str, Any]) -> list[np.ndarray]:
        self.n_calls += 1
        waveform = inputs["input_values"][0]
        frames = np.lib.stride_tricks.sliding_window_view(waveform, 2 * SHIFT)[::SHIFT]
        return [np.log(1e-3 + np.abs(np.fft.rfft(frames)[:, : moonshine_encoder.WIDTH]))[None].astype(np.float32)]


@pytest.fixture
def encoder(monkeypatch: pytest.MonkeyPatch) -> Spectrum:
    """What plays Moonshine."""
    spectrum = Spectrum()
    monkeypatch.setattr(moonshine_encoder, "_session", lambda: spectrum)
    return spectrum


def test_a_student_learns_from_the_targets_that_it_makes(
    encoder: Spectrum, recipe_path: Path, tone_corpus: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rows = [json.loads(line) for line in (tone_corpus / "train.jsonl").read_text().splitlines()]
    plain = [{"audio_filepath": str(tone_corpus / row["audio_filepath"]), "duration": row["duration"]} for row in rows]
    plain = [{**plain[0], "offset": 0.1, "speaker": "七"}, {**plain[1], "audio_filepath": "gone.wav"}]
    (tmp_path / "plain.jsonl").write_text("".join(json.dumps(row) + "\n" for row in plain))
    recipe, out = load_recipe(recipe_path), tmp_path / "teacher"
    moonshine.teach(recipe, out, [tmp_path / "plain.jsonl"], passes=30)
    err = capfd.readouterr().err
    rates = [float(line.rsplit(" ", 1)[1]) for line in err.splitlines() if "dev CER" in line]
    assert len(rates) == 6 and rates[-1] < 0.3 < rates[0]
    assert "gone.wav" in err
    assert [json.loads(line)["speaker"] for line in (out / "pseudo.jsonl").read_text().splitlines()] == ["七"]
    assert encoder.n_calls == 25
    data = load_dataset(recipe, work_dir=tmp_path)
    targets = SoftTargets(out / "targets.safetensors", recipe.root)
    for speed in (0.95, 1.0):
        for example in data.examples:
            soft = targets.find(example.utterance, speed)
            assert soft is not None
            assert abs(len(soft.labels) - example.utterance.duration_s / speed / 0.08) <= 1
    moonshine.teach(recipe, out, [tmp_path / "plain.jsonl"], passes=1)
    assert encoder.n_calls == 25  # what has been read is not read again, nor what could not be
    (out / "features.json").unlink()  # as if it had been killed while it wrote
    moonshine.teach(recipe, out, [], passes=1)
    assert encoder.n_calls == 49
    trainer = Trainer(load_recipe(recipe_path, [f"distill.targets={out / 'targets.safetensors'}", "data.dev=[]"]))
    trainer.run()
    assert trainer.progress.step == 8


def test_features_follow_the_speed(encoder: Spectrum, tone_corpus: Path, tmp_path: Path) -> None:
    path = tone_corpus / "0.wav"
    features = moonshine_encoder.encode([(path, 0.0, 0.8)], tmp_path / "features.npy")
    row = features.row(path, 0.0)
    assert row is not None and features.row(path, 1.0) is None
    plain, slow = features.on_grid(row, 1.0), features.on_grid(row, 0.5)
    assert (len(plain), len(slow)) == (3 * 10, 3 * 20)  # 0.8 s and 1.6 s in frames of 80 ms, rounded up
    middle = slow.reshape(30, 2, -1).mean(1)
    torch.testing.assert_close(torch.from_numpy(middle), torch.from_numpy(plain), atol=1.5, rtol=0.1)


def test_padding_does_not_change_what_the_head_hears() -> None:
    torch.manual_seed(0)
    head = moonshine.Head(7).eval()
    values = torch.randn(2, 30, moonshine_encoder.WIDTH)
    with torch.inference_mode():
        together = head(values, torch.tensor([10, 6]))
        alone = head(values[1:, :18], torch.tensor([6]))
    torch.testing.assert_close(together[1, :6], alone[0], atol=1e-5, rtol=1e-5)


def test_bad_input_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"duration": 1}\n')
    with pytest.raises(ConfigError, match=r"x\.jsonl:1: expected audio_filepath and duration"):
        list(moonshine._unlabelled(tmp_path / "x.jsonl"))
    monkeypatch.setattr(moonshine_encoder.importlib.util, "find_spec", lambda name: None)  # type: ignore[attr-defined]
    with pytest.raises(MissingExtraError, match=r"moonshine-voice==0\.0\.49"):
        moonshine_encoder._session()
