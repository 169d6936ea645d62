"""Whether this machine can run a drill: a list of checks, each with what to do when it fails.

`doctor` prints all of them; a drill asks before it starts anything, and names the first that stops it.
"""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import psutil

CORES_MIN = 2
#: The whole stack peaks at under half of this; the rest is for the browser that looks at it.
MEMORY_MIN_MIB = 1536


@dataclass(frozen=True)
class Finding:
    """One check's result. `needed`: without it no local drill runs. `remedy`: what to do, in one sentence."""

    name: str
    found: str
    good: bool
    needed: bool
    remedy: str


class MachineUnfit(Exception):
    """No drill can run here; the message is one line and names the remedy."""


def examine() -> list[Finding]:
    """Every check, in the order in which they matter."""
    return [finding for check in CHECKS for finding in check()]


def require_fit() -> None:
    """Raises MachineUnfit for the first needed thing that is missing."""
    for finding in examine():
        if finding.needed and not finding.good:
            raise MachineUnfit(f"{finding.name}: {finding.found}; {finding.remedy}")


def _system() -> Iterator[Finding]:
    linux = sys.platform == "linux"
    yield Finding("Linux", sys.platform, linux, True, "local drills need Linux; elsewhere: docker compose up")
    if linux:
        enough = hasattr(os, "pidfd_open") and hasattr(os, "memfd_create")
        release = os.uname().release
        yield Finding("kernel", release, enough, True, "pidfd and memfd are needed: Linux 5.3 or later")


def _python() -> Iterator[Finding]:
    found = ".".join(map(str, sys.version_info[:3]))
    yield Finding("Python", found, sys.version_info >= (3, 11), True, "install Python 3.11 or later")


def _cores() -> Iterator[Finding]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    few = f"at least {CORES_MIN} are needed, or the load generator and its victims falsify each other"
    yield Finding("cores", str(cores), cores >= CORES_MIN, True, few)


def _memory() -> Iterator[Finding]:
    available_mib = psutil.virtual_memory().available // 2**20
    remedy = f"{MEMORY_MIN_MIB} MiB are needed; close something"
    yield Finding("memory", f"{available_mib} MiB available", available_mib >= MEMORY_MIN_MIB, True, remedy)


def _packages() -> Iterator[Finding]:
    for package in ("aiohttp", "uvloop", "httptools", "google-re2", "locust", "msgspec", "plotly"):
        try:
            yield Finding(package, version(package), True, True, "")
        except PackageNotFoundError:
            yield Finding(package, "missing", False, True, "run: make install")


def _descriptors() -> Iterator[Finding]:
    if sys.platform != "linux":
        return
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield Finding("open files", str(soft), soft >= 1024, True, "run: ulimit -n 4096")


def _programs() -> Iterator[Finding]:
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    yield Finding(
        "browser",
        browser or "none",
        browser is not None,
        False,
        "only the page's tests need it: make test gets one",
    )
    docker = shutil.which("docker")
    yield Finding("docker", docker or "none", docker is not None, False, "only docker compose needs it")


CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    _system,
    _python,
    _cores,
    _memory,
    _descriptors,
    _packages,
    _programs,
)
