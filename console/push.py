"""The life of the last push as the record tells it: confirmed, decided against, rolled back, recovered from.

In: events. Out: attributes that the status word and the sentence are decided from. Pure.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from contract.messages import RuleSetRef
from contract.record import Event
from contract.vocabulary import EventKind, RolloutState

#: Who in a decision's `by` is no person.
MACHINES = frozenset({"absolute_guard", "soak"})

#: The `phase` of an ack that brings a node back, which confirms no push.
REVERT = "revert"


@dataclass
class Push:
    """One push. Times are the run's seconds; None: has not happened.

    `pushed` is False where only the rollback of something older was seen: then `t` is the rollback's.
    """

    t: float
    target: RuleSetRef | None = None
    previous: RuleSetRef | None = None
    pushed: bool = True
    #: Pushed while the service was down: it is itself an attempt to repair.
    as_remedy: bool = False
    confirmed: set[str] = field(default_factory=set)
    confirmed_all_t: float | None = None
    over: bool = False  # promoted or refused: nothing more is on its way
    automated: bool = False
    rollback_t: float | None = None
    stuck_t: float | None = None
    waiting_for: tuple[str, ...] = ()
    reverted_t: float | None = None
    kill_switch_t: float | None = None
    outage: bool = False
    recovered_t: float | None = None
    served_again_t: float | None = None

    def remedied_t(self) -> float | None:
        """When something had been done that recovery can be owed to."""
        done = [self.reverted_t]
        if self.outage:
            done.append(self.kill_switch_t)
            done.append(self.confirmed_all_t if self.as_remedy else None)
        times = [t for t in done if t is not None]
        return min(times) if times else None

    def apply(self, event: Event) -> None:
        """Fold one event that came after the push; kinds that say nothing about it are passed over."""
        if handler := HANDLERS.get(event.kind):
            handler(self, event)

    def _ack(self, event: Event) -> None:
        if event.data.get("phase") != REVERT and "node" in event.data:
            self.confirmed.add(str(event.data["node"]))

    def _decision(self, event: Event) -> None:
        self.automated = event.data.get("by") in MACHINES

    def _rollback(self, event: Event) -> None:
        self.rollback_t = self.rollback_t if self.rollback_t is not None else event.t
        self.previous = ref_in(event.data, "to_") or self.previous

    def _reverted(self, event: Event) -> None:
        self.rollback_t = self.rollback_t if self.rollback_t is not None else event.t
        self.reverted_t = event.t
        self.stuck_t = None

    def _stuck(self, event: Event) -> None:
        self.stuck_t = event.t
        waiting = event.data.get("waiting_for", ())
        self.waiting_for = tuple(str(name) for name in waiting) if isinstance(waiting, list | tuple) else ()

    def _promoted(self, event: Event) -> None:
        self.over = True

    def _rollout_state(self, event: Event) -> None:
        self.over = self.over or event.data.get("state") in (RolloutState.PROMOTED, RolloutState.REFUSED)

    def _kill_switch(self, event: Event) -> None:
        if event.data.get("on"):
            self.kill_switch_t = self.kill_switch_t if self.kill_switch_t is not None else event.t

    def _recovered(self, event: Event) -> None:
        self.recovered_t = event.t
        self.served_again_t = float(event.data.get("since_t", event.t))


HANDLERS: dict[EventKind, Callable[[Push, Event], None]] = {
    EventKind.ACK: Push._ack,
    EventKind.DECISION: Push._decision,
    EventKind.ROLLBACK: Push._rollback,
    EventKind.REVERTED: Push._reverted,
    EventKind.STUCK: Push._stuck,
    EventKind.PROMOTED: Push._promoted,
    EventKind.ROLLOUT_STATE: Push._rollout_state,
    EventKind.KILL_SWITCH: Push._kill_switch,
    EventKind.RECOVERED: Push._recovered,
}


def ref_in(data: dict[str, Any], prefix: str = "") -> RuleSetRef | None:
    """The rule set that an event names by `<prefix>digest` and `<prefix>version`; None when it names none."""
    digest, version = data.get(f"{prefix}digest"), data.get(f"{prefix}version")
    return RuleSetRef(digest, version) if isinstance(digest, str) and isinstance(version, int) else None
