"""Capital letters where sentences seem to begin: behind a pause. A guess, from times alone; no full stops are set."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from silero_like.channels import join_channels
from silero_like.subtitles import Spaced, joined, spaced_words

if TYPE_CHECKING:
    from silero_like.recognizer import Transcript

SENTENCE_PAUSE_S = 0.7
"""A pause behind which a sentence begins."""


def case_by_pauses(transcript: Transcript, lang: str) -> Transcript:
    """Return a transcript whose words begin with a capital at its start and behind pauses; "I" too, in English.

    Mandarin stays as it is. Other texts that were asked for have no times, and stay too.

    Args:
        transcript: its words have their times.
        lang: language code, "en".

    >>> from decode.words import Word
    >>> from silero_like.recognizer import Transcript
    >>> words = (Word("да", 0.1, 0.3, 1.0), Word("это", 0.4, 0.6, 1.0), Word("он", 1.4, 1.6, 1.0))
    >>> case_by_pauses(Transcript("", 2.0, "да это он", 1.0, words, "m"), "ru").text
    'Да это Он'
    """
    if lang == "zh":
        return transcript
    if transcript.channels:
        return join_channels([case_by_pauses(channel, lang) for channel in transcript.channels])
    cased: list[Spaced] = []
    for word, space in spaced_words(transcript):
        begins = not cased or word.start - cased[-1][0].end >= SENTENCE_PAUSE_S
        is_i = lang == "en" and (word.word == "i" or word.word.startswith("i'"))
        text = word.word[:1].title() + word.word[1:] if begins or is_i else word.word
        cased.append((dataclasses.replace(word, word=text), space))
    return dataclasses.replace(transcript, text=joined(cased), words=tuple(word for word, _ in cased))
