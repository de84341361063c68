"""What a core can do at most: the rate of a large matrix product in ONNX Runtime, float32 and int8."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from silero_like.runtime import open_session

SIDE = 1024
REPEATS = 20

_FLOAT, _UINT8, _INT8, _INT32 = 1, 2, 3, 6  # element types of ONNX
_OPERATORS = {"float32": ("MatMul", _FLOAT, _FLOAT, _FLOAT), "int8": ("MatMulInteger", _UINT8, _INT8, _INT32)}


def matrix_product_rate(kind: str, side: int = SIDE, repeats: int = REPEATS) -> float:
    """Return multiplications and additions a second of one core in a square product: the best of several.

    Args:
        kind: "float32", or "int8" (unsigned by signed bytes, as in the int8 graphs of this project).
        side: of the matrices; the second one is constant, as weights are.
        repeats: how often it is timed, in processor time.
    """
    _, left, right, _ = _OPERATORS[kind]
    session = open_session(_model(kind, np.ones((side, side), _numpy_type(right))))
    feeds = {"a": np.ones((side, side), _numpy_type(left))}
    session.run(None, feeds)
    times = []
    for _ in range(repeats):
        started = time.process_time()
        session.run(None, feeds)
        times.append(time.process_time() - started)
    return float(2 * side**3 / min(times))


def _numpy_type(element: int) -> npt.DTypeLike:
    return {_FLOAT: np.float32, _UINT8: np.uint8, _INT8: np.int8}[element]


def _model(kind: str, weights: npt.NDArray[np.generic]) -> bytes:
    """Write the graph ``c = a b``; onnx.proto3 has the fields' numbers. `onnx` is no part of the installation."""
    operator, left, right, result = _OPERATORS[kind]
    constant = _message({1: list(weights.shape), 2: right, 8: b"b", 9: weights.tobytes()})
    node = _message({1: [b"a", b"b"], 2: b"c", 4: operator.encode()})
    values = (
        _message({1: name, 2: _message({1: _message({1: element})})})
        for name, element in ((b"a", left), (b"c", result))
    )
    source, target = values
    graph = _message({1: node, 2: b"product", 5: constant, 11: source, 12: target})
    return _message({1: 8, 7: graph, 8: _message({2: 18})})


def _message(fields: Mapping[int, int | bytes | list[int] | list[bytes]]) -> bytes:
    """Write a Protocol Buffers message of integers, bytes, and lists of them, by field number."""
    written = b""
    for number, value in fields.items():
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, int):
                written += _varint(number << 3) + _varint(item)
            else:
                written += _varint(number << 3 | 2) + _varint(len(item)) + item
    return written


def _varint(value: int) -> bytes:
    low = bytearray()
    while value > 127:
        low.append(value & 127 | 128)
        value >>= 7
    return bytes([*low, value])
