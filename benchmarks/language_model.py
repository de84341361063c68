"""Language models: our estimator beside KenLM's lmplz, and how long models take to load.

    python -m benchmarks.language_model corpus/lm/en.txt.gz --order 3 --order 5
    python -m benchmarks.language_model corpus/lm/en.txt.gz --order 4 --prune "0 0 1" --memory-mb 256

Both estimate a model of the same normalised text in processes of their own, one after the other; lmplz only if it is on
the PATH. Time is processor time of a process and its children, as other work on the machine changes it little; memory
is the peak of its resident set, in which the files that our estimator maps into memory count. The largest difference of
any log-probability and back-off is printed, too. Then the model is loaded by KenLM from ARPA and from both binaries.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import describe_machine
from lm.arpa import read_arpa
from lm.binary import write_binary
from lm.corpus import normalized_texts
from lm.model import WORD_BITS, Ints, Model, word_columns
from lm.perplexity import load_kenlm

OURS = """
import sys
from lm.arpa import write_arpa
from lm.corpus import read_corpus
from lm.kneser_ney import estimate
text, output, order, memory_mb, *prune = sys.argv[1:]
with open(text, encoding="utf-8") as file:
    corpus = read_corpus(line.rstrip() for line in file)
found = estimate(corpus, int(order), prune=[int(count) for count in prune], memory_mb=int(memory_mb))
write_arpa(output, found.model)
"""


def main() -> None:
    """Parse arguments, measure, print a table and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", type=Path)
    parser.add_argument("--order", type=int, action="append", help="repeatable; 3 if none is given")
    parser.add_argument("--prune", default="0", help='counts by order: "0 0 1"')
    parser.add_argument("--memory-mb", type=int, default=1024)
    parser.add_argument("--lang", default="en")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder) / "text.txt"
        lines = [line for line in normalized_texts([arguments.text], arguments.lang, print) if line]
        text.write_text("\n".join(lines) + "\n", encoding="utf-8")
        print(f"{sum(len(line.split()) for line in lines)} words in {len(lines)} lines")
        rows = [
            row
            for order in arguments.order or [3]
            for row in measure(text, order, arguments.prune.split()[:order], arguments.memory_mb)
        ]
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": describe_machine(), "rows": rows}, indent=1) + "\n")


def measure(text: Path, order: int, prune: list[str], memory_mb: int) -> list[dict[str, Any]]:
    """Estimate with both, compare, and load."""
    folder = text.parent
    ours, theirs = folder / "ours.arpa", folder / "theirs.arpa"
    rows = [run("silero-like", [sys.executable, "-c", OURS, *map(str, (text, ours, order, memory_mb)), *prune])]
    if shutil.which("lmplz"):
        command = ["lmplz", "-o", str(order), "-S", f"{memory_mb}M", "-T", str(folder), "--prune", *prune]
        rows.append(run("lmplz", [*command, "--text", str(text), "--arpa", str(theirs)]))
    for row in rows:
        row |= {"order": order, "prune": " ".join(prune), "memory_mb": memory_mb}
        print(f"order {order}, {row['name']:12} {row['cpu_s']:7.1f} s  {row['peak_mb']:7.0f} MB")
    model = read_arpa(ours)
    rows[0]["ngrams"] = [len(grams) for grams in model.orders]
    print(f"  n-grams {rows[0]['ngrams']}")
    if len(rows) > 1:
        rows[1]["largest_difference"] = largest_difference(model, read_arpa(theirs))
        print(f"  largest difference to lmplz {rows[1]['largest_difference']:.1e}")
    return [*rows, *loading(model, ours)]


def run(name: str, command: list[str]) -> dict[str, Any]:
    """Run a command to its end; return its processor time and peak memory."""
    with open(os.devnull, "w") as nowhere:
        process = subprocess.Popen(command, stderr=nowhere)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{name} failed: {' '.join(command)}")
    return {"name": name, "cpu_s": usage.ru_utime + usage.ru_stime, "peak_mb": usage.ru_maxrss / 1024}


def largest_difference(first: Model, second: Model) -> float:
    """Return the largest difference of a number of two models; infinite when they list different n-grams."""
    if sorted(first.words) != sorted(second.words) or len(first.orders) != len(second.orders):
        return float("inf")
    ids = {word: number for number, word in enumerate(first.words)}
    places = new_ids = np.array([ids[word] for word in second.words])
    worst = 0.0
    for n, (ours, theirs) in enumerate(zip(first.orders, second.orders, strict=True), start=1):
        if n > 1:
            places = moved_keys(second, n, new_ids, places)
            by_key = np.argsort(places)
            if not np.array_equal(places[by_key], ours.keys):
                return float("inf")
            places = np.argsort(by_key)
        for a, b in ((ours.log_probs, theirs.log_probs), (ours.backoffs, theirs.backoffs)):
            worst = max(worst, float(np.abs(a[places] - b).max(initial=0.0)))
    return worst


def moved_keys(model: Model, n: int, new_ids: Ints, places: Ints) -> Ints:
    """Return the keys of a model's n-grams with other word ids, the order below being at `places`."""
    keys = model.orders[n - 1].keys
    first = word_columns(model.orders, n, np.arange(len(keys)))[0]
    moved: Ints = places[keys >> WORD_BITS] << WORD_BITS | new_ids[first]
    return moved


def loading(model: Model, arpa: Path) -> list[dict[str, Any]]:
    """Time KenLM loading the model, and the writing of the binaries."""
    rows = []
    for name in ("arpa", "probing", "trie"):
        path = arpa if name == "arpa" else arpa.with_suffix(f".{name}")
        written_s = 0.0 if name == "arpa" else cpu_s(partial(write_binary, path, model, name))
        loaded_s = cpu_s(partial(load_kenlm, path))
        rows.append({"name": f"load {name}", "cpu_s": loaded_s, "write_s": written_s, "mb": path.stat().st_size / 1e6})
        print(f"  {name:8} {rows[-1]['mb']:8.1f} MB  written in {written_s:6.2f} s  loaded in {loaded_s:8.4f} s")
    return rows


def cpu_s(work: Callable[[], object]) -> float:
    """Return the processor time of a call."""
    start = time.process_time()
    work()
    return time.process_time() - start


if __name__ == "__main__":
    main()
