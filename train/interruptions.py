"""What may end a run early: a disk that fails, and signals that ask for it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from silero_like.errors import SileroLikeError


@contextmanager
def plain_disk_errors() -> Iterator[None]:
    """Say in one line what cannot be read or written."""
    try:
        yield
    except OSError as error:
        raise SileroLikeError(
            f"{error.filename or 'a file of the run'}: {error.strerror}: once that is mended, the same command goes on "
            "from the last checkpoint"
        ) from error


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Collect SIGTERM and SIGINT in the list it gives; a second SIGINT interrupts as usual."""
    received: list[int] = []

    def note(number: int, frame: object) -> None:
        if number in received and number == signal.SIGINT:
            raise KeyboardInterrupt
        received.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
