import dataclasses
import os
from pathlib import Path

import pytest
import torch

from silero_like.errors import ConfigError
from train.checkpoint import (
    Checkpoint,
    Progress,
    optimizer_tensors,
    read_checkpoint,
    restore_optimizer,
    write_checkpoint,
)


def example(step: int = 3) -> Checkpoint:
    return Checkpoint(
        model={"a.weight": torch.randn(3, 4)},
        average={"a.weight": torch.randn(3, 4)},
        optimizer={"exp_avg.a.weight": torch.randn(3, 4), "step.a.weight": torch.tensor(7.0)},
        tokenizer=b"tokens \x00\xff",
        model_config={"width": 4},
        recipe={"name": "é"},
        provenance={},
        progress=Progress(step=step, audio_s=1.5),
        scaler={},
        metrics={},
        feed={"batch": 2},
        feed_tensors={"cer": torch.rand(5)},
    )


def test_round_trip(tmp_path: Path) -> None:
    checkpoint = example()
    write_checkpoint(tmp_path / "c", checkpoint)
    back = read_checkpoint(tmp_path / "c")
    for field in dataclasses.fields(Checkpoint):
        before, after = getattr(checkpoint, field.name), getattr(back, field.name)
        if field.name in ("model", "average", "optimizer", "feed_tensors"):
            assert before.keys() == after.keys()
            assert all(torch.equal(before[name], after[name]) for name in before)
        else:
            assert before == after


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_failed_write_keeps_the_old_file_and_leaves_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    path = tmp_path / "c"
    write_checkpoint(path, example(step=1))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, failing, full)
    with pytest.raises(OSError, match="No space"):
        write_checkpoint(path, example(step=2))
    assert read_checkpoint(path).progress.step == 1
    assert [file.name for file in tmp_path.iterdir()] == ["c"]


@pytest.mark.parametrize("damage", [lambda data: data[:100], lambda data: b"", lambda data: b"\xff" * 200])
def test_damaged_files_are_refused(tmp_path: Path, damage: object) -> None:
    path = tmp_path / "c"
    write_checkpoint(path, example())
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    with pytest.raises(ConfigError, match="damaged"):
        read_checkpoint(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such checkpoint"):
        read_checkpoint(tmp_path / "nothing")


def test_optimizer_state_survives() -> None:
    torch.manual_seed(0)
    layer = torch.nn.Linear(3, 2)
    names = {parameter: name for name, parameter in layer.named_parameters()}
    optimizer = torch.optim.AdamW(layer.parameters(), fused=True)
    layer(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    saved = {name: value.clone() for name, value in optimizer_tensors(optimizer, names).items()}
    fresh = torch.optim.AdamW(layer.parameters(), fused=True)
    restore_optimizer(fresh, names, saved)
    assert optimizer_tensors(fresh, names).keys() == saved.keys()
    for name, value in optimizer_tensors(fresh, names).items():
        assert torch.equal(value, saved[name])
