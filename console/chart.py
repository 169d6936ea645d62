"""The outcome chart: requests per second of the run, stacked by what became of them.

In: Locust's buckets (or, where no Locust reports, the nodes' own counts). Out: one `Second` a column. Buckets
do not begin on whole seconds, so each is spread over the seconds that it covers; totals are kept. Pure.
"""

import math
from collections.abc import Iterator

from console.outcomes import split
from contract.record import NodeSample, Second, TrafficSample

#: How much the fold keeps, and how much the screen shows.
KEPT_S = 15 * 60
SHOWN_S = 120

#: With no Locust bucket for this long, the nodes' own counts are drawn instead.
TRAFFIC_GONE_AFTER_S = 5.0

_EMPTY = (0.0, 0.0, 0.0, 0.0, 0.0)


class Columns:
    """Sums by whole second of (intended, ok, bad_gateway, other, unsent)."""

    def __init__(self) -> None:
        self._sums: dict[int, tuple[float, float, float, float, float]] = {}
        self.latest_t: float | None = None

    def add(self, t: float, width_s: float, counts: tuple[int, int, int, int, int]) -> None:
        for second, share in _spread(t, width_s):
            old = self._sums.get(second, _EMPTY)
            a, b, c, d, e = (was + count * share for was, count in zip(old, counts, strict=True))
            self._sums[second] = (a, b, c, d, e)
        self.latest_t = t if self.latest_t is None else max(self.latest_t, t)
        for second in [s for s in self._sums if s < self.latest_t - KEPT_S]:
            del self._sums[second]

    def second(self, second: int) -> Second:
        intended, ok, bad_gateway, other, unsent = self._sums.get(second, _EMPTY)
        return Second(second, round(intended), round(ok), round(bad_gateway), round(other), round(unsent))


class OutcomeChart:
    """The columns that the screen shows, from the better of two sources."""

    def __init__(self) -> None:
        self._traffic = Columns()
        self._edge = Columns()
        self._node_t: dict[str, float] = {}

    def add_traffic(self, sample: TrafficSample) -> None:
        parts = split(sample.outcomes)
        self._traffic.add(sample.t, sample.width_s, (sample.intended, *parts))

    def add_node(self, sample: NodeSample) -> None:
        before = self._node_t.get(sample.node, sample.t)
        self._node_t[sample.node] = sample.t
        counts = (0, sample.ok, sample.bad_gateway, sample.other, 0)
        self._edge.add(sample.t, max(sample.t - before, 0.0), counts)

    def seconds(self, now_t: float) -> tuple[Second, ...]:
        """The last SHOWN_S whole seconds of which everything has been told; none before the run began."""
        told = self._traffic.latest_t
        by_locust = told is not None and now_t - told <= TRAFFIC_GONE_AFTER_S
        newest_t = told if by_locust else self._edge.latest_t
        last = math.floor(max(newest_t or 0.0, now_t - 3.0)) - 1
        return tuple(self._column(s, by_locust) for s in range(max(0, last - SHOWN_S + 1), last + 1))

    def _column(self, second: int, by_locust: bool) -> Second:
        told = self._traffic.latest_t
        from_locust = by_locust or (told is not None and second < told)
        return (self._traffic if from_locust else self._edge).second(second)


def _spread(t: float, width_s: float) -> Iterator[tuple[int, float]]:
    """The whole seconds that (t - width_s, t] covers, each with its share of it."""
    begin = t - width_s
    if width_s <= 0:
        yield math.floor(t), 1.0
        return
    second = math.floor(begin)
    while second < t:
        share = (min(t, second + 1) - max(begin, second)) / width_s
        if share > 0:
            yield second, share
        second += 1
