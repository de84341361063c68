"""The models of a worker: what recognises a file or a stream as a request wants it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from silero_like.bundle import CHECKSUMS_NAME, load_bundle
from silero_like.decoding import make_decoder
from silero_like.engines import OWN, Engine, ModelSource, open_engine
from silero_like.errors import ConfigError
from silero_like.recognizer import Recognizer, load
from silero_like.serve.messages import ModelInfo, Options
from silero_like.serve.settings import ServeSettings

MAX_HOTWORDS = 1000
N_DECODERS = 8  # kept of each model: making one with a language model takes a fifth of a second


class ServedModel(Protocol):
    """A model that is being served. Its methods raise `ConfigError` for options that it cannot do."""

    info: ModelInfo

    def engine(self, options: Options) -> Engine:
        """Return what transcribes files so."""

    def recognizer(self, options: Options) -> Recognizer:
        """Return what hears live streams so."""


def serve_model(source: ModelSource, settings: ServeSettings) -> ServedModel:
    """Load a model.

    Raises:
        SileroLikeError: as `open_engine`.
    """
    if source.engine == OWN and source.path:
        return ServedBundle(source.path, settings)
    return ServedEngine(source)


class ServedEngine:
    """A model of another engine, which has one way to recognise."""

    def __init__(self, source: ModelSource) -> None:
        self._engine = open_engine(source)
        created = _changed(source.path) if source.path else 0
        self.info = ModelInfo(self._engine.lang, self._engine.name, created, source.engine)

    def engine(self, options: Options) -> Engine:
        """Return the engine.

        Raises:
            ConfigError: an option of our decoders.
        """
        for option in ("decoder", "beam_width", "lm", "hotwords"):
            if getattr(options, option):
                raise self._error(options, f"which takes no {option}: leave it out, or ask")
        return self._engine

    def recognizer(self, options: Options) -> Recognizer:
        """Refuse, as only models of this project hear live streams."""
        raise self._error(options, "where there are no live streams: ask")

    def _error(self, options: Options, lack: str) -> ConfigError:
        return ConfigError(f"the model {options.model} runs in {self.info.engine}, {lack} for a model of this project")


class ServedBundle:
    """A model of this project, and the recognisers with the decoders that requests have asked for."""

    def __init__(self, path: Path, settings: ServeSettings) -> None:
        self._base = load(path)
        self._bundle = load_bundle(path, verify=False)
        self._language_models: Mapping[str, Path] = settings.language_models
        self._read_hotwords = settings.read_hotwords
        config = self._bundle.config
        self.info = ModelInfo(config.lang, config.name, _changed(path / CHECKSUMS_NAME), OWN)
        self.recognizer = lru_cache(N_DECODERS)(self._make)

    def engine(self, options: Options) -> Engine:
        """Return what transcribes files so."""
        return self.recognizer(options)

    def _make(self, options: Options) -> Recognizer:
        """Return a recogniser; all share the acoustic model.

        Raises:
            ConfigError: options that do not go together, or that the server does not have.
        """
        if options == Options(model=options.model):
            return self._base
        if options.decoder == "greedy" and options.beam_width:
            raise ConfigError("expected no beam_width with the decoder greedy: take beam")
        if len(options.hotwords) > MAX_HOTWORDS:
            raise ConfigError(f"expected at most {MAX_HOTWORDS} hotwords, got {len(options.hotwords)}: send fewer")
        try:
            hotwords = self._read_hotwords(options.hotwords, self._bundle.config.lang) if options.hotwords else {}
        except ConfigError as error:
            raise ConfigError(f"hotwords: {error}") from error
        decoder = make_decoder(
            options.decoder or ("beam" if options.beam_width else None),
            self._bundle,
            self._base.tokenizer,
            lm_path=self._lm_path(options.lm),
            beam_width=options.beam_width,
            hotwords=hotwords,
        )
        return Recognizer(self._base.runtime, self._base.tokenizer, decoder)

    def _lm_path(self, name: str | None) -> Path | str | None:
        if name is None or name == "none":
            return name
        if name not in self._language_models:
            known = ", ".join(["none", *self._language_models])
            raise ConfigError(f"expected an lm among {known}, got {name!r}: leave it out, or start the server with it")
        return self._language_models[name]


def _changed(path: Path) -> int:
    return int(path.stat().st_mtime)
