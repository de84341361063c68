"""``silero-like lm``: make, mix and look at n-gram language models."""

from __future__ import annotations

import click

from silero_like.cli.lm_build import build, spoken
from silero_like.cli.lm_hotwords import hotwords
from silero_like.cli.lm_info import info
from silero_like.cli.lm_mix import interpolate
from silero_like.cli.lm_tune import tune


@click.group()
def lm() -> None:
    """Build n-gram language models from text, mix them, and look at them.

    \b
    Examples:
      silero-like lm build books.txt.gz train.jsonl --order 3 --prune "0 0 1" --output books.arpa.gz
      silero-like lm info books.arpa.gz dev.jsonl
    """


for command in (build, hotwords, info, interpolate, spoken, tune):
    lm.add_command(command)
