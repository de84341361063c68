"""What happens to speech on its way to a microphone and down a line: a function for each effect, waveform to waveform.

All but `change_speed` keep length and timing, so that labels and their times still hold. Waveforms are float32 `(N,)`,
N at least 1, 16 kHz unless said otherwise. What is random takes its generator.
"""

from __future__ import annotations

import functools
import io
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from silero_like.audio import SAMPLE_RATE, Waveform, load_audio
from silero_like.errors import AudioError, ConfigError

TELEPHONE_RATE = 8000
"""Hz, of a telephone line."""
TELEPHONE_BAND_HZ = (300.0, 3400.0)
"""What passes a telephone line."""
CODECS = {"mu-law": 0.75, "mp3": 0.2, "opus": 0.05}
"""Codec -> how often `random_codec` takes it: a round trip costs about 0.05, 5 and 25 ms of CPU a second of audio."""

_FILTER_TAPS = 641  # at 16 kHz: the edges of the band are 80 Hz wide, and 50 dB of what lies outside goes
_ACTIVE_FRAME = 320  # samples, 20 ms
_DIRECT_SHARE = 0.5  # of the largest sample: the first one above it is the direct sound
_TAIL_SHARE = 1e-6  # of the energy of a room response: what comes after is not heard (-60 dB)


@dataclass(frozen=True, eq=False)
class EffectsBank:
    """Noise and room responses, read once and held in memory."""

    noises: tuple[npt.NDArray[np.int16], ...]
    """int16 `(N,)`, mono, 16 kHz, scaled to full range."""
    responses: tuple[Waveform, ...]
    """float32 `(N,)`, 16 kHz, from the direct sound on, so that convolving does not delay."""

    @classmethod
    def load(cls, index: str | Path, root: str | Path = ".") -> EffectsBank:
        """Read every clip of an index, a JSON list of `{"file": ..., "kind": "noise" | "rir"}` (other keys are free).

        Args:
            index: path of the index, relative to `root`; environment variables are expanded. Its files lie beside it.
            root: the data root of a recipe.

        Raises:
            ConfigError: the index cannot be read or is malformed, or clips cannot be read or are silent; all are named.
        """
        path = Path(root) / _expand(str(index))
        clips: dict[str, list[Waveform]] = {"noise": [], "rir": []}
        problems = []
        for number, row in enumerate(_index_rows(path), start=1):
            try:
                clips[row["kind"]].append(_audible(path.parent / row["file"]))
            except (KeyError, TypeError):
                problems.append(f'entry {number}: expected {{"file": ..., "kind": "noise" or "rir"}}, got {row!r}')
            except AudioError as error:
                problems.append(str(error))
        if problems:
            raise ConfigError(f"{path}: repair these or take them out of the index:\n  " + "\n  ".join(problems))
        return cls(tuple(map(_to_int16, clips["noise"])), tuple(map(_from_direct_sound, clips["rir"])))


def change_speed(waveform: Waveform, speed: float, sample_rate: int) -> Waveform:
    """Play float32 `(N,)` `speed` times as fast (pitch moves too): `(N / speed,)`."""
    if speed == 1.0:
        return waveform
    return np.asarray(soxr.resample(waveform, sample_rate * speed, sample_rate), dtype=np.float32)


def random_gain(waveform: Waveform, max_db: float, generator: np.random.Generator) -> Waveform:
    """Scale by a uniform gain of plus or minus `max_db`; not clipped."""
    return (waveform * np.float32(10 ** (generator.uniform(-max_db, max_db) / 20))).astype(np.float32, copy=False)


def add_reverb(waveform: Waveform, response: Waveform) -> Waveform:
    """Place speech in a room; its power stays as it was, and so does the direct sound in time.

    Args:
        response: float32 `(M,)`, the room's impulse response from the direct sound on, as in `EffectsBank`.
    """
    wet = _convolve(waveform, response)[: len(waveform)]
    power = float(np.dot(wet, wet))
    return wet * np.float32(np.sqrt(np.dot(waveform, waveform) / power)) if power > 0 else waveform


def add_noise(
    waveform: Waveform, noise: npt.NDArray[np.int16], snr_db: float, generator: np.random.Generator
) -> Waveform:
    """Add a stretch of noise, cut at a random place, or repeated when it is too short.

    Args:
        noise: int16 `(M,)`, M at least 1, of any level.
        snr_db: power of the active speech (`active_power`) over that of the stretch of noise, in dB.
    """
    stretch = _stretch(noise, len(waveform), generator).astype(np.float32) / np.float32(32768)
    speech_power, noise_power = active_power(waveform), float(np.mean(stretch * stretch))
    if not (speech_power > 0 and noise_power > 0):
        return waveform
    return waveform + stretch * np.float32(np.sqrt(speech_power / noise_power * 10 ** (-snr_db / 10)))


def active_power(waveform: Waveform) -> float:
    """Return the mean power of the 20 ms frames that hold at least a tenth of the mean power.

    Pauses are so left out: an utterance between long silences is as loud as the same one cut closely.

    >>> active_power(np.concatenate([np.zeros(16000), np.ones(16000)]).astype(np.float32))
    1.0
    """
    n_whole = len(waveform) - len(waveform) % _ACTIVE_FRAME
    frames = waveform[:n_whole].reshape(-1, _ACTIVE_FRAME) if n_whole else waveform[None]
    power = np.einsum("ij,ij->i", frames, frames) / frames.shape[1]
    return float(power[power >= 0.1 * power.mean()].mean())


def clip_loudest(waveform: Waveform, share: float) -> Waveform:
    """Cut the peaks off, as an overdriven input does: the loudest `share` of the samples, 0 to 1, get one magnitude."""
    magnitude = np.abs(waveform)
    rank = max(0, min(len(waveform) - 1, round((1 - share) * len(waveform)) - 1))
    limit = np.partition(magnitude, rank)[rank]
    return np.clip(waveform, -limit, limit)


def telephone_band(waveform: Waveform) -> Waveform:
    """Keep 300 to 3400 Hz, as going down to 8 kHz, through a line and back does."""
    delay = _FILTER_TAPS // 2
    return _convolve(waveform, _telephone_filter())[delay : delay + len(waveform)]


def telephone_codec(waveform: Waveform, generator: np.random.Generator) -> Waveform:
    """Limit to the telephone band and send through a random codec at 8 kHz."""
    raised = np.zeros_like(waveform)
    raised[::2] = 2 * random_codec(telephone_band(waveform)[::2], TELEPHONE_RATE, generator)
    return telephone_band(raised)  # which takes away the mirror image above 4 kHz too


def random_codec(waveform: Waveform, sample_rate: int, generator: np.random.Generator) -> Waveform:
    """Encode and decode by one of `CODECS`, at a random quality."""
    codec = str(generator.choice(list(CODECS), p=list(CODECS.values())))
    return code(waveform, sample_rate, codec, float(generator.random()))


def code(waveform: Waveform, sample_rate: int, codec: str, compression: float = 0.5) -> Waveform:
    """Encode and decode; what is louder than 1 is scaled down for it and up again.

    Args:
        waveform: float32 `(N,)`, at `sample_rate`, 8000 or 16000 Hz.
        codec: "mu-law" (8 bits a sample, as in G.711), "mp3" or "opus".
        compression: 0 to 1. At 16 kHz it takes MP3 from about 50 to 23 kbit/s and Opus from 45 to 8; mu-law has none.
    """
    peak = np.float32(max(1.0, float(np.abs(waveform).max())))
    scaled = waveform / peak
    if codec == "mu-law":
        decoded = _mu_law_table()[_to_int16(scaled).view(np.uint16)]
    elif codec == "mp3":
        # Constant rates near the lowest leave no room for the header that tells how many samples to drop.
        decoded = _round_trip(scaled, sample_rate, "MP3", "MPEG_LAYER_III", 0.9 * compression)
    else:
        decoded = _round_trip(scaled, sample_rate, "OGG", "OPUS", 0.85 + 0.14 * compression)
    return decoded * peak


def _round_trip(scaled: Waveform, sample_rate: int, container: str, subtype: str, level: float) -> Waveform:
    """Write and read in memory; the decoders drop their own delay, and the length is made sure of."""
    file = io.BytesIO()
    mode = {"bitrate_mode": "VARIABLE"} if container == "MP3" else {}
    soundfile.write(file, scaled, sample_rate, format=container, subtype=subtype, compression_level=level, **mode)
    file.seek(0)
    decoded = soundfile.read(file, len(scaled), dtype="float32")[0]
    return np.pad(decoded, (0, len(scaled) - len(decoded)))


@functools.cache
def _mu_law_table() -> Waveform:
    """Return float32 `(65536,)`: what each int16 sample, read as uint16, becomes."""
    file = io.BytesIO()
    samples = np.arange(65536, dtype=np.uint16).view(np.int16)
    soundfile.write(file, samples, TELEPHONE_RATE, format="WAV", subtype="ULAW")
    file.seek(0)
    table: Waveform = soundfile.read(file, dtype="float32")[0]
    return table


@functools.cache
def _telephone_filter() -> Waveform:
    """Return a band-pass: the difference of two windowed sinc low-passes, symmetric, float32 `(_FILTER_TAPS,)`."""
    time = np.arange(_FILTER_TAPS) - _FILTER_TAPS // 2
    low, high = (2 * hz / SAMPLE_RATE * np.sinc(2 * hz / SAMPLE_RATE * time) for hz in TELEPHONE_BAND_HZ)
    kernel: Waveform = ((high - low) * np.hamming(_FILTER_TAPS)).astype(np.float32)
    return kernel


def _convolve(waveform: Waveform, kernel: Waveform) -> Waveform:
    """Convolve by FFT, block by block (overlap-add), which stays in the cache; at least `(N + M - 1,)`, zeros after."""
    n_fft = 1 << (2 * len(kernel) - 1).bit_length()
    hop = n_fft - len(kernel) + 1
    n_blocks = -(-len(waveform) // hop)
    blocks = np.pad(waveform, (0, n_blocks * hop - len(waveform))).reshape(n_blocks, hop)
    pieces = np.fft.irfft(np.fft.rfft(blocks, n_fft) * np.fft.rfft(kernel, n_fft), n_fft).astype(np.float32, copy=False)
    added = np.zeros((n_blocks + 1, hop), np.float32)
    added[:-1] = pieces[:, :hop]
    added[1:, : n_fft - hop] += pieces[:, hop:]
    return added.reshape(-1)


def _stretch(noise: npt.NDArray[np.int16], n_samples: int, generator: np.random.Generator) -> npt.NDArray[np.int16]:
    if len(noise) < n_samples:
        return np.resize(np.roll(noise, int(generator.integers(len(noise)))), n_samples)
    start = int(generator.integers(len(noise) - n_samples + 1))
    return noise[start : start + n_samples]


def _expand(path: str) -> str:
    expanded = os.path.expandvars(path)
    if "$" in expanded:
        raise ConfigError(f"augment.noise {path!r} names an environment variable that is not set: set it")
    return expanded


def _index_rows(path: Path) -> list[dict[str, str]]:
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the noise index ({error.strerror}): check augment.noise") from error
    except ValueError as error:
        raise ConfigError(f"{path}: not JSON: {error}: expected a list of noise clips and room responses") from error
    if not isinstance(rows, list):
        raise ConfigError(f"{path}: expected a JSON list of clips, got {type(rows).__name__}")
    return rows


def _audible(path: Path) -> Waveform:
    waveform = load_audio(path)
    if not np.any(waveform):
        raise AudioError(f"{path}: {len(waveform)} samples, all of them zero: expected sound")
    scaled: Waveform = waveform / np.abs(waveform).max()
    return scaled


def _to_int16(waveform: Waveform) -> npt.NDArray[np.int16]:
    samples: npt.NDArray[np.int16] = np.clip(np.rint(waveform * np.float32(32768)), -32768, 32767).astype(np.int16)
    return samples


def _from_direct_sound(response: Waveform) -> Waveform:
    """Cut off what comes before the direct sound and the tail that is not heard."""
    magnitude = np.abs(response)
    response = response[int(np.argmax(magnitude >= _DIRECT_SHARE * magnitude.max())) :]
    energy_left = np.cumsum(response[::-1].astype(np.float64) ** 2)[::-1]
    return response[: np.count_nonzero(energy_left > _TAIL_SHARE * energy_left[0])].copy()
