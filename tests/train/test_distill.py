"""Soft targets, learning from them, and `distill` from teacher to student."""

from __future__ import annotations

import dataclasses
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from data.augment import AugmentConfig, resolve
from data.manifest import Utterance
from silero_like.cli import main
from silero_like.errors import ConfigError
from silero_like.model.config import preset
from silero_like.model.encoder import Recognizer
from train.checkpoint import read_checkpoint
from train.config import load_recipe
from train.dataset import digest
from train.dry_run import dry_run
from train.feed import read_targets
from train.loop import Trainer
from train.memory import made_up_batch
from train.objective import Objective
from train.targets import N_BEST, Key, Soft, SoftTargets, imitation, pad_soft, write_soft_targets


def utterance(folder: Path, name: str, offset_s: float = 0.0) -> Utterance:
    return Utterance(audio_path=folder / name, duration_s=1.0, text="a", offset_s=offset_s)


def log_softmax(shape: tuple[int, int], seed: int) -> np.ndarray:
    scores = 4 * np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    return torch.from_numpy(scores).log_softmax(-1).numpy()


def test_imitation_by_hand() -> None:
    log_probs = torch.tensor([[[0.5, 0.25, 0.25], [0.1, 0.1, 0.8], [1 / 3] * 3]]).log().requires_grad_()
    soft = Soft(torch.tensor([[[0, 2], [2, 0]]]), torch.tensor([[[0.75, 0.25], [1.0, 0.0]]]))  # T' = 2: one frame less
    expected = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.25) + math.log(1 / 0.8)
    loss = imitation(log_probs, soft)
    assert loss.item() == pytest.approx(expected)
    loss.backward()  # type: ignore[no-untyped-call]
    assert log_probs.grad is not None and not log_probs.grad[0, 2].any()


def test_targets_are_found_again_by_utterance_and_speed(tmp_path: Path) -> None:
    first, second = utterance(tmp_path, "книга.wav", 0.5), utterance(tmp_path, "二.wav")
    read = {
        (first, 0.9): log_softmax((5, 30), 0),
        (first, 1.0): log_softmax((4, 30), 1),
        (second, 1.0): log_softmax((7, 30), 2),
    }
    entries = ((Key.of(which, speed, tmp_path), values) for (which, speed), values in read.items())
    write_soft_targets(tmp_path / "t.safetensors", entries, teacher="me", tokenizer_sha256="abc", frame_s=0.04)
    targets = SoftTargets(tmp_path / "t.safetensors", tmp_path)
    assert (targets.teacher, targets.tokenizer_sha256, targets.frame_s) == ("me", "abc", 0.04)
    for (which, speed), values in read.items():
        soft = targets.find(which, speed)
        assert soft is not None and soft.labels.shape == (len(values), N_BEST)
        assert set(soft.labels[0].tolist()) == set(np.argsort(values[0])[-N_BEST:].tolist())
        full = torch.zeros(len(values), 30).scatter(1, soft.labels, soft.probs)
        assert float((full - torch.from_numpy(np.exp(values))).abs().max()) < 0.06  # the rest is shared out
        torch.testing.assert_close(soft.probs.sum(1), torch.ones(len(values)))
    assert targets.find(second, 0.9) is None


def test_padding_has_no_probability(tmp_path: Path) -> None:
    row = Soft(torch.ones(2, 3, dtype=torch.int64), torch.full((2, 3), 1 / 3))
    padded = pad_soft([None, row])
    assert padded is not None and padded.labels.shape == (2, 2, 3)
    assert padded.probs.sum((1, 2)).tolist() == pytest.approx([0, 2])
    assert pad_soft([None]) is None


def test_a_student_comes_nearer_to_its_teacher_than_labels_alone_bring_it() -> None:
    torch.manual_seed(0)
    shape = {"width": 32, "n_conv_blocks": 2, "n_attention_blocks": 1, "dropout": 0.0}
    teacher, plain = (Recognizer(preset("tiny", n_labels=9, **shape)) for _ in range(2))
    taught = Recognizer(plain.config)
    taught.load_state_dict(plain.state_dict())
    batch = made_up_batch(plain, n_utterances=3, duration_s=1.0)
    with torch.no_grad():
        best = teacher.eval()(batch.waveform, batch.lengths).log_probs.topk(N_BEST)
    soft = Soft(best.indices, best.values.softmax(-1))
    apart = {}
    for name, model, given in (("plain", plain, None), ("taught", taught, soft)):
        objective = Objective(
            model, inner_weight=0.3, precision="fp32", augmentation=resolve(AugmentConfig(strength=0)), compiled=False,
            distill_weight=0.9,
        )  # fmt: skip
        optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
        for _ in range(15):
            optimizer.zero_grad()
            objective(dataclasses.replace(batch, soft=given), np.random.default_rng(0)).loss.backward()
            optimizer.step()
        apart[name] = imitation(model.eval()(batch.waveform, batch.lengths).log_probs, soft).item()
    assert apart["taught"] < 0.5 * apart["plain"]


@pytest.fixture
def teacher_path(recipe_path: Path, tmp_path: Path) -> Path:
    """A checkpoint that has learned for two steps."""
    recipe = load_recipe(recipe_path, [f"output_dir={tmp_path / 'teacher'}", "optimizer.total_steps=2", "data.dev=[]"])
    Trainer(recipe).run()
    return tmp_path / "teacher" / "last.safetensors"


def distill(teacher: Path, recipe: Path, *overrides: str) -> tuple[int, str]:
    options = [part for value in ("optimizer.total_steps=2", "data.dev=[]", *overrides) for part in ("--set", value)]
    result = CliRunner().invoke(main, ["distill", str(teacher), str(recipe), *options])
    return result.exit_code, result.output


def test_distill_teaches_and_does_not_read_twice(teacher_path: Path, recipe_path: Path, tmp_path: Path) -> None:
    narrow = "model.overrides={width: 16, n_conv_blocks: 1, n_attention_blocks: 1, n_heads: 2}"
    code, output = distill(teacher_path, recipe_path, narrow)
    assert code == 0, output
    student = read_checkpoint(tmp_path / "run" / "last.safetensors")
    assert student.tokenizer == read_checkpoint(teacher_path).tokenizer
    assert student.model_config["width"] == 16
    targets = tmp_path / "run" / "targets.safetensors"
    assert student.recipe["distill"]["targets"] == str(targets)
    assert str(teacher_path) in student.provenance["teacher"]
    made = targets.stat().st_mtime_ns
    code, output = distill(teacher_path, recipe_path, narrow, "optimizer.total_steps=3")
    assert code == 0, output
    assert targets.stat().st_mtime_ns == made
    assert distill(teacher_path, recipe_path, narrow, "optimizer.total_steps=3", "augment.speeds=[1.1]")[0] == 0
    assert targets.stat().st_mtime_ns != made


def test_what_cannot_be_taught_is_told(teacher_path: Path, recipe_path: Path, tmp_path: Path) -> None:
    code, output = distill(teacher_path, recipe_path, "model.overrides={stride: 4}")
    assert code == 1 and "a frame every 80 ms, the student one every 40 ms" in output
    code, output = distill(teacher_path, recipe_path, "data.lang=ru")
    assert code == 1 and "normalised by en-1, this recipe's data.lang gives ru-" in output
    result = CliRunner().invoke(
        main, ["distill", str(teacher_path), str(recipe_path), "--dry-run", "--set", "data.lang=ru"]
    )
    assert result.exit_code == 1 and "normalised by en-1" in result.output
    code, output = distill(tmp_path / "run", recipe_path)
    assert code == 2 and "does not exist" in output
    (tmp_path / "bad.safetensors").write_bytes(b"no")
    for name, problem in (("bad", "not soft targets"), ("none", "no such soft targets")):
        with pytest.raises(ConfigError, match=problem):
            SoftTargets(tmp_path / f"{name}.safetensors", tmp_path)
    trainer = Trainer(load_recipe(recipe_path))
    for sha, problem in (("other", "another tokenizer"), (None, "read none of this speech")):
        path = tmp_path / "t.safetensors"
        entry = Key("elsewhere.wav", 0.0, 1.0), log_softmax((3, 11), 0)
        sha256 = sha or digest(trainer.data.tokenizer_model)
        write_soft_targets(path, [entry], teacher="t", tokenizer_sha256=sha256, frame_s=0.08)
        with pytest.raises(ConfigError, match=problem):
            read_targets(load_recipe(recipe_path, [f"distill.targets={path}"]), trainer.data)


def test_what_the_teacher_cannot_read_is_not_asked_again(
    teacher_path: Path, recipe_path: Path, tone_corpus: Path, tmp_path: Path
) -> None:
    root = shutil.copytree(tone_corpus, tmp_path / "tones")
    (root / "0.wav").write_bytes(b"no audio")
    targets, made = tmp_path / "run" / "targets.safetensors", list[int]()
    for _ in range(2):
        code, output = distill(teacher_path, recipe_path, f"data.root={root}")
        assert code == 0, output
        made.append(targets.stat().st_mtime_ns)
    assert made[0] == made[1]
    read, broken = SoftTargets(targets, root), utterance(root, "0.wav")
    assert Key.of(broken, 1.0, root) in read and read.find(broken, 1.0) is None


def test_targets_of_another_frame_grid_are_refused(recipe_path: Path, tmp_path: Path) -> None:
    trainer = Trainer(load_recipe(recipe_path))
    path = tmp_path / "t.safetensors"
    entries = [
        (Key.of(example.utterance, 1.0, trainer.recipe.root), log_softmax((3, 11), 0))
        for example in trainer.data.examples
    ]
    write_soft_targets(path, entries, teacher="t", tokenizer_sha256=digest(trainer.data.tokenizer_model), frame_s=0.04)
    recipe = load_recipe(recipe_path, [f"distill.targets={path}", f"output_dir={tmp_path / 'x'}"])
    for begin in (Trainer, dry_run):
        with pytest.raises(ConfigError, match="its word every 40 ms, the model every 80 ms"):
            begin(recipe)
