"""Log-mel frontend as a torch module, so that one graph goes from waveform to log-probs.

The definition is the one sherpa-onnx computes for NeMo CTC models (kaldi-native-fbank with Slaney mel bins): 25 ms
periodic Hann window every 10 ms, frame centres at (t + 0.5) x 10 ms, pre-emphasis 0.97 inside the frame, no DC removal,
no dither, 512-point power spectrum, 80 Slaney-normalised mel bins from 0 to 8 kHz, natural logarithm. One difference:
beyond the ends of a recording there are zeros here and a mirror image there, which touches the first and last frame.

The window is symmetric around a frame's centre c, so the sum of the samples at c + m and c - m meets the cosine and
their difference the sine: two matrix products, together half the size of the DFT. The window's first value is zero, so
pre-emphasis inside a frame is pre-emphasis of the whole waveform.

In bfloat16 (training) the products alone are rounded, which lies about 90 dB below the strongest bin.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from silero_like.model.config import FRAME_SAMPLES, HOP_LENGTH, MAX_STRIDE, SAMPLE_RATE

WINDOW_LENGTH = 400
N_FFT = 512
PRE_EMPHASIS = 0.97
LOG_FLOOR = 2.0**-23  # float32 epsilon, the floor of kaldi-native-fbank
HALF = WINDOW_LENGTH // 2


class LogMel(nn.Module):
    """Normalised log-mel features of a padded batch of waveforms."""

    cosine: Tensor
    sine: Tensor
    mel: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, n_mels: int) -> None:
        super().__init__()
        cosine, sine = _half_dft()
        self.register_buffer("cosine", cosine, persistent=False)
        self.register_buffer("sine", sine, persistent=False)
        self.register_buffer("mel", _slaney_mel(n_mels), persistent=False)
        self.register_buffer("mean", torch.zeros(n_mels))
        self.register_buffer("std", torch.ones(n_mels))

    def forward(self, waveform: Tensor, lengths: Tensor, *, bf16: bool = False) -> tuple[Tensor, Tensor]:
        """Compute features.

        Args:
            waveform: float32 `(B, N)`, 16 kHz, in [-1, 1], zero-padded.
            lengths: int64 `(B,)`, samples of each utterance.
            bf16: compute the spectrum in bfloat16, for training.

        Returns:
            features float32 `(B, T, F)`, zero beyond each utterance, T a multiple of 8; lengths int64 `(B,)` in frames.
        """
        features = (self.log_mel(waveform, torch.bfloat16 if bf16 else None) - self.mean) / self.std
        n_frames = torch.div(lengths + HOP_LENGTH // 2, HOP_LENGTH, rounding_mode="floor")
        return features * frame_mask(n_frames, features.shape[1]), n_frames

    @torch.no_grad()
    def fit(self, waveforms: Iterable[Tensor]) -> None:
        """Set mean and standard deviation of each mel bin from float32 `(N,)` waveforms of training speech."""
        frames = torch.cat([self.log_mel(w[None])[0, : (len(w) + HOP_LENGTH // 2) // HOP_LENGTH] for w in waveforms])
        self.mean.copy_(frames.mean(0))
        self.std.copy_(frames.std(0).clamp(min=0.1))

    def log_mel(self, waveform: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """Return the log-mel spectrogram `(B, T, F)` before normalisation; T = 8 * ((N + 1359) // 1280).

        The products are computed in `dtype`, that of the waveform unless given.
        """
        dtype = dtype or waveform.dtype
        before, after = _halves(waveform)
        # Flat: with three axes torch would copy the weights for every row. x * x: a square is exported as a slow Pow.
        real = (after + before).to(dtype).view(-1, HALF) @ self.cosine.to(dtype)
        imaginary = (after - before).to(dtype).view(-1, HALF) @ self.sine.to(dtype)
        mel = (real * real + imaginary * imaginary) @ self.mel.to(dtype)
        return torch.log(torch.clamp(mel.to(waveform.dtype).view(*after.shape[:2], -1), min=LOG_FLOOR))


def frame_mask(lengths: Tensor, n_frames: int) -> Tensor:
    """Return a float mask `(B, T, 1)`: 1 inside each utterance, 0 in its padding."""
    return (torch.arange(n_frames, device=lengths.device)[None, :] < lengths[:, None]).unsqueeze(2).float()


def _halves(waveform: Tensor) -> tuple[Tensor, Tensor]:
    """Return the emphasised samples at c - m and at c + m of every frame's centre c, m from 0: `(B, T, 200)` each."""
    n_rows, n_samples = waveform.shape
    n_frames = (n_samples + HOP_LENGTH // 2 + FRAME_SAMPLES - 1) // FRAME_SAMPLES * MAX_STRIDE
    n_blocks = n_frames + 1
    first = 3 * HOP_LENGTH // 2  # zeros, so that the block that ends with the first frame's centre has a block before
    padded = nn.functional.pad(waveform, (first, first + FRAME_SAMPLES + HOP_LENGTH // 2 - 1))
    emphasized = torch.sub(padded[:, 1:], padded[:, :-1], alpha=PRE_EMPHASIS)
    ends = emphasized[:, : n_blocks * HOP_LENGTH].reshape(n_rows, n_blocks, HOP_LENGTH).flip(2)
    centre = 2 * HOP_LENGTH - 1
    starts = emphasized[:, centre : centre + n_blocks * HOP_LENGTH].reshape(n_rows, n_blocks, HOP_LENGTH)
    rest = HALF - HOP_LENGTH
    before = torch.cat([ends[:, 1:], ends[:, :-1, :rest]], dim=2)
    return before, torch.cat([starts[:, :-1], starts[:, 1:, :rest]], dim=2)


def _half_dft() -> tuple[Tensor, Tensor]:
    """Return Hann window times cosine and sine for the distances 0 to 199 from a frame's centre, `(200, 257)` each."""
    distance = torch.arange(HALF, dtype=torch.float64)[:, None]
    window = 0.5 + 0.5 * torch.cos(2 * math.pi * distance / WINDOW_LENGTH)
    phase = 2 * math.pi / N_FFT * distance * torch.arange(N_FFT // 2 + 1, dtype=torch.float64)
    cosine = window * torch.cos(phase)
    cosine[0] /= 2  # the centre is both c - 0 and c + 0
    return cosine.float(), (window * torch.sin(phase)).float()


def _slaney_mel(n_mels: int) -> Tensor:
    """Return triangular mel filters `(257, F)`, Slaney scale and area normalisation (as librosa's default)."""
    edges = mel_edges_hz(n_mels)
    bins = torch.linspace(0, SAMPLE_RATE / 2, N_FFT // 2 + 1, dtype=torch.float64)[:, None]
    lower, centre, upper = edges[:-2], edges[1:-1], edges[2:]
    triangles = torch.minimum((bins - lower) / (centre - lower), (upper - bins) / (upper - centre)).clamp(min=0)
    return (triangles * 2 / (upper - lower)).float()


def mel_edges_hz(n_mels: int) -> Tensor:
    """Return float64 `(F + 2,)`: start, peaks and end of the filters, evenly spaced on Slaney's scale."""
    return _mel_to_hz(torch.linspace(0, _hz_to_mel(SAMPLE_RATE / 2), n_mels + 2, dtype=torch.float64))


def _hz_to_mel(hz: float) -> float:
    """Slaney's scale: linear below 1 kHz, logarithmic above."""
    return hz * 3 / 200 if hz < 1000 else 15 + 27 * math.log(hz / 1000) / math.log(6.4)


def _mel_to_hz(mel: Tensor) -> Tensor:
    return torch.where(mel < 15, mel * 200 / 3, 1000 * torch.exp((mel - 15) * math.log(6.4) / 27))
