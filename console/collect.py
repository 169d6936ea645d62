"""Watches everything that belongs to a run, each thing by a loop of its own.

In: addresses. Out: samples and events into the run. Each loop keeps its own pace and its own time-out, so that
what is dead, slow or gone mad costs only its own figures. Nothing here decides anything.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

import aiohttp

from console.cpu import Reader
from console.deployer import Control, watch_fleet, watch_journal
from console.nodes import NodeWatch
from console.outside import OriginWatch, Probe
from console.run import Run
from console.stack import StackWatch

_log = logging.getLogger("console")

STATUS_EVERY_S = 0.25
METRICS_EVERY_S = 1.0
ORIGINS_EVERY_S = 0.5
PROBE_EVERY_S = 0.5
FLEET_EVERY_S = 0.5
STACK_EVERY_S = 5.0


async def watch(run: Run, probe_host: str, read_cpu: Reader) -> None:
    """Until cancelled."""
    endpoints = run.begin.endpoints
    control = Control()
    # One connection for each question, so that no answer waits behind another; nodes are few.
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, headers={"Accept-Encoding": "identity"}) as session:
        nodes = [NodeWatch(run, session, endpoint, control, read_cpu) for endpoint in endpoints.nodes]
        probe = Probe(run, session, endpoints.nodes, probe_host)
        origins = OriginWatch(run, session, endpoints.origins)
        async with asyncio.TaskGroup() as group:
            for node in nodes:
                group.create_task(every(STATUS_EVERY_S, node.ask_status))
                group.create_task(every(METRICS_EVERY_S, node.ask_metrics))
            group.create_task(every(PROBE_EVERY_S, probe.fetch))
            group.create_task(every(ORIGINS_EVERY_S, origins.ask))
            group.create_task(every(FLEET_EVERY_S, lambda: watch_fleet(run, session, control)))
            group.create_task(watch_journal(run, session))
            if run.begin.root_pid is not None:
                stack = StackWatch(run, run.begin.root_pid, lambda: {pid for n in nodes for pid in n.inspectors})
                group.create_task(every(STACK_EVERY_S, stack.measure))


async def every(period_s: float, ask: Callable[[], Awaitable[None]]) -> None:
    """Call `ask` at a steady pace; turns that a slow answer took up are left out, never made up for."""
    due = time.monotonic()
    while True:
        try:
            await ask()
        except Exception:
            # The observer of an outage must outlive whatever it meets; the loop's next turn asks again.
            _log.exception("%s failed", getattr(ask, "__qualname__", ask))
        due += period_s
        behind_s = time.monotonic() - due
        if behind_s > 0:
            due += (behind_s // period_s + 1) * period_s
        await asyncio.sleep(due - time.monotonic())
