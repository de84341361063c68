"""The files of deploy/ stay true: what they copy, install, run and ask exists, as far as that shows without Docker."""

from __future__ import annotations

import configparser
import contextlib
import http.server
import json
import re
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from silero_like.bundle import BUNDLED_PATH
from silero_like.cli import main
from silero_like.cli.serve import serve

ROOT = Path(__file__).resolve().parent.parent
DEPLOY = ROOT / "deploy"
DOCKERFILES = ("Dockerfile", "Dockerfile.gpu")
UNIT = DEPLOY / "silero-like.service"

Instruction = tuple[str, str]


def instructions(name: str) -> list[Instruction]:
    """Read a Dockerfile: (instruction, its arguments on one line)."""
    text = re.sub(r"^#.*\n", "", (DEPLOY / name).read_text(encoding="utf-8"), flags=re.M).replace("\\\n", " ")
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in text.splitlines() if line)]


def values(name: str, word: str) -> list[str]:
    return [rest for found, rest in instructions(name) if found == word]


def setup() -> configparser.ConfigParser:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    return config


def copied(name: str) -> set[str]:
    """Paths that are copied from the checkout; each goes where it lay."""
    sources: set[str] = set()
    for rest in values(name, "COPY"):
        *paths, target = rest.split()
        if not paths[0].startswith("--from="):
            assert target == "./" or paths == [target], rest
            sources.update(path.rstrip("/") for path in paths)
    return sources


def installed(name: str) -> set[str]:
    """Return the extras that a Dockerfile installs, with its default arguments."""
    arguments = dict(value.split("=") for value in values(name, "ARG"))
    (extras,) = re.findall(r'"\.\[(.+?)\]"', " ".join(values(name, "RUN")))
    return set(re.sub(r"\$\{(\w+)\}", lambda match: arguments[match[1]], extras).split(","))


def parse(command: list[str]) -> None:
    """Parse a command line of `silero-like`, without running it.

    Raises:
        click.UsageError: no such command or option.
    """
    assert Path(command[0]).name == "silero-like"
    with click.Context(main) as context:
        name, subcommand, rest = main.resolve_command(context, command[1:])
        assert subcommand
        with contextlib.suppress(click.exceptions.Exit):  # of --help
            subcommand.make_context(name, rest)


@pytest.mark.parametrize("name", DOCKERFILES)
def test_what_is_copied_is_there_and_is_all_that_is_needed(name: str) -> None:
    rules = (DEPLOY / f"{name}.dockerignore").read_text().splitlines()
    allowed = {rule[1:] for rule in rules if rule.startswith("!")}
    assert copied(name) == allowed
    assert all((ROOT / path).exists() for path in allowed)
    config = setup()
    packages = {package.split(".")[0] for package in config["options"]["packages"].split()}
    metadata = {config["metadata"]["long_description"].removeprefix("file: "), config["metadata"]["license_files"]}
    assert copied(name) == packages | metadata | {"setup.cfg", "pyproject.toml", "constraints.txt"}
    assert [rule for rule in rules if not rule.startswith(("!", "#"))] == ["*", "**/__pycache__"]


@pytest.mark.parametrize("name", DOCKERFILES)
def test_the_installation_is_of_extras_that_exist(name: str) -> None:
    extras = setup()["options.extras_require"]
    assert installed(name) <= set(extras)
    needs = " ".join([setup()["options"]["install_requires"], *(extras[extra] for extra in installed(name))])
    assert ("torch" in needs) == name.endswith("gpu")
    assert all("-c constraints.txt" in run for run in values(name, "RUN") if "install" in run)
    (comment,) = re.findall(r"^# ([\w,]+) reads m4a", (DEPLOY / "Dockerfile").read_text(), re.M)
    assert set(comment.split(",")) <= set(extras)


@pytest.mark.parametrize("name", DOCKERFILES)
def test_images_do_not_run_as_root(name: str) -> None:
    stages = [number for number, (word, _) in enumerate(instructions(name)) if word == "FROM"]
    last = instructions(name)[stages[-1] :]
    assert len(stages) == 2
    assert ("USER", "10001") in last
    assert any(word == "RUN" and "useradd --uid 10001" in rest for word, rest in last)
    assert last.index(("USER", "10001")) < min(n for n, (word, _) in enumerate(last) if word == "CMD")


def test_commands_parse() -> None:
    parse([*json.loads(*values("Dockerfile", "ENTRYPOINT")), *json.loads(*values("Dockerfile", "CMD"))])
    parse(json.loads(*values("Dockerfile.gpu", "CMD")))
    parse(shlex.split(unit()["Service"]["ExecStart"]))
    with pytest.raises(click.UsageError):
        parse(["silero-like", "serve", "--no-such-option"])
    texts = [path.read_text(encoding="utf-8") for path in (DEPLOY / "Dockerfile", ROOT / "docs" / "deployment.md")]
    runs = re.findall(r"docker run .*? silero-like (\w.*?)(?: <.*)?$", "\n".join(texts), re.M)
    assert len(runs) >= 2
    for arguments in runs:
        parse(["silero-like", *shlex.split(arguments.replace("/models/en", str(BUNDLED_PATH)))])


def test_the_port_is_the_servers() -> None:
    (port,) = values("Dockerfile", "EXPOSE")
    defaults = {parameter.name: parameter.default for parameter in serve.params}
    assert port == str(defaults["port"])
    assert unit()["Service"]["ExecStart"].endswith(f"--port {port}")
    assert f":{port}/healthz" in values("Dockerfile", "HEALTHCHECK")[0]
    assert f":{port}:{port}" in compose()["services"]["serve"]["ports"][0]


def test_there_is_time_to_drain() -> None:
    (drain_s,) = [parameter.default for parameter in serve.params if parameter.name == "drain"]
    assert isinstance(drain_s, float)
    assert int(unit()["Service"]["TimeoutStopSec"]) > drain_s
    assert int(compose()["services"]["serve"]["stop_grace_period"].removesuffix("s")) > drain_s


@pytest.fixture
def health() -> Iterator[tuple[int, list[int]]]:
    """A server that answers /healthz with the first of the codes; its port, and the codes."""
    codes = [200]

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(codes[0] if self.path == "/healthz" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server.server_port, codes
        server.shutdown()


def test_the_health_check_tells_a_good_server_from_a_bad_one(health: tuple[int, list[int]]) -> None:
    port, codes = health
    command = json.loads(values("Dockerfile", "HEALTHCHECK")[0].partition("CMD ")[2])
    assert command[0] == "python"

    def is_well(port: int) -> bool:
        arguments = [sys.executable, *(argument.replace("8000", str(port)) for argument in command[1:])]
        return subprocess.run(arguments, stderr=subprocess.DEVNULL, check=False).returncode == 0

    assert is_well(port)
    codes[0] = 503
    assert not is_well(port)


def test_the_compose_file_names_what_there_is() -> None:
    for service in compose()["services"].values():
        build = service["build"]
        context = (DEPLOY / build["context"]).resolve()
        assert context == ROOT
        assert (context / build["dockerfile"]).is_file()
    server = compose()["services"]["serve"]
    assert (server["read_only"], server["cap_drop"]) == (True, ["ALL"])


def test_the_unit_is_one_that_systemd_reads(tmp_path: Path) -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("no systemd-analyze")
    program = shlex.split(unit()["Service"]["ExecStart"])[0]
    path = tmp_path / UNIT.name
    path.write_text(UNIT.read_text().replace(program, sys.executable))
    process = subprocess.run(["systemd-analyze", "verify", path], capture_output=True, text=True, check=False)
    assert (process.returncode, process.stderr) == (0, "")
    path.write_text(path.read_text().replace("[Service]", "[Service]\nNoSuchSetting=yes"))
    process = subprocess.run(["systemd-analyze", "verify", path], capture_output=True, text=True, check=False)
    assert "NoSuchSetting" in process.stderr


class _Repeated(dict[str, str]):
    """Settings, of which some stand several times in a unit: the values of such a one are joined."""

    def __setitem__(self, key: str, value: str) -> None:
        super().__setitem__(key, f"{self[key]} {value}" if key in self else value)


def unit() -> dict[str, dict[str, str]]:
    sections: dict[str, dict[str, str]] = {}
    for line in UNIT.read_text().splitlines():
        if line.startswith("["):
            section = sections.setdefault(line.strip("[]"), _Repeated())
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            section[key] = value
    return sections


def compose() -> dict[str, dict[str, dict[str, Any]]]:
    yaml = pytest.importorskip("yaml", reason="PyYAML comes with the train extra")
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())  # type: ignore[no-any-return]
