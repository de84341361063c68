"""`silero-like data download`: fetch public sets and write their manifests."""

from __future__ import annotations

from pathlib import Path

import click

from silero_like.cli.batch import Batch
from silero_like.cli.data_import import jobs_option, json_option, n_cores, tell_refused, write_json
from silero_like.cli.paths import OUTPUT_FOLDER
from silero_like.cli.progress import ProgressLine


def _list(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    """Print the sets and end."""
    if not wanted or context.resilient_parsing:
        return
    from data.public_sets import SETS

    for name, public in SETS.items():
        checked = public.archive.checksum.partition(":")[0] or "no checksum known"
        click.echo(f"{name:28} {public.size_mb / 1000:6.1f} GB  {public.licence}; {public.about}; {checked}")
    context.exit()


@click.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.argument("dest", type=OUTPUT_FOLDER)
@click.option("--list", is_flag=True, is_eager=True, expose_value=False, callback=_list, help="List the sets.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--keep-archive", is_flag=True, help="Leave the archives in DEST.")
@jobs_option
@json_option
@click.pass_context
def download(
    context: click.Context,
    names: tuple[str, ...],
    dest: Path,
    yes: bool,
    keep_archive: bool,
    jobs: int | None,
    json_path: Path | None,
) -> None:
    """Fetch public sets into DEST, check and unpack them, and write their manifests.

    Says how much it is and on what terms, and asks, before it begins. Each set gets a folder DEST/NAME and a manifest
    DEST/NAME.jsonl; noise and rooms get DEST/NAME.json, for augment.noise of a recipe. Stop it as you like and run it
    again: it goes on where it stopped.

    \b
    Examples:
      silero-like data download --list
      silero-like data download train-clean-5 dev-clean-2 /data/mini
      silero-like data download musan rirs-noises /data/noise --yes
    """
    from data.public_sets import SETS, check_space, download_set

    if unknown := [name for name in names if name not in SETS]:
        raise click.UsageError(f"no set {', '.join(unknown)}: silero-like data download --list")
    for name in names:
        public = SETS[name]
        click.echo(f"{name}: {public.about}: {public.size_mb / 1000:.1f} GB, {public.licence}", err=True)
        click.echo(f"  {public.archive.url}", err=True)
    needed, free = check_space([SETS[name] for name in names], dest)
    click.echo(f"{dest}: about {needed:.1f} GB needed, {free:.1f} GB free", err=True)
    if not yes:
        click.confirm("Download?", abort=True, err=True)
    batch, told = Batch(context), {}
    with ProgressLine() as line:

        def advance(what: str, done: int, total: int) -> None:
            if line.due():
                of = f" of {total / 1e6:.1f}" if total else ""
                line.show(f"{what}: {done}" if what == "rows" else f"{what}: {done / 1e6:.1f}{of} MB")

        def work(name: str) -> None:
            summary = download_set(name, SETS[name], dest.absolute(), jobs or n_cores(), keep_archive, advance)
            if summary is None:
                click.echo(f"{dest / name}.json: list of clips for augment.noise", err=True)
                return
            click.echo(
                f"{dest / name}.jsonl: {summary.utterances} utterances, {summary.audio_s / 3600:.2f} h", err=True
            )
            tell_refused(batch, summary)
            told[name] = summary.as_json()

        for _ in batch.run(names, work, str):
            pass
    if json_path:
        write_json(json_path, {"sets": told})
    batch.finish()
