"""Cumulative counters in, one batch every 250 ms of the deployer's own clock out: what the analysis eats.

No two clocks are compared: a report counts in the batch in which it arrived. Pure; time is an argument.
"""

from dataclasses import dataclass

from contract.messages import SILENT_AFTER_S, Report

#: A difference over a longer gap cannot be dated, so it only sets a new starting point.
MAX_GAP_S = 2.0


@dataclass(frozen=True, slots=True)
class NodeCounts:
    """Requests of one node in one batch: those that reached their verdict, and the bad ones among them."""

    due: int
    bad: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Closed at `t`. `by_node`: nodes that reported in it; `silent`: known ones not heard for SILENT_AFTER_S."""

    t: float
    by_node: dict[str, NodeCounts]
    silent: tuple[str, ...]

    @property
    def due(self) -> int:
        return sum(counts.due for counts in self.by_node.values())

    @property
    def bad(self) -> int:
        return sum(counts.bad for counts in self.by_node.values())


class Batcher:
    """Every node's last report, and what has come in since the last batch."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[float, Report]] = {}
        self._open: dict[str, NodeCounts] = {}

    def observe(self, t: float, report: Report) -> None:
        """Take a report that arrived at `t`."""
        before = self._last.get(report.node)
        self._last[report.node] = (t, report)
        if before is None:
            return
        counts = _difference(before[1], report, t - before[0])
        if counts is not None:
            so_far = self._open.get(report.node, NodeCounts(0, 0))
            self._open[report.node] = NodeCounts(so_far.due + counts.due, so_far.bad + counts.bad)

    def close(self, t: float) -> Batch:
        """End the batch at `t` and begin the next."""
        silent = tuple(node for node, (at, _) in self._last.items() if t - at > SILENT_AFTER_S)
        batch = Batch(t, self._open, silent)
        self._open = {}
        return batch


def _difference(before: Report, after: Report, gap_s: float) -> NodeCounts | None:
    """None where the difference says nothing about the last moments."""
    if _restarted(before, after):
        # All that the new front ever counted; dated only if it has just begun.
        fresh = after.uptime_s <= MAX_GAP_S
        return NodeCounts(after.counters.due, after.counters.bad) if fresh else None
    if gap_s > MAX_GAP_S:
        return None
    return NodeCounts(after.counters.due - before.counters.due, after.counters.bad - before.counters.bad)


def _restarted(before: Report, after: Report) -> bool:
    return (
        after.pid != before.pid
        or after.uptime_s < before.uptime_s
        or after.counters.due < before.counters.due
        or after.counters.bad < before.counters.bad
    )
