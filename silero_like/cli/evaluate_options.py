"""The options of `silero-like evaluate` that belong together, and what does not go together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from silero_like.cli.decoder_options import Search
from silero_like.cli.evaluate_systems import PEERS
from silero_like.cli.option_group import option_group
from silero_like.cli.paths import INPUT_FILE, OUTPUT_FILE
from silero_like.cli.workers import Workers

if TYPE_CHECKING:
    from silero_like.engines import ModelSource


@dataclass(frozen=True, kw_only=True)
class Rival:
    """What is measured in place of a model; at most one of them."""

    hypotheses_path: Path | None
    command_line: str | None
    peer: str | None


@dataclass(frozen=True, kw_only=True)
class Hints:
    """What is known of the model and the speech beside the manifests."""

    training_data: tuple[Path, ...]
    """Manifests."""
    unseen: tuple[str, ...]
    """Domains."""
    noisy: tuple[str, ...]
    """Domains."""
    keywords_path: Path | None


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """What is printed and written; a file that is None is not asked for."""

    details: bool
    utterances_path: Path | None
    json_path: Path | None
    html_path: Path | None
    embed_audio: bool

    def check(self, cache_path: Path | None) -> None:
        """Refuse one file for two results, and recordings for a page that is not asked for."""
        paths = {
            "--utterances": self.utterances_path,
            "--json": self.json_path,
            "--html": self.html_path,
            "--cache": cache_path,
        }
        given = [path.absolute() for path in paths.values() if path]
        if len(set(given)) < len(given):
            raise click.UsageError(f"expected another file for each of {', '.join(paths)}, got one twice")
        if self.embed_audio and not self.html_path:
            raise click.UsageError("--embed-audio is for the page: give --html, too")


rival_options = option_group(
    "rival",
    Rival,
    click.option(
        "--hypotheses",
        "hypotheses_path",
        type=INPUT_FILE,
        help="Score these transcripts: .jsonl, .ctm, .tsv, else Kaldi text.",
    ),
    click.option(
        "--command", "command_line", metavar="'CMD {audio}'", help="Measure a recogniser that prints its text."
    ),
    click.option("--peer", type=click.Choice(list(PEERS)), help="Measure this recogniser (extra [peers])."),
)

hint_options = option_group(
    "hints",
    Hints,
    click.option(
        "--training-data",
        metavar="MANIFEST",
        multiple=True,
        type=INPUT_FILE,
        help="What the model learned from: its domains are seen, its words known.",
    ),
    click.option("--unseen", metavar="DOMAIN", multiple=True, help="A domain that the model was not trained on."),
    click.option("--noisy", metavar="DOMAIN", multiple=True, help="A noisy domain [default: by the SNR estimate]."),
    click.option("--keywords", "keywords_path", type=INPUT_FILE, help="Words or phrases, one a line, to count."),
)

output_options = option_group(
    "outputs",
    Outputs,
    click.option("--details", is_flag=True, help="Print difficulty, gaps and what went wrong too."),
    click.option(
        "--utterances",
        "utterances_path",
        type=OUTPUT_FILE,
        help="Write each row's texts and counts here (JSON lines).",
    ),
    click.option("--json", "json_path", type=OUTPUT_FILE, help="Write the evaluation here, as JSON."),
    click.option(
        "--html", "html_path", type=OUTPUT_FILE, help="Write a report here, one page that needs nothing else."
    ),
    click.option("--embed-audio", is_flag=True, help="Put the recordings into the page instead of linking them."),
)


def check_sources(
    source: ModelSource | None, rival: Rival, search: Search, workers: Workers, cache_path: Path | None
) -> None:
    """Refuse two systems to measure, a search for a system that is not ours, and work where nothing is recognised."""
    sources = {
        "--model": source,
        "--hypotheses": rival.hypotheses_path,
        "--command": rival.command_line,
        "--peer": rival.peer,
    }
    given = [option for option, value in sources.items() if value is not None]
    if len(given) > 1:
        raise click.UsageError(f"give one of {', '.join(sources)}, not {' and '.join(given)}")
    is_own = not given or (source is not None and source.is_own)
    if search.given and not is_own:
        raise click.UsageError(f"{search.given[0]} is for models of this project: leave it out with {given[0]}")
    work = {"--cache": cache_path, "--jobs": workers.jobs, "--engine": workers.is_ray or None}
    idle = [option for option, value in work.items() if value is not None]
    if idle and rival.hypotheses_path:
        raise click.UsageError(f"{idle[0]}: nothing is recognised with --hypotheses: leave it out")
