"""What is not the rollout's: kill switch, late acks, epochs from elsewhere; and refusals change nothing."""

import pytest

from contract.messages import Guard, Refusal, RuleSetRef
from contract.vocabulary import EventKind, RefusalReason, RolloutState
from deployer.draft import Acked, Draft, NodeSaidNo, SeenEpoch, Switched
from deployer.events import RollBack, Started
from deployer.faults import Refused
from deployer.plan import Phase, Plan

V1, V2 = RuleSetRef("a" * 64, 1), RuleSetRef("b" * 64, 2)
PLAN = Plan().assign(V1, Phase.ASSIGN)


def _pushed() -> Draft:
    draft = Draft(PLAN, None)
    draft.apply(Started(0.0, 1, V2, V1, "eve", ("a",), guard=Guard()), 50.0)
    return draft


def _kinds(draft: Draft) -> list[str]:
    return [entry.kind.value for entry in draft.entries]


def _state(draft: Draft) -> RolloutState | None:
    return None if draft.rollout is None else draft.rollout.state


def test_a_push_becomes_plan_rollout_and_journal() -> None:
    draft = _pushed()
    assert (draft.plan.desired, draft.plan.epoch, draft.plan.phase) == (V2, 2, Phase.PUSH)
    assert _kinds(draft) == ["push", "rollout_state"]
    assert {entry.at for entry in draft.entries} == {50.0}
    assert draft.changed
    assert (draft.touched, draft.next_id) == ({1: draft.rollout}, 2)


def test_a_refused_event_changes_nothing() -> None:
    draft = _pushed()
    before = (draft.plan, draft.rollout, list(draft.entries))
    with pytest.raises(Refused):
        draft.apply(Started(1.0, 2, V1, V2, "eve", ("a",)), 51.0)
    assert (draft.plan, draft.rollout, draft.entries) == before


def test_a_maker_sees_what_stands_before_it() -> None:
    draft = _pushed()
    draft.apply(
        lambda so_far: RollBack(1.0, so_far.next_id, V1, so_far.plan.desired or V1, "adam", "", ("a",)), 51.0
    )
    assert _state(draft) is RolloutState.REVERTING


@pytest.mark.parametrize(("epoch", "state"), [(1, RolloutState.STAGING), (2, RolloutState.BAKING)])
def test_acks_of_older_orders_confirm_nothing(epoch: int, state: RolloutState) -> None:
    draft = _pushed()
    draft.apply(Acked(1.0, "a", epoch, V2, False, 0.05, Phase.PUSH), 51.0)
    assert _state(draft) is state
    ack = next(entry for entry in draft.entries if entry.kind is EventKind.ACK)
    assert ack.text == "a runs v2 after 50 ms"
    assert ack.data["phase"] == "push"


def test_a_node_that_refuses_holds_the_rollout() -> None:
    draft = _pushed()
    draft.apply(NodeSaidNo(1.0, "a", Refusal(2, V2.digest, RefusalReason.COMPILE, "r-1")), 51.0)
    assert _state(draft) is RolloutState.HOLDING
    assert "refusal" in _kinds(draft)


def test_the_kill_switch_is_an_order_and_holds_the_rollout() -> None:
    draft = _pushed()
    draft.apply(Switched(1.0, True, "adam"), 51.0)
    assert (draft.plan.kill_switch, draft.plan.epoch, draft.plan.phase) == (True, 3, Phase.KILL_SWITCH)
    assert _state(draft) is RolloutState.HOLDING
    again = Draft(draft.plan, draft.rollout)
    again.apply(Switched(2.0, True, "adam"), 52.0)
    assert not again.changed


def test_epochs_go_past_what_a_node_has_seen() -> None:
    draft = Draft(PLAN, None)
    draft.apply(SeenEpoch("a", 41), 50.0)
    assert draft.plan.epoch == 42
    draft.apply(SeenEpoch("b", 40), 50.0)
    assert draft.plan.epoch == 42
    empty = Draft(Plan(), None)
    empty.apply(SeenEpoch("a", 41), 50.0)
    assert not empty.changed
