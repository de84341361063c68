"""The rooms keep their walls: what each package may import, read from the imports themselves."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from silero_like.cli import COMMANDS

ROOT = Path(__file__).resolve().parent.parent
ROOMS = {"silero_like", "train", "decode", "lm", "data"}
MAY_IMPORT = {
    "decode": set(),
    "silero_like": {"decode"},
    "data": {"silero_like", "decode"},
    "lm": {"data", "decode"},
    "train": {"data", "silero_like", "decode"},
    "silero_like/cli": ROOMS,
}
"""Room -> other rooms it may import (docs/architecture.md)."""

NUMPY_ONLY = {"decode", "lm", "silero_like/evaluation"}
"""Take arrays and strings: no library beside NumPy (and kenlm, which scores n-grams)."""

TORCH_ALLOWED = (
    "silero_like/model/",
    "silero_like/export.py",
    "silero_like/quantize.py",
    "silero_like/sherpa.py",
    "silero_like/weights.py",
    "train/",
    "data/augment.py",
)
"""torch, and onnx, which rewrites graphs, stop at log_probs: only these import them, and nothing that a deployed
machine runs imports these."""


def sources() -> list[str]:
    """Paths of the five packages' modules, relative to the root."""
    return sorted(str(path.relative_to(ROOT)) for room in ROOMS for path in (ROOT / room).rglob("*.py"))


def room_of(path: str) -> str:
    return "silero_like/cli" if path.startswith("silero_like/cli/") else path.split("/")[0]


def imports(path: str) -> Iterator[tuple[int, str]]:
    """Yield (line, imported module) of every import of a module, those inside functions too."""
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import; imports are absolute"
            assert node.module is not None
            yield node.lineno, node.module
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def test_the_rooms_are_found() -> None:
    assert {path.split("/")[0] for path in sources()} == ROOMS
    assert "silero_like.cli.batch" in {module for _, module in imports("silero_like/cli/__init__.py")}


@pytest.mark.parametrize("path", sources())
def test_imports_stay_inside_the_rooms_walls(path: str) -> None:
    room = room_of(path)
    for line, module in imports(path):
        top = module.split(".")[0]
        if top in ROOMS and top != path.split("/")[0]:
            assert top in MAY_IMPORT[room], f"{path}:{line}: {room} may not import {module}"
        assert top not in {"tests", "benchmarks"}, f"{path}:{line}: imports {module}"
        if room != "silero_like/cli" and not path.endswith("__main__.py"):
            assert not module.startswith("silero_like.cli"), f"{path}:{line}: only the command line imports {module}"


@pytest.mark.parametrize("path", sources())
def test_torch_stops_at_log_probs(path: str) -> None:
    if path.startswith(TORCH_ALLOWED):
        return
    for line, module in imports(path):
        assert module.split(".")[0] not in {"torch", "onnx", "safetensors"}, f"{path}:{line}: imports {module}"


@pytest.mark.parametrize("path", [path for path in sources() if path.startswith(tuple(NUMPY_ONLY))])
def test_arrays_and_strings_need_numpy_only(path: str) -> None:
    allowed = sys.stdlib_module_names | ROOMS | {"numpy", "kenlm"}
    for line, module in imports(path):
        assert module.split(".")[0] in allowed, f"{path}:{line}: imports {module}"


def loaded_after(code: str) -> set[str]:
    """Run code in a new interpreter; return the modules that are loaded at its end."""
    code = f"{code}\nimport sys; print('\\n'.join(sys.modules))"
    process = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(process.stdout.splitlines())


RUN = """
from click.testing import CliRunner
from silero_like.cli import main
result = CliRunner().invoke(main, {arguments!r})
assert result.exit_code == 0, result.output
"""


@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_help_imports_nothing_heavy(command: str | None) -> None:
    loaded = loaded_after(RUN.format(arguments=[command, "--help"] if command else ["--help"]))
    assert "click" in loaded
    assert not {"torch", "onnxruntime", "numpy", "soundfile", "sentencepiece"} & loaded


def test_importing_the_package_is_light() -> None:
    loaded = loaded_after("from silero_like import load")
    assert not {"torch", "onnxruntime", "numpy", "click"} & loaded


def test_transcribe_never_imports_torch(bundled_model: Path) -> None:
    loaded = loaded_after(RUN.format(arguments=["transcribe", "samples/audiobook.opus", "--format", "jsonl"]))
    assert "onnxruntime" in loaded
    assert not {"torch", "onnx", "train", "data", "av", "safetensors", "yaml"} & loaded
