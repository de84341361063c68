"""Numbers, dates, money and abbreviations in words, as they would be said: a step before normalisation.

It is no part of the pipelines of `data.text`, which models and evaluations are scored by: those stay as they are. It is
for texts that come with digits, at import (``silero-like data import --verbalize``). One function a language, with a
version of its own, raised whenever any text comes out differently. What is written leaves open how it was said; each
module tells how it decides, and what it does not try.
"""

from __future__ import annotations

from data.text import Normalizer
from data.verbalize_en import verbalize_en
from data.verbalize_ru import verbalize_ru
from data.verbalize_zh import verbalize_zh
from silero_like.errors import ConfigError

VERBALIZERS = {
    "en": Normalizer("en-words", 1, verbalize_en),
    "ru": Normalizer("ru-words", 1, verbalize_ru),
    "zh": Normalizer("zh-words", 1, verbalize_zh),
}
"""Language -> what writes its numbers in words."""


def get_verbalizer(lang: str) -> Normalizer:
    """Return the verbaliser of a language code, "zh-CN" as well as "zh".

    Raises:
        ConfigError: an unknown language.

    >>> get_verbalizer("en")("Dr. Lee paid $5.50 at 10:30.")
    'Doctor Lee paid five dollars and fifty cents at ten thirty.'
    >>> get_verbalizer("zh-CN").label
    'zh-words-1'
    """
    verbalizer = VERBALIZERS.get(lang.split("-")[0])
    if verbalizer is None:
        known = ", ".join(VERBALIZERS)
        raise ConfigError(f"no words for numbers in language {lang!r}: expected {known}: name it with --lang")
    return verbalizer
