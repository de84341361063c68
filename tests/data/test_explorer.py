"""The page of `data report`: what it holds, that nothing in it is foreign, and how it behaves in a real browser."""

from __future__ import annotations

import json
import re
import struct
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from data.check import Finding
from data.explorer import choose_rows
from data.statistics import measured
from data.thumbnail import HEIGHT, N_COLOURS, WIDTH, draw_spectrogram
from silero_like.cli import main
from tests.data.rows import sample
from tests.silero_like.browser import Browser, is_there, open_browser

TEXTS = ["call </script> me <b>now</b>", "ёлка и чай", "我们明天去公园", "hello there"]
N_ROWS = 80


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """80 rows, 0.5 to 2 s long, of four recordings; the texts of the shortest are too long for them."""
    folder = tmp_path_factory.mktemp("corpus")
    generator = np.random.default_rng(0)
    for number in range(4):
        bursts = generator.standard_normal(32000) * (np.arange(32000) // 3200 % 2) * 0.1 / (1 + number)
        soundfile.write(folder / f"a{number}.flac", bursts + 0.001 * generator.standard_normal(32000), 16000)
    rows = [
        {
            "audio_filepath": f"a{number % 4}.flac",
            "offset": 0.001 * number,
            "duration": 0.5 + number % 4 / 2 - 0.001 * number,
            "text": TEXTS[number % 4],
            "speaker": f"s{number % 9}",
            "domain": "phone" if number % 4 < 2 else "read & heard",
        }
        for number in range(N_ROWS)
    ]
    path = folder / "train.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def page(corpus: Path) -> Path:
    return render(corpus, corpus.with_name("page.html"))


def render(corpus: Path, page: Path, *options: str) -> Path:
    arguments = ["data", "report", corpus, "--html", page, "--cache", corpus.with_name("cache.sqlite"), *options]
    result = CliRunner().invoke(main, list(map(str, arguments)))
    assert (result.exit_code, result.output) == (0, "")
    return page


def data_of(page: Path) -> dict[str, list[dict[str, object]]]:
    found = re.search(
        r'<script type="application/json" id="data">(.*?)</script>', page.read_text(encoding="utf-8"), re.S
    )
    assert found
    data: dict[str, list[dict[str, object]]] = json.loads(found[1])
    return data


def test_the_page_holds_the_figures_and_needs_nothing_else(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for shown in ("<h1>train.jsonl</h1>", "read &amp; heard", "fast: more text than can be said", "All 80 utterances."):
        assert shown in text
    assert text.count("</script>") == 2  # its own two; those of the texts are escaped
    assert not re.search(r"https?://|//cdn|@import|url\(", text)
    data = data_of(page)
    assert [row["text"] for row in data["rows"][1:4]] == TEXTS[1:]
    assert data["rows"][1]["audio"] == "a1.flac#t=0.001,1"
    domains = data["measures"][0]["domains"]
    assert isinstance(domains, dict)
    assert [sum(domains[name]["counts"]) for name in ("", "phone", "read & heard")] == [80, 40, 40]


def test_fewer_rows_and_recordings_inside(corpus: Path, tmp_path: Path) -> None:
    path = render(corpus, tmp_path / "page.html", "--rows", "10", "--embed-audio")
    data = data_of(path)
    assert len(data["rows"]) == 10
    assert "10 of 80 utterances" in path.read_text(encoding="utf-8")
    assert all(str(row["audio"]).startswith("data:audio/ogg;base64,") for row in data["rows"])
    assert sum(map(len, data["rows"][0]["found"])) > 0  # type: ignore[call-overload]


def test_the_extremes_and_the_findings_are_among_the_rows() -> None:
    rows = [sample(line, snr_db=float(line), duration_s=1 + line / 100) for line in range(1, 500)]
    findings = [
        Finding(kind="fast", where="a.jsonl:250", detail=""),
        Finding(kind="row", where="a.jsonl:900", detail=""),
    ]
    chosen = choose_rows(rows, findings, 60, np.random.default_rng(0))
    lines = {row.line for row in chosen}
    assert len(chosen) == len(lines) == 60
    assert {1, 2, 250, 498, 499} <= lines
    assert chosen[0].line == 250
    assert measured(chosen[0])["snr_db"] == 250
    assert choose_rows(rows[:9], findings, 60, np.random.default_rng(0)) == rows[:9]


@pytest.mark.parametrize("seconds", [0.01, 1.0, 9.0])
def test_a_picture_of_a_tone_is_bright_in_one_place(seconds: float) -> None:
    tone = 0.5 * np.sin(2 * np.pi * 2000 * np.arange(int(16000 * seconds)) / 16000).astype(np.float32)
    picture = draw_spectrogram(tone, 16000)
    assert picture.startswith(b"\x89PNG\r\n\x1a\n") and picture.endswith(b"IEND\xaeB`\x82")
    width, height, bits, palette = struct.unpack(">IIBB", picture[16:26])
    assert (height, bits, palette) == (HEIGHT, 4, 3)
    assert width == min(WIDTH, max(1, int(seconds / 0.025)))
    start = picture.index(b"IDAT")
    (size,) = struct.unpack(">I", picture[start - 4 : start])
    rows = np.frombuffer(zlib.decompress(picture[start + 4 : start + 4 + size]), np.uint8).reshape(height, -1)
    assert not rows[:, 0].any()
    brightest = rows[:, 1:].astype(int).sum(axis=1).argmax()
    mel = 2595 * np.log10(1 + np.array([2000, 8000]) / 700)
    assert abs((HEIGHT - 1 - brightest) - HEIGHT * mel[0] / mel[1]) <= 1.5
    assert (rows[brightest, 1] >> 4) == N_COLOURS - 1


needs_browser = pytest.mark.skipif(not is_there(), reason="no Chromium: apt-get install chromium chromium-driver")
CELLS = "return [...document.querySelectorAll('#utterances tbody tr')].map(row => row.cells[%d].textContent)"
COUNT = "return document.getElementById('count').textContent"
ENTER = """const e = document.getElementById('%s'); e.value = '%s';
  e.dispatchEvent(new Event('input')); e.dispatchEvent(new Event('change'))"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as opened:
        yield opened


@needs_browser
def test_the_table_sorts_by_any_column_and_filters(browser: Browser, page: Path) -> None:
    browser.open(page)
    assert browser.run(COUNT) == "50 of 80"
    findings = browser.run(CELLS % 1)
    assert findings == sorted(findings, reverse=True) and findings[0] > "0"
    browser.run(ENTER % ("sort", "2 false"))
    assert browser.run(CELLS % 2)[0] == "0.4"
    browser.run("document.querySelectorAll('#utterances th button')[2].click()")
    assert browser.run(CELLS % 2)[0] == "2.0"
    browser.run(ENTER % ("finding", "fast"))
    assert browser.run(COUNT) == "20 of 20"
    assert "fast" in browser.run(CELLS % 0)[0]
    browser.run("document.getElementById('clear').click()")
    browser.run(ENTER % ("search", "ЁЛКА"))
    assert browser.run(COUNT) == "20 of 20"
    browser.run("document.getElementById('clear').click()")
    browser.run(ENTER % ("from", "1.9"))
    assert {float(cell) for cell in browser.run(CELLS % 2)} == {1.9, 2.0}


@needs_browser
def test_histograms_follow_the_domain_and_lead_to_their_rows(browser: Browser, page: Path) -> None:
    browser.open(page)
    heights = "return [...document.querySelector('.histogram').children].map(bar => bar.title.split(': ')[1] * 1)"
    assert sum(browser.run(heights)) == 80
    browser.run(ENTER % ("domain", "phone"))
    assert sum(browser.run(heights)) == 40
    counts = browser.run(heights)
    browser.run("document.querySelector('.histogram').lastChild.click()")
    assert browser.run(COUNT).endswith(f" of {counts[-1]}")
    assert browser.run("return document.getElementById('from').value") != ""


@needs_browser
def test_pictures_show_and_players_play(browser: Browser, corpus: Path, tmp_path: Path) -> None:
    browser.open(render(corpus, tmp_path / "page.html", "--rows", "8", "--embed-audio"))
    widths = browser.run(
        "return [...document.querySelectorAll('img')].slice(0, 2).map(i => i.decode() && i.naturalWidth)"
    )
    assert all(width > 10 for width in widths)
    audio = "document.querySelector('audio')"
    browser.run(f"const a = {audio}; a.oncanplay = () => a.dataset.ready = 1; a.preload = 'auto'; a.load()")
    deadline = time.monotonic() + 30
    while not browser.run(f"return {audio}.dataset.ready") and time.monotonic() < deadline:
        time.sleep(0.05)
    assert browser.run(f"return {audio}.duration") > 0.3


@needs_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1200])
def test_it_is_legible_on_every_screen(browser: Browser, page: Path, width: int, scheme: str) -> None:
    """Nothing is wider than the screen, and text stands out from its background (WCAG AA: 4.5 to 1)."""
    browser.look(width=width, height=900, scheme=scheme)
    browser.open(page)
    assert browser.run("return document.documentElement.scrollWidth") <= width
    contrasts = browser.contrasts("h1|h2|h3|p.quiet|.tile b|.tile .quiet|td|th|li span|pre|.found|.ends")
    assert {name: value for name, value in contrasts.items() if value < 4.5} == {}


@needs_browser
def test_all_can_be_done_with_the_keyboard(browser: Browser, page: Path) -> None:
    browser.look(width=1200, height=900, scheme="light")
    browser.open(page)
    unnamed = """return [...document.querySelectorAll('input, select, button, a, img, audio')].filter(e =>
      !(e.ariaLabel || e.textContent.trim() || e.alt || e.controls || e.title)).map(e => e.outerHTML)"""
    assert browser.run(unnamed) == []
    controls = "return [...document.querySelectorAll('a, input, select, th button, #more, #clear')]"
    assert browser.run(f"{controls}.every(e => e.tabIndex === 0)") and browser.run(f"{controls}.length") > 15
    assert browser.run("return document.querySelector('.histogram').ariaLabel").startswith("duration, s: median ")
