"""What the push cost: request counts, bad ratios before, at the worst and after, and the blast radius.

Comes from the requests and the moments of the run; nothing here looks at samples. Pure.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from contract.vocabulary import Outcome
from drills.phases import Moments
from drills.traffic import Request, bad_ratio, rounded

#: The peak is the worst window of this length, moved in steps of PEAK_STEP_S.
PEAK_WINDOW_S = 5.0
PEAK_STEP_S = 0.25

#: Outcomes that are an edge's own 5xx: what makes a node part of the blast radius.
EDGE_MADE = frozenset({Outcome.BAD_GATEWAY, Outcome.UNAVAILABLE, Outcome.GATEWAY_TIMEOUT})


class RequestCounts(msgspec.Struct, frozen=True):
    """Scheduled requests: intended = sent + unsent, and sent is the sum of the rest."""

    intended: int
    sent: int
    unsent: int
    ok: int
    bad_gateway: int
    other_failures: int  # bad, but no 502: 503, 504, reset, time-out
    refused: int  # answered by the edge itself and not bad: blocked, bad request
    in_flight_at_end: int


class BadRatio(msgspec.Struct, frozen=True):
    """Shares of the answered or timed-out requests, 0-1."""

    before: float | None
    peak: float | None
    after: float | None


class BlastRadius(msgspec.Struct, frozen=True):
    """Who met it, between push and recovery."""

    nodes: int
    node_seconds: int
    sites: int
    regions: int
    node_names: tuple[str, ...]
    region_names: tuple[str, ...]


class Span(msgspec.Struct, frozen=True):
    """A stretch of the run, seconds since it began."""

    start: float
    end: float

    @property
    def length(self) -> float:
        return self.end - self.start


def count(requests: Sequence[Request]) -> RequestCounts:
    sent = [request for request in requests if request.sent is not None]
    outcomes = Counter(request.outcome for request in sent if request.answered)
    bad = sum(request.bad for request in sent)
    answered = outcomes.total()
    return RequestCounts(
        intended=len(requests),
        sent=len(sent),
        unsent=len(requests) - len(sent),
        ok=outcomes[Outcome.OK],
        bad_gateway=outcomes[Outcome.BAD_GATEWAY],
        other_failures=bad - outcomes[Outcome.BAD_GATEWAY],
        refused=answered - bad - outcomes[Outcome.OK],
        in_flight_at_end=len(sent) - answered,
    )


def before_span(moments: Moments, requests: Sequence[Request]) -> Span | None:
    """From the end of warm-up (or the first request) to the push, or to the end of traffic without a push."""
    start = moments.before if moments.before is not None else requests[0].due if requests else None
    end = moments.push if moments.push is not None else requests[-1].due if requests else None
    return None if start is None or end is None else Span(start, end)


def after_span(moments: Moments, requests: Sequence[Request]) -> Span | None:
    """From recovery to the end of traffic; from the push on, when nobody ever rolled it back."""
    start = moments.push if moments.rollback is None else moments.recovered
    return None if start is None or not requests else Span(start, requests[-1].due)


def ratios(requests: Sequence[Request], moments: Moments, peak_min_requests: int) -> BadRatio:
    before, after = before_span(moments, requests), after_span(moments, requests)
    return BadRatio(
        before=rounded(_ratio_done_within(requests, before), 6) if before else None,
        peak=rounded(peak_ratio(requests, moments.push, peak_min_requests), 6),
        after=rounded(bad_ratio(r for r in requests if r.due > after.start), 6) if after else None,
    )


def _ratio_done_within(requests: Sequence[Request], span: Span) -> float | None:
    inside = (r for r in requests if r.due >= span.start and r.done is not None and r.done < span.end)
    return bad_ratio(inside)


def peak_ratio(requests: Sequence[Request], push: float | None, min_requests: int) -> float | None:
    """The bad ratio of the worst whole window from the push on, by time of answer, of at least `min_requests`."""
    if push is None:
        return None
    steps = round(PEAK_WINDOW_S / PEAK_STEP_S)
    answered: Counter[int] = Counter()
    bad: Counter[int] = Counter()
    for request in requests:
        if request.done is not None and request.done >= push:
            step = int((request.done - push) / PEAK_STEP_S)
            answered[step] += 1
            bad[step] += request.bad
    worst: float | None = None
    for first in range(max(answered, default=-1) - steps + 2):
        window = range(first, first + steps)
        total = sum(answered[step] for step in window)
        if total >= max(1, min_requests):
            worst = max(worst or 0.0, sum(bad[step] for step in window) / total)
    return worst


def blast_radius(requests: Iterable[Request], moments: Moments) -> BlastRadius:
    """A node counts with its first own 5xx, a site or region with its first bad answer of any kind.

    Node-seconds are whole seconds, counted from the push, in which more than half of a node's answers were bad.
    """
    start = moments.push if moments.push is not None else float("inf")
    end = moments.recovered if moments.recovered is not None else float("inf")
    nodes: set[str] = set()
    sites: set[str] = set()
    regions: set[str] = set()
    answered: Counter[tuple[str, int]] = Counter()
    bad: Counter[tuple[str, int]] = Counter()
    for request in requests:
        if request.done is None or not start <= request.done <= end:
            continue
        cell = (request.node, int(request.done - start))
        answered[cell] += 1
        if request.bad:
            bad[cell] += 1
            sites.add(request.site)
            regions.add(request.region)
            if request.outcome in EDGE_MADE:
                nodes.add(request.node)
    return BlastRadius(
        nodes=len(nodes),
        node_seconds=sum(2 * count > answered[cell] for cell, count in bad.items()),
        sites=len(sites),
        regions=len(regions),
        node_names=tuple(sorted(nodes)),
        region_names=tuple(sorted(regions)),
    )
