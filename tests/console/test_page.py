"""The page in a real browser: a recorded run at 20 times its speed, and a live console that is lost."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from console.record import read_lines
from contract.record import Event
from contract.vocabulary import EventKind
from tests import browser as chromium

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]
RUN = ROOT / "tests" / "data" / "outage"
#: Moments of the recording, seconds.
AT = {event.kind: event.t for event in reversed(read_lines(RUN)) if isinstance(event, Event)}
IN_THE_WALL = AT[EventKind.PUSH] + 6.0
ROLLING_BACK = AT[EventKind.REVERTED] + 1.0

NODES = ("ams-1", "ams-2", "iad-1", "iad-2", "sjc-1", "sjc-2", "nrt-1", "nrt-2")

#: Keeps every text that an element had, from the first paint on.
WATCH = """
window.seen = {};
addEventListener("DOMContentLoaded", () => {
  const note = (id, text) => {
    const all = (window.seen[id] ??= []);
    if (all.at(-1) !== text) all.push(text);
  };
  const look = () => {
    note("word", document.querySelector("[data-testid=status-word]").textContent);
    for (const tile of document.querySelectorAll("[data-testid^=tile-]"))
      note(tile.dataset.testid, tile.querySelector(".tile-version").textContent);
  };
  new MutationObserver(look).observe(document.body, { childList: true, characterData: true, subtree: true });
  look();
});
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path, why_not = chromium.find()
    if path is None:
        pytest.skip(why_not)
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=chromium.flags())
        yield running
        running.close()


@contextmanager
def console(*argv: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    reading, writing = os.pipe()
    command = [sys.executable, "-m", "console", "--listen", "127.0.0.1:0", "--ready-fd", str(writing), *argv]
    child = subprocess.Popen(command, pass_fds=(writing,), cwd=ROOT)
    os.close(writing)
    try:
        with os.fdopen(reading, "rb") as ready:
            yield child, json.loads(ready.read())["urls"]["console"]
    finally:
        child.kill()
        child.wait()


@contextmanager
def opened(browser: Browser, url: str, scheme: str = "dark") -> Iterator[tuple[Page, list[str]]]:
    """The page as a projector shows it, and everything that went wrong in it."""
    page = browser.new_page(viewport={"width": 1280, "height": 720}, color_scheme=scheme)  # type: ignore[arg-type]
    faults: list[str] = []
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.add_init_script(WATCH)
    try:
        page.goto(url)
        yield page, faults
    finally:
        page.close()


def command(url: str, **body: float) -> None:
    with urllib.request.urlopen(f"{url}/api/v1/replay", json.dumps(body).encode(), timeout=5) as answer:
        assert answer.status == 200


def test_a_recorded_outage_at_20_times_its_speed(browser: Browser) -> None:
    with console("--replay", str(RUN), "--speed", "1") as (_, url), opened(browser, url) as (page, faults):
        expect(page.get_by_test_id("mode")).to_have_text("REPLAY 1\u00d7")
        for part in (
            "chart",
            "origins",
            "probe",
            "log",
            "clock",
            "sentence",
            *(f"tile-{node}" for node in NODES),
        ):
            expect(page.get_by_test_id(part)).to_be_visible()
        command(url, t=0, speed=20)
        expect(page.get_by_test_id("mode")).to_have_text("REPLAY 20\u00d7")
        expect(page.get_by_test_id("status-word")).to_have_text("RECOVERED", timeout=20_000)
        seen = page.evaluate("window.seen")
        # The shorter words between them may pass between two views on a slow machine.
        words = [word for word in seen["word"] if word in ("HEALTHY", "502", "RECOVERED")]
        words = [word for word, _ in groupby(words)]  # the first may have been shown before the rewind, too
        assert words == ["HEALTHY", "502", "RECOVERED"]
        for node in NODES:
            shown = [version for version in seen[f"tile-{node}"] if version.startswith("v")]
            versions = [version for version, _ in groupby(shown)]
            assert versions == ["v1", "v2", "v1"], node
        assert page.get_by_test_id("clock").inner_text().startswith("T+ 00:")
        assert "served again" in page.get_by_test_id("sentence").inner_text()
        assert "v1 goes back to 8 nodes" in page.get_by_test_id("log").inner_text()
        assert faults == []


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_the_wall_is_seen_from_the_back_of_the_room(browser: Browser, scheme: str) -> None:
    with (
        console("--replay", str(RUN), "--speed", "1") as (_, url),
        opened(browser, url, scheme) as (page, faults),
    ):
        command(url, t=IN_THE_WALL, speed=0)
        word = page.get_by_test_id("status-word")
        expect(word).to_have_text("502")
        box = word.bounding_box()
        assert box is not None
        assert box["height"] > 72  # a tenth of the screen
        expect(page.get_by_test_id("probe")).to_contain_text("502")
        expect(page.get_by_test_id("origins")).to_contain_text("healthy")
        tile = page.get_by_test_id("tile-ams-1")
        expect(tile).to_have_attribute("data-state", "bad")
        expect(tile).to_contain_text("CPU quota")
        assert page.evaluate("[innerHeight, innerWidth]") == page.evaluate(
            "[document.documentElement.scrollHeight, document.documentElement.scrollWidth]"
        )
        # Orange stands above blue in the chart: the wall is drawn, not only told.
        assert page.evaluate(_HAS_COLOUR, ["chart", "--bad"])
        assert page.evaluate(_HAS_COLOUR, ["chart", "--ok"])
        assert page.evaluate(_OVERFLOWING) == []
        assert faults == []


def test_the_longest_word_fits_beside_the_clock(browser: Browser) -> None:
    with console("--replay", str(RUN), "--speed", "1") as (_, url), opened(browser, url) as (page, _faults):
        command(url, t=ROLLING_BACK, speed=0)
        expect(page.get_by_test_id("status-word")).to_have_text("ROLLING BACK")
        word, clock = (page.get_by_test_id(name).bounding_box() for name in ("status-word", "clock"))
        assert word is not None
        assert clock is not None
        assert word["x"] + word["width"] <= clock["x"]


def test_a_paused_replay_goes_on_at_the_press_of_a_key(browser: Browser) -> None:
    with console("--replay", str(RUN), "--speed", "5") as (_, url), opened(browser, url) as (page, _faults):
        expect(page.get_by_test_id("mode")).to_have_text("REPLAY 5\u00d7")
        page.keyboard.press("Space")
        expect(page.get_by_test_id("mode")).to_have_text("REPLAY paused")
        page.keyboard.press("Space")
        expect(page.get_by_test_id("mode")).to_have_text("REPLAY 5\u00d7")


def test_a_lost_console_is_said_and_found_again(browser: Browser) -> None:
    with console() as (child, url), opened(browser, url) as (page, _faults):
        expect(page.get_by_test_id("mode")).to_have_text("LIVE")
        expect(page.get_by_test_id("sentence")).to_have_text("Waiting for a run to begin")
        child.send_signal(signal.SIGSTOP)
        expect(page.get_by_role("alert")).to_be_visible(timeout=10_000)
        child.send_signal(signal.SIGCONT)
        expect(page.get_by_role("alert")).to_be_hidden(timeout=10_000)
        child.send_signal(signal.SIGTERM)
        assert child.wait(timeout=5) == 0
        expect(page.get_by_role("alert")).to_be_visible(timeout=10_000)


_HAS_COLOUR = """
([id, name]) => {
  const canvas = document.querySelector(`[data-testid=${id}]`), pen = canvas.getContext("2d");
  const hex = getComputedStyle(canvas).getPropertyValue(name).trim();
  const [r, g, b] = [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
  const { data } = pen.getImageData(0, 0, canvas.width, canvas.height);
  let n = 0;
  for (let i = 0; i < data.length; i += 4) n += data[i] === r && data[i + 1] === g && data[i + 2] === b;
  return n > 200;
}
"""

#: Elements whose words stick out of their box.
_OVERFLOWING = """
() => [...document.querySelectorAll(".tile, .tile-cpu, .tile-head, .tile-rates, .cell, .status")]
  .filter((e) => e.scrollWidth > e.clientWidth + 1 || e.scrollHeight > e.clientHeight + 1)
  .map((e) => e.className + ": " + e.textContent.trim())
"""
