"""Building blocks of the encoder. All tensors are `(B, T, C)`; masks are `(B, T, 1)`, 1 inside an utterance.

Every block sees a bounded stretch of time, and padding never leaks into an utterance: inputs of convolutions are
masked, gates average over valid frames only, and attention skips padded keys.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from silero_like.model.config import ModelConfig

MASKED_SCORE = -1e4  # finite, so that a query without any valid key stays free of NaN


class ChannelDropout(nn.Module):
    """Dropout with one mask for all frames of an utterance: as regularising, and without drawing B x T x C numbers."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        keep = torch.rand(x.shape[0], 1, x.shape[2], device=x.device) >= self.p
        return x * (keep / (1 - self.p)).to(x.dtype)


class TimeConv(nn.Module):
    """Convolution over time on `(B, T, C)`, T a multiple of the stride.

    It is a height-1 2-D convolution in channels-last layout (no transposes). One whose kernel is two strides long is
    also a matrix product of neighbouring groups of `stride` frames, which an exported graph runs faster, and as int8.
    """

    def __init__(self, n_in: int, n_out: int, kernel_size: int, *, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.stride, self.padding = stride, (kernel_size - stride + 1) // 2
        self.conv = nn.Conv2d(n_in, n_out, (1, kernel_size), (1, stride), (0, self.padding), groups=groups)
        self.is_product = groups == 1 and kernel_size == 2 * stride and self.padding * 2 == stride

    def forward(self, x: Tensor) -> Tensor:
        if self.is_product and not self.training:
            return self._product(x)
        return self.conv(x.transpose(1, 2).unsqueeze(2)).squeeze(2).transpose(1, 2)  # type: ignore[no-any-return]

    def _product(self, x: Tensor) -> Tensor:
        batch, n_frames, width = x.shape
        padded = nn.functional.pad(x, (0, 0, self.padding, self.padding))
        groups = padded.reshape(batch, n_frames // self.stride + 1, self.stride * width)
        pairs = torch.cat([groups[:, :-1], groups[:, 1:]], dim=-1)
        weight = self.conv.weight.squeeze(2).transpose(1, 2).flatten(1)  # (n_out, kernel_size * n_in)
        return nn.functional.linear(pairs, weight, self.conv.bias)


class SqueezeExcitation(nn.Module):
    """Channel gates from the mean over a bounded window (Hu et al., 2018; bounded so that streams can be exact).

    The gate of a frame comes from the mean of the valid frames up to `radius` on each side.
    """

    def __init__(self, width: int, reduction: int, radius: int) -> None:
        super().__init__()
        self.radius = radius
        self.squeeze = nn.Linear(width, width // reduction)
        self.excite = nn.Linear(width // reduction, width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        total = (_differentiable_window_sum if self.training else _pooled_sum)(x * mask, self.radius)
        mean = total / window_sum(mask.float(), self.radius).clamp(min=1)
        return x * torch.sigmoid(self.excite(torch.relu(self.squeeze(mean.to(x.dtype)))))


def window_sum(x: Tensor, radius: int) -> Tensor:
    """Sum `(B, T, C)` over `2 * radius + 1` frames around each frame, zeros beyond the ends; float32.

    Sums of 1, 2, 4, ... frames, each from the one before, add up to any length: log2 additions a frame, and unlike a
    difference of running sums the result does not depend on what came long before.
    """
    length, n_frames = 2 * radius + 1, x.shape[1]
    part = nn.functional.pad(x.float(), (0, 0, radius, radius))
    total, offset, size = torch.zeros_like(x, dtype=torch.float32), 0, 1
    while size <= length:
        if length & size:
            total = total + part[:, offset : offset + n_frames]
            offset += size
        if 2 * size <= length:
            part = part[:, :-size] + part[:, size:]
        size *= 2
    return total


def _differentiable_window_sum(x: Tensor, radius: int) -> Tensor:
    if not x.requires_grad:
        return window_sum(x, radius)
    return _WindowSum.apply(x, radius)  # type: ignore[no-any-return, no-untyped-call]


def _pooled_sum(x: Tensor, radius: int) -> Tensor:
    """Return `window_sum` by pooling: one operation of an exported graph instead of twenty, which take longer there."""
    length = 2 * radius + 1
    rows = x.float().transpose(1, 2).unsqueeze(2)
    mean = nn.functional.avg_pool2d(rows, (1, length), stride=1, padding=(0, radius))
    return mean.squeeze(2).transpose(1, 2) * length


class _WindowSum(torch.autograd.Function):
    """`window_sum` with its own gradient, which is the window sum of the gradient, as the window is symmetric."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, radius: int) -> Tensor:
        ctx.radius, ctx.dtype = radius, x.dtype
        return window_sum(x, radius)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return window_sum(gradient, ctx.radius).to(ctx.dtype), None


class ConvBlock(nn.Module):
    """Residual separable convolution: norm, grouped convolution, pointwise pair with ReLU, squeeze-and-excitation.

    With idle channels (IdleBlock, Xu et al., 2019) the block works on one end of the channels and passes the rest;
    odd blocks use the other end, so that every channel is worked on.
    """

    def __init__(self, config: ModelConfig, index: int) -> None:
        super().__init__()
        width = config.active_width
        self.n_idle = config.width - width
        self.idle_first = index % 2 == 1
        self.norm = nn.LayerNorm(width)
        self.conv = TimeConv(width, width, config.kernel_size, groups=width // config.group_size)
        self.expand = nn.Linear(width, config.expansion * width)
        self.project = nn.Linear(config.expansion * width, width)
        self.se: SqueezeExcitation | None = None
        if config.has_se(index):
            self.se = SqueezeExcitation(width, config.se_reduction, config.se_radius_frames)
        self.dropout = ChannelDropout(config.dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        if self.n_idle == 0:
            return x + self._transform(x, mask)
        if self.idle_first:
            idle, active = x[..., : self.n_idle], x[..., self.n_idle :]
            return torch.cat([idle, active + self._transform(active, mask)], dim=-1)
        active, idle = x[..., : -self.n_idle], x[..., -self.n_idle :]
        return torch.cat([active + self._transform(active, mask), idle], dim=-1)

    def silence(self) -> None:
        """Make the block pass everything on unchanged, until it learns."""
        _zero(self.project)

    def _transform(self, x: Tensor, mask: Tensor) -> Tensor:
        y = self.conv(self.norm(x) * mask.to(x.dtype))
        y = self.project(torch.relu(self.expand(y)))
        if self.se is not None:
            y = self.se(y, mask.to(y.dtype))
        return self.dropout(y)  # type: ignore[no-any-return]


class AttentionBlock(nn.Module):
    """Pre-norm transformer block whose attention sees `attention_frames` on each side.

    Queries are cut into blocks of W frames; a block attends to itself and its two neighbours, masked to |i - j| <= W,
    so cost grows linearly with length and the result does not depend on where the blocks begin. Position enters by a
    learned bias per head and distance.
    """

    distance: Tensor
    out_of_reach: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width, self.n_heads, self.frames = config.width, config.n_heads, config.attention_frames
        self.attention_norm, self.feed_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * config.attention_width)
        self.output = nn.Linear(config.attention_width, width)
        self.bias = nn.Parameter(torch.zeros(self.n_heads, 2 * self.frames + 1))
        self.expand = nn.Linear(width, config.expansion * width)
        self.project = nn.Linear(config.expansion * width, width)
        self.dropout = ChannelDropout(config.dropout)
        distance = torch.arange(3 * self.frames)[None, :] - torch.arange(self.frames)[:, None]  # key - query + W
        self.register_buffer("distance", distance.clamp(0, 2 * self.frames), persistent=False)
        out_of_reach = ((distance < 0) | (distance > 2 * self.frames)).float() * MASKED_SCORE
        self.register_buffer("out_of_reach", out_of_reach, persistent=False)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = x + self.dropout(self._attend(self.attention_norm(x), mask))
        y = self.project(torch.relu(self.expand(self.feed_norm(x))))
        return x + self.dropout(y)  # type: ignore[no-any-return]

    def silence(self) -> None:
        """Make the block pass everything on unchanged, until it learns."""
        _zero(self.output)
        _zero(self.project)

    def _attend(self, x: Tensor, mask: Tensor) -> Tensor:
        batch, n_frames, _ = x.shape
        n_blocks = (n_frames + self.frames - 1) // self.frames
        query, key, value = (self._blocks(part, n_blocks) for part in self.qkv(x).chunk(3, dim=-1))
        key, value = _with_neighbours(key), _with_neighbours(value)
        valid = _with_neighbours(self._block_rows(mask, n_blocks)).squeeze(-1)  # (B, blocks, 3W)
        bias = self.bias[:, self.distance] + self.out_of_reach  # (H, W, 3W)
        scores = query @ key.transpose(-1, -2) * (self.output.in_features // self.n_heads) ** -0.5 + bias.to(
            query.dtype
        )
        scores = scores + ((1 - valid) * MASKED_SCORE)[:, :, None, None, :].to(query.dtype)
        context = torch.softmax(scores, dim=-1).to(value.dtype) @ value  # (B, blocks, H, W, D)
        context = context.transpose(2, 3).reshape(batch, n_blocks * self.frames, self.output.in_features)
        return self.output(context[:, :n_frames])  # type: ignore[no-any-return]

    def _block_rows(self, x: Tensor, n_blocks: int) -> Tensor:
        """Cut `(B, T, C)` into `(B, blocks, W, C)`, zero-padded at the end."""
        padded = nn.functional.pad(x, (0, 0, 0, self.frames - 1))[:, : n_blocks * self.frames]
        return padded.reshape(x.shape[0], n_blocks, self.frames, x.shape[2])

    def _blocks(self, x: Tensor, n_blocks: int) -> Tensor:
        """Cut `(B, T, C)` into blocks and heads: `(B, blocks, H, W, D)`."""
        rows = self._block_rows(x, n_blocks)
        return rows.reshape(x.shape[0], n_blocks, self.frames, self.n_heads, -1).transpose(2, 3)


def _zero(linear: nn.Linear) -> None:
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)


def _with_neighbours(blocks: Tensor) -> Tensor:
    """Put each block between its neighbours: `(B, blocks, ..., W, D)` -> `(B, blocks, ..., 3W, D)`."""
    if not blocks.requires_grad:
        return _join_neighbours(blocks)
    return _WithNeighbours.apply(blocks)  # type: ignore[no-any-return, no-untyped-call]


def _join_neighbours(blocks: Tensor) -> Tensor:
    edge = torch.zeros_like(blocks[:, :1])
    padded = torch.cat([edge, blocks, edge], dim=1)
    return torch.cat([padded[:, :-2], blocks, padded[:, 2:]], dim=-2)


class _WithNeighbours(torch.autograd.Function):
    """`_join_neighbours` with a gradient of three additions instead of one zero-filled tensor for each slice."""

    @staticmethod
    def forward(ctx: Any, blocks: Tensor) -> Tensor:
        return _join_neighbours(blocks)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        as_left, as_middle, as_right = gradient.chunk(3, dim=-2)
        total = as_middle.clone()
        total[:, :-1] += as_left[:, 1:]
        total[:, 1:] += as_right[:, :-1]
        return total
