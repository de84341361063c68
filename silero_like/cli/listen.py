"""`silero-like listen`."""

from __future__ import annotations

import contextlib
import json
import shutil
from typing import TYPE_CHECKING

import click

from silero_like.cli.decoder_options import Search, decoder_options, load_recognizer
from silero_like.cli.model_option import bundle_option
from silero_like.cli.number import Number
from silero_like.cli.progress import ProgressLine

if TYPE_CHECKING:
    from silero_like.streaming import StreamResult


@click.command()
@bundle_option
@decoder_options
@click.option("--device", help="Number, or a part of the name, of the microphone [default: the system's].")
@click.option("--devices", is_flag=True, help="List the microphones.")
@click.option(
    "--latency",
    metavar="S",
    type=Number(0.16, 5.0),
    default=0.56,
    show_default=True,
    help="Seconds of silence that end a segment.",
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(["txt", "jsonl"]),
    default="txt",
    show_default=True,
    help="Final texts, or all results with their words.",
)
def listen(
    model: str | None,
    search: Search,
    device: str | None,
    devices: bool,
    latency: float,
    format_: str,
) -> None:
    """Turn what a microphone hears into text, while it is said, until Ctrl-C.

    A segment ends with a pause; its text is a line. On a terminal what is still changing is shown below. In jsonl a
    result with is_final false is replaced by the next one of its segment. Needs the extra [mic].

    \b
    Examples:
      silero-like listen
      silero-like listen --device "USB" --latency 0.8 >> notes.txt
      silero-like listen --format jsonl
    """
    from silero_like.cli.signals import until_stopped
    from silero_like.microphone import Microphone, list_microphones

    if devices:
        click.echo("\n".join(list_microphones()))
        return
    microphone = Microphone(int(device) if device and device.isdecimal() else device)
    stream = load_recognizer(model, search).stream(latency_s=latency, sample_rate=microphone.sample_rate)
    click.echo(f"listening to {microphone.name}; Ctrl-C ends it", err=True)
    with ProgressLine() as line:
        with until_stopped(), contextlib.closing(microphone.chunks()) as chunks:
            for chunk in chunks:
                for result in stream.accept_waveform(chunk):
                    _show(result, format_, line)
        for result in stream.finish():
            _show(result, format_, line)
    if microphone.n_lost:
        click.echo(f"{microphone.n_lost} chunks of sound were lost: this machine is too slow, or too busy", err=True)


def _show(result: StreamResult, format_: str, line: ProgressLine) -> None:
    if format_ == "jsonl":
        click.echo(json.dumps(result.to_dict(), ensure_ascii=False))
    elif not result.is_final:
        if line.due():
            line.show(_end_of(result.text, shutil.get_terminal_size().columns - 1))
    else:
        line.clear()
        if result.text:
            click.echo(result.text)


def _end_of(text: str, n_columns: int) -> str:
    """Return as much of the end of a text as a line can show.

    >>> _end_of("今天天气", 5)
    '天气'
    """
    from silero_like.subtitles import columns

    while columns(text) > n_columns:
        text = text[1:]
    return text
