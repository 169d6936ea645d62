"""Differences of cumulative counters, by tables: resets, gaps and silence."""

import pytest

from contract.messages import Counters, Report
from deployer.batches import Batcher, NodeCounts


def _report(node: str, due: int, bad: int, uptime_s: float = 100.0, pid: int = 1) -> Report:
    return Report(
        node=node, seq=1, uptime_s=uptime_s, epoch=1, active=None, kill_switch=False, kill_switch_local=False,
        draining=False, counters=Counters(due, bad, (), {}, {}, {}), in_flight=0, oldest_in_flight_s=0.0,
        inspector_cpu_s=0.0, cpu_quota=0.1, loop_lag_s=0.0, hottest=None, inspectors=(), pid=pid,
    )  # fmt: skip


def test_the_first_report_is_only_a_starting_point() -> None:
    batcher = Batcher()
    batcher.observe(0.0, _report("a", 1000, 900))
    assert batcher.close(0.25).by_node == {}


def test_batches_add_up_over_nodes_and_reports() -> None:
    batcher = Batcher()
    for node in ("a", "b"):
        batcher.observe(0.0, _report(node, 100, 0))
    batcher.observe(0.1, _report("a", 110, 1))
    batcher.observe(0.2, _report("a", 125, 3))
    batcher.observe(0.2, _report("b", 140, 0))
    batch = batcher.close(0.25)
    assert (batch.due, batch.bad) == (65, 3)
    assert batch.by_node == {"a": NodeCounts(25, 3), "b": NodeCounts(40, 0)}
    assert batcher.close(0.5).due == 0, "a batch is closed once"


@pytest.mark.parametrize(
    ("after", "gap_s", "expected"),
    [
        (_report("a", 110, 2, uptime_s=100.25), 0.25, NodeCounts(10, 2)),
        (_report("a", 110, 2, uptime_s=102.0), 2.0, NodeCounts(10, 2)),
        (_report("a", 110, 2, uptime_s=102.5), 2.5, None),  # nobody knows when
        (_report("a", 7, 1, uptime_s=0.3, pid=2), 0.5, NodeCounts(7, 1)),  # a new front, all of it recent
        (_report("a", 500, 40, uptime_s=1.0, pid=2), 1.5, NodeCounts(500, 40)),  # more than before, still a reset
        (_report("a", 500, 40, uptime_s=60.0, pid=2), 61.0, None),
        (_report("a", 99, 0, uptime_s=100.25), 0.25, None),  # counters ran backwards without a restart
    ],
)
def test_resets_and_gaps(after: Report, gap_s: float, expected: NodeCounts | None) -> None:
    batcher = Batcher()
    batcher.observe(0.0, _report("a", 100, 0))
    batcher.observe(gap_s, after)
    assert batcher.close(gap_s).by_node.get("a") == expected


def test_silence_is_named() -> None:
    batcher = Batcher()
    batcher.observe(0.0, _report("a", 1, 0))
    batcher.observe(0.9, _report("b", 1, 0))
    assert batcher.close(1.0).silent == ()
    assert batcher.close(1.25).silent == ("a",)
