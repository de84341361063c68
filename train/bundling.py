"""What a checkpoint says of itself when it becomes a bundle."""

from __future__ import annotations

from typing import Any

from silero_like.model.config import from_dict, preset_name
from silero_like.model.summary import summarize
from silero_like.model_card import model_card
from train.checkpoint import Checkpoint


def bundle_arguments(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return the keyword arguments of `export_bundle` for a checkpoint's averaged weights."""
    recipe, provenance, progress = checkpoint.recipe, checkpoint.provenance, checkpoint.progress
    config = from_dict(checkpoint.model_config)
    training = {
        **{key: value for key, value in provenance.items() if key not in ("lang", "normalizer")},
        "steps": progress.step,
        "hours_seen": round(progress.audio_s / 3600, 1),
        "train_minutes": round(progress.train_s / 60, 1),
        "recipe": {key: value for key, value in recipe.items() if key != "card"},
    }
    card = model_card(
        recipe["name"],
        lang=provenance["lang"],
        model=summarize(config),
        training=training,
        metrics=checkpoint.metrics,
        **recipe["card"],
    )
    return {
        "weights": checkpoint.average,
        "model_config": checkpoint.model_config,
        "tokenizer_model": checkpoint.tokenizer,
        "name": recipe["name"],
        "preset": preset_name(config),
        "lang": provenance["lang"],
        "normalizer": provenance["normalizer"],
        "training": training,
        "metrics": checkpoint.metrics,
        "model_card": card,
    }
