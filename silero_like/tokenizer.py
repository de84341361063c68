"""Text to token ids and back: sentencepiece over text that ``data.text`` has already normalised.

The CTC blank is not a piece. It is the label after the last one, so a model of ``vocab_size`` pieces has
``vocab_size + 1`` labels.
"""

import io
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import sentencepiece

from decode.words import WORD_START
from silero_like.errors import BundleError, ConfigError
from silero_like.writers import write_atomically

MAX_SENSIBLE_PIECES = 1000
MANY_TOKENS = 10000
MODEL_TYPES = ("bpe", "unigram")
MAX_LINE_BYTES = 1 << 20  # sentencepiece drops longer lines without a word; its default is 4192
# The normaliser's name as the model file stores it (protobuf field 1, 8 bytes). It stands behind the pieces, so a
# file cut between two pieces, which sentencepiece itself loads happily, lacks it too.
IDENTITY_FIELD = b"\x0a\x08identity"


class Tokenizer:
    """Convert normalised text to token ids and back.

    Args:
        model: path of a ``tokenizer.model`` file, or its bytes.

    Attributes:
        model: the model file's bytes; ``Tokenizer(tokenizer.model)`` makes an equal one.
        pieces: sentencepiece's pieces in id order; "▁" opens a word and piece 0 is ``<unk>``.
        vocab_size: number of pieces.
        blank_id: the CTC blank, the last label; equal to ``vocab_size``.
        n_labels: width of ``log_probs``; ``vocab_size + 1``.

    Raises:
        BundleError: the file is missing, damaged, cut short, or was trained with a normaliser of sentencepiece's own.
    """

    def __init__(self, model: str | Path | bytes) -> None:
        name = "tokenizer bytes" if isinstance(model, bytes) else str(model)
        self.model = model if isinstance(model, bytes) else _read(Path(model))
        self._processor = _load(self.model, name)
        self.vocab_size: int = self._processor.get_piece_size()
        self.pieces: tuple[str, ...] = tuple(self._processor.id_to_piece(i) for i in range(self.vocab_size))
        self.blank_id = self.vocab_size
        self.n_labels = self.vocab_size + 1

    def encode(self, text: str) -> list[int]:
        """Return the token ids of a normalised text; a character never seen in training becomes id 0, ``<unk>``.

        Id 0 decodes to " ⁇ ", so a transcript shows where it stands.
        """
        return [int(i) for i in self._processor.encode(text)]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of token ids (without blanks); ``decode(encode(text)) == text`` for normalised text.

        Raises:
            ValueError: an id is negative or not below ``vocab_size``.
        """
        token_ids = [int(i) for i in ids]
        for token_id in sorted(set(token_ids)):
            if not 0 <= token_id < self.vocab_size:
                hint = (
                    "that is the blank: collapse the labels first" if token_id == self.blank_id else "wrong tokenizer?"
                )
                raise ValueError(f"expected token ids from 0 to {self.vocab_size - 1}, got {token_id}: {hint}")
        return " ".join(str(self._processor.decode(part)) for part in self._passages(token_ids))

    def _passages(self, token_ids: list[int]) -> Iterator[list[int]]:
        """Cut where words start: sentencepiece takes a hundred bytes a token, and ten hours have 250,000."""
        start = 0
        for at in range(MANY_TOKENS, len(token_ids)):
            if at - start >= MANY_TOKENS and self.pieces[token_ids[at]].startswith(WORD_START):
                yield token_ids[start:at]
                start = at
        yield token_ids[start:]


def train_tokenizer(
    texts: Iterable[str], output_path: str | Path, *, vocab_size: int, model_type: str = "bpe"
) -> Tokenizer:
    """Train a tokenizer, write it to ``output_path`` (whole or not at all) and return it.

    The same texts in the same order give the same bytes. Every character of the texts becomes a piece, so none of
    them is unknown later; Mandarin therefore needs more pieces than it has different characters.

    Args:
        texts: normalised lines; blank ones are passed over.
        output_path: the model file; its folder is made when it does not exist.
        vocab_size: number of pieces, ``<unk>`` included and the blank not. Above 1,000 there is a ``UserWarning``,
            unless half of them or more are characters.
        model_type: "bpe" or "unigram".

    Raises:
        ConfigError: no text, too little of it for ``vocab_size``, or more characters than ``vocab_size`` can hold.
    """
    if model_type not in MODEL_TYPES:
        raise ConfigError(f"expected a model_type among {', '.join(MODEL_TYPES)}, got {model_type!r}")
    tokenizer = Tokenizer(_train(texts, vocab_size, model_type))
    n_characters = sum(len(piece) == 1 for piece in tokenizer.pieces)
    if vocab_size > max(MAX_SENSIBLE_PIECES, 2 * n_characters):
        warnings.warn(
            f"{vocab_size} pieces: above {MAX_SENSIBLE_PIECES} the softmax over labels grows at every 80 ms frame "
            "(8x stride) and rare pieces are never learned on small data; 128 to 512 suit alphabetic languages",
            stacklevel=2,
        )
    write_atomically(Path(output_path), tokenizer.model)
    return tokenizer


def _train(texts: Iterable[str], vocab_size: int, model_type: str) -> bytes:
    """Run sentencepiece's trainer in memory; its own messages are hidden, its errors translated."""
    options: dict[str, Any] = {
        "vocab_size": vocab_size,
        "model_type": model_type,
        "normalization_rule_name": "identity",
        "character_coverage": 1.0,
        "unk_id": 0,
        "bos_id": -1,
        "eos_id": -1,
        "pad_id": -1,
        "max_sentence_length": MAX_LINE_BYTES,
        "num_threads": 1,
        "minloglevel": 2,
    }
    lines = list(_lines(texts))  # before the trainer, which would hide an error that the caller's iterator raises
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(lines), model_writer=model, **options)
    except RuntimeError as error:
        raise ConfigError(_explain(str(error), vocab_size)) from error
    return model.getvalue()


def _lines(texts: Iterable[str]) -> Iterator[str]:
    """Yield the lines that hold something, refusing one that sentencepiece would drop unseen."""
    for text in texts:
        if len(text.encode()) > MAX_LINE_BYTES:
            raise ConfigError(f"expected lines up to {MAX_LINE_BYTES} bytes, got one of {len(text.encode())}: split it")
        if text.strip():
            yield text


def _explain(error: str, vocab_size: int) -> str:
    """Say what sentencepiece's error means for the caller."""
    if "sentences_.empty()" in error:
        return "no text to train a tokenizer on: every line was empty after normalisation"
    if found := re.search(r"set it to a value <= (\d+)", error):
        return f"the text is too small for {vocab_size} pieces, it holds {found[1]}: lower vocab_size or add text"
    if found := re.search(r"smaller than required_chars\. \d+ vs (\d+)", error):
        return f"the text needs at least {found[1]} pieces (its characters), got vocab_size {vocab_size}: raise it"
    return f"sentencepiece could not train {vocab_size} pieces: {error}"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path}: cannot read the tokenizer ({error.strerror})") from error


def _load(model: bytes, name: str) -> sentencepiece.SentencePieceProcessor:
    processor = sentencepiece.SentencePieceProcessor()
    try:
        processor.load_from_serialized_proto(model)
    except RuntimeError as error:
        raise BundleError(f"{name}: not a sentencepiece model, or a damaged one: restore or retrain it") from error
    if IDENTITY_FIELD not in model:
        raise BundleError(
            f"{name}: cut short, or trained with a normaliser other than identity: "
            "restore it or retrain it with `silero-like tokenizer train`"
        )
    return processor
