"""The CPU bucket by tables: what it lets inspectors spend in the long run, and what it says when."""

import pytest

from proxy.quota import TICK_S, Order, QuotaBucket, QuotaKeeper


def burn(share, cores, seconds, tick_s=TICK_S):
    """CPU seconds spent by inspectors that use `cores` whenever they may run."""
    bucket, spent, order = QuotaBucket(share, 0.0), 0.0, Order.RUN
    for tick in range(1, int(seconds / tick_s) + 1):
        if order is Order.RUN:
            spent += cores * tick_s
        order = bucket.look(tick * tick_s, spent)
    return spent


@pytest.mark.parametrize(
    ("share", "cores", "tick_s"),
    [(0.12, 1.0, TICK_S), (0.12, 2.0, TICK_S), (0.12, 1.0, 0.1), (0.5, 1.0, TICK_S), (0.03, 2.0, TICK_S)],
)
def test_the_long_run_average_is_the_share_however_far_one_look_overshoots(share, cores, tick_s):
    assert burn(share, cores, 60.0, tick_s) / 60.0 == pytest.approx(share, rel=0.07)


def test_inspectors_below_their_share_are_never_stopped():
    assert burn(0.5, 0.4, 10.0) == pytest.approx(4.0)


def test_a_pause_saves_up_no_more_than_the_burst():
    bucket = QuotaBucket(0.1, 0.0, burst_s=0.03)
    assert bucket.look(100.0, 0.0) is Order.RUN
    assert bucket.look(100.0, 0.029) is Order.RUN
    assert bucket.look(100.0, 0.031) is Order.STOP


def test_debt_is_paid_back_before_inspectors_run_again():
    bucket = QuotaBucket(0.1, 0.0, burst_s=0.0)
    assert bucket.look(0.0, 0.05) is Order.STOP
    assert bucket.look(0.49, 0.05) is Order.STOP
    assert bucket.look(0.51, 0.05) is Order.RUN


def test_a_refill_forgives_the_debt_and_counts_from_there():
    bucket = QuotaBucket(0.1, 0.0, burst_s=0.03)
    assert bucket.look(1.0, 5.0) is Order.STOP
    bucket.refill(1.0, 5.0)
    assert bucket.look(1.0, 5.02) is Order.RUN
    assert bucket.look(1.0, 5.04) is Order.STOP


class Inspectors:
    """What the keeper is told and what it signals."""

    def __init__(self):
        self.spent = 0.0
        self.orders = []


@pytest.fixture
def kept():
    inspectors = Inspectors()
    keeper = QuotaKeeper(
        QuotaBucket(0.1, 0.0, burst_s=0.03),
        lambda: inspectors.spent,
        lambda order: inspectors.orders.append(order),
    )
    return keeper, inspectors


def test_stop_is_said_at_every_look_and_run_once(kept):
    """An inspector forked while the others are stopped has not heard the first one."""
    keeper, inspectors = kept
    keeper.tick(0.0)
    assert inspectors.orders == []
    inspectors.spent = 0.05
    keeper.tick(0.1)
    keeper.tick(0.11)
    assert keeper.stopped
    keeper.tick(1.0)
    keeper.tick(1.1)
    assert not keeper.stopped
    assert inspectors.orders == [Order.STOP, Order.STOP, Order.RUN]


def test_a_new_generation_starts_running_without_its_predecessor_s_debt(kept):
    keeper, inspectors = kept
    inspectors.spent = 9.0
    keeper.tick(0.1)
    keeper.renew(0.1)
    assert not keeper.stopped
    keeper.tick(0.12)
    assert inspectors.orders == [Order.STOP]
