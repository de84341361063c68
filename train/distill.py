"""Teach a small model what a larger one says: `silero-like distill TEACHER RECIPE`.

The teacher, a checkpoint or bundle of any size, reads every training utterance once at each speed of the recipe,
without noise; its best labels of every frame (`train.targets`) are then learned beside the transcripts, by a student
that hears the same speech augmented. Teacher and student share tokenizer and frame grid.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import torch

from data.augment import resolve
from data.manifest import Utterance
from data.text import get_normalizer
from silero_like.errors import ConfigError
from silero_like.model.config import from_dict, preset
from silero_like.model.encoder import Recognizer
from train.config import Recipe
from train.dataset import digest, load_dataset
from train.evaluation import all_log_probs
from train.start import Source, read_source
from train.targets import Key, SoftTargets, write_soft_targets


def prepare(teacher: str, recipe: Recipe) -> Recipe:
    """Let the teacher read the recipe's training speech; return the recipe that learns from it.

    Targets that lie in the output folder are taken again if they are this teacher's, for this speech and these speeds.

    Raises:
        ConfigError: no such teacher, or one of another frame grid or language.
    """
    source = read_source(teacher)
    check_teacher(teacher, source, recipe)
    output_dir = Path(recipe.output_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    tokenizer_path = output_dir / "teacher-tokenizer.model"
    tokenizer_path.write_bytes(source.tokenizer)
    path = output_dir / "targets.safetensors"
    recipe = dataclasses.replace(
        recipe,
        tokenizer=dataclasses.replace(recipe.tokenizer, path=str(tokenizer_path)),
        distill=dataclasses.replace(recipe.distill, targets=str(path)),
    )
    data = load_dataset(recipe, source.tokenizer, work_dir=output_dir)
    utterances = [example.utterance for example in data.examples]
    speeds = resolve(recipe.augment).speeds
    name = f"{teacher} {digest(b''.join(value.numpy().tobytes() for value in source.weights.values()))[:16]}"
    if not _is_done(path, name, utterances, speeds, recipe.root):
        read = _read(_model(source), utterances, speeds, recipe.root)
        frame_s = from_dict(source.model_config).frame_s
        write_soft_targets(path, read, teacher=name, tokenizer_sha256=digest(source.tokenizer), frame_s=frame_s)
    return recipe


def check_teacher(teacher: str, source: Source, recipe: Recipe) -> None:
    """See that a teacher can teach the recipe's model.

    Raises:
        ConfigError: it has another frame grid or language.
    """
    label = get_normalizer(recipe.data.lang).label
    if source.normalizer != label:
        raise ConfigError(
            f"{teacher} writes text normalised by {source.normalizer}, this recipe's data.lang gives {label}: "
            "take a teacher of that language"
        )
    theirs = from_dict(source.model_config).frame_s
    ours = preset(recipe.model.preset, n_labels=2, **recipe.model.overrides).frame_s
    if theirs != ours:
        raise ConfigError(
            f"{teacher} has a frame every {1000 * theirs:.0f} ms, the student one every {1000 * ours:.0f} ms: "
            "give both the same model.overrides.stride"
        )


def _is_done(path: Path, teacher: str, utterances: list[Utterance], speeds: tuple[float, ...], root: Path) -> bool:
    if not path.exists():
        return False
    targets = SoftTargets(path, root)
    return targets.teacher == teacher and all(
        Key.of(utterance, speed, root) in targets for utterance in utterances for speed in speeds
    )


def _model(source: Source) -> Recognizer:
    model = Recognizer(from_dict(source.model_config))
    model.load_state_dict(source.weights)
    return model.to("cuda" if torch.cuda.is_available() else "cpu").eval()


def _read(
    model: Recognizer, utterances: list[Utterance], speeds: tuple[float, ...], root: Path
) -> Iterator[tuple[Key, np.ndarray]]:
    """Yield the teacher's log-probs of every utterance at every speed, none of unreadable ones; tell how far it is."""
    total = len(utterances) * len(speeds)
    with click.progressbar(length=total, label="teacher", file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:
        for speed in speeds:
            unread = {Key.of(utterance, speed, root) for utterance in utterances}
            for utterance, log_probs in all_log_probs(model, utterances, speed=speed):
                key = Key.of(utterance, speed, root)
                unread.discard(key)
                yield key, log_probs
                bar.update(1)
            nothing = np.zeros((0, model.config.n_labels), np.float32)
            yield from ((key, nothing) for key in sorted(unread, key=str))
