"""The bundle: a folder with all that a deployed recogniser needs. ``docs/format.md`` specifies it.

Nothing in it is executable or pickled, and every file is listed with its SHA-256 in ``checksums.json``.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from silero_like.errors import BundleError

BUNDLE_FORMAT = 1
"""The newest format that this version writes and reads."""

BUNDLED_PATH, TINY_PATH = (Path(__file__).parent / "models" / name for name in ("en", "en-tiny"))
"""The English models that are installed with the package: the one that is meant where none is named, and a smaller."""

CONFIG_NAME = "config.json"
MODEL_NAME = "model.onnx"
TOKENIZER_NAME = "tokenizer.model"
WEIGHTS_NAME = "weights.safetensors"
LM_NAME = "lm.bin"
DECODER_NAME = "decoder.json"
CARD_NAME = "MODEL_CARD.md"
CHECKSUMS_NAME = "checksums.json"
KENLM_MAGIC = b"mmap lm http://kheafield.com/code"
REQUIRED_NAMES = (CONFIG_NAME, MODEL_NAME, TOKENIZER_NAME, CARD_NAME)

_TYPES: dict[str, tuple[type, ...]] = {"int": (int,), "str": (str,), "float": (int, float), "dict[str, Any]": (dict,)}


@dataclass(frozen=True, kw_only=True)
class BundleConfig:
    """Contents of ``config.json``.

    Raises:
        BundleError: a value of the wrong type, or one that cannot be.
    """

    format: int
    """Version of the bundle format."""
    name: str
    """What the model is called in transcripts."""
    lang: str
    """Language code: "en", "ru", "zh"."""
    normalizer: str
    """Recorded name of the text normaliser of the training transcripts, "en-1"."""
    sample_rate: int = 16000
    """Hz of the waveform that ``model.onnx`` takes."""
    frame_s: float = 0.08
    """Seconds per log_probs frame; a whole number of samples."""
    n_labels: int
    """V: tokens and blank."""
    blank_id: int
    """The blank, which is the last label."""
    block_frames: int
    """Windows of a long recording start at multiples of so many log_probs frames."""
    context_frames: int
    """Receptive field on one side in log_probs frames: so much at an inner edge of a window is not to be used."""
    preset: str
    """Size of the architecture: "tiny", "small", "large"."""
    model: dict[str, Any]
    """Architecture, as in the checkpoint."""
    training: dict[str, Any]
    """Data, hours, command, seed, versions, hashes of the manifests."""
    metrics: dict[str, Any]
    """Evaluation JSON of the dev sets; empty when not measured."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value, types = getattr(self, field.name), _TYPES[str(field.type)]
            _require(isinstance(value, types) and not isinstance(value, bool), f"{field.name}: {field.type}", value)
        _require(1 <= self.format <= BUNDLE_FORMAT, f"format from 1 to {BUNDLE_FORMAT}", self.format)
        _require(self.sample_rate == 16000, "sample_rate 16000", self.sample_rate)
        _require(0 < self.frame_s < 10, "frame_s between 0 and 10 s", self.frame_s)
        is_whole = self.frame_samples >= 1 and abs(self.frame_samples / self.sample_rate - self.frame_s) < 1e-9
        _require(is_whole, "frame_s that is a whole number of samples", self.frame_s)
        _require(self.n_labels >= 2, "n_labels of at least 2", self.n_labels)
        _require(self.blank_id == self.n_labels - 1, f"blank_id {self.n_labels - 1}, the last label", self.blank_id)
        _require(self.block_frames >= 1, "block_frames of at least 1", self.block_frames)
        _require(self.context_frames >= 0, "context_frames of at least 0", self.context_frames)

    @property
    def frame_samples(self) -> int:
        """Samples of the waveform per log_probs frame: 1,280."""
        return round(self.frame_s * self.sample_rate)


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk whose files are there and, unless waived, unchanged."""

    path: Path
    config: BundleConfig
    tokenizer_path: Path
    model_path: Path
    weights_path: Path | None
    """Training weights, for fine-tuning; not every bundle has them."""
    lm_path: Path | None = None
    """Language model over words, a KenLM binary; not every bundle has one."""
    decoder: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Contents of ``decoder.json``: settings of the beam search that suit the models; empty when there is none."""


def find_bundle(path: str | Path) -> Path:
    """Return the folder at a path or, where nothing lies there, the installed model of that name.

    >>> find_bundle("en-tiny") == TINY_PATH
    True
    """
    installed = {folder.name: folder for folder in (BUNDLED_PATH, TINY_PATH)}
    return Path(path) if os.path.lexists(path) else installed.get(str(path), Path(path))


def load_bundle(path: str | Path, *, verify: bool = True) -> Bundle:
    """Check a bundle and read its configuration.

    Args:
        path: its folder, or the name of an installed one.
        verify: compare every file's SHA-256 with ``checksums.json``.

    Raises:
        BundleError: not a bundle, of a newer format, a file missing, changed, cut short or not listed, or a
            configuration with an unknown or impossible value.
    """
    folder = find_bundle(path)
    if not folder.is_dir():
        raise BundleError(f"{folder}: expected the folder of a model bundle, found {_kind(folder)}: check the path")
    values = _read_object(folder / CONFIG_NAME)
    version = values.get("format")
    if isinstance(version, int) and version > BUNDLE_FORMAT:
        raise BundleError(
            f"{folder}: bundle format {version}, this version reads up to {BUNDLE_FORMAT}: "
            "pip install --upgrade silero_like"
        )
    for name in (*REQUIRED_NAMES, CHECKSUMS_NAME):
        if not (folder / name).is_file():
            raise BundleError(f"{folder / name}: missing: a bundle needs it; copy or export the bundle again")
    if verify:
        _verify(folder)
    weights_path, lm_path, decoder_path = (folder / name for name in (WEIGHTS_NAME, LM_NAME, DECODER_NAME))
    return Bundle(
        path=folder,
        config=_config(values, folder / CONFIG_NAME),
        tokenizer_path=folder / TOKENIZER_NAME,
        model_path=folder / MODEL_NAME,
        weights_path=weights_path if weights_path.is_file() else None,
        lm_path=lm_path if lm_path.is_file() else None,
        decoder=_read_object(decoder_path) if decoder_path.is_file() else {},
    )


def set_language_model(path: str | Path, lm_path: str | Path, decoder: Mapping[str, Any]) -> None:
    """Put a language model and the settings that suit it into the bundle at `path`, in place of those it has.

    The bundle is copied, changed, loaded and renamed: it is whole at every moment but one, in which it is not there.

    Args:
        path: the bundle's folder.
        lm_path: a KenLM binary.
        decoder: values of ``decode.beam.BeamConfig``.

    Raises:
        BundleError: no whole bundle there, or no KenLM binary.
    """
    folder, source = load_bundle(path).path.absolute(), Path(lm_path)
    with source.open("rb") as file:
        if not file.read(len(KENLM_MAGIC)).startswith(KENLM_MAGIC):
            raise BundleError(f"{source}: expected a KenLM binary: write one with silero-like lm ... --output NAME.bin")
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as temporary:
        old, new = Path(temporary) / "old", Path(temporary) / "new"
        shutil.copytree(folder, new)
        shutil.copyfile(source, new / LM_NAME)
        (new / DECODER_NAME).write_text(json.dumps(dict(decoder), indent=1) + "\n", encoding="utf-8")
        write_checksums(new)
        load_bundle(new)
        folder.rename(old)
        try:
            new.rename(folder)
        except OSError:
            old.rename(folder)
            raise


def write_checksums(path: str | Path) -> None:
    """Write ``checksums.json`` over every other file of the folder `path`.

    Raises:
        BundleError: there is a folder inside; a bundle is flat.
    """
    folder = Path(path)
    names = sorted(entry.name for entry in folder.iterdir() if entry.name != CHECKSUMS_NAME)
    for name in names:
        if not (folder / name).is_file():
            raise BundleError(f"{folder / name}: found {_kind(folder / name)}, expected a file: a bundle is flat")
    checksums = {"algorithm": "sha256", "files": {name: _sha256(folder / name) for name in names}}
    (folder / CHECKSUMS_NAME).write_text(json.dumps(checksums, indent=1) + "\n", encoding="utf-8")


def _verify(folder: Path) -> None:
    """Compare the folder with ``checksums.json``: the same names, the same contents."""
    listed = _read_checksums(folder / CHECKSUMS_NAME)
    for entry in sorted(folder.iterdir()):
        if entry.name not in listed and entry.name != CHECKSUMS_NAME:
            raise BundleError(f"{entry}: not listed in {CHECKSUMS_NAME}: remove it, or export the bundle again")
    for name in REQUIRED_NAMES:
        if name not in listed:
            raise BundleError(f"{folder / CHECKSUMS_NAME}: does not list {name}: get a whole copy of the bundle")
    for name, expected in listed.items():
        if not (folder / name).is_file():
            raise BundleError(f"{folder / name}: missing, though {CHECKSUMS_NAME} lists it: get a whole copy")
        found = _sha256(folder / name)
        if found != expected:
            raise BundleError(
                f"{folder / name}: damaged or changed, expected SHA-256 {expected[:12]}..., found {found[:12]}...: "
                "get a whole copy of the bundle"
            )


def _read_checksums(path: Path) -> dict[str, str]:
    """Read name -> SHA-256; a name is that of a file in the bundle's own folder."""
    values = _read_object(path)
    if (
        set(values) != {"algorithm", "files"}
        or values["algorithm"] != "sha256"
        or not isinstance(values["files"], dict)
    ):
        raise BundleError(
            f'{path}: expected {{"algorithm": "sha256", "files": {{...}}}}: get a whole copy of the bundle'
        )
    for name, digest in values["files"].items():
        if name in {"", ".", "..", CHECKSUMS_NAME} or re.search(r"[/\\:\0]", name):
            raise BundleError(f"{path}: expected plain file names, found {name!r}: do not trust this bundle")
        if not isinstance(digest, str) or not re.fullmatch("[0-9a-f]{64}", digest):
            raise BundleError(f"{path}: expected 64 hex digits for {name}, found {digest!r}: get a whole copy")
    return {str(name): str(digest) for name, digest in values["files"].items()}


def _config(values: dict[str, Any], path: Path) -> BundleConfig:
    fields = dataclasses.fields(BundleConfig)
    known = {field.name for field in fields}
    required = {field.name for field in fields if field.default is dataclasses.MISSING}
    if unknown := sorted(set(values) - known):
        raise BundleError(
            f"{path}: unknown key {unknown[0]!r}: expected {', '.join(sorted(known))}; export the bundle again"
        )
    if missing := sorted(required - set(values)):
        raise BundleError(f"{path}: key {missing[0]!r} is missing: export the bundle again")
    try:
        return BundleConfig(**values)
    except BundleError as error:
        raise BundleError(f"{path}: {error}: export the bundle again") from error


def _require(condition: bool, expected: str, found: object) -> None:
    if not condition:
        raise BundleError(f"expected {expected}, found {found!r}")


def _read_object(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_bytes())
    except OSError as error:
        raise BundleError(f"{path}: {error.strerror}: expected a model bundle's file; check the path") from error
    except (ValueError, RecursionError) as error:
        raise BundleError(
            f"{path}: not JSON ({error}): damaged or cut short; get a whole copy of the bundle"
        ) from error
    if not isinstance(values, dict):
        raise BundleError(
            f"{path}: expected a JSON object, found {type(values).__name__}: get a whole copy of the bundle"
        )
    return values


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise BundleError(f"{path}: {error.strerror}: expected a readable file; check its permissions") from error
    return digest.hexdigest()


def _kind(path: Path) -> str:
    if path.is_dir():
        return "a folder"
    return "a file" if path.exists() else "nothing"
