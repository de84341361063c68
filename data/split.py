"""Training, dev and test parts of manifests that share no speaker, and keep their speakers when data is added."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from data.manifest import Utterance, manifest_writer
from data.summary import Summary, good_rows
from silero_like.errors import ConfigError

KEYS: dict[str, Callable[[Utterance], str]] = {
    "speaker": lambda utterance: utterance.speaker,
    "recording": lambda utterance: str(utterance.audio_path),
    "text": lambda utterance: "".join(filter(str.isalnum, utterance.text.casefold())),
}
"""What the parts have nothing of in common -> how an utterance shows it."""


@dataclass(frozen=True, kw_only=True)
class Shares:
    """How keys are dealt out."""

    dev: float
    """Share of the keys that go to the dev part, from 0."""
    test: float
    """The same for the test part."""
    seed: int = 0
    """Another seed deals otherwise."""

    def __post_init__(self) -> None:
        if not (self.dev >= 0 and self.test >= 0 and 0 < self.dev + self.test < 1):
            raise ConfigError(
                f"dev {self.dev}, test {self.test}: expected shares that are together above 0 and below 1"
            )

    def part(self, key: str) -> str:
        """Return "train", "dev" or "test": by the key's hash alone, so it stays, whatever else there is.

        >>> Shares(dev=0.1, test=0.1).part("librispeech-103")
        'train'
        """
        digest = hashlib.sha256(f"{self.seed}\0{key}".encode()).digest()
        position = int.from_bytes(digest[:8], "big") / 2**64
        return "test" if position < self.test else "dev" if position < self.test + self.dev else "train"


@dataclass(frozen=True)
class Part:
    """What a part got."""

    path: Path
    summary: Summary
    keys: set[int]
    """Hashes of its speakers or other keys."""


def split_manifest(manifest: Path, out_dir: Path, shares: Shares, by: str) -> tuple[dict[str, Part], Summary]:
    """Write ``NAME.train.jsonl``, ``NAME.dev.jsonl`` and ``NAME.test.jsonl``, all or none.

    Rows without a key, whose speaker nobody knows, go to the training part.

    Args:
        manifest: of any length: its rows pass one by one.
        out_dir: where the parts go.
        shares: how large they are; a share of 0 makes no file.
        by: one of `KEYS`.

    Returns:
        the parts by name, and what became of all rows.

    Raises:
        ConfigError: no row has a key.
        ManifestError: the manifest cannot be read.
    """
    names = [name for name, share in (("train", 1), ("dev", shares.dev), ("test", shares.test)) if share]
    parts = {name: Part(out_dir / f"{manifest.stem}.{name}.jsonl", Summary(), set()) for name in names}
    whole = Summary()
    with contextlib.ExitStack() as stack:
        writers = {name: stack.enter_context(manifest_writer(part.path)) for name, part in parts.items()}
        for utterance in good_rows(manifest, whole):
            key = KEYS[by](utterance)
            name = shares.part(key) if key else "train"
            writers[name](utterance)
            whole.keep(utterance)
            parts[name].summary.keep(utterance)
            if key:
                parts[name].keys.add(hash(key))
        if not any(part.keys for part in parts.values()):
            raise ConfigError(f"{manifest}: no row names its {by}: use --by recording, or name speakers at import")
    return parts, whole
