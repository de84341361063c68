"""Recognisers behind one door: models of this project, PocketSphinx, and NeMo's CTC models in sherpa-onnx.

Every engine hears float32, mono, 16 kHz, and gives a `Transcript`. What `transcribe`, `evaluate` and `serve` can do
beyond that (hotwords, language models, live streams) is for models of this project.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import exp, log, nan
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from decode.align import Alignment
from decode.words import WORD_START, Word, each_word
from silero_like.audio import SAMPLE_RATE
from silero_like.bundle import find_bundle
from silero_like.errors import ConfigError, MissingExtraError
from silero_like.recognizer import Transcript, load
from silero_like.runtime import open_session

Array = npt.NDArray[np.float32]

OWN, POCKETSPHINX, SHERPA = "silero_like", "pocketsphinx", "sherpa-onnx"
ENGINES = (OWN, POCKETSPHINX, SHERPA)

WINDOW_S = 30.0
"""Another engine hears at most so much at a time: many need memory for a whole recording or all pairs of frames."""

_PAUSE_S = 0.1  # a window is cut in the middle of its quietest stretch of so long
_MIN_S = 0.1  # shorter audio is padded: some engines fail where there is not a single frame
_SHERPA_FRAME_S, _SHERPA_TOKEN_FRAMES = 0.01, 8  # it tells where a token begins; ours are as long as a frame of 80 ms
_NEMO_CTC = ("EncDecCTCModelBPE", "EncDecCTCModel", "EncDecHybridRNNTCTCBPEModel")
_FILLER = re.compile(r"<.*>|\[.*\]|\+\+.*\+\+")  # of PocketSphinx: silence, noise, the ends


class Engine(Protocol):
    """A recogniser that is ready."""

    @property
    def name(self) -> str:
        """What results call it."""

    @property
    def lang(self) -> str:
        """Code of its language; empty where nothing tells."""

    def transcribe_chunks(self, chunks: Iterable[Array], audio_filepath: str = "") -> Transcript:
        """Recognise a waveform that comes in successive parts `(n,)`, float32, mono, 16 kHz, in [-1, 1]."""


@dataclass(frozen=True)
class ModelSource:
    """A model on disk, and the engine that runs it."""

    engine: str
    """One of `ENGINES`."""
    path: Path | None
    """Its folder; None for the model that the engine brings with it."""
    name: str = ""
    """What it is to be called; empty for its own name."""

    @property
    def is_own(self) -> bool:
        """Whether it is a model of this project."""
        return self.engine == OWN


def parse_source(text: str) -> ModelSource:
    """Read `[NAME=][ENGINE:]PATH`; without an engine it is a model of this project.

    Raises:
        ConfigError: no path where the engine brings no model.

    >>> parse_source("theirs=sherpa-onnx:models/nemo")
    ModelSource(engine='sherpa-onnx', path=PosixPath('models/nemo'), name='theirs')
    >>> parse_source("pocketsphinx:")
    ModelSource(engine='pocketsphinx', path=None, name='')
    """
    name, separator, rest = text.partition("=")
    if not separator or "/" in name or Path(text).exists():
        name, rest = "", text
    engine, separator, path = rest.partition(":")
    if not separator or engine not in ENGINES:
        engine, path = OWN, rest
    if not path and engine != POCKETSPHINX:
        raise ConfigError(f"expected [NAME=][ENGINE:]PATH with one of {', '.join(ENGINES)}, got {text!r}: add the path")
    folder = find_bundle(path) if engine == OWN else Path(path)
    return ModelSource(engine, folder if path else None, name)


def open_engine(source: ModelSource) -> Engine:
    """Load a model.

    Raises:
        BundleError: a damaged model of this project.
        ConfigError: a folder that the engine cannot use.
        MissingExtraError: the engine's package is not installed.
    """
    if source.engine == POCKETSPHINX:
        return _open_pocketsphinx(source.path)
    if source.engine == SHERPA and source.path:
        return _open_sherpa(source.path)
    return load(source.path)


class WindowedEngine:
    """An engine that hears a window of a recording at a time; long ones are cut where they are quiet.

    Args:
        name: what results call it.
        lang: code of its language, empty if it is not known.
        hear: from a window, float32 `(n,)`, to its words, times in seconds from the window's start; confidences are
            NaN where the engine gives none.
    """

    def __init__(self, name: str, lang: str, hear: Callable[[Array], Sequence[Word]]) -> None:
        self.name, self.lang, self._hear = name, lang, hear

    def transcribe_chunks(self, chunks: Iterable[Array], audio_filepath: str = "") -> Transcript:
        """Recognise a waveform that comes in successive parts `(n,)`, float32, mono, 16 kHz, in [-1, 1]."""
        words: list[Word] = []
        n_samples = 0
        for window in windows(chunks):
            duration_s, start_s = len(window) / SAMPLE_RATE, n_samples / SAMPLE_RATE
            padded = np.pad(window, (0, max(0, round(_MIN_S * SAMPLE_RATE) - len(window))))
            for word in self._hear(padded):
                start, end = (start_s + min(time_s, duration_s) for time_s in (word.start, word.end))
                words.append(dataclasses.replace(word, start=start, end=end))
            n_samples += len(window)
        return Transcript(
            audio_filepath=audio_filepath,
            duration=n_samples / SAMPLE_RATE,
            text=" ".join(word.word for word in words),
            confidence=_mean_confidence(words),
            words=tuple(words),
            model=self.name,
        )


def windows(chunks: Iterable[Array], window_s: float = WINDOW_S) -> Iterator[Array]:
    """Cut a waveform that comes in parts into windows of at most `window_s`, each cut where its last third is quietest.

    >>> [len(window) for window in windows([np.zeros(16000, np.float32)] * 3, window_s=2.0)]
    [23200, 24800]
    """
    held, n_window = np.zeros(0, np.float32), round(window_s * SAMPLE_RATE)
    for chunk in chunks:
        held = np.concatenate([held, chunk])
        while len(held) > n_window:
            end = _quietest(held[:n_window])
            yield held[:end]
            held = held[end:]
    if len(held):
        yield held


def _quietest(window: Array) -> int:
    """Return the middle of the stretch with the least energy in the last third of a window."""
    n_pause = round(_PAUSE_S * SAMPLE_RATE)
    n_pauses = len(window) // 3 // n_pause
    energies = np.square(window[len(window) - n_pauses * n_pause :].reshape(n_pauses, n_pause)).sum(axis=1)
    return len(window) - (n_pauses - int(energies.argmin())) * n_pause + n_pause // 2


def _mean_confidence(words: Sequence[Word]) -> float:
    """Return the geometric mean of the words' confidences; 0 without words."""
    if not words:
        return 0.0
    return exp(sum(log(max(word.confidence, 1e-9)) for word in words) / len(words))


def _open_pocketsphinx(path: Path | None) -> WindowedEngine:
    try:
        from pocketsphinx import Decoder
    except ModuleNotFoundError as error:
        message = "PocketSphinx is not installed: pip install 'silero_like[pocketsphinx]'"
        raise MissingExtraError(message) from error
    files = _pocketsphinx_files(path) if path else {}
    try:
        decoder: Any = Decoder(samprate=SAMPLE_RATE, loglevel="FATAL", **files)
    except RuntimeError as error:
        raise ConfigError(f"{path or 'its own model'}: {error}: get the model anew") from error
    frame_s = 1 / decoder.config["frate"]

    def hear(waveform: Array) -> list[Word]:
        decoder.start_utt()
        decoder.process_raw((np.clip(waveform, -1, 1) * 32767).astype("<i2").tobytes(), full_utt=True)
        decoder.end_utt()
        if decoder.hyp() is None:
            return []
        return [
            Word(part.word.partition("(")[0], part.start_frame * frame_s, (part.end_frame + 1) * frame_s,
                 min(1.0, part.prob))
            for part in decoder.seg() if not _FILLER.fullmatch(part.word)
        ]  # fmt: skip

    return WindowedEngine(path.resolve().name if path else POCKETSPHINX, "" if path else "en", hear)


def _pocketsphinx_files(folder: Path) -> dict[str, str]:
    """Find acoustic model, language model and dictionary in a folder of CMUSphinx."""
    found = {
        "hmm": [path.parent for path in (*folder.glob("mdef"), *folder.glob("*/mdef"))],
        "lm": [path for path in (*folder.glob("*.lm"), *folder.glob("*.lm.*")) if "phone" not in path.name],
        "dict": [*folder.glob("*.dict"), *folder.glob("*.dic")],
    }
    for part, paths in found.items():
        if len(paths) != 1:
            expected = "a folder with one mdef (in it or one below), one *.lm, *.lm.bin or *.lm.gz, one *.dict or *.dic"
            raise ConfigError(f"{folder}: expected {expected}; found {len(paths)} for {part}: check the path")
    return {part: str(paths[0]) for part, paths in found.items()}


def _open_sherpa(folder: Path) -> WindowedEngine:
    try:
        import sherpa_onnx
    except ModuleNotFoundError as error:
        raise MissingExtraError("sherpa-onnx is not installed: pip install 'silero_like[sherpa-onnx]'") from error
    models, tokens = [folder / name for name in ("model.int8.onnx", "model.onnx")], folder / "tokens.txt"
    model = next((path for path in models if path.is_file()), None)
    if model is None or not tokens.is_file():
        raise ConfigError(f"{folder}: expected model.onnx or model.int8.onnx, and tokens.txt: check the path")
    metadata = _read_metadata(model)
    recognizer: Any = sherpa_onnx.OfflineRecognizer.from_nemo_ctc(
        str(model), str(tokens), feature_dim=int(metadata.get("feat_dim", 80))
    )

    def hear(waveform: Array) -> list[Word]:
        stream = recognizer.create_stream()
        stream.accept_waveform(SAMPLE_RATE, waveform)
        recognizer.decode_stream(stream)
        return _sherpa_words(stream.result.tokens, stream.result.timestamps)

    return WindowedEngine(folder.resolve().name, metadata.get("language", ""), hear)


def _read_metadata(model: Path) -> dict[str, str]:
    """Read what a graph says of itself; sherpa-onnx ends the process where it is of another kind than it expects.

    Raises:
        ConfigError: no graph, or not one of NeMo's CTC models.
    """
    try:
        metadata: dict[str, str] = open_session(model).get_modelmeta().custom_metadata_map
    except Exception as error:  # its exceptions have no base class of their own, and some span lines
        raise ConfigError(f"{model}: cannot read the model ({' '.join(str(error).split())}): get it anew") from error
    if (kind := metadata.get("model_type")) not in _NEMO_CTC:
        raise ConfigError(f"{model}: expected model_type {' or '.join(_NEMO_CTC)}, found {kind}: take a NeMo CTC model")
    return metadata


def _sherpa_words(tokens: Sequence[str], starts_s: Sequence[float]) -> list[Word]:
    """Join tokens, a space marking the start of a word; a token ends where the next one begins, or after a frame."""
    starts = np.round(np.array(starts_s) / _SHERPA_FRAME_S).astype(np.int64)
    ends = np.minimum(np.append(starts[1:], starts[-1:] + _SHERPA_TOKEN_FRAMES), starts + _SHERPA_TOKEN_FRAMES)
    unknown = np.zeros(len(tokens), np.float32)
    alignment = Alignment(tuple(range(len(tokens))), starts, ends, unknown)
    pieces = (token.replace(" ", WORD_START) for token in tokens)
    return [dataclasses.replace(word, confidence=nan) for word in each_word(pieces, alignment, _SHERPA_FRAME_S)]
