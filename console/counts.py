"""Differences between two reports of a node, through restarts of its front. In: reports. Out: counts. Pure."""

from typing import NamedTuple

from console.outcomes import split
from contract.messages import Report


class Counts(NamedTuple):
    """Requests since the previous report."""

    due: int
    ok: int
    bad_gateway: int
    other: int


def restarted(before: Report, after: Report) -> bool:
    """A front that restarted counts from zero again."""
    return after.pid != before.pid or after.uptime_s < before.uptime_s or after.counters.due < before.counters.due


def counts_between(before: Report | None, after: Report) -> Counts:
    """With no earlier report: zero, as there is nothing to compare with. After a restart: all counted since."""
    if before is None:
        return Counts(0, 0, 0, 0)
    fresh = restarted(before, after)
    was = {} if fresh else before.counters.by_outcome
    grown = {name: max(n - was.get(name, 0), 0) for name, n in after.counters.by_outcome.items()}
    parts = split(grown)
    due = after.counters.due - (0 if fresh else before.counters.due)
    return Counts(max(due, 0), parts.ok, parts.bad_gateway, parts.other)
