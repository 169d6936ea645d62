"""The outcome chart keeps totals, through buckets that begin anywhere and sources that come and go."""

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from console.chart import SHOWN_S, OutcomeChart
from contract.record import NodeSample, TrafficSample
from tests.fakes.outage import outage

TRAFFIC = next(line for line in outage() if isinstance(line, TrafficSample))
NODE = next(line for line in outage() if isinstance(line, NodeSample))


def bucket(t: float, width_s: float, n: int, **outcomes: int) -> TrafficSample:
    return msgspec.structs.replace(TRAFFIC, t=t, width_s=width_s, intended=n, outcomes=outcomes)


def edge(t: float, **counts: Any) -> NodeSample:
    return msgspec.structs.replace(NODE, **{"t": t, "ok": 0, "bad_gateway": 0, "other": 0, **counts})


def test_a_bucket_is_spread_over_the_seconds_that_it_covers() -> None:
    chart = OutcomeChart()
    chart.add_traffic(bucket(1.5, 1.0, 100, ok=60, bad_gateway=30, timeout=6, unsent=4))
    chart.add_traffic(bucket(2.5, 1.0, 100, ok=100))
    seconds = {second.t: second for second in chart.seconds(2.6)}
    assert seconds[1].intended == 100
    assert (seconds[0].ok, seconds[1].ok) == (30, 80)
    assert (seconds[0].bad_gateway, seconds[1].bad_gateway) == (15, 15)
    assert (seconds[0].other, seconds[0].unsent) == (3, 2)


def test_the_second_that_is_not_over_is_not_shown() -> None:
    chart = OutcomeChart()
    chart.add_traffic(bucket(3.5, 0.5, 50, ok=50))
    assert [second.t for second in chart.seconds(3.6)] == [0, 1, 2]


def test_without_locust_the_nodes_own_counts_are_drawn() -> None:
    chart = OutcomeChart()
    chart.add_traffic(bucket(1.0, 1.0, 100, ok=100))
    for i in range(1, 41):
        chart.add_node(edge(i / 4, ok=5, bad_gateway=1))
    seconds = {second.t: second for second in chart.seconds(10.0)}
    assert (seconds[0].ok, seconds[0].intended) == (100, 100)  # what Locust told stays
    assert (seconds[5].ok, seconds[5].bad_gateway, seconds[5].intended) == (20, 4, 0)


def test_while_locust_reports_nothing_else_is_drawn() -> None:
    chart = OutcomeChart()
    for i in range(1, 17):
        chart.add_node(edge(i / 4, ok=50))
    chart.add_traffic(bucket(2.0, 1.0, 10, ok=10))
    assert [second.ok for second in chart.seconds(6.0)] == [0, 10, 0]


def test_two_minutes_are_shown_and_the_rest_forgotten() -> None:
    chart = OutcomeChart()
    for t in range(1, 2001):
        chart.add_traffic(bucket(float(t), 1.0, 10, ok=10))
    seconds = chart.seconds(2000.0)
    assert len(seconds) == SHOWN_S
    assert seconds[-1].t == 1999
    assert len(chart._traffic._sums) <= 15 * 60 + 1


@given(
    st.lists(
        st.tuples(st.floats(0.05, 3.0), st.integers(0, 500)),
        min_size=1,
        max_size=30,
    )
)
def test_nothing_is_lost_or_counted_twice(buckets: list[tuple[float, int]]) -> None:
    chart = OutcomeChart()
    t = 0.0
    for width_s, n in buckets:
        t += width_s
        chart.add_traffic(bucket(t, width_s, n, ok=n))
    assert abs(sum(sums[1] for sums in chart._traffic._sums.values()) - sum(n for _, n in buckets)) < 1e-6
