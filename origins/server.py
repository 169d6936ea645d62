"""The process: options in, one listening socket out, until SIGTERM or SIGINT.

The composition root of the origins. Bad input and a busy port end here with one line on stderr and exit code 2,
before anything is started.
"""

import argparse
import asyncio
import errno
import os
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import msgspec
import uvloop
from aiohttp import web

from contract.messages import Ready
from origins.access_log import AccessLog
from origins.app import Origins

#: Longer than an edge node keeps an idle upstream connection, so that the node is always the one to close it.
KEEPALIVE_S = 300.0

#: What is still being answered at the end gets this long.
SHUTDOWN_S = 1.0


class Options(msgspec.Struct, frozen=True):
    """The command line, checked."""

    host: str
    port: int
    log: Path | None
    ready_fd: int | None
    seed: int


class BadInput(Exception):
    """One line for the user, exit code 2."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise BadInput(message)


def parse(argv: list[str]) -> Options:
    """Options from a command line. BadInput names the option and what it should have been."""
    parser = _Parser(prog="python -m origins", description="Mock origin sites by Host header, in one process.")
    parser.add_argument("--listen", default="127.0.0.1:9000", metavar="HOST:PORT", help="port 0: any free one")
    parser.add_argument("--log", type=Path, metavar="FILE", help="append an access log (JSON lines)")
    parser.add_argument(
        "--ready-fd", type=int, metavar="N", help="write one JSON line to this descriptor when ready"
    )
    parser.add_argument("--seed", type=int, default=1, help="decides every body and every latency")
    args = parser.parse_args(argv)
    host, colon, port = args.listen.rpartition(":")
    if not (colon and host and port.isdecimal() and int(port) < 65536):
        raise BadInput(f"--listen {args.listen}: expected HOST:PORT, for example 127.0.0.1:9000")
    if args.ready_fd is not None:
        try:
            os.fstat(args.ready_fd)
        except OSError:
            raise BadInput(
                f"--ready-fd {args.ready_fd}: no such open descriptor; pass one that the parent left open"
            ) from None
    return Options(host.strip("[]"), int(port), args.log, args.ready_fd, args.seed)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket, or BadInput that names the address."""
    try:
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=1024
        )
    except OSError as fault:
        if fault.errno == errno.EADDRINUSE:
            raise BadInput(
                f"{host}:{port} is in use; end what listens there or choose another port with --listen"
            ) from fault
        raise BadInput(
            f"cannot listen on {host}:{port}: {fault.strerror}; choose another with --listen"
        ) from fault


def open_log(path: Path | None) -> AccessLog:
    try:
        return AccessLog(path)
    except OSError as fault:
        raise BadInput(
            f"--log {path}: {fault.strerror}; name a file in a folder that exists and is writable"
        ) from fault


def announce(fd: int, url: str) -> None:
    """The Ready line, then the descriptor is closed: its reader waits for the end of file."""
    line = msgspec.json.encode(Ready(os.getpid(), {"origins": url})) + b"\n"
    with os.fdopen(fd, "wb", buffering=0) as out:
        out.write(line)


async def serve(options: Options, sock: socket.socket, log: AccessLog) -> None:
    """Serves until a signal; then lets what is being answered finish, within `SHUTDOWN_S`."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    app = Origins(options.seed, log).application()
    runner = web.AppRunner(app, access_log=None, keepalive_timeout=KEEPALIVE_S, shutdown_timeout=SHUTDOWN_S)
    await runner.setup()
    await web.SockSite(runner, sock).start()
    if options.ready_fd is not None:
        host = f"[{options.host}]" if ":" in options.host else options.host
        announce(options.ready_fd, f"http://{host}:{sock.getsockname()[1]}")
    await stop.wait()
    await runner.cleanup()


def main(argv: list[str] | None = None) -> int:
    """Exit code 0 after a signal, 2 for bad input."""
    try:
        options = parse(sys.argv[1:] if argv is None else argv)
        sock = listen(options.host, options.port)
        log = open_log(options.log)
    except BadInput as fault:
        print(f"error: {fault}", file=sys.stderr)
        return 2
    with suppress(KeyboardInterrupt), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(options, sock, log))
    return 0
