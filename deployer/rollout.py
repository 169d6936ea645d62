"""A rollout's order of things: `step(rollout, event)` says what it becomes and what has to be done.

All branches of a rule set's way through the fleet stand here, over the literal table TRANSITIONS. No clock, no
I/O: events carry their time, and the driver journals and carries out the commands. A rollout ends as REFUSED,
PROMOTED or REVERTED; a rollback is possible from every state.
"""

from typing import Any

import msgspec

from contract.messages import Guard, RolloutView, RuleSetRef
from contract.vocabulary import EventKind, RolloutState, Strategy, Verdict
from deployer.events import (
    ASKED_FOR,
    SOAK_S,
    STUCK_AFTER_S,
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

S = RolloutState

#: Nodes that do not confirm a push in this time make the rollout wait for a person.
STAGING_TIMEOUT_S = 30.0

#: Strategies that can be asked for. The others are data over the same table and come with the stages.
AVAILABLE = (Strategy.EVERYWHERE,)

#: States in which nodes may run the new set and nobody has decided yet: the guard can still revert.
ARMED = frozenset({S.STAGING, S.BAKING, S.ANALYSING, S.HOLDING})
#: States in which no other rollout may begin.
IN_PROGRESS = ARMED | {S.REVERTING, S.STUCK}


class Rollout(msgspec.Struct, frozen=True):
    """Everything about one rollout; stored as it is after every step.

    `nodes`: every enrolled node. `confirmed`: those that run what this state wants: the target, or `previous`
    when reverting. `since`: when the state was entered, on the driver's clock.
    """

    id: int
    state: RolloutState
    strategy: Strategy
    target: RuleSetRef
    previous: RuleSetRef
    guard: Guard | None
    by: str
    since: float
    nodes: tuple[str, ...]
    soak_s: float = SOAK_S
    stuck_after_s: float = STUCK_AFTER_S
    reason: str = ""
    soaked: bool = False
    confirmed: tuple[str, ...] = ()
    away: tuple[str, ...] = ()
    refusals: dict[str, str] = {}

    @property
    def in_progress(self) -> bool:
        return self.state in IN_PROGRESS

    @property
    def wanted(self) -> RuleSetRef:
        return self.previous if self.state in (S.REVERTING, S.STUCK, S.REVERTED) else self.target

    @property
    def waiting_for(self) -> tuple[str, ...]:
        if self.state is S.REFUSED:
            return ()
        return tuple(node for node in self.nodes if node not in self.confirmed)

    def view(self) -> RolloutView:
        return RolloutView(
            id=self.id,
            state=self.state,
            strategy=self.strategy,
            target=self.target,
            previous=self.previous,
            by=self.by,
            reason=self.reason,
            confirmed=self.confirmed,
            waiting_for=self.waiting_for,
        )


Step = tuple[Rollout, tuple[Command, ...]]


#: State → event → the states that may follow. None: there has been no rollout yet.
TRANSITIONS: dict[RolloutState | None, dict[type[Event], tuple[RolloutState, ...]]] = {
    None: {Started: (S.STAGING, S.REFUSED), RollBack: (S.REVERTING,)},
    S.REFUSED: {Started: (S.STAGING, S.REFUSED), RollBack: (S.REVERTING,)},
    S.STAGING: {
        NodeUp: (S.STAGING,),
        NodeAway: (S.STAGING,),
        NodeConfirmed: (S.STAGING, S.BAKING),
        NodeRefused: (S.STAGING, S.HOLDING),
        Judged: (S.STAGING, S.REVERTING),
        Restarted: (S.STAGING,),
        Tick: (S.STAGING, S.HOLDING),
        Pause: (S.HOLDING,),
        Abort: (S.REVERTING,),
        RollBack: (S.REVERTING,),
    },
    S.BAKING: {
        NodeUp: (S.BAKING,),
        NodeAway: (S.BAKING,),
        NodeConfirmed: (S.BAKING,),
        NodeRefused: (S.BAKING, S.HOLDING),
        Judged: (S.BAKING, S.REVERTING),
        Restarted: (S.BAKING,),
        Tick: (S.BAKING, S.ANALYSING, S.HOLDING),
        Pause: (S.HOLDING,),
        Abort: (S.REVERTING,),
        RollBack: (S.REVERTING,),
    },
    S.ANALYSING: {
        NodeUp: (S.ANALYSING,),
        NodeAway: (S.ANALYSING,),
        NodeConfirmed: (S.ANALYSING,),
        NodeRefused: (S.ANALYSING, S.HOLDING),
        Judged: (S.PROMOTED, S.HOLDING, S.REVERTING),
        Restarted: (S.BAKING,),
        Pause: (S.HOLDING,),
        Promote: (S.PROMOTED,),
        Abort: (S.REVERTING,),
        RollBack: (S.REVERTING,),
    },
    S.HOLDING: {
        NodeUp: (S.HOLDING,),
        NodeAway: (S.HOLDING,),
        NodeConfirmed: (S.HOLDING,),
        NodeRefused: (S.HOLDING,),
        Judged: (S.HOLDING, S.REVERTING),
        Restarted: (S.HOLDING,),
        Resume: (S.STAGING, S.BAKING, S.ANALYSING),
        Promote: (S.PROMOTED,),
        Abort: (S.REVERTING,),
        RollBack: (S.REVERTING,),
    },
    S.REVERTING: {
        NodeUp: (S.REVERTING,),
        NodeAway: (S.REVERTING,),
        NodeConfirmed: (S.REVERTING, S.REVERTED),
        NodeRefused: (S.REVERTING,),
        Restarted: (S.REVERTING,),
        Tick: (S.REVERTING, S.STUCK),
        RollBack: (S.REVERTING,),
    },
    S.STUCK: {
        NodeUp: (S.STUCK,),
        NodeAway: (S.STUCK,),
        NodeConfirmed: (S.STUCK, S.REVERTED),
        NodeRefused: (S.STUCK,),
        Restarted: (S.STUCK,),
        RollBack: (S.STUCK, S.REVERTING),
    },
    S.PROMOTED: {Started: (S.STAGING, S.REFUSED), RollBack: (S.REVERTING,)},
    # A freeze after a rollback, when there is one, is an entry fewer in this row.
    S.REVERTED: {Started: (S.STAGING, S.REFUSED), RollBack: (S.REVERTED, S.REVERTING)},
}


def step(rollout: Rollout | None, event: Event) -> tuple[Rollout | None, tuple[Command, ...]]:
    """What becomes of `rollout`, and the commands in order. Raises Refused or Invalid, changing nothing."""
    state = None if rollout is None else rollout.state
    allowed = TRANSITIONS[state].get(type(event))
    if allowed is None:
        if isinstance(event, ASKED_FOR):
            raise Refused(_refusal(rollout, event))
        return rollout, ()
    after, commands = _react(rollout, event)
    if after.state not in allowed:
        raise AssertionError(f"{type(event).__name__} led from {state} to {after.state}, not in the table")
    if rollout is None or after.state is not rollout.state or after.id != rollout.id:
        commands = (*commands, _state_changed(rollout, after))
    return after, commands


def _react(rollout: Rollout | None, event: Event) -> Step:
    if isinstance(event, Started):
        return _start(event)
    if isinstance(event, RollBack):
        return _roll_back(rollout, event)
    assert rollout is not None  # the table has no other entry for it
    match event:
        case NodeUp() | NodeAway():
            return _presence(rollout, event), ()
        case NodeConfirmed():
            return _confirm(rollout, event)
        case NodeRefused():
            return _node_refused(rollout, event)
        case Judged():
            return _judged(rollout, event)
        case Restarted():
            return _restarted(rollout, event), ()
        case Tick():
            return _tick(rollout, event.t)
        case Pause():
            return _enter(rollout, S.HOLDING, event.t, reason=_said("paused", event.by, event.reason)), ()
        case Resume():
            return _resume(rollout, event.t), ()
        case Promote():
            return _promote_by_hand(rollout, event)
        case Abort():
            said = _said("aborted", event.by, event.reason)
            return _revert(rollout, event.t, rollout.previous, event.by, said, {})


# ---- One reaction each ----


def _start(event: Started) -> Step:
    if event.strategy not in AVAILABLE:
        raise Invalid(
            f"strategy {event.strategy.value} comes later; available now: {', '.join(AVAILABLE)}", AVAILABLE
        )
    rollout = Rollout(
        id=event.id,
        state=S.REFUSED if event.refused_because else S.STAGING,
        strategy=event.strategy,
        target=event.target,
        previous=event.previous,
        guard=event.guard,
        by=event.by,
        since=event.t,
        nodes=event.nodes,
        away=event.away,
        soak_s=event.soak_s,
        stuck_after_s=event.stuck_after_s,
        reason=event.refused_because,
    )
    if event.refused_because:
        return rollout, ()
    text = f"{event.by} ships {event.target.label} to every node at once"
    push = {
        "rollout": event.id,
        "digest": event.target.digest,
        "version": event.target.version,
        "strategy": event.strategy.value,
        "by": event.by,
    }
    note = f": {event.note}" if event.note else ""
    return rollout, (Journal(EventKind.PUSH, text + note, push), Assign(event.target, Phase.PUSH))


def _roll_back(rollout: Rollout | None, event: RollBack) -> Step:
    if rollout is not None and rollout.wanted == event.to and rollout.state in (S.REVERTING, S.STUCK, S.REVERTED):
        return rollout, ()  # it is on its way, or done: asking twice changes nothing
    if event.to.digest == event.current.digest:
        raise Refused(f"{event.to.label} is what every node is told to run already; name another version")
    if rollout is None or rollout.state not in IN_PROGRESS:
        rollout = Rollout(
            id=event.id,
            state=S.REVERTING,
            strategy=Strategy.EVERYWHERE,
            target=event.current,
            previous=event.to,
            guard=None,
            by=event.by,
            since=event.t,
            nodes=event.nodes,
            away=event.away,
            stuck_after_s=event.stuck_after_s,
        )
    said = _said("rollback asked for", event.by, event.reason)
    return _revert(rollout, event.t, event.to, event.by, said, event.evidence)


def _presence(rollout: Rollout, event: NodeUp | NodeAway) -> Rollout:
    node = event.node
    away = tuple(name for name in rollout.away if name != node)
    if isinstance(event, NodeAway):
        return msgspec.structs.replace(rollout, away=(*away, node))
    return msgspec.structs.replace(
        rollout,
        away=away,
        nodes=rollout.nodes if node in rollout.nodes else (*rollout.nodes, node),
        confirmed=tuple(name for name in rollout.confirmed if name != node),
    )


def _confirm(rollout: Rollout, event: NodeConfirmed) -> Step:
    if event.digest != rollout.wanted.digest or event.node in rollout.confirmed:
        return rollout, ()
    rollout = msgspec.structs.replace(
        rollout,
        confirmed=(*rollout.confirmed, event.node),
        refusals={node: why for node, why in rollout.refusals.items() if node != event.node},
    )
    if rollout.waiting_for:
        return rollout, ()
    if rollout.state is S.STAGING:
        return _enter(rollout, S.BAKING, event.t), ()
    if rollout.state in (S.REVERTING, S.STUCK):
        count = len(rollout.nodes)
        text = f"every enrolled node confirmed {rollout.previous.label}: {count} of {count}"
        reverted = _enter(rollout, S.REVERTED, event.t)
        return reverted, (Journal(EventKind.REVERTED, text, _about(rollout, rollout.previous)),)
    return rollout, ()


def _node_refused(rollout: Rollout, event: NodeRefused) -> Step:
    if event.digest != rollout.wanted.digest:
        return rollout, ()
    rollout = msgspec.structs.replace(rollout, refusals={**rollout.refusals, event.node: event.reason})
    if rollout.state in (S.STAGING, S.BAKING, S.ANALYSING):
        why = f"{event.node} refused {rollout.target.label}: {event.reason}"
        return _enter(rollout, S.HOLDING, event.t, reason=why), ()
    return rollout, ()


def _judged(rollout: Rollout, event: Judged) -> Step:
    if event.verdict is Verdict.FAIL and rollout.guard is not None:
        said = f"rolled back: {event.reason}"
        return _revert(rollout, event.t, rollout.previous, event.by, said, event.evidence)
    if rollout.state is not S.ANALYSING:
        return rollout, ()
    if event.verdict is Verdict.PASS and not rollout.waiting_for and not rollout.away:
        return _promote(rollout, event.t, event.by, event.reason)
    return _enter(rollout, S.HOLDING, event.t, reason=event.reason), ()


def _restarted(rollout: Rollout, event: Restarted) -> Rollout:
    """The soak starts anew: nobody watched while the deployer was down."""
    confirmed = tuple(node for node in rollout.confirmed if node in event.nodes)
    rollout = msgspec.structs.replace(
        rollout, since=event.t, nodes=event.nodes, away=event.nodes, confirmed=confirmed
    )
    if rollout.state is S.ANALYSING:
        return msgspec.structs.replace(rollout, state=S.BAKING, soaked=False)
    return rollout


def _tick(rollout: Rollout, t: float) -> Step:
    lasted_s = t - rollout.since
    if rollout.state is S.STAGING and lasted_s >= STAGING_TIMEOUT_S:
        why = f"after {STAGING_TIMEOUT_S:g} s {_missing(rollout)}"
        return _enter(rollout, S.HOLDING, t, reason=why), ()
    if rollout.state is S.BAKING and lasted_s >= rollout.soak_s:
        return _soak_over(rollout, t), ()
    if rollout.state is S.REVERTING and lasted_s >= rollout.stuck_after_s:
        text = f"the rollback to {rollout.previous.label} is stuck: {_missing(rollout)}"
        data = {
            **_about(rollout, rollout.previous),
            "waiting_for": list(rollout.waiting_for),
            "away": [node for node in rollout.waiting_for if node in rollout.away],
            "refused": rollout.refusals,
        }
        return _enter(rollout, S.STUCK, t), (Journal(EventKind.STUCK, text, data),)
    return rollout, ()


def _soak_over(rollout: Rollout, t: float) -> Rollout:
    if rollout.waiting_for or rollout.away:
        return _enter(rollout, S.HOLDING, t, reason=f"at the end of the soak {_missing(rollout)}")
    soaked = msgspec.structs.replace(rollout, soaked=True)
    if rollout.guard is None:
        why = "the soak is over, but the guard was off, so nothing judged it; promote or abort by hand"
        return _enter(soaked, S.HOLDING, t, reason=why)
    return _enter(soaked, S.ANALYSING, t)


def _resume(rollout: Rollout, t: float) -> Rollout:
    """Without a finished soak it starts anew: a pause is a time in which nobody promised to watch."""
    if rollout.waiting_for:
        return _enter(rollout, S.STAGING, t, reason="")
    return _enter(rollout, S.ANALYSING if rollout.soaked and rollout.guard else S.BAKING, t, reason="")


def _promote_by_hand(rollout: Rollout, event: Promote) -> Step:
    if not rollout.soaked:
        raise Refused(
            f"{rollout.target.label} has not finished its soak of {rollout.soak_s:g} s, and the last known good"
            " moves only after a full one"
        )
    if rollout.waiting_for or rollout.away:
        raise Refused(f"cannot promote {rollout.target.label}: {_missing(rollout)}")
    return _promote(rollout, event.t, event.by, _said("promoted", event.by, event.reason))


def _promote(rollout: Rollout, t: float, by: str, why: str) -> Step:
    label = rollout.target.label
    text = f"{label} is promoted after a soak of {rollout.soak_s:g} s and is the last known good now: {why}"
    data = {**_about(rollout, rollout.target), "by": by}
    journal = Journal(EventKind.PROMOTED, text, data)
    return _enter(rollout, S.PROMOTED, t, reason=why), (journal, MoveLastKnownGood(rollout.target))


def _revert(rollout: Rollout, t: float, to: RuleSetRef, by: str, reason: str, evidence: dict[str, Any]) -> Step:
    """From any state. The decision and the rollback are one step: nothing may come between them."""
    count = len(rollout.nodes)
    decision = {
        "reason": reason,
        "culprit_rule": None,
        "held_s": None,
        **evidence,
        "by": by,
        "rollout": rollout.id,
    }
    rollback = {"to_version": to.version, "to_digest": to.digest, "by": by, "rollout": rollout.id}
    reverting = msgspec.structs.replace(
        rollout, state=S.REVERTING, since=t, previous=to, reason=reason, confirmed=(), refusals={}
    )
    return reverting, (
        Journal(EventKind.DECISION, reason, decision),
        Journal(EventKind.ROLLBACK, f"{to.label} goes back to {count} nodes, by order of {by}", rollback),
        Assign(to, Phase.REVERT),
    )


# ---- Words ----


def _enter(rollout: Rollout, state: RolloutState, t: float, reason: str | None = None) -> Rollout:
    return msgspec.structs.replace(
        rollout, state=state, since=t, reason=rollout.reason if reason is None else reason
    )


def _state_changed(before: Rollout | None, after: Rollout) -> Journal:
    was = None if before is None or before.id != after.id else before.state
    text = f"rollout {after.id} of {after.target.label} is {after.state.value}"
    if after.state in (S.HOLDING, S.REFUSED):
        text += f": {after.reason}"
    data = {"rollout": after.id, "state": after.state.value, "was": was, "reason": after.reason}
    return Journal(EventKind.ROLLOUT_STATE, text, data)


def _about(rollout: Rollout, ref: RuleSetRef) -> dict[str, Any]:
    return {"rollout": rollout.id, "digest": ref.digest, "version": ref.version}


def _said(what: str, by: str, reason: str) -> str:
    return f"{what} by {by}: {reason}" if reason else f"{what} by {by}"


def _missing(rollout: Rollout) -> str:
    """Who has not confirmed or is not there, in words."""
    waiting = rollout.waiting_for
    parts = [f"{node} refused ({why})" for node, why in rollout.refusals.items() if node in waiting]
    away = [node for node in rollout.away if node not in rollout.refusals]
    if away:
        parts.append(f"{_names(away)} away")
    quiet = [node for node in waiting if node not in rollout.refusals and node not in rollout.away]
    if quiet:
        parts.append(f"{_names(quiet)} connected but not confirming")
    return ", ".join(parts) or "every node confirmed"


def _names(nodes: list[str]) -> str:
    return f"{', '.join(nodes)} {'is' if len(nodes) == 1 else 'are'}"


def _refusal(rollout: Rollout | None, event: Event) -> str:
    verb = type(event).__name__.lower()
    if rollout is None:
        return f"there is no rollout to {verb}"
    what = f"rollout {rollout.id} of {rollout.target.label} is {rollout.state.value}"
    if isinstance(event, Started):
        missing = f" ({_missing(rollout)})" if rollout.state is S.STUCK else ""
        return f"{what}{missing}; one rollout at a time: abort it or roll back first"
    return f"{what}, which leaves nothing to {verb}"
