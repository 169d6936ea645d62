"""What somebody can ask of the deployer: store a set, ship it, roll back, pause, turn the kill switch.

A request comes in checked for its shape; here it meets the gates, the store and the rollout. Each either
returns what became of it or raises a Fault, and then nothing was changed.
"""

import asyncio
import difflib
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from contract.messages import (
    FleetView,
    KillSwitchRequest,
    RollbackRequest,
    RolloutRequest,
    RolloutView,
    RuleSetRef,
    StoredRuleSet,
    VerbRequest,
)
from deployer.draft import Draft, Switched
from deployer.driver import Driver
from deployer.events import SOAK_S, STUCK_AFTER_S, Abort, Pause, Promote, Resume, RollBack, Started
from deployer.faults import Invalid, NotFound, Refused
from deployer.gates import pass_gates
from deployer.rollout import Rollout
from deployer.store import Store
from rules.model import RuleSet, RuleSetError
from rules.parse import digest_of

#: The gates hold nobody up longer than this. A thread cannot be ended, so its gate then runs on, unheard.
GATES_WITHIN_S = 20.0
MAX_BY_CHARS = 100
MAX_NOTE_CHARS = 1_000

#: The operator's verbs by their name in the path. Roll back is a route of its own: it needs no rollout.
VERBS: dict[str, type[Pause] | type[Resume] | type[Promote] | type[Abort]] = {
    "pause": Pause,
    "resume": Resume,
    "promote": Promote,
    "abort": Abort,
}


class Operations:
    """All of them, over one driver."""

    def __init__(self, driver: Driver, soak_s: float = SOAK_S, stuck_after_s: float = STUCK_AFTER_S) -> None:
        self.driver = driver
        self._soak_s = soak_s
        self._stuck_after_s = stuck_after_s
        self._gate_threads = ThreadPoolExecutor(2, "gates")

    def close(self) -> None:
        self._gate_threads.shutdown(wait=False, cancel_futures=True)

    async def put_rule_set(self, yaml: bytes) -> StoredRuleSet:
        """Store a set that passes the gates; the same bytes are the same version."""
        try:
            rule_set = await self._gated(yaml)
        except RuleSetError as fault:
            raise Invalid(str(fault)) from None
        digest, count = digest_of(yaml), len(rule_set.rules)
        return await self.driver.in_store(lambda store: store.put_rule_set(digest, rule_set.name, count, yaml))

    async def start_rollout(self, request: RolloutRequest) -> RolloutView:
        """Ship a stored set. The gates look again: they may be stricter now than when it was stored."""
        _check_person(request.by, request.note)
        if request.guard is not None:
            _check_between(request.guard.above, 0.0, 1.0, "$.guard.above")
            _check_between(request.guard.for_s, 0.0, 3600.0, "$.guard.for_s")
        stored = await self.driver.in_store(Store.rule_sets)
        target = _find_digest(request.digest, stored)
        text = await self.driver.in_store(lambda store: store.text(target.digest))
        assert text is not None
        refused_because = ""
        try:
            await self._gated(text.yaml)
        except RuleSetError as fault:
            refused_because = str(fault)
        await self.driver.post(lambda draft: self._started(draft, request, target, refused_because))
        if refused_because:
            raise Invalid(refused_because)
        return self._current().view()

    async def rollback(self, request: RollbackRequest) -> RolloutView:
        """From any state. Asking again for what is on its way, or done, changes nothing and is no fault."""
        _check_person(request.by, request.reason)
        to: RuleSetRef | None = None
        if request.to_version is not None:
            to = _find_version(request.to_version, await self.driver.in_store(Store.rule_sets))
        await self.driver.post(lambda draft: self._roll_back(draft, request, to))
        return self._current().view()

    async def operate(self, rollout_id: int, verb: str, request: VerbRequest) -> RolloutView:
        """pause, resume, promote or abort the rollout in progress."""
        _check_person(request.by, request.reason)
        event = VERBS.get(verb)
        if event is None:
            raise NotFound(f"no verb {verb!r}; there are {', '.join(VERBS)}", _nearest(verb, list(VERBS)))
        current = self.driver.rollout
        if current is None or current.id != rollout_id:
            known = () if current is None else (str(current.id),)
            raise NotFound(f"rollout {rollout_id} is not the latest one", known)
        await self.driver.post(event(self.driver.now(), request.by, request.reason))
        return self._current().view()

    async def kill_switch(self, request: KillSwitchRequest) -> FleetView:
        """Turning it to where it is changes nothing and is no fault."""
        _check_person(request.by, "")
        if self.driver.plan.desired is None:
            raise Refused(_NOTHING_TO_RUN)
        await self.driver.post(Switched(self.driver.now(), request.on, request.by))
        return self.driver.fleet_view()

    # ---- What depends on the moment at which its turn comes ----

    def _started(
        self, draft: Draft, request: RolloutRequest, target: RuleSetRef, refused_because: str
    ) -> Started:
        plan, fleet = draft.plan, self.driver.fleet
        if plan.desired is None or plan.last_known_good is None:
            raise Refused(_NOTHING_TO_RUN)
        if plan.kill_switch:
            raise Refused(
                "the kill switch is on: nothing is inspected, so a rollout would prove nothing; turn it off first"
            )
        good = plan.last_known_good
        started = Started(
            t=self.driver.now(),
            id=draft.next_id,
            target=target,
            previous=plan.desired if good.digest == target.digest else good,
            by=request.by,
            nodes=tuple(fleet.nodes),
            strategy=request.strategy,
            guard=request.guard,
            away=fleet.away,
            soak_s=self._soak_s,
            stuck_after_s=self._stuck_after_s,
            note=request.note,
            refused_because=refused_because,
        )
        if plan.desired.digest == target.digest and (draft.rollout is None or not draft.rollout.in_progress):
            raise Refused(f"{target.label} is what every node is told to run already")
        return started

    def _roll_back(self, draft: Draft, request: RollbackRequest, to: RuleSetRef | None) -> RollBack:
        plan, fleet = draft.plan, self.driver.fleet
        if plan.desired is None or plan.last_known_good is None:
            raise Refused(_NOTHING_TO_RUN)
        t = self.driver.now()
        return RollBack(
            t=t,
            id=draft.next_id,
            to=to or plan.last_known_good,
            current=plan.desired,
            by=request.by,
            reason=request.reason,
            nodes=tuple(fleet.nodes),
            away=fleet.away,
            stuck_after_s=self._stuck_after_s,
            evidence=self.driver.watch.evidence(t),
        )

    def _current(self) -> Rollout:
        rollout = self.driver.rollout
        assert rollout is not None  # the event that was just settled made one
        return rollout

    async def _gated(self, yaml: bytes) -> RuleSet:
        """The gates in a thread, so that no pattern can hold up the fleet. Raises RuleSetError or Fault."""
        running = asyncio.get_running_loop().run_in_executor(self._gate_threads, pass_gates, yaml)
        try:
            async with asyncio.timeout(GATES_WITHIN_S):
                return await running
        except TimeoutError:
            raise Invalid(f"the gates were not done with it after {GATES_WITHIN_S:g} s") from None


_NOTHING_TO_RUN = "there is no rule set to run yet; start the deployer with --rules FILE"


def _check_person(by: str, said: str) -> None:
    if not by.strip() or len(by) > MAX_BY_CHARS:
        raise Invalid(f"who asks? 1-{MAX_BY_CHARS} characters - at `$.by`")
    if len(said) > MAX_NOTE_CHARS:
        raise Invalid(f"{len(said):,} characters of words are above the limit of {MAX_NOTE_CHARS:,}")


def _check_between(value: float, low: float, high: float, path: str) -> None:
    if not (math.isfinite(value) and low <= value <= high):
        raise Invalid(f"{value:g} is not between {low:g} and {high:g} - at `{path}`")


def _find_digest(digest: str, stored: Sequence[StoredRuleSet]) -> RuleSetRef:
    for one in stored:
        if one.ref.digest == digest:
            return one.ref
    starts = tuple(one.ref.digest for one in stored if digest and one.ref.digest.startswith(digest))
    nearest = starts[:3] or _nearest(digest, [one.ref.digest for one in stored])
    raise NotFound(f"no stored rule set has the digest {digest[:70]!r}", nearest)


def _find_version(version: int, stored: Sequence[StoredRuleSet]) -> RuleSetRef:
    for one in stored:
        if one.ref.version == version:
            return one.ref
    by_distance = sorted(stored, key=lambda one: abs(one.ref.version - version))
    raise NotFound(f"no stored rule set has version {version}", tuple(one.ref.label for one in by_distance[:3]))


def _nearest(word: str, known: Sequence[str]) -> tuple[str, ...]:
    return tuple(difflib.get_close_matches(word, known, n=3, cutoff=0.5))
