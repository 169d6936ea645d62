"""Differences of a node's counters, and of the origins', through restarts."""

from console.counts import counts_between
from console.outside import OriginsStatus, grown
from tests.fakes.edge import report


def test_differences_by_colour() -> None:
    before = report(due=100, ok=90, bad_gateway=8, blocked=2)
    after = report(due=150, ok=120, bad_gateway=20, blocked=5, timeout=3, seq=2)
    assert counts_between(before, after) == (50, 33, 12, 3)


def test_the_first_report_has_nothing_to_compare_with() -> None:
    assert counts_between(None, report(due=100, ok=100)) == (0, 0, 0, 0)


def test_a_restarted_front_counts_from_zero() -> None:
    before = report(due=1000, ok=1000, uptime_s=60.0)
    assert counts_between(before, report(due=7, ok=6, bad_gateway=1, uptime_s=0.5)) == (7, 6, 1, 0)
    assert counts_between(before, report(due=2000, ok=2000, uptime_s=60.2, pid=2)) == (2000, 2000, 0, 0)


def test_origins_through_a_restart() -> None:
    before = OriginsStatus(1000, 4, 60, 30.0)
    assert grown(None, before) == (0, 0)
    assert grown(before, OriginsStatus(1040, 5, 60, 30.5)) == (40, 1)
    assert grown(before, OriginsStatus(12, 1, 60, 0.5)) == (12, 1)
