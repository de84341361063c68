"""Moonshine tiny as a teacher: soft targets for the whole training set, and texts for speech that has none.

    python -m train.moonshine recipes/en-tiny.yaml --out runs/teacher --unlabelled CORPUS/unlabelled/audiobook.jsonl
    silero-like train recipes/en-tiny.yaml --set distill.targets=runs/teacher/targets.safetensors

Moonshine (Jeffries et al., 2024, "Moonshine: Speech Recognition for Live Transcription and Voice Commands"; MIT) is an
attention model with other tokens. Of it only the encoder is used: it reads the whole corpus once, a head of
convolutions learns the recipe's tokens from its features by CTC on the student's frame grid, and what the head then
says of every frame is what the student imitates. Needs `moonshine-voice==0.0.49` (extra [peers]), whose wheel carries
the model.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from data.augment import resolve
from decode.config import BeamConfig
from decode.greedy import greedy_decode
from silero_like.audio import SAMPLE_RATE
from silero_like.decoding import BeamDecoder, GreedyDecoder
from silero_like.errors import ConfigError, SileroLikeError
from silero_like.evaluation.edits import edit_distance
from silero_like.model.config import preset
from silero_like.model.frontend import frame_mask
from silero_like.tokenizer import Tokenizer
from train.batches import load_ahead
from train.config import Recipe, load_recipe
from train.dataset import Dataset, digest, load_dataset
from train.memory import keep_freed_memory
from train.moonshine_encoder import FRAME_S, PARTS, WIDTH, Features, Row, encode
from train.targets import Key, write_soft_targets

Array = npt.NDArray[np.float32]

NAME = "Moonshine tiny (moonshine-voice 0.0.49), encoder with a CTC head"
BATCH_S = 300.0
SPEEDS = (0.85, 1.15)
MAX_DISAGREEMENT = 0.25
"""Characters by which the texts with and without a language model may differ, as a share."""


class _Block(nn.Module):
    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.norm, self.second_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.conv = nn.Conv1d(width, width, 9, padding=4, groups=width)
        self.mix, self.expand = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.project, self.dropout = nn.Linear(2 * width, width), nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        around = self.conv((self.norm(x) * mask).transpose(1, 2)).transpose(1, 2)
        x = x + self.dropout(self.mix(nn.functional.silu(around)))
        inner = self.dropout(nn.functional.silu(self.expand(self.second_norm(x))))
        left: Tensor = (x + self.dropout(self.project(inner))) * mask
        return left


class Head(nn.Module):
    """From features to CTC log-probs: four blocks of a depthwise convolution over 0.72 s and a feed-forward layer."""

    def __init__(self, n_labels: int, width: int = 320, n_blocks: int = 4, dropout: float = 0.2) -> None:
        super().__init__()
        self.norm, self.enter = nn.LayerNorm(WIDTH), nn.Linear(PARTS * WIDTH, width)
        self.blocks = nn.ModuleList(_Block(width, dropout) for _ in range(n_blocks))
        self.leave, self.dropout = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, n_labels)), nn.Dropout(dropout)

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Return float32 log-probs `(B, T, V)` of features `(B, 3 T, 288)` with `lengths` `(B,)` valid frames."""
        n_batch, n_parts, _ = features.shape
        x = self.enter(self.norm(features).reshape(n_batch, n_parts // PARTS, PARTS * WIDTH))
        mask = frame_mask(lengths, x.shape[1]).to(x.dtype)
        x = self.dropout(x) * mask
        for block in self.blocks:
            x = block(x, mask)
        log_probs: Tensor = torch.log_softmax(self.leave(x).float(), -1)
        return log_probs


def train_head(
    features: Features, rows: Sequence[Row], dev: Sequence[Row], data: Dataset, *, passes: int, seed: int
) -> Head:
    """Train a head with AdamW and a cosine, on masked and stretched features; return its averaged weights."""
    torch.manual_seed(seed)
    generator = np.random.default_rng(seed)
    head, average = Head(data.tokenizer.n_labels), Head(data.tokenizer.n_labels)
    average.load_state_dict(head.state_dict())
    batches = [batch for _ in range(passes) for batch in _batches(rows, generator)]
    warmup = min(300, 1 + len(batches) // 10)
    optimizer = torch.optim.AdamW(head.parameters(), lr=2e-3, betas=(0.9, 0.98), weight_decay=0.02, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1, (step + 1) / warmup) * 0.5 * (1 + math.cos(math.pi * step / len(batches)))
    )
    loaded = load_ahead(batches, lambda batch: (batch, *_padded(features, batch, generator)), depth=3, workers=1)
    for step, (batch, inputs, lengths) in enumerate(loaded):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            log_probs = head(inputs, lengths)
        labels = torch.tensor([token for row in batch for token in row.token_ids])
        sizes = torch.tensor([len(row.token_ids) for row in batch])
        loss = nn.functional.ctc_loss(
            log_probs.transpose(0, 1), labels, lengths, sizes, data.tokenizer.blank_id, "sum", zero_infinity=True
        )
        optimizer.zero_grad()
        (loss / len(labels)).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(head.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        decay = min(0.998, (1 + step) / (10 + step))
        with torch.no_grad():
            torch._foreach_lerp_(list(average.parameters()), list(head.parameters()), 1 - decay)
        if (step + 1) % (len(batches) // min(passes, 6)) == 0:
            print(f"step {step + 1}/{len(batches)}: dev CER {_cer(average, features, dev, data):.3f}", file=sys.stderr)
    return average.eval()


def _batches(rows: Sequence[Row], generator: np.random.Generator) -> Iterator[list[Row]]:
    """Yield one pass in batches of similar length, in random order."""
    order = np.argsort([row.n_samples + generator.uniform(-1, 1) * SAMPLE_RATE for row in rows])
    cuts: list[list[Row]] = [[]]
    for index in order:
        longest = max([row.n_samples for row in cuts[-1]] + [rows[index].n_samples])
        if longest * (len(cuts[-1]) + 1) > BATCH_S * SAMPLE_RATE and cuts[-1]:
            cuts.append([])
        cuts[-1].append(rows[index])
    for number in generator.permutation(len(cuts)):
        yield cuts[number]


def _padded(
    features: Features, rows: Sequence[Row], generator: np.random.Generator | None, speed: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Return features `(B, 3 T, 288)` and frames `(B,)`; with a generator stretched, noisy and masked."""
    values = [features.on_grid(row, generator.uniform(*SPEEDS) if generator else speed) for row in rows]
    padded = np.zeros((len(rows), max(map(len, values)), WIDTH), np.float32)
    for own, place in zip(values, padded, strict=True):
        place[: len(own)] = _masked(own, generator) if generator else own
    return torch.from_numpy(padded), torch.tensor([len(own) // PARTS for own in values])


def _masked(own: Array, generator: np.random.Generator) -> Array:
    own = own + 0.075 * generator.standard_normal(own.shape, dtype=np.float32)
    for _ in range(generator.poisson(0.6 * len(own) * FRAME_S / PARTS)):
        start, width = generator.integers(len(own)), generator.integers(1, 13)
        own[start : start + width] = 0
    for _ in range(2):
        start, width = generator.integers(WIDTH), generator.integers(40)
        own[:, start : start + width] = 0
    return own


@torch.inference_mode()
def _log_probs(head: Head, features: Features, rows: Sequence[Row], speed: float = 1.0) -> Iterator[tuple[Row, Array]]:
    """Yield the head's word on each recording played at `speed`, float32 `(T, V)`."""
    head.eval()
    ordered = sorted(rows, key=lambda row: row.n_samples)
    for start in range(0, len(ordered), 32):
        batch = ordered[start : start + 32]
        inputs, lengths = _padded(features, batch, None, speed)
        for row, log_probs, n_frames in zip(batch, head(inputs, lengths).numpy(), lengths.tolist(), strict=True):
            yield row, log_probs[:n_frames]


def _cer(head: Head, features: Features, rows: Sequence[Row], data: Dataset) -> float:
    errors = 0
    for row, log_probs in _log_probs(head, features, rows):
        heard = data.tokenizer.decode(greedy_decode(log_probs, data.tokenizer.blank_id))
        errors += edit_distance(row.text, heard)
    return errors / max(1, sum(len(row.text) for row in rows))


def write_pseudo(
    path: Path, head: Head, features: Features, rows: Sequence[Row], tokenizer: Tokenizer, lm_path: Path | None
) -> None:
    """Write a manifest of unlabelled recordings with what the head hears in them.

    Silent ones are left out, and those that with a language model would be another text (`MAX_DISAGREEMENT`).
    """
    greedy = GreedyDecoder(tokenizer.blank_id)
    decoder = BeamDecoder(tokenizer, BeamConfig(), lm_path, {}) if lm_path else greedy
    lines = []
    for row, log_probs in _log_probs(head, features, rows):
        heard, text = (
            tokenizer.decode(which.decode_parts([log_probs]).alignment.token_ids) for which in (greedy, decoder)
        )
        if text and edit_distance(heard, text) <= MAX_DISAGREEMENT * len(text):
            known = {**json.loads(row.about), "audio_filepath": row.audio_path, "text": text, "annotation": "pseudo"}
            lines.append(json.dumps(known, ensure_ascii=False) + "\n")
    path.write_text("".join(lines), encoding="utf-8")


def main() -> None:
    """Parse arguments and make the targets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("--out", type=Path, required=True, help="folder of features, head, targets and pseudo.jsonl")
    parser.add_argument("--unlabelled", nargs="*", type=Path, default=[], help="manifests without texts")
    parser.add_argument("--lm", type=Path, help="language model for the texts of what is unlabelled")
    parser.add_argument("--passes", type=int, default=10, help="of the head over the training set")
    arguments = parser.parse_args()
    keep_freed_memory()
    try:
        recipe = load_recipe(arguments.recipe)
        teach(recipe, arguments.out, arguments.unlabelled, passes=arguments.passes, lm_path=arguments.lm)
    except SileroLikeError as error:
        sys.exit(f"Error: {error}")


def teach(recipe: Recipe, out: Path, unlabelled: Sequence[Path], *, passes: int, lm_path: Path | None = None) -> None:
    """Write features, head, soft targets at every speed of the recipe, and texts of what is unlabelled, into `out`."""
    frame_s = preset(recipe.model.preset, n_labels=2, **recipe.model.overrides).frame_s
    if frame_s != FRAME_S:
        raise ConfigError(f"the head says its word every {FRAME_S} s, this recipe's model every {frame_s} s: stride 8")
    out.mkdir(parents=True, exist_ok=True)
    data = load_dataset(recipe, work_dir=out)
    plain = [line for path in unlabelled for line in _unlabelled(path)]
    known = [*(example.utterance for example in data.examples), *data.dev]
    labelled = [(utterance.audio_path, utterance.offset_s, utterance.duration_s) for utterance in known]
    features = encode([*labelled, *((path, offset_s, duration_s) for path, offset_s, duration_s, _ in plain)],
                      out / "features.npy")  # fmt: skip
    train = [
        row
        for e in data.examples
        if (row := features.row(e.utterance.audio_path, e.utterance.offset_s, text=e.text, token_ids=e.token_ids))
    ]
    dev = [
        row
        for utterance in data.dev
        if (row := features.row(utterance.audio_path, utterance.offset_s, text=data.normalizer(utterance.text)))
    ]
    extra = [row for path, offset_s, _, line in plain if (row := features.row(path, offset_s, about=line))]
    head = train_head(features, train, dev, data, passes=passes, seed=recipe.seed)
    save_file(head.state_dict(), str(out / "head.safetensors"))
    write_pseudo(out / "pseudo.jsonl", head, features, extra, data.tokenizer, lm_path)
    read = (
        (Key(os.path.relpath(row.audio_path, recipe.root), round(row.offset_s, 4), round(speed, 4)), log_probs)
        for speed in resolve(recipe.augment).speeds
        for row, log_probs in _log_probs(head, features, [*train, *extra], speed)
    )
    sha256 = digest(data.tokenizer_model)
    write_soft_targets(out / "targets.safetensors", read, teacher=NAME, tokenizer_sha256=sha256, frame_s=FRAME_S)


def _unlabelled(path: Path) -> Iterator[tuple[Path, float, float, str]]:
    """Yield recording, offset, duration and line of every row of a manifest without texts."""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
            yield (path.parent / row["audio_filepath"]).resolve(), row.get("offset", 0.0), row["duration"], line
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{path}:{number}: expected audio_filepath and duration: {error}") from error


if __name__ == "__main__":
    main()
