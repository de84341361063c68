"""One writing for numbers and spelled letters, so that recognisers with other habits can be compared (English).

Recognisers write what was said in their own ways: "six three five", "635", "six hundred thirty five"; "g l e n n",
"Glenn". Under this rule, applied after the normaliser to every system alike:

* A number becomes its digits, one word each, in the reference and in the hypothesis: "635" and "six hundred thirty
  five" become "six three five", "nineteen eighty four" and "1984" become "one nine eight four". "oh" and "o" between
  digits are zero; "a hundred" is one hundred.
* The hypothesis, never the reference, may change between letters and a word: letters in a row that make up a word of
  the reference are joined; and where the reference spells (two single letters in a row or more), a word that the
  reference does not hold is split into its letters if that lowers the number of word errors.
"""

from collections.abc import Sequence
from itertools import pairwise

from silero_like.evaluation.edits import edit_distance

LABEL = "alike-1"
"""Recorded behind the normaliser's name; the number is raised whenever any text comes out differently."""

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
TEENS = ["ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"]
TENS = {"twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90}
SMALL = {word: n for n, word in enumerate((*DIGITS, *TEENS))}
SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
ZEROS = {"oh", "o"}


def write_alike(reference: Sequence[str], hypothesis: Sequence[str]) -> tuple[list[str], list[str]]:
    """Rewrite the normalised words of a reference and a hypothesis by the rule above.

    >>> write_alike("g l e n n six three five".split(), "glenn six hundred thirty five".split())[1]
    ['g', 'l', 'e', 'n', 'n', 'six', 'three', 'five']
    """
    reference, hypothesis = spell_digits(reference), spell_digits(hypothesis)
    return reference, _split_words(reference, _join_letters(reference, hypothesis))


def spell_digits(words: Sequence[str]) -> list[str]:
    """Write every number digit by digit.

    >>> " ".join(spell_digits("in nineteen oh five a hundred and two of them".split()))
    'in one nine zero five one zero two of them'
    """
    result: list[str] = []
    position, is_number = 0, False
    while position < len(words):
        value, end = _number(words, position)
        if (
            end == position
            and is_number
            and words[position] in ZEROS
            and _number(words, position + 1)[1] > position + 1
        ):
            value, end = 0, position + 1
        is_number = end > position
        if is_number:
            result += [DIGITS[int(digit)] for digit in str(value)]
            position = end
        else:
            result.append(words[position])
            position += 1
    return result


def _number(words: Sequence[str], start: int) -> tuple[int, int]:
    """Read the number that begins at a word: (value, end); the end is the start where none does."""
    total, end, limit = 0, start, 10**15
    while True:
        value, after = _below_thousand(words, end)
        if after == end:
            return total, end
        scale = SCALES.get(words[after], 0) if after < len(words) else 0
        if scale >= limit or (total and not 0 < value < limit):  # it opens a number of its own
            return total, end
        if not scale or not value:
            return total + value, after
        total, end, limit = total + value * scale, after + 1, scale


def _below_thousand(words: Sequence[str], start: int) -> tuple[int, int]:
    is_a = words[start : start + 1] == ["a"] and start + 1 < len(words) and words[start + 1] in {"hundred", *SCALES}
    value, end = (1, start + 1) if is_a else _below_hundred(words, start)
    if end == start or value == 0 or words[end : end + 1] != ["hundred"]:
        return value, end
    value, end = 100 * value, end + 1
    begin = end + 1 if words[end : end + 1] == ["and"] else end
    rest, after = _below_hundred(words, begin)
    return (value + rest, after) if after > begin and rest else (value, end)


def _below_hundred(words: Sequence[str], start: int) -> tuple[int, int]:
    word = words[start] if start < len(words) else ""
    if word not in TENS:
        return (SMALL[word], start + 1) if word in SMALL else (0, start)
    unit = SMALL.get(words[start + 1], 0) if start + 1 < len(words) else 0
    return (TENS[word] + unit, start + 2) if 0 < unit < 10 else (TENS[word], start + 1)


def _join_letters(reference: Sequence[str], hypothesis: Sequence[str]) -> list[str]:
    """Join letters in a row that make up a word of the reference, longest first."""
    wanted = {word for word in reference if len(word) > 1}
    result: list[str] = []
    position = 0
    while position < len(hypothesis):
        end = position
        while end < len(hypothesis) and len(hypothesis[end]) == 1:
            end += 1
        while end > position and "".join(hypothesis[position:end]) not in wanted:
            end -= 1
        end = max(end, position + 1)
        result.append("".join(hypothesis[position:end]))
        position = end
    return result


def _split_words(reference: Sequence[str], hypothesis: Sequence[str]) -> list[str]:
    """Split words into letters, one after the other, where the reference spells and the errors become fewer."""
    result = list(hypothesis)
    if not any(len(a) == len(b) == 1 for a, b in pairwise(reference)):
        return result
    known, errors = set(reference), edit_distance(reference, result)
    for position in reversed(range(len(result))):
        word = result[position]
        if len(word) > 1 and word not in known:
            split = [*result[:position], *word, *result[position + 1 :]]
            if (fewer := edit_distance(reference, split)) < errors:
                result, errors = split, fewer
    return result
