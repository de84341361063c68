"""Which model a request means."""

from __future__ import annotations

from silero_like.serve.answers import LANGUAGE_NAMES
from silero_like.serve.messages import ModelInfo
from silero_like.serve.pool import Pool
from silero_like.serve.refusals import ServeError

MAX_BEAM_WIDTH = 1000
"""A wider search would keep a worker for minutes."""


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
    """Refuse a request for a language that the model does not know.

    Raises:
        ServeError: 400.
    """
    if language and language.lower().split("-")[0] not in (info.lang, LANGUAGE_NAMES.get(info.lang)):
        message = f"expected language {info.lang}, which the model knows, got {language[:40]!r}: leave it out"
        raise ServeError(400, "wrong_language", message)
