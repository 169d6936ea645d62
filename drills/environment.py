"""What a run ran on: part of its record, so that figures from two machines are not compared unawares."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

import psutil


def environment() -> dict[str, str | int]:
    return {
        "badgateway": version("badgateway"),
        "python": platform.python_version(),
        "kernel": platform.release(),
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_mib": psutil.virtual_memory().total // 2**20,
        **{name: version(name) for name in ("locust", "aiohttp", "uvloop", "httptools", "google-re2")},
    }


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
