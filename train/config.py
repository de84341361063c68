"""The recipe: a YAML file checked against these dataclasses. Unknown keys are errors by name."""

from __future__ import annotations

import dataclasses
import os
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml

from silero_like.errors import ConfigError

Config = TypeVar("Config")


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which speech is learned from and which is measured."""

    root: str = "."
    """Folder of the manifests; environment variables such as ${SILERO_LIKE_CORPUS} are expanded."""
    train: list[str]
    """Training manifests, relative to `root`."""
    dev: list[str]
    """Manifests measured during training; never learned from."""
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
class AugmentConfig:
    """How the same utterance is made different each time."""

    speeds: list[float] = field(default_factory=lambda: [0.9, 1.0, 1.1])
    """Speed (and pitch) factors, drawn with equal probability."""
    gain_db: float = 10.0
    """Uniform random gain of plus or minus this many decibels."""
    frequency_masks: int = 2
    """SpecAugment: masks over mel bins."""
    frequency_mask_bins: int = 20
    """Widest frequency mask."""
    time_masks_per_s: float = 0.6
    """SpecAugment: masks over time, as a rate, so that short and long utterances are treated alike."""
    time_mask_frames: int = 25
    """Longest time mask, in frames of 10 ms."""


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
    """Batches prepared ahead by the loader thread."""
    threads: int = 0
    """Compute threads per process; 0 leaves PyTorch's default."""


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
    loop: LoopConfig = field(default_factory=LoopConfig)
    card: CardConfig = field(default_factory=CardConfig)

    def __post_init__(self) -> None:
        _require(self.loop.precision in ("bf16", "fp16", "fp32"), f"loop.precision: unknown {self.loop.precision!r}")
        _require(self.loop.batch_s > 0, f"loop.batch_s must be positive, got {self.loop.batch_s}")
        _require(bool(self.data.train), "data.train is empty: name at least one manifest")
        _require(all(speed > 0 for speed in self.augment.speeds), "augment.speeds must be positive")
        _require(bool(self.augment.speeds), "augment.speeds is empty: use [1.0] for no speed perturbation")
        _require(self.optimizer.total_steps > 0, "optimizer.total_steps must be positive")

    @property
    def root(self) -> Path:
        """Folder of the manifests."""
        expanded = os.path.expandvars(self.data.root)
        _require("$" not in expanded, f"data.root {self.data.root!r} names an environment variable that is not set")
        return Path(expanded)


def load_recipe(path: str | Path, overrides: typing.Sequence[str] = ()) -> Recipe:
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


def build(kind: type[Config], values: Any, where: str) -> Config:
    """Make a config dataclass from plain values, checking keys and types by name."""
    if not isinstance(values, dict):
        raise ConfigError(f"{where}: expected a mapping, got {values!r}")
    hints = typing.get_type_hints(kind)
    unknown = sorted(set(values) - set(hints))
    if unknown:
        raise ConfigError(f"{where}: unknown key {unknown[0]!r}: expected one of {', '.join(hints)}")
    fields = dataclasses.fields(kind)  # type: ignore[arg-type]
    for spec in fields:
        required = spec.default is dataclasses.MISSING and spec.default_factory is dataclasses.MISSING
        if required and spec.name not in values:
            raise ConfigError(f"{where}: missing key {spec.name!r}")
    return kind(**{key: _convert(hints[key], value, f"{where}: {key}") for key, value in values.items()})


def _convert(hint: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(hint):
        return build(typing.cast(type, hint), value, where)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is list and isinstance(value, list):
        return [_convert(arguments[0], item, where) for item in value]
    if origin is dict and isinstance(value, dict):
        return value
    if origin in (types.UnionType, typing.Union):
        return None if value is None else _convert(arguments[0], value, where)
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if isinstance(hint, type) and isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    raise ConfigError(f"{where}: expected {getattr(hint, '__name__', hint)}, got {value!r}")


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
