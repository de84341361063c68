"""The decoders that a recogniser can use, made from a bundle, a language model and hotwords."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import chain, islice
from math import log
from pathlib import Path
from threading import Lock
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from decode.align import check_normalised
from decode.align_long import align_long
from decode.beam import BeamSearch
from decode.calibration import Calibration
from decode.config import BeamConfig
from decode.greedy import greedy_align_parts
from decode.hotwords import HotwordScorer
from decode.lm import WordScorer, make_lexicon
from decode.ngram import KenLM, read_words, unzipped
from decode.priors import check_log_priors, take_back
from decode.scorer import Scorer
from decode.times import Decoded, decode_parts
from silero_like.bundle import Bundle
from silero_like.errors import ConfigError, MissingExtraError
from silero_like.tokenizer import Tokenizer

Array = npt.NDArray[np.float32]

N_COLLECTED = 8
"""Parts of a recording, of a minute or so, that are collected before a search is taken; a longer one gets its own."""

DECODERS = ("greedy", "beam", "pyctcdecode")
PYCTCDECODE_HINT = (
    "the decoder pyctcdecode needs the package of that name: pip install --no-deps pyctcdecode pygtrie "
    "(without --no-deps it also takes NumPy back below 2, which it does not need)"
)


class Decoder(Protocol):
    """Turns the log_probs of one recording at a time into aligned tokens."""

    name: str
    """One of `DECODERS`."""
    calibration: Calibration
    """What makes its words' confidences fit how often they are right."""

    def decode_parts(self, parts: Iterable[Array], n_best: int = 1) -> Decoded:
        """Decode successive `(t, V)` of one recording; threads may share a decoder."""


def make_decoder(
    name: str | None,
    bundle: Bundle,
    tokenizer: Tokenizer,
    *,
    lm_path: str | Path | None = None,
    beam_width: int | None = None,
    hotwords: Mapping[str, float] | None = None,
) -> Decoder:
    """Make a decoder.

    Args:
        name: one of `DECODERS`; when None, "beam" if there is a language model, a hotword or a width, else "greedy".
        bundle: gives the language model, if it has one, and the settings of the search.
        tokenizer: the bundle's.
        lm_path: ARPA, also gz, or KenLM binary, in place of the bundle's; "none" for none.
        beam_width: in place of the bundle's.
        hotwords: weight of each phrase.

    Raises:
        ConfigError: an unknown name, an unusable language model, setting or hotword, or one of them for "greedy".
        MissingExtraError: "pyctcdecode" without the package.
    """
    path = bundle.lm_path if lm_path is None else None if lm_path == "none" else Path(lm_path)
    name = name or ("beam" if path or hotwords or beam_width is not None else "greedy")
    if name not in DECODERS:
        raise ConfigError(f"expected a decoder among {', '.join(DECODERS)}, got {name!r}")
    if name == "greedy":
        if hotwords or lm_path not in (None, "none"):
            raise ConfigError("expected no hotwords and no language model with the decoder greedy: take beam")
        if beam_width is not None:
            raise ConfigError("expected no beam_width with the decoder greedy: take beam")
        return GreedyDecoder(bundle.config.blank_id)
    with _as_config_errors():
        config = BeamConfig.from_dict(bundle.decoder)
        if beam_width is not None:
            config = dataclasses.replace(config, beam_width=beam_width)
        make = BeamDecoder if name == "beam" else PyctcdecodeDecoder
        return make(tokenizer, config, path, hotwords or {})


class GreedyDecoder:
    """The best label of every frame."""

    name, calibration = "greedy", Calibration()

    def __init__(self, blank_id: int) -> None:
        self._blank_id = blank_id

    def decode_parts(self, parts: Iterable[Array], n_best: int = 1) -> Decoded:
        """Decode successive `(t, V)` of one recording, holding one part at a time; it knows the best only."""
        return Decoded(greedy_align_parts(parts, self._blank_id))


class BeamDecoder:
    """This project's beam search (`decode.beam`). Threads that share one take turns; they must not share `search`."""

    name = "beam"

    def __init__(
        self,
        tokenizer: Tokenizer,
        config: BeamConfig,
        lm_path: Path | None,
        hotwords: Mapping[str, float],
    ) -> None:
        self._tokenizer, self._hotwords = tokenizer, hotwords
        self._config = _with_lm_only(config, lm_path)
        self._ngram = KenLM(lm_path) if lm_path else None
        if self._ngram and lm_path:
            self._lexicon = make_lexicon(self._ngram, read_words(lm_path), extra=" ".join(hotwords).split())
        self.search = self._new_search()
        self.calibration = Calibration(config.confidence_temperature, config.confidence_offset)
        self._lock = Lock()

    def decode_parts(self, parts: Iterable[Array], n_best: int = 1) -> Decoded:
        """Decode successive `(t, V)` of one recording.

        A short one is collected first, so that others may search meanwhile; a long one is decoded part by part, in a
        search that remembers nothing of others.
        """
        parts = iter(parts)
        first = list(islice(parts, N_COLLECTED))
        if len(first) == N_COLLECTED:
            return decode_parts(chain(first, parts), self._new_search(), n_best)
        with self._lock:
            return decode_parts(first, self.search, n_best)

    def _new_search(self) -> BeamSearch:
        pieces, scorers = self._tokenizer.pieces, list[Scorer]()
        if self._ngram:
            scorers.append(WordScorer(self._ngram, self._lexicon, pieces, self._config))
        if self._hotwords:
            scorers.append(HotwordScorer(self._hotwords, pieces))
        return BeamSearch(self._tokenizer.n_labels, self._tokenizer.blank_id, self._config, scorers)


class PyctcdecodeDecoder:
    """The package pyctcdecode with the same settings, as far as it has them.

    It has one weight for all hotwords: the highest is taken. Its result is text, which is aligned in the tokens that
    the tokenizer makes of it.
    """

    name = "pyctcdecode"

    def __init__(
        self, tokenizer: Tokenizer, config: BeamConfig, lm_path: Path | None, hotwords: Mapping[str, float]
    ) -> None:
        try:
            from pyctcdecode import build_ctcdecoder
        except ImportError as error:
            raise MissingExtraError(PYCTCDECODE_HINT) from error
        self._tokenizer, self._hotwords = tokenizer, hotwords
        self._config = _with_lm_only(config, lm_path)
        if self._config.prior_weight:
            check_log_priors(config.log_priors, tokenizer.n_labels)
        self.calibration = Calibration(config.confidence_temperature, config.confidence_offset)
        self._lock = Lock()
        labels = [*tokenizer.pieces, ""]
        if lm_path is None:
            self._decoder: Any = build_ctcdecoder(labels)
            return
        words = sorted({*read_words(lm_path), *" ".join(hotwords).split()} - {"<s>", "</s>", "<unk>"})
        # It adds its offset to log10 p before that is weighted.
        offset = config.unk_score / (max(config.alpha, 1e-3) * log(10.0))
        KenLM(lm_path)  # its errors are clearer
        with unzipped(lm_path) as plain:
            self._decoder = build_ctcdecoder(
                labels, str(plain), words, alpha=config.alpha, beta=config.beta, unk_score_offset=offset
            )

    def decode_parts(self, parts: Iterable[Array], n_best: int = 1) -> Decoded:
        """Decode successive `(t, V)` of one recording, which are collected first; only the best is given."""
        log_probs = np.concatenate([np.zeros((0, self._tokenizer.n_labels), np.float32), *parts])
        check_normalised(log_probs, self._tokenizer.n_labels, self._tokenizer.blank_id)
        for text in self.texts(log_probs):
            # Its tokens may have been others, so in a very short recording there can be too few frames for these.
            with suppress(ValueError):
                return Decoded(align_long(log_probs, self._tokenizer.encode(text), self._tokenizer.blank_id))
        return Decoded(align_long(log_probs, [], self._tokenizer.blank_id))

    def texts(self, log_probs: npt.NDArray[np.floating]) -> list[str]:
        """Return the texts that were found for log_probs `(T, V)`, best first; none without frames."""
        options: dict[str, Any] = {}
        if self._hotwords:
            options = {"hotwords": list(self._hotwords), "hotword_weight": max(self._hotwords.values())}
        if not len(log_probs):
            return []
        if weight := self._config.prior_weight:
            log_probs = take_back(log_probs.astype(np.float64), np.array(self._config.log_priors), weight)
        with self._lock:
            beams = self._decoder.decode_beams(
                log_probs,
                beam_width=self._config.beam_width,
                beam_prune_logp=self._config.beam_prune_log_prob,
                token_min_logp=self._config.token_min_log_prob,
                **options,
            )
        return [str(beam[0]) for beam in beams]


def _with_lm_only(config: BeamConfig, lm_path: Path | None) -> BeamConfig:
    """Leave priors alone without a language model, which takes their place: nothing else would tell likely texts."""
    return config if lm_path else dataclasses.replace(config, prior_weight=0.0)


@contextmanager
def _as_config_errors() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise ConfigError(str(error)) from error
