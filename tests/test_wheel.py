"""What `pip install .` installs: the five packages, their type markers, the model and the command, and nothing else."""

from __future__ import annotations

import configparser
import importlib.metadata
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("silero_like", "train", "decode", "lm", "data")
BUILD = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Build the wheel from a copy of the checkout, as pip does, without network."""
    copy, output = tmp_path_factory.mktemp("checkout"), tmp_path_factory.mktemp("wheel")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, copy / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    shutil.copytree(ROOT / "tests", copy / "tests")
    command = [sys.executable, "-c", BUILD, str(output)]
    process = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    return zipfile.ZipFile(next(output.glob("*.whl")))


def test_every_module_and_marker_is_inside(wheel: zipfile.ZipFile) -> None:
    modules = {str(path.relative_to(ROOT)) for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    inside = set(wheel.namelist())
    assert modules <= inside, f"missing: {sorted(modules - inside)}: list new packages in setup.cfg"
    assert {f"{package}/py.typed" for package in PACKAGES} <= inside
    assert {f"silero_like/evaluation/{name}" for name in ("report.html", "page.css", "page.js")} <= inside
    assert "data/explorer.html" in inside
    assert {f"silero_like/serve/{name}" for name in ("page.html", "speech.proto", "speech_pb2.pyi")} <= inside


def test_nothing_else_is_inside(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(PACKAGES)
    stray = [name for name in wheel.namelist() if name.endswith((".pyc", ".opus", ".wav", ".jsonl"))]
    assert stray == []


def test_the_bundled_models_are_inside(wheel: zipfile.ZipFile) -> None:
    models = sorted((ROOT / "silero_like" / "models").iterdir())
    assert [model.name for model in models] == ["en", "en-tiny"]
    for model in models:
        assert {f"silero_like/models/{model.name}/{path.name}" for path in model.iterdir()} <= set(wheel.namelist())


def test_the_command_is_declared(wheel: zipfile.ZipFile) -> None:
    name = next(name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    parser = configparser.ConfigParser()
    parser.read_string(wheel.read(name).decode())
    assert dict(parser["console_scripts"]) == {"silero-like": "silero_like.cli:main"}


def test_the_metadata(wheel: zipfile.ZipFile) -> None:
    import silero_like

    name = next(name for name in wheel.namelist() if name.endswith("/METADATA"))
    lines = wheel.read(name).decode().split("\n\n")[0].splitlines()
    assert f"Version: {silero_like.__version__}" in lines
    assert "Requires-Python: >=3.10" in lines
    base = [line for line in lines if line.startswith("Requires-Dist:") and "extra ==" not in line]
    assert not any("torch" in line for line in base)
    assert any(name.endswith("licenses/LICENSE") for name in wheel.namelist())


def test_every_requirement_is_pinned_in_constraints() -> None:
    pinned = {
        line.split("==")[0].lower().replace("-", ".").replace("_", ".")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line and not line.startswith("#")
    }
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    lists = [parser["options"]["install_requires"], *parser["options.extras_require"].values()]
    for line in "\n".join(lists).split("\n"):
        name = line.split(">")[0].split("[")[0].strip().lower().replace("-", ".").replace("_", ".")
        assert name in pinned | {"", "silero.like"}, f"{name} is not in constraints.txt"


def test_this_installation_is_this_checkout() -> None:
    import silero_like

    assert Path(silero_like.__file__).parent == ROOT / "silero_like"
    assert importlib.metadata.version("silero_like") == silero_like.__version__
