"""Edit counts between two token sequences: words or characters."""

from collections.abc import Sequence
from typing import NamedTuple

# Hypothesis tokens whose bit rows are kept for the way back; longer hypotheses are walked block by block.
BLOCK_TOKENS = 1024


class Counts(NamedTuple):
    """Edits that turn a reference into a hypothesis, and the reference's length in the same tokens."""

    substitutions: int = 0
    insertions: int = 0
    deletions: int = 0
    length: int = 0

    @property
    def errors(self) -> int:
        """Substitutions, insertions and deletions together."""
        return self.substitutions + self.insertions + self.deletions

    @property
    def rate(self) -> float | None:
        """Errors over reference length, as a fraction; ``None`` when the length is 0."""
        return self.errors / self.length if self.length else None


def edit_counts(reference: Sequence[str], hypothesis: Sequence[str]) -> Counts:
    """Count the fewest edits between two token sequences (Levenshtein distance, unit costs).

    Pass lists of words, or strings to count characters. The total is unique, its split into kinds is not. The rule is
    that of rapidfuzz, and so of jiwer: common ends are matched first; then, from the last tokens backwards, a deletion
    is taken where one is optimal, else an insertion where it costs less than a substitution, else a match or
    substitution.

    Bit-parallel (Myers 1999 in the form of Hyyrö 2003) on Python's long integers: one bit per reference token, one
    step per hypothesis token; the way back reads the vertical differences.

    >>> edit_counts("the cat sat".split(), "a cat sat down".split())
    Counts(substitutions=1, insertions=1, deletions=0, length=3)
    """
    if reference == hypothesis:
        return Counts(length=len(reference))
    columns, rows = _without_common_ends(reference, hypothesis)
    if not columns or not rows:
        return Counts(0, len(rows), len(columns), len(reference))
    distance, deletions = _distance_and_deletions(columns, rows)
    insertions = deletions + len(rows) - len(columns)
    return Counts(distance - deletions - insertions, insertions, deletions, len(reference))


def edit_distance(reference: Sequence[str], hypothesis: Sequence[str]) -> int:
    """Count the fewest edits, without their kinds: half the time of `edit_counts`.

    >>> edit_distance("kitten", "sitting")
    3
    """
    columns, rows = _without_common_ends(reference, hypothesis)
    if not columns or not rows:
        return len(columns) + len(rows)
    rises, falls = _bit_rows(_masks(columns), rows, ((1 << len(columns)) - 1, 0), len(columns))[-1]
    return len(rows) + rises.bit_count() - falls.bit_count()


def align(reference: Sequence[str], hypothesis: Sequence[str]) -> list[tuple[str, str]]:
    """Pair the tokens of two sequences by the same fewest edits that `edit_counts` counts; "" stands for no token.

    >>> align("the cat sat".split(), "a cat sat down".split())
    [('the', 'a'), ('cat', 'cat'), ('sat', 'sat'), ('', 'down')]
    """
    columns, rows = _without_common_ends(reference, hypothesis)
    head = _common_prefix(reference, hypothesis)
    tail = reference[head + len(columns) :]
    bit_rows = _bit_rows(_masks(columns), rows, ((1 << len(columns)) - 1, 0), len(columns))
    pairs: list[tuple[str, str]] = []
    column, row = len(columns), len(rows)
    while column or row:
        if column and (not row or bit_rows[row][0] >> column - 1 & 1):
            column -= 1
            pairs.append((columns[column], ""))
        else:
            row -= 1
            is_insertion = not column or bit_rows[row][1] >> column - 1 & 1
            column -= not is_insertion
            pairs.append(("" if is_insertion else columns[column], rows[row]))
    return [*zip(reference[:head], hypothesis[:head], strict=True), *reversed(pairs), *zip(tail, tail, strict=True)]


def _without_common_ends(a: Sequence[str], b: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    head = _common_prefix(a, b)
    tail = _common_prefix(a[head:][::-1], b[head:][::-1])
    return a[head : len(a) - tail], b[head : len(b) - tail]


def _masks(columns: Sequence[str]) -> dict[str, int]:
    """Return, for each reference token, the bits of its positions."""
    masks: dict[str, int] = {}
    for position, token in enumerate(columns):
        masks[token] = masks.get(token, 0) | 1 << position
    return masks


def _common_prefix(a: Sequence[str], b: Sequence[str]) -> int:
    for position, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return position
    return min(len(a), len(b))


def _distance_and_deletions(columns: Sequence[str], rows: Sequence[str]) -> tuple[int, int]:
    """Walk the edit matrix, a bit row for each hypothesis token, then back; both sequences are non-empty."""
    masks = _masks(columns)
    starts = range(0, len(rows), BLOCK_TOKENS)
    saved = [((1 << len(columns)) - 1, 0)]
    for start in starts[:-1]:
        saved.append(_bit_rows(masks, rows[start : start + BLOCK_TOKENS], saved[-1], len(columns))[-1])
    distance, deletions, column = 0, 0, len(columns)
    for start in reversed(starts):
        bit_rows = _bit_rows(masks, rows[start : start + BLOCK_TOKENS], saved.pop(), len(columns))
        if start == starts[-1]:
            rises, falls = bit_rows[-1]
            distance = len(rows) + rises.bit_count() - falls.bit_count()
        row = len(bit_rows) - 1
        while row and column:
            if bit_rows[row][0] >> column - 1 & 1:
                deletions += 1
                column -= 1
            else:
                row -= 1
                if not bit_rows[row][1] >> column - 1 & 1:
                    column -= 1
    return distance, deletions + column


def _bit_rows(
    masks: dict[str, int], rows: Sequence[str], first: tuple[int, int], n_columns: int
) -> list[tuple[int, int]]:
    """Compute rows of the edit matrix as differences between neighbouring columns.

    Args:
        masks: for each reference token the bits of its positions.
        rows: hypothesis tokens.
        first: the row above them.

    Returns:
        ``first`` and one row a token: (bits where the cost rises by 1, bits where it falls by 1).
    """
    full = (1 << n_columns) - 1
    rises, falls = first
    bit_rows = [first]
    for token in rows:
        match = masks.get(token, 0)
        same = ((match & rises) + rises ^ rises | match | falls) & full
        down_rises = (falls | full ^ (same | rises)) << 1 | 1
        rises = ((same & rises) << 1 | full ^ (same | down_rises) & full) & full
        falls = down_rises & same
        bit_rows.append((rises, falls))
    return bit_rows


def format_rate(rate: float | None) -> str:
    """Show a rate as a fraction, one that is undefined as a dash."""
    return "-" if rate is None else f"{rate:.3f}"
