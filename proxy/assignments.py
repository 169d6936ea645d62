"""What a node does with an assignment: verify, remember, activate, then say so. One at a time, newest wins."""

import asyncio
import contextlib
import sys
import time
from collections.abc import Callable

import msgspec

from contract.messages import Ack, Assignment, Refusal, RuleSetRef, RuleSetText
from contract.vocabulary import RefusalReason
from proxy.inspection import ActivationRefused, Inspection
from proxy.last_good import NodeMemory, NodeState
from rules.parse import digest_of


class AssignmentRefused(Exception):
    def __init__(self, reason: RefusalReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def verify(assignment: Assignment, node: str, epoch_seen: int, held: RuleSetText | None) -> RuleSetText:
    """The text to run. Pure. Raises AssignmentRefused.

    `held`: the set that runs now, which need not be sent again. A lower epoch is an old order; an old *set*
    may well come back, under a new one.
    """
    if assignment.node != node:
        raise AssignmentRefused(RefusalReason.WRONG_NODE, f"addressed to {assignment.node}")
    if assignment.epoch < epoch_seen:
        raise AssignmentRefused(
            RefusalReason.STALE_EPOCH, f"epoch {assignment.epoch} is below {epoch_seen}, already seen"
        )
    for text in assignment.sets:
        if digest_of(text.yaml) != text.ref.digest:
            raise AssignmentRefused(
                RefusalReason.DIGEST_MISMATCH, f"the text sent as {text.ref.digest[:12]} has another digest"
            )
    active = find(assignment, assignment.active) or held
    if active is None or active.ref.digest != assignment.active.digest:
        raise AssignmentRefused(
            RefusalReason.UNKNOWN_DIGEST, f"{assignment.active.digest[:12]} is neither in-line nor held here"
        )
    return RuleSetText(assignment.active, active.yaml)


def find(assignment: Assignment, ref: RuleSetRef | None) -> RuleSetText | None:
    return next((text for text in assignment.sets if ref and text.ref.digest == ref.digest), None)


class Assignee:
    """The node's side of orders. `set_taus` hands on the thresholds that reports count by."""

    def __init__(
        self, node: str, inspection: Inspection, state: NodeState, set_taus: Callable[[tuple[float, ...]], None]
    ) -> None:
        self._node = node
        self._inspection = inspection
        self._state = state
        self._set_taus = set_taus
        self.memory = NodeMemory()
        self._kept = self.memory
        self._keeping = asyncio.Lock()

    @property
    def kill_switch(self) -> bool:
        """A local kill switch wins until it is released locally."""
        return self.memory.kill_switch or self.memory.kill_switch_local

    async def start(self) -> str | None:
        """Take up what was remembered; returns a sentence if something could not be."""
        self.memory, complaint = await asyncio.to_thread(self._state.load)
        self._kept = self.memory
        good = self.memory.last_known_good
        if good is not None:
            try:
                await self._inspection.activate(good, good)
            except ActivationRefused as refusal:
                complaint = f"the last known good set does not run here: {refusal.detail}"
        return complaint

    def heed(self, assignment: Assignment) -> None:
        """What must not wait for the order before it, whose inspectors may take seconds: the kill switch."""
        with contextlib.suppress(AssignmentRefused):  # `apply` will say so
            self._verify(assignment)

    def _verify(self, assignment: Assignment) -> RuleSetText:
        text = verify(assignment, self._node, self.memory.epoch, self._inspection.active)
        self._remember(epoch=assignment.epoch, kill_switch=assignment.kill_switch)
        return text

    async def apply(self, assignment: Assignment) -> Ack | Refusal:
        """The kill switch takes effect at once; the rule set when its inspectors are ready."""
        started = time.monotonic()
        try:
            text = self._verify(assignment)
            await self._keep()
            self._set_taus(assignment.taus_s)
            good = find(assignment, assignment.last_known_good)
            running = self._inspection.active
            if running is None or running.ref.digest != text.ref.digest:
                await self._inspection.activate(text, good)
            else:
                self._inspection.active = text  # the same bytes may have been given another number
        except (AssignmentRefused, ActivationRefused) as refusal:
            return Refusal(assignment.epoch, assignment.active.digest, refusal.reason, refusal.detail)
        if good is not None and good != self.memory.last_known_good:
            self._remember(last_known_good=good)
        await self._keep()
        return Ack(assignment.epoch, text.ref, self.kill_switch, time.monotonic() - started)

    async def set_local_kill_switch(self, on: bool) -> None:
        """Holds at once; returns when it will hold over a restart too."""
        self._remember(kill_switch_local=on)
        await self._keep()

    def _remember(self, **changes: object) -> None:
        self.memory = msgspec.structs.replace(self.memory, **changes)

    async def _keep(self) -> None:
        """Write out what is remembered, in a thread, for a disk may block.

        A disk that takes nothing costs the node its memory over a restart, never a rollback.
        """
        async with self._keeping:
            memory = self.memory
            if memory == self._kept:
                return
            try:
                await asyncio.to_thread(self._state.save, memory)
                self._kept = memory
            except OSError as fault:
                print(f"{self._node}: not remembered over a restart: {fault}", file=sys.stderr, flush=True)
