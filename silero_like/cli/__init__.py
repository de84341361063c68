"""The `silero-like` command. Each subcommand lies in its own module, which imports what it needs when it runs."""

from __future__ import annotations

import importlib
import traceback
from typing import Any

import click

from silero_like.cli.batch import describe

COMMANDS = (
    "transcribe",
    "listen",
    "serve",
    "evaluate",
    "compare",
    "train",
    "finetune",
    "distill",
    "prune",
    "export",
    "info",
    "doctor",
    "bench",
    "tokenizer",
    "data",
    "lm",
    "forecast",
    "compare-runs",
)


class _LazyGroup(click.Group):
    """Imports a subcommand's module when it is asked for, and ends every error in one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        name = cmd_name.replace("-", "_")
        command = getattr(importlib.import_module(f"{__name__}.{name}"), name)
        assert isinstance(command, click.Command)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except Exception as error:
            if ctx.params["debug"]:
                traceback.print_exc()
            if isinstance(error, click.ClickException):
                raise
            raise click.ClickException(describe(error)) from error


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@click.version_option(package_name="silero_like", message="%(package)s %(version)s")
def main(debug: bool) -> None:
    """Small speech recognisers: train on your own domains, transcribe on ordinary CPUs, measure each domain.

    Results go to standard output, all else to standard error. Exit code 0: all done; 1: some input failed and the
    rest was done; 2: wrong usage.

    \b
    Examples:
      silero-like transcribe talk.mp3
      silero-like transcribe recordings/ --format jsonl > transcripts.jsonl
      silero-like evaluate samples/manifest.jsonl
      silero-like doctor
    """
