"""`silero-like export`."""

from __future__ import annotations

from pathlib import Path

import click

from silero_like.cli.paths import OUTPUT_FOLDER


@click.command()
@click.argument("checkpoint", type=click.Path(exists=True, dir_okay=False))
@click.argument("out_dir", type=OUTPUT_FOLDER)
@click.option("--half-weights", is_flag=True, help="Store weights as float16: half the size, the same speed.")
def export(checkpoint: str, out_dir: Path, half_weights: bool) -> None:
    """Turn CHECKPOINT into a bundle in OUT_DIR: ONNX graph, tokenizer, config, model card, checksums.

    \b
    Example:
      silero-like export runs/en-tiny/best.safetensors my-model
      silero-like transcribe --model my-model speech.flac
    """
    from silero_like.errors import MissingExtraError

    try:
        from silero_like.export import export_bundle
        from train.bundling import bundle_arguments
        from train.checkpoint import read_checkpoint
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"export needs {error.name}: pip install 'silero_like[train]'") from error
    path = export_bundle(out_dir, **bundle_arguments(read_checkpoint(checkpoint)), half_weights=half_weights)
    size_mb = sum(file.stat().st_size for file in path.iterdir()) / 1e6
    click.echo(f"{path}: {size_mb:.1f} MB", err=True)
