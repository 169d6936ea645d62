"""The rollout as a table: every pair of state and event is walked, those that are refused too."""

import itertools
from typing import Any

import msgspec
import pytest

from contract.messages import Guard, RuleSetRef
from contract.vocabulary import EventKind, RolloutState, Strategy, Verdict
from deployer.events import (
    ASKED_FOR,
    Abort,
    Assign,
    Command,
    Event,
    Journal,
    Judged,
    MoveLastKnownGood,
    NodeAway,
    NodeConfirmed,
    NodeRefused,
    NodeUp,
    Pause,
    Promote,
    Restarted,
    Resume,
    RollBack,
    Started,
    Tick,
)
from deployer.faults import Invalid, Refused
from deployer.plan import Phase
from deployer.rollout import STAGING_TIMEOUT_S, TRANSITIONS, Rollout, step

S = RolloutState
V1, V2, V3 = (RuleSetRef(letter * 64, number) for number, letter in enumerate("abc", 1))
NODES = ("ams-1", "iad-1")
T = 100.0


def _rollout(state: S, **changes: Any) -> Rollout:
    base = Rollout(
        id=7, state=state, strategy=Strategy.EVERYWHERE, target=V2, previous=V1, guard=Guard(), by="eve",
        since=T, nodes=NODES, soak_s=60.0, stuck_after_s=5.0,
    )  # fmt: skip
    return msgspec.structs.replace(base, **changes)


def _started(**changes: Any) -> Started:
    return Started(**{"t": T, "id": 8, "target": V2, "previous": V1, "by": "eve", "nodes": NODES, **changes})


def _roll_back(to: RuleSetRef = V1, current: RuleSetRef = V2) -> RollBack:
    return RollBack(T, 8, to, current, "adam", "because", NODES)


#: One of each event, and the variants that lead elsewhere.
EVENTS: tuple[Event, ...] = (
    _started(),
    _started(refused_because="compile gate: no"),
    _roll_back(),
    _roll_back(V3),
    Abort(T, "adam"),
    Pause(T, "adam"),
    Resume(T, "adam"),
    Promote(T, "adam"),
    NodeUp(T, "ams-1"),
    NodeUp(T, "new-1"),
    NodeAway(T, "ams-1"),
    NodeConfirmed(T, "ams-1", V2.digest),
    NodeConfirmed(T, "ams-1", V1.digest),
    NodeRefused(T, "ams-1", V2.digest, "compile"),
    NodeRefused(T, "ams-1", V1.digest, "compile"),
    Judged(T, Verdict.PASS, "fine", "soak"),
    Judged(T, Verdict.UNKNOWN, "too little", "soak"),
    Judged(T, Verdict.FAIL, "burns", "absolute_guard"),
    Restarted(T, NODES),
    Tick(T),
    Tick(T + 5.0),
    Tick(T + 60.0),
)

#: Situations within a state that lead elsewhere.
VARIANTS: tuple[dict[str, Any], ...] = (
    {},
    {"confirmed": ("iad-1",)},
    {"confirmed": NODES},
    {"confirmed": NODES, "soaked": True},
    {"confirmed": NODES, "guard": None},
    {"confirmed": ("iad-1",), "away": ("ams-1",)},
)


def _outcome(rollout: Rollout | None, event: Event) -> tuple[Rollout | None, tuple[Command, ...]] | None:
    try:
        return step(rollout, event)
    except Refused:
        return None


def _situations() -> list[Rollout | None]:
    return [None, *(_rollout(state, **variant) for state, variant in itertools.product(S, VARIANTS))]


def test_every_pair_of_state_and_event() -> None:
    """In the table: a listed state follows. Not in it: what was asked for is refused, a fact changes nothing."""
    refused, ignored, moved = set(), set(), set()
    for rollout, event in itertools.product(_situations(), EVENTS):
        state = None if rollout is None else rollout.state
        allowed = TRANSITIONS[state].get(type(event))
        result = _outcome(rollout, event)
        if allowed is None and isinstance(event, ASKED_FOR):
            assert result is None, (state, event)
            refused.add((state, type(event)))
        elif allowed is None:
            assert result == (rollout, ()), (state, event)
            ignored.add((state, type(event)))
        elif result is not None:
            assert result[0] is not None
            assert result[0].state in allowed, (state, event)
            moved.add((state, type(event), result[0].state))
    kinds = {type(event) for event in EVENTS}
    assert len(kinds) == 13
    assert len(refused) + len(ignored) == len(kinds) * len(TRANSITIONS) - sum(map(len, TRANSITIONS.values()))
    listed = {
        (state, event, after)
        for state, row in TRANSITIONS.items()
        for event, states in row.items()
        for after in states
    }
    assert listed == moved, listed ^ moved


def test_a_rollback_is_possible_from_every_state() -> None:
    for rollout in _situations():
        after, commands = step(rollout, _roll_back(V3))
        assert after is not None
        assert after.state is S.REVERTING
        assert after.previous == V3
        assert Assign(V3, Phase.REVERT) in commands


def test_a_changed_state_is_always_journalled() -> None:
    for rollout, event in itertools.product(_situations(), EVENTS):
        result = _outcome(rollout, event)
        if result is None or result[0] is None:
            continue
        after, commands = result
        changed = rollout is None or rollout.state is not after.state or rollout.id != after.id
        told = [one for one in commands if isinstance(one, Journal) and one.kind is EventKind.ROLLOUT_STATE]
        expected = [after.state.value] if changed else []
        if not isinstance(event, Restarted):
            assert [one.data["state"] for one in told] == expected, (rollout, event)


def _kinds(commands: tuple[Command, ...]) -> list[str]:
    return [one.kind.value if isinstance(one, Journal) else type(one).__name__ for one in commands]


def test_a_push_goes_to_everyone_and_bakes_when_all_have_confirmed() -> None:
    rollout, commands = step(None, _started())
    assert _kinds(commands) == ["push", "Assign", "rollout_state"]
    push = commands[0]
    assert isinstance(push, Journal)
    assert push.data == {
        "rollout": 8, "digest": V2.digest, "version": 2, "strategy": "everywhere", "by": "eve",
    }  # fmt: skip
    rollout, _ = step(rollout, NodeConfirmed(T, "ams-1", V2.digest))
    assert rollout is not None
    assert (rollout.state, rollout.waiting_for) == (S.STAGING, ("iad-1",))
    rollout, _ = step(rollout, NodeConfirmed(T + 3, "iad-1", V2.digest))
    assert rollout is not None
    assert (rollout.state, rollout.since, rollout.waiting_for) == (S.BAKING, T + 3, ())


def test_the_last_known_good_moves_only_after_soak_and_verdict() -> None:
    baking = _rollout(S.BAKING, confirmed=NODES)
    early, commands = step(baking, Tick(T + 59.9))
    assert (early, commands) == (baking, ())
    judged, commands = step(baking, Tick(T + 60))
    assert judged is not None
    assert judged.state is S.ANALYSING
    assert not any(isinstance(one, MoveLastKnownGood) for one in commands)
    held, _ = step(judged, Judged(T + 61, Verdict.UNKNOWN, "too little", "soak"))
    assert held is not None
    assert (held.state, held.reason) == (S.HOLDING, "too little")
    promoted, commands = step(judged, Judged(T + 61, Verdict.PASS, "clean", "soak"))
    assert promoted is not None
    assert promoted.state is S.PROMOTED
    assert MoveLastKnownGood(V2) in commands


def test_without_a_guard_nothing_is_reverted_or_promoted_by_itself() -> None:
    rollout = _rollout(S.BAKING, confirmed=NODES, guard=None)
    assert step(rollout, Judged(T, Verdict.FAIL, "burns", "absolute_guard")) == (rollout, ())
    held, _ = step(rollout, Tick(T + 60))
    assert held is not None
    assert held.state is S.HOLDING
    promoted, _ = step(held, Promote(T + 61, "adam"))
    assert promoted is not None
    assert promoted.state is S.PROMOTED


def test_the_guards_fail_is_one_step_with_its_evidence() -> None:
    event = Judged(T, Verdict.FAIL, "9 of 10 failed", "absolute_guard", {"culprit_rule": "r-1", "held_s": 4.1})
    rollout, commands = step(_rollout(S.BAKING, confirmed=NODES), event)
    assert rollout is not None
    assert (rollout.state, rollout.waiting_for) == (S.REVERTING, NODES)
    assert _kinds(commands) == ["decision", "rollback", "Assign", "rollout_state"]
    decision, rollback = commands[0], commands[1]
    assert isinstance(decision, Journal)
    assert isinstance(rollback, Journal)
    assert decision.text == "rolled back: 9 of 10 failed"
    assert decision.data["culprit_rule"] == "r-1"
    assert decision.data["held_s"] == 4.1
    assert decision.data["by"] == "absolute_guard"
    assert (rollback.data["to_version"], rollback.data["to_digest"]) == (1, V1.digest)


def test_reverted_only_when_every_enrolled_node_confirmed() -> None:
    rollout: Rollout | None = _rollout(S.REVERTING)
    rollout, commands = step(rollout, NodeConfirmed(T, "ams-1", V2.digest))
    assert rollout == _rollout(S.REVERTING), "a late ack of the push confirms nothing"
    rollout, _ = step(rollout, NodeConfirmed(T, "ams-1", V1.digest))
    rollout, _ = step(rollout, NodeUp(T, "new-1"))
    rollout, _ = step(rollout, NodeConfirmed(T, "iad-1", V1.digest))
    assert rollout is not None
    assert (rollout.state, rollout.waiting_for) == (S.REVERTING, ("new-1",))
    rollout, commands = step(rollout, NodeConfirmed(T, "new-1", V1.digest))
    assert rollout is not None
    assert rollout.state is S.REVERTED
    assert _kinds(commands) == ["reverted", "rollout_state"]


def test_stuck_names_the_nodes_and_ends_when_they_return() -> None:
    rollout: Rollout | None = _rollout(
        S.REVERTING, nodes=("a", "b", "c", "d"), confirmed=("a",), away=("b",), refusals={"c": "activation"}
    )
    rollout, commands = step(rollout, Tick(T + 5))
    assert rollout is not None
    assert rollout.state is S.STUCK
    stuck = commands[0]
    assert isinstance(stuck, Journal)
    assert stuck.data["waiting_for"] == ["b", "c", "d"]
    assert stuck.data["away"] == ["b"]
    assert stuck.text.endswith("c refused (activation), b is away, d is connected but not confirming")
    for node in ("b", "c", "d"):
        rollout, commands = step(rollout, NodeUp(T + 9, node))
        rollout, commands = step(rollout, NodeConfirmed(T + 9, node, V1.digest))
    assert rollout is not None
    assert rollout.state is S.REVERTED


def test_a_refusal_or_a_missing_node_holds_the_push() -> None:
    held, _ = step(_rollout(S.STAGING), NodeRefused(T, "ams-1", V2.digest, "compile: bad"))
    assert held is not None
    assert (held.state, held.reason) == (S.HOLDING, "ams-1 refused v2: compile: bad")
    late = _rollout(S.STAGING, confirmed=("ams-1",), away=("iad-1",))
    held, _ = step(late, Tick(T + STAGING_TIMEOUT_S))
    assert held is not None
    assert held.state is S.HOLDING
    assert "iad-1 is away" in held.reason


def test_a_soak_with_a_node_away_does_not_count() -> None:
    """Silence is not health."""
    held, _ = step(_rollout(S.BAKING, confirmed=NODES, away=("iad-1",)), Tick(T + 60))
    assert held is not None
    assert (held.state, held.soaked) == (S.HOLDING, False)
    with pytest.raises(Refused, match="has not finished its soak"):
        step(held, Promote(T + 61, "adam"))


def test_a_restart_begins_the_soak_anew() -> None:
    after, _ = step(_rollout(S.ANALYSING, confirmed=NODES, soaked=True), Restarted(500.0, NODES))
    assert after is not None
    assert (after.state, after.since, after.soaked, after.away) == (S.BAKING, 500.0, False, NODES)


def test_asking_twice_for_the_same_rollback_changes_nothing() -> None:
    for state in (S.REVERTING, S.STUCK, S.REVERTED):
        rollout = _rollout(state)
        assert step(rollout, _roll_back(V1, current=V1)) == (rollout, ())


def test_rolling_back_to_what_runs_is_refused() -> None:
    for rollout in (None, _rollout(S.PROMOTED), _rollout(S.BAKING)):
        with pytest.raises(Refused, match="v2 is what every node is told to run already"):
            step(rollout, _roll_back(V2, current=V2))


@pytest.mark.parametrize("strategy", [Strategy.CANARY, Strategy.STAGED])
def test_strategies_to_come_are_refused_by_name(strategy: Strategy) -> None:
    with pytest.raises(Invalid, match="comes later; available now: everywhere") as fault:
        step(None, _started(strategy=strategy))
    assert fault.value.nearest == ("everywhere",)


def test_refusals_name_the_state() -> None:
    with pytest.raises(Refused, match="rollout 7 of v2 is baking; one rollout at a time"):
        step(_rollout(S.BAKING), _started())
    with pytest.raises(Refused, match=r"is stuck \(ams-1, iad-1 are connected but not confirming\)"):
        step(_rollout(S.STUCK), _started())
    with pytest.raises(Refused, match="rollout 7 of v2 is promoted, which leaves nothing to pause"):
        step(_rollout(S.PROMOTED), Pause(T, "adam"))
