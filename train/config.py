"""The recipe: a YAML file checked against these dataclasses. Unknown keys are errors by name."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from data.augment import AugmentConfig
from silero_like.errors import ConfigError
from train.plain import build


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which speech is learned from and which is measured."""

    root: str = "."
    """Folder of the manifests; environment variables such as ${SILERO_LIKE_CORPUS} are expanded."""
    train: list[str]
    """Training manifests, relative to `root`."""
    dev: list[str]
    """Manifests measured during training; never learned from."""
    replay: list[str] = field(default_factory=list)
    """Fine-tuning: training manifests of the old domains, drawn with the share `finetune.replay`."""
    lang: str = "en"
    """Text normaliser."""
    min_duration_s: float = 0.1
    """Shorter training utterances are left out and counted."""
    max_duration_s: float = 20.0
    """Longer training utterances are left out and counted."""
    cache_gb: float = 4.0
    """Memory for decoded audio (int16); the rest is decoded again each time it is drawn."""


@dataclass(frozen=True, kw_only=True)
class TokenizerConfig:
    """BPE trained on the training texts, or a ready model."""

    vocab_size: int = 256
    """Pieces, blank not counted."""
    path: str | None = None
    """A ready tokenizer.model instead of training one."""


@dataclass(frozen=True, kw_only=True)
class ArchitectureConfig:
    """The model."""

    preset: str = "tiny"
    """tiny, small or large."""
    overrides: dict[str, Any] = field(default_factory=dict)
    """Fields of ModelConfig to replace."""


@dataclass(frozen=True, kw_only=True)
class SamplingConfig:
    """How often each domain is drawn."""

    weights: dict[str, float] = field(default_factory=dict)
    """Relative probability of every domain; empty leaves it to `temperature`."""
    temperature: float | None = None
    """A domain's share is its number of utterances ** (1 / temperature): 1 draws as the data lies, null all equally."""
    round_batches: int = 50
    """Batches drawn at a time; the curriculum moves between rounds."""

    def __post_init__(self) -> None:
        _require(all(w > 0 for w in self.weights.values()), f"sampling.weights must be positive, got {self.weights}")
        _require(
            self.temperature is None or self.temperature > 0,
            f"sampling.temperature must be positive, or null for equal shares, got {self.temperature}",
        )
        _require(self.round_batches > 0, f"sampling.round_batches must be positive, got {self.round_batches}")


@dataclass(frozen=True, kw_only=True)
class CurriculumConfig:
    """Which utterances are drawn: neither too hard too early nor too easy for long."""

    enabled: bool = True
    """Off admits every utterance at all times."""
    target_cer: float = 0.10
    """Running CER of the training batches that the curriculum holds."""
    targets: dict[str, float] = field(default_factory=dict)
    """Other targets by domain, for example 0.05 for a clean one."""
    gain: float = 0.6
    """How fast the window moves: the part of the way that it goes in a round."""
    easiest: float = 0.3
    """Smallest share of a domain, its easiest part, that is admitted while its CER is above the target."""
    hardest: float = 0.1
    """Smallest share of a domain, its hardest part, that is admitted while its CER is below the target."""
    open_by: float = 0.2
    """Share of the run after which a domain that never reached its target admits everything."""
    focus: float = 1.0
    """How strongly shares follow need: a domain's is multiplied by (its CER / its target) ** focus, 0 leaves them."""
    least_share: float = 0.1
    """How far the share of a domain may fall when it is nearer to its target than others: to this fraction."""

    def __post_init__(self) -> None:
        for name, target in {"target_cer": self.target_cer, **self.targets}.items():
            _require(0 < target < 1, f"curriculum target {name} must lie between 0 and 1, got {target}")
        for key in ("gain", "easiest", "hardest", "open_by", "least_share"):
            _require(0 < getattr(self, key) <= 1, f"curriculum.{key} must lie in (0, 1], got {getattr(self, key)}")
        _require(self.focus >= 0, f"curriculum.focus must not be negative, got {self.focus}")


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """Going on from a trained model."""

    init: str | None = None
    """Bundle folder or checkpoint to start from; `silero-like finetune` sets it."""
    replay: float = 0.5
    """Share of the draws that come from `data.replay`; without such manifests nothing is replayed."""
    vocabulary: str = "keep"
    """keep the tokenizer of `init`, or replace it (the CTC heads then start anew)."""
    layer_lr_decay: float = 1.0
    """Learning rate of each layer relative to the one above it; 1 treats all alike."""
    freeze: list[str] = field(default_factory=list)
    """Beginnings of parameter names that stay as they are, for example [stem, conv_blocks.0]."""
    drop_conv_blocks: int = 0
    """Convolution blocks taken away from the end of their stack."""
    drop_attention_blocks: int = 0
    """Transformer blocks taken away from the end of their stack."""
    add_conv_blocks: int = 0
    """Convolution blocks put on the end of their stack; they change nothing until they learn."""
    add_attention_blocks: int = 0
    """Transformer blocks put on the end of their stack; they change nothing until they learn."""

    def __post_init__(self) -> None:
        _require(0 <= self.replay < 1, f"finetune.replay must lie in [0, 1), got {self.replay}")
        _require(
            self.vocabulary in ("keep", "replace"), f"finetune.vocabulary: keep or replace, got {self.vocabulary!r}"
        )
        _require(0 < self.layer_lr_decay <= 1, f"finetune.layer_lr_decay must lie in (0, 1], got {self.layer_lr_decay}")
        for kind in ("conv_blocks", "attention_blocks"):
            dropped, added = (getattr(self, f"{verb}_{kind}") for verb in ("drop", "add"))
            _require(dropped >= 0, f"finetune.drop_{kind} must not be negative, got {dropped}")
            _require(added >= 0, f"finetune.add_{kind} must not be negative, got {added}")
            _require(not (dropped and added), f"finetune: drop_{kind} or add_{kind}, not both")


@dataclass(frozen=True, kw_only=True)
class DistillConfig:
    """Learning from a teacher's soft targets besides the labels."""

    targets: str | None = None
    """File of soft targets; `silero-like distill` makes it and sets this."""
    weight: float = 0.5
    """Share of the imitation in the loss; the labels keep the rest."""

    def __post_init__(self) -> None:
        _require(0 < self.weight <= 1, f"distill.weight must lie in (0, 1], got {self.weight}")


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """AdamW with linear warm-up and cosine decay to zero."""

    peak_lr: float = 2e-3
    """Highest learning rate."""
    warmup_steps: int = 1000
    """Steps of linear warm-up."""
    total_steps: int
    """Steps of the whole run; the cosine ends here."""
    weight_decay: float = 0.01
    """Decoupled weight decay of matrices (not of biases and norms)."""
    clip_norm: float = 1.0
    """Largest global gradient norm."""
    ema_decay: float = 0.999
    """Decay of the averaged weights that are evaluated and exported."""
    inner_ctc_weight: float = 0.3
    """Share of the CTC loss of the inner head, before the transformer tail."""
    consistency_weight: float = 0.0
    """Weight of the disagreement between two copies of each batch that SpecAugment masks differently (CR-CTC); 0.2 is
    usual. It regularises, for twice the time a step: halve `loop.batch_s` with it. 0 reads each batch once."""
    consistency_from: float = 0.0
    """Share of `total_steps` before the second copy is read: a model that reads nothing yet has nothing to agree on."""

    def __post_init__(self) -> None:
        for key in ("peak_lr", "total_steps", "clip_norm"):
            _require(getattr(self, key) > 0, f"optimizer.{key} must be positive, got {getattr(self, key)}")
        for key in ("warmup_steps", "weight_decay", "consistency_weight"):
            _require(getattr(self, key) >= 0, f"optimizer.{key} must not be negative, got {getattr(self, key)}")
        for key in ("ema_decay", "inner_ctc_weight", "consistency_from"):
            _require(0 <= getattr(self, key) <= 1, f"optimizer.{key} must lie in [0, 1], got {getattr(self, key)}")


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """Batches, precision, and how often things happen."""

    batch_s: float = 120.0
    """Seconds of (padded) audio in a batch, per process."""
    precision: str = "bf16"
    """bf16, fp16 (GPU only) or fp32."""
    log_every: int = 50
    """Steps between log lines."""
    eval_every: int = 2000
    """Steps between evaluations."""
    checkpoint_every: int = 500
    """Steps between checkpoints."""
    keep_every: int = 0
    """Steps between checkpoints that are kept as step-N.safetensors, for averaging; 0 keeps none."""
    prefetch_batches: int = 8
    """Batches prepared ahead by the loader threads."""
    workers: int = 1
    """Loader threads; more for a GPU or strong augmentation."""
    threads: int = 0
    """Compute threads per process; 0 leaves PyTorch's default."""
    compile: bool = False
    """Compile the encoder with torch.compile; refused on a CPU, and not tried on a GPU yet."""
    blank_warning_steps: int = 1000
    """Steps of nothing but blanks after which the log says what to try."""
    timeout_s: float = 600.0
    """Several processes: how long one may be silent before the others end with an error. Raise it if measuring the dev
    manifests, which the first process does alone, takes longer."""
    tensorboard: bool = True
    """Write TensorBoard files when the package is installed."""
    bundle: bool = True
    """Export the best weights as a bundle when the run ends."""


@dataclass(frozen=True, kw_only=True)
class CardConfig:
    """What the model card must say besides figures."""

    licence: str = "not stated"
    """Licence of the weights."""
    attributions: list[str] = field(default_factory=list)
    """One line for each source of training speech: name, holder, licence."""
    limits: list[str] = field(default_factory=list)
    """What the model is known to do badly."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A whole training run."""

    name: str
    """Name of the model."""
    output_dir: str
    """Folder of checkpoints and log."""
    seed: int = 0
    """Seed of everything random."""
    data: DataConfig
    optimizer: OptimizerConfig
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    model: ArchitectureConfig = field(default_factory=ArchitectureConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    curriculum: CurriculumConfig = field(default_factory=CurriculumConfig)
    finetune: FinetuneConfig = field(default_factory=FinetuneConfig)
    distill: DistillConfig = field(default_factory=DistillConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)
    card: CardConfig = field(default_factory=CardConfig)

    def __post_init__(self) -> None:
        _require(self.loop.precision in ("bf16", "fp16", "fp32"), f"loop.precision: unknown {self.loop.precision!r}")
        _require(0 < self.loop.batch_s < math.inf, f"loop.batch_s must be positive, got {self.loop.batch_s}")
        _require(bool(self.data.train), "data.train is empty: name at least one manifest")
        for key in (
            "log_every",
            "eval_every",
            "checkpoint_every",
            "prefetch_batches",
            "workers",
            "blank_warning_steps",
        ):
            _require(getattr(self.loop, key) > 0, f"loop.{key} must be positive, got {getattr(self.loop, key)}")
        for key in ("threads", "keep_every"):
            _require(getattr(self.loop, key) >= 0, f"loop.{key} must not be negative, got {getattr(self.loop, key)}")
        _require(self.loop.timeout_s > 0, f"loop.timeout_s must be positive, got {self.loop.timeout_s}")
        _require(self.seed >= 0, f"seed must not be negative, got {self.seed}")

    @property
    def root(self) -> Path:
        """Folder of the manifests."""
        expanded = os.path.expandvars(self.data.root)
        _require("$" not in expanded, f"data.root {self.data.root!r} names an environment variable that is not set")
        return Path(expanded)


def load_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe and apply `section.key=value` overrides (values are YAML).

    Raises:
        ConfigError: unreadable file, unknown key, wrong type or impossible value.
    """
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the recipe: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected a mapping of sections, got {type(values).__name__}")
    for override in overrides:
        _apply_override(values, override)
    return build(Recipe, values, str(path))


def _apply_override(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals:
        raise ConfigError(f"--set {override!r}: expected key=value, for example optimizer.total_steps=1000")
    *sections, last = key.split(".")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise ConfigError(f"--set {override!r}: {section!r} is not a section")
    values[last] = yaml.safe_load(text)


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ConfigError(message)
