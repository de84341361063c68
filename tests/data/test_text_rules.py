"""Rules of the user's own: what they replace, and what is wrong with a file of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from data.text_rules import read_rules, text_editor
from silero_like.errors import ConfigError


def write(folder: Path, content: str | bytes) -> Path:
    path = folder / "rules.tsv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_rules(tmp_path: Path) -> None:
    rules = [
        "# a comment", "", "kbps\tkilobits a second", "ООО\tобщество", "стр.\tстраница", "Dr.\tDrive",
        "公里/小时\t公里每小时", "GB\tgigabytes", "GB RAM\tmemory", "um\t", "a\tb", "b\ta", "C++\tC plus plus",
    ]  # fmt: skip
    replace = read_rules(write(tmp_path, "\ufeff" + "\r\n".join(rules)))
    assert replace("5 kbps, kbpsx") == "5 kilobits a second, kbpsx"
    assert replace("ООО «Рога», ОООО, стр. 5") == "общество «Рога», ОООО, страница 5"
    assert replace("每小时60公里/小时了") == "每小时60公里每小时了"
    assert replace("8 GB RAM or GB") == "8 memory or gigabytes"
    assert replace("so um yes") == "so yes"
    assert replace("a b c C++") == "b a c C plus plus"
    assert replace("Kbps UM") == "Kbps UM"


def test_rules_come_before_words(tmp_path: Path) -> None:
    edit = text_editor(write(tmp_path, "Dr.\tDrive\nкм\tверст\n"), verbalize=True)
    assert edit is not None
    assert edit("Dr. Lee, 5", "en") == "Drive Lee, five"
    assert edit("5 км", "ru") == "пять верст"
    assert text_editor(None, verbalize=False) is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a\tb\nno tab\n", r"rules.tsv:2: expected 'from<TAB>to', got 'no tab'"),
        ("a\tb\tc\n", r"rules.tsv:1: expected"),
        ("\tb\n", r"rules.tsv:1: expected"),
        ("a\tb\n\na\tc\n", r"rules.tsv:3: 'a' is replaced by 'b' above"),
        ("да\tнет\n".encode("cp1251"), r"rules.tsv:1: not UTF-8"),
        ("# nothing\n", r"rules.tsv: no rule in it"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_rules(write(tmp_path, content))
