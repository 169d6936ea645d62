"""Each definition of the score, held against a run whose answers are known by arithmetic."""

import math
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest

from contract.record import Event, NodeSample, TrafficSample
from contract.vocabulary import EventKind, Outcome, RunVerdict
from drills.damage import blast_radius, peak_ratio
from drills.objective import Objective
from drills.phases import moments_of, recovery
from drills.rundir import Record
from drills.score import Score, ScoreSettings, conclude, judge, score, score_paths
from drills.traffic import Request, percentile
from tests.fakes.record import (
    BAD_GATEWAYS,
    CULPRIT,
    EFFECTIVE_LAST,
    INTENDED,
    NODES,
    OKS,
    OTHER_FAILURES,
    PUSH,
    RECOVERED,
    SENT,
    STARTED_AT,
    make_record,
)

RECORD = make_record()
SCORE = score(RECORD)
PHASES = ("detect", "diagnose", "decide", "act", "recover")


def with_events(*changes: Event, without: Iterable[EventKind] = ()) -> Record:
    """The made-up run, less some kinds of events, and with others."""
    kept = [event for event in RECORD.events if event.kind not in set(without)]
    return msgspec.structs.replace(RECORD, events=tuple(sorted([*kept, *changes], key=lambda event: event.t)))


def change_samples(kind: type, **fields: Any) -> Record:
    changed = (msgspec.structs.replace(s, **fields) if isinstance(s, kind) else s for s in RECORD.samples)
    return msgspec.structs.replace(RECORD, samples=tuple(changed))


def request(due: float, outcome: str = Outcome.OK, took: float = 0.0) -> Request:
    return Request(due, due, due + took, "ams-1", "europe", "s", outcome)


# ---- The whole ----


def test_the_same_record_has_the_same_score() -> None:
    assert score(make_record()) == SCORE
    assert (SCORE.verdict, SCORE.reasons) == (RunVerdict.MET, ())
    assert (SCORE.seed, SCORE.drill, SCORE.ready_s, SCORE.duration_s) == (20190702, "cloudflare-2019", 3.2, 45.2)


def test_the_keys_that_others_rely_on_are_there() -> None:
    promised = {
        "drill seed procedure verdict reasons ready_s act_s_by_node pss_mib_peak environment reconciliation",
        "timing_s.push_to_first_bad timing_s.detect timing_s.diagnose timing_s.decide timing_s.act",
        "timing_s.recover timing_s.push_to_recovered bad_ratio.before bad_ratio.peak bad_ratio.after",
        "requests.intended requests.sent requests.unsent requests.ok requests.bad_gateway",
        "requests.other_failures blast_radius.nodes blast_radius.node_seconds blast_radius.sites",
        "blast_radius.regions wall.inspector_cpu_of_quota wall.culprit_rule wall.status_ms_p99",
        "wall.metrics_ms_p99 wall.control_ms_p99 wall.front_lag_ms_p99 generator.cpu_share",
        "generator.send_lag_ms_p99",
    }
    keys = {key for line in promised for key in line.split()}
    assert len(keys) == 38
    assert keys <= set(score_paths())


def test_the_score_survives_its_own_json() -> None:
    assert msgspec.json.decode(msgspec.json.encode(SCORE), type=Score) == SCORE


# ---- Phases ----


def test_the_phases_are_as_computed_by_hand() -> None:
    timing = SCORE.timing_s
    assert timing.push_to_first_bad == 1.505  # request 4101, due 20.505, waits one second
    assert [getattr(timing, name) for name in PHASES] == [2.0, 0.0, 8.01, 0.114, 0.376]
    assert timing.push_to_recovered == 10.5
    assert SCORE.moments_s.effective_last == EFFECTIVE_LAST
    assert SCORE.moments_s.recovered == RECOVERED
    assert SCORE.decided_by == "absolute_guard"


def test_a_node_is_effective_at_its_first_good_answer_after_it_confirmed() -> None:
    """Confirmed 40 + 10 j ms after the rollback, a good answer 4 ms later."""
    assert SCORE.act_s_by_node == {node: round(0.044 + j / 100, 3) for j, node in enumerate(NODES)}


def by_person(*notes: Event) -> Record:
    decision = Event(30.0, EventKind.DECISION, "deployer", "", {"by": "ada"})
    return with_events(decision, *notes, without=[EventKind.DECISION])


def declared(at: float) -> Event:
    return Event(at, EventKind.NOTE, "ada", "it is the rule", {"declared": "bad_rule"})


@pytest.mark.parametrize(
    ("record", "detect", "diagnose", "decide"),
    [
        (by_person(declared(27.5)), 2.0, 5.5, 2.51),
        (by_person(declared(27.5), declared(29.0)), 2.0, 5.5, 2.51),
        (by_person(declared(21.0)), 2.0, 0.0, 8.01),  # known before the page
        (by_person(declared(35.0)), 2.0, 8.01, 0.0),  # understood afterwards
        (by_person(declared(3.0)), 2.0, None, 8.01),  # before the push: another matter
        (by_person(), 2.0, None, 8.01),
        (with_events(without=[EventKind.PAGE]), 10.01, 0.0, 0.0),
        (with_events(Event(40.0, EventKind.PAGE, "d", ""), without=[EventKind.PAGE]), 10.01, 0.0, 0.0),
        (with_events(Event(22.0006, EventKind.PAGE, "d", ""), without=[EventKind.PAGE]), 2.001, 0.0, 8.009),
        (with_events(Event(3.0, EventKind.PAGE, "d", "")), 2.0, 0.0, 8.01),  # a page of before the push
    ],
)
def test_phases_add_up_whoever_decides(
    record: Record, detect: float, diagnose: float | None, decide: float
) -> None:
    timing = score(record).timing_s
    assert (timing.detect, timing.diagnose, timing.decide) == (detect, diagnose, decide)
    parts = [getattr(timing, name) or 0.0 for name in PHASES]
    assert sum(round(part * 1000) for part in parts) == round((timing.push_to_recovered or 0) * 1000) == 10500


def test_one_node_that_never_confirms_leaves_the_rollback_unfinished() -> None:
    kept = (e for e in RECORD.events if not (e.data.get("node") == "sjc-1" and e.data["phase"] == "revert"))
    measured = score(msgspec.structs.replace(RECORD, events=tuple(kept)))
    assert measured.act_s_by_node["sjc-1"] is None
    assert measured.act_s_by_node["nrt-2"] == 0.114
    assert (measured.timing_s.act, measured.timing_s.recover, measured.timing_s.push_to_recovered) == (None,) * 3
    assert measured.timing_s.decide == 8.01
    assert measured.bad_ratio.after is None


def test_a_node_that_confirms_and_serves_nothing_good_is_not_effective() -> None:
    bad = (
        msgspec.structs.replace(line, outcome=Outcome.BAD_GATEWAY, status=502)
        if line.node == "nrt-2" and line.done and line.done > STARTED_AT + 30
        else line
        for line in RECORD.traffic
    )
    measured = score(msgspec.structs.replace(RECORD, traffic=tuple(bad)))
    assert measured.act_s_by_node["nrt-2"] is None
    assert measured.timing_s.act is None


def test_the_kill_switch_is_a_mutating_command_too() -> None:
    switch = Event(29.0, EventKind.KILL_SWITCH, "deployer", "", {"on": True, "by": "ada"})
    released = Event(41.0, EventKind.KILL_SWITCH, "deployer", "", {"on": False, "by": "ada"})
    acks = [
        Event(29.05, EventKind.ACK, "deployer", "", {"node": node, "phase": "push", "kill_switch": True})
        for node in NODES
    ]
    measured = score(with_events(switch, released, *acks))
    assert measured.moments_s.rollback == 29.0
    assert measured.timing_s.decide == 7.0
    assert measured.act_s_by_node["ams-1"] is not None
    assert measured.time_unprotected_s == 12.0
    still_on = score(with_events(switch))
    assert still_on.time_unprotected_s == 16.2
    assert SCORE.time_unprotected_s == 0.0


# ---- Recovery ----


def steady(bad: Iterable[int] = (), until: int = 200) -> list[Request]:
    """Ten requests a second."""
    worse = set(bad)
    return [request(i / 10, Outcome.BAD_GATEWAY if i in worse else Outcome.OK) for i in range(until)]


@pytest.mark.parametrize(
    ("requests", "objective", "at"),
    [
        (steady(), 0.001, 5.0),  # at once
        (steady([50]), 0.001, 5.0),  # due at that very moment: not in the soak that follows it
        (steady([51]), 0.001, 5.1),
        (steady([51, 99]), 0.001, 9.9),
        (steady([51, 99]), 0.021, 5.1),  # one of fifty is tolerable
        (steady([51, 99, 100]), 0.021, 9.9),
        (steady([140]), 0.001, 5.0),  # after the soak
        (steady(range(51, 200)), 0.001, None),
        (steady([150]), 0.001, 5.0),
        (steady(until=100), 0.001, None),  # traffic ends within the soak
        ([], 0.001, None),
    ],
)
def test_recovery_is_the_first_moment_with_a_good_soak(
    requests: list[Request], objective: float, at: float | None
) -> None:
    assert recovery(requests, 5.0, objective, soak_s=5.0) == at


def test_recovery_may_come_by_more_good_requests_as_well_as_by_fewer_bad_ones() -> None:
    """One bad of 50, until 51 more come in at 10.55 s: then it is under one in a hundred."""
    rush = [request(10.5 + i / 1000) for i in range(100)]
    requests = sorted([*steady([60]), *rush], key=lambda one: one.due)
    assert recovery(requests, 5.0, 0.01, soak_s=5.0) == pytest.approx(5.55)


def test_soak_and_objective_are_the_drills_to_set() -> None:
    longer = score(RECORD, ScoreSettings(soak_s=14.5))
    assert longer.timing_s.recover == 0.0  # two of 2,900 are tolerable
    assert score(RECORD, ScoreSettings(soak_s=14.9)).moments_s.recovered is None  # 44.995 s is the last request
    lax = score(RECORD, ScoreSettings(objective_bad_ratio=0.01))
    assert lax.timing_s.recover == 0.0


# ---- Damage ----


def test_requests_are_counted_once() -> None:
    counts = SCORE.requests
    assert (counts.intended, counts.sent, counts.unsent) == (INTENDED, SENT, 2)
    assert (counts.ok, counts.bad_gateway, counts.other_failures) == (OKS, BAD_GATEWAYS, OTHER_FAILURES)
    assert (counts.refused, counts.in_flight_at_end) == (1, 1)
    parts = (counts.ok, counts.bad_gateway, counts.other_failures, counts.refused, counts.in_flight_at_end)
    assert sum(parts) == counts.sent


def test_bad_ratios_of_before_peak_and_after() -> None:
    assert SCORE.bad_ratio.before == round(1 / 3199, 6)  # due from 4.000, done before 20.000
    assert SCORE.bad_ratio.peak == round(898 / 998, 6)  # two of a thousand were never sent
    assert SCORE.bad_ratio.after == 0.0


def test_before_begins_with_the_traffic_when_nobody_told_otherwise() -> None:
    measured = score(with_events(without=[EventKind.NOTE]))
    assert measured.moments_s.before == 2.0
    assert measured.bad_ratio.before == round(1 / 3599, 6)


def test_after_counts_what_was_due_after_recovery() -> None:
    worse = tuple(
        msgspec.structs.replace(line, outcome=Outcome.BAD_GATEWAY, status=502) if line.id == "u8400" else line
        for line in RECORD.traffic
    )
    measured = score(msgspec.structs.replace(RECORD, traffic=worse))
    assert measured.bad_ratio.after == round(1 / 2898, 6)  # 6101 to 8999, one of them in flight


def test_without_a_rollback_everything_due_after_the_push_is_after() -> None:
    never = with_events(without=[EventKind.PAGE, EventKind.DECISION, EventKind.ROLLBACK, EventKind.REVERTED])
    measured = score(never)
    due_after_push = [line for line in RECORD.traffic if line.due > STARTED_AT + PUSH and line.done]
    bad = BAD_GATEWAYS + 2
    assert measured.bad_ratio.after == round(bad / len(due_after_push), 6)
    assert measured.timing_s.push_to_first_bad == 1.505
    assert measured.timing_s.detect is None
    assert measured.act_s_by_node == {}


@pytest.mark.parametrize(
    ("requests", "at_least", "peak"),
    [
        (steady(range(100, 150)), 50, 1.0),
        (steady(range(100, 125)), 50, 0.5),
        (steady(range(100, 150)), 51, None),  # never so many in five seconds
        (steady(range(0, 100)), 50, 0.0),  # before the push
        (steady(range(100, 149), until=149), 1, 48 / 49),  # no whole window holds the 49 bad alone
        ([], 1, None),
        (steady(until=140), 1, None),  # four seconds are no window
    ],
)
def test_the_peak_is_the_worst_whole_window(requests: list[Request], at_least: int, peak: float | None) -> None:
    found = peak_ratio(requests, push=10.0, min_requests=at_least)
    assert found == (None if peak is None else pytest.approx(peak, abs=0.03))


def test_the_blast_radius_is_counted_between_push_and_recovery() -> None:
    blast = SCORE.blast_radius
    assert (blast.nodes, blast.regions) == (8, 4)
    assert blast.sites == 19  # site-10 was spared: every tenth request came through, and both resets were site-00
    assert blast.node_seconds == 72  # 8 nodes, seconds 1 to 9
    assert blast.node_names == tuple(sorted(NODES))


def test_what_went_wrong_after_recovery_is_not_the_pushs() -> None:
    later = tuple(
        msgspec.structs.replace(line, outcome=Outcome.BAD_GATEWAY, status=502) if line.id == "u8410" else line
        for line in RECORD.traffic
    )
    assert score(msgspec.structs.replace(RECORD, traffic=later)).blast_radius == SCORE.blast_radius


def test_a_node_second_is_one_with_more_than_half_bad() -> None:
    """Ten answers a second: five bad in second 1 after the push, six in second 2."""
    bad = [*range(210, 215), *range(220, 226)]
    moments = moments_of(RECORD, (), 0.001, 5.0)
    assert blast_radius(steady(bad, until=300), moments).node_seconds == 1


def test_a_reset_makes_no_node_part_of_the_blast_radius() -> None:
    resets = tuple(
        msgspec.structs.replace(line, outcome=Outcome.RESET, status=0) if line.status == 502 else line
        for line in RECORD.traffic
    )
    blast = score(msgspec.structs.replace(RECORD, traffic=resets)).blast_radius
    assert (blast.nodes, blast.node_seconds, blast.sites, blast.regions) == (0, 72, 19, 4)


# ---- The wall, seen from outside ----


def test_the_wall_is_measured_by_what_was_sampled_in_it() -> None:
    wall = SCORE.wall
    assert wall is not None
    assert (wall.start_s, wall.length_s, wall.node_samples) == (2.0, 8.01, 8 * 32 - 3)
    # 64 node-seconds, one of them (after a gap in the samples) at 0.6: weighted by time, not by sample.
    assert wall.inspector_cpu_of_quota == round((63 + 0.6) / 64, 4)
    assert wall.culprit_rule == CULPRIT
    assert wall.culprit_share == round((253 - 32 - 4) / (253 - 32), 4)
    # The third largest of 253 is the 99th percentile.
    assert (wall.status_ms_p99, wall.metrics_ms_p99) == (130.0, 131.0)
    assert (wall.control_ms_p99, wall.front_lag_ms_p99) == (65.0, 32.5)
    assert wall.bad_ratio == pytest.approx(0.9, abs=0.002)


def test_a_front_that_does_not_answer_counts_as_slow() -> None:
    wall = score(change_samples(NodeSample, up=False, status_ms=None, metrics_ms=None)).wall
    assert wall is not None
    assert (wall.status_ms_p99, wall.metrics_ms_p99, wall.unanswered) == (1000.0, 1000.0, 253)
    assert wall.front_lag_ms_p99 is None


def test_what_cannot_be_read_is_not_measured() -> None:
    wall = score(change_samples(NodeSample, cpu_of_quota=None, hot_rule=None)).wall
    assert wall is not None
    assert (wall.inspector_cpu_of_quota, wall.culprit_rule, wall.culprit_share) == (None, None, None)


def test_a_good_push_has_no_wall() -> None:
    good = tuple(
        msgspec.structs.replace(line, outcome=Outcome.OK, status=200) if line.status == 502 else line
        for line in RECORD.traffic
    )
    measured = score(msgspec.structs.replace(RECORD, traffic=good))
    assert measured.wall is None
    assert measured.generator.wall_send_lag_ms_p99 is None
    (result,) = conclude(measured, [Objective("wall.culprit_rule", equals=CULPRIT)], False).objectives
    assert (result.met, result.sentence) == (False, "wall.culprit_rule was not measured")


def test_a_wall_that_nobody_ends_lasts_as_long_as_it_is_bad() -> None:
    wall = score(with_events(without=[EventKind.ROLLBACK])).wall
    assert wall is not None
    assert wall.length_s == 8.0  # seconds 1 to 9 were mostly bad


def test_the_generator_is_judged_in_and_outside_the_wall() -> None:
    assert SCORE.generator.cpu_share == 0.3
    assert SCORE.generator.send_lag_ms_p99 == pytest.approx(3.0, abs=0.01)
    assert SCORE.generator.wall_send_lag_ms_p99 == pytest.approx(9.0, abs=0.01)
    assert SCORE.pss_mib_peak == 912.5


def test_percentiles_are_values_that_were_met() -> None:
    assert percentile([], 0.99) is None
    assert percentile(range(1, 101), 0.99) == 99
    assert percentile(range(1, 102), 0.99) == 100
    assert percentile([7.0], 0.5) == 7.0
    assert percentile([3.0, 1.0, 2.0], 0.0) == 1.0


# ---- Trust, and the verdict ----


def unsent(count: int) -> Record:
    gone = {f"u{i}" for i in range(7000, 7000 + count - 2)}
    lines = (
        msgspec.structs.replace(line, sent=None, done=None, status=0, outcome=Outcome.UNSENT)
        if line.id in gone
        else line
        for line in RECORD.traffic
    )
    kept = tuple(line for line in RECORD.access if line.client_id not in gone)
    origins = tuple(line for line in RECORD.origins if line.client_id not in gone)
    return msgspec.structs.replace(RECORD, traffic=tuple(lines), access=kept, origins=origins)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (unsent(87), "1.012 % of the requests were never sent (87 of 8,600); at most 1 % may be"),
        (
            with_events(Event(12.5, EventKind.NOTE, "drill", "", {"phase": "before"}), without=[EventKind.NOTE]),
            "the before phase lasted 7.5 s; it needs 10 s",
        ),
        (
            msgspec.structs.replace(
                RECORD, traffic=tuple(line for line in RECORD.traffic if line.due < STARTED_AT + 40)
            ),
            "the after phase lasted 9.5 s; it needs 10 s",
        ),
        (
            change_samples(TrafficSample, cpu_share=0.95),
            "the load generator used 95 % of a core; above 90 % it slows what it measures",
        ),
        (msgspec.structs.replace(RECORD, missing=("logs/origins.jsonl",)), "logs/origins.jsonl is missing"),
        (with_events(without=[EventKind.PUSH]), "nothing was pushed"),
        (msgspec.structs.replace(RECORD, traffic=()), "no request was scheduled within the run"),
    ],
)
def test_a_run_that_cannot_be_trusted_says_why_and_meets_nothing(record: Record, reason: str) -> None:
    measured = score(record)
    assert measured.verdict is RunVerdict.INVALID
    assert reason in measured.reasons
    verdict, reasons = judge(measured, [Objective("duration_s", at_least=1)], changed=False)
    assert (verdict, reasons) == (RunVerdict.INVALID, measured.reasons)


def test_a_hundredth_unsent_can_still_be_trusted() -> None:
    measured = score(unsent(86))
    assert (measured.requests.unsent, measured.verdict) == (86, RunVerdict.MET)


def test_the_verdict_follows_from_the_objectives() -> None:
    good, bad = Objective("bad_ratio.peak", at_least=0.8), Objective("timing_s.act", at_most=0.1)
    skipped = Objective("timing_s.act", at_most=0.1, as_shipped=True)
    assert judge(SCORE, [good], False) == (RunVerdict.MET, ("the one objective is met",))
    assert judge(SCORE, [good, bad], False) == (RunVerdict.NOT_MET, ("timing_s.act 0.114 is over 0.1",))
    assert judge(SCORE, [good, skipped], True)[0] is RunVerdict.MET
    assert judge(SCORE, [good, good], False)[1] == ("all 2 objectives are met",)
    assert judge(SCORE, [], False) == (RunVerdict.MET, ("no objective was set",))
    assert [result.met for result in conclude(SCORE, [good, bad], False).objectives] == [True, False]


def test_an_empty_record_is_scored_without_a_fall() -> None:
    empty = Record(head=RECORD.head, end=0.0, events=(), samples=(), traffic=(), access=(), origins=())
    measured = score(empty)
    assert measured.verdict is RunVerdict.INVALID
    assert measured.bad_ratio.peak is None
    assert not any(isinstance(v, float) and math.isnan(v) for v in msgspec.to_builtins(measured).values())
