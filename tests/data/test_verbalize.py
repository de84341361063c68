"""Numbers in words: cases worked by hand in three languages, then what holds for any text."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.text import NORMALIZERS, get_normalizer
from data.verbalize import VERBALIZERS, get_verbalizer
from data.verbalize_en import verbalize_en
from data.verbalize_ru import cardinal, ordinal, verbalize_ru
from data.verbalize_zh import verbalize_zh
from silero_like.errors import ConfigError

# Whole Unicode, lone surrogates included, mixed with the characters that the rules are about.
ANY_TEXT = st.one_of(
    st.text(alphabet=st.characters(codec=None, exclude_categories=())),
    st.text(alphabet=st.sampled_from("0123459 .,:/-–+()$€¥₽%°№#'’amptshndгодймяруб年月日个点 \u00a0\t\n")),
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("no numbers, Mr. nobody.", "no numbers, Mr. nobody."),
        ("-5 or −7.5", "minus five or minus seven point five"),
        ("3.14, 0.5", "three point one four, zero point five"),
        ("1,234.5", "one thousand two hundred thirty four point five"),
        ("1999, 2005, 1900, 2024", "nineteen ninety nine, two thousand five, nineteen hundred, twenty twenty four"),
        ("1,999 men and 3000 more", "one thousand nine hundred ninety nine men and three thousand more"),
        ("the 1980s, '90s and 2000s", "the nineteen eighties, nineties and two thousands"),
        ("$5.50, £3 and $2.5 million", "five dollars and fifty cents, three pounds and two point five million dollars"),
        ("10:30, 10:05, 10:00", "ten thirty, ten oh five, ten o'clock"),
        ("7pm. At 10:30 a.m. sharp", "seven p m. At ten thirty a m sharp"),
        ("the 3rd, 21st and 100th", "the third, twenty first and one hundredth"),
        ("May 3rd, 1999", "May third, nineteen ninety nine"),
        ("Jan. 5; 5 January 2001", "January fifth; the fifth of January two thousand one"),
        ("1999-05-03", "May third, nineteen ninety nine"),
        ("Dr. Lee, Mrs Bell, St. Ives etc.", "Doctor Lee, Missus Bell, Saint Ives et cetera"),
        ("50% of 1 km at 70mph", "fifty percent of one kilometer at seventy miles an hour"),
        ("20°C, 5°", "twenty degrees Celsius, five degrees"),
        ("call 555-123-4567", "call five five five one two three four five six seven"),
        ("+1 (555) 123-4567.", "one five five five one two three four five six seven."),
        ("007 and No. 7, #5", "zero zero seven and number seven, number five"),
        ("10-12 men, 3-2", "ten to twelve men, three-two"),
        ("1/2 a cup, ¾, 24/7", "one half a cup, three quarters, twenty four/seven"),
        ("v1.2.3 B2B", "v one point two point three B two B"),
        ("12345678901234567", "one two three four five six seven eight nine zero one two three four five six seven"),
    ],
)  # fmt: skip
def test_english_by_hand(text: str, expected: str) -> None:
    assert verbalize_en(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("Ни одного числа, т.е. и т. д.", "Ни одного числа, то есть и так далее"),
        ("-5 и −7", "минус пять и минус семь"),
        ("3,14; 0.5; 1,001", "три целых четырнадцать сотых; ноль целых пять десятых; одна целая одна тысячная"),
        ("3,1415", "три запятая один четыре один пять"),
        ("1999 год", "тысяча девятьсот девяносто девятый год"),
        ("в 1999 году", "в тысяча девятьсот девяносто девятом году"),
        ("9 мая 1945 года", "девятого мая тысяча девятьсот сорок пятого года"),
        ("в 2024 г., к 2000 году", "в две тысячи двадцать четвертом году, к двухтысячному году"),
        ("01.02.2003 г.", "первого февраля две тысячи третьего года"),
        ("1 руб., 22 руб., 5 руб. 50 коп.", "один рубль, двадцать два рубля, пять рублей пятьдесят копеек"),
        ("5,50 ₽, $5.50", "пять рублей пятьдесят копеек, пять долларов пятьдесят центов"),
        ("2,5 млн руб.", "две целых пять десятых миллиона рублей"),
        ("100 тыс. €", "сто тысяч евро"),
        ("10:30, 10:05, 10:00", "десять тридцать, десять ноль пять, десять ноль ноль"),
        ("21-й, 3-я, 1-е место, 80-е", "двадцать первый, третья, первое место, восьмидесятые"),
        ("40-х, 2-го", "сороковых, второго"),
        ("5-ти, 8-ми, 3-х", "пяти, восьми, трех"),
        ("1%, 2 %, 15%, 2,5%", "один процент, два процента, пятнадцать процентов, две целых пять десятых процента"),
        ("г. Москва, ул. Ленина", "город Москва, улица Ленина"),
        ("+7 (495) 123-45-07", "плюс семь четыреста девяносто пять сто двадцать три сорок пять ноль семь"),
        ("1 000 000 и 21 000", "один миллион и двадцать одна тысяча"),
        ("1,234,567", "один миллион двести тридцать четыре тысячи пятьсот шестьдесят семь"),
        ("120 км/ч, 2 мин", "сто двадцать километров в час, две минуты"),
        ("10-12, №5, 007", "десять двенадцать, номер пять, ноль ноль семь"),
        ("COVID-19 и iPhone5s", "COVID-девятнадцать и iPhone пять s"),
    ],
)  # fmt: skip
def test_russian_by_hand(text: str, expected: str) -> None:
    assert verbalize_ru(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("没有数字：OK。", "没有数字：OK。"),
        ("１０：３０，３．５％", "十点三十分，百分之三点五"),
        ("-5和3.14", "负五和三点一四"),
        ("1999年，2024-05-03", "一九九九年，二零二四年五月三日"),
        ("10年前，３000年前", "十年前，三千年前"),
        ("¥5.50，￥5.05，$5.50，¥100", "五元五角，五元零五分，五点五美元，一百元"),
        ("10:30，10:05，2:00", "十点三十分，十点零五分，两点"),
        ("第3，第21", "第三，第二十一"),
        ("50%，3.5％", "百分之五十，百分之三点五"),
        ("2个，2千，200，20000", "两个，两千，二百，两万"),
        ("打13800138000或010-12345678", "打一三八零零一三八零零零或零一零一二三四五六七八"),
        ("12 102 1010 10,050 100000001", "十二 一百零二 一千零一十 一万零五十 一亿零一"),
        ("3/4，5-10人，007", "四分之三，五到十人，零零七"),
        ("5km，20℃", "五公里，二十摄氏度"),
        ("1000010000 100001000", "十亿零一万 一亿零一千"),
    ],
)
def test_mandarin_by_hand(text: str, expected: str) -> None:
    assert verbalize_zh(text) == expected


def test_russian_cardinals_and_ordinals() -> None:
    assert [cardinal(n) for n in (0, 11, 40, 100, 219, 1000, 2001, 5_000_000)] == [
        "ноль", "одиннадцать", "сорок", "сто", "двести девятнадцать", "тысяча", "две тысячи один", "пять миллионов",
    ]  # fmt: skip
    assert [cardinal(n, feminine=True) for n in (1, 2, 12, 42)] == ["одна", "две", "двенадцать", "сорок две"]
    assert [ordinal(n, "ый") for n in (0, 2, 3, 7, 13, 100, 300, 1000)] == [
        "нулевой", "второй", "третий", "седьмой", "тринадцатый", "сотый", "трехсотый", "тысячный",
    ]  # fmt: skip


@pytest.mark.parametrize("lang", list(VERBALIZERS))
@given(text=ANY_TEXT)
def test_any_text_comes_out_without_digits_and_stays(lang: str, text: str) -> None:
    words = VERBALIZERS[lang](text)
    assert not re.search("[0-9]", words)
    assert VERBALIZERS[lang](words) == words
    get_normalizer(lang)(words)


@pytest.mark.parametrize("lang", list(VERBALIZERS))
@pytest.mark.parametrize(
    "text", ["9" * 5000, "9" * 5000 + "-й", "1,234," * 1000, "7.5 руб. " * 500, "1-2" * 2000, "$" + "9" * 5000]
)
def test_long_numbers(lang: str, text: str) -> None:
    assert not re.search("[0-9]", VERBALIZERS[lang](text))


@pytest.mark.parametrize("lang", list(VERBALIZERS))
@given(number=st.integers(0, 10**12 - 1))
def test_numbers_become_words_of_their_language(lang: str, number: int) -> None:
    words = get_normalizer(lang)(VERBALIZERS[lang](str(number)))
    assert re.fullmatch({"en": "[a-z ]+", "ru": "[а-я ]+", "zh": "[零一二三四五六七八九十百千万亿两]+"}[lang], words)


def test_scoring_is_left_as_it_was() -> None:
    """What models and evaluations are scored by has versions of its own."""
    assert {name: each.label for name, each in NORMALIZERS.items()} == {"en": "en-1", "ru": "ru-1", "zh": "zh-1"}
    assert {name: each.label for name, each in VERBALIZERS.items()} == {
        "en": "en-words-1", "ru": "ru-words-1", "zh": "zh-words-1",
    }  # fmt: skip
    assert get_normalizer("ru")("5 мая 1999 г.") == "5 мая 1999 г"
    with pytest.raises(ConfigError, match="no words for numbers in language 'fr': expected en, ru, zh"):
        get_verbalizer("fr")
