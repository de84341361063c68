"""What an operator sees: one line of JSON for each request, and figures for Prometheus."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from typing import TextIO

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

logger = logging.getLogger(__name__)

SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class Metrics:
    """The figures of one server."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self.requests = Counter(
            "silero_like_requests", "Requests answered.", ["path", "status"], registry=self._registry
        )
        self.seconds = Histogram(
            "silero_like_request_seconds",
            "From a request's first line to the end of its answer.",
            ["path"],
            buckets=SECONDS,
            registry=self._registry,
        )
        self.audio = Counter(
            "silero_like_audio_seconds", "Audio recognised.", ["model", "kind"], registry=self._registry
        )
        self.events = Counter(
            "silero_like_events", "Workers restarted, models reloaded.", ["event"], registry=self._registry
        )

    def gauge(self, name: str, help_: str, value: Callable[[], float]) -> None:
        """Add a figure that is read whenever it is asked for."""
        Gauge(f"silero_like_{name}", help_, registry=self._registry).set_function(value)

    def render(self) -> bytes:
        """Return all figures in Prometheus's text format."""
        return generate_latest(self._registry)


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        values = {
            "time": f"{seconds}.{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            values["trace"] = self.formatException(record.exc_info)
        return json.dumps(values, ensure_ascii=False)


def log(event: str, **fields: object) -> None:
    """Write a line; fields are JSON values."""
    logger.info(event, extra={"fields": fields})


def log_error(event: str, reason: object) -> None:
    """Write a line about what should not have happened."""
    logger.error(event, extra={"fields": {"reason": str(reason)}})


def log_to(stream: TextIO) -> None:
    """Send the server's log, and what uvicorn has to tell, to a stream, a JSON object a line."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_JsonLines())
    for name, level in (("silero_like.serve", logging.INFO), ("uvicorn.error", logging.WARNING)):
        logging.getLogger(name).handlers = [handler]
        logging.getLogger(name).setLevel(level)
        logging.getLogger(name).propagate = False
