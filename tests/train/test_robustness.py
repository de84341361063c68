"""What a run promises when memory, numbers, disks or data fail it, in one process; several are in test_distributed."""

import io
import json
import os
import resource
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner

from silero_like.cli.train import train as command
from silero_like.errors import ConfigError, SileroLikeError
from train.batches import Batch
from train.checkpoint import Checkpoint, read_checkpoint
from train.config import load_recipe
from train.loop import MAX_DEAF_STEPS, Trainer
from train.objective import Learned, Objective

NO_DEV = "data.dev=[]"
# Nothing that depends on how a batch is cut: a pass over its pieces must then equal one over the whole.
EXACT = [NO_DEV, "model.overrides.dropout=0", "augment.frequency_masks=0", "augment.time_masks_per_s=0"]


def trainer(recipe_path: Path, *overrides: str) -> Trainer:
    return Trainer(load_recipe(recipe_path, overrides))


def run(recipe_path: Path, *overrides: str) -> Checkpoint:
    one = trainer(recipe_path, *overrides)
    one.run()
    return read_checkpoint(one.output_dir / "last.safetensors")


class Killed(Exception):
    """Ends a run as a kill would, between a checkpoint and the next step."""


def run_until(step: int, one: Trainer) -> None:
    """Run until the checkpoint of a step has been written."""
    save = one._save

    def save_then_die(name: str) -> None:
        save(name)
        if one.progress.step == step:
            raise Killed

    one._save = save_then_die  # type: ignore[method-assign]
    with pytest.raises(Killed):
        one.run()


def events(one: Trainer, name: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (one.output_dir / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["event"] == name]


def assert_same_bits(a: Checkpoint, b: Checkpoint) -> None:
    for name in ("model", "average", "optimizer", "feed_tensors"):
        left, right = getattr(a, name), getattr(b, name)
        assert left.keys() == right.keys()
        assert all(torch.equal(left[key], right[key]) for key in left), name
    assert a.feed == b.feed


# Memory


def limit_memory(monkeypatch: pytest.MonkeyPatch, n_utterances: int) -> list[int]:
    """Let batches above a size run out of memory; return the list that sizes of the others are noted in."""
    sizes: list[int] = []
    forward = Objective.forward

    def limited(self: Objective, batch: Batch, generator: np.random.Generator) -> Learned:
        if len(batch.lengths) > n_utterances:
            raise torch.OutOfMemoryError("made up")
        sizes.append(len(batch.lengths))
        return forward(self, batch, generator)

    monkeypatch.setattr(Objective, "forward", limited)
    monkeypatch.setattr("train.loop.estimate_memory", lambda *_: "not measured")  # it tries a batch of its own
    return sizes


@pytest.mark.parametrize("n_fit", [1, 2, 3, 4])
def test_a_split_batch_gives_the_loss_and_gradient_of_the_whole(
    recipe_path: Path, monkeypatch: pytest.MonkeyPatch, n_fit: int
) -> None:
    one = trainer(recipe_path, *EXACT)
    batch = next(one.feed.batches(0))
    whole, split = one.backward(batch)
    assert not split and len(batch.lengths) >= 5
    gradients = {name: value.grad.clone() for name, value in one.parameters.items() if value.grad is not None}
    one.optimizer.zero_grad()
    sizes = limit_memory(monkeypatch, n_fit)
    parts, split = one.backward(batch)
    assert split and max(sizes) <= n_fit and sum(sizes[-len(batch.lengths) :]) >= len(batch.lengths)
    assert float(parts.loss) == pytest.approx(float(whole.loss), rel=1e-6)  # float32, summed in another order
    for row, length in enumerate(whole.lengths):
        assert torch.equal(parts.labels[row, :length], whole.labels[row, :length])
    assert torch.equal(parts.lengths, whole.lengths)
    for name, gradient in gradients.items():  # float32, thousands of terms summed in another order: up to 7e-6 was seen
        difference = one.parameters[name].grad - gradient  # type: ignore[operator]
        assert float(difference.norm()) <= 3e-5 * float(gradient.norm()), name


def test_running_out_of_memory_lowers_the_budget_once_and_says_so_once(
    recipe_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = limit_memory(monkeypatch, 2)
    one = trainer(recipe_path, NO_DEV)
    one.run()
    assert [(line["step"], line["batch_s"]) for line in events(one, "out_of_memory")] == [(0, pytest.approx(5.6))]
    assert capsys.readouterr().err.count("out of GPU memory") == 1
    assert one.feed.sampler.batch_s == pytest.approx(5.6) and set(sizes) == {1, 2}


def test_a_run_that_ran_out_of_memory_resumes_with_the_lowered_budget_and_the_same_bits(
    recipe_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit_memory(monkeypatch, 4)
    often = [NO_DEV, "loop.checkpoint_every=1"]
    whole = run(recipe_path, *often)
    killed = trainer(recipe_path, *often, f"output_dir={tmp_path / 'killed'}")
    run_until(2, killed)  # in the middle of the round in which the budget fell
    resumed = run(recipe_path, *often, f"output_dir={tmp_path / 'killed'}")
    assert resumed.feed["batch_s"] == pytest.approx(5.6)
    assert_same_bits(whole, resumed)
    assert len(events(killed, "out_of_memory")) == 1


def test_an_utterance_that_does_not_fit_is_a_clear_error(recipe_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit_memory(monkeypatch, 0)
    with pytest.raises(ConfigError, match=r"one utterance of \d\.\d s does not fit the memory: lower data.max_dur"):
        run(recipe_path, NO_DEV)


def test_another_batch_s_holds_from_a_resume_on(recipe_path: Path) -> None:
    run(recipe_path, NO_DEV, "optimizer.total_steps=4")
    larger = trainer(recipe_path, NO_DEV, "loop.batch_s=16")
    larger.run()
    assert larger.feed.sampler.batch_s == 16


# Numbers


def poison(one: Trainer, monkeypatch: pytest.MonkeyPatch, *steps: int) -> None:
    """Make the loss of some steps NaN."""
    ctc = one.objective._ctc
    monkeypatch.setattr(
        one.objective, "_ctc", lambda *args: ctc(*args) * (torch.nan if one.progress.step in steps else 1)
    )


def test_a_step_without_a_finite_loss_is_skipped_counted_and_its_batch_named(
    recipe_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    one = trainer(recipe_path, NO_DEV)
    poison(one, monkeypatch, 2, 5)
    batches: list[Batch] = []
    step = one._step

    def noting(batch: Batch, *args: float, **named: bool) -> bool:
        before = {name: value.clone() for name, value in one.model.state_dict().items()}
        batches.append(batch)
        stop = step(batch, *args, **named)
        still = all(torch.equal(before[name], value) for name, value in one.model.state_dict().items())
        assert still == (len(batches) - 1 in (2, 5))
        return stop

    monkeypatch.setattr(one, "_step", noting)
    one.run()
    skipped = events(one, "skipped")
    assert [line["step"] for line in skipped] == [2, 5]
    for line in skipped:
        rows = batches[line["step"]].indices
        assert line["utterances"] == [str(one.data.examples[row].utterance.audio_path) for row in rows]
    assert events(one, "train")[-1]["skipped_steps"] == 2
    checkpoint = read_checkpoint(one.output_dir / "last.safetensors")
    assert checkpoint.progress.skipped_steps == 2
    assert {float(v) for name, v in checkpoint.optimizer.items() if name.startswith("step.")} == {6.0}
    assert all(torch.isfinite(value).all() for value in checkpoint.average.values())
    assert capsys.readouterr().err.count("loss or gradient is not finite, skipped") == 2


def test_a_gradient_beyond_fp16_lowers_the_scale_and_blames_no_utterance(
    recipe_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = trainer(recipe_path, NO_DEV, "loop.precision=fp16")
    one.run()
    scales = [line["loss_scale"] for line in events(one, "overflow")]
    assert scales and scales == [2.0**16 / 2**number for number in range(len(scales))]
    assert one.progress.skipped_steps == len(scales) < 8
    assert not events(one, "skipped") and "not finite" not in capsys.readouterr().err


def test_a_gradient_that_no_scale_mends_is_told(recipe_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = trainer(recipe_path, NO_DEV, "loop.precision=fp16", "optimizer.total_steps=3")
    one.scaler = torch.amp.GradScaler("cpu", init_scale=2)
    one.model.head[1].bias.register_hook(lambda gradient: gradient * torch.inf)
    one.run()
    assert [line["loss_scale"] for line in events(one, "overflow")] == [2, 1]
    (skipped,) = events(one, "skipped")
    assert skipped["step"] == 2 and skipped["utterances"]
    assert capsys.readouterr().err.count("loss or gradient is not finite, skipped") == 1


def test_only_blanks_are_warned_of_and_counted_across_a_resume(
    recipe_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("train.feed.collapse", lambda *_: [])
    settings = [NO_DEV, "loop.blank_warning_steps=3"]
    run_until(4, trainer(recipe_path, *settings))
    again = trainer(recipe_path, *settings)
    assert again.progress.blank_steps == 4
    again.run()
    assert [(line["step"], line["steps"]) for line in events(again, "only_blanks")] == [(2, 3), (5, 6)]
    assert "nothing but blanks for 6 steps; a CTC model begins so" in capsys.readouterr().err


# Disks


@contextmanager
def files_up_to(n_bytes: int) -> Iterator[None]:
    """Let this process write no file beyond a size, so that writing fails as on a full disk, within a file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def fail_to_save(one: Trainer, when: Callable[[str, int], bool]) -> None:
    """Let checkpoints be too large for the disk when their name and step say so."""
    save = one._save

    def limited(name: str) -> None:
        with files_up_to(100_000) if when(name, one.progress.step) else nullcontext():
            save(name)

    one._save = limited  # type: ignore[method-assign]


def test_a_disk_that_is_full_for_a_while_costs_a_checkpoint_and_not_the_run(
    recipe_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = run(recipe_path, NO_DEV, f"output_dir={tmp_path / 'whole'}")
    one = trainer(recipe_path, NO_DEV, "loop.checkpoint_every=2")
    fail_to_save(one, lambda _, step: step == 4)
    one.run()
    assert_same_bits(whole, read_checkpoint(one.output_dir / "last.safetensors"))
    err = capsys.readouterr().err
    assert err.count("cannot write") == 1 and "step 4" in err and "the run goes on" in err
    assert not list(one.output_dir.glob(".*"))  # no half-written file


def test_a_disk_that_is_full_at_the_end_is_an_error_and_the_same_command_makes_it_good(
    recipe_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(recipe_path, NO_DEV, f"output_dir={tmp_path / 'whole'}")
    arguments = [str(recipe_path), "--set", NO_DEV]
    with monkeypatch.context() as patch:
        begin = Trainer.run

        def run_short_of_disk(one: Trainer) -> None:
            fail_to_save(one, lambda _, step: step == 8)
            begin(one)

        patch.setattr(Trainer, "run", run_short_of_disk)
        result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 1
    assert "Error: " in result.stderr and "last.safetensors could not be written: make room" in result.stderr
    folder = tmp_path / "run"
    assert read_checkpoint(folder / "last.safetensors").progress.step == 4
    assert not (folder / "suspects.jsonl").exists()  # nothing is made from an old checkpoint
    assert CliRunner().invoke(command, arguments).exit_code == 0
    assert_same_bits(whole, read_checkpoint(folder / "last.safetensors"))


def test_a_best_checkpoint_that_was_not_written_sets_no_mark_for_the_next(recipe_path: Path) -> None:
    # a model this young reads nothing: all evaluations are equal, only the first is an improvement
    one = trainer(recipe_path, "loop.eval_every=3", "optimizer.peak_lr=0.000001")
    fail_to_save(one, lambda name, step: name == "best.safetensors" and step == 3)
    one.run()
    assert read_checkpoint(one.output_dir / "best.safetensors").progress.step == 6


def test_what_a_kill_left_half_written_is_cleared_away(recipe_path: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".best.safetensors.tmp").write_bytes(b"half")
    run(recipe_path, NO_DEV, "optimizer.total_steps=1")
    assert not list((tmp_path / "run").glob(".*"))


def test_a_log_that_cannot_be_written_is_warned_about_once(
    recipe_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run" / "log.jsonl").mkdir(parents=True)
    run(recipe_path, "loop.log_every=1")
    err = capsys.readouterr().err
    assert err.count("cannot write") == 1 and "the run goes on without its log" in err


def test_half_a_line_in_the_log_costs_only_itself(recipe_path: Path) -> None:
    one = trainer(recipe_path)
    one.telemetry.path.write_text('{"event": "train", "st')
    one.telemetry.event("eval", step=1)
    one.telemetry.event("eval", step=2)
    assert one.telemetry.path.read_text().splitlines()[1:] == [
        '{"event": "eval", "step": 1}',
        '{"event": "eval", "step": 2}',
    ]


def test_tensorboard_on_a_full_disk_ends_and_the_run_goes_on(
    recipe_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Full:
        def __getattr__(self, method: str) -> None:
            raise OSError(28, "No space left on device")

    one = trainer(recipe_path)
    one.telemetry.board = Full()
    one.run()
    assert capsys.readouterr().err.count("the run goes on without them") == 1


def test_a_terminal_that_has_gone_does_not_end_the_run(recipe_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(5, "Input/output error")

    one = trainer(recipe_path, NO_DEV)
    monkeypatch.setattr("sys.stderr", Gone())
    one.run()
    assert one.progress.step == 8


def test_an_output_folder_that_cannot_be_made_or_written_is_named(
    recipe_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SileroLikeError, match=r"recipe\.yaml/run: Not a directory"):
        trainer(recipe_path, f"output_dir={recipe_path}/run")

    def forbidden(path: Path, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    one = trainer(recipe_path, NO_DEV)
    monkeypatch.setattr(Path, "write_text", forbidden)  # root, who may run the tests, is denied nothing
    with pytest.raises(SileroLikeError, match=r"run/recipe\.yaml: Permission denied: once that is mended"):
        one.run()


# Data


@pytest.fixture
def corpus(tone_corpus: Path, tmp_path: Path) -> Path:
    """A copy of the tones that a test may damage."""
    return Path(shutil.copytree(tone_corpus, tmp_path / "corpus"))


def rows_of(corpus: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (corpus / "train.jsonl").read_text().splitlines()]


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


GONE = {"audio_filepath": "gone.wav", "duration": 1.0, "text": "a b"}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.train=[nothing.jsonl]"], r"nothing\.jsonl: cannot read the manifest \(No such file or directory\)"),
        (["data.train=[train.jsonl, empty.jsonl]"], r"empty\.jsonl: no usable row \(it is empty\)"),
        (["data.train=[gone.jsonl]"], r"gone\.jsonl: no usable row \(.*gone\.jsonl:1: no audio file at .*gone\.wav\)"),
        (["data.dev=[gone.jsonl]"], r"gone\.jsonl: no usable row"),
        (["data.max_duration_s=0.2"], r"no usable training utterance in train\.jsonl: .*'longer than 0\.2 s': 24"),
        (["data.lang=tlh"], "no text normaliser 'tlh'"),
        (["tokenizer.vocab_size=500"], r"too small for 500 pieces, it holds \d+: lower vocab_size"),
        (["tokenizer.vocab_size=2"], r"needs at least \d+ pieces"),
        (["tokenizer.path=nothing.model"], r"nothing\.model: cannot read the tokenizer"),
        (["model.preset=huge"], "huge"),
        (["model.overrides.widht=64"], "widht"),
        (
            ["sampling.weights={tones: 1, radio: 1}"],
            "sampling.weights names unknown domain 'radio': the domains",
        ),
        (["sampling.weights={radio: 1}", "data.replay=[train.jsonl]"], "names unknown domain 'radio'"),
        (["curriculum.targets={radio: 0.1}"], "curriculum.targets names unknown domain 'radio'"),
        (["augment.noise=nothing.json"], r"nothing\.json"),
        (["finetune.init=nothing"], "nothing: no such checkpoint"),
        (["loop.batch_s=.inf"], r"loop\.batch_s must be positive"),
        (["seed=-1"], "seed must not be negative"),
        (["optimizer.warmup_steps=-1"], r"optimizer\.warmup_steps must not be negative"),
        (["optimizer.inner_ctc_weight=1.5"], r"optimizer\.inner_ctc_weight must lie in \[0, 1\]"),
        (["loop.blank_warning_steps=0"], r"loop\.blank_warning_steps must be positive"),
    ],
)
def test_a_bad_input_is_one_clear_error(recipe_path: Path, corpus: Path, overrides: list[str], message: str) -> None:
    (corpus / "empty.jsonl").write_text("\n")
    write_rows(corpus / "gone.jsonl", [GONE])
    with pytest.raises(SileroLikeError, match=message):
        trainer(recipe_path, f"data.root={corpus}", *overrides)


@pytest.mark.parametrize("with_others", [True, False])
def test_a_domain_of_one_utterance_trains(recipe_path: Path, corpus: Path, with_others: bool) -> None:
    row = rows_of(corpus)[0]
    write_rows(corpus / "one.jsonl", [{**row, "offset": 0.1, "duration": row["duration"] - 0.1, "domain": "lone"}])
    others = "train.jsonl, " if with_others else ""
    settings = [NO_DEV, "tokenizer.vocab_size=6", "optimizer.total_steps=30"]
    one = trainer(recipe_path, f"data.root={corpus}", f"data.train=[{others}one.jsonl]", *settings)
    one.run()
    last = events(one, "train")[-1]
    assert last["epoch"] > 0 and last["passes"]["lone"] > 1
    assert last["shares"]["lone"] == pytest.approx(0.5 if with_others else 1, abs=0.2)


def test_audio_that_vanishes_in_the_middle_of_an_epoch_is_skipped_counted_and_named_once(
    recipe_path: Path, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ["loop.log_every=1", "loop.prefetch_batches=1", "curriculum.enabled=false", "optimizer.total_steps=20"]
    one = trainer(recipe_path, f"data.root={corpus}", NO_DEV, "data.cache_gb=0", *settings)
    step = one._step

    def step_and_delete(*args: Any, **named: Any) -> bool:
        if one.progress.step == 2:
            for number in range(5):
                (corpus / f"{number}.wav").unlink()
        return step(*args, **named)

    one._step = step_and_delete  # type: ignore[method-assign]
    one.run()
    assert one.progress.step == 20
    counts = [line["unreadable"] for line in events(one, "train")]
    assert counts[:2] == [0, 0] and counts == sorted(counts) and counts[-1] == 5
    named = [message for line in events(one, "unreadable") for message in line["messages"]]
    assert sorted(Path(message.split(": ")[0]).name for message in named) == [f"{number}.wav" for number in range(5)]
    assert "unreadable audio, skipped: " in capsys.readouterr().err


def test_a_disk_that_goes_away_ends_the_run_before_it_forgets(recipe_path: Path, corpus: Path) -> None:
    one = trainer(recipe_path, f"data.root={corpus}", NO_DEV, "optimizer.total_steps=100")
    for path in corpus.glob("*.wav"):
        path.unlink()
    with pytest.raises(SileroLikeError, match=rf"no audio at all could be read for {MAX_DEAF_STEPS} steps \(.*\.wav"):
        one.run()


def test_dev_audio_that_vanishes_is_named_and_the_run_goes_on(
    recipe_path: Path, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (corpus / "dev.wav").write_bytes((corpus / "0.wav").read_bytes())
    write_rows(corpus / "dev.jsonl", [{**rows_of(corpus)[0], "audio_filepath": "dev.wav"}])
    one = trainer(recipe_path, f"data.root={corpus}", "data.dev=[dev.jsonl]")
    (corpus / "dev.wav").unlink()
    one.run()
    assert not events(one, "eval") and one.progress.step == 8
    err = capsys.readouterr().err
    assert "unreadable audio, left out: " in err and "warning: step 8: nothing was measured" in err
    assert not (one.output_dir / "best.safetensors").exists()


def test_rows_of_a_dev_manifest_that_cannot_be_used_are_counted(recipe_path: Path, corpus: Path) -> None:
    write_rows(corpus / "dev.jsonl", [rows_of(corpus)[0], GONE])
    one = trainer(recipe_path, f"data.root={corpus}", "data.dev=[dev.jsonl]")
    assert one.data.left_out["bad row of a dev manifest"] == 1 and one.data.left_out["bad manifest row"] == 0


# Resuming something else


def test_fewer_steps_than_were_taken_are_refused(recipe_path: Path) -> None:
    run(recipe_path, NO_DEV)
    with pytest.raises(ConfigError, match=r"checkpoint is at step 8, past the end of the run: raise optimizer"):
        trainer(recipe_path, NO_DEV, "optimizer.total_steps=4")


def test_a_training_set_that_has_changed_is_told(
    recipe_path: Path, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = [f"data.root={corpus}", NO_DEV]
    run(recipe_path, *settings, "optimizer.total_steps=4")
    rows = rows_of(corpus)
    write_rows(corpus / "train.jsonl", [{**rows[0], "text": "d d d"}, *rows[1:]])
    run(recipe_path, *settings)
    assert "warning: train.jsonl has changed since the checkpoint" in capsys.readouterr().err


def test_a_finished_run_that_is_started_again_trains_no_more(recipe_path: Path) -> None:
    first = run(recipe_path, NO_DEV)
    one = trainer(recipe_path, NO_DEV)
    before = (one.output_dir / "last.safetensors").read_bytes()
    one.run()
    assert first.progress.step == one.progress.step == 8
    assert (one.output_dir / "last.safetensors").read_bytes() == before


# Signals


def send_at(one: Trainer, step: int, *signals: int) -> None:
    """Send signals to this process at the beginning of a step."""
    take = one._step

    def step_after_signals(*args: Any, **named: Any) -> bool:
        if one.progress.step == step:
            for number in signals:
                os.kill(os.getpid(), number)
        return take(*args, **named)

    one._step = step_after_signals  # type: ignore[method-assign]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_stops_and_the_rest_ends_with_the_same_bits(
    recipe_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], number: int
) -> None:
    whole = run(recipe_path, NO_DEV, f"output_dir={tmp_path / 'whole'}")
    before = signal.getsignal(number)
    one = trainer(recipe_path, NO_DEV)
    send_at(one, 2, number)
    one.run()
    stopped = read_checkpoint(one.output_dir / "last.safetensors").progress.step
    assert 3 <= stopped <= 4 and signal.getsignal(number) is before
    assert f"stopped at step {stopped}; the same command goes on from there" in capsys.readouterr().err
    assert_same_bits(whole, run(recipe_path, NO_DEV))


def test_a_second_interrupt_ends_at_once(recipe_path: Path) -> None:
    one = trainer(recipe_path, NO_DEV)
    send_at(one, 2, signal.SIGINT, signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        one.run()
    assert not (one.output_dir / "last.safetensors").exists()


def test_the_recipe_in_the_run_folder_begins_the_same_run(recipe_path: Path, tmp_path: Path) -> None:
    first = run(recipe_path, NO_DEV)
    values = yaml.safe_load((tmp_path / "run" / "recipe.yaml").read_text())
    again = tmp_path / "again.yaml"
    again.write_text(yaml.safe_dump({**values, "output_dir": str(tmp_path / "again")}))
    assert_same_bits(first, run(again))
