"""Errors as clients of OpenAI's endpoints expect them."""

from __future__ import annotations

from fastapi import HTTPException
from fastapi.responses import JSONResponse

from silero_like.serve.messages import Refusal


class ServeError(HTTPException):
    """A request that is refused; it becomes OpenAI's error object.

    Args:
        status: of HTTP.
        code: a short name for programs.
        message: found, expected, cure.
        retry_after_s: when to come again, if that may help.
    """

    def __init__(self, status: int, code: str, message: str, *, retry_after_s: float | None = None) -> None:
        headers = {} if retry_after_s is None else {"Retry-After": str(max(1, round(retry_after_s)))}
        if status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        super().__init__(status, message, headers)
        self.code = code


def from_refusal(refusal: Refusal) -> ServeError:
    """Return a worker's refusal as an error."""
    return ServeError(refusal.status, refusal.code, refusal.message)


def error_object(status: int, code: str | None, message: str) -> dict[str, object]:
    """Return OpenAI's error object.

    >>> error_object(404, "model_not_found", "no such model")["error"]["type"]
    'invalid_request_error'
    """
    kind = "rate_limit_error" if status == 429 else "invalid_request_error" if status < 500 else "server_error"
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def respond(error: ServeError) -> JSONResponse:
    """Return the answer to a request that is refused."""
    return JSONResponse(error_object(error.status_code, error.code, error.detail), error.status_code, error.headers)
