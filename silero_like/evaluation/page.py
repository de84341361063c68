"""Parts of an HTML page that needs no server, no network and no other file; its table is ``page.js``."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path

FOLDER = Path(__file__).parent
TABLE = """<div class="scroll"><table id="utterances"><thead><tr></tr></thead><tbody></tbody></table></div>
<button class="more" id="more" type="button">Show more</button>"""
CONTROLS = """<input id="search" type="search" placeholder="Search texts and names" aria-label="Search">
<select id="domain" aria-label="Domain"><option value="">all domains</option></select>
<select id="sort" aria-label="Sort"></select>"""


def fill_page(template: str, parts: Mapping[str, str], data: object) -> str:
    """Fill a template's ``$names``: `parts`, what all pages share, and JSON for the page's script."""
    parts = {
        **parts,
        "style": (FOLDER / "page.css").read_text(encoding="utf-8"),
        "script": (FOLDER / "page.js").read_text(encoding="utf-8"),
        "controls": CONTROLS,
        "table": TABLE,
        "data": json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c"),
    }
    return re.sub(rf"\$({'|'.join(parts)})\b", lambda found: parts[found[1]], template)


def tile(title: str, value: str, remark: str) -> str:
    """Render a figure with words above and below it, as HTML."""
    parts = (f'<span class="quiet">{title}</span>', f"<b>{value}</b>", f'<span class="quiet">{remark}</span>')
    return f'<div class="card tile">{"".join(parts)}</div>'


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Render a table whose first column is text and whose others are numbers; texts are escaped."""
    head, *body = ("".join(_cells(row, tag)) for tag, row in [("th", titles), *(("td", row) for row in rows)])
    lines = "".join(f"<tr>{line}</tr>" for line in body)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>'


def _cells(row: Sequence[str], tag: str) -> Iterator[str]:
    for number, cell in enumerate(row):
        yield f"<{tag}{' class=number' if number else ''}>{escape(cell)}</{tag}>"
