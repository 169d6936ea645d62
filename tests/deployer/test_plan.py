"""Every change raises the epoch; an assignment carries what it names."""

from contract.messages import RuleSetRef, RuleSetText
from deployer.plan import Phase, Plan

V1, V2, V3 = (RuleSetRef(letter * 64, number) for number, letter in enumerate("abc", 1))
TEXTS = {ref.digest: RuleSetText(ref, ref.digest.encode()) for ref in (V1, V2, V3)}


def test_every_change_raises_the_epoch() -> None:
    plan, epochs = Plan(), [0]
    for change in (
        lambda p: p.assign(V1, Phase.ASSIGN),
        lambda p: p.assign(V2, Phase.PUSH),
        lambda p: p.switch(True),
        lambda p: p.move_last_known_good(V2),
        lambda p: p.overtake(50),
        lambda p: p.overtake(3),
        lambda p: p.assign(V1, Phase.REVERT),
    ):
        plan = change(plan)
        epochs.append(plan.epoch)
    assert epochs == [0, 1, 2, 3, 4, 51, 52, 53]
    assert (plan.rule_set_epoch, plan.rule_set_phase) == (53, Phase.REVERT)


def test_the_first_set_is_the_last_known_good_and_a_push_leaves_it() -> None:
    plan = Plan().assign(V1, Phase.ASSIGN).assign(V2, Phase.PUSH)
    assert (plan.desired, plan.last_known_good) == (V2, V1)


def test_a_set_that_is_rolled_away_from_is_not_known_good() -> None:
    promoted = Plan().assign(V1, Phase.ASSIGN).assign(V2, Phase.PUSH).move_last_known_good(V2)
    assert promoted.assign(V1, Phase.REVERT).last_known_good == V1
    pushed = promoted.assign(V3, Phase.PUSH)
    assert pushed.assign(V1, Phase.REVERT).last_known_good == V2


def test_an_assignment_carries_both_sets_once() -> None:
    assert Plan().assignment_for("a", TEXTS) is None
    plan = Plan().assign(V1, Phase.ASSIGN)
    first = plan.assignment_for("a", TEXTS)
    assert first is not None
    assert (first.node, first.epoch, first.active, first.sets) == ("a", 1, V1, (TEXTS[V1.digest],))
    second = plan.assign(V2, Phase.PUSH).assignment_for("a", TEXTS)
    assert second is not None
    assert {text.ref for text in second.sets} == {V1, V2}
