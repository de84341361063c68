"""What a benchmark's figures were measured on."""

from __future__ import annotations

import importlib.metadata
import json
import math
import os
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PACKAGES = ("numpy", "onnxruntime", "torch")


def describe_machine() -> dict[str, Any]:
    """Return processor, cores, commit and versions."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "commit": _commit(),
        "versions": {package: _version(package) for package in PACKAGES},
    }


def machine_lines() -> str:
    """Return the same as text, for under a table."""
    machine = describe_machine()
    versions = ", ".join(f"{package} {version}" for package, version in machine["versions"].items())
    return (
        f"{machine['processor']}, {machine['cores']} cores; Python {machine['python']}, {versions}; "
        f"commit {machine['commit']}"
    )


def bar(name: str, measured: float, at_least: float = -math.inf, at_most: float = math.inf) -> str:
    """Return a line that compares a figure with what is asked for."""
    asked = f"at least {at_least:g}" if math.isfinite(at_least) else f"at most {at_most:g}"
    return f"{measured:9.3f}  {name}, {asked}{'' if at_least <= measured <= at_most else '  MISSED'}"


def write_figures(path: Path | None, figures: Mapping[str, Any]) -> None:
    """Write figures and machine as JSON, if a path is given."""
    if path is not None:
        text = json.dumps({"machine": describe_machine(), **figures}, indent=1, ensure_ascii=False)
        path.write_text(text + "\n", encoding="utf-8")


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=Path(__file__).parent
    ).stdout.strip()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
