"""Finds the processes that belong to one test by a marker in their environment, which children inherit."""

import os
import secrets
import time
from pathlib import Path


def new_marker() -> str:
    return secrets.token_hex(16)


def with_marker(marker: str) -> dict[str, str]:
    """The environment to start the test's process with."""
    return {**os.environ, "BADGATEWAY_TEST_MARKER": marker, "NO_COLOR": "1", "COLUMNS": "120"}


def marked(marker: str) -> dict[int, str]:
    """pid → command line of every live process that carries the marker."""
    needle = f"BADGATEWAY_TEST_MARKER={marker}".encode()
    found = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            if needle in (folder / "environ").read_bytes().split(b"\0"):
                found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue  # gone, or not ours to read
    return found


def left_over(marker: str, within_s: float) -> dict[int, str]:
    """What is still there when the time is over; empty as soon as nothing is."""
    deadline = time.monotonic() + within_s
    while (found := marked(marker)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found
