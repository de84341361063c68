import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import torch
import yaml

from silero_like.errors import ConfigError
from train.checkpoint import Checkpoint, read_checkpoint
from train.config import load_recipe
from train.loop import Trainer
from train.schedule import learning_rate

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def run(recipe_path: Path, *overrides: str) -> Checkpoint:
    recipe = load_recipe(recipe_path, overrides)
    Trainer(recipe).run()
    return read_checkpoint(Path(recipe.output_dir) / "last.safetensors")


def assert_same_bits(a: Checkpoint, b: Checkpoint) -> None:
    for name in ("model", "average", "optimizer"):
        left, right = getattr(a, name), getattr(b, name)
        assert left.keys() == right.keys()
        assert all(torch.equal(left[key], right[key]) for key in left), name


def log_lines(folder: Path, event: str) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["event"] == event]


def test_a_model_learns_the_tones(recipe_path: Path, tmp_path: Path) -> None:
    checkpoint = run(recipe_path, "optimizer.total_steps=250", "loop.checkpoint_every=250", "loop.log_every=50")
    assert checkpoint.metrics["micro"]["cer"] < 0.1
    assert checkpoint.metrics["domains"]["tones"]["utterances"] == 24
    losses = [float(str(line["loss"])) for line in log_lines(tmp_path / "run", "train")]
    assert losses[-1] < 0.3 * losses[0]
    assert (tmp_path / "run" / "best.safetensors").exists()


def test_resume_ends_with_the_same_bits(recipe_path: Path, tmp_path: Path) -> None:
    whole = run(recipe_path, f"output_dir={tmp_path / 'whole'}")
    # as if killed after the checkpoint of step 4: the learning rate schedule is that of the whole run
    subprocess_dir = tmp_path / "killed"
    trainer = Trainer(load_recipe(recipe_path, [f"output_dir={subprocess_dir}"]))
    trainer._save("last.safetensors")
    stopped = StopAfter(trainer, 4)
    with pytest.raises(KeyboardInterrupt):
        stopped.run()
    assert read_checkpoint(subprocess_dir / "last.safetensors").progress.step == 4
    assert_same_bits(whole, run(recipe_path, f"output_dir={subprocess_dir}"))


class StopAfter:
    """Runs a trainer and interrupts it when a checkpoint at or past `step` has been written."""

    def __init__(self, trainer: Trainer, step: int) -> None:
        self.trainer, self.step, self.save = trainer, step, trainer._save
        trainer._save = self._save_then_stop  # type: ignore[method-assign]

    def run(self) -> None:
        self.trainer.run()

    def _save_then_stop(self, name: str) -> None:
        self.save(name)
        if self.trainer.progress.step >= self.step:
            raise KeyboardInterrupt


def test_kill_minus_nine_then_resume_ends_with_the_same_bits(recipe_path: Path, tmp_path: Path) -> None:
    overrides = ["optimizer.total_steps=30", "loop.checkpoint_every=3"]
    whole = run(recipe_path, *overrides, f"output_dir={tmp_path / 'whole'}")
    folder = tmp_path / "killed"
    command = [sys.executable, "-m", "train", str(recipe_path)]
    for override in [*overrides, f"output_dir={folder}"]:
        command += ["--set", override]
    process = subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 600  # on very busy cores
    while not (folder / "last.safetensors").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert read_checkpoint(folder / "last.safetensors").progress.step < 30
    subprocess.run(command, env=ENVIRONMENT, check=True, stderr=subprocess.DEVNULL)
    assert_same_bits(whole, read_checkpoint(folder / "last.safetensors"))


TWO_RANKS = """
import json, sys
from pathlib import Path
from train.config import load_recipe
from train.loop import Trainer

trainer = Trainer(load_recipe(sys.argv[1]))
seen, step = [], trainer._step
trainer._step = lambda batch, *more, **named: (seen.extend(batch.indices), step(batch, *more, **named))[1]
trainer.run()
weights = {name: float(value.double().sum()) for name, value in trainer.model.state_dict().items()}
Path(sys.argv[2], f"rank{trainer.group.rank}.json").write_text(json.dumps({"seen": seen, "weights": weights}))
"""


@pytest.mark.slow
def test_torchrun_starts_processes_that_share_the_data_and_end_with_equal_weights(
    recipe_path: Path, tmp_path: Path
) -> None:
    recipe = yaml.safe_load(recipe_path.read_text())
    recipe["loop"]["batch_s"] = 4
    recipe["optimizer"]["total_steps"] = 12
    recipe["curriculum"] = {"enabled": False}
    recipe["sampling"] = {"round_batches": 4}
    recipe_path.write_text(yaml.safe_dump(recipe))
    script = tmp_path / "two_ranks.py"
    script.write_text(TWO_RANKS)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*launch, str(script), str(recipe_path), str(tmp_path)],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    first, second = (json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in (0, 1))
    assert first["weights"] == second["weights"]
    assert first["seen"] and second["seen"]
    seen = Counter(first["seen"] + second["seen"])
    assert max(seen.values()) - min(seen[index] for index in range(24)) <= 2  # passes are shared; the last is cut short


def test_unreadable_audio_is_skipped_counted_and_named(
    recipe_path: Path, tone_corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken.wav").write_bytes(b"not audio")
    rows = (tone_corpus / "train.jsonl").read_text().splitlines()
    good = [json.loads(row) for row in rows]
    for row in good:
        row["audio_filepath"] = str(tone_corpus / row["audio_filepath"])
    broken = {"audio_filepath": "broken.wav", "duration": 1.5, "text": "a b", "domain": "tones"}
    (tmp_path / "mixed.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*good, broken]))
    run(recipe_path, f"data.root={tmp_path}", "data.train=[mixed.jsonl]", "data.dev=[]", "curriculum.enabled=false")
    assert log_lines(tmp_path / "run", "train")[-1]["unreadable"] == 1
    assert "broken.wav" in capsys.readouterr().err


def test_a_step_with_infinite_loss_is_skipped_and_counted(recipe_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = Trainer(load_recipe(recipe_path, ["data.dev=[]"]))
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    batch = next(trainer.feed.batches(0))
    monkeypatch.setattr(trainer.objective, "_ctc", lambda *_: trainer.model.head[1].weight.sum() * torch.inf)
    trainer._step(batch, time.perf_counter())
    assert trainer.progress.skipped_steps == 1
    assert all(torch.equal(before[name], value) for name, value in trainer.model.state_dict().items())


def test_a_checkpoint_of_another_architecture_is_refused(recipe_path: Path) -> None:
    run(recipe_path, "data.dev=[]", "optimizer.total_steps=1")
    with pytest.raises(ConfigError, match="another architecture"):
        Trainer(load_recipe(recipe_path, ["model.overrides.width=64"]))


def test_a_run_of_another_beginning_is_not_resumed(recipe_path: Path, tmp_path: Path) -> None:
    run(recipe_path, "data.dev=[]", "optimizer.total_steps=1")
    init = tmp_path / "run" / "last.safetensors"
    with pytest.raises(ConfigError, match=r"its run began with finetune\.init None, now it is '"):
        Trainer(load_recipe(recipe_path, ["data.dev=[]", "model={}", f"finetune.init={init}"]))


def test_without_inner_loss_a_run_resumes(recipe_path: Path) -> None:
    for steps in (4, 6):
        run(recipe_path, "data.dev=[]", "optimizer.inner_ctc_weight=0", f"optimizer.total_steps={steps}")


def test_impossible_utterances_are_left_out_and_counted(recipe_path: Path, tone_corpus: Path) -> None:
    row = {"audio_filepath": "0.wav", "duration": 0.2, "text": "a b c d a b c d", "domain": "tones"}
    path = tone_corpus / "dense.jsonl"
    path.write_text(json.dumps(row) + "\n")
    recipe = load_recipe(recipe_path, ["data.train=[train.jsonl, dense.jsonl]", "data.dev=[]"])
    assert Trainer(recipe).data.left_out["more labels than frames"] == 1


def test_learning_rate_rises_then_falls_to_zero() -> None:
    rates = [learning_rate(step, 1.0, 10, 100) for step in range(100)]
    assert rates.index(max(rates)) in (9, 10)
    assert rates[-1] < 1e-3 and all(rate > 0 for rate in rates)


def test_the_second_copy_is_read_from_its_step_on(recipe_path: Path, tmp_path: Path) -> None:
    overrides = ("loop.checkpoint_every=4", "loop.keep_every=4", "sampling.round_batches=2")
    plain = ("optimizer.consistency_weight=0",)
    late = ("optimizer.consistency_weight=0.2", "optimizer.consistency_from=0.5")
    runs = {
        name: run(recipe_path, *overrides, *how, f"output_dir={tmp_path / name}")
        for name, how in {"plain": plain, "late": late}.items()
    }
    halves = [read_checkpoint(tmp_path / name / "step-4.safetensors") for name in runs]
    assert_same_bits(*halves)
    with pytest.raises(AssertionError):
        assert_same_bits(*runs.values())
