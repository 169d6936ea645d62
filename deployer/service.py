"""Composition root: config in, a running deployer out. Nothing is created before all of the input was checked.

Order: rules through the gates, port, store's lock, store; then the driver's task, the ticks and the server.
"""

import asyncio
import errno
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec
import uvloop
from aiohttp import web

from contract.messages import REPORT_PERIOD_S, Ready
from contract.topology import FLEET
from deployer.api import Api
from deployer.config import Config, ConfigFault
from deployer.driver import Driver, first_plan
from deployer.faults import Fault
from deployer.fleet import Fleet
from deployer.gates import pass_gates
from deployer.operations import Operations
from deployer.store import Store, StoreFault
from rules.model import RuleSetError
from rules.parse import digest_of

#: Requests and streams that do not end by themselves get this long when the process is told to stop.
SHUTDOWN_S = 1.0


@dataclass(frozen=True)
class FirstRules:
    """`--rules`, read and gated."""

    yaml: bytes
    name: str
    count: int

    @classmethod
    def load(cls, path: Path) -> "FirstRules":
        """Raises ConfigFault."""
        try:
            yaml = path.read_bytes()
            rule_set = pass_gates(yaml)
        except OSError as fault:
            raise ConfigFault(f"--rules {path}: {fault.strerror}") from None
        except RuleSetError as fault:
            raise ConfigFault(f"--rules {path}: {fault}") from None
        return cls(yaml, rule_set.name, len(rule_set.rules))


@dataclass(frozen=True)
class Service:
    """A running deployer, as tests see it."""

    base_url: str
    driver: Driver
    fleet: Fleet


def main(arguments: list[str]) -> int:
    """The process: 0 when told to stop, 2 with one line on stderr for bad input."""
    try:
        config = Config.load(arguments)
        first = None if config.rules is None else FirstRules.load(config.rules)
        if config.ready_fd is not None:
            _check_fd(config.ready_fd)
        listening = bind(config.host, config.port)
        store = Store.open(config.store)
    except (ConfigFault, StoreFault) as fault:
        print(f"error: {fault}", file=sys.stderr)
        return 2
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(config, first, listening, store))
    return 0


def bind(host: str, port: int) -> socket.socket:
    """A listening socket. Raises ConfigFault, naming the port."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen(128)
        except OSError:
            listening.close()
            raise
    except OSError as fault:
        if fault.errno == errno.EADDRINUSE:
            why = f"{host}:{port} is in use; stop what listens there, or give another --listen"
        else:
            why = f"cannot listen on {host}:{port} ({fault.strerror}); give another --listen"
        raise ConfigFault(why) from None
    listening.setblocking(False)
    return listening


@asynccontextmanager
async def running(
    config: Config,
    listening: socket.socket,
    store: Store,
    first: FirstRules | None = None,
    now: Callable[[], float] = time.monotonic,
    wall: Callable[[], float] = time.time,
    ticking: bool = True,
) -> AsyncIterator[Service]:
    """Serve until the block is left. `ticking=False`: the caller calls `driver.tick()` itself."""
    enrolled = await asyncio.to_thread(_enrol, config, store, first, wall)
    fleet = Fleet(enrolled, now)
    driver = Driver(store, fleet, now, wall)
    operations = Operations(driver, config.soak_s, config.stuck_after_s)
    web_runner = web.AppRunner(
        Api(driver, operations, fleet).application(), access_log=None, shutdown_timeout=SHUTDOWN_S
    )
    try:
        await driver.load()
        async with asyncio.TaskGroup() as tasks:
            loops = [tasks.create_task(driver.run())]
            if ticking:
                loops.append(tasks.create_task(_tick_forever(driver)))
            await web_runner.setup()
            await web.SockSite(web_runner, listening).start()
            host, port = listening.getsockname()[:2]
            try:
                yield Service(f"http://{f'[{host}]' if ':' in host else host}:{port}", driver, fleet)
            finally:
                fleet.close()
                driver.stop_waiting()
                await web_runner.cleanup()
                for loop in loops:
                    loop.cancel()
    finally:
        listening.close()
        operations.close()
        await driver.close()


async def _serve(config: Config, first: FirstRules | None, listening: socket.socket, store: Store) -> None:
    told_to_stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told_to_stop.set)
    async with running(config, listening, store, first) as service:
        if config.ready_fd is not None:
            _tell_ready(config.ready_fd, service.base_url)
        await told_to_stop.wait()


async def _tick_forever(driver: Driver) -> None:
    """Every REPORT_PERIOD_S by the loop's clock; ticks that were missed are not made up for."""
    loop = asyncio.get_running_loop()
    due = loop.time()
    while True:
        due = max(due + REPORT_PERIOD_S, loop.time())
        await asyncio.sleep(due - loop.time())
        with suppress(Fault):  # already logged; what it was about is still there at the next tick
            await driver.tick()


def _enrol(config: Config, store: Store, first: FirstRules | None, wall: Callable[[], float]) -> tuple[str, ...]:
    """Fill an empty store, and say whose confirmation counts."""
    if first is not None and not store.rule_sets():
        digest = digest_of(first.yaml)
        store.put_rule_set(digest, first.name, first.count, first.yaml)
        first_plan(store, digest, wall())
    if config.expect is not None:
        return config.expect
    latest = store.rollouts()[-1:]
    in_progress = [node for rollout in latest if rollout.in_progress for node in rollout.nodes]
    return tuple(dict.fromkeys([node.name for node in FLEET] + in_progress))


def _check_fd(fd: int) -> None:
    try:
        os.fstat(fd)
    except OSError:
        raise ConfigFault(f"--ready-fd {fd} is not open; open it, or leave the option out") from None


def _tell_ready(fd: int, base_url: str) -> None:
    # Whoever waited may be gone by now; that is no reason to stop.
    with suppress(OSError), os.fdopen(fd, "wb") as pipe:
        pipe.write(msgspec.json.encode(Ready(os.getpid(), {"api": base_url})) + b"\n")
