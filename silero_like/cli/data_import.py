"""`silero-like data import`, `export` and `split`: between corpora, manifests and other toolkits."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import click

from silero_like.cli.batch import Batch
from silero_like.cli.number import Number
from silero_like.cli.paths import INPUT_FILE, INPUT_FOLDER, OUTPUT_FILE, OUTPUT_FOLDER, OutputPath, refuse_replacing
from silero_like.cli.progress import ProgressLine

if TYPE_CHECKING:
    from collections.abc import Callable

    from data.manifest import Utterance
    from data.summary import Summary

FORMATS = ("folder", "open-stt", "librispeech", "common-voice", "ljspeech", "kaldi", "nemo", "lhotse")
EXPORTS = ("nemo", "kaldi")
INPUT_PATH = click.Path(exists=True, path_type=Path)
json_option = click.option("--json", "json_path", type=OUTPUT_FILE, help="Write a summary here, as JSON.")
jobs_option = click.option("--jobs", type=click.IntRange(min=1), help="Threads  [default: one a core]")


@click.command("import")
@click.argument("format_name", metavar="FORMAT", type=click.Choice(FORMATS))
@click.argument("source", type=INPUT_PATH)
@click.argument("out", type=OUTPUT_FILE)
@click.option("--lang", default="", help="Language of all rows, such as ru  [default: what the corpus says]")
@click.option("--domain", default="", help="Domain of all rows  [default: what the corpus says, or default]")
@click.option("--source-name", default="", help="Name of the corpus  [default: what the format says]")
@click.option("--annotation", help="How the texts came about: manual, aligned, subtitles, pseudo or synthetic.")
@click.option(
    "--speaker-from",
    default="",
    metavar="folder|REGEX",
    help="Take the speaker from the recording's folder, or from its path below SOURCE by a group.",
)
@click.option("--audio-root", type=INPUT_FOLDER, help="Look for recordings here, whatever folders the corpus names.")
@click.option("--encoding", default="utf-8", show_default=True, help="Of the corpus's text, such as cp1251.")
@click.option("--verbalize", is_flag=True, help="Write numbers, dates, money and abbreviations in words (en, ru, zh).")
@click.option("--rules", type=INPUT_FILE, help="Replace in texts, before that: a line 'from<TAB>to' for each.")
@jobs_option
@json_option
@click.pass_context
def import_command(
    context: click.Context,
    format_name: str,
    source: Path,
    out: Path,
    lang: str,
    domain: str,
    source_name: str,
    annotation: str | None,
    speaker_from: str,
    audio_root: Path | None,
    encoding: str,
    verbalize: bool,
    rules: Path | None,
    jobs: int | None,
    json_path: Path | None,
) -> None:
    """Write a manifest, OUT, of a corpus in another format.

    \b
    FORMAT        SOURCE
    folder        a folder with x.wav (or flac, opus, mp3, ...) and x.txt beside it
    open-stt      a manifest of Open STT, set.csv; the archives unpacked beside or below it
    librispeech   LibriSpeech or a part of it, unpacked
    common-voice  validated.tsv or another, with clips/ beside it
    ljspeech      the folder of metadata.csv and wavs/, or such a file
    kaldi         a data directory: wav.scp, text; segments, utt2spk, utt2lang
    nemo          a JSON lines manifest, NeMo's or this project's
    lhotse        cuts.jsonl or cuts.jsonl.gz

    Rows that cannot be used are left out and counted by reason; the exit code is then 1.

    \b
    Examples:
      silero-like data import folder recordings/ train.jsonl --lang ru --speaker-from folder
      silero-like data import open-stt manifests/public_youtube700.csv youtube.jsonl --audio-root /data/open_stt
      silero-like data import common-voice cv/ru/validated.tsv cv.jsonl --verbalize --json cv.json
    """
    from data.importer import ImportOptions, import_rows
    from data.readers import READERS
    from data.sources import Source
    from data.text_rules import text_editor
    from data.verbalize import VERBALIZERS
    from silero_like.errors import ConfigError

    refuse_replacing((out, json_path), [source])
    reader = READERS[format_name]
    if ("folder" if source.is_dir() else "file") not in reader.kinds:
        raise click.UsageError(f"{source}: expected {reader.source}")
    try:
        "".encode(encoding)
        options = ImportOptions(
            lang=lang,
            domain=domain,
            source=source_name,
            annotation=annotation,
            speaker_from=speaker_from,
            edit=text_editor(rules, verbalize=verbalize),
            jobs=jobs or n_cores(),
        )
    except (ConfigError, LookupError) as error:
        raise click.UsageError(str(error)) from error
    where = Source(path=source.absolute(), encoding=encoding, audio_root=audio_root and audio_root.absolute())
    with ProgressLine() as line:
        summary = import_rows(reader.read(where), where, out.absolute(), options, progress(line))
    edits = {"rules": rules and str(rules), "verbalizers": [each.label for each in VERBALIZERS.values() if verbalize]}
    finish(context, summary, out, json_path, more=edits)


@click.command()
@click.argument("format_name", metavar="FORMAT", type=click.Choice(EXPORTS))
@click.argument("manifest", type=INPUT_FILE)
@click.argument("out", type=OutputPath(path_type=Path))
@json_option
@click.pass_context
def export(context: click.Context, format_name: str, manifest: Path, out: Path, json_path: Path | None) -> None:
    """Write a manifest for another toolkit: nemo (JSON lines, absolute paths) or kaldi (a data directory).

    \b
    Examples:
      silero-like data export nemo train.jsonl nemo/train.json
      silero-like data export kaldi train.jsonl kaldi/data/train
    """
    from data.exporter import EXPORTERS
    from data.summary import Summary, good_rows

    refuse_replacing((out, json_path), [manifest])
    summary = Summary()
    with ProgressLine() as line:
        EXPORTERS[format_name](counted(good_rows(manifest, summary), summary, progress(line)), out.absolute())
    finish(context, summary, out, json_path)


@click.command()
@click.argument("manifests", metavar="MANIFEST...", nargs=-1, required=True, type=INPUT_FILE)
@click.option("--dev", type=Number(0, 1), default=0.05, show_default=True, help="Share of the dev part.")
@click.option("--test", type=Number(0, 1), default=0.05, show_default=True, help="Share of the test part.")
@click.option(
    "--by",
    type=click.Choice(["speaker", "recording", "text"]),
    default="speaker",
    show_default=True,
    help="What the parts have nothing of in common.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Deal otherwise.")
@click.option("--out-dir", type=OUTPUT_FOLDER, help="Where the parts go  [default: beside each manifest]")
@json_option
@click.pass_context
def split(
    context: click.Context,
    manifests: tuple[Path, ...],
    dev: float,
    test: float,
    by: str,
    seed: int,
    out_dir: Path | None,
    json_path: Path | None,
) -> None:
    """Divide manifests into NAME.train.jsonl, NAME.dev.jsonl and NAME.test.jsonl that share no speaker.

    A speaker's name alone decides where he goes. So he goes to the same part in every manifest, and stays there when
    data is added; and shares are of the speakers, so that with few of them hours come out otherwise. Rows without a
    speaker go to the training part.

    \b
    Examples:
      silero-like data split all.jsonl
      silero-like data split calls.jsonl youtube.jsonl --dev 0.02 --test 0.02 --out-dir parts/
      silero-like data split podcasts.jsonl --by recording --test 0
    """
    from data.split import Shares, split_manifest
    from silero_like.errors import ConfigError

    try:
        shares = Shares(dev=dev, test=test, seed=seed)
    except ConfigError as error:
        raise click.UsageError(str(error)) from error
    batch, told = Batch(context), {}

    def work(manifest: Path) -> dict[str, object]:
        parts, whole = split_manifest(manifest, (out_dir or manifest.parent).absolute(), shares, by)
        for name, part in parts.items():
            about = (
                f"{part.summary.utterances} utterances, {part.summary.audio_s / 3600:.2f} h, {by}s: {len(part.keys)}"
            )
            click.echo(f"{manifest.name}: {name}: {about}", err=True)
        tell_refused(batch, whole)
        return {name: part.summary.as_json() | {f"{by}s": len(part.keys)} for name, part in parts.items()}

    for manifest, summary in batch.run(manifests, work, str):
        told[str(manifest)] = summary
    if json_path:
        write_json(json_path, {"by": by, "seed": seed, "dev": dev, "test": test, "manifests": told})
    batch.finish()


def n_cores() -> int:
    """Return the cores that this process may use."""
    return len(os.sched_getaffinity(0))


def progress(line: ProgressLine) -> Callable[[Summary], None]:
    """Return what shows how far an import is."""

    def advance(summary: Summary) -> None:
        if line.due():
            hours = summary.audio_s / 3600
            line.show(f"{summary.rows} rows, {hours:.2f} h, {summary.refused.total()} refused")

    return advance


def counted(
    utterances: Iterable[Utterance], summary: Summary, advance: Callable[[Summary], None]
) -> Iterator[Utterance]:
    """Count utterances as they pass."""
    for utterance in utterances:
        summary.keep(utterance)
        advance(summary)
        yield utterance


def finish(
    context: click.Context,
    summary: Summary,
    out: Path,
    json_path: Path | None,
    edited: str = "texts edited",
    more: Mapping[str, object] = MappingProxyType({}),
) -> None:
    """Say what was written and what was refused, as JSON with `more` to it; exit code 1 if anything was refused."""
    batch = Batch(context)
    if not summary.utterances:
        batch.fail(f"{out}: no row of {summary.rows} is good")
    line = f"{out}: {summary.utterances} utterances, {summary.audio_s / 3600:.2f} h"
    if summary.without_speaker:
        line += f"; {summary.without_speaker} without a speaker"
    if summary.changed:
        line += f"; {edited}: {summary.changed}"
    if summary.utterances:
        click.echo(line, err=True)
    if json_path:
        write_json(json_path, summary.as_json() | dict(more))
    tell_refused(batch, summary)
    batch.finish()


def tell_refused(batch: Batch, summary: Summary) -> None:
    """Tell of each kind of refused rows how many there are, and the first ones."""
    for kind, count in summary.refused.most_common():
        batch.fail(f"{kind}: {count} of {summary.rows} rows")
        for example in summary.examples[kind]:
            click.echo(f"  {example}", err=True)


def write_json(path: Path, content: Mapping[str, object]) -> None:
    from silero_like.writers import write_atomically

    write_atomically(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
