"""Do three witnesses tell the same story? Each request of the schedule, joined by id over three logs.

The logs are Locust's, the fronts' and the origins'. Every request gets one category with a reason that a person
can check; what fits none is *unexplained*, and above a thousandth of that the run cannot be trusted.
Pure; takes the record, returns counts and a few ids to look up.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import TypeVar

import msgspec

from contract.record import AccessLogLine, OriginLogLine, TrafficLogLine
from contract.vocabulary import Outcome, Reason
from drills.rundir import Record

#: Ids shown of what stays unexplained.
EXAMPLES = 10

#: Reasons that a front decides on before it asks an origin: such a request must not be in the origins' log.
BEFORE_ORIGIN = frozenset(
    {
        Reason.RULE_MATCHED,
        Reason.INSPECTION_TIMEOUT,
        Reason.INSPECTION_QUEUE_FULL,
        Reason.INSPECTION_POOL_DOWN,
        Reason.MALFORMED,
        Reason.HOST_MISSING,
        Reason.HEAD_TOO_LARGE,
        Reason.METHOD_REFUSED,
        Reason.UPGRADE_REFUSED,
    }
)

LogLine = TypeVar("LogLine", AccessLogLine, OriginLogLine)


class Category(StrEnum):
    """What became of one sent request, as all logs together tell it."""

    MATCHED = "matched"  # user, front and origin agree
    EDGE_MADE = "edge_made"  # the front answered by itself (502, blocked, …), and the user saw that answer
    RETRY = "retry"  # the same id more than once at a front or an origin, the user's answer among them
    LOST_WITH_NODE = "lost_with_node"  # a front or origin had it, the user saw a reset or time-out
    NEVER_SEEN = "never_seen"  # the user saw a reset or time-out, and no front or origin has it
    IN_FLIGHT_AT_END = "in_flight_at_end"  # the run ended first
    UNEXPLAINED = "unexplained"


class Example(msgspec.Struct, frozen=True):
    """An id to look up in the logs, and what does not fit."""

    id: str
    why: str


class Reconciliation(msgspec.Struct, frozen=True):
    """Counts of sent requests by category; they add up to `sent`, orphans apart.

    `orphans`: log lines with an id that no user sent; they count as unexplained in the ratio. `foreign`: fronts'
    and origins' lines without a user's id (the outside probe, people). `ratio`: (unexplained + orphans) / sent.
    """

    sent: int
    matched: int
    edge_made: int
    retry: int
    lost_with_node: int
    never_seen: int
    in_flight_at_end: int
    unexplained: int
    orphans: int
    foreign: int
    ratio: float | None
    examples: tuple[Example, ...]


def reconcile(record: Record) -> Reconciliation:
    fronts = _by_client(record.access)
    origins = _by_client(record.origins)
    counts: Counter[Category] = Counter()
    examples: list[Example] = []
    sent = [line for line in record.traffic if line.sent is not None and line.outcome != Outcome.UNSENT]
    closes = record.head.started_at + record.end
    for line in sent:
        category, why = judge_one(line, fronts.get(line.id, ()), origins.get(line.id, ()), closes)
        counts[category] += 1
        if category is Category.UNEXPLAINED:
            examples.append(Example(line.id, why))
    known = {line.id for line in record.traffic}
    orphans = _orphans("a front", record.access, known) + _orphans("an origin", record.origins, known)
    unexplained = counts[Category.UNEXPLAINED] + len(orphans)
    return Reconciliation(
        sent=len(sent),
        orphans=len(orphans),
        foreign=sum(not f.client_id for f in record.access) + sum(not o.client_id for o in record.origins),
        ratio=round(unexplained / len(sent), 6) if sent else None,
        examples=tuple((examples + orphans)[:EXAMPLES]),
        **{category.value: counts[category] for category in Category},
    )


def judge_one(
    user: TrafficLogLine,
    fronts: Sequence[AccessLogLine],
    origins: Sequence[OriginLogLine],
    closes: float,
) -> tuple[Category, str]:
    """One request's category, and what does not fit if it is unexplained. `closes`: end of run, wall clock."""
    if user.done is None or user.done > closes:
        return Category.IN_FLIGHT_AT_END, ""
    if user.outcome in (Outcome.RESET, Outcome.TIMEOUT):
        return (Category.LOST_WITH_NODE if fronts or origins else Category.NEVER_SEEN), ""
    if not fronts:
        return Category.UNEXPLAINED, f"the user saw {user.status}, and no front logged it"
    told = next((front for front in fronts if front.status == user.status), None)
    if told is None:
        statuses = ", ".join(str(front.status) for front in fronts)
        return Category.UNEXPLAINED, f"the user saw {user.status}, the front logged {statuses}"
    if told.outcome == Outcome.OK and not origins:
        return Category.UNEXPLAINED, "the front passed on an answer that no origin logged"
    if len(fronts) > 1 or len(origins) > 1:
        return Category.RETRY, ""
    if told.outcome == Outcome.OK:
        return Category.MATCHED, ""
    if origins and told.reason in BEFORE_ORIGIN:
        return Category.UNEXPLAINED, f"the front refused it ({told.reason}), yet an origin logged it"
    return Category.EDGE_MADE, ""


def _by_client(lines: Iterable[LogLine]) -> Mapping[str, Sequence[LogLine]]:
    found: dict[str, list[LogLine]] = defaultdict(list)
    for line in lines:
        found[line.client_id].append(line)
    return found


def _orphans(where: str, lines: Iterable[AccessLogLine | OriginLogLine], known: set[str]) -> list[Example]:
    ids = sorted({line.client_id for line in lines if line.client_id} - known)
    return [Example(client_id, f"{where} logged it, and no user sent it") for client_id in ids]
