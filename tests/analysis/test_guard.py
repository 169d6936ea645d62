"""The absolute guard by tables: batches of 250 ms in, edges and verdicts out."""

import pytest

from analysis.guard import AbsoluteGuard, Edge, Observation, describe
from analysis.hot_rules import HotEvidence
from contract.messages import Guard
from contract.vocabulary import Verdict

GOOD, BAD, FEW = (40, 1), (40, 36), (2, 2)


def _run(guard: Guard, *phases: tuple[tuple[int, int], float]) -> list[tuple[float, Observation]]:
    """Feed (batch, seconds) phases, a batch every 250 ms; times are from 0.25 s on."""
    subject, t, seen = AbsoluteGuard(guard), 0.0, []
    for (due, bad), seconds in phases:
        for _ in range(round(seconds * 4)):
            t += 0.25
            seen.append((t, subject.observe(t, due, bad)))
    return seen


def _first(seen: list[tuple[float, Observation]], verdict: Verdict) -> float | None:
    return next((t for t, one in seen if one.verdict is verdict), None)


def _edges(seen: list[tuple[float, Observation]]) -> list[tuple[float, Edge]]:
    return [(t, one.edge) for t, one in seen if one.edge is not None]


def test_a_healthy_fleet_passes() -> None:
    seen = _run(Guard(), (GOOD, 20))
    assert {one.verdict for _, one in seen} == {Verdict.PASS}
    assert not _edges(seen)


def test_fails_when_the_breach_has_lasted_for_s() -> None:
    """The window turns after 3 of its 4 batches are bad; 8 s later it fails, and stays failed."""
    seen = _run(Guard(0.5, 8.0), (GOOD, 5), (BAD, 12))
    assert _edges(seen) == [(5.75, Edge.BREACHED)]
    assert _first(seen, Verdict.FAIL) == 13.75
    assert all(one.verdict is Verdict.FAIL for t, one in seen if t >= 13.75)


def test_for_s_of_zero_fails_with_the_breach() -> None:
    seen = _run(Guard(0.5, 0.0), (BAD, 1))
    assert _edges(seen) == [(0.25, Edge.BREACHED)]
    assert _first(seen, Verdict.FAIL) == 0.25


def test_a_cleared_breach_starts_anew() -> None:
    seen = _run(Guard(0.5, 4.0), (BAD, 3.75), (GOOD, 2), (BAD, 6))
    edges = _edges(seen)
    assert [edge for _, edge in edges] == [Edge.BREACHED, Edge.CLEARED, Edge.BREACHED]
    assert _first(seen, Verdict.FAIL) == edges[2][0] + 4.0


def test_exactly_the_limit_is_no_breach() -> None:
    assert not _edges(_run(Guard(0.5, 0.0), ((40, 20), 3)))


def test_too_few_requests_are_unknown_and_no_breach() -> None:
    seen = _run(Guard(0.5, 0.0), (FEW, 5))
    assert {one.verdict for _, one in seen} == {Verdict.UNKNOWN}
    assert not _edges(seen)


def test_a_short_gap_neither_clears_nor_fails() -> None:
    """The clock runs on through it, but only a breached window may fail."""
    seen = _run(Guard(0.5, 2.0), (BAD, 1), (FEW, 1.75), (BAD, 2))
    assert [edge for _, edge in _edges(seen)] == [Edge.BREACHED]
    assert _first(seen, Verdict.FAIL) == 3.0
    in_gap = [one.verdict for _, one in seen if one.due < 20]
    assert in_gap
    assert set(in_gap) == {Verdict.UNKNOWN}


def test_a_long_gap_clears() -> None:
    """Two seconds without evidence are no evidence of two bad seconds."""
    seen = _run(Guard(0.5, 4.0), (BAD, 1), ((0, 0), 4), (BAD, 4.75))
    edges = _edges(seen)
    assert [edge for _, edge in edges] == [Edge.BREACHED, Edge.CLEARED, Edge.BREACHED]
    assert _first(seen, Verdict.FAIL) == edges[2][0] + 4.0


def test_a_stalled_observer_starts_anew() -> None:
    guard = AbsoluteGuard(Guard(0.5, 3.0))
    assert guard.observe(0.0, 40, 40).edge is Edge.BREACHED
    late = guard.observe(10.0, 40, 40)
    assert late.edge is Edge.BREACHED
    assert late.verdict is Verdict.UNKNOWN


def test_the_window_is_the_last_second() -> None:
    seen = _run(Guard(), (GOOD, 5))
    assert (seen[-1][1].due, seen[-1][1].bad) == (160, 4)


@pytest.mark.parametrize("jitter", [-0.05, 0.0, 0.05])
def test_late_ticks_do_not_widen_the_window(jitter: float) -> None:
    guard = AbsoluteGuard(Guard())
    for index in range(20):
        seen = guard.observe(index * 0.25 + (jitter if index % 2 else 0.0), 40, 0)
    assert seen.due == 160


def test_the_sentence_has_numbers_limits_and_evidence() -> None:
    seen = Observation(Verdict.FAIL, None, 1298, 1204, 8.0)
    assert describe(seen, Guard(0.5, 8.0), HotEvidence("xss-2019", 4.12, 8, 30)) == (
        "1,204 of 1,298 requests failed fleet-wide in the last second, above 50 % for 8.0 s; no control group,"
        " so this cannot tell a bad deploy from an attack; hottest rule xss-2019 held an inspector for 4.1 s"
    )
    assert "no rule was seen to hold an inspector" in describe(seen, Guard(0.5, 0.0), None)
    assert "for 8.0 s" not in describe(seen, Guard(0.5, 0.0), None)
