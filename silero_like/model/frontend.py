"""Log-mel frontend as a torch module, so that one graph goes from waveform to log-probs.

The definition is the one sherpa-onnx computes for NeMo CTC models (kaldi-native-fbank with Slaney mel bins): 25 ms
periodic Hann window every 10 ms, frame centres at (t + 0.5) x 10 ms, pre-emphasis 0.97 inside the frame, no DC removal,
no dither, 512-point power spectrum, 80 Slaney-normalised mel bins from 0 to 8 kHz, natural logarithm. One difference:
beyond the ends of a recording there are zeros here and a mirror image there, which touches the first and last frame.

Pre-emphasis, window and DFT are linear, so they are one strided convolution whose kernel is their product.

In bfloat16 (training) pre-emphasis comes first, in float32, and the DFT is a matrix product with the frames: rounding
then lies about 90 dB below the strongest bin, and on a CPU it is three times as fast.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from silero_like.model.config import FRAME_SAMPLES, HOP_LENGTH, SAMPLE_RATE

WINDOW_LENGTH = 400
N_FFT = 512
PRE_EMPHASIS = 0.97
LOG_FLOOR = 2.0**-23  # float32 epsilon, the floor of kaldi-native-fbank
LEFT_PAD = (WINDOW_LENGTH - HOP_LENGTH) // 2


class LogMel(nn.Module):
    """Normalised log-mel features of a padded batch of waveforms."""

    kernel: Tensor
    dft: Tensor
    mel: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, n_mels: int) -> None:
        super().__init__()
        self.register_buffer("kernel", _dft_kernel(PRE_EMPHASIS), persistent=False)
        self.register_buffer("dft", _dft_kernel(0.0)[:, 0].t().contiguous(), persistent=False)
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
        features = ((self._log_mel_bf16(waveform) if bf16 else self.log_mel(waveform)) - self.mean) / self.std
        n_frames = torch.div(lengths + HOP_LENGTH // 2, HOP_LENGTH, rounding_mode="floor")
        return features * frame_mask(n_frames, features.shape[1]), n_frames

    @torch.no_grad()
    def fit(self, waveforms: Iterable[Tensor]) -> None:
        """Set mean and standard deviation of each mel bin from float32 `(N,)` waveforms of training speech."""
        frames = torch.cat([self.log_mel(w[None])[0, : (len(w) + HOP_LENGTH // 2) // HOP_LENGTH] for w in waveforms])
        self.mean.copy_(frames.mean(0))
        self.std.copy_(frames.std(0).clamp(min=0.1))

    def log_mel(self, waveform: Tensor) -> Tensor:
        """Return the log-mel spectrogram `(B, T, F)` before normalisation; T = 8 * ((N + 1359) // 1280)."""
        right_pad, n_frames = _padding(waveform.shape[1])
        padded = nn.functional.pad(waveform, (LEFT_PAD, right_pad))
        spectrum = nn.functional.conv1d(padded[:, None], self.kernel, stride=HOP_LENGTH)
        real, imaginary = spectrum[..., :n_frames].transpose(1, 2).chunk(2, dim=-1)
        power = real.square() + imaginary.square()
        return torch.log(torch.clamp(power @ self.mel, min=LOG_FLOOR))

    def _log_mel_bf16(self, waveform: Tensor) -> Tensor:
        n_rows, n_samples = waveform.shape
        right_pad, n_frames = _padding(n_samples)
        emphasized = waveform.new_zeros((n_rows, LEFT_PAD + n_samples + right_pad), dtype=torch.bfloat16)
        emphasized[:, LEFT_PAD] = waveform[:, 0]
        inside = emphasized[:, LEFT_PAD + 1 : LEFT_PAD + n_samples]
        inside.copy_(torch.sub(waveform[:, 1:], waveform[:, :-1], alpha=PRE_EMPHASIS))
        emphasized[:, LEFT_PAD + n_samples] = -PRE_EMPHASIS * waveform[:, -1]
        frames = emphasized.unfold(1, WINDOW_LENGTH, HOP_LENGTH)[:, :n_frames]
        # One flat product, squared in place: as three-dimensional tensors the weights would be copied for every row.
        power = (frames.reshape(-1, WINDOW_LENGTH) @ self.dft.bfloat16()).square_()
        mel = power @ self.mel.repeat(2, 1).bfloat16()  # real and imaginary parts add up in the product
        return mel.float().clamp_(min=LOG_FLOOR).log_().view(n_rows, n_frames, -1)


def frame_mask(lengths: Tensor, n_frames: int) -> Tensor:
    """Return a float mask `(B, T, 1)`: 1 inside each utterance, 0 in its padding."""
    return (torch.arange(n_frames, device=lengths.device)[None, :] < lengths[:, None]).unsqueeze(2).float()


def _padding(n_samples: int) -> tuple[int, int]:
    """Return samples to append before framing, and how many frames to keep: 8 * ((N + 1359) // 1280)."""
    n_blocks = (n_samples + HOP_LENGTH // 2 + FRAME_SAMPLES - 1) // FRAME_SAMPLES
    right_pad = WINDOW_LENGTH - HOP_LENGTH // 2 - LEFT_PAD + FRAME_SAMPLES - 1
    return right_pad, n_blocks * (FRAME_SAMPLES // HOP_LENGTH)


def _dft_kernel(pre_emphasis: float) -> Tensor:
    """Fold pre-emphasis, Hann window and real DFT into convolution kernels `(2 * 257, 1, 400)`."""
    n = torch.arange(WINDOW_LENGTH, dtype=torch.float64)
    window = 0.5 - 0.5 * torch.cos(2 * math.pi * n / WINDOW_LENGTH)
    phase = 2 * math.pi / N_FFT * torch.arange(N_FFT // 2 + 1, dtype=torch.float64)[:, None] * n[None, :]
    dft = torch.cat([torch.cos(phase), -torch.sin(phase)]) * window
    kernel = dft.clone()
    kernel[:, :-1] -= pre_emphasis * dft[:, 1:]
    kernel[:, 0] -= pre_emphasis * dft[:, 0]
    return kernel[:, None, :].float()


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
