"""English numbers in words (American, without "and").

Decided so: a bare 1100 to 1999 or 2000 to 2099 without a comma is a year ("nineteen ninety nine", "two thousand five");
10:05 is "ten oh five"; telephone numbers and numbers that open with 0 go digit by digit; a hyphen between two numbers
is "to" where the second is larger. Not tried: 3/5/1999 and other fractions than halves, thirds and quarters (number by
number), Roman numerals, "St." at the end of a name of a street, units beside those below.
"""

from __future__ import annotations

import re

from data.text import (
    DIGITS,
    INTEGER,
    MONEY,
    ORDINAL,
    spell_cardinal,
    spell_decimal,
    spell_integer,
    spell_money,
    spell_ordinal,
)

ABBREVIATIONS = {
    "Mr": "Mister", "Mrs": "Missus", "Dr": "Doctor", "Prof": "Professor", "St": "Saint", "Gen": "General",
    "Col": "Colonel",
    "Capt": "Captain", "Lt": "Lieutenant", "Sgt": "Sergeant", "Rev": "Reverend", "Gov": "Governor", "Sen": "Senator",
    "Rep": "Representative",
}  # fmt: skip
"""Titles, which stand before a name with a capital letter."""
PHRASES = {
    "e.g.": "for example", "i.e.": "that is", "etc.": "et cetera", "vs.": "versus", "approx.": "approximately",
    "Jr.": "Junior", "Sr.": "Senior", "Ave.": "Avenue", "Blvd.": "Boulevard", "Rd.": "Road", "dept.": "department",
}  # fmt: skip
MONTHS = [
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
]  # fmt: skip
UNITS = {
    "km/h": "kilometers an hour", "mph": "miles an hour", "km": "kilometers", "cm": "centimeters", "mm": "millimeters",
    "kg": "kilograms", "mg": "milligrams", "lbs": "pounds", "lb": "pounds", "ft": "feet", "kHz": "kilohertz",
    "MHz": "megahertz", "GHz": "gigahertz", "KB": "kilobytes", "MB": "megabytes", "GB": "gigabytes", "TB": "terabytes",
    "°C": "degrees Celsius", "°F": "degrees Fahrenheit", "°": "degrees", "%": "percent",
}  # fmt: skip
FRACTIONS = {
    "1/2": "one half", "1/3": "one third", "2/3": "two thirds", "1/4": "one quarter", "3/4": "three quarters",
    "½": "one half", "⅓": "one third", "⅔": "two thirds", "¼": "one quarter", "¾": "three quarters",
}  # fmt: skip

_TITLE = re.compile(rf"\b({'|'.join(ABBREVIATIONS)})\.?(?=\s+[A-Z])")
_PHRASE = re.compile(rf"(?<!\w)({'|'.join(map(re.escape, PHRASES))})")
_MONTH = "|".join(rf"{name}|{name[:3]}\." for name in MONTHS)
_DATE = re.compile(rf"\b({_MONTH})\s+([0-9]{{1,2}})(?:st|nd|rd|th)?(?![0-9:.,]*[0-9]|\w)")
_DAY_FIRST = re.compile(rf"\b([0-9]{{1,2}})(?:st|nd|rd|th)?\s+(?:of\s+)?({_MONTH})(?!\w)")
_ISO_DATE = re.compile(r"(?<![\w-])([0-9]{4})-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])(?![\w-])")
_TIME = re.compile(
    r"(?<![\w:.])([01]?[0-9]|2[0-3])(?::([0-5][0-9]))?(?:\s?([ap])(?:m\b|\.m\.))?(?![\w:]|\.[0-9])", re.I
)
_PHONE = re.compile(r"(?<![\w-])\+?(?:[0-9]{1,3}[ -])?(?:\([0-9]{3}\)\s?|[0-9]{3}[ -])?[0-9]{3}-[0-9]{4}(?![\w-])")
_DECADE = re.compile(r"(?<!\w)(?:([0-9]{2})|['’]|(?<=the ))([0-9]0)['’]?s\b")
_RANGE = re.compile(r"(?<![\w.,:/-])([0-9]{1,6})\s?[-–—]\s?([0-9]{1,6})(?![\w:/-]|[.,][0-9])")
_FRACTION = re.compile(r"(?<![\w/])([123]/[234])(?![\w/])|([½⅓⅔¼¾])")
_UNIT = re.compile(rf"([0-9])\s?({'|'.join(map(re.escape, UNITS))})(?![A-Za-z])")
_YEAR = re.compile(r"(?<![\w.,$£€#-])(1[1-9][0-9]{2}|20[0-9]{2})(?![\w%°-]|[.,:][0-9])")
_MINUS = re.compile(r"(?<![\w)])[-−](?=[0-9])")
_NUMBER = re.compile(rf"({INTEGER})((?:\.[0-9]+)*)")


def verbalize_en(text: str) -> str:
    """Write numbers, dates, times, money and abbreviations in words.

    >>> verbalize_en("On May 3rd, 1999, -5°C & 50% at 7pm.")
    'On May third, nineteen ninety nine, minus five degrees Celsius & fifty percent at seven p m.'
    """
    text = _TITLE.sub(lambda found: ABBREVIATIONS[found[1]], text)
    text = _PHRASE.sub(lambda found: PHRASES[found[1]], text)
    text = MONEY.sub(lambda found: _spaced(found, spell_money(found).strip()), text)
    text = _PHONE.sub(lambda found: _spaced(found, _digits(found[0])), text)
    text = _ISO_DATE.sub(
        lambda found: f"{MONTHS[int(found[2]) - 1]} {spell_ordinal(str(int(found[3])))}, {found[1]}", text
    )
    text = _DATE.sub(lambda found: f"{_month(found[1])} {spell_ordinal(found[2])}", text)
    text = _DAY_FIRST.sub(lambda found: f"the {spell_ordinal(found[1])} of {_month(found[2])}", text)
    text = _TIME.sub(_time, text)
    text = _DECADE.sub(_decade, text)
    text = _FRACTION.sub(lambda found: _spaced(found, FRACTIONS[found[0]]) if found[0] in FRACTIONS else found[0], text)
    text = _RANGE.sub(lambda found: f"{found[1]} to {found[2]}" if int(found[1]) < int(found[2]) else found[0], text)
    text = ORDINAL.sub(lambda found: _spaced(found, spell_ordinal(found[1])), text)
    text = _UNIT.sub(_unit, text)
    text = _YEAR.sub(lambda found: _year(found[1]), text)
    text = _MINUS.sub("minus ", re.sub(r"#\s?(?=[0-9])|\bNo\.\s?(?=[0-9])", "number ", text))
    return _NUMBER.sub(_number, text)


def _spaced(found: re.Match[str], words: str) -> str:
    """Return words with a space on each side where a letter or digit follows on."""
    before, after = found.string[max(0, found.start() - 1) : found.start()], found.string[found.end() : found.end() + 1]
    return f"{' ' if before.isalnum() else ''}{words}{' ' if after.isalnum() else ''}"


def _digits(text: str) -> str:
    return " ".join(DIGITS[int(character)] for character in text if character in "0123456789")


def _month(name: str) -> str:
    return next(month for month in MONTHS if month.startswith(name.rstrip(".")))


def _time(found: re.Match[str]) -> str:
    hour, minute, half = found.groups()
    if minute is None and half is None:
        return found[0]
    words = [spell_cardinal(int(hour))]
    if minute and int(minute):
        words.append(f"oh {DIGITS[int(minute)]}" if int(minute) < 10 else spell_cardinal(int(minute)))
    words.append(f"{half.lower()} m" if half else "" if minute and int(minute) else "o'clock")
    return " ".join(filter(None, words))


def _decade(found: re.Match[str]) -> str:
    century, tens = found.groups()
    words = "hundreds" if tens == "00" else spell_cardinal(int(tens))[:-1] + "ies" if tens != "10" else "tens"
    if century is None:
        return found[0] if tens == "00" else words
    return "two thousands" if century + tens == "2000" else f"{spell_cardinal(int(century))} {words}"


def _unit(found: re.Match[str]) -> str:
    """Spell a unit after the last digit of its number, in the singular after a lone 1."""
    first, *rest = UNITS[found[2]].split(" ")
    if found[1] == "1" and found.string[max(0, found.start() - 1) : found.start()] not in tuple("0123456789.,"):
        first = "foot" if first == "feet" else first.removesuffix("s")
    return " ".join([found[1], first, *rest])


def _year(digits: str) -> str:
    front, back = int(digits[:2]), int(digits[2:])
    if front == 20 and back < 10:
        return spell_cardinal(int(digits))
    if back == 0:
        return f"{spell_cardinal(front)} hundred"
    return f"{spell_cardinal(front)} {'oh ' if back < 10 else ''}{spell_cardinal(back)}"


def _number(found: re.Match[str]) -> str:
    """Spell 3, 1,234, 3.14 and, part by part, 1.2.3."""
    first, *parts = found[0].split(".")
    if len(parts) < 2:
        return _spaced(found, spell_decimal(first, parts[0] if parts else None))
    return _spaced(found, " point ".join([spell_integer(first), *map(spell_integer, parts)]))
