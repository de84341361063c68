"""KenLM's own programs, for who has them on the PATH: lmplz estimates, build_binary makes binaries."""

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lm.binary import QUANTIZED_BITS
from lm.corpus import Corpus, Progress, corpus_text, no_progress
from lm.kneser_ney import FALLBACK_DISCOUNTS, check_pruning
from lm.model import Ints, LanguageModelError


def run_lmplz(
    corpus: Corpus,
    output: Path,
    order: int,
    *,
    prune: Sequence[int] = (),
    keep_words: Ints | None = None,
    memory_mb: int = 1024,
    progress: Progress = no_progress,
) -> list[str]:
    """Estimate a model with lmplz and write it as ARPA; arguments as of ``lm.kneser_ney.estimate``.

    Returns:
        what lmplz says on orders for which it falls back to fixed discounts.

    Raises:
        LanguageModelError: lmplz is not on the PATH, or fails, with its last words.
    """
    command = [
        find_program("lmplz"),
        "--order",
        str(order),
        "--memory",
        f"{memory_mb}M",
        "--temp_prefix",
        tempfile.gettempdir(),
    ]
    command += ["--prune", *map(str, check_pruning(prune, order))]
    command += ["--discount_fallback", *map(str, FALLBACK_DISCOUNTS), "--arpa", str(output)]
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile("w+") as log:
        if keep_words is not None:
            words = Path(folder) / "words.txt"
            words.write_text("\n".join(np.array(corpus.words, object)[keep_words]), encoding="utf-8")
            command += ["--limit_vocab_file", str(words)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=log, encoding="utf-8") as process:
            assert process.stdin is not None
            n_done = 0
            try:
                for text in corpus_text(corpus):
                    process.stdin.write(text)
                    n_done += len(text)
                    progress("feeding lmplz", n_done, 0)
                process.stdin.close()
            except BrokenPipeError:
                pass  # its exit code tells
            progress("waiting for lmplz", 0, 0)
        log.seek(0)
        said = log.read().splitlines()
    if process.returncode:
        raise LanguageModelError(f"lmplz failed (exit code {process.returncode}): {' '.join(said[-3:])}")
    return [line for line in said if "fallback discounts" in line]


def run_build_binary(arpa: Path, output: Path, structure: str) -> None:
    """Turn an ARPA file into a KenLM binary, as ``lm.binary.write_binary`` does.

    Raises:
        LanguageModelError: build_binary is not on the PATH, or fails, with its last words.
    """
    bits = ["-q", str(QUANTIZED_BITS), "-b", str(QUANTIZED_BITS)] if structure == "trie" else []
    command = [
        find_program("build_binary"),
        "-T",
        f"{tempfile.gettempdir()}/",
        *bits,
        structure,
        str(arpa),
        str(output),
    ]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    if process.returncode:
        said = " ".join(process.stderr.strip().splitlines()[-3:])
        raise LanguageModelError(f"build_binary failed (exit code {process.returncode}): {said}")


def find_program(name: str) -> str:
    """Return the path of one of KenLM's programs.

    Raises:
        LanguageModelError: it is not on the PATH.
    """
    path = shutil.which(name)
    if path is None:
        raise LanguageModelError(f"{name} is not on the PATH: install KenLM's programs, or leave out --estimator lmplz")
    return path
