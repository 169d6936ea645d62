"""Three logs, one story: each sent request has one category, and what does not fit is named."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest

from contract.record import AccessLogLine, OriginLogLine, TrafficLogLine
from contract.vocabulary import Outcome, Reason, RunVerdict
from drills.reconciliation import EXAMPLES, Category, judge_one, reconcile
from drills.rundir import Record
from drills.score import score
from tests.fakes.record import SENT, access_line, make_record, origin_line

RECORD = make_record()
USER = msgspec.structs.replace(RECORD.traffic[0], sent=10.0, done=10.1, status=200, outcome=Outcome.OK)
USER_502 = msgspec.structs.replace(USER, status=502, outcome=Outcome.BAD_GATEWAY)
USER_RESET = msgspec.structs.replace(USER, status=0, outcome=Outcome.RESET)
FRONT = access_line(USER, 200, Outcome.OK, Reason.PROXIED)
TIMED_OUT = access_line(USER, 502, Outcome.BAD_GATEWAY, Reason.INSPECTION_TIMEOUT)
ORIGIN_LOST = access_line(USER, 502, Outcome.BAD_GATEWAY, Reason.ORIGIN_RESET)
ORIGIN = origin_line(USER)


@pytest.mark.parametrize(
    ("user", "fronts", "origins", "category"),
    [
        (USER, [FRONT], [ORIGIN], Category.MATCHED),
        (USER_502, [TIMED_OUT], [], Category.EDGE_MADE),
        (USER_502, [ORIGIN_LOST], [ORIGIN], Category.EDGE_MADE),
        (USER_502, [ORIGIN_LOST], [], Category.EDGE_MADE),
        (USER_502, [TIMED_OUT], [ORIGIN], Category.UNEXPLAINED),
        (USER, [ORIGIN_LOST, FRONT], [ORIGIN, ORIGIN], Category.RETRY),
        (USER, [FRONT], [ORIGIN, ORIGIN], Category.RETRY),
        (USER, [ORIGIN_LOST, TIMED_OUT], [ORIGIN], Category.UNEXPLAINED),
        (USER, [FRONT], [], Category.UNEXPLAINED),
        (USER, [FRONT, FRONT], [], Category.UNEXPLAINED),
        (USER, [TIMED_OUT], [], Category.UNEXPLAINED),
        (USER_502, [FRONT], [ORIGIN], Category.UNEXPLAINED),
        (USER, [], [ORIGIN], Category.UNEXPLAINED),
        (USER, [], [], Category.UNEXPLAINED),
        (USER_RESET, [FRONT], [ORIGIN], Category.LOST_WITH_NODE),
        (USER_RESET, [], [ORIGIN], Category.LOST_WITH_NODE),
        (USER_RESET, [], [], Category.NEVER_SEEN),
        (msgspec.structs.replace(USER, done=None), [], [], Category.IN_FLIGHT_AT_END),
        (msgspec.structs.replace(USER, done=99.9), [FRONT], [ORIGIN], Category.IN_FLIGHT_AT_END),
    ],
)
def test_each_request_has_one_category(
    user: TrafficLogLine, fronts: Sequence[AccessLogLine], origins: Sequence[OriginLogLine], category: Category
) -> None:
    found, why = judge_one(user, fronts, origins, closes=50.0)
    assert found is category
    assert bool(why) is (category is Category.UNEXPLAINED)


def test_the_made_up_run_adds_up() -> None:
    found = reconcile(RECORD)
    by_category = {category: getattr(found, category.value) for category in Category}
    assert by_category == {
        Category.MATCHED: 7048,
        Category.EDGE_MADE: 1546,
        Category.RETRY: 1,
        Category.LOST_WITH_NODE: 1,
        Category.NEVER_SEEN: 1,
        Category.IN_FLIGHT_AT_END: 1,
        Category.UNEXPLAINED: 0,
    }
    assert sum(by_category.values()) == found.sent == SENT
    assert (found.orphans, found.foreign, found.ratio, found.examples) == (0, 10, 0.0, ())


def _without_origins(record: Record, share: int) -> Record:
    return msgspec.structs.replace(record, origins=record.origins[share:])


def _with_orphans(record: Record, share: int) -> Record:
    orphans = [msgspec.structs.replace(record.access[0], client_id=f"nobody-{i}") for i in range(share)]
    return msgspec.structs.replace(record, access=(*record.access, *orphans))


@pytest.mark.parametrize(
    ("breaks", "counted", "why"),
    [(_without_origins, "unexplained", "that no origin logged"), (_with_orphans, "orphans", "no user sent it")],
)
def test_above_a_thousandth_unexplained_the_run_is_invalid(
    breaks: Callable[[Record, int], Record], counted: str, why: str
) -> None:
    """8 of 8,598 are below 0.1 %, 12 above."""
    tolerable, intolerable = breaks(RECORD, 8), breaks(RECORD, 12)
    assert getattr(reconcile(tolerable), counted) == 8
    assert score(tolerable).verdict is RunVerdict.MET
    found = reconcile(intolerable)
    assert found.ratio == round(12 / SENT, 6)
    assert len(found.examples) == EXAMPLES
    assert why in found.examples[0].why
    measured = score(intolerable)
    assert measured.verdict is RunVerdict.INVALID
    assert "0.1396 % of the sent requests are unexplained by the logs; at most 0.1 % may be" in measured.reasons


def test_nothing_sent_has_no_ratio() -> None:
    empty: Any = msgspec.structs.replace(RECORD, traffic=(), access=(), origins=())
    assert reconcile(empty).ratio is None
