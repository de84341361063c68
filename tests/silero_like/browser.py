"""A headless Chromium driven over WebDriver (plain HTTP and JSON), for looking at pages in tests."""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

# Without these, Chromium calls its maker's servers at every start.
QUIET = (
    "background-networking",
    "component-update",
    "sync",
    "default-apps",
    "extensions",
    "quic",
    "gpu",
    "dev-shm-usage",
)

CONTRASTS = """
const numbers = colour => colour.match(/[0-9.]+/g).map(Number);
const light = colour => numbers(colour).slice(0, 3).map(c => c / 255)
  .map(c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
  .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
const behind = element => {
  for (let e = element; e; e = e.parentElement) {
    const colour = getComputedStyle(e).backgroundColor;
    if ((numbers(colour)[3] ?? 1) > 0) return colour;
  }
};
const result = {};
const selectors = "SELECTORS".split("|");
for (const selector of selectors) {
  const element = document.querySelector(selector);
  const [a, b] = [light(getComputedStyle(element).color), light(behind(element))].sort((x, y) => y - x);
  result[selector] = (a + 0.05) / (b + 0.05);
}
return result;
"""


class Browser:
    """One window."""

    def __init__(self, address: str, arguments: Sequence[str] = ()) -> None:
        quiet = (f"--disable-{name}" for name in QUIET)
        options = ["--headless=new", "--no-sandbox", "--no-first-run", *quiet, *arguments]
        capabilities = {"alwaysMatch": {"goog:chromeOptions": {"args": options}}}
        self._address = f"{address}/session"
        self._address += f"/{self._call('', {'capabilities': capabilities})['sessionId']}"

    def open(self, page: Path | str) -> None:
        """Load a file or an address and wait until it has loaded."""
        self._call("/url", {"url": page if isinstance(page, str) else page.resolve().as_uri()})

    def run(self, script: str) -> Any:
        """Run the body of a JavaScript function in the page; return what it returns."""
        return self._call("/execute/sync", {"script": script, "args": []})

    def contrasts(self, selectors: str) -> dict[str, float]:
        """Return how far the text of each selector's first element stands out, by WCAG's formula; "|" parts them."""
        contrasts: dict[str, float] = self.run(CONTRASTS.replace("SELECTORS", selectors))
        return contrasts

    def look(self, *, width: int, height: int, scheme: str) -> None:
        """Take the size of a screen and the light or dark scheme."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 700}
        self._devtools("Emulation.setDeviceMetricsOverride", size)
        self._devtools("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})

    def busy_s(self) -> float:
        """Return the processor time, in seconds, that the page's main thread has taken since `count_time`."""
        metrics = self._devtools("Performance.getMetrics", {})["metrics"]
        return float(next(metric["value"] for metric in metrics if metric["name"] == "TaskDuration"))

    def count_time(self) -> None:
        """Count the page's processor time from here on: unlike time on the wall, it does not grow on a busy machine."""
        self._devtools("Performance.enable", {"timeDomain": "threadTicks"})

    def screenshot(self, path: Path) -> None:
        """Write what is seen as PNG."""
        path.write_bytes(base64.b64decode(self._call("/screenshot")))

    def close(self) -> None:
        """Close the window."""
        self._call("", method="DELETE")

    def _devtools(self, command: str, parameters: dict[str, Any]) -> Any:
        return self._call("/goog/cdp/execute", {"cmd": command, "params": parameters})

    def _call(self, path: str, body: dict[str, Any] | None = None, method: str | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self._address + path, data, {"Content-Type": "application/json"}, method=method
        )
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.load(answer)["value"]


def is_there() -> bool:
    """Tell whether Chromium and its driver are installed."""
    return bool(shutil.which("chromedriver") and (shutil.which("chromium") or shutil.which("google-chrome")))


@contextlib.contextmanager
def open_browser(*arguments: str) -> Iterator[Browser]:
    """Start the driver on a free port of this machine, and a window, with more of Chromium's arguments."""
    command = ["chromedriver", "--port=0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as driver:
        try:
            assert driver.stdout is not None
            line = next(line for line in driver.stdout if "started successfully on port" in line)
            port = int(line.split("port")[1].strip(" .\n"))
            browser = Browser(f"http://127.0.0.1:{port}", arguments)
            try:
                yield browser
            finally:
                browser.close()
        finally:
            driver.terminate()
