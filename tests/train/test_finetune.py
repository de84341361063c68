"""Fine-tuning runs on the tone corpus: what they start from, what they draw, what they change and what they tell."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from silero_like.bundle import KENLM_MAGIC, load_bundle, set_language_model
from silero_like.errors import ConfigError
from silero_like.model.config import from_dict, preset
from silero_like.model.encoder import Recognizer
from train.bundling import bundle_arguments
from train.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from train.config import Recipe, load_recipe
from train.finish import write_bundle
from train.loop import Trainer
from train.schedule import learning_rate

OLD, NEW = "tones", "fresh"


@pytest.fixture
def source_path(recipe_path: Path, tmp_path: Path) -> Path:
    """A checkpoint that has learned for four steps."""
    recipe = load_recipe(recipe_path, [f"output_dir={tmp_path / 'source'}", "optimizer.total_steps=4", "data.dev=[]"])
    Trainer(recipe).run()
    return tmp_path / "source" / "last.safetensors"


@pytest.fixture
def finetune_path(source_path: Path, recipe_path: Path, tone_corpus: Path, tmp_path: Path) -> Path:
    """A recipe that goes on from the source on a new domain, six of the tones, and replays the old one, the rest."""
    rows = [json.loads(line) for line in (tone_corpus / "train.jsonl").read_text().splitlines()]
    for number, row in enumerate(rows):
        row["audio_filepath"] = str(tone_corpus / row["audio_filepath"])
        row["domain"] = NEW if number < 6 else OLD
    for name, part in (("new", rows[:6]), ("old", rows[6:]), ("dev", rows[::3])):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    recipe = yaml.safe_load(recipe_path.read_text())
    recipe["data"] = {"root": str(tmp_path), "train": ["new.jsonl"], "replay": ["old.jsonl"], "dev": ["dev.jsonl"]}
    recipe["model"] = {}
    recipe["finetune"] = {"init": str(source_path)}
    path = tmp_path / "finetune.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return path


def load(path: Path, *overrides: str) -> Recipe:
    return load_recipe(path, overrides)


def run(path: Path, *overrides: str) -> Checkpoint:
    recipe = load(path, *overrides)
    Trainer(recipe).run()
    return read_checkpoint(Path(recipe.output_dir) / "last.safetensors")


def log_lines(path: Path, event: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (path / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["event"] == event]


def log_probs(model: Recognizer) -> torch.Tensor:
    waveform = torch.from_numpy(0.1 * np.random.default_rng(0).standard_normal((1, 40000)).astype(np.float32))
    with torch.inference_mode():
        return model.eval()(waveform, torch.tensor([40000])).log_probs


def test_before_the_first_step_it_hears_as_its_source_did(finetune_path: Path, source_path: Path) -> None:
    source = read_checkpoint(source_path)
    model = Recognizer(from_dict(source.model_config))
    model.load_state_dict(source.average)
    trainer = Trainer(load(finetune_path))
    assert torch.equal(log_probs(trainer.model), log_probs(model))
    assert all(torch.equal(trainer.average[name], value) for name, value in source.average.items())
    assert not torch.equal(source.model["head.1.weight"], source.average["head.1.weight"])  # not the raw weights
    assert trainer.data.tokenizer_model == source.tokenizer


def test_a_replaced_vocabulary_is_trained_on_new_and_old_texts(finetune_path: Path, source_path: Path) -> None:
    overrides = ["finetune.vocabulary=replace", "tokenizer.vocab_size=8", "optimizer.total_steps=2"]
    checkpoint = run(finetune_path, *overrides)
    assert checkpoint.tokenizer != read_checkpoint(source_path).tokenizer
    assert checkpoint.model["head.1.weight"].shape[0] == checkpoint.model_config["n_labels"] == 9
    resumed = Trainer(load(finetune_path, *overrides)).model.state_dict()
    assert all(torch.equal(value, checkpoint.model[name]) for name, value in resumed.items())


def test_frozen_parameters_stay_bit_equal_and_the_rest_learn(finetune_path: Path, source_path: Path) -> None:
    source = read_checkpoint(source_path).average
    checkpoint = run(finetune_path, "finetune.freeze=[stem, conv_blocks.0]")
    frozen = {name for name in source if name.startswith(("stem.", "conv_blocks.0.", "frontend."))}
    for weights in (checkpoint.model, checkpoint.average):
        assert all(torch.equal(weights[name], source[name]) for name in frozen)
        assert not any(torch.equal(weights[name], source[name]) for name in source.keys() - frozen)
    assert {name.partition(".")[2] for name in checkpoint.optimizer} == source.keys() - frozen


def test_dropped_layers_stay_dropped_when_the_run_resumes(finetune_path: Path) -> None:
    overrides = ["finetune.drop_conv_blocks=1", "finetune.drop_attention_blocks=1"]
    run(finetune_path, *overrides, "optimizer.total_steps=4")
    checkpoint = run(finetune_path, *overrides)
    assert checkpoint.progress.step == 8
    assert (checkpoint.model_config["n_conv_blocks"], checkpoint.model_config["n_attention_blocks"]) == (1, 0)


def test_added_layers_learn_on_when_the_run_resumes(finetune_path: Path) -> None:
    overrides = ["finetune.add_conv_blocks=1", "finetune.add_attention_blocks=1"]
    begun = run(finetune_path, *overrides, "optimizer.total_steps=4")
    checkpoint = run(finetune_path, *overrides)
    assert checkpoint.progress.step == 8
    assert (checkpoint.model_config["n_conv_blocks"], checkpoint.model_config["n_attention_blocks"]) == (3, 2)
    added = "conv_blocks.2.project.weight"
    assert begun.model[added].norm() > 0 and not torch.equal(begun.model[added], checkpoint.model[added])


def test_each_layer_learns_at_its_own_rate(finetune_path: Path) -> None:
    trainer = Trainer(load(finetune_path, "finetune.layer_lr_decay=0.5"))
    trainer._step(next(trainer.feed.batches(0)), 0.0)
    names = {parameter: name for name, parameter in trainer.parameters.items()}
    rates = {names[p]: group["lr"] for group in trainer.optimizer.param_groups for p in group["params"]}
    optimizer = trainer.recipe.optimizer
    peak = learning_rate(0, optimizer.peak_lr, optimizer.warmup_steps, optimizer.total_steps)
    assert rates["head.1.weight"] == peak
    assert rates["attention_blocks.0.qkv.weight"] == peak / 2
    assert rates["conv_blocks.1.expand.weight"] == peak / 4
    assert rates["conv_blocks.0.expand.weight"] == peak / 8
    assert rates["stem.first.conv.weight"] == peak / 16


@pytest.mark.parametrize("replay", [0.25, 0.7])
def test_the_share_of_replay_is_drawn_and_told_apart(finetune_path: Path, tmp_path: Path, replay: float) -> None:
    overrides = [f"finetune.replay={replay}", "curriculum.enabled=false", "data.dev=[]", "loop.checkpoint_every=99"]
    trainer = Trainer(load(finetune_path, *overrides, "optimizer.total_steps=60", "sampling.round_batches=20"))
    trainer.run()
    drawn = trainer.feed.drawn
    assert drawn.keys() == {NEW, f"{OLD} (replay)"}
    total = sum(drawn.values())
    assert total > 200
    deviation = (replay * (1 - replay) / total) ** 0.5
    assert abs(drawn[f"{OLD} (replay)"] / total - replay) < 5 * deviation  # five standard deviations of a binomial
    logged = log_lines(tmp_path / "run", "train")[-1]
    assert logged["shares"].keys() == drawn.keys()
    assert logged["shares"][NEW] == pytest.approx(1 - replay, abs=5 * deviation)


def test_without_replay_the_old_domain_is_not_drawn(finetune_path: Path) -> None:
    trainer = Trainer(load(finetune_path, "finetune.replay=0", "data.dev=[]"))
    trainer.run()
    assert trainer.feed.drawn[NEW] > 0 and trainer.feed.drawn[f"{OLD} (replay)"] == 0


def test_new_and_old_domains_are_measured_before_during_and_after(
    finetune_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(finetune_path, "loop.eval_every=4")
    lines = log_lines(tmp_path / "run", "eval")
    assert [line["step"] for line in lines] == [0, 4, 8]
    assert all(line["domains"].keys() == {NEW, OLD} for line in lines)
    shown = capsys.readouterr().err
    table = shown[shown.index("domain                   kind") :].splitlines()
    assert table[0].split() == ["domain", "kind", "before", "step", "4", "after"]
    for row, (name, kind) in zip(table[1:3], ((NEW, "new"), (OLD, "old")), strict=True):
        assert row.split() == [name, kind, *(f"{line['domains'][name]['cer']:.1%}" for line in lines)]


def test_a_run_that_made_nothing_better_leaves_the_model_it_began_from(
    finetune_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(finetune_path, "optimizer.peak_lr=1.0e-12")
    assert [line["step"] for line in log_lines(tmp_path / "run", "eval")] == [0, 8]
    assert read_checkpoint(tmp_path / "run" / "best.safetensors").progress.step == 0
    monkeypatch.setattr("silero_like.export.export_bundle", lambda path, **_: path)
    line = write_bundle(tmp_path / "run")
    assert line.endswith(
        "bundle, the weights of step 0: no evaluation was better than the model that the run began from"
    )


def test_the_language_model_of_the_source_goes_with_the_bundle(
    source_path: Path, tmp_path: Path, bundled_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "words.bin").write_bytes(KENLM_MAGIC + b" format version 5\n\0")
    shutil.copytree(bundled_model, tmp_path / "init")
    settings = {"alpha": 0.5, "prior_weight": 0.4, "log_priors": [-1.0] * 257}
    set_language_model(tmp_path / "init", tmp_path / "words.bin", settings)
    checkpoint = read_checkpoint(source_path)
    checkpoint.recipe["finetune"]["init"] = str(tmp_path / "init")
    (tmp_path / "run").mkdir()
    write_checkpoint(tmp_path / "run" / "best.safetensors", checkpoint)
    monkeypatch.setattr("silero_like.export.export_bundle", lambda path, **_: shutil.copytree(bundled_model, path))
    assert "with the language model of" in write_bundle(tmp_path / "run")
    bundle = load_bundle(tmp_path / "run" / "bundle")
    assert bundle.lm_path and bundle.lm_path.read_bytes() == (tmp_path / "words.bin").read_bytes()
    assert bundle.decoder == {"alpha": 0.5}  # its labels are others, so their priors stay behind
    shutil.rmtree(tmp_path / "run" / "bundle")
    same = dataclasses.replace(checkpoint, tokenizer=(bundled_model / "tokenizer.model").read_bytes())
    write_checkpoint(tmp_path / "run" / "best.safetensors", same)
    write_bundle(tmp_path / "run")
    assert load_bundle(tmp_path / "run" / "bundle").decoder == settings


def test_it_resumes_with_the_same_bits_without_its_source(
    finetune_path: Path, source_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(finetune_path, f"output_dir={tmp_path / 'whole'}", "finetune.freeze=[stem]")
    overrides = [f"output_dir={tmp_path / 'stopped'}", "finetune.freeze=[stem]"]
    trainer = Trainer(load(finetune_path, *overrides))
    save = trainer._save

    def save_then_stop(name: str) -> None:
        save(name)
        if trainer.progress.step == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(trainer, "_save", save_then_stop)
    with pytest.raises(KeyboardInterrupt):
        trainer.run()
    source_path.unlink()  # the checkpoint holds all there is to know of it
    resumed = run(finetune_path, *overrides)
    assert resumed.progress.step == 8
    for name in ("model", "average", "optimizer"):
        left, right = getattr(whole, name), getattr(resumed, name)
        assert left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left), name
    steps = [line["step"] for line in log_lines(tmp_path / "stopped", "eval")]
    assert steps == [0, 8]  # the model that it began from is not measured again


def test_a_fine_tuned_model_can_be_fine_tuned(finetune_path: Path, tmp_path: Path) -> None:
    first = run(finetune_path, "data.dev=[]", "optimizer.total_steps=2")
    second = tmp_path / "run" / "last.safetensors"
    trainer = Trainer(load(finetune_path, f"finetune.init={second}", f"output_dir={tmp_path / 'again'}"))
    assert all(torch.equal(value, first.average[name]) for name, value in trainer.model.state_dict().items())


@pytest.mark.parametrize("override", ["finetune.init=other", "finetune.drop_conv_blocks=1", "data.lang=ru"])
def test_another_beginning_is_not_resumed(finetune_path: Path, override: str) -> None:
    run(finetune_path, "data.dev=[]", "optimizer.total_steps=1")
    with pytest.raises(ConfigError, match=r"its run began with finetune|normalised by en-1"):
        Trainer(load(finetune_path, "data.dev=[]", override))


@pytest.mark.parametrize("part", ["new", "old"])
def test_nothing_usable_to_learn_or_to_replay_is_an_error(finetune_path: Path, tmp_path: Path, part: str) -> None:
    path = tmp_path / f"{part}.jsonl"
    row = json.loads(path.read_text().splitlines()[0])
    path.write_text(json.dumps(row | {"duration": 0.05}) + "\n")
    with pytest.raises(ConfigError, match=rf"no usable training utterance in {part}\.jsonl: .*'shorter than 0\.1 s'"):
        Trainer(load(finetune_path))
    if part == "old":
        Trainer(load(finetune_path, "finetune.replay=0"))


def test_a_bundle_has_the_size_of_its_model_and_not_of_its_recipe(source_path: Path) -> None:
    checkpoint = read_checkpoint(source_path)
    assert checkpoint.recipe["model"]["preset"] == "tiny" and bundle_arguments(checkpoint)["preset"] == "custom"
    small = dataclasses.replace(checkpoint, model_config=preset("small", n_labels=11).to_dict())
    assert bundle_arguments(small)["preset"] == "small"


def test_mistakes_are_named_before_anything_is_learned(finetune_path: Path, tmp_path: Path) -> None:
    for override, message in (
        ("finetune.freeze=[stern]", "no parameter begins with 'stern': the layers are stem, conv_blocks"),
        ("data.lang=ru", r"normalised by en-1.*ru-1"),
        ("model.preset=small", "leave out preset"),
        ("finetune.init=nothing", "nothing: no such checkpoint"),
        ("finetune.drop_conv_blocks=9", "cannot drop 9 of 2 conv_blocks"),
    ):
        with pytest.raises(ConfigError, match=message):
            Trainer(load(finetune_path, override))
    assert not (tmp_path / "run" / "last.safetensors").exists()
