import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from silero_like.errors import ConfigError
from silero_like.model.blocks import (
    MASKED_SCORE,
    AttentionBlock,
    ChannelDropout,
    ConvBlock,
    SqueezeExcitation,
    _differentiable_window_sum,
    _join_neighbours,
    _pooled_sum,
    _with_neighbours,
    window_sum,
)
from silero_like.model.config import FRAME_SAMPLES, PRESETS, ModelConfig, from_dict, preset
from silero_like.model.encoder import Recognizer
from silero_like.model.frontend import LOG_FLOOR, LogMel, frame_mask
from silero_like.model.summary import summarize

SMALL = ModelConfig(n_labels=9, width=32, n_conv_blocks=4, n_attention_blocks=1, n_heads=2, attention_frames=8)


def random_model(config: ModelConfig = SMALL, seed: int = 0) -> Recognizer:
    torch.manual_seed(seed)
    model = Recognizer(config).eval()
    for block in model.attention_blocks:
        torch.nn.init.normal_(block.bias)  # starts at zero, which would hide a mistake in distances
    return model


def noise(n_samples: int, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(n_samples, generator=torch.Generator().manual_seed(seed))


def log_probs(model: Recognizer, waveform: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        output = model(waveform[None], torch.tensor([len(waveform)]))
    return output.log_probs[0, : int(output.lengths[0])]


def test_frontend_equals_a_frame_by_frame_reference() -> None:
    waveform = noise(4000).numpy().astype(np.float64)
    mel = LogMel(80).mel.numpy().astype(np.float64)
    window = np.hanning(401)[:400]
    padded = np.concatenate([np.zeros(120), waveform, np.zeros(400)])
    expected = []
    for t in range((4000 + 80) // 160):
        frame = padded[160 * t : 160 * t + 400].copy()
        frame[1:] -= 0.97 * frame[:-1].copy()
        frame[0] *= 1 - 0.97
        expected.append(np.log(np.maximum(np.abs(np.fft.rfft(frame * window, 512)) ** 2 @ mel, LOG_FLOOR)))
    got = LogMel(80).log_mel(torch.tensor(waveform, dtype=torch.float32)[None])[0].numpy()
    # float32 convolution against float64 FFT: rounding shows only in the quietest bins
    np.testing.assert_allclose(got[: len(expected)], expected, atol=2e-3)


def test_frontend_equals_kaldi_native_fbank_as_sherpa_onnx_sets_it_for_nemo_models() -> None:
    knf = pytest.importorskip("kaldi_native_fbank", reason="the oracle is in the dev extra")
    options = knf.FbankOptions()
    options.frame_opts.dither = 0
    options.frame_opts.snip_edges = False
    options.frame_opts.remove_dc_offset = False
    options.frame_opts.window_type = "hann"
    options.frame_opts.preemph_coeff = 0.97
    options.mel_opts.num_bins = 80
    options.mel_opts.low_freq = 0
    options.mel_opts.high_freq = 0
    options.mel_opts.is_librosa = True
    fbank = knf.OnlineFbank(options)
    waveform = noise(16000)
    fbank.accept_waveform(16000, waveform.tolist())
    fbank.input_finished()
    expected = np.stack([fbank.get_frame(t) for t in range(fbank.num_frames_ready)])
    got = LogMel(80).log_mel(waveform[None])[0].numpy()
    assert len(expected) == (16000 + 80) // 160
    # the first and last frame differ by design: zeros instead of a mirror image beyond the ends
    np.testing.assert_allclose(got[1 : len(expected) - 1], expected[1:-1], atol=2e-3)


@pytest.mark.parametrize("n_samples", [0, 1, 79, 80, 1199, 1200, 1360, 16000, 16001])
def test_lengths_follow_the_documented_rule(n_samples: int) -> None:
    model = random_model()
    with torch.inference_mode():
        output = model(torch.zeros(1, n_samples), torch.tensor([n_samples]))
    assert output.log_probs.shape[1] == (n_samples + 1359) // FRAME_SAMPLES
    assert int(output.lengths[0]) == (n_samples + 1200) // FRAME_SAMPLES
    assert torch.isfinite(output.log_probs).all()


def test_stride_4_gives_a_frame_every_40_ms() -> None:
    config = dataclasses.replace(SMALL, stride=4)
    output = random_model(config)(noise(16000)[None], torch.tensor([16000]))
    assert int(output.lengths[0]) == 25 and config.frame_s == 0.04
    with pytest.raises(ConfigError, match="stride must be 4 or 8, got 6"):
        dataclasses.replace(SMALL, stride=6)


@pytest.mark.parametrize("changes", [{}, {"idle_fraction": 0.25}, {"stride": 4}])
def test_padding_never_changes_a_result(changes: dict[str, Any]) -> None:
    model = random_model(dataclasses.replace(SMALL, **changes))
    waveforms = [noise(n, seed=n) for n in (7000, 50000, 33333, 161, 20480)]
    lengths = torch.tensor([len(w) for w in waveforms])
    batch = torch.nn.utils.rnn.pad_sequence(waveforms, batch_first=True)
    with torch.inference_mode():
        output = model(batch, lengths)
    for row, waveform in enumerate(waveforms):
        alone = log_probs(model, waveform)
        assert int(output.lengths[row]) == len(alone)
        torch.testing.assert_close(output.log_probs[row, : len(alone)], alone, atol=1e-4, rtol=0)


def test_what_lies_in_the_padding_is_never_read() -> None:
    model = random_model()
    clean, dirty = torch.zeros(1, 40000), torch.zeros(1, 40000)
    clean[0, :20000] = dirty[0, :20000] = noise(20000)
    dirty[0, 21000:] = noise(19000, seed=3)  # features are masked from the last valid frame on
    with torch.inference_mode():
        a, b = (model(x, torch.tensor([20000])) for x in (clean, dirty))
    torch.testing.assert_close(a.log_probs[0, : int(a.lengths[0])], b.log_probs[0, : int(b.lengths[0])])


@pytest.mark.parametrize("stride", [4, 8])
def test_receptive_field_is_finite_and_context_frames_is_its_bound(stride: int) -> None:
    config = dataclasses.replace(SMALL, stride=stride)
    model, context, frame_samples = random_model(config).double(), config.context_frames, 160 * stride
    reach = []
    for offset in range(8):  # wherever it stands within an attention block
        middle = context + 16 + offset
        waveform = noise((2 * context + 48) * frame_samples).double().requires_grad_()
        output = model(waveform[None], torch.tensor([len(waveform)]))
        output.log_probs[0, middle, 0].backward()
        seen = torch.nonzero(waveform.grad).flatten() / frame_samples
        reach += [middle - float(seen.min()), float(seen.max()) - middle - 1]
    assert context - 3 <= max(reach) <= context


@pytest.mark.parametrize("shift", [1, 7, 40])
def test_moving_by_whole_frames_moves_the_result(shift: int) -> None:
    model = random_model()
    context = SMALL.context_frames
    waveform = noise((2 * context + shift + 20) * FRAME_SAMPLES)
    whole, later = log_probs(model, waveform), log_probs(model, waveform[shift * FRAME_SAMPLES :])
    torch.testing.assert_close(whole[shift + context : -context], later[context:-context], atol=1e-4, rtol=0)


def test_features_in_bfloat16_are_close_to_those_in_float32() -> None:
    frontend = LogMel(80)
    time_s = torch.arange(16000) / 16000
    speech_like = 0.3 * torch.sin(400 * torch.cumsum(1 + 0.2 * torch.sin(20 * time_s), 0) / 16000) + 0.1 * noise(16000)
    waveform, lengths = speech_like[None], torch.tensor([16000])
    exact, n_frames = frontend(waveform, lengths)
    fast, n_fast = frontend(waveform, lengths, bf16=True)
    difference = (exact - fast).abs()
    assert torch.equal(n_frames, n_fast) and exact.shape == fast.shape
    # natural log: 8 bits of mantissa give about 0.005 in every bin, and more where a narrow one holds little
    assert difference.mean() < 0.02 and difference.max() < 0.6


@pytest.mark.parametrize("radius", [1, 5, 20])
def test_window_sum_has_its_true_gradient(radius: int) -> None:
    x = torch.randn(2, 13, 3, requires_grad=True)
    weight = torch.randn(2, 13, 3)
    (expected,) = torch.autograd.grad((window_sum(x, radius) * weight).sum(), x)
    (got,) = torch.autograd.grad((_differentiable_window_sum(x, radius) * weight).sum(), x)
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("n_frames", [1, 13, 60])
def test_pooling_gives_the_window_sum(n_frames: int) -> None:
    x = torch.randn(2, n_frames, 3)
    torch.testing.assert_close(_pooled_sum(x, 20), window_sum(x, 20), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("n_blocks", [1, 2, 5])
def test_neighbours_have_their_true_gradient(n_blocks: int) -> None:
    x = torch.randn(2, n_blocks, 4, 3, requires_grad=True)
    weight = torch.randn(2, n_blocks, 12, 3)
    (expected,) = torch.autograd.grad((_join_neighbours(x) * weight).sum(), x)
    (got,) = torch.autograd.grad((_with_neighbours(x) * weight).sum(), x)
    torch.testing.assert_close(got, expected)


def test_attention_equals_full_attention_with_a_band_mask() -> None:
    torch.manual_seed(1)
    block = AttentionBlock(SMALL).eval()
    torch.nn.init.normal_(block.bias)
    x, mask = torch.randn(2, 29, 32), frame_mask(torch.tensor([29, 17]), 29)
    heads = [part.reshape(2, 29, 2, 16).transpose(1, 2) for part in block.qkv(x).chunk(3, dim=-1)]
    distance = torch.arange(29)[None, :] - torch.arange(29)[:, None]
    bias = block.bias[:, (distance + 8).clamp(0, 16)] + (distance.abs() > 8) * MASKED_SCORE
    scores = heads[0] @ heads[1].transpose(-1, -2) / 4 + bias + (1 - mask.squeeze(-1))[:, None, None, :] * MASKED_SCORE
    expected = block.output((torch.softmax(scores, -1) @ heads[2]).transpose(1, 2).reshape(2, 29, 32))
    got = block._attend(x, mask)
    for row, n in enumerate((29, 17)):
        torch.testing.assert_close(got[row, :n], expected[row, :n], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("radius", [0, 1, 3, 20])
def test_squeeze_excitation_equals_a_loop_over_frames(radius: int) -> None:
    torch.manual_seed(2)
    gate = SqueezeExcitation(6, 2, radius)
    x, n_valid = torch.randn(1, 18, 6), 15
    mask = frame_mask(torch.tensor([n_valid]), 18)
    for t in range(n_valid):
        mean = x[0, max(0, t - radius) : min(n_valid, t + radius + 1)].mean(0)
        expected = x[0, t] * torch.sigmoid(gate.excite(torch.relu(gate.squeeze(mean))))
        torch.testing.assert_close(gate(x, mask)[0, t], expected)


def test_idle_channels_pass_and_ends_alternate() -> None:
    config = dataclasses.replace(SMALL, idle_fraction=0.25)
    x, mask = torch.randn(1, 10, 32), torch.ones(1, 10, 1)
    even, odd = ConvBlock(config, 0).eval()(x, mask), ConvBlock(config, 1).eval()(x, mask)
    assert torch.equal(even[..., 24:], x[..., 24:]) and not torch.equal(even[..., :24], x[..., :24])
    assert torch.equal(odd[..., :8], x[..., :8]) and not torch.equal(odd[..., 8:], x[..., 8:])


def test_channel_dropout_keeps_the_mean_and_is_off_in_evaluation() -> None:
    torch.manual_seed(0)
    dropout, x = ChannelDropout(0.25), torch.ones(200, 3, 50)
    dropped = dropout.train()(x)
    assert torch.equal(dropped[:, 0], dropped[:, 2])  # one mask for all frames
    assert abs(float(dropped.mean()) - 1) < 0.03  # 10,000 draws: three standard deviations are 0.017
    assert torch.equal(dropout.eval()(x), x)


def test_presets_have_the_stated_sizes_and_differ_only_in_width_and_depth() -> None:
    millions = {name: summarize(name)["n_parameters"] / 1e6 for name in PRESETS}
    assert 4 <= millions["tiny"] <= 6
    assert 25 <= millions["small"] <= 35
    assert 60 <= millions["large"] <= 70
    assert {key for values in PRESETS.values() for key in values} == {"width", "n_conv_blocks", "n_heads"}


def test_multiply_adds_of_a_convolution_only_model_by_hand() -> None:
    config = ModelConfig(n_labels=5, width=16, n_conv_blocks=1, n_attention_blocks=0, n_heads=1, se_every=0)
    frontend = 100 * (200 * 514 + 257 * 80)
    stem = 25 * (80 * 8 * 16 + 9 * 16 + 2 * 16 * 32) + 12.5 * 16 * 4 * 16
    block = 12.5 * (11 * 16 + 2 * 16 * 64)
    expected = frontend + stem + block + 12.5 * 16 * 5
    # the waveform is padded by up to one frame of 80 ms in 20 s, and the last windows hang over the end
    assert summarize(config)["macs_per_audio_s"] == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize(
    "values", [{"n_labels": 1}, {"kernel_size": 4}, {"n_heads": 5}, {"idle_fraction": 1.0}, {"group_size": 7}]
)
def test_impossible_values_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        from_dict({**SMALL.to_dict(), **values})


def test_unknown_names_are_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="huge"):
        preset("huge", n_labels=10)
    with pytest.raises(ConfigError, match="widht"):
        preset("tiny", n_labels=10, widht=3)
