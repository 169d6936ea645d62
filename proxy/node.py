"""The composition root of one node: builds every part, opens both ports, runs until a signal."""

import asyncio
import contextlib
import errno
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import uvloop
from aiohttp import web

from contract.messages import PROTOCOL, REPORT_PERIOD_S, Hello, Ready, Report, RuleSetRef, RuleSetText
from proxy.access_log import AccessLog
from proxy.admin import admin_app
from proxy.assignments import Assignee
from proxy.config import Address, NodeConfig
from proxy.control import ControlAgent
from proxy.counters import FrontCounters
from proxy.forkserver import ForkserverHandle
from proxy.front import ClientConnection
from proxy.inspection import ActivationRefused, Inspection
from proxy.last_good import NodeState
from proxy.metrics import FrontCollector, exposition
from proxy.pipeline import Pipeline
from proxy.upstream import OriginPool
from rules.parse import digest_of

_LAG_TICK_S = 0.05
#: A slow reader of /metrics must not hold up the node's end.
_ADMIN_SHUTDOWN_S = 0.5


class NodeFailed(Exception):
    """The node cannot start; the message is one line and names the fix."""


class Node:
    """One edge node inside a running loop."""

    def __init__(self, config: NodeConfig, forkserver: ForkserverHandle) -> None:
        self.config = config
        self.break_glass_token = os.environ.get("BADGATEWAY_BREAK_GLASS_TOKEN")
        self._started = time.monotonic()
        self.counters = FrontCounters()
        self.inspection = Inspection(config, forkserver)
        self._assignee = Assignee(
            config.name, self.inspection, NodeState(config.name, config.state_dir), self.counters.set_taus
        )
        self._log = AccessLog(config.name, config.log_dir)
        self._origins = OriginPool(config.origin)
        self.pipeline = Pipeline(
            config, self.inspection, self._origins, self.counters, self._log, lambda: self._assignee.kill_switch
        )
        self._origins.downstream = self.pipeline
        self._collector = FrontCollector(self.counters)
        self.connections: set[ClientConnection] = set()
        self._server: asyncio.Server | None = None
        self._admin: web.AppRunner | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._control: ControlAgent | None = None
        self._report_seq = 0
        self._lag_s = 0.0
        self._last_lag_s = 0.0
        self.edge_url = ""
        self.admin_url = ""

    # ---- life ----

    async def start(self) -> None:
        """Open the ports, take up what is remembered or given. Raises NodeFailed."""
        loop = asyncio.get_running_loop()
        listen, name = self.config.listen, self.config.name.encode()
        try:
            await self._log.open()
        except OSError as fault:
            raise NodeFailed(f"--log-dir {self.config.log_dir}: {fault.strerror}") from None
        await self._load_rules()
        with _busy(listen):
            self._server = await loop.create_server(
                lambda: ClientConnection(self.pipeline, self.connections, name),
                listen.host,
                listen.port,
                backlog=1024,
            )
        self.edge_url = _url(self._server.sockets[0].getsockname())
        self._admin = web.AppRunner(admin_app(self), access_log=None, shutdown_timeout=_ADMIN_SHUTDOWN_S)
        await self._admin.setup()
        with _busy(self.config.admin):
            await web.TCPSite(self._admin, self.config.admin.host, self.config.admin.port).start()
        self.admin_url = _url(self._admin.addresses[0])
        works = [self.inspection.keep_time(), self._measure_lag(), self._sweep()]
        if self.config.deployer is not None:
            self._control = ControlAgent(
                self.config.deployer, self._assignee, self._hello, self._next_report, random.Random()
            )
            works.append(self._control.run())
        self._tasks = [loop.create_task(work) for work in works]

    async def _load_rules(self) -> None:
        complaint = await self._assignee.start()
        if complaint:
            print(f"{self.config.name}: {complaint}", file=sys.stderr, flush=True)
        if self.config.rules is not None and self.inspection.active is None:
            yaml = _read(self.config.rules)
            text = RuleSetText(RuleSetRef(digest_of(yaml), 0), yaml)
            try:
                await self.inspection.activate(text, text)
            except ActivationRefused as refusal:
                raise NodeFailed(f"{self.config.rules}: {refusal.detail}") from None

    async def run_until(self, stopped: asyncio.Event) -> None:
        """Until asked to stop, or until a part that must not end has ended."""
        wait = asyncio.get_running_loop().create_task(stopped.wait())
        done, _ = await asyncio.wait([wait, *self._tasks], return_when=asyncio.FIRST_COMPLETED)
        wait.cancel()
        for task in done:
            if task is not wait:
                task.result()  # raises what ended it

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._server is not None:
            self._server.close()
        self.inspection.close()
        self._origins.close()
        if self._admin is not None:
            await self._admin.cleanup()
        await self._log.close()

    # ---- what the admin port and the control stream say ----

    @property
    def ready(self) -> bool:
        """Serves requests as it should: with a rule set, unless none is coming."""
        return self.inspection.active is not None or self.config.deployer is None

    def report(self) -> Report:
        now = time.monotonic()
        in_flight = self.pipeline.in_flight.values()
        active = self.inspection.active
        return Report(
            node=self.config.name,
            seq=self._report_seq,
            uptime_s=now - self._started,
            epoch=self._assignee.memory.epoch,
            active=active.ref if active else None,
            kill_switch=self._assignee.kill_switch,
            kill_switch_local=self._assignee.memory.kill_switch_local,
            draining=False,
            counters=self.counters.snapshot(),
            in_flight=len(self.pipeline.in_flight),
            oldest_in_flight_s=max((now - exchange.started for exchange in in_flight), default=0.0),
            inspector_cpu_s=self.inspection.cpu_s(),
            cpu_quota=self.config.cpu_quota,
            loop_lag_s=max(self._lag_s, self._last_lag_s),
            hottest=self.inspection.hottest(now),
            inspectors=self.inspection.statuses(),
            pid=os.getpid(),
        )

    def metrics(self) -> bytes:
        self._collector.report = self.report()
        self._collector.connections = len(self.connections)
        return exposition(self._collector)

    async def break_glass(self, on: bool) -> None:
        await self._assignee.set_local_kill_switch(on)

    def _next_report(self) -> Report:
        self._report_seq += 1
        return self.report()

    def _hello(self) -> Hello:
        active = self.inspection.active
        return Hello(
            node=self.config.name,
            pop=self.config.pop,
            region=self.config.region,
            cohort=self.config.cohort,
            edge=self.edge_url,
            admin=self.admin_url,
            protocol=PROTOCOL,
            epoch=self._assignee.memory.epoch,
            active=active.ref if active else None,
        )

    # ---- time ----

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(REPORT_PERIOD_S)
            now = time.monotonic()
            self.pipeline.sweep(now)
            self._origins.sweep(now)
            await self._log.flush()
            self._last_lag_s, self._lag_s = self._lag_s, 0.0

    async def _measure_lag(self) -> None:
        """How late the loop runs what was due: a front that blocks would show here first."""
        while True:
            due = time.monotonic() + _LAG_TICK_S
            await asyncio.sleep(_LAG_TICK_S)
            self._lag_s = max(self._lag_s, time.monotonic() - due)


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as fault:
        raise NodeFailed(f"{path}: {fault.strerror}") from None


@contextlib.contextmanager
def _busy(address: Address) -> Iterator[None]:
    try:
        yield
    except OSError as fault:
        if fault.errno == errno.EADDRINUSE:
            raise NodeFailed(f"{address} is in use; end what listens there or choose another port") from None
        raise NodeFailed(f"cannot listen on {address}: {os.strerror(fault.errno or 0)}") from None


def _url(name: tuple[str, int]) -> str:
    host, port = name[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def announce(ready_fd: int | None, urls: dict[str, str]) -> None:
    """Tell whoever started this process that it answers."""
    if ready_fd is not None:
        os.write(ready_fd, msgspec.json.encode(Ready(os.getpid(), urls)) + b"\n")
        os.close(ready_fd)


async def _serve(config: NodeConfig, forkserver: ForkserverHandle) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    node = Node(config, forkserver)
    try:
        await node.start()
        announce(config.ready_fd, {"edge": node.edge_url, "admin": node.admin_url})
        if config.ready_fd is None:
            print(f"{config.name}: edge {node.edge_url}, admin {node.admin_url}", flush=True)
        await node.run_until(stopped)
    finally:
        await node.stop()


def run(config: NodeConfig, forkserver: ForkserverHandle) -> int:
    """Serve until SIGTERM or SIGINT. Returns the exit code."""
    try:
        uvloop.run(_serve(config, forkserver))
    except NodeFailed as fault:
        print(f"error: {fault}", file=sys.stderr)
        return 2
    return 0
