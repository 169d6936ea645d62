"""What a front counts: integers that only grow, touched once a request. Reports and metrics read them."""

from bisect import bisect_left
from collections import Counter

from contract.messages import Counters
from contract.vocabulary import BAD_OUTCOMES, Outcome, Reason
from proxy.exchange import Exchange

#: Upper bounds of the request histogram, seconds: from a cached page to the longest patience.
BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class FrontCounters:
    """`taus_s`: ages above which a request is slow, ascending; the last one makes it due."""

    def __init__(self, taus_s: tuple[float, ...] = (0.25, 1.0)) -> None:
        self.taus_s = taus_s
        self.by_outcome_and_reason: Counter[tuple[Outcome, Reason]] = Counter()
        self.hits_by_rule: Counter[str] = Counter()
        self.histogram = [0] * (len(BUCKETS_S) + 1)
        self.seconds_sum = 0.0
        self._due = 0
        self._bad = 0
        self._slow = [0] * len(taus_s)

    def set_taus(self, taus_s: tuple[float, ...]) -> None:
        """New thresholds start their own counts."""
        if taus_s != self.taus_s:
            self.taus_s = taus_s
            self._slow = [0] * len(taus_s)

    def age(self, exchange: Exchange, age_s: float) -> None:
        """Count what an unfinished or just finished exchange's age has passed, each threshold once."""
        passed = bisect_left(self.taus_s, age_s)
        for index in range(exchange.slow_counted, passed):
            self._slow[index] += 1
        exchange.slow_counted = max(exchange.slow_counted, passed)
        if passed == len(self.taus_s) and not exchange.due_counted:
            exchange.due_counted = True
            self._due += 1

    def finish(self, exchange: Exchange, age_s: float) -> None:
        """The one place where a request is counted."""
        assert exchange.outcome is not None
        assert exchange.reason is not None
        self.age(exchange, age_s)
        if not exchange.due_counted:
            exchange.due_counted = True
            self._due += 1
        if exchange.outcome in BAD_OUTCOMES:
            self._bad += 1
        self.by_outcome_and_reason[exchange.outcome, exchange.reason] += 1
        self.histogram[bisect_left(BUCKETS_S, age_s)] += 1
        self.seconds_sum += age_s

    def snapshot(self) -> Counters:
        by_outcome: Counter[str] = Counter()
        by_reason: Counter[str] = Counter()
        for (outcome, reason), count in self.by_outcome_and_reason.items():
            by_outcome[outcome] += count
            by_reason[reason] += count
        return Counters(
            self._due, self._bad, tuple(self._slow), dict(by_outcome), dict(by_reason), dict(self.hits_by_rule)
        )
