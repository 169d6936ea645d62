import pytest

from contract.vocabulary import Outcome
from loadtest.buckets import Buckets, percentile


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        ([], 0.5, None),
        ([3.0], 0.99, 3.0),
        ([1.0, 2.0, 3.0, 4.0], 0.5, 2.0),
        ([4.0, 1.0, 3.0, 2.0], 0.99, 4.0),
        ([float(n) for n in range(1, 101)], 0.99, 99.0),
        ([float(n) for n in range(1, 101)], 0.5, 50.0),
    ],
)
def test_percentiles_are_nearest_rank(values: list[float], share: float, expected: float | None) -> None:
    assert percentile(values, share) == expected


def test_a_bucket_counts_what_fell_into_it() -> None:
    buckets = Buckets(0.25)
    for _ in range(5):
        buckets.due()
    for lag_s in (0.001, 0.002, -0.0001):
        buckets.sent(lag_s)
    buckets.ended("ams-1", Outcome.OK, 0.020)
    buckets.ended("ams-1", Outcome.BAD_GATEWAY, 1.0)
    buckets.unsent()
    sample = buckets.close(0.25, 240, 0.123456)
    assert (sample.t, sample.width_s, sample.intended, sample.sent) == (0.25, 0.25, 5, 3)
    assert sample.outcomes == {"ok": 1, "bad_gateway": 1, "unsent": 1}
    assert sample.by_node == {"ams-1": {"ok": 1, "bad_gateway": 1}}
    assert (sample.latency_ms_p50, sample.latency_ms_p99) == (20.0, 1000.0)
    assert sample.send_lag_ms_p99 == 2.0
    assert (sample.in_flight, sample.users, sample.cpu_share) == (1, 240, 0.1235)


def test_the_next_bucket_starts_empty_but_keeps_what_is_in_flight() -> None:
    buckets = Buckets(0.25)
    buckets.due()
    buckets.sent(0.0)
    buckets.close(0.25, 1, 0.0)
    empty = buckets.close(0.5, 1, 0.0)
    assert (empty.intended, empty.sent, empty.outcomes, empty.by_node, empty.in_flight) == (0, 0, {}, {}, 1)
    assert (empty.latency_ms_p50, empty.latency_ms_p99, empty.send_lag_ms_p99) == (None, None, None)
    buckets.ended("nrt-2", Outcome.RESET, 0.3)
    assert buckets.in_flight == 0
    assert buckets.close(0.75, 1, 0.0).by_node == {"nrt-2": {"reset": 1}}


def test_what_a_stopping_test_cut_off_has_no_latency() -> None:
    buckets = Buckets(0.25)
    buckets.sent(0.0)
    buckets.ended("ams-1", Outcome.CLIENT_GONE, 0.1)
    sample = buckets.close(0.25, 1, 0.0)
    assert sample.outcomes == {"client_gone": 1}
    assert sample.latency_ms_p50 is None
