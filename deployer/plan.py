"""What the fleet shall run, as far as it was decided and journalled: the source of every assignment.

Each change raises the epoch, so a node can tell a newer order from a replayed one. Pure.
"""

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from contract.messages import Assignment, RuleSetRef, RuleSetText


class Phase(StrEnum):
    """Why an epoch was issued."""

    PUSH = "push"
    REVERT = "revert"
    ASSIGN = "assign"  # the first set, a new last known good, a raised epoch, or a node that came back
    KILL_SWITCH = "kill_switch"


class Plan(msgspec.Struct, frozen=True):
    """`phase`: why `epoch` was issued. `rule_set_epoch`, `rule_set_phase`: when `desired` last changed, and why;
    acks of older orders confirm nothing."""

    epoch: int = 0
    phase: Phase = Phase.ASSIGN
    rule_set_epoch: int = 0
    rule_set_phase: Phase = Phase.ASSIGN
    desired: RuleSetRef | None = None
    last_known_good: RuleSetRef | None = None
    kill_switch: bool = False

    def assign(self, ref: RuleSetRef, phase: Phase) -> "Plan":
        """Order `ref`. A set that somebody rolls back from is not a known good one any longer."""
        epoch = self.epoch + 1
        good = self.last_known_good
        if good is None or (phase is Phase.REVERT and self.desired == good):
            good = ref
        return msgspec.structs.replace(
            self,
            epoch=epoch,
            phase=phase,
            rule_set_epoch=epoch,
            rule_set_phase=phase,
            desired=ref,
            last_known_good=good,
        )

    def move_last_known_good(self, ref: RuleSetRef) -> "Plan":
        return msgspec.structs.replace(self, epoch=self.epoch + 1, phase=Phase.ASSIGN, last_known_good=ref)

    def switch(self, on: bool) -> "Plan":
        return msgspec.structs.replace(self, epoch=self.epoch + 1, phase=Phase.KILL_SWITCH, kill_switch=on)

    def overtake(self, epoch: int) -> "Plan":
        """Go past an epoch that a node has seen elsewhere; it would refuse every order of ours below it."""
        return msgspec.structs.replace(self, epoch=max(self.epoch, epoch) + 1, phase=Phase.ASSIGN)

    @property
    def digests(self) -> frozenset[str]:
        """The sets that an assignment carries."""
        return frozenset(ref.digest for ref in (self.desired, self.last_known_good) if ref is not None)

    def assignment_for(self, node: str, texts: Mapping[str, RuleSetText]) -> Assignment | None:
        """The whole order for one node, sets in-line; None while there is nothing to run."""
        if self.desired is None:
            return None
        return Assignment(
            node=node,
            epoch=self.epoch,
            active=self.desired,
            last_known_good=self.last_known_good,
            kill_switch=self.kill_switch,
            sets=tuple(texts[digest] for digest in sorted(self.digests)),
        )
