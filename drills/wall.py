"""The wall: the stretch in which most requests failed, and how the fleet looked from outside while it stood.

It starts one second after the push's first mostly bad second began and ends at the rollback. What was burning,
which rule it was, and whether the fronts still answered is read from the console's samples of that stretch.
Pure.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from contract.record import NodeSample, Sample, StackSample, TrafficSample
from drills.damage import Span
from drills.phases import Moments
from drills.traffic import Request, percentile, rounded

#: A second counts as mostly bad above this bad ratio, of at least so many answers.
WALL_RATIO = 0.5
WALL_MIN_ANSWERS = 10

#: A rule held by an inspector for longer than this is stuck; ordinary ones take microseconds.
CULPRIT_HELD_S = 0.2

#: A front that did not answer within the console's second counts as this slow: silence is not health.
UNANSWERED_MS = 1000.0


class Wall(msgspec.Struct, frozen=True):
    """All over the wall alone. Null: not measured, or `wall` itself null: there was none."""

    start_s: float
    length_s: float
    bad_ratio: float | None
    inspector_cpu_of_quota: float | None
    culprit_rule: str | None
    culprit_share: float | None
    status_ms_p99: float | None
    metrics_ms_p99: float | None
    control_ms_p99: float | None
    front_lag_ms_p99: float | None
    node_samples: int
    unanswered: int


class Generator(msgspec.Struct, frozen=True):
    """The load generator's own health. Lags are late sends in ms, in and outside the wall."""

    cpu_share: float | None
    send_lag_ms_p99: float | None
    wall_send_lag_ms_p99: float | None


def wall_span(requests: Iterable[Request], moments: Moments) -> Span | None:
    """The wall in run seconds, or None. Without a rollback it ends with the last mostly bad second."""
    if moments.push is None:
        return None
    answered: Counter[int] = Counter()
    bad: Counter[int] = Counter()
    for request in requests:
        if request.done is not None and request.done >= moments.push:
            second = int(request.done - moments.push)
            answered[second] += 1
            bad[second] += request.bad
    mostly_bad = [
        second
        for second, total in answered.items()
        if total >= WALL_MIN_ANSWERS and bad[second] > WALL_RATIO * total
    ]
    if not mostly_bad:
        return None
    start = moments.push + min(mostly_bad) + 1
    end = moments.push + max(mostly_bad) + 1 if moments.rollback is None else moments.rollback
    return Span(start, end) if end > start else None


def measure_wall(
    samples: Sequence[Sample], requests: Iterable[Request], span: Span | None, push: float | None
) -> Wall | None:
    if span is None or push is None:
        return None
    inside = [s for s in samples if isinstance(s, NodeSample) and span.start < s.t <= span.end]
    stuck = Counter(s.hot_rule for s in inside if s.hot_rule and s.hot_rule_held_s > CULPRIT_HELD_S)
    culprit, named = max(stuck.items(), key=lambda item: (item[1], item[0]), default=(None, 0))
    answers = [r.bad for r in requests if r.done is not None and span.start < r.done <= span.end]
    return Wall(
        start_s=round(span.start - push, 3),
        length_s=round(span.length, 3),
        bad_ratio=round(sum(answers) / len(answers), 6) if answers else None,
        inspector_cpu_of_quota=rounded(_cpu_of_quota(samples, span), 4),
        culprit_rule=culprit,
        culprit_share=round(named / stuck.total(), 4) if stuck else None,
        status_ms_p99=_p99(s.status_ms if s.up else UNANSWERED_MS for s in inside),
        metrics_ms_p99=_p99(s.metrics_ms if s.up else UNANSWERED_MS for s in inside),
        control_ms_p99=_p99(s.control_ms for s in inside),
        front_lag_ms_p99=_p99(s.loop_lag_ms for s in inside if s.up),
        node_samples=len(inside),
        unanswered=sum(not s.up for s in inside),
    )


def _cpu_of_quota(samples: Sequence[Sample], span: Span) -> float | None:
    """Mean of `cpu_of_quota` over the nodes' samples, each weighted by the time since the node's last one.

    A sample speaks of that time, so only its part after the wall's start counts.
    """
    last: dict[str, float] = {}
    total = weight = 0.0
    for sample in samples:
        if not isinstance(sample, NodeSample):
            continue
        since, last[sample.node] = last.get(sample.node, sample.t), sample.t
        if sample.cpu_of_quota is None or not span.start < sample.t <= span.end:
            continue
        seconds = sample.t - max(since, span.start)
        total, weight = total + sample.cpu_of_quota * seconds, weight + seconds
    return total / weight if weight else None


def measure_generator(samples: Iterable[Sample], requests: Iterable[Request], span: Span | None) -> Generator:
    shares = [sample.cpu_share for sample in samples if isinstance(sample, TrafficSample)]
    inside: list[float] = []
    outside: list[float] = []
    for request in requests:
        if request.sent is not None:
            in_wall = span is not None and span.start <= request.due <= span.end
            (inside if in_wall else outside).append((request.sent - request.due) * 1000)
    return Generator(
        cpu_share=round(sum(shares) / len(shares), 4) if shares else None,
        send_lag_ms_p99=rounded(percentile(outside, 0.99)),
        wall_send_lag_ms_p99=rounded(percentile(inside, 0.99)),
    )


def pss_mib_peak(samples: Iterable[Sample]) -> float | None:
    peaks = [sample.pss_mib for sample in samples if isinstance(sample, StackSample)]
    return rounded(max(peaks, default=None), 1)


def _p99(values: Iterable[float | None]) -> float | None:
    return rounded(percentile((value for value in values if value is not None), 0.99))
