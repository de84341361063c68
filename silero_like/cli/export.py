"""`silero-like export`."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from silero_like.cli.number import Number
from silero_like.cli.paths import INPUT_FILE, INPUT_PATH, OUTPUT_FOLDER

if TYPE_CHECKING:
    from silero_like.cli.export_parity import Parity
    from silero_like.weights import Stored
    from train.checkpoint import Checkpoint

N_CALIBRATION = 12  # utterances of each manifest


@dataclass(frozen=True, kw_only=True)
class Choices:
    """How a checkpoint becomes a bundle."""

    weights: Stored | None
    """How to store weights for fine-tuning."""
    quantize: str | None
    """"int8" or None."""
    calibrate: tuple[Path, ...]
    """Manifests of the speech that sets int8 ranges; the recipe's when empty."""
    dev: tuple[Path, ...]
    """Manifests of the speech to compare on; the recipe's when empty."""
    tolerance: float
    """Points of CER."""
    force: bool


@click.command()
@click.argument("checkpoint", type=INPUT_PATH)
@click.argument("out_dir", type=OUTPUT_FOLDER)
@click.option(
    "--weights",
    type=click.Choice(["float16", "int8"]),
    help="Store weights for fine-tuning, too, and the graph's as float16; int8 matrices take half the room.",
)
@click.option("--quantize", type=click.Choice(["int8"]), help="Make the linear layers int8: smaller and faster.")
@click.option(
    "--calibrate",
    multiple=True,
    type=INPUT_FILE,
    help="Speech that sets int8 ranges. [default: the training manifests]",
)
@click.option(
    "--dev", multiple=True, type=INPUT_FILE, help="Speech that the export is compared on. [default: the dev manifests]"
)
@click.option(
    "--tolerance",
    type=Number(min=0),
    default=0.3,
    show_default=True,
    help="Points of CER that int8 may cost in any domain.",
)
@click.option("--force", is_flag=True, help="Keep an int8 bundle that loses more.")
@click.option(
    "--layout",
    type=click.Choice(["bundle", "sherpa-onnx"]),
    default="bundle",
    show_default=True,
    help="What to write: a bundle, or the model for sherpa-onnx (docs/other-runtimes.md).",
)
@click.pass_context
def export(
    context: click.Context,
    checkpoint: Path,
    out_dir: Path,
    weights: Stored | None,
    quantize: str | None,
    calibrate: tuple[Path, ...],
    dev: tuple[Path, ...],
    tolerance: float,
    force: bool,
    layout: str,
) -> None:
    """Turn CHECKPOINT into a bundle in OUT_DIR: ONNX graph, tokenizer, config, model card, checksums.

    The dev manifests of its recipe, where they can be read, are recognised greedily by torch, by the float graph and by
    the int8 graph; the table of sizes, speeds and error rates is printed and kept in the bundle as parity.json.

    --layout sherpa-onnx writes the same model for sherpa-onnx's loader of NeMo CTC models, for phones and browsers:
    model.onnx or model.int8.onnx, which take log-mel features, and tokens.txt. It takes the folder of a bundle, too.

    \b
    Examples:
      silero-like export runs/en-tiny/best.safetensors my-model
      silero-like export runs/en-tiny/best.safetensors my-model --quantize int8
      silero-like transcribe --model my-model speech.flac
      silero-like export my-model for-phones --layout sherpa-onnx
    """
    from silero_like.errors import MissingExtraError

    choices = Choices(
        weights=weights, quantize=quantize, calibrate=calibrate, dev=dev, tolerance=tolerance, force=force
    )
    tolerance_given = context.get_parameter_source("tolerance") is not click.core.ParameterSource.DEFAULT
    _refuse_nonsense(checkpoint, out_dir, choices, layout, tolerance_given=tolerance_given)
    try:
        from silero_like.export import check_target, place_bundle
        from silero_like.sherpa import write_sherpa
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"export needs {error.name}: pip install 'silero_like[train]'") from error
    check_target(out_dir)
    with tempfile.TemporaryDirectory(prefix=f".{out_dir.name}.", dir=out_dir.parent) as temporary:
        work = Path(temporary)
        folder = checkpoint
        if not checkpoint.is_dir():
            folder = _bundle(checkpoint, work, choices)
        if layout == "sherpa-onnx":
            write_sherpa(folder, work / layout)
            folder = work / layout
        place_bundle(folder, out_dir)
    size_mb = sum(file.stat().st_size for file in out_dir.iterdir()) / 1e6
    click.echo(f"{out_dir}: {size_mb:.1f} MB", err=True)


def _refuse_nonsense(checkpoint: Path, out_dir: Path, choices: Choices, layout: str, *, tolerance_given: bool) -> None:
    if not choices.quantize and (choices.calibrate or choices.force or tolerance_given):
        raise click.UsageError(
            "--calibrate, --tolerance and --force are for --quantize int8: add it, or leave them out"
        )
    if checkpoint.is_dir() and (layout == "bundle" or choices.quantize or choices.weights or choices.dev):
        raise click.UsageError(
            f"{checkpoint} is a folder: name a checkpoint, best.safetensors; or, for a bundle in another layout, "
            "add --layout sherpa-onnx and leave out --quantize, --weights and --dev"
        )
    if checkpoint.resolve() in (out_dir.resolve(), *out_dir.resolve().parents):
        raise click.UsageError(f"{out_dir} is what is to be read, or in it: name another folder to write")


def _bundle(checkpoint: Path, work: Path, choices: Choices) -> Path:
    """Make a bundle, float or int8, in a folder of `work`, and return that."""
    from silero_like.export import export_bundle
    from train.bundling import bundle_arguments
    from train.checkpoint import read_checkpoint

    state = read_checkpoint(checkpoint)
    folder = export_bundle(work / "float", **bundle_arguments(state), stored=choices.weights)
    parity = _compare(state, folder, choices.dev or _manifests(state, "dev"))
    if choices.quantize:
        speech = choices.calibrate or _manifests(state, "train")
        folder = _quantize(folder, work / "int8", speech, parity, choices.tolerance, force=choices.force)
    _keep(parity, folder)
    return folder


def _manifests(state: Checkpoint, kind: str) -> tuple[Path, ...]:
    """Return the recipe's manifests, or none when one of them is not where the recipe says."""
    from silero_like.errors import ConfigError
    from train.config import Recipe
    from train.plain import build

    if "data" not in state.recipe:
        return ()
    try:
        root = build(Recipe, state.recipe, "the checkpoint's recipe").root
    except ConfigError:
        return ()
    paths = tuple(root / name for name in state.recipe["data"][kind])
    return paths if all(path.is_file() for path in paths) else ()


def _compare(state: Checkpoint, folder: Path, dev: tuple[Path, ...]) -> Parity | None:
    """Measure torch and the float graph on dev speech, if there is any."""
    from silero_like.bundle import load_bundle
    from silero_like.cli.export_parity import Parity, read_speech
    from silero_like.export import torch_log_probs
    from silero_like.runtime import Runtime
    from silero_like.tokenizer import Tokenizer

    bundle = load_bundle(folder)
    utterances = read_speech(dev, bundle.config.lang)
    if not utterances:
        click.echo(
            "not compared with torch on speech: the recipe's dev manifests are not here; name some by --dev", err=True
        )
        return None
    parity = Parity(utterances, bundle.config, Tokenizer(bundle.tokenizer_path))
    size_mb = sum(tensor.numel() * tensor.element_size() for tensor in state.average.values()) / 1e6
    parity.measure("torch", size_mb, torch_log_probs(state.average, state.model_config))
    parity.measure("float", bundle.model_path.stat().st_size / 1e6, Runtime(bundle).log_probs)
    return parity


def _quantize(
    source: Path, target: Path, manifests: tuple[Path, ...], parity: Parity | None, tolerance: float, *, force: bool
) -> Path:
    from silero_like.bundle import load_bundle
    from silero_like.cli.export_parity import read_speech, read_waveform, worst_loss
    from silero_like.errors import BundleError
    from silero_like.export_int8 import quantize_bundle
    from silero_like.quantize import MAX_LAYER_KLS
    from silero_like.runtime import Runtime

    lang = load_bundle(source).config.lang
    speech = read_speech(manifests, lang, N_CALIBRATION)
    waveforms = [waveform for row in speech if (waveform := read_waveform(row)) is not None]
    if not waveforms:
        raise BundleError(
            "int8 needs speech to set its ranges, and the recipe's training manifests are not here: name some by "
            "--calibrate"
        )
    calibration = {"manifests": [path.name for path in manifests], "utterances": len(waveforms)}
    for max_layer_kl in MAX_LAYER_KLS:
        changes = quantize_bundle(source, target, waveforms, calibration, max_layer_kl=max_layer_kl)
        click.echo(_sensitivity(changes, max_layer_kl), err=True)
        if not parity:
            return target
        bundle = load_bundle(target)
        after = parity.measure("int8", bundle.model_path.stat().st_size / 1e6, Runtime(bundle).log_probs)
        points, domain = worst_loss(parity.rows[1], after)
        if points <= tolerance or force:
            return target
        loss = f"int8 costs {points:.2f} points of CER in {domain}, more than {tolerance:g}"
        if max_layer_kl == MAX_LAYER_KLS[-1]:
            click.echo(parity.table())
            raise BundleError(
                f"{loss}: nothing was written; calibrate with more speech (--calibrate), raise --tolerance, or keep it "
                "by --force"
            )
        click.echo(f"{loss}: once more, with fewer layers", err=True)
        parity.rows.remove(after)
        shutil.rmtree(target)
    return target


def _sensitivity(changes: dict[str, float], limit: float) -> str:
    """Return the layers that change the log-probs most, in words."""
    kept = [name for name, change in changes.items() if change > limit]
    worst = sorted(changes.items(), key=lambda item: -item[1])[:5]
    shown = ", ".join(f"{name} {change:.1e}" for name, change in worst)
    return (
        f"int8: {len(changes) - len(kept)} of {len(changes)} linear layers; float: {', '.join(kept) or 'none'}; "
        f"largest changes of the log-probs, nats a frame: {shown} (all in quantization.json)"
    )


def _keep(parity: Parity | None, folder: Path) -> None:
    """Print the table, and put it into the bundle."""
    from silero_like.bundle import write_checksums
    from silero_like.export_int8 import write_json

    if parity:
        click.echo(parity.table())
        rows: list[dict[str, Any]] = [row.to_dict() for row in parity.rows]
        write_json(folder / "parity.json", {"utterances": len(parity.utterances), "decoder": "greedy", "rows": rows})
        write_checksums(folder)
