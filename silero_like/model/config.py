"""The shape of a recogniser: one frozen dataclass that travels inside checkpoints and bundles."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from silero_like.errors import ConfigError

SAMPLE_RATE = 16_000
HOP_LENGTH = 160
MAX_STRIDE = 8  # feature frames per log_probs frame: 10 ms -> 80 ms
FRAME_SAMPLES = HOP_LENGTH * MAX_STRIDE


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Architecture of frontend, encoder and CTC head."""

    n_labels: int
    """Labels of the CTC head: BPE pieces and, last, the blank."""
    n_mels: int = 80
    """Mel bins of the frontend."""
    stride: int = 8
    """Feature frames of 10 ms per frame of log_probs: 8 (80 ms), or 4 for twice the cost."""
    width: int = 256
    """Channels of the encoder."""
    n_conv_blocks: int = 6
    """Separable convolution blocks."""
    n_attention_blocks: int = 2
    """Transformer blocks of the tail; 0 gives a purely convolutional model."""
    n_heads: int = 4
    """Attention heads."""
    head_width: int | None = None
    """Channels of an attention head; width / n_heads when None."""
    kernel_size: int = 11
    """Taps of the convolution of a block (odd)."""
    group_size: int = 1
    """Channels per convolution group; 1 is depthwise."""
    expansion: int = 4
    """Hidden width of the pointwise pair of a block, in multiples of its channels."""
    se_every: int = 2
    """Squeeze-and-excitation in every n-th convolution block; 0 switches it off."""
    se_reduction: int = 4
    """Bottleneck of squeeze-and-excitation."""
    se_radius_frames: int = 20
    """Frames on each side that a squeeze-and-excitation gate sees: 20 gives a window of 3.3 s at stride 8."""
    attention_frames: int = 32
    """Frames that attention sees on each side (2.56 s at stride 8)."""
    idle_fraction: float = 0.0
    """Share of channels that pass each convolution block untouched (IdleBlock)."""
    dropout: float = 0.1
    """Channel dropout, one mask for all frames of an utterance."""

    def __post_init__(self) -> None:
        _require(self.n_labels >= 2, f"n_labels must be at least 2 (a piece and the blank), got {self.n_labels}")
        _require(self.stride in (4, 8), f"stride must be 4 or 8, got {self.stride}")
        _require(self.kernel_size % 2 == 1, f"kernel_size must be odd, got {self.kernel_size}")
        _require(self.head_width is None or self.head_width > 0, f"head_width must be positive, got {self.head_width}")
        _require(
            self.head_width is not None or self.width % self.n_heads == 0,
            f"width {self.width} must be a multiple of n_heads {self.n_heads}, or give head_width",
        )
        _require(0 <= self.idle_fraction < 1, f"idle_fraction must be in [0, 1), got {self.idle_fraction}")
        _require(0 <= self.dropout < 1, f"dropout must be in [0, 1), got {self.dropout}")
        _require(
            self.active_width % self.group_size == 0,
            f"group_size {self.group_size} must divide the {self.active_width} active channels",
        )

    @property
    def active_width(self) -> int:
        """Channels that a convolution block works on; the rest are idle."""
        return self.width - int(self.width * self.idle_fraction)

    @property
    def attention_width(self) -> int:
        """Channels of all attention heads together."""
        return self.n_heads * (self.head_width or self.width // self.n_heads)

    def has_se(self, block: int) -> bool:
        """Whether convolution block number `block` carries squeeze-and-excitation."""
        return self.se_every > 0 and block % self.se_every == self.se_every - 1

    @property
    def frame_s(self) -> float:
        """Seconds between frames of log_probs."""
        return HOP_LENGTH * self.stride / SAMPLE_RATE

    @property
    def context_frames(self) -> int:
        """Receptive field on each side, in frames of log_probs (an upper bound, exact to a frame or two)."""
        n_se = sum(self.has_se(block) for block in range(self.n_conv_blocks))
        stem = 32 // self.stride
        convs = self.n_conv_blocks * (self.kernel_size // 2)
        gates = n_se * self.se_radius_frames
        return stem + convs + gates + self.n_attention_blocks * self.attention_frames

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return dataclasses.asdict(self)


PRESETS: dict[str, dict[str, int]] = {
    "tiny": {"width": 256, "n_conv_blocks": 6, "n_heads": 4},
    "small": {"width": 512, "n_conv_blocks": 8, "n_heads": 8},
    "large": {"width": 768, "n_conv_blocks": 9, "n_heads": 12},
}


def preset(name: str, *, n_labels: int, **overrides: Any) -> ModelConfig:
    """Return the `tiny`, `small` or `large` architecture, with fields replaced by `overrides`.

    Raises:
        ConfigError: unknown preset or field.
    """
    if name not in PRESETS:
        raise ConfigError(f"unknown model preset {name!r}: expected one of {', '.join(PRESETS)}")
    return from_dict({**PRESETS[name], **overrides, "n_labels": n_labels})


def preset_name(config: ModelConfig) -> str:
    """Return which preset a config is the size of, or "custom".

    >>> preset_name(preset("small", n_labels=257, dropout=0.0)), preset_name(preset("small", n_labels=257, width=64))
    ('small', 'custom')
    """
    values = config.to_dict()
    return next((name for name, sizes in PRESETS.items() if sizes.items() <= values.items()), "custom")


def from_dict(values: dict[str, Any]) -> ModelConfig:
    """Build a config from plain values; unknown keys are errors by name."""
    known = {field.name for field in dataclasses.fields(ModelConfig)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise ConfigError(f"unknown model field {unknown[0]!r}: expected one of {', '.join(sorted(known))}")
    return ModelConfig(**values)


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ConfigError(message)
