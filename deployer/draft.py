"""What a handful of events would change: plan, rollout, journal, in memory. The driver commits it or drops it.

Here the rollout's commands become a new plan and journal entries, and here stands what is not the rollout's:
the kill switch, epochs seen elsewhere, acks. Pure.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from contract.messages import Refusal, RuleSetRef
from contract.vocabulary import EventKind, RolloutState
from deployer.events import Assign, Event, Journal, MoveLastKnownGood, NodeConfirmed, NodeRefused, Pause
from deployer.plan import Phase, Plan
from deployer.rollout import Rollout, step
from deployer.store import Entry


@dataclass(frozen=True, slots=True)
class Acked:
    """A node runs what the order of `epoch` said. `took_s`: None where a report said so and no ack came."""

    t: float
    node: str
    epoch: int
    active: RuleSetRef
    kill_switch: bool
    took_s: float | None
    phase: Phase


@dataclass(frozen=True, slots=True)
class NodeSaidNo:
    t: float
    node: str
    refusal: Refusal


@dataclass(frozen=True, slots=True)
class Switched:
    """Somebody turned the kill switch."""

    t: float
    on: bool
    by: str


@dataclass(frozen=True, slots=True)
class SeenEpoch:
    """A node came with an epoch above ours: it was under another deployer, or our store is an older one."""

    node: str
    epoch: int


Change = Event | Journal | Acked | NodeSaidNo | Switched | SeenEpoch
#: A change that depends on what stands before it in the queue.
Maker = Callable[["Draft"], Change]


class Draft:
    """Begins as what is committed; `apply` one change after the other."""

    def __init__(self, plan: Plan, rollout: Rollout | None) -> None:
        self.plan = plan
        self.rollout = rollout
        self.entries: list[Entry] = []
        self.touched: dict[int, Rollout] = {}
        self._began = plan

    @property
    def changed(self) -> bool:
        return bool(self.entries or self.touched) or self.plan != self._began

    @property
    def next_id(self) -> int:
        return 1 if self.rollout is None else self.rollout.id + 1

    def apply(self, change: Change | Maker, at: float) -> None:
        """`at`: wall-clock seconds at which it came in. Raises Refused or Invalid, and then changed nothing."""
        match change:
            case Journal():
                self._note(change.kind, change.text, change.data, at)
            case Acked():
                self._acked(change, at)
            case NodeSaidNo():
                self._said_no(change, at)
            case Switched():
                self._switch(change, at)
            case SeenEpoch():
                self._overtake(change, at)
            case _ if callable(change):
                self.apply(change(self), at)
            case _:
                self._step(change, at)

    def _step(self, event: Event, at: float) -> None:
        after, commands = step(self.rollout, event)
        if after is not None and after != self.rollout:
            self.rollout = self.touched[after.id] = after
        for command in commands:
            match command:
                case Journal():
                    self._note(command.kind, command.text, command.data, at)
                case Assign():
                    self.plan = self.plan.assign(command.ref, command.phase)
                case MoveLastKnownGood():
                    self.plan = self.plan.move_last_known_good(command.ref)

    def _acked(self, acked: Acked, at: float) -> None:
        took = "" if acked.took_s is None else f" after {acked.took_s * 1000:.0f} ms"
        data = {
            "node": acked.node,
            "digest": acked.active.digest,
            "version": acked.active.version,
            "epoch": acked.epoch,
            "took_s": acked.took_s,
            "phase": acked.phase.value,
            "kill_switch": acked.kill_switch,
        }
        self._note(EventKind.ACK, f"{acked.node} runs {acked.active.label}{took}", data, at)
        if acked.epoch >= self.plan.rule_set_epoch:
            self._step(NodeConfirmed(acked.t, acked.node, acked.active.digest), at)

    def _said_no(self, said: NodeSaidNo, at: float) -> None:
        refusal = said.refusal
        data = {
            "node": said.node,
            "epoch": refusal.epoch,
            "digest": refusal.digest,
            "reason": refusal.reason.value,
            "detail": refusal.detail,
        }
        why = f"{refusal.reason.value}: {refusal.detail}" if refusal.detail else refusal.reason.value
        self._note(EventKind.REFUSAL, f"{said.node} refused order {refusal.epoch} ({why})", data, at)
        if refusal.epoch >= self.plan.rule_set_epoch:
            self._step(NodeRefused(said.t, said.node, refusal.digest, why), at)

    def _switch(self, switched: Switched, at: float) -> None:
        if switched.on == self.plan.kill_switch:
            return
        self.plan = self.plan.switch(switched.on)
        text = "nothing is inspected any more" if switched.on else "requests are inspected again"
        data = {"on": switched.on, "by": switched.by, "epoch": self.plan.epoch}
        word = "on" if switched.on else "off"
        self._note(EventKind.KILL_SWITCH, f"{switched.by} turned the kill switch {word}: {text}", data, at)
        watched = (RolloutState.STAGING, RolloutState.BAKING, RolloutState.ANALYSING)
        if switched.on and self.rollout is not None and self.rollout.state in watched:
            why = "the kill switch is on, so nothing is inspected and nothing learned"
            self._step(Pause(switched.t, switched.by, why), at)

    def _overtake(self, seen: SeenEpoch, at: float) -> None:
        if seen.epoch <= self.plan.epoch or self.plan.desired is None:
            return
        self.plan = self.plan.overtake(seen.epoch)
        text = f"{seen.node} had seen order {seen.epoch}; orders go on from {self.plan.epoch}"
        self._note(EventKind.NOTE, text, {"node": seen.node, "epoch": self.plan.epoch}, at)

    def _note(self, kind: EventKind, text: str, data: dict[str, Any], at: float) -> None:
        self.entries.append(Entry(at, kind, text, data))
