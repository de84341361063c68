"""A JSON object on a line, and its fields: each is what is expected, or the flaw is named."""

import json
import math
from typing import Any


class BadLine(Exception):
    """What is wrong with a line: its kind, and the rest of the sentence."""

    def __init__(self, kind: str, detail: str = "") -> None:
        super().__init__(kind, detail)
        self.kind, self.detail = kind, detail


def read_object(line: bytes) -> dict[str, Any]:
    """Return the object of a line of UTF-8.

    Raises:
        BadLine: it is none.
    """
    try:
        row = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise BadLine("not UTF-8", f" (byte {error.start + 1} of the line)") from error
    except (ValueError, RecursionError) as error:
        raise BadLine("not JSON", f": {error}") from error
    if not isinstance(row, dict):
        raise BadLine("expected a JSON object", f", got {_kind(row)}")
    return row


def string_field(row: dict[str, Any], key: str, default: str | None = None) -> str:
    """Return a string field; without a default it is required and may not be empty.

    Raises:
        BadLine: it is another value, or no text.
    """
    value = row.get(key)
    if value is None:
        if default is None:
            raise BadLine(f"{key} is missing")
        return default
    if not isinstance(value, str):
        raise BadLine(f"{key} must be a string", f", got {_kind(value)}")
    if default is None and not value:
        raise BadLine(f"{key} is empty")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise BadLine(f"{key} holds half of a surrogate pair, which is no character")
    return value


def number_field(row: dict[str, Any], key: str, default: float | None = None) -> float:
    """Return a finite number field; without a default it is required.

    Raises:
        BadLine: it is another value.
    """
    value = row.get(key)
    if value is None:
        if default is None:
            raise BadLine(f"{key} is missing")
        return default
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadLine(f"{key} must be a number", f", got {_kind(value)}")
    if abs(value) > 1e15 or math.isnan(value):  # infinity too, and integers too large for a float
        raise BadLine(f"{key} must be a finite number", f", got {str(value)[:20]}")
    return float(value)


def _kind(value: object) -> str:
    """Name a JSON value's type as JSON does."""
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", int: "a number", float: "a number"}
    return names.get(type(value), "null")
