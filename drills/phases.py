"""When what happened: the moments of a run, and the phases from the push to recovery that they bound.

Comes from the run's events (what was said) and its requests (what customers met). The phases add up to
`push_to_recovered` to the millisecond, since all of them are differences between moments kept in milliseconds.
Pure.
"""

import bisect
from collections.abc import Iterable, Sequence

import msgspec

from contract.record import Event
from contract.vocabulary import EventKind, Outcome
from drills.rundir import Record
from drills.traffic import Request, rounded

#: `data.by` of a decision that no person made: it needs no diagnosis.
MACHINES = frozenset({"absolute_guard"})

#: `data.phase` of an ack that brings a node back.
REVERT = "revert"


class Moments(msgspec.Struct, frozen=True):
    """Moments of the run in seconds since it began; None: did not happen.

    `noticed`, `declared`: page and declared cause, moved so that push <= noticed <= declared <= rollback, as a
    procedure may act before any page or declaration. `effective`: node → its first good answer at or after it
    confirmed the rollback, None: never. `effective_last`: None unless every node got there.
    """

    traffic_start: float | None
    before: float | None
    push: float | None
    page: float | None
    decision: float | None
    decided_by: str | None
    rollback: float | None
    reverted: float | None
    effective: dict[str, float | None]
    recovered: float | None
    end: float

    @property
    def effective_last(self) -> float | None:
        times = list(self.effective.values())
        known = [at for at in times if at is not None]
        return max(known) if known and len(known) == len(times) else None


class Marks(msgspec.Struct, frozen=True):
    """The moments as the report gives them: seconds since the run began; null: did not happen."""

    traffic_start: float | None
    before: float | None
    push: float | None
    page: float | None
    decision: float | None
    rollback: float | None
    reverted: float | None
    effective_last: float | None
    recovered: float | None


class Timing(msgspec.Struct, frozen=True):
    """Seconds. The five phases add up to `push_to_recovered`; null: did not happen."""

    push_to_first_bad: float | None
    detect: float | None
    diagnose: float | None
    decide: float | None
    act: float | None
    recover: float | None
    push_to_recovered: float | None


def moments_of(record: Record, requests: Sequence[Request], objective: float, soak_s: float) -> Moments:
    """`objective`: the bad ratio under which the service counts as recovered, once held for `soak_s`."""
    events = record.events
    push = _first(events, EventKind.PUSH)
    since = push.t if push else float("inf")
    decision = _first(events, EventKind.DECISION, since)
    rollback = _first_mutation(events, since)
    reverted = _first(events, EventKind.REVERTED, since)
    effective = _effective(record, requests, since, rollback.t) if rollback else {}
    moments = Moments(
        traffic_start=_t(_first(events, EventKind.TRAFFIC_START)),
        before=_t(_before(events) or _first(events, EventKind.TRAFFIC_START)),
        push=_t(push),
        page=_t(_first(events, EventKind.PAGE, since)),
        decision=_t(decision),
        decided_by=str(decision.data.get("by", decision.source)) if decision else None,
        rollback=_t(rollback),
        reverted=_t(reverted),
        effective=effective,
        recovered=None,
        end=record.end,
    )
    last = moments.effective_last
    recovered = None if last is None else recovery(requests, last, objective, soak_s)
    return msgspec.structs.replace(moments, recovered=recovered)


def timing_of(record: Record, moments: Moments, requests: Iterable[Request]) -> Timing:
    """The phases, as defined at the head of `docs/report.md`."""
    if moments.push is None:
        return Timing(None, None, None, None, None, None, None)
    push, rollback, page = moments.push, moments.rollback, moments.page
    bad = [request.done for request in requests if request.bad and request.done and request.done >= push]
    noticed = rollback if page is None else page if rollback is None else min(page, rollback)
    cause = _cause(record.events, moments, noticed)
    return Timing(
        push_to_first_bad=_between(push, min(bad, default=None)),
        detect=_between(push, noticed),
        diagnose=_between(noticed, cause),
        decide=_between(noticed if cause is None else cause, rollback),
        act=_between(rollback, moments.effective_last),
        recover=_between(moments.effective_last, moments.recovered),
        push_to_recovered=_between(push, moments.recovered),
    )


def marks_of(moments: Moments) -> Marks:
    fields = msgspec.structs.fields(Marks)
    return Marks(**{field.name: rounded(getattr(moments, field.name)) for field in fields})


def act_by_node(moments: Moments) -> dict[str, float | None]:
    """Node → seconds from the rollback to its first good answer after it confirmed; None: never."""
    return {node: _between(moments.rollback, at) for node, at in sorted(moments.effective.items())}


def recovery(requests: Sequence[Request], since: float, objective: float, soak_s: float) -> float | None:
    """The earliest moment from `since` on from which a whole soak stays under the objective.

    Takes requests by due time in `(moment, moment + soak_s]`; None when the traffic ended before such a soak
    did. Only moments at which a bad request leaves that window, or another one enters it, can be the earliest.
    """
    answered = sorted((request for request in requests if request.answered), key=lambda request: request.due)
    dues = [request.due for request in answered]
    bad_until = [0]
    for request in answered:
        bad_until.append(bad_until[-1] + request.bad)
    last_due = max((request.due for request in requests), default=since)
    leaving = (request.due for request in answered if request.bad)
    entering = (due - soak_s for due in dues)
    for moment in sorted({since, *(at for at in (*leaving, *entering) if at > since)}):
        if moment + soak_s > last_due:
            return None
        low, high = bisect.bisect_right(dues, moment), bisect.bisect_right(dues, moment + soak_s)
        if high > low and (bad_until[high] - bad_until[low]) / (high - low) < objective:
            return moment
    return None


def time_unprotected(events: Iterable[Event], end: float) -> float:
    """Seconds with inspection switched off for the fleet, up to `end`."""
    total, since = 0.0, None
    for event in events:
        if event.kind is not EventKind.KILL_SWITCH:
            continue
        if event.data.get("on") and since is None:
            since = event.t
        elif not event.data.get("on") and since is not None:
            total, since = total + event.t - since, None
    return round(total + (end - since if since is not None else 0.0), 3)


def _effective(
    record: Record, requests: Sequence[Request], push: float, rollback: float
) -> dict[str, float | None]:
    """Every node that took the push or the rollback, with its first good answer after it confirmed the latter."""
    confirmed: dict[str, float] = {}
    nodes: set[str] = set()
    for event in record.events:
        if event.kind is not EventKind.ACK or event.t < push:
            continue
        node = str(event.data.get("node", event.source))
        nodes.add(node)
        if _reverts(event) and event.t >= rollback:
            confirmed.setdefault(node, event.t)
    good: dict[str, list[float]] = {node: [] for node in nodes}
    for request in requests:
        if request.outcome == Outcome.OK and request.done is not None and request.node in good:
            good[request.node].append(request.done)
    return {
        node: min((at for at in good[node] if at >= confirmed[node]), default=None) if node in confirmed else None
        for node in sorted(nodes)
    }


def _reverts(ack: Event) -> bool:
    return ack.data.get("phase") == REVERT or ack.data.get("kill_switch") is True


def _cause(events: Iterable[Event], moments: Moments, noticed: float | None) -> float | None:
    """When the cause was known: as the page came where a machine decides, else when somebody declared it."""
    if noticed is None:
        return None
    if moments.decided_by in MACHINES:
        return noticed
    declared = (event.t for event in events if event.kind is EventKind.NOTE and "declared" in event.data)
    at = min((at for at in declared if at >= (moments.push or 0.0)), default=None)
    if at is None:
        return None
    at = max(at, noticed)
    return at if moments.rollback is None else min(at, moments.rollback)


def _first_mutation(events: Iterable[Event], since: float) -> Event | None:
    """The first accepted command that changes the fleet back: a rollback, or the kill switch going on."""
    for event in events:
        switched_off = event.kind is EventKind.KILL_SWITCH and bool(event.data.get("on"))
        if event.t >= since and (event.kind is EventKind.ROLLBACK or switched_off):
            return event
    return None


def _before(events: Iterable[Event]) -> Event | None:
    marked = (e for e in events if e.kind is EventKind.NOTE and e.data.get("phase") == "before")
    return next(marked, None)


def _first(events: Iterable[Event], kind: EventKind, since: float = float("-inf")) -> Event | None:
    return next((event for event in events if event.kind is kind and event.t >= since), None)


def _t(event: Event | None) -> float | None:
    return event.t if event else None


def _between(start: float | None, end: float | None) -> float | None:
    """Both moments are rounded first: only so do neighbouring phases add up."""
    return None if start is None or end is None else (round(end * 1000) - round(start * 1000)) / 1000
