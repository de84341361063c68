"""Normalisation: cases worked by hand, then properties over any Unicode."""

import pickle
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.text import NORMALIZERS, SMALL, TENS, get_normalizer, normalize_en, normalize_ru, normalize_zh, spell_cardinal
from silero_like.errors import ConfigError

# Whole Unicode, lone surrogates included, mixed with the characters that the rules are about.
ANY_TEXT = st.one_of(
    st.text(alphabet=st.characters(codec=None, exclude_categories=())),
    st.text(alphabet=st.sampled_from("aTsmrdh '’-.,0159$£€%&ёЁйиѐ\u0301\u0306\u0327İßﬁ½ŉ我爱〇々Ａ５ \u200b\t\n")),
)
ALLOWED = {
    "en": "[a-z' ]*",
    "ru": "[0-9a-z\u0400-\u04ff ]*",
    "zh": "[0-9a-z々〇\u3400-\u9fff\uf900-\ufaff\U00020000-\U000323af ]*",
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("  …—!? ", ""),
        ("HELLO, World.", "hello world"),
        ("well-known co\u00adoperate to‑day", "well known cooperate to day"),
        ("It’s don`t donʼt o‘clock O´Brien", "it's don't don't o'clock o'brien"),
        ("‘Bravo!’ the dogs' bowl, 'em and rock 'n' roll", "bravo the dogs bowl em and rock n roll"),
        ("a''b 'quoted' x'", "a b quoted x"),
        ("Café naïve Ångström œuvre Straße Łódź ﬁne", "cafe naive angstrom oeuvre strasse lodz fine"),
        ("ＦＵＬＬ　ｗｉｄｔｈ ５", "full width five"),
        ("Mr. Lee's friend, Mrs Bell and DR. No", "mister lee's friend missus bell and doctor no"),
        ("the U.S. at 8 a.m., e.g. St. Ives etc.", "the u s at eight a m e g st ives etc"),
        ("0 10 19 20 21 99 100 101", "zero ten nineteen twenty twenty one ninety nine one hundred one hundred one"),
        ("1,234,567", "one million two hundred thirty four thousand five hundred sixty seven"),
        ("1984 1980s", "one thousand nine hundred eighty four one thousand nine hundred eighty s"),
        ("007 0", "zero zero seven zero"),
        ("1234567890123456", "one two three four five six seven eight nine zero one two three four five six"),
        ("1st 2nd 3rd 4th 5th 8th 9th 12th", "first second third fourth fifth eighth ninth twelfth"),
        ("20th 21st 100th 1,000th", "twentieth twenty first one hundredth one thousandth"),
        ("3.14 1.05 0.5", "three point one four one point zero five zero point five"),
        ("-5 −7 but 3-4", "minus five minus seven but three four"),
        ("$1 $5.50 $1.01 $3.00", "one dollar five dollars and fifty cents one dollar and one cent three dollars"),
        ("£2.05 €10", "two pounds and five pence ten euros"),
        ("$2.5 million, $1 million", "two point five million dollars one million dollars"),
        ("50% of R&D", "fifty percent of r and d"),
        ("covid19 B2B 10am 4:05", "covid nineteen b two b ten am four zero five"),
        ("Привет 你好 ok", "ok"),
    ],
)
def test_english_by_hand(text: str, expected: str) -> None:
    assert normalize_en(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("Ещё Ёж, ёлка!", "еще еж елка"),
        ("Е\u0308ж и\u0306од", "еж йод"),  # decomposed letters compose before anything is dropped
        ("за\u0301мок — замо\u0301к, зѐмли", "замок замок земли"),
        ("Кто-то пришёл в 5 часов; Wi-Fi и Café.", "кто то пришел в 5 часов wi fi и cafe"),
        ("Київ, ҚАЗАҚ", "київ қазақ"),
        ("«Цитата»…", "цитата"),
    ],
)
def test_russian_by_hand(text: str, expected: str) -> None:
    assert normalize_ru(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("范围包括平冢市、茅崎市、中郡。", "范围包括平冢市茅崎市中郡"),
        ("我 爱 你 ！", "我爱你"),
        ("他说：“ＯＫ，谢谢”", "他说ok谢谢"),
        ("iPhone 15 Pro 很 贵", "iphone 15 pro很贵"),
        ("二〇二〇年 １２ 月", "二〇二〇年12月"),
        ("漢語與汉语", "漢語與汉语"),  # traditional and simplified are left alone
        ("オカヤド，是日本的漫画家。", "是日本的漫画家"),
        ("人人々𠮷", "人人々𠮷"),
        ("\u2f00\uf900", "一\u8c48"),  # a Kangxi radical and a compatibility ideograph fold to the ordinary letter
    ],
)
def test_mandarin_by_hand(text: str, expected: str) -> None:
    assert normalize_zh(text) == expected


@pytest.mark.parametrize("lang", NORMALIZERS)
@given(text=ANY_TEXT)
def test_any_text_is_accepted_and_a_second_pass_changes_nothing(lang: str, text: str) -> None:
    normalized = get_normalizer(lang)(text)
    assert re.fullmatch(ALLOWED[lang], normalized)
    assert normalized == " ".join(normalized.split())
    assert get_normalizer(lang)(normalized) == normalized


@pytest.mark.parametrize("lang", NORMALIZERS)
def test_every_assigned_character(lang: str) -> None:
    normalize = get_normalizer(lang)
    letters = (chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) not in ("Cn", "Co"))
    texts = {normalize(f"a{letter}1{letter}") for letter in letters}
    assert all(normalize(text) == text for text in texts)


def test_time_grows_with_length_not_with_its_square() -> None:
    digits = "7" * 200_000  # seconds if linear, an hour if each digit starts a search of its own
    assert normalize_en(f"{digits} $ {digits}").count("seven") == 2 * len(digits)


@given(st.integers(0, 10**15 - 1))
def test_number_words_say_the_number(n: int) -> None:
    assert _value(spell_cardinal(n)) == n
    assert normalize_en(f"{n:,}") == normalize_en(str(n)) == spell_cardinal(n)


def test_labels() -> None:
    assert get_normalizer("en").label == "en-1"
    assert get_normalizer("en-1") is get_normalizer("en")
    assert pickle.loads(pickle.dumps(get_normalizer("zh"))) == get_normalizer("zh")  # data workers get it by pickle
    with pytest.raises(ConfigError, match="'en-0': this release has en-1, ru-1, zh-1"):
        get_normalizer("en-0")


def _value(words: str) -> int:
    """Read number words back by another road: multiply up, add at each scale."""
    values = {word: n for n, word in enumerate(SMALL)}
    values |= {word: 10 * n for n, word in enumerate(TENS)}
    scales = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
    total = group = 0
    for word in words.split():
        if word == "hundred":
            group *= 100
        elif word in scales:
            total, group = total + group * scales[word], 0
        else:
            group += values[word]
    return total + group
