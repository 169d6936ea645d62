"""Finds a Chromium for the page's tests, or says why there is none.

On the PATH first; as root on Debian the distribution's package; elsewhere Playwright's own download.
"""

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
INSTALL_TIMEOUT_S = 300

#: A browser in a test machine: no window, no GPU, no talk of its own with the outside.
FLAGS = (
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def flags() -> list[str]:
    """Chromium refuses its sandbox to root."""
    return [*FLAGS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]


@functools.cache
def find() -> tuple[str | None, str]:
    """(path, "") or (None, "not run: reason"). May take minutes, once, where a browser has to be fetched."""
    if path := _on_path() or _downloaded():
        return path, ""
    if os.geteuid() == 0 and shutil.which("apt-get"):
        how = "apt-get install chromium"
        _run("apt-get", "update", "-qq") and _run("apt-get", "install", "-y", "-qq", "chromium")
    else:
        how = "playwright install chromium"
        _run(sys.executable, "-m", "playwright", "install", "chromium")
    if path := _on_path() or _downloaded():
        return path, ""
    return None, f"not run: no Chromium on the PATH, and none to be had by {how!r}"


def _on_path() -> str | None:
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def _downloaded() -> str | None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if Path(path).exists() else None


def _run(*command: str) -> bool:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, timeout=INSTALL_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


if __name__ == "__main__":
    found, reason = find()
    print(f"browser for the page's tests: {found or reason}")
