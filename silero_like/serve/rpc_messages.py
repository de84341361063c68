"""Messages of `speech.proto`: from bytes, to bytes, and which fields of them are set."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from google.protobuf.message import DecodeError

from silero_like.serve.refusals import ServeError


def reader(kind: type[Any]) -> Callable[[bytes], Any]:
    """Return what makes of bytes a message, or what is wrong with them: gRPC takes an exception for our fault."""

    def read(data: bytes) -> Any:
        try:
            return kind.FromString(data)
        except DecodeError as error:
            return error

    return read


def checked(message: Any) -> Any:
    """Return a message as it is.

    Raises:
        ServeError: what a `reader` gave is none.
    """
    if isinstance(message, DecodeError):
        raise ServeError(400, "invalid_value", f"expected a message of speech.proto, got other bytes: {message}")
    return message


def to_bytes(message: Any) -> bytes:
    """Return a message as it goes to the client."""
    data: bytes = message.SerializeToString()
    return data


def given_fields(message: Any) -> dict[str, Any]:
    """Return the fields that are set."""
    return {field.name: value for field, value in message.ListFields()}
