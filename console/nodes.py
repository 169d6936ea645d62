"""Watches one node from outside: its admin port, and its inspectors' CPU in the process table.

In: the node's `Report` (`GET /status`) and `/metrics`. Out: a `NodeSample` a turn, also when it does not answer.
"""

import asyncio
import time

import aiohttp

from console.counts import Counts, counts_between
from console.cpu import InspectorCpu, Reader, Share
from console.deployer import Control
from console.fetch import NO_ANSWER, get, get_json
from console.run import Run
from contract.messages import Report
from contract.record import NodeSample
from contract.topology import NodeEndpoint

#: A node that takes longer is down for that turn.
TIMEOUT_S = 1.0


class NodeWatch:
    """`inspectors`: pids of the node's inspectors, as last reported."""

    def __init__(
        self, run: Run, session: aiohttp.ClientSession, node: NodeEndpoint, control: Control, read_cpu: Reader
    ) -> None:
        self._run = run
        self._session = session
        self._node = node
        self._control = control
        self._cpu = InspectorCpu(read_cpu)
        self._before: Report | None = None
        self._metrics_ms: float | None = None
        self.inspectors: frozenset[int] = frozenset()

    async def ask_status(self) -> None:
        try:
            report, ms = await get_json(self._session, f"{self._node.admin}/status", TIMEOUT_S, Report)
        except NO_ANSWER:
            self._run.add(self._silence())
            return
        self.inspectors = frozenset(inspector.pid for inspector in report.inspectors)
        share = await asyncio.to_thread(self._read_cpu, report)
        counts = counts_between(self._before, report)
        self._before = report
        self._run.add(self._sample(report, counts, share, ms))

    async def ask_metrics(self) -> None:
        try:
            status, _, ms = await get(self._session, f"{self._node.admin}/metrics", TIMEOUT_S)
        except NO_ANSWER:
            self._metrics_ms = None
            return
        self._metrics_ms = ms if status == 200 else None

    def _read_cpu(self, report: Report) -> Share:
        return self._cpu.update(time.monotonic(), report)

    def _sample(self, report: Report, counts: Counts, share: Share, ms: float) -> NodeSample:
        hottest = report.hottest
        return NodeSample(
            t=round(self._run.now_t(), 3),
            node=self._node.name,
            up=True,
            version=report.active,
            kill_switch=report.kill_switch,
            due=counts.due,
            ok=counts.ok,
            bad_gateway=counts.bad_gateway,
            other=counts.other,
            cpu_of_quota=None if share.total is None else round(share.total, 4),
            pool_cpu_of_quota={pool: round(value, 4) for pool, value in share.by_pool.items()},
            cpu_source=share.source,
            loop_lag_ms=round(report.loop_lag_s * 1000, 3),
            status_ms=round(ms, 3),
            metrics_ms=_rounded(self._metrics_ms),
            control_ms=_rounded(self._control.ms.get(self._node.name)),
            oldest_in_flight_s=round(report.oldest_in_flight_s, 4),
            hot_rule=hottest.rule if hottest else None,
            hot_rule_held_s=round(hottest.held_s, 4) if hottest else 0.0,
        )

    def _silence(self) -> NodeSample:
        return NodeSample(
            t=round(self._run.now_t(), 3),
            node=self._node.name,
            up=False,
            version=None,
            kill_switch=False,
            due=0,
            ok=0,
            bad_gateway=0,
            other=0,
            cpu_of_quota=None,
            pool_cpu_of_quota={},
            cpu_source="",
            loop_lag_ms=0.0,
            status_ms=None,
            metrics_ms=_rounded(self._metrics_ms),
            control_ms=_rounded(self._control.ms.get(self._node.name)),
            oldest_in_flight_s=0.0,
            hot_rule=None,
            hot_rule_held_s=0.0,
        )


def _rounded(ms: float | None) -> float | None:
    return None if ms is None else round(ms, 3)
