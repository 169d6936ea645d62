"""CPU of a node's inspectors, read from outside.

In: the inspectors that a node's report names, and a reader of the operating system's process table. Out: the
share of the node's CPU quota that they used since the previous reading, per pool. Where their pids are not ours
to read (another container's PID namespace), the node's own figure is used, and the source says so.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import psutil

from console.processes import started
from contract.messages import InspectorStatus, Report

FROM_OUTSIDE = "psutil"
FROM_NODE = "reported"

#: How far above an inspector the `-m proxy` process may stand: forkserver, front.
MAX_GENERATIONS = 4


class Times(NamedTuple):
    """One process: what tells it from a later one with the same pid, and its user + system seconds."""

    born: float
    cpu_s: float


#: pid → its times, or None when there is no such process of ours.
Reader = Callable[[int], Times | None]


class Share(NamedTuple):
    """CPU divided by wall time and quota; `total` None: not readable, or nothing to compare with yet."""

    total: float | None
    by_pool: dict[str, float]
    source: str


class InspectorCpu:
    """Reads one node's inspectors again and again."""

    def __init__(self, read: Reader) -> None:
        self._read = read
        self._at: float | None = None
        self._seen: dict[tuple[int, float], float] = {}
        self._reported: tuple[float, float] | None = None  # (uptime_s, inspector_cpu_s)

    def update(self, now: float, report: Report) -> Share:
        """`now`: monotonic seconds at the reading."""
        elapsed_s = None if self._at is None else now - self._at
        self._at = now
        spent = self._spent(report.inspectors)
        reported = self._reported_spent(report)
        if not elapsed_s or elapsed_s <= 0 or report.cpu_quota <= 0:
            return Share(None, {}, FROM_NODE if spent is None else FROM_OUTSIDE)
        scale = 1.0 / (elapsed_s * report.cpu_quota)
        if spent is None:
            return Share(None if reported is None else reported * scale, {}, FROM_NODE)
        by_pool = {pool: seconds * scale for pool, seconds in spent.items()}
        return Share(sum(by_pool.values()), by_pool, FROM_OUTSIDE)

    def _spent(self, inspectors: Iterable[InspectorStatus]) -> dict[str, float] | None:
        """CPU seconds by pool since last time; None when no inspector can be read.

        One not seen before counts from its birth, as it was born after the last reading; one that is gone counts
        up to when it was last seen.
        """
        spent: dict[str, float] = {}
        seen: dict[tuple[int, float], float] = {}
        for inspector in inspectors:
            times = self._read(inspector.pid)
            if times is None:
                continue
            key = (inspector.pid, times.born)
            seen[key] = times.cpu_s
            used = max(times.cpu_s - self._seen.get(key, 0.0), 0.0)
            spent[inspector.pool] = spent.get(inspector.pool, 0.0) + used
        self._seen = seen
        return spent or None

    def _reported_spent(self, report: Report) -> float | None:
        before, self._reported = self._reported, (report.uptime_s, report.inspector_cpu_s)
        if before is None:
            return None
        restarted = report.uptime_s < before[0] or report.inspector_cpu_s < before[1]
        return report.inspector_cpu_s - (0.0 if restarted else before[1])


class ProcessTable:
    """Reads processes of this machine that belong to an edge node; remembers which they are."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[psutil.Process, bool]] = {}

    def __call__(self, pid: int) -> Times | None:
        try:
            process, ours = self._lookup(pid)
            if not ours:
                return None
            times = process.cpu_times()
            return Times(process.create_time(), times.user + times.system)
        except psutil.Error:
            self._known.pop(pid, None)
            return None

    def _lookup(self, pid: int) -> tuple[psutil.Process, bool]:
        known = self._known.get(pid)
        if known is None or not known[0].is_running():
            process = psutil.Process(pid)
            known = self._known[pid] = (process, _belongs_to_a_node(process))
        return known


def _belongs_to_a_node(process: psutil.Process) -> bool:
    """The same number may be anything in another PID namespace, so the command line is asked."""
    candidate: psutil.Process | None = process
    for _ in range(MAX_GENERATIONS):
        if candidate is None:
            return False
        if started(candidate.cmdline()) == "proxy":
            return True
        candidate = candidate.parent()
    return False
