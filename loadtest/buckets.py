"""Counts a quarter of a second of traffic into one `TrafficSample`. Pure: times are arguments."""

import math
from collections.abc import Sequence

from contract.record import TrafficSample
from contract.vocabulary import Outcome

#: Ended without the edge having had its chance: nothing to measure.
_NOT_TIMED = frozenset({Outcome.UNSENT, Outcome.CLIENT_GONE})


def percentile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that at least `share` of `values` do not exceed (nearest rank); None of none."""
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


class Buckets:
    """The open bucket, and what is in flight across buckets."""

    def __init__(self, width_s: float) -> None:
        self._width_s = width_s
        self._in_flight = 0
        self._clear()

    @property
    def in_flight(self) -> int:
        return self._in_flight

    def _clear(self) -> None:
        self._intended = 0
        self._sent = 0
        self._outcomes: dict[str, int] = {}
        self._by_node: dict[str, dict[str, int]] = {}
        self._latencies_ms: list[float] = []
        self._lags_ms: list[float] = []

    def due(self) -> None:
        """One request became due."""
        self._intended += 1

    def sent(self, lag_s: float) -> None:
        """One request left, `lag_s` after it was due (a timer may be early by a hair: that is no lag)."""
        self._sent += 1
        self._in_flight += 1
        self._lags_ms.append(max(0.0, lag_s * 1000))

    def ended(self, node: str, outcome: Outcome, since_due_s: float) -> None:
        """A request that was sent has its outcome."""
        self._in_flight -= 1
        self._outcomes[outcome] = self._outcomes.get(outcome, 0) + 1
        at_node = self._by_node.setdefault(node, {})
        at_node[outcome] = at_node.get(outcome, 0) + 1
        if outcome not in _NOT_TIMED:
            self._latencies_ms.append(since_due_s * 1000)

    def unsent(self) -> None:
        """A request that was due will not be sent."""
        self._outcomes[Outcome.UNSENT] = self._outcomes.get(Outcome.UNSENT, 0) + 1

    def close(self, t: float, users: int, cpu_share: float) -> TrafficSample:
        """The bucket that ends at `t`; the next one is open from here."""
        sample = TrafficSample(
            t=round(t, 6),
            width_s=self._width_s,
            intended=self._intended,
            sent=self._sent,
            outcomes={str(outcome): count for outcome, count in self._outcomes.items()},
            by_node=self._by_node,
            latency_ms_p50=_rounded(percentile(self._latencies_ms, 0.50)),
            latency_ms_p99=_rounded(percentile(self._latencies_ms, 0.99)),
            send_lag_ms_p99=_rounded(percentile(self._lags_ms, 0.99)),
            in_flight=self._in_flight,
            users=users,
            cpu_share=round(cpu_share, 4),
        )
        self._clear()
        return sample


def _rounded(ms: float | None) -> float | None:
    return None if ms is None else round(ms, 3)
