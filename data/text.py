"""Text normalisation: one pure function a language, shared by training, language-model text and scoring.

Each is idempotent, accepts any string and may return "". A change of behaviour must raise the version, because bundles
and evaluations record the label ("en-1") that their text went through.

* ``en``: what is said, in a-z and the apostrophe inside a word, as LM text is written. Accents fold to ASCII; numbers,
  ordinals, decimals, money, % and & become words (American, without "and"; a year is read as a plain cardinal; a date,
  a clock time or a fraction number by number); Mr, Mrs and Dr become mister, missus and doctor, as said and as the LM
  text mostly spells them; letters with dots ("u.s.", "a.m.") become single letters ("u s", "a m"), other abbreviations
  ("st.", "etc.") only lose the dot; hyphens and all other punctuation become a space; an apostrophe stays only between
  two letters ("dogs'" -> "dogs", "'em" -> "em").
* ``ru``: ё becomes е, because most texts write е for both and one sound would have two spellings; stress marks go.
  Kept: Cyrillic, and Latin letters and digits, because a label must not lose words that are spoken; spelling Russian
  numbers needs case agreement, so transcripts should come with numbers in words. The rest becomes a space.
* ``zh``: full width folds to half width. Kept: Han characters (traditional and simplified as they are), digits and
  lower-case Latin letters. Symbols, punctuation and other scripts (kana, Cyrillic) go. A space stays only between two
  Latin words or numbers.
"""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field

from decode.words import HAN
from silero_like.errors import ConfigError

APOSTROPHES = str.maketrans(dict.fromkeys("’‘ʼʻ‛`´＇", "'"))
LETTERS = str.maketrans({"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i"})
CYRILLIC = str.maketrans("ёѐѝ", "ееи")  # the last two carry a stress mark that NFC leaves composed
TITLES = {"mr": "mister", "mrs": "missus", "dr": "doctor"}
SYMBOLS = {"&": "and", "%": "percent", "+": "plus", "=": "equals", "@": "at", "°": "degrees"}
CURRENCIES = {"$": ("dollar", "cent"), "£": ("pound", "pence"), "€": ("euro", "cent")}
DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
TEENS = ["ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"]
SMALL = [*DIGITS, *TEENS]
TENS = ["-", "-", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
SCALES = ((10**12, "trillion"), (10**9, "billion"), (10**6, "million"), (1000, "thousand"), (100, "hundred"))
ORDINALS = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}
MAX_CARDINAL_DIGITS = 15  # longer numbers, and those that open with 0, are read digit by digit

INTEGER = r"(?<![0-9])(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)"
MONEY = re.compile(rf"([$£€])\s?({INTEGER})(?:\.([0-9]+))?(?:\s(hundred|thousand|million|billion|trillion)\b)?")
ORDINAL = re.compile(rf"({INTEGER})(?:st|nd|rd|th)\b")
NUMBER = re.compile(rf"({INTEGER})(?:\.([0-9]+))?")
MINUS = re.compile(r"(?<!\S)[-−](?=[0-9])")


@dataclass(frozen=True)
class Normalizer:
    """A named, versioned pure function from text to normalised text."""

    name: str
    """Language code."""
    version: int
    """Raised whenever any text comes out differently."""
    function: Callable[[str], str] = field(repr=False)
    """The pipeline itself."""

    @property
    def label(self) -> str:
        """The name that bundles and evaluations record, such as "en-1"."""
        return f"{self.name}-{self.version}"

    def __call__(self, text: str) -> str:
        return self.function(text)


def normalize_en(text: str) -> str:
    """Normalise English.

    >>> normalize_en("“It’s 21st-century,” Mr. O'Neil said: $5.50 & 12%!")
    "it's twenty first century mister o'neil said five dollars and fifty cents and twelve percent"
    """
    text = _fold(text.translate(APOSTROPHES)).translate(APOSTROPHES)
    text = ORDINAL.sub(lambda found: f" {spell_ordinal(found[1])} ", MONEY.sub(spell_money, MINUS.sub(" minus ", text)))
    text = NUMBER.sub(lambda found: f" {spell_decimal(found[1], found[2])} ", text)
    text = re.sub("[&%+=@°]", lambda found: f" {SYMBOLS[found[0]]} ", text)
    text = re.sub("(?<![a-z])'|'(?![a-z])|[^a-z']", " ", text)
    text = re.sub(r"\b(?:mrs?|dr)\b", lambda found: TITLES[found[0]], text)
    return " ".join(text.split())


def normalize_ru(text: str) -> str:
    """Normalise Russian.

    >>> normalize_ru("Ёлка-то в Wi-Fi, чай!")
    'елка то в wi fi чай'
    """
    text = unicodedata.normalize("NFC", text.lower())
    text = "".join(letter if "\u0400" <= letter <= "\u04ff" else _fold(letter) for letter in text)
    text = text.translate(CYRILLIC)
    return " ".join(re.sub("[^0-9a-z\u0400-\u0481\u048a-\u04ff]", " ", text).split())


def normalize_zh(text: str) -> str:
    """Normalise Mandarin.

    >>> normalize_zh("我 用Ｐｙｔｈｏｎ ３，你呢？ Hello World！")
    '我用python 3你呢hello world'
    """
    text = " ".join(re.sub(f"[^0-9a-z{HAN}]", " ", _fold(text)).split())
    return re.sub(f"(?<=[{HAN}]) | (?=[{HAN}])", "", text)


NORMALIZERS = {
    "en": Normalizer("en", 1, normalize_en),
    "ru": Normalizer("ru", 1, normalize_ru),
    "zh": Normalizer("zh", 1, normalize_zh),
}


def get_normalizer(lang: str) -> Normalizer:
    """Return the normaliser of a language code ("en") or of a recorded label ("en-1").

    Raises:
        ConfigError: an unknown language, or a label of a version that this release does not have.
    """
    for normalizer in NORMALIZERS.values():
        if lang in (normalizer.name, normalizer.label):
            return normalizer
    known = ", ".join(normalizer.label for normalizer in NORMALIZERS.values())
    raise ConfigError(f"no text normaliser {lang!r}: this release has {known}")


def _fold(text: str) -> str:
    """Lower-case, undo compatibility forms (full width, ligatures), drop accents and invisible format characters."""
    if text.isascii():
        return text.lower()
    text = unicodedata.normalize("NFKD", text).lower()
    kept = (letter for letter in text if letter.isascii() or not _is_mark(letter))
    return unicodedata.normalize("NFKC", "".join(kept)).translate(LETTERS)


def _is_mark(letter: str) -> bool:
    category = unicodedata.category(letter)
    return category[0] == "M" or category == "Cf"


def spell_cardinal(n: int) -> str:
    """Spell a number: 1234 -> "one thousand two hundred thirty four"."""
    for scale, name in SCALES:
        if n >= scale:
            rest = f" {spell_cardinal(n % scale)}" if n % scale else ""
            return f"{spell_cardinal(n // scale)} {name}{rest}"
    if n < len(SMALL):
        return SMALL[n]
    return TENS[n // 10] + (f" {DIGITS[n % 10]}" if n % 10 else "")


def spell_integer(digits: str) -> str:
    digits = digits.replace(",", "")
    if len(digits) > MAX_CARDINAL_DIGITS or (digits[0] == "0" and len(digits) > 1):
        return " ".join(DIGITS[int(digit)] for digit in digits)
    return spell_cardinal(int(digits))


def spell_ordinal(digits: str) -> str:
    """Spell an ordinal from its digits: "21" -> "twenty first"."""
    *front, last = spell_integer(digits).split()
    if last.endswith("y"):
        last = f"{last[:-1]}ie"
    return " ".join([*front, ORDINALS.get(last, f"{last}th")])


def spell_decimal(integer: str, fraction: str | None) -> str:
    """Spell a decimal: "3", "14" -> "three point one four"."""
    if fraction is None:
        return spell_integer(integer)
    return f"{spell_integer(integer)} point {' '.join(DIGITS[int(digit)] for digit in fraction)}"


def spell_money(found: re.Match[str]) -> str:
    """Spell "$5.50" as "five dollars and fifty cents", "$2.5 million" as "two point five million dollars"."""
    symbol, integer, fraction, scale = found.groups()
    unit, cent = CURRENCIES[symbol]
    if scale or (fraction and len(fraction) != 2):
        return f" {spell_decimal(integer, fraction)} {scale or ''} {unit}s "
    words = f"{spell_integer(integer)} {unit}{'' if integer == '1' else 's'}"
    if fraction and int(fraction):
        plural = "s" if cent == "cent" and int(fraction) != 1 else ""
        words += f" and {spell_cardinal(int(fraction))} {cent}{plural}"
    return f" {words} "
