"""The pools by hand: links that record what they were sent, a clock that the test moves."""

import random
from collections import Counter

import pytest

from contract.vocabulary import Pool, Reason
from proxy.frames import Code, VerdictFrame
from proxy.pools import MAX_LOST, Inspected, InspectionPools, Job
from tests.proxy.bench import RecordingLink

BOTH = (Pool.PRIMARY, Pool.STANDBY)
DEADLINE_S, QUEUE, WINDOW = 1.0, 3, 2


class Bench:
    """Pools with one link each, and the jobs' results by id."""

    def __init__(self, order=BOTH, links=1):
        self.pools = InspectionPools(order, DEADLINE_S, QUEUE, WINDOW)
        self.links = [RecordingLink(pool) for pool in order for _ in range(links)]
        self.pools.replace([*self.links])
        self.results = {}
        self.settled = Counter()

    def submit(self, *ids, started=0.0):
        for job_id in ids:
            self.pools.submit(
                Job(job_id, b"/", b"", b"", started, lambda result, id=job_id: self._done(id, result))
            )

    def _done(self, job_id, result):
        self.results[job_id] = result
        self.settled[job_id] += 1

    def answer(self, link, job_id, code=Code.PASSED, hits=()):
        self.pools.answered(link, VerdictFrame(job_id, code, hits))


def failed(reason):
    return Inspected(None, False, (), reason)


def passed(pool):
    return Inspected(pool, False, (), None)


def test_an_answer_settles_its_job_with_verdict_and_hits():
    bench = Bench()
    primary, _ = bench.links
    bench.submit(1, 2)
    bench.answer(primary, 2, Code.BLOCKED, (3, 4))
    bench.answer(primary, 1)
    assert bench.results == {1: passed(Pool.PRIMARY), 2: Inspected(Pool.PRIMARY, True, (3, 4), None)}


def test_beyond_the_window_jobs_wait_and_leave_in_order():
    bench = Bench()
    primary, _ = bench.links
    bench.submit(1, 2, 3, 4)
    assert primary.ids == [1, 2]
    assert bench.pools.waiting(Pool.PRIMARY) == 2
    bench.answer(primary, 1)
    bench.answer(primary, 2)
    assert primary.ids == [1, 2, 3, 4]
    assert bench.pools.waiting(Pool.PRIMARY) == 0


def test_the_least_busy_inspector_is_asked():
    bench = Bench((Pool.PRIMARY,), links=2)
    bench.submit(1, 2, 3)
    assert [link.ids for link in bench.links] == [[1, 3], [2]]


def test_a_full_queue_overflows_to_the_standby_and_then_fails_with_that_reason():
    bench = Bench()
    primary, standby = bench.links
    room = WINDOW + QUEUE
    bench.submit(*range(1, 2 * room + 1))
    assert primary.ids == [1, 2]
    assert standby.ids == [room + 1, room + 2]
    assert bench.results == {}
    bench.submit(99)
    assert bench.results == {99: failed(Reason.INSPECTION_QUEUE_FULL)}


@pytest.mark.parametrize(("order", "shares"), [(BOTH, [0.5, 1.0]), ((Pool.PRIMARY,), [1.0])])
def test_each_pool_has_its_share_of_the_deadline(order, shares):
    """The deadline that travels in the frame is the share's end; then the next pool is asked; then it failed."""
    bench = Bench(order)
    bench.submit(1, started=10.0)
    for link, share in zip(bench.links, shares, strict=True):
        assert link.sent == [(1, 10.0 + share)]
        bench.pools.sweep(10.0 + share - 0.001)
        assert bench.results == {}
        bench.pools.sweep(10.0 + share)
    assert bench.results == {1: failed(Reason.INSPECTION_TIMEOUT)}


def test_a_late_answer_of_the_primary_counts_while_the_standby_is_asked():
    bench = Bench()
    primary, standby = bench.links
    bench.submit(1)
    bench.pools.sweep(0.5)
    assert standby.ids == [1]
    bench.answer(primary, 1)
    assert bench.results == {1: passed(Pool.PRIMARY)}
    bench.answer(standby, 1, Code.BLOCKED)
    assert bench.settled == {1: 1}
    assert not standby.in_flight


def test_a_late_answer_counts_while_the_job_waits_for_the_standby():
    bench = Bench()
    primary, standby = bench.links
    bench.submit(1, 2)
    bench.pools.sweep(0.5)
    bench.submit(3, 4, started=0.5)
    bench.pools.sweep(1.0 - 0.001)
    bench.pools.sweep(1.0)  # 1 and 2 failed; 3 and 4 wait for the standby, whose window 1 and 2 still fill
    assert bench.pools.waiting(Pool.STANDBY) == 2
    bench.answer(primary, 3)  # was queued there, never sent: a frame out of nowhere still frees nothing
    assert bench.results[3] == passed(Pool.PRIMARY)
    assert bench.pools.waiting(Pool.STANDBY) == 1
    bench.answer(standby, 1)
    assert standby.ids == [1, 2, 4]


def test_an_answer_after_the_failure_frees_its_place_and_does_nothing_else():
    bench = Bench((Pool.PRIMARY,))
    (primary,) = bench.links
    bench.submit(1, 2, 3)
    bench.pools.sweep(1.0)
    assert bench.results == dict.fromkeys((1, 2, 3), failed(Reason.INSPECTION_TIMEOUT))
    bench.submit(4, started=1.0)
    assert primary.ids == [1, 2]  # the burnt frames still fill the window
    bench.answer(primary, 1)
    assert primary.ids == [1, 2, 4]
    assert bench.settled[1] == 1


def test_expired_frees_its_place_but_is_no_verdict():
    bench = Bench((Pool.PRIMARY,))
    (primary,) = bench.links
    bench.submit(1, 2, 3)
    bench.answer(primary, 1, Code.EXPIRED)
    assert bench.results == {}
    assert primary.ids == [1, 2, 3]
    bench.pools.sweep(1.0)
    assert bench.results[1] == failed(Reason.INSPECTION_TIMEOUT)


def test_a_cancelled_job_leaves_the_queue_and_is_never_settled():
    bench = Bench((Pool.PRIMARY,))
    (primary,) = bench.links
    bench.submit(1, 2, 3, 4)
    bench.pools.cancel(3)
    bench.pools.cancel(1)
    bench.pools.cancel(77)
    bench.answer(primary, 1)
    assert primary.ids == [1, 2, 4]
    bench.pools.sweep(9.0)
    assert set(bench.results) == {2, 4}


def test_replace_asks_the_new_inspectors_oldest_first():
    bench = Bench()
    bench.submit(5, started=0.3)
    bench.submit(6, started=0.1)
    bench.submit(7, started=0.2)
    fresh = [RecordingLink(pool) for pool in BOTH]
    old = bench.pools.replace([*fresh])
    assert old == bench.links
    assert fresh[0].ids == [6, 7]
    assert bench.pools.waiting(Pool.PRIMARY) == 1
    bench.answer(fresh[0], 6)
    assert fresh[0].ids == [6, 7, 5]


def test_replace_by_nothing_fails_what_waits():
    bench = Bench()
    bench.submit(1, 2, 3)
    bench.pools.replace([])
    assert bench.results == dict.fromkeys((1, 2, 3), failed(Reason.INSPECTION_POOL_DOWN))


def test_a_lost_inspector_s_jobs_are_asked_of_the_standby():
    bench = Bench()
    primary, standby = bench.links
    bench.submit(1, 2)
    bench.pools.lost(primary)
    assert standby.ids == [1, 2]
    bench.pools.lost(standby)
    assert bench.results == dict.fromkeys((1, 2), failed(Reason.INSPECTION_POOL_DOWN))


def test_a_job_that_may_have_killed_several_inspectors_is_not_given_to_another():
    bench = Bench((Pool.PRIMARY,), links=MAX_LOST + 1)
    bench.submit(1)
    for _ in range(MAX_LOST):
        assert bench.results == {}
        (holder,) = [link for link in bench.links if link.in_flight]
        bench.pools.lost(holder)
    assert bench.results == {1: failed(Reason.INSPECTION_POOL_DOWN)}
    assert sum(len(link.sent) for link in bench.links) == MAX_LOST


def test_losing_a_stranger_changes_nothing():
    bench = Bench()
    bench.submit(1)
    bench.pools.lost(RecordingLink(Pool.PRIMARY))
    assert bench.links[0].ids == [1]


def test_a_replacement_takes_up_what_waits():
    """Jobs queued when their last inspector died stay queued for its successor."""
    bench = Bench((Pool.PRIMARY,))
    bench.submit(1, 2, 3, 4)
    bench.pools.lost(bench.links[0])
    assert bench.results == dict.fromkeys((1, 2), failed(Reason.INSPECTION_POOL_DOWN))
    fresh = RecordingLink(Pool.PRIMARY)
    bench.pools.add(fresh)
    assert fresh.ids == [3, 4]


@pytest.mark.parametrize("seed", range(40))
def test_whatever_happens_each_job_is_settled_exactly_once(seed):
    """Random submits, answers, cancels, losses, swaps and sweeps; in the end everything not cancelled settled."""
    rng = random.Random(seed)
    bench = Bench(rng.choice([BOTH, (Pool.PRIMARY,)]), links=rng.choice([1, 2]))
    pools, live, retired, cancelled = bench.pools, list(bench.links), [], set()
    now, next_id = 0.0, 1
    for _ in range(300):
        now += rng.random() * 0.1
        match rng.choice(
            ["submit"] * 4 + ["answer"] * 3 + ["sweep", "cancel", "lost", "add", "replace", "stray"]
        ):
            case "submit":
                bench.submit(next_id, started=now)
                next_id += 1
            case "answer":
                if busy := [link for link in live if link.in_flight]:
                    link = rng.choice(busy)
                    bench.answer(link, rng.choice(list(link.in_flight)), rng.choice(list(Code)))
            case "stray" if retired:
                bench.answer(rng.choice(retired), rng.randrange(1, next_id + 1))
            case "sweep":
                pools.sweep(now)
            case "cancel" if next_id > 1:
                job_id = rng.randrange(1, next_id)
                if job_id not in bench.results:
                    cancelled.add(job_id)
                pools.cancel(job_id)
            case "lost" if live:
                link = live.pop(rng.randrange(len(live)))
                retired.append(link)
                pools.lost(link)
            case "add":
                live.append(RecordingLink(rng.choice(pools.order)))
                pools.add(live[-1])
            case "replace":
                retired += live
                live = [RecordingLink(pool) for pool in pools.order]
                pools.replace([*live])
        assert all(len(link.in_flight) <= WINDOW for link in live)
        assert all(pools.waiting(pool) <= QUEUE for pool in pools.order)
    for _ in pools.order:
        pools.sweep(now + 2 * DEADLINE_S)
    assert set(bench.results) == set(range(1, next_id)) - cancelled
    assert set(bench.settled.values()) == {1}
    assert next_id > 50
    assert all(pools.waiting(pool) == 0 for pool in pools.order)
