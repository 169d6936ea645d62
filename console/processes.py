"""Tells by its command line what a process of a run is. In: the command line. Out: a name. Pure."""

from collections.abc import Sequence
from pathlib import Path

#: What was started → the role under which memory and CPU are summed.
ROLES: dict[str, str] = {
    "proxy": "front",
    "origins": "origins",
    "deployer": "deployer",
    "console": "console",
    "locust": "locust",
    "loadtest": "locust",
    "cli": "runner",
    "badgateway": "runner",
}


def started(cmdline: Sequence[str]) -> str:
    """`python -m NAME` or `python PATH/NAME` → NAME; else the program's own name; "" for none."""
    if "-m" in cmdline[:-1]:
        return cmdline[cmdline.index("-m") + 1].partition(".")[0]
    return next((Path(word).name for word in cmdline[1:2] or cmdline), "")


def role_of(cmdline: Sequence[str], parent: str, is_inspector: bool, is_root: bool) -> str:
    """`parent`: the parent's role. What a front has forked or started is its inspector or its forkserver."""
    if is_inspector:
        return "inspector"
    if parent in ("front", "forkserver", "inspector"):
        return "forkserver"
    return ROLES.get(started(cmdline), "runner" if is_root else "other")
