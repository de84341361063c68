"""Mandarin numbers in words.

Decided so: years, telephone numbers (11 digits that open with 1, or groups with hyphens), numbers that open with 0 and
those of more than 12 digits go digit by digit, with 一 rather than 幺; 2 is 两 before measure words and 千, 万, 亿;
¥5.50 is 五元五角. Not tried: Roman numerals, scores (3-2 stays two numbers), units beside those below.
"""

from __future__ import annotations

import re

DIGITS = "零一二三四五六七八九"
UNITS = {
    "km/h": "公里每小时", "km": "公里", "cm": "厘米", "mm": "毫米", "kg": "公斤", "mg": "毫克", "ml": "毫升", "m": "米",
    "g": "克", "℃": "摄氏度", "°C": "摄氏度", "°": "度",
}  # fmt: skip
CURRENCIES = {"¥": "元", "￥": "元", "$": "美元", "€": "欧元", "£": "英镑"}
MEASURES = "个只条张本件位种块名次倍天周岁点分秒支辆台套家间层头匹朵棵座颗群双把斤米杯瓶片场句门元"

_WIDE = str.maketrans({chr(0xFF10 + n): str(n) for n in range(10)} | {"％": "%", "＄": "$"})
_WIDE_MARK = re.compile(r"(?<=[0-9])[：．](?=[0-9])")
_INTEGER = r"(?<![0-9])(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)"
_DATE = re.compile(r"(?<![0-9])([0-9]{4})[-/](1[0-2]|0?[1-9])[-/](3[01]|[12][0-9]|0?[1-9])(?![0-9])")
_YEAR = re.compile(r"(?<![0-9.])([0-9]{4})(?=\s?年(?![前后内来间]))")
_TIME = re.compile(r"(?<![0-9:])([01]?[0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9]))?(?![0-9:])")
_PHONE = re.compile(r"(?<![0-9.-])(?:1[0-9]{10}|(?:[0-9]{3,4}-){1,2}[0-9]{3,8})(?![0-9.-])")
_PERCENT = re.compile(rf"({_INTEGER})(?:\.([0-9]+))?\s?%")
_FRACTION = re.compile(r"(?<![0-9/])([0-9]{1,2})/([0-9]{1,3})(?![0-9/])")
_MONEY = re.compile(rf"([¥￥$€£])\s?({_INTEGER})(?:\.([0-9]+))?([万亿]?)")
_UNIT = re.compile(rf"(?<=[0-9])\s?({'|'.join(map(re.escape, UNITS))})(?![A-Za-z])")
_RANGE = re.compile(r"(?<=[0-9])\s?[-–—~～]\s?(?=[0-9])")
_MINUS = re.compile(r"(?<![\w)])[-−](?=[0-9])")
_NUMBER = re.compile(rf"({_INTEGER})(?:\.([0-9]+))?")


def verbalize_zh(text: str) -> str:
    """Write numbers, dates, times, money and units in words.

    >>> verbalize_zh("2024年5月3日10:30，-5℃，50%的2个人付了¥5.50，打13800138000。")
    '二零二四年五月三日十点三十分，负五摄氏度，百分之五十的两个人付了五元五角，打一三八零零一三八零零零。'
    """
    text = _WIDE_MARK.sub(lambda found: ":" if found[0] == "：" else ".", text.translate(_WIDE))
    text = _DATE.sub(lambda found: f"{found[1]}年{int(found[2])}月{int(found[3])}日", text)
    text = _PHONE.sub(lambda found: _digits(found[0]), text)
    text = _YEAR.sub(lambda found: _digits(found[1]), text)
    text = _TIME.sub(_time, text)
    text = _PERCENT.sub(lambda found: f"百分之{_decimal(found[1], found[2])}", text)
    text = _FRACTION.sub(lambda found: f"{cardinal(int(found[2]))}分之{cardinal(int(found[1]))}", text)
    text = _MONEY.sub(_money, text)
    text = _UNIT.sub(lambda found: UNITS[found[1]], text)
    text = _MINUS.sub("负", _RANGE.sub("到", text))
    return _NUMBER.sub(_number, text)


def cardinal(n: int) -> str:
    """Spell a number below 10**16.

    >>> cardinal(110), cardinal(10_050), cardinal(200_000_000), cardinal(12)
    ('一百一十', '一万零五十', '两亿', '十二')
    """
    words, last = "", 9999
    for power, name in ((3, "万亿"), (2, "亿"), (1, "万"), (0, "")):
        group = n // 10000**power % 10000
        if group:
            words += "零" if words and (group < 1000 or not last) else ""
            words += ("两" if group == 2 and name else _below_10000(group)) + name
        last = group
    return words.removeprefix("一") if words.startswith("一十") else words or DIGITS[0]


def _below_10000(n: int) -> str:
    words = ""
    for unit, name in ((1000, "千"), (100, "百"), (10, "十"), (1, "")):
        if digit := n // unit % 10:
            words += "零" if words and n // (unit * 10) % 10 == 0 else ""
            words += ("两" if digit == 2 and unit == 1000 else DIGITS[digit]) + name
    return words


def _digits(text: str) -> str:
    return "".join(DIGITS[int(character)] for character in text if character in "0123456789")


def _decimal(whole: str, fraction: str | None) -> str:
    digits = whole.replace(",", "")
    long = len(digits) > 12 or (digits[0] == "0" and len(digits) > 1)
    words = _digits(digits) if long else cardinal(int(digits))
    return f"{words}点{_digits(fraction)}" if fraction else words


def _time(found: re.Match[str]) -> str:
    hour, minute, second = found.groups()
    words = "两点" if int(hour) == 2 else f"{cardinal(int(hour))}点"
    if int(minute) or second:
        words += f"{'零' if int(minute) < 10 else ''}{cardinal(int(minute)) if int(minute) else ''}分"
    return words + (f"{cardinal(int(second))}秒" if second else "")


def _money(found: re.Match[str]) -> str:
    symbol, whole, fraction, scale = found.groups()
    unit = CURRENCIES[symbol]
    if unit == "元" and fraction and len(fraction) == 2 and int(fraction) and not scale:
        words = "".join(
            f"{DIGITS[int(digit)]}{name}" for digit, name in zip(fraction, "角分", strict=True) if int(digit)
        )
        zero = "零" if fraction[0] == "0" else ""
        return f"{_number_words(whole, None, unit)}元{zero}{words}"
    fraction = fraction.rstrip("0") if fraction else None
    return f"{_number_words(whole, fraction, unit)}{scale}{unit}"


def _number(found: re.Match[str]) -> str:
    return _number_words(found[1], found[2], found.string[found.end() : found.end() + 2].lstrip()[:1])


def _number_words(whole: str, fraction: str | None, after: str) -> str:
    """Spell a number; a 2 alone before a measure word or scale is 两."""
    two = whole == "2" and not fraction and after and after in f"{MEASURES}千万亿百"
    return "两" if two else _decimal(whole, fraction)
