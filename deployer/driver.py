"""The shell that runs the rollout: takes changes in, decides, journals, and only then lets orders leave.

One task (`run`) takes everything in order, so that a decision, its journal entries and its orders are one step;
what waits is decided together and committed in one write. `tick`, every 250 ms, asks the watch and moves time
on. A write that fails changes nothing; the next tick that still sees the reason tries again.
"""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from contract.messages import Ack, Assignment, FleetView, Hello, Refusal, Report, RuleSetText
from contract.vocabulary import EventKind
from deployer.draft import Acked, Change, Draft, Maker, NodeSaidNo, SeenEpoch
from deployer.events import Journal, NodeAway, NodeUp, Restarted, Tick
from deployer.faults import Fault
from deployer.fleet import Fleet
from deployer.plan import Phase, Plan
from deployer.rollout import Rollout
from deployer.store import Entry, Kept, Store
from deployer.watch import Watch

_log = logging.getLogger("deployer")
_T = TypeVar("_T")

#: So many reports in a row that show an order in force stand for an ack that was lost.
REPORTS_FOR_AN_ACK = 2
#: Epochs whose phase is remembered for acks that come late.
_PHASES_KEPT = 64


@dataclass(slots=True)
class _Waiting:
    change: Change | Maker
    at: float
    answer: asyncio.Future[None] | None


class Driver:
    """Owns what is committed: `plan`, `rollout`, `texts`. Listens to the fleet."""

    def __init__(self, store: Store, fleet: Fleet, now: Callable[[], float], wall: Callable[[], float]) -> None:
        self.fleet = fleet
        self.watch = Watch()
        self.now = now
        self.wall = wall
        self.plan = Plan()
        self.rollout: Rollout | None = None
        self.rollouts_by_state: dict[str, int] = {}
        self._texts: dict[str, RuleSetText] = {}
        self._store = store
        self._store_thread = ThreadPoolExecutor(1, "store")
        self._inbox: list[_Waiting] = []
        self._wake = asyncio.Event()
        self._news = asyncio.Event()
        self._phases: dict[int, Phase] = {}
        #: The highest order a node ever confirmed, and the one it confirmed on its present stream.
        self._acked: dict[str, int] = {}
        self._acked_here: dict[str, int] = {}
        self._shown: dict[str, int] = {}
        fleet.attach(self)

    # ---- Life ----

    async def load(self) -> None:
        """Take up what the store holds; a rollout in progress goes on once `run` runs."""
        self.plan = await self.in_store(Store.plan)
        known = await self.in_store(Store.rollouts)
        self.rollout = known[-1] if known else None
        self._texts = await self.in_store(lambda store: _texts(store, self.plan, self.rollout, {}))
        text = "the deployer starts"
        if self.plan.desired is not None:
            text += f": every node shall run {self.plan.desired.label}, by order {self.plan.epoch}"
        if self.rollout is not None and self.rollout.in_progress:
            text += f"; rollout {self.rollout.id} goes on {self.rollout.state.value}"
            self._phases[self.plan.epoch] = self.plan.phase
            self._put(Restarted(self.now(), tuple(self.fleet.nodes)))
        self._put(Journal(EventKind.NOTE, text, {"epoch": self.plan.epoch}))

    async def run(self) -> None:
        """Settle what comes in, for ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self._settle()

    def stop_waiting(self) -> None:
        """Release everyone who waits for news."""
        self._news.set()

    async def close(self) -> None:
        """After `run` has ended: let the last write finish, then close the store."""
        try:
            await self.in_store(Store.close)
        finally:
            self._store_thread.shutdown(wait=False)

    async def tick(self) -> None:
        """One batch: ask the watch, move time on. Returns when all of it is journalled and on its way."""
        t = self.now()
        self.fleet.tick(t)
        for found in self.watch.tick(t, self.rollout):
            self._put(found)
        await self.post(Tick(t))

    # ---- Changes ----

    async def post(self, change: Change | Maker) -> None:
        """Have `change` decided, journalled and carried out. Raises the Fault that refused it."""
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._put(change, answer)
        await answer

    def _put(self, change: Change | Maker, answer: asyncio.Future[None] | None = None) -> None:
        self._inbox.append(_Waiting(change, self.wall(), answer))
        self._wake.set()

    async def _settle(self) -> None:
        waiting, self._inbox = self._inbox, []
        draft = Draft(self.plan, self.rollout)
        for item in waiting:
            try:
                draft.apply(item.change, item.at)
            except Exception as fault:
                _fail(item, fault)
        try:
            if draft.changed:
                self._texts = await self.in_store(lambda store: self._commit(store, draft))
        except Exception as fault:
            _log.error("nothing was changed: the store cannot be written: %s", fault)
            for item in waiting:
                _fail(item, Fault(f"nothing was changed: the store cannot be written ({fault})"))
            return
        self._act(draft)
        for item in waiting:
            if item.answer is not None and not item.answer.done():
                item.answer.set_result(None)

    def _commit(self, store: Store, draft: Draft) -> dict[str, RuleSetText]:
        """In the store's thread: write first, then have at hand what the orders carry."""
        texts = _texts(store, draft.plan, draft.rollout, self._texts)
        store.commit(draft.plan, draft.touched.values(), draft.entries)
        return texts

    def _act(self, draft: Draft) -> None:
        before, self.plan, self.rollout = self.plan, draft.plan, draft.rollout
        if self.plan.epoch != before.epoch:
            self._remember_phase(before)
            self.fleet.order(self.assignment_for)
        for entry in draft.entries:
            if entry.kind is EventKind.ROLLOUT_STATE:
                state = str(entry.data["state"])
                self.rollouts_by_state[state] = self.rollouts_by_state.get(state, 0) + 1
        if draft.entries:
            self._news.set()
            self._news = asyncio.Event()

    def _remember_phase(self, before: Plan) -> None:
        # Several changes may leave in one order; that of the rule set outranks the others.
        plan = self.plan
        changed = plan.rule_set_epoch > before.epoch
        self._phases[plan.epoch] = plan.rule_set_phase if changed else plan.phase
        while len(self._phases) > _PHASES_KEPT:
            del self._phases[min(self._phases)]

    # ---- The fleet speaks ----

    def node_up(self, hello: Hello) -> Assignment | None:
        running = "nothing yet" if hello.active is None else hello.active.label
        text = f"{hello.node} ({hello.pop}, {hello.region}) is there, running {running}"
        data = {"node": hello.node, "epoch": hello.epoch, "edge": hello.edge, "admin": hello.admin}
        self._put(Journal(EventKind.NODE_UP, text, data))
        self._put(NodeUp(self.now(), hello.node))
        self._acked_here.pop(hello.node, None)
        self._shown[hello.node] = 0
        if hello.epoch > self.plan.epoch:
            self._put(SeenEpoch(hello.node, hello.epoch))
            return None  # it would be refused; the next order is on its way
        return self.assignment_for(hello.node)

    def node_away(self, node: str, why: str) -> None:
        self._put(Journal(EventKind.NODE_DOWN, f"{node} is away: {why}", {"node": node, "why": why}))
        self._put(NodeAway(self.now(), node))

    def acked(self, node: str, ack: Ack) -> None:
        self._confirm(node, Acked(
            self.now(), node, ack.epoch, ack.active, ack.kill_switch, ack.took_s, self._phase(node, ack.epoch)
        ))  # fmt: skip

    def refused(self, node: str, refusal: Refusal) -> None:
        self._put(NodeSaidNo(self.now(), node, refusal))

    def reported(self, node: str, report: Report) -> None:
        """A report that shows the order in force confirms it too, should the ack have been lost."""
        self.watch.report(self.now(), report)
        if report.active is None or report.active != self.plan.desired or report.epoch != self.plan.epoch:
            self._shown[node] = 0
            return
        if self._acked_here.get(node, 0) >= report.epoch:
            return
        self._shown[node] = self._shown.get(node, 0) + 1
        if self._shown[node] >= REPORTS_FOR_AN_ACK:
            self.fleet.nodes[node].confirmed_epoch = report.epoch
            self._confirm(node, Acked(
                self.now(), node, report.epoch, report.active, report.kill_switch, None,
                self._phase(node, report.epoch),
            ))  # fmt: skip

    def _confirm(self, node: str, acked: Acked) -> None:
        self._acked[node] = max(self._acked.get(node, 0), acked.epoch)
        self._acked_here[node] = acked.epoch
        self._shown[node] = 0
        self._put(acked)

    def _phase(self, node: str, epoch: int) -> Phase:
        """A node that confirms an order again, after a reconnect, is only being assigned."""
        again = self._acked.get(node, 0) >= epoch
        return Phase.ASSIGN if again else self._phases.get(epoch, Phase.ASSIGN)

    # ---- Reading ----

    def assignment_for(self, node: str) -> Assignment | None:
        return self.plan.assignment_for(node, self._texts)

    def fleet_view(self) -> FleetView:
        now = self.now()
        return FleetView(
            epoch=self.plan.epoch,
            desired=self.plan.desired,
            last_known_good=self.plan.last_known_good,
            kill_switch=self.plan.kill_switch,
            rollout=None if self.rollout is None else self.rollout.view(),
            nodes=tuple(node.view(now) for node in self.fleet.nodes.values()),
        )

    async def journal_after(self, seq: int, wait_s: float) -> list[Kept]:
        """Entries above `seq`; waits up to `wait_s` for the first."""
        news = self._news
        kept = await self.in_store(lambda store: store.journal_after(seq))
        if kept or wait_s <= 0:
            return kept
        try:
            async with asyncio.timeout(wait_s):
                await news.wait()
        except TimeoutError:
            return []
        return await self.in_store(lambda store: store.journal_after(seq))

    async def in_store(self, use: Callable[[Store], _T]) -> _T:
        """Run `use` in the store's own thread."""
        return await asyncio.get_running_loop().run_in_executor(self._store_thread, use, self._store)


def _fail(item: _Waiting, fault: Exception) -> None:
    if item.answer is None:
        _log.error("%s was dropped: %s", type(item.change).__name__, fault)
    elif not item.answer.done():
        item.answer.set_exception(fault)


def _texts(
    store: Store, plan: Plan, rollout: Rollout | None, known: dict[str, RuleSetText]
) -> dict[str, RuleSetText]:
    """The sets that orders carry or soon may. Raises Fault if one is not stored."""
    wanted = set(plan.digests)
    if rollout is not None:
        wanted |= {rollout.target.digest, rollout.previous.digest}
    texts = {digest: known.get(digest) or store.text(digest) for digest in wanted}
    return {digest: _present(digest, text) for digest, text in texts.items()}


def _present(digest: str, text: RuleSetText | None) -> RuleSetText:
    if text is None:
        raise Fault(f"rule set {digest} is not in the store")
    return text


def first_plan(store: Store, digest: str, at: float) -> None:
    """In an empty store: make `digest` the set that every node runs, and the last known good."""
    text = store.text(digest)
    assert text is not None
    entry = Entry(at, EventKind.NOTE, f"{text.ref.label} is the first rule set", {"digest": digest})
    store.commit(Plan().assign(text.ref, Phase.ASSIGN), [], [entry])
