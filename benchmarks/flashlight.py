"""flashlight-text's lexicon search with our settings, for `benchmarks.decoding`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from decode.config import BeamConfig
from decode.priors import take_back
from silero_like.tokenizer import Tokenizer

Array = npt.NDArray[np.float32]
FLASHLIGHT_TOKENS = 20  # it tries so many in every frame, as it has no threshold for them


def flashlight(tokenizer: Tokenizer, lm_path: Path, words: Sequence[str], config: BeamConfig) -> Callable[[Array], str]:
    """Return flashlight-text's lexicon search, which finds only words of the language model."""
    from flashlight.lib.text.decoder import (
        CriterionType,
        LexiconDecoder,
        LexiconDecoderOptions,
        SmearingMode,
        Trie,
    )
    from flashlight.lib.text.decoder.kenlm import KenLM
    from flashlight.lib.text.dictionary import Dictionary

    dictionary = Dictionary()
    for word in (*words, "<unk>"):
        dictionary.add_entry(word)
    model: Any = KenLM(str(lm_path), dictionary)
    trie: Any = Trie(tokenizer.n_labels, tokenizer.blank_id)
    start = model.start(False)
    for word in words:
        token_ids = tokenizer.encode(word)
        if 0 not in token_ids:
            number = dictionary.get_index(word)
            trie.insert(token_ids, number, model.score(start, number)[1])
    trie.smear(SmearingMode.MAX)
    options = LexiconDecoderOptions(
        config.beam_width,
        FLASHLIGHT_TOKENS,
        -config.beam_prune_log_prob,
        config.alpha * log(10.0),  # its language model gives log10
        config.beta,
        -np.inf,
        0.0,
        True,
        CriterionType.CTC,
    )
    search: Any = LexiconDecoder(options, trie, model, 0, tokenizer.blank_id, dictionary.get_index("<unk>"), [], False)

    def decode(log_probs: npt.NDArray[np.floating]) -> str:
        if config.prior_weight:
            log_probs = take_back(log_probs.astype(np.float64), np.array(config.log_priors), config.prior_weight)
        rows = np.ascontiguousarray(log_probs, np.float32)
        found = search.decode(rows.ctypes.data, *rows.shape)
        return " ".join(dictionary.get_entry(number) for number in found[0].words if number >= 0)

    return decode
