"""The command line of `python -m console`, checked before anything is started."""

import argparse
import os
from pathlib import Path
from typing import NoReturn

import msgspec

from contract.sites import SITES
from contract.topology import Endpoints

DEFAULT_LISTEN = "127.0.0.1:8090"


class BadInput(Exception):
    """One line for the user, exit code 2."""


class Options(msgspec.Struct, frozen=True):
    """`endpoints` and `record` come together: a stack to record by itself. `replay`: a run's folder to play."""

    host: str
    port: int
    ready_fd: int | None
    endpoints: Endpoints | None
    record: Path | None
    replay: Path | None
    speed: float
    probe_host: str


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise BadInput(message)


def parse(argv: list[str]) -> Options:
    """Raises BadInput, naming the option and what it should have been."""
    args = _parser().parse_args(argv)
    host, port = _address(args.listen)
    if args.ready_fd is not None:
        _open_descriptor(args.ready_fd)
    if (args.endpoints is None) != (args.record is None):
        raise BadInput("--endpoints and --record go together: what to watch, and where to record it")
    if args.replay is not None and args.endpoints is not None:
        raise BadInput("--replay plays a recorded run and watches nothing; leave --endpoints and --record out")
    if not 0 < args.speed <= 1000:
        raise BadInput(f"--speed {args.speed:g}: expected a number above 0 and up to 1000")
    return Options(
        host=host,
        port=port,
        ready_fd=args.ready_fd,
        endpoints=None if args.endpoints is None else _read_endpoints(args.endpoints),
        record=args.record,
        replay=args.replay,
        speed=args.speed,
        probe_host=args.probe_host,
    )


def _parser() -> _Parser:
    parser = _Parser(
        prog="python -m console",
        description="Watches a stack from outside, records it and shows it on a page; or plays a recorded run.",
    )
    parser.add_argument("--listen", default=DEFAULT_LISTEN, metavar="HOST:PORT", help="port 0: any free one")
    parser.add_argument(
        "--ready-fd", type=int, metavar="N", help="write one JSON line to this descriptor when ready"
    )
    parser.add_argument("--endpoints", type=Path, metavar="FILE", help="JSON: where the stack's processes answer")
    parser.add_argument("--record", type=Path, metavar="DIR", help="record the stack into this folder")
    parser.add_argument("--replay", type=Path, metavar="RUN_DIR", help="play a recorded run")
    parser.add_argument("--speed", type=float, default=1.0, help="of the replay; 20: a minute in three seconds")
    parser.add_argument(
        "--probe-host", default=SITES[0].host, metavar="HOST", help="the site that the outside probe asks for"
    )
    return parser


def _address(listen: str) -> tuple[str, int]:
    host, colon, port = listen.rpartition(":")
    if not (colon and host and port.isdecimal() and int(port) < 65536):
        raise BadInput(f"--listen {listen}: expected HOST:PORT, for example {DEFAULT_LISTEN}")
    return host.strip("[]"), int(port)


def _open_descriptor(fd: int) -> None:
    try:
        os.fstat(fd)
    except OSError:
        raise BadInput(f"--ready-fd {fd}: no such open descriptor; pass one that the parent left open") from None


def _read_endpoints(path: Path) -> Endpoints:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Endpoints)
    except OSError as fault:
        raise BadInput(f"--endpoints {path}: {fault.strerror}; name a readable file") from None
    except msgspec.MsgspecError as fault:
        raise BadInput(f"--endpoints {path}: {fault}; it should be JSON of contract.topology.Endpoints") from None
