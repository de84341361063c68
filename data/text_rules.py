"""Replacements in texts that a user writes down: a file with a line ``from<TAB>to`` for each."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from data.sources import Source, is_text
from data.verbalize import get_verbalizer
from decode.words import HAN
from silero_like.errors import ConfigError

Edit = Callable[[str, str], str]


def text_editor(rules: Path | None, *, verbalize: bool) -> Edit | None:
    """Return what makes (text, language) the text to keep: rules first, numbers in words then; None for neither.

    Raises:
        ConfigError: `read_rules`'s; or, when it is called, a language whose numbers have no words here.
    """
    replace = read_rules(rules) if rules else None
    if not (replace or verbalize):
        return None

    def edit(text: str, lang: str) -> str:
        text = replace(text) if replace else text
        return get_verbalizer(lang)(text) if verbalize else text

    return edit


def read_rules(path: Path) -> Callable[[str], str]:
    """Return the function that a file of rules describes.

    ``from`` is literal and case counts. Where it begins or ends with a letter or digit it stands for a whole word, in
    scripts that have spaces. All rules are tried at each place, the longest first; what one has written no other reads.
    ``to`` may be empty. Blank lines and those that begin with ``#`` are no rules.

    Raises:
        ConfigError: ``path:line``: no tab, nothing before it, bytes that are no UTF-8, or two rules for one text.
    """
    rules: dict[str, str] = {}
    for where, line in Source(path=path).lines(path):
        if line.startswith("#"):
            continue
        old, tab, new = line.partition("\t")
        if not is_text(line):
            raise ConfigError(f"{where}: not UTF-8: save the rules as UTF-8")
        if not (tab and old) or "\t" in new:
            raise ConfigError(f"{where}: expected 'from<TAB>to', got {line!r}: put one tab between the two")
        if rules.setdefault(old, new) != new:
            raise ConfigError(f"{where}: {old!r} is replaced by {rules[old]!r} above: keep one of the two rules")
    if not rules:
        raise ConfigError(f"{path}: no rule in it: expected lines 'from<TAB>to'")
    pattern = re.compile("|".join(_bounded(old) for old in sorted(rules, key=len, reverse=True)))
    return lambda text: " ".join(pattern.sub(lambda found: rules[found[0]], text).split())


def _bounded(old: str) -> str:
    """Return a pattern that finds a text, as whole words where its script has spaces."""
    letter = re.compile(rf"[^\W{HAN}]")
    before = "(?<!\\w)" if letter.match(old[0]) else ""
    return before + re.escape(old) + ("(?!\\w)" if letter.match(old[-1]) else "")
