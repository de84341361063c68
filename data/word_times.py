"""When each word of an utterance is said, whose text is known."""

from __future__ import annotations

import numpy as np

from data.manifest import Utterance
from data.text import get_normalizer
from decode.align_long import align_long
from decode.words import Word, group_words
from silero_like.audio import SAMPLE_RATE, load_audio
from silero_like.errors import AudioError
from silero_like.recognizer import Recognizer


class WordAligner:
    """Finds the words of utterances whose text is known.

    Args:
        recognizer: its model and tokens are used; its decoder is not.
    """

    def __init__(self, recognizer: Recognizer) -> None:
        self._runtime, self._tokenizer = recognizer.runtime, recognizer.tokenizer
        self._config = recognizer.config
        self._normalizer = get_normalizer(recognizer.config.normalizer)

    def words(self, utterance: Utterance) -> list[Word]:
        """Return the words of an utterance with their times in its recording.

        Raises:
            AudioError: it cannot be read, or is too short for its text.
        """
        waveform = load_audio(utterance.audio_path, offset_s=utterance.offset_s, duration_s=utterance.duration_s)
        empty = np.zeros((0, self._config.n_labels), np.float32)
        log_probs = np.concatenate([empty, *self._runtime.stream_log_probs([waveform])])
        token_ids = self._tokenizer.encode(self._normalizer(utterance.text))
        try:
            alignment = align_long(log_probs, token_ids, self._config.blank_id)
        except ValueError as error:
            raise AudioError(
                f"{utterance.audio_path}: at {utterance.offset_s:.2f} s: {len(waveform) / SAMPLE_RATE:.2f} s of audio "
                f"are too short for the text {utterance.text[:40]!r}: correct the row"
            ) from error
        pieces = [self._tokenizer.pieces[token_id] for token_id in alignment.token_ids]
        return group_words(pieces, alignment, self._config.frame_s, utterance.offset_s)
