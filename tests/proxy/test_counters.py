"""The counters by tables: each request once, each threshold once, due at the verdict or at the last threshold."""

import pytest

from contract.messages import Counters
from contract.vocabulary import BAD_OUTCOMES, Outcome, Reason
from proxy.counters import BUCKETS_S, FrontCounters
from proxy.exchange import Exchange

NOBODY = None


def exchange(outcome=Outcome.OK, reason=Reason.PROXIED):
    record = Exchange(1, NOBODY, 0.0)
    record.outcome, record.reason = outcome, reason
    return record


def test_each_outcome_is_counted_once_under_both_names():
    counters = FrontCounters()
    counters.finish(exchange(), 0.001)
    counters.finish(exchange(Outcome.BAD_GATEWAY, Reason.ORIGIN_REFUSED), 0.001)
    counters.finish(exchange(Outcome.BAD_GATEWAY, Reason.INSPECTION_TIMEOUT), 0.001)
    counters.hits_by_rule["waf-1"] += 2
    assert counters.snapshot() == Counters(
        due=3,
        bad=2,
        slow=(0, 0),
        by_outcome={"ok": 1, "bad_gateway": 2},
        by_reason={"proxied": 1, "origin_refused": 1, "inspection_timeout": 1},
        hits_by_rule={"waf-1": 2},
    )


@pytest.mark.parametrize("outcome", list(Outcome))
def test_bad_is_what_the_vocabulary_calls_bad(outcome):
    counters = FrontCounters()
    counters.finish(exchange(outcome), 0.0)
    assert counters.snapshot().bad == (outcome in BAD_OUTCOMES)


@pytest.mark.parametrize(
    ("ages_s", "slow", "due"),
    [
        ([0.1], (0, 0), 0),
        ([0.25], (0, 0), 0),  # at the threshold is not yet above it
        ([0.26], (1, 0), 0),
        ([0.26, 0.5, 0.9], (1, 0), 0),
        ([1.01], (1, 1), 1),
        ([0.3, 1.01, 1.3, 7.0], (1, 1), 1),
    ],
)
def test_a_threshold_is_passed_once_and_the_last_one_makes_it_due(ages_s, slow, due):
    counters, unfinished = FrontCounters(taus_s=(0.25, 1.0)), exchange()
    for age_s in ages_s:
        counters.age(unfinished, age_s)
    assert (counters.snapshot().slow, counters.snapshot().due) == (slow, due)
    counters.finish(unfinished, ages_s[-1])
    assert (counters.snapshot().slow, counters.snapshot().due) == (slow, 1)
    assert counters.snapshot().by_outcome == {"ok": 1}


def test_new_thresholds_start_their_own_counts_and_the_same_ones_do_not():
    counters = FrontCounters(taus_s=(0.25, 1.0))
    counters.finish(exchange(), 2.0)
    counters.set_taus((0.25, 1.0))
    assert counters.snapshot().slow == (1, 1)
    counters.set_taus((0.1, 0.5, 3.0))
    assert counters.snapshot().slow == (0, 0, 0)
    counters.finish(exchange(), 0.6)
    assert counters.snapshot().slow == (1, 1, 0)
    assert counters.snapshot().due == 2


def test_the_histogram_holds_every_request_once():
    counters = FrontCounters()
    ages_s = [0.0, *BUCKETS_S, 60.0]
    for age_s in ages_s:
        counters.finish(exchange(), age_s)
    assert counters.histogram == [2, *[1] * (len(BUCKETS_S) - 1), 1]
    assert counters.seconds_sum == pytest.approx(sum(ages_s))


def test_a_snapshot_does_not_change_later():
    counters = FrontCounters()
    before = counters.snapshot()
    counters.hits_by_rule["a"] += 1
    counters.finish(exchange(), 5.0)
    assert before == Counters(0, 0, (0, 0), {}, {}, {})
