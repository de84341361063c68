"""The recogniser as one module: waveform in, CTC log-probs out."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from silero_like.model.blocks import AttentionBlock, ConvBlock, TimeConv
from silero_like.model.config import ModelConfig
from silero_like.model.frontend import LogMel, frame_mask


class ModelOutput(NamedTuple):
    """What the encoder says about a batch."""

    log_probs: Tensor
    """float32 `(B, T, V)`; the blank is the last label."""
    lengths: Tensor
    """int64 `(B,)`, valid frames of each utterance."""
    inner_log_probs: Tensor | None
    """float32 `(B, T, V)` of the inner CTC head while training, else None."""


class Stem(nn.Module):
    """Features at 10 ms -> encoder frames at 80 ms: stride 4, one separable block at 40 ms, stride 2 (or 1)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.width
        self.first = TimeConv(config.n_mels, width, 8, stride=4)
        self.norm = nn.LayerNorm(width)
        self.conv = TimeConv(width, width, 9, groups=width)
        self.expand = nn.Linear(width, 2 * width)
        self.project = nn.Linear(2 * width, width)
        self.second_norm = nn.LayerNorm(width)
        self.second = TimeConv(width, width, 4, stride=2) if config.stride == 8 else TimeConv(width, width, 3)

    def forward(self, features: Tensor, n_frames: Tensor) -> Tensor:
        x = torch.relu(self.first(features))
        mask = frame_mask(torch.div(n_frames + 3, 4, rounding_mode="floor"), x.shape[1]).to(x.dtype)
        x = x + self.project(torch.relu(self.expand(self.conv(self.norm(x) * mask))))
        return self.second(self.second_norm(x) * mask)  # type: ignore[no-any-return]


class Recognizer(nn.Module):
    """Frontend, stem, separable convolutions with squeeze-and-excitation, transformer tail, CTC head."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.frontend = LogMel(config.n_mels)
        self.stem = Stem(config)
        self.conv_blocks = nn.ModuleList(ConvBlock(config, i) for i in range(config.n_conv_blocks))
        self.inner_head = nn.Sequential(nn.LayerNorm(config.width), nn.Linear(config.width, config.n_labels))
        self.attention_blocks = nn.ModuleList(AttentionBlock(config) for _ in range(config.n_attention_blocks))
        self.head = nn.Sequential(nn.LayerNorm(config.width), nn.Linear(config.width, config.n_labels))

    def forward(self, waveform: Tensor, lengths: Tensor) -> ModelOutput:
        """Return log-probs of a zero-padded batch: waveform float32 `(B, N)`, lengths int64 `(B,)` in samples."""
        features, n_frames = self.frontend(waveform, lengths)
        return self.encode(features, n_frames)

    def encode(self, features: Tensor, n_frames: Tensor) -> ModelOutput:
        """Return log-probs of features `(B, T, F)` with `n_frames` int64 `(B,)` valid ones each."""
        x = self.stem(features, n_frames)
        stride = self.config.stride
        lengths = torch.div(n_frames + stride - 1, stride, rounding_mode="floor")
        mask = frame_mask(lengths, x.shape[1])
        for block in self.conv_blocks:
            x = block(x, mask)
        inner = _log_softmax(self.inner_head(x)) if self.training else None
        for block in self.attention_blocks:
            x = block(x, mask)
        return ModelOutput(_log_softmax(self.head(x)), lengths, inner)


def _log_softmax(scores: Tensor) -> Tensor:
    return torch.log_softmax(scores.float(), dim=-1)
