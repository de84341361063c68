"""`silero-like bench`."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from silero_like.cli.doctor import INT8_FAST, INT8_SLOW, describe_cpu
from silero_like.cli.model_option import BUNDLE_FOLDER
from silero_like.cli.paths import INPUT_FILE, OUTPUT_FILE, refuse_replacing
from silero_like.writers import write_atomically

if TYPE_CHECKING:
    from silero_like.bundle import Bundle

AUDIO_S = 10.0
WIDTH = 16


@click.command()
@click.argument("model", required=False, type=BUNDLE_FOLDER)
@click.option("--audio", "audio_path", type=INPUT_FILE, help="Speech to recognise [default: a short English sentence].")
@click.option("--json", "json_path", type=OUTPUT_FILE, help="Write the figures here.")
def bench(model: Path | None, audio_path: Path | None, json_path: Path | None) -> None:
    """Measure how fast a model is on this machine, on one core, in less than 20 seconds.

    MODEL is a bundle's folder; the bundled English model when left out. Shown are what a core reaches in a large matrix
    product; the model alone, and its share of that; from a FLAC file of 10 s to text, greedily and, with a language
    model, by the beam search, in seconds of audio for a second of processor time; and how long the command takes for
    that file from its start. Stop other work first.

    \b
    Examples:
      silero-like bench
      silero-like bench runs/en-tiny/bundle --audio call.wav --json bench.json
    """
    from silero_like.bundle import BUNDLED_PATH, load_bundle

    refuse_replacing([json_path], filter(None, [audio_path]))
    bundle = load_bundle(model or BUNDLED_PATH)
    cpu = describe_cpu()
    click.echo(_line("cpu", cpu))
    figures: dict[str, Any] = {"cpu": cpu, "model": bundle.config.name}
    for line, found in _measure(bundle, audio_path):
        figures |= found
        click.echo(line)
    click.echo(_line("int8", INT8_FAST if "vnni" in cpu.split() else INT8_SLOW))
    if json_path:
        write_atomically(json_path, json.dumps(figures, ensure_ascii=False, indent=1) + "\n")


def _measure(bundle: Bundle, audio_path: Path | None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield lines, each with its figures, as they are measured."""
    from silero_like.matrix_product import matrix_product_rate
    from silero_like.runtime import Runtime
    from silero_like.speed import SPEECH_PATH, file_speeds, graph_speed, write_excerpt

    rates = {kind: matrix_product_rate(kind) for kind in ("float32", "int8")}
    text = f"{rates['float32'] / 1e9:.0f} G operations a second in float32, {rates['int8'] / 1e9:.0f} in int8"
    yield _line("matrix product", text), {"matrix_product_per_s": rates}
    kind = "int8" if (bundle.path / "quantization.json").is_file() else "float32"
    speed = graph_speed(Runtime(bundle))
    macs = bundle.config.model.get("macs_per_audio_s")  # other exporters may not tell
    share = 2 * macs * speed / rates[kind] if macs else None
    of_product = "" if share is None else f", {share:.0%} of the {kind} product"
    found: dict[str, Any] = {"graph": {"kind": kind, "audio_s_per_core_s": speed, "share_of_matrix_product": share}}
    yield _line(f"{bundle.config.name}, {kind}", f"{speed:.0f} s of audio a core-second{of_product}"), found
    with tempfile.TemporaryDirectory() as folder:
        path = write_excerpt(audio_path or SPEECH_PATH, Path(folder) / "speech.flac", AUDIO_S)
        for decoder in ("greedy", "beam"):
            if decoder == "greedy" or bundle.lm_path:
                figures = file_speeds(bundle, path, decoder)
                speed = figures.audio_s_per_core_s
                text = f"{speed:.0f} s of audio a core-second from file to text, an hour in {3600 / speed:.0f} s"
                start = f"the command from its start: {figures.cold_start_s:.2f} s"
                yield _line(decoder, f"{text}; {start}"), {decoder: vars(figures)}


def _line(name: str, value: str) -> str:
    return f"{name:{WIDTH}} {value}"
