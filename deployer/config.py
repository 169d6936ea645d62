"""The command line, read once into a frozen `Config`; any fault is one line that names the fix."""

import argparse
from pathlib import Path
from typing import NoReturn

import msgspec

from deployer.events import SOAK_S, STUCK_AFTER_S

#: Beside the default ports of the edge (8080) and the console.
DEFAULT_LISTEN = "127.0.0.1:8070"


class ConfigFault(Exception):
    """Bad input: one line for stderr, exit code 2."""


class Config(msgspec.Struct, frozen=True):
    """`expect`: the enrolled nodes; None: the default fleet, and whoever was part of a rollout in progress."""

    host: str
    port: int
    store: Path
    expect: tuple[str, ...] | None = None
    rules: Path | None = None
    ready_fd: int | None = None
    soak_s: float = SOAK_S
    stuck_after_s: float = STUCK_AFTER_S

    @classmethod
    def load(cls, arguments: list[str]) -> "Config":
        """Raises ConfigFault; `--help` exits 0."""
        asked = _parser().parse_args(arguments)
        host, port = _address(asked.listen)
        return cls(
            host=host,
            port=port,
            store=Path(asked.store),
            expect=None if asked.expect is None else _names(asked.expect),
            rules=None if asked.rules is None else Path(asked.rules),
            ready_fd=asked.ready_fd,
            soak_s=_positive(asked.soak_s, "--soak-s"),
            stuck_after_s=_positive(asked.stuck_after_s, "--stuck-after-s"),
        )


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigFault(f"{message}; see python -m deployer --help")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m deployer", description="Ships rule sets to the fleet, and back.")
    parser.add_argument("--listen", default=DEFAULT_LISTEN, metavar="HOST:PORT", help="port 0: any free one")
    parser.add_argument("--store", required=True, metavar="PATH", help="SQLite file, created if missing")
    parser.add_argument("--expect", metavar="NODE[,NODE...]", help="enrolled nodes; default: the whole fleet")
    parser.add_argument("--rules", metavar="FILE", help="first rule set of an empty store")
    parser.add_argument("--ready-fd", type=int, metavar="N", help="write one JSON line there once it answers")
    parser.add_argument("--soak-s", type=float, default=SOAK_S, metavar="S",
                        help=f"time before a set becomes the last known good (default {SOAK_S:g})")  # fmt: skip
    parser.add_argument("--stuck-after-s", type=float, default=STUCK_AFTER_S, metavar="S",
                        help=f"time before a rollback is stuck (default {STUCK_AFTER_S:g})")  # fmt: skip
    return parser


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise ConfigFault(f"--listen {text!r} is not HOST:PORT, such as {DEFAULT_LISTEN}")
    return host.strip("[]"), int(port)


def _names(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names:
        raise ConfigFault("--expect needs at least one node, such as --expect ams-1,iad-2")
    return names


def _positive(value: float, option: str) -> float:
    if not 0 < value < 1e9:
        raise ConfigFault(f"{option} {value:g} is not a number of seconds above 0")
    return value
