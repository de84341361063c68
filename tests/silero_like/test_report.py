"""The report: what it holds, that nothing in it is foreign, and how it behaves in a real browser."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from silero_like.evaluation.breakdown import break_down
from silero_like.evaluation.difficulty import describe_domain, find_gap
from silero_like.evaluation.report import render_report
from silero_like.evaluation.scoring import Scored, evaluate
from silero_like.evaluation.study import Study
from tests.silero_like.browser import Browser, is_there, open_browser

N_UTTERANCES = 2000


def study(n_utterances: int = 8) -> Study:
    """Measure a system that loses, adds and replaces words, and whose texts try to break out of the page."""
    texts = [
        ("call </script> me <b>now</b>", "call <i>me now"),
        ("the quick brown fox jumps over the lazy dog", "the quick brawn fox jumps the lazy old dog"),
        ("hello there", "hello there"),
        ("明天 去 吗", ""),
    ]
    items = [
        Scored(
            utterance_id=f"/data/{number}.wav",
            domain="phone" if number % 4 < 2 else "read & heard",
            speaker=f"s{number % 9}",
            duration_s=1.0 + number % 7,
            reference=texts[number % 4][0],
            hypothesis=texts[number % 4][1],
            confidence=0.5,
        )
        for number in range(n_utterances)
    ]
    evaluation = evaluate(
        items,
        normalizer=str.lower,
        normalizer_name="en-1",
        lang="en",
        model="model <7>",
        decoder="greedy",
        audio_s_per_core_s=123.4,
    )
    gap = find_gap(evaluation, ("seen", "unseen"), {"phone"})
    return Study(
        evaluation=evaluation,
        breakdown=break_down(evaluation.rows, keywords=[("hello",)]),
        difficulty={
            name: describe_domain([row for row in evaluation.rows if row.item.domain == name], None)
            for name in evaluation.domains
        },
        gaps=(gap,) if gap else (),
        provenance={"command": "silero-like evaluate '<x>'", "manifests_sha256": {"m": "0" * 64}},
    )


def page_of(folder: Path, n_utterances: int = 8) -> Path:
    measured = study(n_utterances)
    path = folder / "page.html"
    path.write_text(render_report(measured, [f"{number}.wav" for number in range(n_utterances)]), encoding="utf-8")
    return path


def test_the_page_holds_the_figures_and_needs_nothing_else(tmp_path: Path) -> None:
    text = page_of(tmp_path).read_text(encoding="utf-8")
    assert "<h1>model &lt;7&gt;</h1>" in text
    for shown in ("read &amp; heard", "123", "seconds of audio a core-second", "unseen", "hello", "0" * 64, "brawn"):
        assert shown in text
    assert text.count("</script>") == 2  # its own two; that of the first text is escaped
    assert not re.search(r"https?://|//cdn|@import|url\(", text)
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)
    assert data
    rows = json.loads(data[1])
    assert rows[1]["words"][2:6] == [["brown", "brawn"], "fox", "jumps", ["over", ""]]
    assert rows[3]["words"] == [["明", ""], ["天", ""], ["去", ""], ["吗", ""]]


needs_browser = pytest.mark.skipif(not is_there(), reason="no Chromium: apt-get install chromium chromium-driver")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as opened:
        yield opened


@needs_browser
def test_the_table_sorts_searches_and_filters(browser: Browser, tmp_path: Path) -> None:
    browser.open(page_of(tmp_path, 120))
    cells = "return [...document.querySelectorAll('#utterances tbody tr')].map(row => row.cells[%d].textContent)"
    assert browser.run("return document.getElementById('count').textContent") == "50 of 120"
    assert browser.run(cells % 0)[0] == "100 %"
    browser.run("document.querySelectorAll('#utterances th button')[4].click()")
    assert browser.run(cells % 4)[0] == "7.0"
    browser.run("document.querySelectorAll('#utterances th button')[4].click()")
    assert browser.run(cells % 4)[0] == "1.0"
    browser.run("document.getElementById('more').click()")
    assert len(browser.run(cells % 0)) == 100
    enter = "const e = document.getElementById('%s'); e.value = '%s'; e.dispatchEvent(new Event('%s'))"
    browser.run(enter % ("domain", "phone", "change"))
    assert set(browser.run(cells % 2)) == {"phone"}
    browser.run(enter % ("search", "QUICK", "input"))
    assert browser.run("return document.getElementById('count').textContent") == "30 of 30"
    words = (
        "return [...document.querySelector('#utterances .words').querySelectorAll('.s, .d, .i')].map(e => e.className)"
    )
    assert browser.run(words) == ["s", "d", "i"]
    assert browser.run("return document.querySelector('audio').getAttribute('src')").endswith(".wav")


@needs_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1200])
def test_it_is_legible_on_every_screen(browser: Browser, tmp_path: Path, width: int, scheme: str) -> None:
    """Nothing is wider than the screen, and text stands out from its background (WCAG AA: 4.5 to 1)."""
    browser.look(width=width, height=900, scheme=scheme)
    browser.open(page_of(tmp_path))
    assert browser.run("return document.documentElement.scrollWidth") <= width
    contrasts = browser.contrasts("h1|h2|p.quiet|.tile b|.tile .quiet|.bars span|td|th|li span|pre|.s|.d|.i")
    assert {name: value for name, value in contrasts.items() if value < 4.5} == {}


@needs_browser
def test_two_thousand_utterances_load_in_less_than_two_seconds(browser: Browser, tmp_path: Path) -> None:
    path = page_of(tmp_path, N_UTTERANCES)
    browser.count_time()
    before_s = browser.busy_s()
    browser.open(path)
    assert browser.run("return document.getElementById('count').textContent") == f"50 of {N_UTTERANCES}"
    assert browser.busy_s() - before_s < 2
