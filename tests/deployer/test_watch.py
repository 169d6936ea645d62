"""When the fleet's alarm pages, decides, and keeps quiet."""

from typing import Any

import msgspec
import pytest

from contract.messages import Counters, Guard, Report, RuleSetRef
from contract.vocabulary import EventKind, RolloutState, Strategy, Verdict
from deployer.events import Journal, Judged
from deployer.rollout import Rollout
from deployer.watch import ABSOLUTE_GUARD, REARM_AFTER_S, Watch
from tests.fakes.node import burning

S = RolloutState
V1, V2 = RuleSetRef("a" * 64, 1), RuleSetRef("b" * 64, 2)
BAKING = Rollout(1, S.BAKING, Strategy.EVERYWHERE, V2, V1, Guard(0.5, 1.0), "eve", 0.0, ("a",), confirmed=("a",))


class Reports:
    """One node's cumulative reports into a watch, a batch every 250 ms."""

    def __init__(self) -> None:
        self.watch, self.t, self.due, self.bad = Watch(), 0.0, 0, 0
        self.feed(0, 0, 0.25, None)

    def feed(
        self, due: int, bad: int, seconds: float, rollout: Rollout | None, hot: str | None = None
    ) -> list[Any]:
        found: list[Any] = []
        for _ in range(round(seconds * 4)):
            self.t, self.due, self.bad = self.t + 0.25, self.due + due, self.bad + bad
            self.watch.report(self.t, Report(
                node="a", seq=1, uptime_s=100 + self.t, epoch=1, active=None, kill_switch=False,
                kill_switch_local=False, draining=False, counters=Counters(self.due, self.bad, (), {}, {}, {}),
                in_flight=0, oldest_in_flight_s=0.0, inspector_cpu_s=0.0, cpu_quota=0.1, loop_lag_s=0.0,
                hottest=None if hot is None else burning(hot, 2.5), inspectors=(), pid=1,
            ))  # fmt: skip
            found += self.watch.tick(self.t, rollout)
        return found


def _kinds(found: list[Any]) -> list[str]:
    return [one.kind.value if isinstance(one, Journal) else f"judged_{one.verdict.value}" for one in found]


def test_page_then_decision_with_the_evidence() -> None:
    found = Reports().feed(40, 36, 1.25, BAKING, hot="r-2019")
    assert _kinds(found) == ["page", "judged_fail"]
    page, judged = found
    assert (page.data["bad"], page.data["due"], page.data["rollout"]) == (36, 40, 1)
    assert judged.by == ABSOLUTE_GUARD
    assert (judged.evidence["culprit_rule"], judged.evidence["held_s"]) == ("r-2019", 2.5)
    assert "hottest rule r-2019 held an inspector for 2.5 s" in judged.reason
    assert "144 of 160 requests failed" in judged.reason


def test_an_undecided_fail_is_said_again() -> None:
    """So that a write that failed is tried again."""
    assert _kinds(Reports().feed(40, 36, 2.0, BAKING)).count("judged_fail") == 4


def test_a_breach_that_ends_is_cleared() -> None:
    reports = Reports()
    assert _kinds(reports.feed(40, 36, 0.5, BAKING)) == ["page"]
    assert _kinds(reports.feed(40, 0, 2.0, BAKING)) == ["cleared"]


@pytest.mark.parametrize(
    "rollout",
    [None, msgspec.structs.replace(BAKING, guard=None), msgspec.structs.replace(BAKING, state=S.PROMOTED)],
)
def test_without_a_rollout_to_decide_on_it_only_pages(rollout: Rollout | None) -> None:
    found = Reports().feed(40, 36, 20.0, rollout)
    assert _kinds(found) == ["page"]


@pytest.mark.parametrize("state", [S.STAGING, S.BAKING, S.ANALYSING, S.HOLDING])
def test_it_decides_in_every_undecided_state(state: S) -> None:
    found = Reports().feed(40, 36, 1.25, msgspec.structs.replace(BAKING, state=state))
    assert _kinds(found)[-1] == "judged_fail"


@pytest.mark.parametrize("state", [S.REVERTING, S.STUCK])
def test_a_rollback_disarms_it(state: S) -> None:
    assert Reports().feed(40, 36, 5.0, msgspec.structs.replace(BAKING, state=state)) == []


def test_a_reverted_fleet_that_is_still_bad_is_said_as_that() -> None:
    reports = Reports()
    reverted = msgspec.structs.replace(BAKING, state=S.REVERTED, since=reports.t)
    assert reports.feed(40, 36, REARM_AFTER_S - 0.25, reverted) == []
    (page,) = reports.feed(40, 36, 5.0, reverted)
    assert page.kind is EventKind.PAGE
    assert "every node runs v1 again and the service is still bad" in page.text


def test_a_new_rollout_has_a_new_window() -> None:
    """What went wrong before it is not its fault."""
    reports = Reports()
    assert _kinds(reports.feed(40, 36, 20.0, None)) == ["page"]
    found = reports.feed(40, 36, 0.75, msgspec.structs.replace(BAKING, id=2))
    assert _kinds(found) == ["page"]


@pytest.mark.parametrize(
    ("due", "bad", "verdict"), [(40, 0, Verdict.PASS), (40, 4, Verdict.UNKNOWN), (1, 0, Verdict.UNKNOWN)]
)
def test_the_soak_is_judged_over_all_of_it(due: int, bad: int, verdict: Verdict) -> None:
    reports = Reports()
    assert reports.feed(due, bad, 10.0, BAKING) == []
    judged = reports.feed(due, bad, 0.25, msgspec.structs.replace(BAKING, state=S.ANALYSING))[-1]
    assert isinstance(judged, Judged)
    assert judged.verdict is verdict
    assert f"of {due * 40:,} requests" in judged.reason
