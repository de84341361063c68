"""KenLM's binary formats, written without KenLM: loaded by mapping the file into memory, so at once.

* ``probing``: hash tables; the fastest to query, 24 bytes an n-gram (18 in the highest order).
* ``trie``: sorted and bit-packed, numbers rounded to 256 values an order ("trie -q 8 -b 8" of build_binary); about 7
  bytes an n-gram (3 in the highest order), a little slower.

The layouts are those of KenLM's lm/binary_format.cc, vocab.cc, search_hashed.cc, trie.cc and quantize.cc, version 5, on
little-endian machines. Two backs-off of zero differ in their sign bit: -0.0 says that no longer n-gram has this one as
its context, so that a decoder's state can be shorter.
"""

import struct
from pathlib import Path

import numpy as np

from lm.files import replacing
from lm.model import WORD_BITS, WORD_MASK, Floats, Ints, LanguageModelError, Model, NGrams, blocks

MAGIC = b"mmap lm http://kheafield.com/code format version 5\n\0\0"
STRUCTURES = {"probing": (0, 0), "trie": (3, 1)}  # KenLM's number of the model type, version of its search
MODEL_TYPES = ("probing", "probing with rest costs", "trie", "quantized trie", "array trie", "quantized array trie")
BUCKETS_AN_ENTRY = 1.5
QUANTIZED_BITS = 8
QUANTIZER_VERSION = 2
HASH_FACTORS = (np.uint64(8978948897894561157), np.uint64(17894857484156487943))
MURMUR_FACTOR, MURMUR_SHIFT = 0xC6A4A7935BD1E995, 47
MASK64 = 2**64 - 1


def write_binary(path: str | Path, model: Model, structure: str) -> None:
    """Write a model of order 2 or more, whole or not at all.

    Args:
        path: the file.
        model: the model; ``trie`` renumbers its words, but changes nothing in it.
        structure: "probing" or "trie".

    Raises:
        LanguageModelError: a model of words only, which KenLM does not load, or one too large for a trie.
    """
    if len(model.orders) < 2:
        raise LanguageModelError("KenLM's binary formats hold models of order 2 or more: write .arpa")
    hashes = np.array([_murmur_hash(word.encode()) for word in model.words], np.uint64)
    write = _probing if structure == "probing" else _trie
    words, parts = write(model, hashes)
    with replacing(Path(path)) as file:
        file.write(_header(model, structure))
        for part in parts:
            file.write(part)
        file.write("".join(f"{word}\0" for word in words).encode())


def read_binary_counts(path: str | Path) -> tuple[str, list[int]] | None:
    """Return the structure and the n-gram counts of a KenLM binary; None if the file is none.

    Raises:
        LanguageModelError: a binary without a whole head.
    """
    with Path(path).open("rb") as file:
        data = file.read(512)
    if not data.startswith(MAGIC):
        return None
    at = _align(len(MAGIC)) + 32
    try:
        order, model_type = data[at], struct.unpack_from("<I", data, at + 8)[0]
        counts = struct.unpack_from(f"<{order}Q", data, at + 20)
    except (IndexError, struct.error) as error:
        raise LanguageModelError(f"{path}: a truncated or damaged KenLM binary: build it again") from error
    return MODEL_TYPES[model_type] if model_type < len(MODEL_TYPES) else f"type {model_type}", list(counts)


def _header(model: Model, structure: str) -> bytes:
    model_type, version = STRUCTURES[structure]
    sizes = [len(grams) for grams in model.orders]
    data = MAGIC.ljust(_align(len(MAGIC)), b"\0")
    data += struct.pack("<3f3IQ", 0.0, 1.0, -0.5, 1, 2**32 - 1, 0, 1)
    data += struct.pack("<B3xfIB3xI", len(sizes), BUCKETS_AN_ENTRY, model_type, 1, version)
    data += struct.pack(f"<{len(sizes)}Q", *sizes)
    return data.ljust(_align(len(data)), b"\0")


def _probing(model: Model, hashes: Ints) -> tuple[list[str], list[bytes]]:
    """Return the words in the order of their ids, and the parts of the file."""
    n_words = len(model.words)
    vocabulary = _hash_table(hashes[1:], {"id": ("<u4", np.arange(1, n_words))}, n_words)
    parts = [struct.pack("<II", 0, n_words), vocabulary]
    keys = np.arange(n_words, dtype=np.uint64)
    for n, grams in enumerate(model.orders, start=1):
        if n > 1:
            first = (grams.keys & WORD_MASK).astype(np.uint64)
            keys = keys[grams.keys >> WORD_BITS] * HASH_FACTORS[0] ^ (first + np.uint64(1)) * HASH_FACTORS[1]
        log_probs, backoffs = _marked(model.orders, n)
        if n == 1:
            rows = np.zeros((n_words + 1, 2), "<f4")
            rows[:-1] = np.stack([log_probs, backoffs], 1)
            parts.append(rows.tobytes())
        else:
            columns: dict[str, tuple[str, Ints]] = {"log_prob": ("<f4", log_probs)}
            if n < len(model.orders):
                columns["backoff"] = ("<f4", backoffs)
            parts.append(_hash_table(keys, columns, len(grams)))
    return model.words, parts


def _marked(orders: list[NGrams], n: int) -> tuple[Floats, Floats]:
    """Return the numbers of an order with KenLM's sign bits.

    A probability's sign bit is cleared when a longer n-gram ends with this one; a back-off of zero is -0.0 unless a
    longer n-gram begins with it.
    """
    grams = orders[n - 1]
    log_probs = grams.log_probs.copy() if n == 1 else -np.abs(grams.log_probs)
    if n == len(orders):
        return log_probs, grams.backoffs
    log_probs[orders[n].keys >> WORD_BITS] = np.abs(log_probs[orders[n].keys >> WORD_BITS])
    return log_probs, _marked_backoffs(orders, n)


def _marked_backoffs(orders: list[NGrams], n: int) -> Floats:
    backoffs = np.where(orders[n - 1].backoffs == 0, np.float32(-0.0), orders[n - 1].backoffs)
    extended = np.unique(orders[n].contexts)
    backoffs[extended] += np.float32(0.0)  # turns -0.0 into 0.0
    return backoffs


def _hash_table(keys: Ints, columns: dict[str, tuple[str, Ints]], n_entries: int) -> bytes:
    """Lay out a table with linear probing, all at once: sorted by where they should be, entries push the next ones on.

    Entries pushed over the end come first of all in the table's beginning, which pushes that on, in turn.
    """
    n_buckets = max(n_entries + 1, int(np.float32(BUCKETS_AN_ENTRY) * np.float32(n_entries)))
    ideal = (keys % np.uint64(n_buckets)).astype(np.int64)
    by_ideal = np.argsort(ideal, kind="stable")
    steps = np.arange(len(keys))
    n_wrapped, at = -1, np.zeros(0, np.int64)
    while n_wrapped != (n_over := int((at >= n_buckets).sum())):
        n_wrapped = n_over
        at = steps + np.maximum.accumulate(np.maximum(ideal[by_ideal], n_wrapped) - steps)
    at = np.where(at >= n_buckets, at - n_buckets, at)
    table = np.zeros(n_buckets, [("key", "<u8"), *((name, kind) for name, (kind, _) in columns.items())])
    table["key"][at] = keys[by_ideal]
    for name, (_, values) in columns.items():
        table[name][at] = values[by_ideal]
    return table.tobytes()


def _trie(model: Model, hashes: Ints) -> tuple[list[str], list[bytes]]:
    """Return the words in the order of their ids, which is that of their hashes, and the parts of the file."""
    by_hash = np.concatenate([[0], 1 + np.argsort(hashes[1:])])
    orders = _renumbered(model.orders, by_hash)
    n_words = len(by_hash)
    vocabulary = np.zeros(1 + n_words, "<u8")
    vocabulary[0], vocabulary[1:-1] = n_words - 1, hashes[by_hash[1:]]
    tables, packed = [struct.pack("<3B5x", QUANTIZER_VERSION, QUANTIZED_BITS, QUANTIZED_BITS)], []
    for n, grams in enumerate(orders[1:], start=2):
        centers, codes = _quantize(grams.log_probs)
        tables.append(centers.tobytes())
        fields = [(_n_bits(n_words), grams.keys & WORD_MASK)]
        if n < len(orders):
            backoffs = _marked_backoffs(orders, n)
            centers, backoff_codes = _quantize_backoffs(backoffs)
            tables.append(centers.tobytes())
            fields += [(QUANTIZED_BITS, backoff_codes), (QUANTIZED_BITS, codes)]
            fields += [(_n_bits(len(orders[n])), _children(grams, orders[n]))]
        else:
            fields += [(QUANTIZED_BITS, codes)]
        packed.append(_pack_bits(fields, len(grams)))
    unigrams = np.zeros(n_words + 2, [("log_prob", "<f4"), ("backoff", "<f4"), ("next", "<u8")])
    unigrams["log_prob"][:n_words] = orders[0].log_probs
    unigrams["backoff"][:n_words] = _marked_backoffs(orders, 1)
    unigrams["next"][: n_words + 1] = _children(orders[0], orders[1])
    return [model.words[number] for number in by_hash], [vocabulary.tobytes(), *tables, unigrams.tobytes(), *packed]


def _renumbered(orders: list[NGrams], old_of_new: Ints) -> list[NGrams]:
    """Renumber the words, and sort again."""
    new_word = np.argsort(old_of_new)
    moved, by_key = new_word, old_of_new
    result = [
        NGrams(np.arange(len(by_key)), orders[0].contexts, orders[0].log_probs[by_key], orders[0].backoffs[by_key])
    ]
    for grams in orders[1:]:
        keys = moved[grams.keys >> WORD_BITS] << WORD_BITS | new_word[grams.keys & WORD_MASK]
        contexts = moved[grams.contexts]
        by_key = np.argsort(keys)
        moved = np.empty_like(by_key)
        moved[by_key] = np.arange(len(by_key))
        result.append(NGrams(keys[by_key], contexts[by_key], grams.log_probs[by_key], grams.backoffs[by_key]))
    return result


def _children(grams: NGrams, longer: NGrams) -> Ints:
    """Return, for each n-gram and behind the last, where the n-grams that end with it start in the order above."""
    starts: Ints = np.searchsorted(longer.keys >> WORD_BITS, np.arange(len(grams) + 1))
    return starts


def _quantize(values: Floats, n_bins: int = 1 << QUANTIZED_BITS) -> tuple[Floats, Ints]:
    """Return the means of bins of equal size of the values, float32, and each value's nearest bin."""
    rising = np.sort(values).astype(np.float64)
    ends = len(rising) * np.arange(n_bins + 1) // n_bins
    centers = np.full(n_bins, -np.inf)
    for bin_id in range(n_bins):
        start, end = ends[bin_id], ends[bin_id + 1]
        if start < end:
            centers[bin_id] = rising[start:end].sum() / (end - start)
        elif bin_id:
            centers[bin_id] = centers[bin_id - 1]
    centers = centers.astype("<f4")
    above = np.clip(np.searchsorted(centers, values), 1, n_bins - 1)
    below_is_nearer = values - centers[above - 1] < centers[above] - values
    return centers, np.where(values <= centers[0], 0, above - below_is_nearer)


def _quantize_backoffs(backoffs: Floats) -> tuple[Floats, Ints]:
    """Quantize back-offs: codes 0 and 1 stand for the two zeros."""
    zero = backoffs == 0
    centers, codes = _quantize(backoffs[~zero], (1 << QUANTIZED_BITS) - 2)
    all_codes = np.where(np.signbit(backoffs), 0, 1)
    all_codes[~zero] = codes + 2
    return np.concatenate([np.array([-0.0, 0.0], "<f4"), centers]), all_codes


def _pack_bits(fields: list[tuple[int, Ints]], n_entries: int) -> bytes:
    """Pack entries without gaps, each field's lowest bit first.

    Behind the last comes one more, of which only the last field (where children end) counts, and room to read words.
    """
    n_bits = sum(bits for bits, _ in fields)
    if n_bits > 64:
        raise LanguageModelError(f"the trie's entries take {n_bits} bits, at most 64 fit: prune, or write probing")
    data = bytearray()
    for block in blocks(n_entries + 1):
        values, shift = np.zeros(block.stop - block.start, np.uint64), 0
        for bits, column in fields:
            part = column[block].astype(np.uint64) << np.uint64(shift)
            values[: len(part)] |= part
            shift += bits
        bits_of = np.unpackbits(values.view(np.uint8).reshape(-1, 8), axis=1, bitorder="little")
        data += np.packbits(bits_of[:, :n_bits], bitorder="little").tobytes()
    return bytes(data.ljust(((1 + n_entries) * n_bits + 7) // 8 + 8, b"\0"))


def _murmur_hash(data: bytes) -> int:
    """Hash as MurmurHash64A with seed 0 (Austin Appleby, public domain)."""
    whole = len(data) // 8 * 8
    value = len(data) * MURMUR_FACTOR & MASK64
    for (word,) in struct.iter_unpack("<Q", data[:whole]):
        word = word * MURMUR_FACTOR & MASK64
        word = (word ^ word >> MURMUR_SHIFT) * MURMUR_FACTOR & MASK64
        value = (value ^ word) * MURMUR_FACTOR & MASK64
    if whole < len(data):
        value = (value ^ int.from_bytes(data[whole:], "little")) * MURMUR_FACTOR & MASK64
    value = (value ^ value >> MURMUR_SHIFT) * MURMUR_FACTOR & MASK64
    return value ^ value >> MURMUR_SHIFT


def _align(size: int) -> int:
    return (size + 7) // 8 * 8


def _n_bits(value: int) -> int:
    return int(value).bit_length()
