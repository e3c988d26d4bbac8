"""A headless Chromium to open pages in: what it shows, where its text lies, and what it asked the network for."""

import contextlib
import json
import shutil
import tempfile

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
DRIVER = "chromedriver"

#: Each piece of text that shows, with the boxes of its lines and its colours; what is wider than the window; the charts
#: with what lies outside of them; the colours of what must be told apart.
_MEASURE = """
const texts = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
const background = e => {
  for (; e; e = e.parentElement) {
    const color = getComputedStyle(e).backgroundColor;
    if (color !== 'rgba(0, 0, 0, 0)') return color;
  }
  return 'rgb(255, 255, 255)';
};
for (let node = walker.nextNode(); node; node = walker.nextNode()) {
  const parent = node.parentElement, inChart = parent.tagName === 'text';
  if (!node.data.trim() || ['title', 'SCRIPT'].includes(parent.tagName)) continue;
  const style = getComputedStyle(parent), range = document.createRange();
  range.selectNodeContents(node);
  const boxes = inChart ? [parent.getBoundingClientRect()] : [...range.getClientRects()];
  texts.push({text: node.data.trim(), size: boxes.length ? boxes[0].height : 0,
    color: inChart ? style.fill : style.color, background: background(parent),
    boxes: boxes.filter(b => b.width && b.height).map(b => [b.left, b.top, b.right, b.bottom])});
}
const beyond = (e, box) => {
  const b = e.getBoundingClientRect();
  return b.left < box.left - 0.5 || b.right > box.right + 0.5 || b.top < box.top - 0.5 || b.bottom > box.bottom + 0.5;
};
const page = {left: 0, right: innerWidth, top: -Infinity, bottom: Infinity};
const said = e => e.tagName + ' ' + e.textContent.slice(0, 40);
const charts = [...document.querySelectorAll('svg.chart')].map(svg => {
  const box = svg.getBoundingClientRect();
  const outside = [...svg.querySelectorAll('*:not(title)')].filter(e => beyond(e, box)).map(said);
  return {width: box.width, height: box.height, outside};
});
const fill = selector => {
  const e = document.querySelector(selector);
  if (!e) return null;
  const style = getComputedStyle(e);
  return style.fill === 'none' ? style.stroke : style.fill;
};
const section = document.querySelector('section');
return {texts, charts, wide: [...document.querySelectorAll('body *')].filter(e => beyond(e, page)).map(said),
  scroll: document.documentElement.scrollWidth, width: innerWidth,
  looks: {card: section && background(section), after: fill('.mark.after'), before: fill('.mark.before'),
    shade1: fill('.shade1')},
  sections: [...document.querySelectorAll('section')].map(s => s.id)};
"""


def missing_programs():
    """Which programs are not there."""
    lacks = [] if any(map(shutil.which, BROWSERS)) else ["Chromium"]
    return lacks + ([] if shutil.which(DRIVER) else ["chromedriver"])


def missing():
    """What is not there, in words; empty where all is."""
    lacks = missing_programs()
    try:
        import selenium  # noqa: F401
    except ImportError:
        lacks.append("selenium (pip install 'anchorlib[browser]')")
    return ", ".join(lacks)


class Chromium:
    """One browser for many pages."""

    def __init__(self, driver):
        self._driver = driver

    def open(self, path, width, dark):
        """Open a file at a width and in a theme; returns what _MEASURE finds."""
        self._driver.get_log("performance")  # what earlier pages did
        self._driver.get_log("browser")
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        theme = {"features": [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]}
        self._driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        self._driver.execute_cdp_cmd("Emulation.setEmulatedMedia", theme)
        self._driver.get(path.resolve().as_uri())
        return self._driver.execute_script(_MEASURE)

    def requests(self):
        """The addresses that were asked for since the page was opened."""
        messages = [json.loads(entry["message"])["message"] for entry in self._driver.get_log("performance")]
        return [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]

    def console(self):
        """What the console says since the page was opened."""
        return [entry["message"] for entry in self._driver.get_log("browser")]

    def screenshot(self, path):
        """The whole page as PNG."""
        import base64

        shot = self._driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True})
        path.write_bytes(base64.b64decode(shot["data"]))


@contextlib.contextmanager
def started():
    """A Chromium of its own, with an empty profile, that is ended at the end."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = next(filter(None, map(shutil.which, BROWSERS)))
        for flag in (
            "headless",
            "hide-scrollbars",  # which take room of the width that is asked for
            "no-sandbox",  # which root must do without
            "disable-gpu",
            "disable-quic",
            "disable-dev-shm-usage",
            "no-first-run",
            "disable-background-networking",
            "disable-component-update",
            "disable-sync",
            f"user-data-dir={profile}",
        ):
            options.add_argument(f"--{flag}")
        options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
        driver = webdriver.Chrome(options=options, service=Service(shutil.which(DRIVER)))
        try:
            driver.get("about:blank")  # or what the first tab does is taken for the page's doing
            yield Chromium(driver)
        finally:
            driver.quit()
