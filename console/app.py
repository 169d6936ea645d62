"""The process: options in, one listening socket out, until SIGTERM or SIGINT.

The composition root of the console. Bad input, an unreadable record and a busy port end here with one line on
stderr and exit code 2, before anything is started.
"""

import asyncio
import errno
import logging
import os
import signal
import socket
import sys
import time
from pathlib import Path

import msgspec
import uvloop
from aiohttp import web

from console.cpu import ProcessTable
from console.feed import Feed
from console.live import Live
from console.options import BadInput, Options, parse
from console.record import UnreadableRecord
from console.replay import Replay
from console.run import Run
from console.web import application
from contract.messages import Ready
from contract.record import RunBegin, RunHead
from contract.topology import Endpoints

#: Open pages are let go at once; what is being answered beside them gets this long.
SHUTDOWN_S = 0.5


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises BadInput that names the address."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=128)
    except OSError as fault:
        if fault.errno == errno.EADDRINUSE:
            raise BadInput(
                f"{host}:{port} is in use; end what listens there or choose another port with --listen"
            ) from None
        raise BadInput(
            f"cannot listen on {host}:{port}: {fault.strerror}; choose another address with --listen"
        ) from None


def stack_run(endpoints: Endpoints, record: Path) -> RunBegin:
    """The run that a console with `--endpoints` begins by itself. Its stack is not its own descendant."""
    started_at = time.time()
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(started_at))
    head = RunHead(drill="stack", title="The stack", stamp=stamp, seed=0, procedure="", started_at=started_at)
    return RunBegin(str(record.absolute()), head, endpoints)


async def serve(options: Options, sock: socket.socket) -> None:
    """Serves until a signal. Raises BadInput for what cannot be read or written."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    feed = Feed()
    replay, stack = open_replay(options, feed), open_stack(options)
    async with asyncio.TaskGroup() as group:
        source = replay or Live(group, feed, time.monotonic, options.probe_host, ProcessTable())
        if isinstance(source, Live) and stack is not None:
            source.begin_stack(stack)
        turning = group.create_task(source.run())
        runner = web.AppRunner(application(source, feed), access_log=None, shutdown_timeout=SHUTDOWN_S)
        await runner.setup()
        await web.SockSite(runner, sock).start()
        if options.ready_fd is not None:
            announce(options.ready_fd, options.host, sock)
        await stop.wait()
        await runner.cleanup()
        turning.cancel()
        if isinstance(source, Live):
            await source.close()


def open_replay(options: Options, feed: Feed) -> Replay | None:
    if options.replay is None:
        return None
    try:
        return Replay(options.replay, options.speed, time.monotonic, feed)
    except UnreadableRecord as fault:
        raise BadInput(f"--replay: {fault}") from None


def open_stack(options: Options) -> Run | None:
    if options.endpoints is None or options.record is None:
        return None
    try:
        return Run(stack_run(options.endpoints, options.record), time.monotonic)
    except OSError as fault:
        raise BadInput(
            f"--record {options.record}: {fault.strerror}; name a folder that can be written"
        ) from None


def announce(fd: int, host: str, sock: socket.socket) -> None:
    """The Ready line, then the descriptor is closed: its reader waits for the end of file."""
    name = f"[{host}]" if ":" in host else host
    ready = Ready(os.getpid(), {"console": f"http://{name}:{sock.getsockname()[1]}"})
    with os.fdopen(fd, "wb", buffering=0) as out:
        out.write(msgspec.json.encode(ready) + b"\n")


def main(argv: list[str] | None = None) -> int:
    """Exit code 0 after a signal, 2 for bad input."""
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    try:
        options = parse(sys.argv[1:] if argv is None else argv)
        with (
            listen(options.host, options.port) as sock,
            asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        ):
            runner.run(serve(options, sock))
    except BadInput as fault:
        print(f"error: {fault}", file=sys.stderr)
        return 2
    return 0
