"""`silero-like doctor`."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
from collections.abc import Iterator
from pathlib import Path

import click

PACKAGE = "silero_like"
EXTRAS = {
    "train": "training, export and counting presets",
    "video": "m4a, mp4, webm and video files",
    "vad": "leaving silence out of long recordings",
    "mic": "listening to a microphone",
}
CPU_FLAGS = {
    "avx2": ("avx2",),
    "avx512": ("avx512f",),
    "vnni": ("avx512_vnni", "avx_vnni"),
    "bf16": ("avx512_bf16", "amx_bf16"),
}
INT8_FAST = "products run on VNNI: int8 bundles are the faster ones"
INT8_SLOW = "no VNNI found: int8 bundles are smaller and do not overflow here, but may be no faster than float"
CPUINFO_PATH = Path("/proc/cpuinfo")


@click.command()
@click.pass_context
def doctor(context: click.Context) -> None:
    """Check the installation.

    Shows versions, CPU features, what each extra would add, and whether the bundled models pass their checksums and
    reproduce their stored reference outputs. Exit code 1 when a needed package is missing or a bundled model fails.

    \b
    Example:
      silero-like doctor
    """
    problems: list[str] = []
    click.echo(f"python       {platform.python_version()}, {platform.platform()}")
    cpu = describe_cpu()
    click.echo(f"cpu          {cpu}")
    click.echo(f"int8         {INT8_FAST if 'vnni' in cpu.split() else INT8_SLOW}")
    for line in _packages(problems):
        click.echo(line)
    for line in _models(problems):
        click.echo(f"model        {line}")
    for problem in problems:
        click.echo(f"Error: {problem}", err=True)
    context.exit(1 if problems else 0)


def describe_cpu() -> str:
    """Name the processor, its cores for this process and the vector instructions that speed a model up."""
    text = CPUINFO_PATH.read_text(encoding="utf-8", errors="replace") if CPUINFO_PATH.exists() else ""
    model = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    flags = re.search(r"^flags\s*:\s*(.+)$", text, re.MULTILINE)
    present = set(flags[1].split()) if flags else set()
    features = [name for name, any_of in CPU_FLAGS.items() if present.intersection(any_of)]
    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    missing = "" if flags else "unknown"
    return f"{model[1] if model else platform.machine()}, {n_cores} cores, {' '.join(features) or missing or 'no avx2'}"


def _packages(problems: list[str]) -> Iterator[str]:
    """List the versions of what the base install needs, and what each extra would add."""
    yield f"silero_like  {importlib.metadata.version(PACKAGE)}"
    for name, extra in _requirements():
        if extra is None:
            version = _version(name)
            yield f"  {name:14} {version or 'MISSING'}"
            if version is None:
                problems.append(f"{name} is missing: pip install {name}")
    for extra, purpose in EXTRAS.items():
        missing = [name for name, of in _requirements() if of == extra and _version(name) is None]
        state = f"missing {', '.join(missing)}: pip install '{PACKAGE}[{extra}]'" if missing else "installed"
        yield f"[{extra}]".ljust(13) + f"{purpose}: {state}"


def _requirements() -> Iterator[tuple[str, str | None]]:
    """Yield (package, extra or None) of every requirement that this installation declares."""
    for requirement in importlib.metadata.requires(PACKAGE) or []:
        name = re.match(r"[\w.-]+", requirement)
        extra = re.search(r"extra == ['\"]([\w.-]+)['\"]", requirement)
        if name:
            yield name[0], extra[1] if extra else None


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _models(problems: list[str]) -> Iterator[str]:
    """Verify the bundled models."""
    from silero_like.bundle import BUNDLED_PATH, TINY_PATH

    for path in (BUNDLED_PATH, TINY_PATH):
        yield _model(path, problems)


def _model(path: Path, problems: list[str]) -> str:
    """Verify a model's checksums and its stored reference output."""
    import json

    from silero_like.bundle import load_bundle
    from silero_like.errors import BundleError
    from silero_like.reference import check_reference
    from silero_like.runtime import Runtime

    try:
        bundle = load_bundle(path)
        stored = json.loads((bundle.path / "reference.json").read_text(encoding="utf-8"))
        difference = check_reference(Runtime(bundle), stored)
    except (BundleError, OSError) as error:
        problems.append(f"bundled model {path.name}: {error}")
        return f"{path.name}: FAILED"
    if difference:
        problems.append(f"bundled model {path.name}: {difference}")
        return f"{bundle.config.name}: checksums good, reference output DIFFERS"
    return f"{bundle.config.name}: checksums good, reference output reproduced"
