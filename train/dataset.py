"""What a run learns from and is measured on: manifests read, texts normalised, impossible rows counted."""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data.augment import resolve
from data.manifest import Utterance, read_manifest
from data.text import Normalizer, get_normalizer
from silero_like.audio import load_audio
from silero_like.errors import AudioError, ConfigError
from silero_like.model.config import preset
from silero_like.tokenizer import Tokenizer, train_tokenizer
from train.batches import Example
from train.config import Recipe


@dataclass(frozen=True)
class Dataset:
    """Training examples, dev utterances and the report of what was left out."""

    examples: tuple[Example, ...]
    dev: tuple[Utterance, ...]
    tokenizer: Tokenizer
    tokenizer_model: bytes
    normalizer: Normalizer
    left_out: dict[str, int]
    """Reason -> rows, of dev manifests too."""
    hashes: dict[str, str]
    """Manifest name -> SHA-256."""
    hours: dict[str, float]
    """Domain -> hours of training speech."""


def load_dataset(recipe: Recipe, tokenizer_model: bytes | None = None, *, work_dir: Path) -> Dataset:
    """Read the recipe's manifests, train or load the tokenizer, and leave out what cannot be learned.

    Args:
        recipe: the run.
        tokenizer_model: the tokenizer of a checkpoint, which then replaces training one.
        work_dir: where a new tokenizer is written.

    Raises:
        ConfigError: a manifest without a usable row, or no usable training utterance, new or to be replayed.
        ManifestError: a manifest cannot be read.
    """
    left_out: Counter[str] = Counter()
    hashes: dict[str, str] = {}
    new = _read(recipe, recipe.data.train, hashes, left_out)
    old = _read(recipe, recipe.data.replay, hashes, left_out)
    dev = _read(recipe, recipe.data.dev, hashes, left_out, "bad row of a dev manifest")
    normalizer = get_normalizer(recipe.data.lang)
    # Fine-tuning a model of stride 4 is held to stride 8 here: a few very fast utterances are left out needlessly.
    frame_s = preset(recipe.model.preset, n_labels=2, **recipe.model.overrides).frame_s
    texts = [normalizer(utterance.text) for utterance in [*new, *old]]
    tokenizer_model = tokenizer_model or _tokenizer_model(recipe, texts, work_dir)
    tokenizer = Tokenizer(tokenizer_model)
    examples = []
    for number, (utterance, text) in enumerate(zip([*new, *old], texts, strict=True)):
        token_ids = tuple(tokenizer.encode(text)) if text else ()
        reason = _unusable(recipe, utterance.duration_s, token_ids, frame_s)
        if reason:
            left_out[reason] += 1
        else:
            examples.append(Example(utterance, text, token_ids, is_replay=number >= len(new)))
    _require_both_parts(recipe, examples, left_out)
    hours: defaultdict[str, float] = defaultdict(float)
    for example in examples:
        hours[example.domain] += example.utterance.duration_s / 3600
    return Dataset(
        tuple(examples), tuple(dev), tokenizer, tokenizer_model, normalizer, dict(left_out), hashes, dict(hours)
    )


def feature_samples(examples: tuple[Example, ...], seed: int, n_samples: int = 300) -> list[np.ndarray]:
    """Load a random few training utterances, for the mean and standard deviation of the features."""
    order = np.random.default_rng(seed).permutation(len(examples))[:n_samples]
    waveforms = []
    for index in order:
        utterance = examples[index].utterance
        try:
            waveforms.append(
                load_audio(utterance.audio_path, offset_s=utterance.offset_s, duration_s=utterance.duration_s)
            )
        except AudioError:
            continue  # the loader counts and names it when it is drawn
    return waveforms


def n_frames_needed(token_ids: tuple[int, ...]) -> int:
    """Frames a CTC alignment needs: one a label and one blank between equal neighbours."""
    return len(token_ids) + sum(a == b for a, b in itertools.pairwise(token_ids))


def _unusable(recipe: Recipe, duration_s: float, token_ids: tuple[int, ...], frame_s: float) -> str | None:
    if not token_ids:
        return "empty text after normalisation"
    if duration_s < recipe.data.min_duration_s:
        return f"shorter than {recipe.data.min_duration_s} s"
    if duration_s > recipe.data.max_duration_s:
        return f"longer than {recipe.data.max_duration_s} s"
    if n_frames_needed(token_ids) > duration_s / max(resolve(recipe.augment).speeds) / frame_s:
        return "more labels than frames"
    return None


def _require_both_parts(recipe: Recipe, examples: list[Example], left_out: Counter[str]) -> None:
    """Raise when there is nothing new to learn, or nothing to replay though the recipe asks for it."""
    replay = recipe.data.replay if recipe.finetune.replay else []
    for names, is_replay in ((recipe.data.train, False), (replay, True)):
        if names and not any(example.is_replay == is_replay for example in examples):
            raise ConfigError(f"no usable training utterance in {', '.join(names)}: {dict(left_out)}")


def _read(
    recipe: Recipe, names: list[str], hashes: dict[str, str], left_out: Counter[str], bad: str = "bad manifest row"
) -> list[Utterance]:
    utterances: list[Utterance] = []
    for name in names:
        manifest = read_manifest(recipe.root / name)
        if not manifest.utterances:
            reason = manifest.problems[0] if manifest.problems else "it is empty"
            raise ConfigError(f"{manifest.path}: no usable row ({reason}): mend it or take it out of the recipe")
        hashes[name] = manifest.sha256
        left_out[bad] += len(manifest.problems)
        utterances += manifest.utterances
    return utterances


def _tokenizer_model(recipe: Recipe, texts: list[str], work_dir: Path) -> bytes:
    if recipe.tokenizer.path:
        return Tokenizer(recipe.tokenizer.path).model
    path = work_dir / "tokenizer.model"
    train_tokenizer(sorted(texts), path, vocab_size=recipe.tokenizer.vocab_size)
    return path.read_bytes()


def digest(data: bytes) -> str:
    """Return the SHA-256 of bytes."""
    return hashlib.sha256(data).hexdigest()
