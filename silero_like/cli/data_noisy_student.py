"""`silero-like data noisy-student`."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from silero_like.cli.batch import Batch
from silero_like.cli.data_pseudo_inputs import read_speech
from silero_like.cli.data_pseudo_work import (
    MAX_S,
    FilterChoices,
    filter_options,
    format_report,
    label_speech,
    make_teachers,
)
from silero_like.cli.decoder_options import Search
from silero_like.cli.paths import INPUT_FILE, OUTPUT_FOLDER
from silero_like.cli.train import OVERRIDES
from silero_like.cli.workers import Workers

if TYPE_CHECKING:
    from data.pseudo import Filters
    from train.config import Recipe


@click.command("noisy-student")
@click.argument("recipe_path", metavar="RECIPE", type=INPUT_FILE)
@click.argument("inputs", metavar="AUDIO_OR_MANIFEST...", nargs=-1, required=True)
@click.option("--out", "out_dir", required=True, type=OUTPUT_FOLDER, help="Folder of the rounds.")
@click.option("--rounds", type=click.IntRange(min=1), default=2, show_default=True, help="Rounds after the first run.")
@click.option(
    "--teacher",
    metavar="BUNDLE",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Label round 1 with this model instead of training one on the labelled speech alone.",
)
@click.option("--from-teacher", is_flag=True, help="Begin each round from its teacher's weights, not from scratch.")
@click.option("--lm", metavar="PATH", help="Language model that teachers label with  [default: none]")
@filter_options
@OVERRIDES
@click.option("--processes", type=click.IntRange(min=1), default=1, show_default=True, help="Of training: one a GPU.")
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Processes of labelling.")
@click.pass_context
def noisy_student(
    context: click.Context,
    recipe_path: Path,
    inputs: tuple[str, ...],
    out_dir: Path,
    rounds: int,
    teacher: Path | None,
    from_teacher: bool,
    lm: str | None,
    choices: FilterChoices,
    overrides: tuple[str, ...],
    processes: int,
    jobs: int,
) -> None:
    """Train, label speech with the model, train on both, and again.

    Round 0 trains RECIPE as it is. Each later round labels the inputs (as `data pseudo-label` does, with the same
    filters) with the model of the round before, and trains RECIPE on its own manifests and these labels. The noise is
    the recipe's: augmentation and dropout. OUT gets a folder for each round and rounds.json, with the CER of the
    recipe's dev manifests after each. Run again, it goes on where it stopped; a larger --rounds adds rounds.

    \b
    Examples:
      silero-like data noisy-student recipe.yaml unlabelled.jsonl --out rounds/ --min-confidence 0.6
      silero-like data noisy-student recipe.yaml calls/ --out rounds/ --rounds 3 --lm en.bin --max-disagreement 0.1
      silero-like data noisy-student recipe.yaml speech.jsonl --out rounds/ --teacher runs/large/bundle --processes 2
    """
    filters = choices.filters()
    recipe = _read_recipe(recipe_path, overrides)
    rounds_path = out_dir / "rounds.json"
    settings = {
        "recipe_sha256": hashlib.sha256(recipe_path.read_bytes()).hexdigest(),
        "set": list(overrides),
        "inputs": list(inputs),
        "teacher": teacher and str(teacher),
        "from_teacher": from_teacher,
        "lm": lm,
        **json.loads(json.dumps(dataclasses.asdict(choices), default=str)),
    }
    done = _read_rounds(rounds_path, settings)
    student = _Student(recipe, recipe_path, overrides, out_dir, teacher, processes, from_teacher)
    labelling = _Labelling(
        inputs=inputs,
        cache_path=out_dir / "scores.jsonl",
        lm=lm or "none",
        filters=filters,
        known=choices.known,
        max_s=min(MAX_S, recipe.data.max_duration_s),
        workers=Workers(jobs=jobs),
    )
    batch = Batch(context)
    for number in range(1 if teacher else 0, rounds + 1):
        folder = student.folder(number)
        if number and not (folder / "bundle").exists():
            labelling.run(student.teacher(number), folder, batch)
        if str(number) not in done:
            student.train(number)
            done[str(number)] = _result(folder)
            _write_rounds(rounds_path, settings, done)
    click.echo(_table(done))
    batch.finish()


def _read_recipe(path: Path, overrides: Sequence[str]) -> Recipe:
    from silero_like.errors import ConfigError
    from train.config import load_recipe

    try:
        recipe = load_recipe(path, overrides)
    except ConfigError as error:
        raise click.UsageError(str(error)) from error
    if not recipe.data.dev:
        raise click.UsageError(f"{path}: data.dev is empty: name manifests whose CER tells the rounds apart")
    return recipe


class _Student:
    """Trains a recipe round by round, in processes of their own."""

    def __init__(
        self,
        recipe: Recipe,
        recipe_path: Path,
        overrides: Sequence[str],
        out_dir: Path,
        first_teacher: Path | None,
        processes: int,
        from_teacher: bool,
    ) -> None:
        self._recipe, self._recipe_path, self._overrides = recipe, recipe_path, overrides
        self._out_dir, self._first_teacher = out_dir, first_teacher
        self._processes, self._from_teacher = processes, from_teacher

    def folder(self, number: int) -> Path:
        """Return the folder of a round."""
        return self._out_dir / f"round-{number}"

    def teacher(self, number: int) -> Path:
        """Return the model that labels for a round, from 1."""
        return self._first_teacher if self._first_teacher and number == 1 else self.folder(number - 1) / "bundle"

    def train(self, number: int) -> None:
        """Train a round to its bundle; what is there already is gone on with.

        Raises:
            click.ClickException: training failed, or was stopped.
        """
        bundle = self.folder(number) / "bundle"
        if bundle.exists():
            return
        click.echo(f"round {number}: training", err=True)
        code = _run(self._command(number))
        if code or not bundle.exists():
            raise click.ClickException(
                f"round {number}: training ended with code {code} before it was done: the same command goes on"
            )

    def _command(self, number: int) -> list[str]:
        folder = self.folder(number)
        values: dict[str, Any] = {"output_dir": str(folder), "loop.bundle": True}
        if number:
            before = self.teacher(number)
            values["data.train"] = [*self._recipe.data.train, str((folder / "pseudo.jsonl").absolute())]
            if self._from_teacher:
                values["finetune.init"] = str(before)
            else:  # the pieces stay, so that rounds differ in their labels alone
                values["tokenizer.path"] = str(before / "tokenizer.model")
        many = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(self._processes)]
        sets = [*self._overrides, *(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in values.items())]
        return [
            *(sys.executable, *(many if self._processes > 1 else []), "-m", "train", str(self._recipe_path)),
            *(part for value in sets for part in ("--set", value)),
        ]


@dataclass(frozen=True, kw_only=True)
class _Labelling:
    """How the speech of each round is labelled."""

    inputs: tuple[str, ...]
    cache_path: Path
    lm: str
    filters: Filters
    known: tuple[Path, ...]
    """Manifests of labelled speech."""
    max_s: float
    workers: Workers

    def run(self, teacher: Path, folder: Path, batch: Batch) -> None:
        """Label the speech of a round: pseudo.jsonl, and its report.

        Raises:
            click.ClickException: no label passes the filters.
        """
        from data.cache import Cache
        from silero_like.writers import write_atomically

        click.echo(f"{folder.name}: labelling with {teacher}", err=True)
        cache = Cache(self.cache_path)
        teachers, lang = make_teachers((), [str(teacher)], (), (), Search(lm=self.lm), lang=None)
        speech = read_speech(
            self.inputs, cache, batch, lang=lang, domain="default", max_s=self.max_s, workers=self.workers
        )
        out = folder / "pseudo.jsonl"
        report = label_speech(speech, out, teachers, self.filters, cache, batch, known=self.known, workers=self.workers)
        click.echo(format_report(report), err=True)
        if not report["filters"]["all together"]["utterances"]:
            raise click.ClickException(f"{folder.name}: no label passes the filters: loosen them")
        write_atomically(folder / "labelling.json", json.dumps(report, ensure_ascii=False, indent=1) + "\n")


def _run(command: Sequence[str]) -> int:
    """Run training to its end; what asks this process to end asks that one, which saves a checkpoint first."""
    with subprocess.Popen(command, stdout=sys.__stderr__) as process:
        before = signal.signal(signal.SIGTERM, lambda number, frame: process.send_signal(number))
        try:
            while True:
                try:
                    return process.wait()
                except KeyboardInterrupt:  # the terminal has sent it to both
                    continue
        finally:
            signal.signal(signal.SIGTERM, before)


def _result(folder: Path) -> dict[str, Any]:
    """Return what a round came to: its hours and its error rates on the recipe's dev manifests."""
    from silero_like.bundle import load_bundle

    config = load_bundle(folder / "bundle").config
    labelling = folder / "labelling.json"
    report = json.loads(labelling.read_text(encoding="utf-8")) if labelling.exists() else None
    return {
        "bundle": str(folder / "bundle"),
        "hours": config.training.get("hours"),
        "pseudo_hours": report["filters"]["all together"]["hours"] if report else 0.0,
        "labelling": report,
        "cer": {name: row["cer"] for name, row in config.metrics["domains"].items()},
        **{kind: {"cer": config.metrics[kind]["cer"]} for kind in ("macro", "micro")},
    }


def _read_rounds(path: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Return the rounds that are done; those of other settings are refused."""
    if not path.exists():
        return {}
    found = json.loads(path.read_text(encoding="utf-8"))
    changed = [key for key, value in settings.items() if found["settings"].get(key) != value]
    if changed:
        raise click.UsageError(
            f"{path}: expected rounds of the same settings, found others ({', '.join(changed)}): name another --out"
        )
    rounds: dict[str, Any] = found["rounds"]
    return rounds


def _write_rounds(path: Path, settings: dict[str, Any], done: dict[str, Any]) -> None:
    from silero_like.writers import write_atomically

    values = {"settings": settings, "rounds": done}
    write_atomically(path, json.dumps(values, ensure_ascii=False, indent=1) + "\n")


def _table(done: dict[str, Any]) -> str:
    from silero_like.evaluation.edits import format_rate
    from silero_like.tables import format_columns

    domains = sorted({domain for one in done.values() for domain in one["cer"]})
    rows = [["round", "hours", "pseudo", "macro CER", "micro CER", *domains]]
    for number, one in done.items():
        hours = (f"{sum(one['hours'].values()):.2f}", f"{one['pseudo_hours']:.2f}")
        rates = (one["macro"]["cer"], one["micro"]["cer"], *(one["cer"].get(domain) for domain in domains))
        rows.append([number, *hours, *map(format_rate, rates)])
    return format_columns(rows)
