import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from silero_like.audio import load_audio
from silero_like.bundle import WEIGHTS_NAME, load_bundle, write_checksums
from silero_like.errors import BundleError, ConfigError
from silero_like.export import export_bundle
from silero_like.model.config import ModelConfig, preset
from silero_like.model.encoder import Recognizer
from silero_like.runtime import Runtime
from silero_like.tokenizer import Tokenizer, train_tokenizer
from train.config import FinetuneConfig, OptimizerConfig, Recipe, load_recipe
from train.start import Source, layers_above, make_model, parameter_groups, read_source

ROOT = Path(__file__).resolve().parents[2]
SHAPE = {"width": 32, "n_conv_blocks": 3, "n_attention_blocks": 2, "n_heads": 2, "se_every": 2}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return train_tokenizer(["a b c d", "d c b a"] * 9, tmp_path_factory.mktemp("t") / "tokenizer.model", vocab_size=10)


def trained(config: ModelConfig) -> Recognizer:
    """Stand in for a trained model: random weights, also of biases, norms and feature statistics."""
    torch.manual_seed(7)
    model = Recognizer(config).eval()
    with torch.no_grad():
        for value in model.state_dict().values():
            value.add_(0.1 * torch.randn_like(value))
    return model


@pytest.fixture
def source(tokenizer: Tokenizer) -> Source:
    config = preset("tiny", n_labels=tokenizer.n_labels, **SHAPE)
    return Source(dict(trained(config).state_dict()), config.to_dict(), tokenizer.model, "en-1")


@pytest.fixture
def bundle(bundled_model: Path, tmp_path: Path) -> Path:
    """A copy of the bundled model that a test may change."""
    return Path(shutil.copytree(bundled_model, tmp_path / "bundle"))


def finetuning(recipe_path: Path, init: Path | str = "start", *overrides: str) -> Recipe:
    return load_recipe(recipe_path, ["model={}", f"finetune.init={init}", *overrides])


def log_probs(model: Recognizer, waveform: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        output = model.eval()(torch.from_numpy(waveform)[None], torch.tensor([len(waveform)]))
    return output.log_probs[0, : int(output.lengths[0])].numpy()


def test_the_weights_of_a_bundle_are_taken_over(recipe_path: Path, bundled_model: Path) -> None:
    source = read_source(str(bundled_model))
    tokenizer = Tokenizer(source.tokenizer)
    model = make_model(finetuning(recipe_path, bundled_model), tokenizer, source)
    assert tokenizer.model == (bundled_model / "tokenizer.model").read_bytes() and source.normalizer == "en-1"
    waveform = load_audio(ROOT / "samples" / "audiobook.opus")
    served = np.exp(Runtime(load_bundle(bundled_model)).log_probs(waveform))  # int8, so doubtful labels differ
    taken, untrained = (np.exp(log_probs(each, waveform)) for each in (model, Recognizer(model.config)))
    assert np.abs(taken - served).mean() < 2e-4
    assert np.abs(untrained - served).mean() > 2e-3  # the tolerance tells models apart


@pytest.mark.slow  # a conversion of its own; the bundled model's test above guards the same by default
def test_the_weights_of_a_float_bundle_are_those_of_its_graph(
    source: Source, tokenizer: Tokenizer, recipe_path: Path, tmp_path: Path
) -> None:
    bundle = export_bundle(
        tmp_path / "bundle",
        weights=source.weights,
        model_config=source.model_config,
        tokenizer_model=source.tokenizer,
        name="float",
        preset="custom",
        lang="en",
        normalizer="en-1",
        training={},
        metrics={},
        model_card="",
        stored="float16",
    )
    model = make_model(finetuning(recipe_path, bundle), tokenizer, read_source(str(bundle)))
    waveform = (0.1 * np.random.default_rng(0).standard_normal(40000)).astype(np.float32)
    served = Runtime(load_bundle(bundle)).log_probs(waveform)
    # The graph keeps biases, norms and feature statistics in float32; the training weights are float16 throughout.
    np.testing.assert_allclose(log_probs(model, waveform), served, atol=0.05)
    assert np.abs(log_probs(Recognizer(model.config), waveform) - served).max() > 1  # the tolerance tells models apart


def test_a_bundle_without_weights_cannot_be_fine_tuned(bundle: Path) -> None:
    (bundle / WEIGHTS_NAME).unlink()
    write_checksums(bundle)
    with pytest.raises(ConfigError, match=r"bundle without weights\.safetensors: start from the run's best"):
        read_source(str(bundle))


def test_a_damaged_bundle_is_refused(bundle: Path) -> None:
    (bundle / WEIGHTS_NAME).write_bytes(b"x")
    with pytest.raises(BundleError, match="damaged"):
        read_source(str(bundle))


def test_a_bundle_of_an_earlier_release_lacks_new_fields(bundle: Path, recipe_path: Path) -> None:
    config = json.loads((bundle / "config.json").read_text())
    config["model"].pop("stride", None)
    (bundle / "config.json").write_text(json.dumps(config))
    write_checksums(bundle)
    source = read_source(str(bundle))
    assert make_model(finetuning(recipe_path), Tokenizer(source.tokenizer), source).config.stride == 8


def test_what_is_neither_bundle_nor_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such checkpoint"):
        read_source(str(tmp_path / "missing.safetensors"))
    with pytest.raises(BundleError, match=r"config\.json"):
        read_source(str(tmp_path))
    (tmp_path / "best.safetensors").write_bytes(b"")
    with pytest.raises(ConfigError, match="the folder of a run: name its best"):
        read_source(str(tmp_path))


def test_a_fresh_model_is_a_function_of_the_seed(recipe_path: Path, tokenizer: Tokenizer) -> None:
    first, again, other = (
        make_model(load_recipe(recipe_path, [f"seed={seed}"]), tokenizer, None).state_dict() for seed in (1, 1, 2)
    )
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["head.1.weight"], other["head.1.weight"])


def test_keeping_the_vocabulary_keeps_every_weight(recipe_path: Path, source: Source, tokenizer: Tokenizer) -> None:
    weights = make_model(finetuning(recipe_path), tokenizer, source).state_dict()
    assert weights.keys() == source.weights.keys()
    assert all(torch.equal(weights[name], value) for name, value in source.weights.items())


@pytest.mark.parametrize("n_labels", [11, 9])
def test_replacing_the_vocabulary_begins_the_heads_anew(
    recipe_path: Path, source: Source, tmp_path: Path, n_labels: int
) -> None:
    new = train_tokenizer(["d c b a a a"] * 9, tmp_path / "tokenizer.model", vocab_size=n_labels - 1)
    weights = make_model(finetuning(recipe_path, "start", "finetune.vocabulary=replace"), new, source).state_dict()
    heads = {name for name in weights if name.startswith(("head.1.", "inner_head.1."))}
    assert len(heads) == 4 and {weights[name].shape[0] for name in heads} == {n_labels}
    assert not any(torch.equal(weights[name], source.weights[name]) for name in heads)
    assert all(torch.equal(weights[name], source.weights[name]) for name in weights.keys() - heads)


def test_dropped_layers_leave_the_others(recipe_path: Path, source: Source, tokenizer: Tokenizer) -> None:
    recipe = finetuning(recipe_path, "start", "finetune.drop_conv_blocks=1", "finetune.drop_attention_blocks=2")
    model = make_model(recipe, tokenizer, source)
    assert (model.config.n_conv_blocks, model.config.n_attention_blocks) == (2, 0)
    weights = model.state_dict()
    assert not any(name.startswith(("conv_blocks.2.", "attention_blocks.")) for name in weights)
    assert all(torch.equal(value, source.weights[name]) for name, value in weights.items())


def test_added_layers_change_nothing_until_they_learn(recipe_path: Path, source: Source, tokenizer: Tokenizer) -> None:
    waveform = (0.1 * np.random.default_rng(0).standard_normal(40000)).astype(np.float32)
    before = make_model(finetuning(recipe_path, "start"), tokenizer, source)
    recipe = finetuning(recipe_path, "start", "finetune.add_conv_blocks=2", "finetune.add_attention_blocks=1")
    model = make_model(recipe, tokenizer, source)
    assert (model.config.n_conv_blocks, model.config.n_attention_blocks) == (5, 3)
    np.testing.assert_array_equal(log_probs(model, waveform), log_probs(before, waveform))
    for parameters in (model.conv_blocks[3:], model.attention_blocks[2:]):  # every added layer has a way to learn
        output = model.train()(torch.from_numpy(waveform)[None], torch.tensor([len(waveform)]))
        model.zero_grad()
        output.log_probs[..., 0].sum().backward()
        assert all(block.project.weight.grad.abs().sum() > 0 for block in parameters)


def test_layers_are_dropped_or_added(recipe_path: Path) -> None:
    with pytest.raises(ConfigError, match="drop_conv_blocks or add_conv_blocks, not both"):
        finetuning(recipe_path, "start", "finetune.drop_conv_blocks=1", "finetune.add_conv_blocks=1")


def test_layers_of_no_model_cannot_be_dropped(recipe_path: Path, tokenizer: Tokenizer) -> None:
    with pytest.raises(ConfigError, match=r"name it in finetune\.init"):
        make_model(load_recipe(recipe_path, ["finetune.drop_conv_blocks=1"]), tokenizer, None)


@pytest.mark.parametrize("drop", ["drop_conv_blocks=4", "drop_attention_blocks=3"])
def test_more_layers_than_there_are_cannot_be_dropped(
    recipe_path: Path, source: Source, tokenizer: Tokenizer, drop: str
) -> None:
    with pytest.raises(ConfigError, match=r"cannot drop \d of \d (conv|attention)_blocks"):
        make_model(finetuning(recipe_path, "start", f"finetune.{drop}"), tokenizer, source)


@pytest.mark.parametrize(
    ("override", "named"),
    [("model.overrides.width=64", "width"), ("model.preset=small", "preset"), ("model.overrides.stride=4", "stride")],
)
def test_another_architecture_is_refused(
    recipe_path: Path, source: Source, tokenizer: Tokenizer, override: str, named: str
) -> None:
    with pytest.raises(ConfigError, match=f"keeps the architecture of start: leave out {named}"):
        make_model(finetuning(recipe_path, "start", override), tokenizer, source)


def test_dropout_may_change(recipe_path: Path, source: Source, tokenizer: Tokenizer) -> None:
    model = make_model(finetuning(recipe_path, "start", "model.overrides.dropout=0.3"), tokenizer, source)
    assert model.config.dropout == 0.3


def test_another_language_is_refused(recipe_path: Path, source: Source, tokenizer: Tokenizer) -> None:
    with pytest.raises(ConfigError, match=r"normalised by en-1, this recipe's data\.lang gives ru-1: set data\.lang"):
        make_model(finetuning(recipe_path, "start", "data.lang=ru"), tokenizer, source)
    old = dataclasses.replace(source, normalizer="en-0")
    with pytest.raises(ConfigError, match="normalised by en-0"):
        make_model(finetuning(recipe_path), tokenizer, old)


def test_another_language_begins_with_new_heads(recipe_path: Path, source: Source, tokenizer: Tokenizer) -> None:
    for lang in ("ru", "zh"):
        recipe = finetuning(recipe_path, "start", f"data.lang={lang}", "finetune.vocabulary=replace")
        weights = make_model(recipe, tokenizer, source).state_dict()
        kept = {name for name, value in source.weights.items() if torch.equal(weights[name], value)}
        assert source.weights.keys() - kept == {
            "head.1.weight",
            "head.1.bias",
            "inner_head.1.weight",
            "inner_head.1.bias",
        }


def groups_of(model: Recognizer, **changes: object) -> dict[str, tuple[float, float]]:
    """Return (weight decay, learning rate scale) of every parameter that learns."""
    names = {parameter: name for name, parameter in model.named_parameters()}
    groups = parameter_groups(
        model,
        OptimizerConfig(total_steps=1, weight_decay=0.1),
        FinetuneConfig(**changes),  # type: ignore[arg-type]
    )
    return {names[p]: (group["weight_decay"], group["lr_scale"]) for group in groups for p in group["params"]}


@pytest.fixture
def model(source: Source) -> Recognizer:
    return Recognizer(ModelConfig(**source.model_config))


def test_all_learn_alike_unless_asked_and_only_matrices_decay(model: Recognizer) -> None:
    found = groups_of(model)
    assert found.keys() == {name for name, _ in model.named_parameters()}
    for name, parameter in model.named_parameters():
        assert found[name] == (0.1 if parameter.ndim > 1 else 0.0, 1.0)


def test_the_learning_rate_falls_from_layer_to_layer(model: Recognizer) -> None:
    found = groups_of(model, layer_lr_decay=0.5)
    scales = {name: scale for name, (_, scale) in found.items()}
    expected = {
        "head.1.weight": 1.0,
        "inner_head.1.weight": 1.0,
        "attention_blocks.1.qkv.weight": 0.5,
        "attention_blocks.0.qkv.weight": 0.25,
        "conv_blocks.2.expand.weight": 0.125,
        "conv_blocks.0.expand.weight": 0.5**5,
        "stem.first.conv.weight": 0.5**6,
    }
    assert {name: scales[name] for name in expected} == expected


def test_frozen_parameters_are_in_no_group(model: Recognizer) -> None:
    found = groups_of(model, freeze=["stem", "conv_blocks.1"])
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    assert frozen == {n for n, _ in model.named_parameters() if n.startswith(("stem.", "conv_blocks.1."))}
    assert found.keys() == {name for name, _ in model.named_parameters()} - frozen


def test_a_name_is_frozen_by_whole_parts() -> None:
    model = Recognizer(preset("tiny", n_labels=11, **{**SHAPE, "n_conv_blocks": 11}))
    found = groups_of(model, freeze=["conv_blocks.1"])
    assert "conv_blocks.10.expand.weight" in found and "conv_blocks.1.expand.weight" not in found


@pytest.mark.parametrize("prefix", ["conv_block", "conv_blocks.3", "Stem", "head.2"])
def test_a_name_that_freezes_nothing_is_an_error(model: Recognizer, prefix: str) -> None:
    with pytest.raises(ConfigError, match=f"no parameter begins with '{prefix}': the layers are stem, conv_blocks,"):
        groups_of(model, freeze=[prefix])


def test_freezing_everything_is_an_error(model: Recognizer) -> None:
    with pytest.raises(ConfigError, match="leaves nothing to learn"):
        groups_of(model, freeze=["stem", "conv_blocks", "inner_head", "attention_blocks", "head"])


def test_layers_are_counted_from_the_output(model: Recognizer) -> None:
    counts = {name.split(".")[0]: layers_above(name, model.config) for name, _ in model.named_parameters()}
    assert counts == {
        "stem": 6,
        "conv_blocks": 3,
        "inner_head": 0,
        "attention_blocks": 1,
        "head": 0,
    }  # the last of each
