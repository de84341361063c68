"""Long texts -> sentences, one a line or cut where sentences end."""

from __future__ import annotations

import re
from pathlib import Path

from silero_like.errors import ManifestError

_SHORT = ("Mr", "Mrs", "Ms", "Dr", "Prof", "St", "проф", "им", "ул", "[A-ZА-ЯЁ]")
"""What a full stop shortens before a name: titles and initials."""
_NOT_SHORT = "".join(rf"(?<!\b{short}\.)" for short in _SHORT)
_END = re.compile(rf"(?<=[.!?…]){_NOT_SHORT}[\"'”’»)\]]*\s+(?=[^a-zа-яё\s—–-])|(?<=[。！？])[”’」』）]*")


def read_passages(path: Path, *, split: bool = False) -> list[str]:
    """Read a UTF-8 text file.

    Raises:
        ManifestError: it cannot be read, is not UTF-8 or empty.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ManifestError(f"{path}: cannot read the text ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise ManifestError(f"{path}: expected UTF-8 text (byte {error.start}): convert it") from error
    passages = passages_of(text, split=split)
    if not passages:
        raise ManifestError(f"{path}: no text in it: expected an utterance a line")
    return passages


def passages_of(text: str, *, split: bool = False) -> list[str]:
    """Return the lines of a text; its sentences if `split` or if it has a single line.

    >>> passages_of("Dr. J. Lee came. 'Who?' she asked. 3 p.m. then")
    ['Dr. J. Lee came.', "'Who?' she asked.", '3 p.m. then']
    """
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    if not split and len(lines) > 1:
        return lines
    cut = [line[start:end].strip() for line in lines for start, end in _spans(line)]
    return [passage for passage in cut if passage]


def _spans(line: str) -> list[tuple[int, int]]:
    ends = [found.end() for found in _END.finditer(line)]
    return list(zip([0, *ends], [*ends, len(line)], strict=True))
