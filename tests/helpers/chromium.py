"""Open pages in a headless Chromium: what it shows, where its text is, and what it requests from the network."""

import contextlib
import json
import shutil
import tempfile

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
DRIVER = "chromedriver"

#: Collect each visible text with the boxes of its lines, the box of its table cell, chart or card, and its colours;
#: elements wider than the window; the charts with what is outside of them; how full the bars of shares are; how
#: long the columns of cards are; and the colours that must differ.
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
  const frame = (parent.closest('td, th, pre, svg, .tile, section, main') || document.body).getBoundingClientRect();
  texts.push({text: node.data.trim(), size: boxes.length ? boxes[0].height : 0,
    color: inChart ? style.fill : style.color, background: background(parent),
    frame: [frame.left, frame.top, frame.right, frame.bottom],
    boxes: boxes.filter(b => b.width && b.height).map(b => [b.left, b.top, b.right, b.bottom])});
}
const beyond = (e, box) => {
  const b = e.getBoundingClientRect();
  return b.left < box.left - 0.5 || b.right > box.right + 0.5 || b.top < box.top - 0.5 || b.bottom > box.bottom + 0.5;
};
const page = {left: 0, right: innerWidth, top: -Infinity, bottom: Infinity};
const describe = e => e.tagName + ' ' + e.textContent.slice(0, 40);
const charts = [...document.querySelectorAll('svg.chart')].map(svg => {
  const box = svg.getBoundingClientRect();
  const outside = [...svg.querySelectorAll('*:not(title)')].filter(e => beyond(e, box)).map(describe);
  return {width: box.width, height: box.height, outside};
});
const fill = selector => {
  const e = document.querySelector(selector);
  if (!e) return null;
  const style = getComputedStyle(e);
  return style.fill === 'none' ? style.stroke : style.fill;
};
const shares = [...document.querySelectorAll('.share')].map(e => {
  return (e.firstElementChild || e).getBoundingClientRect().width / e.getBoundingClientRect().width;
});
const cards = [...document.querySelectorAll('.cards > section')].map(e => e.getBoundingClientRect());
const columns = [...new Set(cards.map(b => b.left))].map(left => {
  return Math.max(...cards.filter(b => b.left === left).map(b => b.bottom)) - Math.min(...cards.map(b => b.top));
});
const section = document.querySelector('section');
return {texts, charts, shares, columns,
  wide: [...document.querySelectorAll('body *')].filter(e => beyond(e, page)).map(describe),
  scroll: document.documentElement.scrollWidth, width: innerWidth,
  looks: {card: section && background(section), after: fill('.mark.after'), before: fill('.mark.before'),
    shade1: fill('.shade1')},
  sections: [...document.querySelectorAll('section')].map(s => s.id)};
"""


def missing_programs():
    """Return the names of the programs that are not installed."""
    lacks = [] if any(map(shutil.which, BROWSERS)) else ["Chromium"]
    return lacks + ([] if shutil.which(DRIVER) else ["chromedriver"])


def missing():
    """Describe what is not installed; return "" if everything is."""
    lacks = missing_programs()
    try:
        import selenium  # noqa: F401
    except ImportError:
        lacks.append("selenium (pip install 'selenium>=4.11')")
    return ", ".join(lacks)


class Chromium:
    """Hold one browser, and open many pages in it."""

    def __init__(self, driver):
        self._driver = driver

    def open(self, path, width, dark):
        """Open a file at a width and in a theme; return what _MEASURE finds."""
        self._driver.get_log("performance")  # discards the log of earlier pages
        self._driver.get_log("browser")
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        theme = {"features": [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]}
        self._driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        self._driver.execute_cdp_cmd("Emulation.setEmulatedMedia", theme)
        self._driver.get(path.resolve().as_uri())
        return self._driver.execute_script(_MEASURE)

    def requests(self):
        """Return the addresses requested since the page was opened."""
        messages = [json.loads(entry["message"])["message"] for entry in self._driver.get_log("performance")]
        return [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]

    def console(self):
        """Return the console messages since the page was opened."""
        return [entry["message"] for entry in self._driver.get_log("browser")]

    def screenshot(self, path):
        """Save a picture of the whole page as PNG."""
        import base64

        shot = self._driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True})
        path.write_bytes(base64.b64decode(shot["data"]))


@contextlib.contextmanager
def started():
    """Start a Chromium with an empty profile, and end it on exit."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = next(filter(None, map(shutil.which, BROWSERS)))
        for flag in (
            "headless",
            "hide-scrollbars",  # scrollbars take some of the requested width
            "no-sandbox",  # root cannot use the sandbox
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
            driver.get("about:blank")  # otherwise requests of the first tab count as requests of the page
            yield Chromium(driver)
        finally:
            driver.quit()
