"""The page, in a real browser: a file dropped, a microphone spoken into, words heard and subtitles downloaded."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="needs the [serve] extra")

from silero_like.serve.app import PAGE_PATH
from silero_like.serve.settings import ServeSettings
from tests.silero_like.browser import Browser, is_there, open_browser
from tests.silero_like.serving import Served, encode, serving, wait_until

if TYPE_CHECKING:
    from conftest import StandIn

TOKEN = "a secret"
needs_browser = pytest.mark.skipif(not is_there(), reason="no Chromium: apt-get install chromium chromium-driver")

DROP = """
const bytes = Uint8Array.from(atob("%s"), c => c.charCodeAt(0));
const transfer = new DataTransfer();
transfer.items.add(new File([bytes], "a talk.wav", { type: "audio/wav" }));
document.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer }));
"""
WORDS = "return [...document.querySelectorAll('.word')].map(word => word.textContent)"
RIGHT = "dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowRight', bubbles: true}))"
STATUS = "return document.getElementById('status').textContent"
TYPE = """
const field = document.getElementById("%s");
field.value = %s;
field.dispatchEvent(new Event("change"));
"""


CONTRASTS = """
const numbers = colour => [...colour.match(/[0-9.]+/g).map(Number), 1].slice(0, 4);
const light = colour => colour.map(c => c / 255)
  .map(c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
  .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
const behind = element => {
  const [r, g, b, share] = numbers(getComputedStyle(element).backgroundColor);
  if (share === 1) return [r, g, b];
  const under = behind(element.parentElement);
  return [r, g, b].map((c, i) => share * c + (1 - share) * under[i]);
};
const result = {};
const selectors = "h1 h2 .quiet .main .stop .key summary label time .word .doubtful .partial [data-format]";
for (const selector of selectors.split(" "))
  document.querySelectorAll(selector).forEach((element, number) => {
    const colours = [numbers(getComputedStyle(element).color).slice(0, 3), behind(element)];
    const [a, b] = colours.map(light).sort((x, y) => y - x);
    result[selector + number] = (a + 0.05) / (b + 0.05);
  });
return result;
"""


@pytest.fixture(scope="module")
def served(tone_settings: ServeSettings) -> Iterator[Served]:
    with serving(replace(tone_settings, token=TOKEN)) as running:
        yield running


@pytest.fixture(scope="module")
def browser(_stand_in: StandIn, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser whose microphone hears three words, once."""
    path = tmp_path_factory.mktemp("microphone") / "said.wav"
    silence = np.zeros(16000, np.float32)
    path.write_bytes(encode(np.concatenate([silence, _stand_in.speak("four five six"), np.tile(silence, 30)])))
    microphone = (
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={path}",
        "--autoplay-policy=no-user-gesture-required",
    )
    with open_browser(*microphone) as opened:
        yield opened


def open_page(browser: Browser, served: Served) -> None:
    browser.open(served.url)
    enter(browser, "token", TOKEN)
    wait_until(lambda: browser.run("return document.getElementById('model').value") == "tones")


def enter(browser: Browser, field: str, text: str) -> None:
    browser.run(TYPE % (field, json.dumps(text)))


def drop(browser: Browser, data: bytes) -> None:
    browser.run(DROP % base64.b64encode(data).decode())


def downloaded(browser: Browser, format_: str) -> Any:
    """Click a download; return its name and text."""
    script = f"""
    let found;
    HTMLAnchorElement.prototype.click = function () {{ found = this.download; }};
    document.querySelector("[data-format={format_}]").click();
    return [found, render("{format_}")];
    """
    return browser.run(script)


def test_it_is_one_file_that_asks_nobody_for_anything(served: Served) -> None:
    reply = served.get("/")
    assert reply.status == 200 and reply.body == PAGE_PATH.read_bytes()
    text = reply.body.decode()
    assert not re.search(
        r"(?:src|href)=|@import|https?://(?! and localhost)", re.sub(r'rel="icon" href="data:,"', "", text)
    )
    assert "default-src 'none'" in reply.headers["content-security-policy"]


@needs_browser
def test_a_dropped_file_becomes_words_that_can_be_heard_and_kept(
    browser: Browser, served: Served, stand_in: StandIn
) -> None:
    speech = np.concatenate([stand_in.speak("one two"), np.zeros(24000, np.float32), stand_in.speak("three")])
    open_page(browser, served)
    drop(browser, encode(speech))
    wait_until(lambda: browser.run(WORDS))
    assert browser.run(WORDS) == ["one", "two", "three"]
    assert re.match(r"3 words in \d\.\d s of audio", browser.run(STATUS))
    expected = served.transcribe(encode(speech), response_format="srt").body.decode()
    assert downloaded(browser, "srt") == ["a talk.srt", expected]
    assert downloaded(browser, "vtt")[1] == served.transcribe(encode(speech), response_format="vtt").body.decode()
    assert downloaded(browser, "txt") == ["a talk.txt", "one two\nthree\n"]
    browser.run("document.querySelectorAll('.word')[2].click()")
    at = "return document.getElementById('player').currentTime"
    start, end = browser.run("return [cues[1].words[0].start, cues[1].words[0].end]")
    wait_until(lambda: browser.run("return document.getElementById('player').paused") and browser.run(at) >= end)
    assert start < browser.run(at) < end + 0.5
    browser.run("document.querySelector('.word').focus(); document.activeElement." + RIGHT)
    assert browser.run("return document.activeElement.textContent") == "two"
    assert browser.run("return document.querySelectorAll('.word[tabindex=\"0\"]').length") == 1


@needs_browser
def test_what_is_said_appears_while_it_is_said(browser: Browser, served: Served) -> None:
    open_page(browser, served)
    browser.run("document.getElementById('speak').click()")
    wait_until(lambda: browser.run("return document.getElementById('partial').textContent").startswith("four"))
    wait_until(lambda: browser.run(WORDS) == ["four", "five", "six"])
    browser.run("document.getElementById('speak').click()")
    wait_until(lambda: browser.run(STATUS) == "3 words.")
    assert browser.run("return document.getElementById('speak').textContent") == "Speak"
    wait_until(lambda: browser.run("return document.getElementById('player').duration") > 2)
    assert downloaded(browser, "txt") == ["spoken.txt", "four five six\n"]


@needs_browser
def test_errors_are_told(browser: Browser, served: Served) -> None:
    open_page(browser, served)
    drop(browser, b"no sound")
    wait_until(lambda: "expected" in browser.run(STATUS) or "not audio" in browser.run(STATUS))
    enter(browser, "token", "wrong")
    wait_until(lambda: "token" in browser.run(STATUS))
    browser.run("document.getElementById('speak').click()")
    wait_until(lambda: "token" in browser.run(STATUS) and browser.run("return live === null"))


@needs_browser
@pytest.mark.parametrize("width", [360, 1200])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_legible_on_every_screen(
    browser: Browser, served: Served, stand_in: StandIn, width: int, scheme: str
) -> None:
    browser.look(width=width, height=800, scheme=scheme)
    open_page(browser, served)
    browser.run(
        "document.getElementById('options').open = true; show(true);"
        "addWords(['sure', 'doubtful', '也许'].map((word, i) => ({word, start: i, end: i + 1, confidence: 1 - i / 2})),"
        " 'sure doubtful 也许');"
    )
    assert browser.run("return document.documentElement.scrollWidth") <= width
    contrasts = browser.run(CONTRASTS)
    assert {name: value for name, value in contrasts.items() if value < 4.5} == {}
    heights = browser.run("return [...document.querySelectorAll('.row > *')].map(button => button.offsetHeight)")
    assert len(heights) == 6 and min(heights) >= 44  # a finger's width
