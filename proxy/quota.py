"""The inspectors' CPU quota: a token bucket that decides run or stop, from CPU seconds it is told.

Kept here and not by a cgroup, because a container's limit would throttle the front together with its
inspectors, and then nobody could answer 502.
"""

from collections.abc import Callable
from enum import Enum

#: The bucket is looked at this often; a burning inspector overshoots by at most one look, and pays it back.
TICK_S = 0.02


class Order(Enum):
    RUN = "run"
    STOP = "stop"


class QuotaBucket:
    """`share` cores on average; what was saved up is at most `burst_s` of CPU."""

    def __init__(self, share: float, now: float, burst_s: float = 0.1) -> None:
        self.share = share
        self._burst_s = burst_s
        self._balance_s = burst_s
        self._now = now
        self._spent_s = 0.0

    def look(self, now: float, spent_s: float) -> Order:
        """`spent_s`: CPU seconds of all inspectors together since the node's start, never falling."""
        self._balance_s += (now - self._now) * self.share - (spent_s - self._spent_s)
        self._balance_s = min(self._balance_s, self._burst_s)
        self._now, self._spent_s = now, spent_s
        return Order.RUN if self._balance_s >= 0 else Order.STOP

    def refill(self, now: float, spent_s: float) -> None:
        self._balance_s = self._burst_s
        self._now, self._spent_s = now, spent_s


class QuotaKeeper:
    """Looks at the bucket and stops or continues; `signal_all` reaches every live inspector."""

    def __init__(
        self, bucket: QuotaBucket, spent_s: Callable[[], float], signal_all: Callable[[Order], None]
    ) -> None:
        self._bucket = bucket
        self._spent_s = spent_s
        self._signal_all = signal_all
        self._order = Order.RUN

    @property
    def stopped(self) -> bool:
        return self._order is Order.STOP

    def tick(self, now: float) -> None:
        """Stop is said again at every look, to inspectors that were forked since."""
        order = self._bucket.look(now, self._spent_s())
        if order is not self._order or order is Order.STOP:
            self._order = order
            self._signal_all(order)

    def renew(self, now: float) -> None:
        """A new generation of inspectors: the debt goes with those who made it."""
        self._bucket.refill(now, self._spent_s())
        self._order = Order.RUN
