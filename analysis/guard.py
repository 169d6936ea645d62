"""The absolute guard: the fleet's bad ratio above a limit for so long. Batches in, an observation out.

It is for rollouts without a control group, and can therefore not tell a bad deploy from an attack or a broken
origin; every sentence it makes says so. It never acts: the rollout decides what an observation means.
"""

from collections import deque
from dataclasses import dataclass
from enum import StrEnum

from analysis.hot_rules import HotEvidence
from contract.messages import REPORT_PERIOD_S, Guard
from contract.vocabulary import Verdict

#: The bad ratio is that of the last second: long enough for 20 requests on a small fleet.
WINDOW_S = 1.0
#: Below this many requests in the window a ratio means nothing.
MIN_DUE = 20
#: A breach survives a lack of evidence this long; after that its clock starts anew.
MAX_GAP_S = 2.0
#: Sums of 0.25 s ticks must reach `for_s` in spite of floating point.
_EPSILON_S = 1e-6


class Edge(StrEnum):
    """A change in the guard's condition."""

    BREACHED = "breached"
    CLEARED = "cleared"


@dataclass(frozen=True, slots=True)
class Observation:
    """What the guard makes of the window that ends now.

    `due`, `bad`: requests in the window. `breached_for_s`: 0 while not breached. `verdict`: FAIL when breached
    for `for_s`; UNKNOWN while breached for less, or with too few requests; PASS otherwise, which only says that
    this guard has no objection.
    """

    verdict: Verdict
    edge: Edge | None
    due: int
    bad: int
    breached_for_s: float


class AbsoluteGuard:
    """One guard over one rollout. Call `observe` once a batch, with times that never run backwards."""

    def __init__(self, guard: Guard) -> None:
        self.guard = guard
        self._batches: deque[tuple[float, int, int]] = deque()
        self._breached_since: float | None = None
        self._known_at: float | None = None

    def observe(self, t: float, due: int, bad: int) -> Observation:
        """Take the batch that closed at `t` seconds, with `bad` of `due` requests failed."""
        self._batches.append((t, due, bad))
        # A batch belongs to the window with its middle, so that a late tick does not make it 1.25 s wide.
        while t - self._batches[0][0] >= WINDOW_S - REPORT_PERIOD_S / 2:
            self._batches.popleft()
        window_due = sum(batch[1] for batch in self._batches)
        window_bad = sum(batch[2] for batch in self._batches)
        gap_s = 0.0 if self._known_at is None else t - self._known_at
        if window_due < MIN_DUE:
            return self._too_few(t, gap_s, window_due, window_bad)
        self._known_at = t
        if window_bad / window_due > self.guard.above:
            return self._above(t, gap_s, window_due, window_bad)
        edge = Edge.CLEARED if self._breached_since is not None else None
        self._breached_since = None
        return Observation(Verdict.PASS, edge, window_due, window_bad, 0.0)

    def _above(self, t: float, gap_s: float, due: int, bad: int) -> Observation:
        if self._breached_since is None or gap_s >= MAX_GAP_S:
            self._breached_since = t
            edge = Edge.BREACHED
        else:
            edge = None
        lasted_s = t - self._breached_since
        failed = lasted_s >= self.guard.for_s - _EPSILON_S
        return Observation(Verdict.FAIL if failed else Verdict.UNKNOWN, edge, due, bad, lasted_s)

    def _too_few(self, t: float, gap_s: float, due: int, bad: int) -> Observation:
        if self._breached_since is None:
            return Observation(Verdict.UNKNOWN, None, due, bad, 0.0)
        if gap_s >= MAX_GAP_S:
            self._breached_since = None
            return Observation(Verdict.UNKNOWN, Edge.CLEARED, due, bad, 0.0)
        return Observation(Verdict.UNKNOWN, None, due, bad, t - self._breached_since)


def describe(seen: Observation, guard: Guard, hot: HotEvidence | None) -> str:
    """The guard's FAIL in one sentence: the numbers, what it cannot tell, and the direct evidence."""
    lasted = f"above {guard.above * 100:g} %"
    if guard.for_s > 0:
        lasted += f" for {seen.breached_for_s:.1f} s"
    return (
        f"{describe_window(seen)}, {lasted}; no control group, so this cannot tell a bad deploy from an attack;"
        f" {describe_hot(hot)}"
    )


def describe_window(seen: Observation) -> str:
    return f"{seen.bad:,} of {seen.due:,} requests failed fleet-wide in the last second"


def describe_hot(hot: HotEvidence | None) -> str:
    if hot is None:
        return "no rule was seen to hold an inspector"
    return f"hottest rule {hot.rule} held an inspector for {hot.held_s:.1f} s"
