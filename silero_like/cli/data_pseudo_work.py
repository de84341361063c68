"""The work of `data pseudo-label`, and of the rounds of `data noisy-student`: label speech, filter it, report."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from silero_like.cli.batch import Batch
from silero_like.cli.data_hear import Hearer, hear_all
from silero_like.cli.data_pseudo_inputs import heard_in_file, open_teachers
from silero_like.cli.decoder_options import Search
from silero_like.cli.number import Number
from silero_like.cli.option_group import option_group
from silero_like.cli.paths import INPUT_FILE
from silero_like.cli.workers import Workers

if TYPE_CHECKING:
    from data.cache import Cache
    from data.manifest import Utterance
    from data.pseudo import Filters, Label
    from data.scores import TextDistance

MAX_S = 20.0
"""Longest utterance in seconds: what training takes by default."""


@dataclass(frozen=True, kw_only=True)
class FilterChoices:
    """What the options of the filters say; None is not given."""

    min_confidence: float | None
    max_disagreement: float | None
    rate: tuple[float, float] | None
    rare: int | None
    rare_speaker_s: float | None
    known: tuple[Path, ...]

    def filters(self) -> Filters:
        """Return the filters.

        Raises:
            click.UsageError: options that do not go together.
        """
        from data.pseudo import Filters

        if self.rare is None and (self.known or self.rare_speaker_s is not None):
            raise click.UsageError(f"{'--known' if self.known else '--rare-speaker-s'} is for --rare: give that, too")
        try:
            return Filters(
                min_confidence=self.min_confidence,
                max_disagreement=self.max_disagreement,
                rate=self.rate,
                rare=self.rare,
                **({} if self.rare_speaker_s is None else {"rare_speaker_s": self.rare_speaker_s}),
            )
        except ValueError as error:
            raise click.UsageError(str(error)) from error


filter_options = option_group(
    "choices",
    FilterChoices,
    click.option("--min-confidence", type=Number(0, 1), help="Filter: the label's confidence, at least."),
    click.option(
        "--max-disagreement",
        type=Number(0, 1),
        help="Filter: distance from the other teachers' texts, or from the model's own without its language model.",
    ),
    click.option("--rate", type=(float, float), metavar="LOW HIGH", help="Filter: words (zh: characters) a second."),
    click.option(
        "--rare",
        type=click.IntRange(min=1),
        help="Filter: leave out what adds no word that was kept less often than this, and no rare speaker.",
    ),
    click.option(
        "--rare-speaker-s",
        type=Number(min=0),
        help="With --rare: seconds wanted of each speaker  [default: 60]",
    ),
    click.option(
        "--known", multiple=True, type=INPUT_FILE, metavar="MANIFEST", help="With --rare: labelled speech there is."
    ),
)
"""The filters, as `choices`."""


@dataclass(frozen=True)
class Teachers:
    """Who labels, in this order: files of transcripts, commands and peers, models."""

    files: tuple[Path, ...]
    hearers: tuple[Hearer, ...]
    distance: TextDistance

    @property
    def names(self) -> list[str]:
        """What reports call them."""
        return [*map(str, self.files), *(hearer.name for hearer in self.hearers)]

    def label(self, utterances: Sequence[Utterance], cache: Cache, batch: Batch, workers: Workers) -> list[Label]:
        """Label every utterance that all of them have heard, in order."""
        from data.pseudo import make_label

        heard = [dict(zip(utterances, heard_in_file(path, utterances, batch), strict=True)) for path in self.files]
        heard += [dict(hear_all(hearer, utterances, cache, batch, workers)) for hearer in self.hearers]
        labels = []
        for utterance in utterances:
            texts = [one for one in (each.get(utterance) for each in heard) if one is not None]
            if len(texts) == len(heard):
                labels.append(make_label(utterance, texts, self.distance))
        return labels


def make_teachers(
    files: Sequence[Path],
    models: Sequence[str],
    command_lines: Sequence[str],
    peers: Sequence[str],
    search: Search,
    *,
    lang: str | None,
) -> tuple[Teachers, str]:
    """Open the teachers; also return their language."""
    from data.scores import TextDistance
    from data.text import get_normalizer

    need_model = not (files or command_lines or peers)
    if not (models or need_model) and search.given:
        raise click.UsageError("--decoder, --beam-width, --lm and --hotwords are for models of this project")
    hearers, found = open_teachers(
        models=models, command_lines=command_lines, peers=peers, search=search, need_model=need_model
    )
    if found and lang not in (None, found):
        raise click.UsageError(f"--lang {lang}: the model is for {found}: leave --lang out")
    language = found or lang
    if language is None:
        raise click.UsageError("give --lang: no teacher says which language it writes")
    return Teachers(tuple(files), tuple(hearers), TextDistance(get_normalizer(language))), language


def label_speech(
    speech: Sequence[Utterance],
    out: Path,
    teachers: Teachers,
    filters: Filters,
    cache: Cache,
    batch: Batch,
    *,
    probe: Sequence[Path] = (),
    known: Sequence[Path] = (),
    workers: Workers,
) -> dict[str, Any]:
    """Label speech, write what passes the filters, and return the report."""
    from data.manifest import read_manifest, write_manifest
    from data.pseudo import select
    from data.pseudo_report import make_report

    labelled = [row for path in known for row in read_manifest(path, check_audio=False).utterances]
    truth = {_unlabelled(row): row.text for path in probe for row in read_manifest(path).utterances}
    every = {
        _unlabelled(label.utterance): label
        for label in teachers.label(list(dict.fromkeys([*map(_unlabelled, speech), *truth])), cache, batch, workers)
    }
    labels = [every[row] for row in map(_unlabelled, speech) if row in every]
    _check_filters(labels, filters)
    selection = select(labels, filters, teachers.distance, labelled)
    write_manifest(out, [label.utterance for label, kept in zip(labels, selection.together, strict=True) if kept])
    report = {"teachers": teachers.names, **make_report(labels, selection), "probe": None}
    if truth:
        tried = [every[row] for row in truth if row in every]
        references = [truth[_unlabelled(label.utterance)] for label in tried]
        tried_selection = select(tried, filters, teachers.distance, labelled)
        report["probe"] = make_report(tried, tried_selection, references, teachers.distance)
    return report


def _unlabelled(utterance: Utterance) -> Utterance:
    """Return an utterance as it is before it is labelled, so that one of the probe is like any other."""
    return dataclasses.replace(utterance, text="", annotation=None, quality=None)


def _check_filters(labels: Sequence[Label], filters: Filters) -> None:
    """Refuse filters by what no label has."""
    if labels and filters.min_confidence is not None and all(label.confidence is None for label in labels):
        raise click.UsageError("--min-confidence: no teacher says how sure it is; add a --model")
    if labels and filters.max_disagreement is not None and all(label.disagreement is None for label in labels):
        raise click.UsageError(
            "--max-disagreement: nothing to compare with; add a second teacher, or a language model (--lm)"
        )


def format_report(report: dict[str, Any]) -> str:
    """Render what each filter removes and leaves, and, with a probe, how right that is."""
    from silero_like.evaluation.edits import format_rate
    from silero_like.tables import format_columns

    probe = report["probe"]
    header = ["filter", "utterances kept", "hours kept", "hours removed"]
    rows = [[*header, "probe: hours kept", "CER of it"] if probe else header]
    for name, row in report["filters"].items():
        removed = report["filters"]["none"]["hours"] - row["hours"]
        cells = [name, str(row["utterances"]), f"{row['hours']:.3f}", f"{removed:.3f}"]
        if probe:
            tried = probe["filters"][name]
            cells += [f"{tried['hours']:.3f}", format_rate(tried["cer"])]
        rows.append(cells)
    domains = [["domain", "utterances", "hours", "utterances kept", "hours kept"]]
    for name, row in report["domains"].items():
        counts = (
            str(row["utterances"]),
            f"{row['hours']:.3f}",
            str(row["utterances_kept"]),
            f"{row['hours_kept']:.3f}",
        )
        domains.append([name, *counts])
    return f"{format_columns(rows)}\n\n{format_columns(domains)}"
