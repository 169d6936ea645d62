"""Takes the documentation's pictures from a recorded run: `make pictures`.

Replays the run on the console's own page, stopped at the middle of the wall, and opens its report; needs the
tests' browser.
"""

import argparse
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

import msgspec
from playwright.sync_api import Browser, sync_playwright

from contract.messages import Ready
from drills.rundir import RunDir, find_run
from tests import browser

PICTURES = Path(__file__).parent / "pictures"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", nargs="?", default="latest")
    run_dir = find_run(parser.parse_args().run, Path("runs"))
    executable, reason = browser.find()
    if executable is None:
        print(f"error: {reason}", file=sys.stderr)
        return 2
    PICTURES.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=executable, args=browser.flags())
        picture_page(chromium, run_dir)
        picture_report(chromium, run_dir)
        chromium.close()
    return 0


def picture_page(chromium: Browser, run_dir: RunDir) -> None:
    """The live page as it was in the middle of the wall."""
    moments = msgspec.json.decode((run_dir.path / "report.json").read_bytes())["moments_s"]
    middle = moments["push"] + 0.8 * (moments["rollback"] - moments["push"])
    read_fd, write_fd = os.pipe()
    command = f"-m console --listen 127.0.0.1:0 --ready-fd {write_fd} --replay".split()
    console = subprocess.Popen([sys.executable, *command, str(run_dir.path)], pass_fds=(write_fd,))
    os.close(write_fd)
    try:
        with os.fdopen(read_fd, "rb") as ready:
            url = next(iter(msgspec.json.decode(ready.readline(), type=Ready).urls.values()))
        stop = msgspec.json.encode({"speed": 0, "t": middle})
        urllib.request.urlopen(urllib.request.Request(f"{url}/api/v1/replay", stop, method="POST")).close()
        page = chromium.new_page(viewport={"width": 1280, "height": 720}, color_scheme="dark")
        page.goto(url)
        page.get_by_test_id("status-word").filter(has_text="502").wait_for()
        page.wait_for_timeout(600)  # the chart is drawn on the next frames
        page.screenshot(path=PICTURES / "wall.png")
        page.close()
    finally:
        console.terminate()
        console.wait()


def picture_report(chromium: Browser, run_dir: RunDir) -> None:
    page = chromium.new_page(viewport={"width": 1280, "height": 1760}, color_scheme="light")
    page.goto((run_dir.path / "report.html").resolve().as_uri())
    page.locator(".js-plotly-plot .main-svg").first.wait_for()
    page.screenshot(path=PICTURES / "report.png")
    page.close()


if __name__ == "__main__":
    sys.exit(main())
