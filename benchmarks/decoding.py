"""Decoders side by side on the log-probs of real speech, one core: error rates and seconds of audio a core-second.

    python -m benchmarks.decoding corpus/*.dev.jsonl --lm en.bin --logprobs dev.npz
    python -m benchmarks.decoding corpus/*.dev.jsonl --lm en.bin --logprobs dev.npz --limit 100 --beam-width 100

The log-probs are computed once and kept in the file. Timed is the processor time of the search alone, each decoder
fresh: what it remembers of one utterance helps it with the next ones, as in use. pyctcdecode and flashlight-text are
measured if they are installed (pip install --no-deps pyctcdecode pygtrie flashlight-text), with the same weights, beam
and thresholds. Hotwords are rare words of the references, and others of the language model that are never said; recall
is of the former, and false alarms are words of the list that came out where they are not in the reference. At the end
stands what is asked for and what was measured of it; what hotwords cost in speed is measured anew, utterance by
utterance in turn.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.decoder_bars import check_bars
from benchmarks.flashlight import flashlight
from benchmarks.machine import describe_machine
from data.manifest import Utterance, read_manifest
from data.text import get_normalizer
from decode.config import BeamConfig
from decode.greedy import greedy_decode
from decode.ngram import read_words
from silero_like.audio import load_audio
from silero_like.bundle import BUNDLED_PATH, load_bundle
from silero_like.decoding import BeamDecoder, PyctcdecodeDecoder
from silero_like.evaluation.edits import edit_distance
from silero_like.recognizer import load
from silero_like.tokenizer import Tokenizer

Array = npt.NDArray[np.float32]
Decode = Callable[[Array], str]

MAX_COUNT = 3  # a reference's word that occurs no more often is rare
MIN_LETTERS = 5
HOTWORD_WEIGHT = 5.0


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    decoder: str
    beam_width: int
    n_hotwords: int
    audio_s_per_core_s: float
    wer: float
    cer: float
    recall: float | None
    false_alarms: int | None
    wer_by_domain: dict[str, float]


def main() -> None:
    """Parse arguments, measure, print a table and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifests", type=Path, nargs="+")
    parser.add_argument("--model", type=Path, default=BUNDLED_PATH)
    parser.add_argument("--lm", type=Path, help="language model [default: the bundle's]")
    parser.add_argument("--logprobs", type=Path, required=True, help="where the log-probs are kept")
    parser.add_argument("--limit", type=int, help="take so many utterances, evenly spread")
    parser.add_argument("--beam-width", type=int, action="append", help="repeatable; 20, 50 and 100 if none is given")
    parser.add_argument("--hotwords", type=int, action="append", help="repeatable; 0, 100 and 1000 if none is given")
    parser.add_argument("--alpha", type=float, help="[default: the bundle's, or BeamConfig's]")
    parser.add_argument("--beta", type=float)
    parser.add_argument("--decoders", nargs="*", default=["greedy", "beam", "pyctcdecode", "flashlight"])
    parser.add_argument("--json", type=Path, help="where to write the figures")
    arguments = parser.parse_args()
    bundle = load_bundle(arguments.model)
    weights = {name: value for name in ("alpha", "beta") if (value := getattr(arguments, name)) is not None}
    settings = bundle.decoder | weights
    lm_path = arguments.lm or bundle.lm_path
    if lm_path is None:
        parser.error("the bundle has no language model: give one with --lm")
    bench = Bench(bundle.tokenizer_path, lm_path, *read_speech(arguments))
    rows: list[Row] = []
    print(f"{len(bench.log_probs)} utterances, {bench.audio_s:.0f} s of audio; {lm_path}; {settings}")
    print(
        f"{'decoder':12} {'beam':>5} {'hotwords':>8} {'s/core-s':>9} {'WER':>7} {'CER':>7} {'recall':>7} {'false':>6}"
    )
    for n_hotwords in arguments.hotwords or [0, 100, 1000]:
        for beam_width in arguments.beam_width or [20, 50, 100]:
            config = BeamConfig.from_dict(settings | {"beam_width": beam_width})
            for name in arguments.decoders:
                if (name == "greedy" and rows) or (name == "flashlight" and n_hotwords):
                    continue
                if row := bench.measure(name, config, n_hotwords):
                    rows.append(row)
                    print(format_row(row), flush=True)
    widest = max(row.beam_width for row in rows)
    counts = [n for n in arguments.hotwords or [100, 1000] if n]
    shares = bench.hotword_speeds(BeamConfig.from_dict(settings | {"beam_width": widest}), counts)
    bars = check_bars([row for row in rows if row.beam_width in (1, widest)], rows, shares)
    print(f"\nat beam {widest}", *map(str, bars), sep="\n")
    if arguments.json:
        figures = {"machine": describe_machine(), "settings": settings, "audio_s": bench.audio_s}
        tables = {"bars": [asdict(bar) for bar in bars], "rows": [asdict(row) for row in rows]}
        arguments.json.write_text(json.dumps(figures | tables, indent=1) + "\n")


def read_speech(arguments: argparse.Namespace) -> tuple[list[Array], list[Utterance]]:
    """Return log-probs and rows of the manifests, computing and keeping the former if they are not kept."""
    recognizer = load(arguments.model, decoder="greedy")
    manifests = [read_manifest(path).utterances for path in arguments.manifests]
    lang = recognizer.config.lang
    utterances = [utterance for rows in manifests for utterance in rows if utterance.lang in ("", lang)]
    names = [[str(row.audio_path), row.offset_s, row.duration_s] for row in utterances]
    key = json.dumps([recognizer.config.name, *names])
    if arguments.logprobs.is_file():
        with np.load(arguments.logprobs) as kept:
            if str(kept["key"]) == key:
                return spread([kept[f"{number:06}"] for number in range(len(utterances))], utterances, arguments.limit)
    log_probs = [
        recognizer.runtime.log_probs(load_audio(row.audio_path, offset_s=row.offset_s, duration_s=row.duration_s))
        for row in utterances
    ]
    arrays = {f"{number:06}": array for number, array in enumerate(log_probs)}
    np.savez_compressed(arguments.logprobs, key=np.array(key), **arrays)  # type: ignore[arg-type]
    return spread(log_probs, utterances, arguments.limit)


def spread(
    log_probs: list[Array], utterances: list[Utterance], limit: int | None
) -> tuple[list[Array], list[Utterance]]:
    """Take so many utterances, evenly spread, so that every domain is among them."""
    n = len(utterances)
    places = [number * n // limit for number in range(limit)] if limit and limit < n else range(n)
    return [log_probs[place] for place in places], [utterances[place] for place in places]


class Bench:
    """Speech, a language model, and what is measured with them."""

    def __init__(
        self, tokenizer_path: Path, lm_path: Path, log_probs: list[Array], utterances: Sequence[Utterance]
    ) -> None:
        self.tokenizer, self.lm_path, self.log_probs = Tokenizer(tokenizer_path), lm_path, log_probs
        normalizer = get_normalizer(utterances[0].lang or "en")
        self.references = [normalizer(utterance.text).split() for utterance in utterances]
        self.domains = [utterance.domain for utterance in utterances]
        self.audio_s = sum(utterance.duration_s for utterance in utterances)
        self._words = sorted(set(read_words(lm_path)) - {"<s>", "</s>", "<unk>"})

    def measure(self, name: str, config: BeamConfig, n_hotwords: int) -> Row | None:
        """Decode everything; None if the decoder is not installed."""
        hotwords = self.choose_hotwords(n_hotwords)
        try:
            decode = self.make(name, config, dict.fromkeys(hotwords, HOTWORD_WEIGHT))
        except ImportError:
            print(f"{name}: not installed")
            return None
        start_s = time.process_time()
        texts = [decode(log_probs).split() for log_probs in self.log_probs]
        core_s = time.process_time() - start_s
        wer, by_domain = self.word_errors(texts)
        return Row(
            decoder=name,
            beam_width=1 if name == "greedy" else config.beam_width,
            n_hotwords=n_hotwords,
            audio_s_per_core_s=self.audio_s / core_s,
            wer=wer,
            cer=self.character_errors(texts),
            recall=self.recall(texts, hotwords) if n_hotwords else None,
            false_alarms=self.false_alarms(texts, hotwords) if n_hotwords else None,
            wer_by_domain=by_domain,
        )

    def hotword_speeds(self, config: BeamConfig, counts: Sequence[int]) -> dict[int, float]:
        """Return the speed with so many hotwords over that without, both measured utterance by utterance in turn."""
        lists = [self.choose_hotwords(n) for n in (0, *counts)]
        decoders = [self.make("beam", config, dict.fromkeys(words, HOTWORD_WEIGHT)) for words in lists]
        core_s = [0.0] * len(decoders)
        for log_probs in self.log_probs:
            for number, decode in enumerate(decoders):
                start_s = time.process_time()
                decode(log_probs)
                core_s[number] += time.process_time() - start_s
        return {n: core_s[0] / each for n, each in zip(counts, core_s[1:], strict=True)}

    def make(self, name: str, config: BeamConfig, hotwords: dict[str, float]) -> Decode:
        """Return what turns log_probs into text."""
        spell, blank_id = self.tokenizer.decode, self.tokenizer.blank_id
        if name == "greedy":
            return lambda log_probs: spell(greedy_decode(log_probs, blank_id))
        if name == "flashlight":
            return flashlight(self.tokenizer, self.lm_path, self._words, config)
        if name == "pyctcdecode":
            import pyctcdecode  # noqa: F401

            theirs = PyctcdecodeDecoder(self.tokenizer, config, self.lm_path, hotwords)
            return lambda log_probs: theirs.texts(log_probs)[0]
        search = BeamDecoder(self.tokenizer, config, self.lm_path, hotwords).search

        def decode(log_probs: Array) -> str:
            search.begin()
            search.step(log_probs)
            return spell(search.end()[0].token_ids)

        return decode

    def choose_hotwords(self, n: int) -> list[str]:
        """Draw words, half of them said rarely, half (or more) never; always the same."""
        letters = set("".join(self.tokenizer.pieces))
        counts = Counter(word for words in self.references for word in words)
        usable = [word for word in self._words if len(word) >= MIN_LETTERS and letters.issuperset(word)]
        rare = [word for word in sorted(counts) if counts[word] <= MAX_COUNT and len(word) >= MIN_LETTERS]
        generator = np.random.default_rng(0)
        said = [rare[place] for place in generator.permutation(len(rare))[: n // 2]]
        never = [word for word in usable if word not in counts]
        return said + [never[place] for place in generator.permutation(len(never))[: n - len(said)]]

    def word_errors(self, texts: list[list[str]]) -> tuple[float, dict[str, float]]:
        """Return the word error rate, in all and by domain."""
        errors: dict[str, int] = defaultdict(int)
        words: dict[str, int] = defaultdict(int)
        for domain, reference, text in zip(self.domains, self.references, texts, strict=True):
            errors[domain] += edit_distance(reference, text)
            words[domain] += len(reference)
        return sum(errors.values()) / sum(words.values()), {name: errors[name] / words[name] for name in errors}

    def character_errors(self, texts: list[list[str]]) -> float:
        """Return the character error rate, spaces included."""
        pairs = [(list(" ".join(a)), list(" ".join(b))) for a, b in zip(self.references, texts, strict=True)]
        return sum(edit_distance(a, b) for a, b in pairs) / sum(len(a) for a, _ in pairs)

    def recall(self, texts: list[list[str]], hotwords: Sequence[str]) -> float:
        """Return the share of the hotwords said that came out, by utterance."""
        said = [(Counter(a)[word], Counter(b)[word]) for a, b, word in self._pairs(texts, hotwords)]
        return sum(min(pair) for pair in said) / max(1, sum(a for a, _ in said))

    def false_alarms(self, texts: list[list[str]], hotwords: Sequence[str]) -> int:
        """Return how many hotwords came out that were not said."""
        return sum(max(0, Counter(b)[word] - Counter(a)[word]) for a, b, word in self._pairs(texts, hotwords))

    def _pairs(self, texts: list[list[str]], hotwords: Sequence[str]) -> list[tuple[list[str], list[str], str]]:
        listed = set(hotwords)
        both = zip(self.references, texts, strict=True)
        return [(a, b, word) for a, b in both for word in listed.intersection((*a, *b))]


def format_row(row: Row) -> str:
    """Return one line of the table."""
    recall = "" if row.recall is None else f"{row.recall:7.1%} {row.false_alarms:6}"
    return (
        f"{row.decoder:12} {row.beam_width:5} {row.n_hotwords:8} {row.audio_s_per_core_s:9.0f} {row.wer:7.2%} "
        f"{row.cer:7.2%} {recall}"
    )


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
