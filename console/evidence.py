"""Is the service good at this moment? A sliding bad ratio, and since when it has been good.

In: buckets of requests (bad, ended) by the time of their end, from Locust or from the outside probe. Out: the
ratio over the last window, and the moment from which it stayed below `GOOD_BELOW`. Pure; time is an argument.
"""

from collections import deque

#: Above this share of bad answers the service is down for its users.
BAD_ABOVE = 0.10

#: An outage is over for the screen only below this: a word that flickers is read by nobody.
CALM_BELOW = 0.05

#: Below this share the service counts as good again.
GOOD_BELOW = 0.01


class BadRatio:
    """Bad / ended over the last `window_s` seconds of buckets."""

    def __init__(self, window_s: float, stale_after_s: float) -> None:
        self._window_s = window_s
        self._stale_after_s = stale_after_s
        self._buckets: deque[tuple[float, int, int, int]] = deque()
        self._last_bad_t: float | None = None
        #: From when on the ratio has been below GOOD_BELOW; None while it is not, or before the first answer.
        self.good_since: float | None = None
        self.latest_t: float | None = None

    def add(self, t: float, bad: int, ended: int, bad_gateway: int = 0) -> None:
        """A bucket that ended at `t`. One in which no request ended says nothing either way."""
        self.latest_t = t if self.latest_t is None else max(t, self.latest_t)
        self._buckets.append((t, bad, ended, bad_gateway))
        while self._buckets[0][0] <= self.latest_t - self._window_s + 1e-6:
            self._buckets.popleft()
        if not ended:
            return
        if bad / ended >= GOOD_BELOW:
            self._last_bad_t = t
        if self._sums()[0] / self._sums()[1] >= GOOD_BELOW:
            self.good_since = None
        elif self.good_since is None:
            # The window forgets slowly: good began when the last bad bucket ended, not when the window was clean.
            self.good_since = t if self._last_bad_t is None else self._last_bad_t

    def fresh(self, now_t: float) -> bool:
        """Has anything been heard lately?"""
        return self.latest_t is not None and now_t - self.latest_t <= self._stale_after_s

    def ratio(self) -> float | None:
        """None when no request ended in the window."""
        bad, ended, _ = self._sums()
        return bad / ended if ended else None

    def bad_gateway_share(self) -> float:
        """Of the bad answers in the window, the share that were 502s."""
        bad, _, bad_gateway = self._sums()
        return bad_gateway / bad if bad else 0.0

    def _sums(self) -> tuple[int, int, int]:
        return (
            sum(bucket[1] for bucket in self._buckets),
            sum(bucket[2] for bucket in self._buckets),
            sum(bucket[3] for bucket in self._buckets),
        )
