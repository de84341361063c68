"""Russian numbers in words.

Decided so: cardinals in the nominative, agreeing in number and gender with the units, money and scales below; ordinals
from their endings ("21-й", "80-х"), from dates and from "год"; 10:05 is "десять ноль пять"; a telephone number is read
group by group. Not tried, because it takes the grammar of the sentence: cases of cardinals ("с 5 до 7" becomes "с пять
до семь"), the gender of any other noun ("2 книги" becomes "два книги"), "21-й улице" (read as masculine), Roman
numerals. Texts full of such are better left out than learned from.
"""

from __future__ import annotations

import re

ONES = [
    "ноль", "один", "два", "три", "четыре", "пять", "шесть", "семь", "восемь", "девять", "десять", "одиннадцать",
    "двенадцать", "тринадцать", "четырнадцать", "пятнадцать", "шестнадцать", "семнадцать", "восемнадцать",
    "девятнадцать",
]  # fmt: skip
TENS = ["-", "-", "двадцать", "тридцать", "сорок", "пятьдесят", "шестьдесят", "семьдесят", "восемьдесят", "девяносто"]
HUNDREDS = ["-", "сто", "двести", "триста", "четыреста", "пятьсот", "шестьсот", "семьсот", "восемьсот", "девятьсот"]
SCALES = [
    ("тысяча", "тысячи", "тысяч"),
    ("миллион", "миллиона", "миллионов"),
    ("миллиард", "миллиарда", "миллиардов"),
    ("триллион", "триллиона", "триллионов"),
]
"""Forms for 1, for 2 to 4 and for 5 and more, of 1000, its square and so on."""
STEMS = dict(
    zip(
        range(1, 11),
        ["перв", "втор", "трет", "четверт", "пят", "шест", "седьм", "восьм", "девят", "десят"],
        strict=True,
    )
)
STEMS |= {n: ONES[n][:-1] for n in range(11, 20)}
STEMS |= {20: "двадцат", 30: "тридцат", 40: "сороков", 90: "девяност"}
STEMS |= {n * 10: f"{word}десят" for n, word in ((5, "пяти"), (6, "шести"), (7, "семи"), (8, "восьми"))}
GENITIVES = ["", "", "двух", "трех", "четырех", "пяти", "шести", "семи", "восьми", "девяти"]
STEMS |= {n * 100: f"{GENITIVES[n]}сот" for n in range(1, 10)}
"""Number -> what its ordinal begins with."""
ENDINGS = {"й": "ый", "я": "ая", "е": "ое", "го": "ого", "му": "ому", "м": "ом", "х": "ых", "ю": "ую", "ми": "ыми"}
"""What is written behind a number -> ending of its ordinal."""
SOFT = {
    "ый": "ий", "ая": "ья", "ое": "ье", "ого": "ьего", "ому": "ьему", "ом": "ьем", "ых": "ьих", "ую": "ью", "ой": "ьей",
    "ым": "ьим", "ые": "ьи", "ыми": "ьими",
}  # fmt: skip
"""Endings of "третий"."""
MONTHS = [
    "января",
    "февраля",
    "марта",
    "апреля",
    "мая",
    "июня",
    "июля",
    "августа",
    "сентября",
    "октября",
    "ноября",
    "декабря",
]
YEARS = {
    "год": "ый",
    "года": "ого",
    "году": "ом",
    "годом": "ым",
    "годы": "ые",
    "годов": "ых",
    "годах": "ых",
    "годам": "ым",
}
"""Form of the word behind a year -> ending of the ordinal."""
NOUNS = {
    ("руб.", "руб", "р.", "₽", "рублей", "рубля", "рубль"): ("рубль", "рубля", "рублей"),
    ("коп.", "коп"): ("копейка", "копейки", "копеек"),
    ("$",): ("доллар", "доллара", "долларов"),
    ("€",): ("евро", "евро", "евро"),
    ("£",): ("фунт", "фунта", "фунтов"),
    ("%",): ("процент", "процента", "процентов"),
    ("тыс.", "тыс"): SCALES[0],
    ("млн.", "млн"): SCALES[1],
    ("млрд.", "млрд"): SCALES[2],
    ("км/ч",): ("километр в час", "километра в час", "километров в час"),
    ("км",): ("километр", "километра", "километров"),
    ("см",): ("сантиметр", "сантиметра", "сантиметров"),
    ("мм",): ("миллиметр", "миллиметра", "миллиметров"),
    ("м",): ("метр", "метра", "метров"),
    ("кг",): ("килограмм", "килограмма", "килограммов"),
    ("л",): ("литр", "литра", "литров"),
    ("ч.",): ("час", "часа", "часов"),
    ("мин.", "мин"): ("минута", "минуты", "минут"),
    ("сек.", "сек"): ("секунда", "секунды", "секунд"),
    ("°",): ("градус", "градуса", "градусов"),
}
"""Ways to write a noun behind a number -> its forms for 1, for 2 to 4, and for 5 and more."""
FORMS = {written: forms for ways, forms in NOUNS.items() for written in ways}
CENTS = {
    "рубль": ("копейка", "копейки", "копеек"),
    "доллар": ("цент", "цента", "центов"),
    "евро": ("цент", "цента", "центов"),
    "фунт": ("пенс", "пенса", "пенсов"),
}
FRACTIONS = [("десятая", "десятых"), ("сотая", "сотых"), ("тысячная", "тысячных")]
PHRASES = {
    "т.е.": "то есть", "т. е.": "то есть", "т.к.": "так как", "т. к.": "так как", "и т.д.": "и так далее",
    "и т. д.": "и так далее", "и т.п.": "и тому подобное", "и т. п.": "и тому подобное", "и др.": "и другие",
    "ул.": "улица", "пр-т": "проспект", "им.": "имени", "стр.": "страница", "проф.": "профессор",
}  # fmt: skip

_NUMBER = r"(?<![\w.,-])[0-9]{1,3}(?:[ \u00a0\u202f][0-9]{3})+(?![0-9])|[0-9]+"
_PHRASE = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, PHRASES))})", re.I)
_CITY = re.compile(r"(?<!\w)(?<![0-9] )г\.\s?(?=[А-ЯЁ])")
_DATE = re.compile(r"(?<![\w.])(0?[1-9]|[12][0-9]|3[01])\.(0[1-9]|1[0-2])\.([0-9]{4})(?![\w.][0-9])(?:\s?г\.|\s?года)?")
_DAY = re.compile(
    rf"(?<![\w.,:])([0-9]{{1,2}})\s+({'|'.join(MONTHS)})(?:\s+([0-9]{{4}})(?!\w)(\s?г\.|\s?года)?)?(?!\w)", re.I
)
_YEAR = re.compile(
    rf"(\b[вВкК]о?\s+)?(?<![\w.,])([0-9]{{3,4}})\s?(?:({'|'.join(sorted(YEARS, reverse=True))})\b|г\.(?![а-яё]))"
)
_ORDINAL = re.compile(
    r"(?<![\w.,])([0-9]{1,12})-?(ый|ий|ой|ая|ое|ые|ого|ому|ом|ых|ую|ым|ыми|го|му|ми|ти|й|я|е|м|х|ю)(?!\w)"
)
_TIME = re.compile(r"(?<![\w:.])([01]?[0-9]|2[0-3]):([0-5][0-9])(?![\w:])")
_PHONE = re.compile(r"(?<![\w-])(?:\+7|8)[ -]?\(?([0-9]{3})\)?[ -]?([0-9]{3})[ -]?([0-9]{2})[ -]?([0-9]{2})(?![\w-])")
_MONEY_FIRST = re.compile(rf"([$€£₽])\s?((?:{_NUMBER})(?:[.,][0-9]+)?)(\s?(?:тыс|млн|млрд)\b\.?)?")
_NOUN = "|".join(map(re.escape, sorted(FORMS, key=len, reverse=True)))
_AMOUNT = re.compile(rf"({_NUMBER})(?:[.,]([0-9]+)(?![.,]?[0-9]))?(?:\s?({_NOUN})(?!\w))?(?:\s?({_NOUN})(?!\w))?")
_PARTS = re.compile(r"(?<![\w.,])[0-9]+(?:[.,][0-9]+){2,}")
_MINUS = re.compile(r"(?<![\w)])[-−](?=[0-9])")


def verbalize_ru(text: str) -> str:
    """Write numbers, dates, times, money and abbreviations in words.

    >>> verbalize_ru("5 мая 1999 г. в 10:30")
    'пятого мая тысяча девятьсот девяносто девятого года в десять тридцать'
    >>> verbalize_ru("2,5 млн руб., т.е. 21-й раз -5%.")
    'две целых пять десятых миллиона рублей, то есть двадцать первый раз минус пять процентов.'
    """
    text = _PHRASE.sub(lambda found: PHRASES[found[0].lower()], text)
    text = _PHONE.sub(_phone, text)
    text = _DATE.sub(lambda found: _date(found[1], MONTHS[int(found[2]) - 1], found[3], "года"), text)
    text = _DAY.sub(lambda found: _date(found[1], found[2], found[3], "года" if found[4] else ""), text)
    text = _YEAR.sub(_year, text)
    text = _CITY.sub("город ", text)
    text = _TIME.sub(lambda found: f"{cardinal(int(found[1]))} {_group(found[2])}", text)
    text = _ORDINAL.sub(_ordinal, text)
    text = _PARTS.sub(lambda found: re.sub("[.,]", " ", found[0]), text)  # 1.2.3, and 1,234,567 as English has it
    text = _MONEY_FIRST.sub(lambda found: f"{found[2]}{found[3] or ''} {found[1]}", text)
    text = _MINUS.sub("минус ", re.sub(r"№\s?(?=[0-9])", "номер ", text))
    return _AMOUNT.sub(_amount, re.sub(r"(?<=[0-9])[-–—](?=[0-9])", " ", text))


def cardinal(n: int, *, feminine: bool = False) -> str:
    """Spell a number in the nominative.

    >>> cardinal(1999), cardinal(2_001_021, feminine=True)
    ('тысяча девятьсот девяносто девять', 'два миллиона одна тысяча двадцать одна')
    """
    if n == 0:
        return ONES[0]
    words: list[str] = []
    for power in range(len(SCALES), 0, -1):
        group = n // 1000**power % 1000
        if group:
            alone = group == 1 and power == 1 and not words  # "тысяча", as people say it
            words += [] if alone else _below_1000(group, power == 1)
            words.append(_form(group, SCALES[power - 1]))
    return " ".join(words + _below_1000(n % 1000, feminine))


def ordinal(n: int, ending: str) -> str:
    """Spell an ordinal with an ending of `ENDINGS`' values.

    >>> ordinal(1999, "ом"), ordinal(2000, "ый"), ordinal(3, "ая"), ordinal(40, "ый")
    ('тысяча девятьсот девяносто девятом', 'двухтысячный', 'третья', 'сороковой')
    """
    if n % 1000 == 0 and n:
        power = 1 if n % 10**6 else 2
        count = n // 1000**power
        front = GENITIVES[count] if count < 10 else "" if count == 1 else cardinal(count) + " "
        return f"{front}{'тысячн' if power == 1 else 'миллионн'}{ending}"
    last = n % 100 if n % 100 in range(1, 20) else next((n % unit for unit in (10, 100, 1000) if n % unit), 0)
    stressed = "ой" if ending == "ый" and last in (0, 2, 6, 7, 8, 40) else ending
    words = [cardinal(n - last)] if n > last else []
    return " ".join([*words, STEMS.get(last, "нулев") + (SOFT[ending] if last == 3 else stressed)])


def _below_1000(n: int, feminine: bool) -> list[str]:
    words = [HUNDREDS[n // 100]] if n >= 100 else []
    n %= 100
    if n >= 20:
        words.append(TENS[n // 10])
        n %= 10
    if n:
        words.append({1: "одна", 2: "две"}.get(n, ONES[n]) if feminine else ONES[n])
    return words


def _form(n: int, forms: tuple[str, str, str]) -> str:
    if n % 100 in range(11, 15) or n % 10 in (0, 5, 6, 7, 8, 9):
        return forms[2]
    return forms[0] if n % 10 == 1 else forms[1]


def _group(digits: str) -> str:
    """Spell a group of digits, each zero before it too."""
    zeros = len(digits) - len(digits.lstrip("0"))
    if zeros == len(digits):
        return " ".join([ONES[0]] * zeros)
    return " ".join([ONES[0]] * zeros + [cardinal(int(digits))])


def _phone(found: re.Match[str]) -> str:
    start = "восемь" if found[0].startswith("8") else "плюс семь"
    return " ".join([start, *map(_group, found.groups())])


def _date(day: str, month: str, year: str | None, word: str) -> str:
    parts = [ordinal(int(day), "ого"), month, ordinal(int(year), "ого") if year else "", word if year else ""]
    return " ".join(filter(None, parts))


def _year(found: re.Match[str]) -> str:
    """Spell a year; "г." is "году" after "в" and "к", "года" elsewhere."""
    preposition, digits, word = found.groups()
    word = word or ("году" if preposition else "года")
    ending = "ому" if word == "году" and (preposition or "").lower().startswith("к") else YEARS[word]
    return f"{preposition or ''}{ordinal(int(digits), ending)} {word}"


def _ordinal(found: re.Match[str]) -> str:
    n, written = int(found[1]), found[2]
    if written == "ти" or (written, n) in (("х", 2), ("х", 3), ("х", 4), ("ми", 7), ("ми", 8)):  # no ordinals
        return GENITIVES[n] if 1 < n < 10 else cardinal(n)[:-1] + "и" if cardinal(n)[-1] == "ь" else found[0]
    ending = {"ий": "ый"}.get(written, ENDINGS.get(written, written))
    if written == "е" and n % 10 == 0 and n:  # the eighties, not the eightieth
        ending = "ые"
    if written == "ой" and ordinal(n, "ый").endswith("ой"):
        ending = "ый"
    return ordinal(n, ending)


def _amount(found: re.Match[str]) -> str:
    """Spell a number, whole or decimal, and the nouns behind it, such as a scale and a currency."""
    digits, fraction = re.sub(r"\D", "", found[1]), found[2]
    forms = [FORMS[word] for word in found.groups()[2:] if word]
    n = int(digits[:16])
    if (fraction and len(fraction) > len(FRACTIONS)) or len(digits) > 15 or (digits[0] == "0" and len(digits) > 1):
        words = [" ".join(ONES[int(digit)] for digit in digits)]
        words += ["запятая", " ".join(ONES[int(digit)] for digit in fraction)] if fraction else []
        shown = [form[1 if fraction else 2] for form in forms[:1]]
    elif fraction and len(fraction) == 2 and len(forms) == 1 and forms[0][0] in CENTS:
        cents = CENTS[forms[0][0]]
        words, shown = [cardinal(n)], [_form(n, forms[0])]
        if int(fraction):
            shown += [cardinal(int(fraction), feminine=cents[0][-1] == "а"), _form(int(fraction), cents)]
    elif fraction:
        ones, many = FRACTIONS[len(fraction) - 1]
        one = _form(int(fraction), ("1", "2", "5")) == "1"
        words = [cardinal(n, feminine=True), "целая" if _form(n, ("1", "2", "5")) == "1" else "целых"]
        words += [cardinal(int(fraction), feminine=True), ones if one else many]
        shown = [form[1] for form in forms[:1]]
    else:
        words = [cardinal(n, feminine=bool(forms) and forms[0][0][-1] in "ая")]
        shown = [_form(n, form) for form in forms[:1]]
    shown += [form[2] for form in forms[1:]]
    before, after = found.string[max(0, found.start() - 1) : found.start()], found.string[found.end() : found.end() + 1]
    spelled = " ".join([*words, *shown])
    return f"{' ' if before.isalnum() else ''}{spelled}{' ' if after.isalnum() else ''}"
