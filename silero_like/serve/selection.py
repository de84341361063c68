"""What a request means: which model, and how it is to search."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from silero_like.serve.answers import LANGUAGE_NAMES
from silero_like.serve.messages import ModelInfo, Options
from silero_like.serve.pool import Pool
from silero_like.serve.refusals import ServeError

MAX_BEAM_WIDTH = 1000
"""A wider search would keep a worker for minutes."""


class Search(BaseModel):
    """What a stream, or a request of gRPC, may say of the search; every field may be left out."""

    model_config = ConfigDict(extra="forbid")

    model: str | None = None
    decoder: Literal["greedy", "beam"] | None = None
    beam_width: Annotated[int | None, Field(ge=1, le=MAX_BEAM_WIDTH)] = None
    lm: str | None = None
    hotwords: list[str] = []

    def options(self, model: str) -> Options:
        """Return it as workers are told, with the name that `find_model` gave."""
        return Options(
            model=model, decoder=self.decoder, beam_width=self.beam_width, lm=self.lm, hotwords=tuple(self.hotwords)
        )


def find_model(name: str | None, pool: Pool) -> str:
    """Return the model that a request means: the first if it names none.

    Raises:
        ServeError: 404, it is not served.
    """
    name = name or next(iter(pool.models))
    if name not in pool.models:
        raise ServeError(404, "model_not_found", f"expected a model among {', '.join(pool.models)}, got {name[:80]!r}")
    return name


def check_language(language: str | None, info: ModelInfo) -> None:
    """Refuse a request for a language that the model does not know, as far as its own is known.

    Raises:
        ServeError: 400.
    """
    if not language or not info.lang:
        return
    if language.lower().split("-")[0] not in (info.lang, LANGUAGE_NAMES.get(info.lang)):
        message = f"expected language {info.lang}, which the model knows, got {language[:40]!r}: leave it out"
        raise ServeError(400, "wrong_language", message)
