"""Lines of digits, letters and numbers as English speakers say them.

A language model of books hardly knows them, and so turns "two four" into "to for". Mixed in with a small weight, a
model of such lines keeps phone numbers, codes, spelled names, prices, times and dates, whatever the training speech
holds.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np

MONTHS = ["January", "February", "March", "April", "May", "June", "July"]
MONTHS += ["August", "September", "October", "November", "December"]
LETTERS = list("abcdefghijklmnopqrstuvwxyz")
MAX_SPELLED = 12  # letters
PHONE_LENGTHS = (3, 4, 6, 7, 8, 10, 11)

Kind = Callable[[np.random.Generator], str]


def spoken_lines(n_lines: int, words: Sequence[str], rng: np.random.Generator) -> Iterator[str]:
    """Yield lines that are still to be normalised.

    Args:
        n_lines: how many.
        words: some of these are spelled, letter by letter; random letters are, too.
        rng: what is drawn from.
    """
    spelled = [word for word in words if 1 < len(word) <= MAX_SPELLED] or LETTERS
    kinds: list[Kind] = [
        _digits,
        _digits,
        _phone,
        _letters,
        partial(_spelled, words=spelled),
        partial(_spelled, words=spelled),
    ]
    kinds += [_code, _cardinal, _cardinal, _year, _time, _date, _money, _measure]
    for kind in rng.integers(len(kinds), size=n_lines).tolist():
        yield kinds[kind](rng)


def _digits(rng: np.random.Generator) -> str:
    return _said(rng, int(rng.integers(1, 17)))


def _phone(rng: np.random.Generator) -> str:
    return _said(rng, int(rng.choice(PHONE_LENGTHS)))


def _said(rng: np.random.Generator, n_digits: int) -> str:
    """Return digits; some speakers say "oh" for zero, and some "double five"."""
    digits = list(map(str, rng.integers(10, size=n_digits)))
    if rng.random() < 0.4:
        digits = ["oh" if digit == "0" else digit for digit in digits]
    if rng.random() < 0.1:
        digits[int(rng.integers(n_digits))] = f"{rng.choice(['double', 'triple'])} {rng.integers(10)}"
    return " ".join(digits)


def _letters(rng: np.random.Generator) -> str:
    return " ".join(rng.choice(LETTERS, int(rng.integers(1, 9))))


def _spelled(rng: np.random.Generator, words: Sequence[str]) -> str:
    return " ".join(words[int(rng.integers(len(words)))].replace("'", ""))


def _code(rng: np.random.Generator) -> str:
    """Return letters and digits in runs: "k 1 a 7 7"."""
    runs = [_letters(rng)[:5] if rng.random() < 0.5 else _said(rng, int(rng.integers(1, 5))) for _ in range(3)]
    return " ".join(runs)


def _cardinal(rng: np.random.Generator) -> str:
    return str(int(10 ** rng.uniform(0, 2 if rng.random() < 0.5 else 6)))


def _year(rng: np.random.Generator) -> str:
    """Return a year in two halves, "19 84", or as a number, "2005"."""
    century, rest = rng.choice([18, 19, 19, 20]), int(rng.integers(100))
    if century == 20 and rest < 20:
        return f"20{rest:02}"
    return f"{century} hundred" if not rest else f"{century} {'oh ' if rest < 10 else ''}{rest}"


def _time(rng: np.random.Generator) -> str:
    hour, minute, half = rng.integers(1, 13), int(rng.integers(1, 60)), rng.choice(["a m", "p m", ""])
    said = f"{hour} {'oh ' if minute < 10 else ''}{minute} {half}"
    return str(rng.choice([said, said, f"{hour} {half}", f"{hour} o'clock", f"half past {hour}", f"quarter to {hour}"]))


def _date(rng: np.random.Generator) -> str:
    month, day = rng.choice(MONTHS), f"{rng.integers(1, 32)}th"
    return str(
        rng.choice([f"{month} {day}", f"{month} {day} {_year(rng)}", f"the {day} of {month}", f"{month} {_year(rng)}"])
    )


def _money(rng: np.random.Generator) -> str:
    cents = f".{rng.integers(1, 100):02}" if rng.random() < 0.5 else ""
    return f"${_cardinal(rng)}{cents}"


def _measure(rng: np.random.Generator) -> str:
    number = f"{_cardinal(rng)}.{rng.integers(1, 100)}" if rng.random() < 0.5 else _cardinal(rng)
    return f"{number} {rng.choice(['%', 'percent', 'degrees', 'miles', 'minutes', 'hours', 'million', 'point', ''])}"
