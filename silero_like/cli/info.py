"""`silero-like info`."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from silero_like.bundle import Bundle

WIDTH = 16


@click.command()
@click.argument("model", required=False)
def info(model: str | None) -> None:
    """Show what a model is and costs.

    That is: parameters, multiply-adds per second of audio, receptive field, training, error rates.

    MODEL is a bundle's folder (the bundled English model when left out) or the name of a preset: tiny, small or large
    (needs torch). A folder of that name is meant by ./tiny.

    \b
    Examples:
      silero-like info
      silero-like info runs/en-tiny/bundle
      silero-like info small
    """
    from silero_like.model.config import PRESETS

    lines = _preset_lines(model) if model in PRESETS else _bundle_lines(model)
    for line in lines:
        click.echo(line)


def _preset_lines(preset: str) -> Iterator[str]:
    from silero_like.errors import MissingExtraError

    try:
        from silero_like.model.summary import summarize
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"counting a preset needs {error.name}: pip install 'silero_like[train]'") from error
    yield _line("preset", preset)
    yield from _cost_lines(summarize(preset))


def _bundle_lines(path: str | None) -> Iterator[str]:
    from silero_like.bundle import BUNDLED_PATH, load_bundle

    bundle = load_bundle(path or BUNDLED_PATH)
    config = bundle.config
    yield _line("model", f"{config.name} (preset {config.preset}), bundle format {config.format}")
    yield _line("folder", f"{bundle.path} ({_size_mb(bundle):.1f} MB)")
    yield _line("language", f"{config.lang}, normaliser {config.normalizer}")
    yield _line("labels", f"{config.n_labels}, one frame per {1000 * config.frame_s:g} ms")
    yield from _cost_lines(config.model)
    if bundle.lm_path:
        settings = ", ".join(f"{key} {value:g}" for key, value in bundle.decoder.items() if key != "log_priors")
        size_mb = bundle.lm_path.stat().st_size / 1e6
        yield _line("language model", f"{bundle.lm_path.name} ({size_mb:.1f} MB){settings and '; ' + settings}")
    if (quantization := bundle.path / "quantization.json").is_file():
        layers = json.loads(quantization.read_text(encoding="utf-8"))["layers"].values()
        n_int8 = sum(layer["type"] == "int8" for layer in layers)
        yield _line("int8", f"{n_int8} of {len(layers)} linear layers")
    yield "training"
    yield from _nested(config.training, "  ")
    yield from _rates(config.metrics)


def _cost_lines(summary: Mapping[str, Any]) -> Iterator[str]:
    if "n_parameters" not in summary:  # not made by this project's export
        return
    yield _line("parameters", f"{summary['n_parameters'] / 1e6:.2f} M")
    yield _line("multiply-adds", f"{summary['macs_per_audio_s'] / 1e6:.0f} M per second of audio")
    yield _line("receptive field", f"{summary['receptive_field_s']:g} s")


def _nested(values: Mapping[str, Any], indent: str) -> Iterator[str]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield f"{indent}{key}"
            yield from _nested(value, indent + "  ")
        else:
            yield f"{indent}{key}: {', '.join(map(str, value)) if isinstance(value, list) else value}"


def _rates(metrics: Mapping[str, Any]) -> Iterator[str]:
    """Show the error rates stored at export, as percentages; one that is undefined as a dash."""
    if not metrics.get("domains"):
        return
    yield f"{'error rates':{WIDTH + 4}}{'WER %':>8}{'CER %':>8}"
    rows = {**metrics["domains"], **{key: metrics[key] for key in ("macro", "micro") if key in metrics}}
    for name, rates in rows.items():
        cells = ("-" if rates[key] is None else f"{100 * rates[key]:.1f}" for key in ("wer", "cer"))
        yield f"  {name:{WIDTH + 2}}" + "".join(f"{cell:>8}" for cell in cells)


def _size_mb(bundle: Bundle) -> float:
    return sum(entry.stat().st_size for entry in os.scandir(bundle.path) if entry.is_file()) / 1e6


def _line(name: str, value: str) -> str:
    return f"{name:{WIDTH}} {value}"
