import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from data.effects import (
    EffectsBank,
    add_noise,
    add_reverb,
    change_speed,
    clip_loudest,
    code,
    random_gain,
    telephone_band,
    telephone_codec,
)
from data.manifest import read_manifest
from silero_like.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]


def tone(hz: float, seconds: float = 1.0, rate: int = 16000) -> np.ndarray:
    return np.sin(2 * np.pi * hz * np.arange(int(rate * seconds)) / rate).astype(np.float32)


def white(n_samples: int, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(n_samples)).astype(np.float32)


def power(waveform: np.ndarray) -> float:
    return float(np.mean(waveform.astype(np.float64) ** 2))


def speech_like(rate: int = 16000) -> np.ndarray:
    """2 s of 200 to 3000 Hz in bursts, so that codecs keep its shape and a correlation has one peak."""
    spectrum = np.fft.rfft(white(2 * rate, 7))
    hz = np.arange(len(spectrum)) / 2
    bursts = (np.arange(2 * rate) // (rate // 8)) % 3 > 0
    return (3 * np.fft.irfft(np.where((hz > 200) & (hz < 3000), spectrum, 0)) * bursts).astype(np.float32)


def lag(original: np.ndarray, decoded: np.ndarray) -> int:
    """Samples by which `decoded` is late, from the peak of the cross-correlation."""
    n = 2 * len(original)
    correlation = np.fft.irfft(np.fft.rfft(decoded, n) * np.conj(np.fft.rfft(original, n)), n)
    peak = int(np.argmax(correlation))
    return peak if peak < len(original) else peak - n


@pytest.mark.parametrize("speed", [0.9, 1.1, 2.0])
def test_speed_moves_length_and_pitch(speed: float) -> None:
    played = change_speed(tone(1000), speed, 16000)
    assert len(played) == pytest.approx(16000 / speed, abs=1)
    spectrum = np.abs(np.fft.rfft(played * np.hanning(len(played))))
    assert np.argmax(spectrum) * 16000 / len(played) == pytest.approx(1000 * speed, abs=2)


def test_speed_one_is_the_identity() -> None:
    waveform = tone(440)
    assert change_speed(waveform, 1.0, 16000) is waveform


def test_gain_stays_within_its_bound_and_zero_is_the_identity() -> None:
    generator = np.random.default_rng(0)
    waveform = tone(440)
    gains = [np.abs(random_gain(waveform, 6, generator)).max() / np.abs(waveform).max() for _ in range(200)]
    assert 10 ** (-6 / 20) - 1e-6 <= min(gains) < 0.6 and 1.8 < max(gains) <= 10 ** (6 / 20) + 1e-6
    np.testing.assert_array_equal(random_gain(waveform, 0, generator), waveform)


@pytest.mark.parametrize(("n_samples", "n_response"), [(1, 1), (1, 50), (777, 3), (5000, 1300)])
def test_reverb_is_a_convolution_of_the_same_power(n_samples: int, n_response: int) -> None:
    waveform, response = white(n_samples), white(n_response, 1)
    expected = np.convolve(waveform.astype(np.float64), response)[:n_samples]
    expected *= np.sqrt(power(waveform) / power(expected))
    wet = add_reverb(waveform, response)
    assert wet.dtype == np.float32
    np.testing.assert_allclose(wet, expected, atol=1e-5)  # float32 transforms of values near 0.1


def test_reverb_does_not_delay_the_onset() -> None:
    waveform = np.zeros(16000, np.float32)
    waveform[5000] = 1
    wet = add_reverb(waveform, np.array([1, 0, 0, 0.5] + [0.1] * 3000, np.float32))
    assert np.argmax(np.abs(wet)) == 5000
    assert np.abs(wet[:5000]).max() < 1e-6  # rounding of the transform
    assert wet[5003] == pytest.approx(0.5 * wet[5000], abs=1e-6)


@pytest.mark.parametrize("snr_db", [-5.0, 5.0, 30.0])
@pytest.mark.parametrize("n_noise", [3, 300, 50000])
def test_the_ratio_to_active_speech_is_reached(snr_db: float, n_noise: int) -> None:
    speech = np.concatenate([np.zeros(16000), tone(500), np.zeros(8000)]).astype(np.float32)  # power 0.5 while active
    noise = np.random.default_rng(3).integers(-300, 300, n_noise).astype(np.int16)
    noisy = add_noise(speech, noise, snr_db, np.random.default_rng(0))
    assert noisy.dtype == np.float32
    measured = 10 * np.log10(0.5 / power(noisy - speech))
    assert measured == pytest.approx(snr_db, abs=0.01)  # float32 rounding of the sum


def test_noise_is_cut_at_random_and_repeated_whole() -> None:
    speech, ramp = tone(500, 0.1), np.arange(1, 32001).astype(np.int16)
    starts = set()
    for seed in range(5):
        added = add_noise(speech, ramp, 0, np.random.default_rng(seed)) - speech
        starts.add(round(added[0] / np.diff(added.astype(np.float64)).mean()))
    assert len(starts) == 5
    added = add_noise(speech, np.array([100, -200, 300], np.int16), 0, np.random.default_rng(0)) - speech
    np.testing.assert_allclose(added[3:], added[:-3], atol=1e-6)


def test_silent_speech_or_noise_adds_nothing() -> None:
    generator = np.random.default_rng(0)
    silence = np.zeros(1000, np.float32)
    assert not add_noise(silence, np.full(9, 77, np.int16), 5, generator).any()
    np.testing.assert_array_equal(add_noise(tone(500), np.zeros(9, np.int16), 5, generator), tone(500))
    assert not add_reverb(silence, np.ones(5, np.float32)).any()


def test_clipping_cuts_the_loudest_share() -> None:
    waveform = np.array([1, -2, 3, -4, 5, -6, 7, -8, 9, -10], np.float32)
    np.testing.assert_array_equal(clip_loudest(waveform, 0.2), [1, -2, 3, -4, 5, -6, 7, -8, 8, -8])
    np.testing.assert_array_equal(clip_loudest(waveform, 0), waveform)
    assert np.abs(clip_loudest(waveform, 1)).max() == 1


def band_db(waveform: np.ndarray, low_hz: float, high_hz: float) -> float:
    energy = np.abs(np.fft.rfft(waveform)) ** 2
    hz = np.arange(len(energy)) * 8000 / (len(energy) - 1)
    return float(10 * np.log10(energy[(hz >= low_hz) & (hz < high_hz)].mean()))


def test_the_telephone_keeps_its_band_only() -> None:
    waveform = white(32000)
    narrow = telephone_band(waveform)
    assert narrow.shape == waveform.shape and narrow.dtype == np.float32
    inside = band_db(waveform, 400, 3300)
    assert band_db(narrow, 400, 3300) == pytest.approx(inside, abs=0.1)
    assert band_db(narrow, 0, 250) < inside - 40 and band_db(narrow, 3450, 8000) < inside - 40
    assert lag(waveform, narrow) == 0


def test_a_tone_inside_the_telephone_band_is_untouched() -> None:
    np.testing.assert_allclose(
        telephone_band(tone(1000))[2000:-2000], tone(1000)[2000:-2000], atol=0.005
    )  # ripple of the filter, 50 dB down


@pytest.mark.parametrize("rate", [8000, 16000])
@pytest.mark.parametrize("codec", ["mu-law", "mp3", "opus"])
@pytest.mark.parametrize("compression", [0.0, 0.3, 0.7, 1.0])
def test_codecs_keep_length_and_alignment(rate: int, codec: str, compression: float) -> None:
    waveform = speech_like(rate)
    decoded = code(waveform, rate, codec, compression)
    assert decoded.shape == waveform.shape and decoded.dtype == np.float32
    assert lag(waveform, decoded) == 0
    assert not np.array_equal(decoded, waveform)
    assert np.corrcoef(decoded, waveform)[0, 1] > 0.5  # Opus at 8 kbit/s, which has little left for noise: 0.63


@pytest.mark.parametrize("codec", ["mu-law", "mp3", "opus"])
@pytest.mark.parametrize("n_samples", [1, 100, 4097])
def test_codecs_take_any_length_silence_and_loud_speech(codec: str, n_samples: int) -> None:
    for waveform in (np.zeros(n_samples, np.float32), 30 * white(n_samples)):
        for compression in (0.0, 1.0):
            decoded = code(waveform, 16000, codec, compression)
            assert decoded.shape == (n_samples,) and np.isfinite(decoded).all()
            assert np.abs(decoded).max() <= 2 * np.abs(waveform).max() + 0.001


def test_mu_law_has_256_steps_near_the_published_curve() -> None:
    samples = np.linspace(-1, 1, 60001, dtype=np.float32)
    decoded = code(samples, 8000, "mu-law")
    assert len(np.unique(decoded)) in (255, 256)  # plus and minus zero are two codes
    # compressed by ln(1 + 255 |x|) / ln 256, the 8 bits are even steps of 1 / 128; G.711 bends that curve into 8 lines
    compressed = [np.sign(x) * np.log1p(255 * np.abs(x)) / np.log(256) for x in (samples, decoded)]
    assert np.abs(compressed[0] - compressed[1]).max() < 1.5 / 128


def test_loud_speech_is_coded_as_quiet_speech_is() -> None:
    waveform = white(1000)
    np.testing.assert_allclose(
        code(400 * waveform, 8000, "mu-law"), code(waveform, 8000, "mu-law") * 400, atol=400 * 0.02
    )


@pytest.mark.parametrize("seed", range(4))
def test_the_coded_telephone_keeps_time_and_level(seed: int) -> None:
    waveform = speech_like()
    coded = telephone_codec(waveform, np.random.default_rng(seed))
    assert coded.shape == waveform.shape and coded.dtype == np.float32
    assert lag(waveform, coded) == 0
    assert power(coded) == pytest.approx(power(telephone_band(waveform)), rel=0.2)  # a low-rate codec loses a little
    assert band_db(coded, 3600, 8000) < band_db(coded, 400, 3000) - 35


def write_index(folder: Path, rows: object) -> Path:
    path = folder / "noise" / "index.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(rows))
    return path


def test_the_bank_holds_noise_and_aligned_responses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_index(tmp_path, [{"file": "a.wav", "kind": "noise", "seconds": 1}, {"file": "b.wav", "kind": "rir"}])
    soundfile.write(tmp_path / "noise" / "a.wav", 0.5 * tone(300, 0.5, 8000), 8000)
    response = np.zeros(5000)
    response[[900, 1000, 1400]] = [0.01, 0.5, -0.25]
    soundfile.write(tmp_path / "noise" / "b.wav", response, 16000, subtype="FLOAT")
    monkeypatch.setenv("NOISE_FOLDER", "noise")
    bank = EffectsBank.load("${NOISE_FOLDER}/index.json", tmp_path)
    assert len(bank.noises) == len(bank.responses) == 1
    assert bank.noises[0].dtype == np.int16 and len(bank.noises[0]) == 8000  # resampled to 16 kHz
    assert np.abs(bank.noises[0].astype(int)).max() >= 32767
    np.testing.assert_array_equal(np.flatnonzero(bank.responses[0]), [0, 400])
    assert len(bank.responses[0]) == 401 and bank.responses[0].dtype == np.float32


def test_everything_wrong_with_an_index_is_named(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "silent.wav", np.zeros(100), 16000)
    rows = [
        {"file": "gone.wav", "kind": "noise"},
        {"file": str(tmp_path / "silent.wav"), "kind": "rir"},
        {"file": "a.wav", "kind": "music"},
        "a.wav",
        {"kind": "noise"},
    ]
    with pytest.raises(ConfigError) as caught:
        EffectsBank.load(write_index(tmp_path, rows))
    lines = str(caught.value).splitlines()
    assert len(lines) == 6 and "index.json: repair these" in lines[0]
    assert "gone.wav" in lines[1] and "silent.wav: 100 samples, all of them zero" in lines[2]
    assert "entry 3" in lines[3] and "'music'" in lines[3] and "entry 4" in lines[4] and "entry 5" in lines[5]


def test_an_index_that_cannot_be_read_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOT_SET", raising=False)
    with pytest.raises(ConfigError, match=r"NOT_SET.*not set"):
        EffectsBank.load("${NOT_SET}/index.json", tmp_path)
    with pytest.raises(ConfigError, match="cannot read the noise index"):
        EffectsBank.load("index.json", tmp_path)
    with pytest.raises(ConfigError, match="expected a JSON list of clips, got dict"):
        EffectsBank.load(write_index(tmp_path, {}))
    (tmp_path / "bad.json").write_text("[")
    with pytest.raises(ConfigError, match=r"bad.json: not JSON"):
        EffectsBank.load("bad.json", tmp_path)


@pytest.mark.corpus
def test_the_corpus_noise_is_usable(corpus_path: Path) -> None:
    bank = EffectsBank.load("noise/index.json", corpus_path)
    assert len(bank.noises) == 12 and len(bank.responses) == 6
    click = np.zeros(8000, np.float32)
    click[4000] = 1
    for response in bank.responses:
        wet = np.abs(add_reverb(click, response))
        assert wet[:4000].max() < 1e-4 * wet.max()  # rounding only
        assert wet[4000] >= 0.45 * wet.max()  # the direct sound lies where the click was


def degrade(folder: Path, out_dir: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.degrade", str(folder / "dev.jsonl"), str(folder / out_dir), *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_degrade_writes_a_noisy_narrow_copy(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.concatenate([0.2 * tone(1000), 0.2 * tone(6000)]), 16000)
    index = write_index(tmp_path, [{"file": "n.wav", "kind": "noise"}])
    soundfile.write(index.parent / "n.wav", white(20000), 16000)
    rows = [
        {"audio_filepath": "a.wav", "duration": 1.0, "text": "Low.", "domain": "x", "speaker": "s", "quality": 0.5},
        {"audio_filepath": "a.wav", "duration": 1.0, "text": "high", "domain": "y", "offset": 1.0},
    ]
    (tmp_path / "dev.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for out_dir in ("one", "two"):
        process = degrade(tmp_path, out_dir, "--noise", str(index), "--snr-db", "10", "10")
        assert process.returncode == 0 and "2 utterances" in process.stderr, process.stderr
    low, high = read_manifest(tmp_path / "one" / "dev.jsonl", strict=True).utterances
    assert (low.text, low.domain, low.speaker, low.quality) == ("Low.", "x", "s", 0.5)
    assert (high.text, high.domain, high.offset_s, high.duration_s) == ("high", "y", 0.0, 1.0)
    waveforms = [soundfile.read(utterance.audio_path)[0] for utterance in (low, high)]
    assert len(waveforms[0]) == 16000
    # noise of 1 / 10 of the tone's power 0.02, of which the band of 3100 of 8000 Hz is left
    assert power(waveforms[0]) == pytest.approx(0.02 + 0.002 * 3100 / 8000, rel=0.02)
    assert power(waveforms[1]) == pytest.approx(0.002 * 3100 / 8000, rel=0.1)  # its tone lies outside the band
    for path in (tmp_path / "one" / "dev-audio").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / "dev-audio" / path.name).read_bytes()
    assert degrade(tmp_path, "narrow", "--noise", str(index), "--effects", "telephone").returncode == 0
    narrow = [soundfile.read(row.audio_path)[0] for row in read_manifest(tmp_path / "narrow" / "dev.jsonl").utterances]
    assert power(narrow[0]) == pytest.approx(0.02, rel=0.01) and power(narrow[1]) < 1e-4
    again = degrade(tmp_path, "one", "--noise", str(index))
    assert again.returncode == 1 and "exists" in again.stderr
