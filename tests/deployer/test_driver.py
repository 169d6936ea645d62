"""From a push to REVERTED over real sockets: by the guard, by a person, over restarts, with nodes away."""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from contract.messages import Guard, RollbackRequest, RolloutRequest, VerbRequest
from contract.vocabulary import EventKind
from deployer.client import DeployerError
from deployer.draft import Draft
from deployer.events import RollBack, Started
from deployer.rollout import Rollout
from deployer.store import Store
from tests.fakes.clock import FakeClock
from tests.fakes.node import FakeNode
from tests.fakes.waiting import eventually

Serve = Callable[..., AbstractAsyncContextManager[Any]]
NODES = ("ams-1", "ams-2", "iad-1")


async def _wall(lab: Any, seconds: float) -> None:
    for _ in range(round(seconds * 4)):
        await lab.batch(20, 18, hot="r-2019")


async def _healthy(lab: Any, seconds: float) -> None:
    for _ in range(round(seconds * 4)):
        await lab.batch(20, 0)


def _versions(lab: Any) -> set[int]:
    return {node.version for node in lab.nodes.values()}


async def test_the_guard_rolls_back_by_itself(serve: Serve) -> None:
    """The whole story, in the order in which the journal has to tell it."""
    async with serve(*NODES) as lab:
        await lab.join(*NODES)
        await _healthy(lab, 1)
        await lab.ship(guard=Guard(0.5, 2.0))
        await lab.state("baking")
        assert _versions(lab) == {2}
        await _wall(lab, 2)
        assert lab.driver.rollout.state == "baking"
        await _wall(lab, 0.25)
        await lab.state("reverted")
        assert _versions(lab) == {1}
        story = [
            entry for entry in await lab.journal()
            if entry.kind not in (EventKind.NODE_UP, EventKind.NOTE)
            and not (entry.kind is EventKind.ACK and entry.data["phase"] == "assign")
        ]  # fmt: skip
        assert [str(entry.kind) for entry in story] == [
            "push", "rollout_state", "ack", "ack", "ack", "rollout_state", "page",
            "decision", "rollback", "rollout_state", "ack", "ack", "ack", "reverted", "rollout_state",
        ]  # fmt: skip
        decision, rollback = story[7], story[8]
        assert decision.data["by"] == "absolute_guard"
        assert decision.data["culprit_rule"] == "r-2019"
        assert decision.data["held_s"] == 2.0
        assert decision.data["reason"] == decision.text
        assert decision.text == (
            "rolled back: 216 of 240 requests failed fleet-wide in the last second, above 50 % for 2.0 s; no"
            " control group, so this cannot tell a bad deploy from an attack; hottest rule r-2019 held an"
            " inspector for 2.0 s"
        )
        assert (rollback.data["to_version"], rollback.data["by"]) == (1, "absolute_guard")
        assert {entry.data["node"] for entry in story[10:13]} == set(NODES)
        assert {entry.data["phase"] for entry in story[10:13]} == {"revert"}
        assert [entry.data["state"] for entry in story if entry.kind is EventKind.ROLLOUT_STATE] == [
            "staging", "baking", "reverting", "reverted",
        ]  # fmt: skip


async def test_orders_leave_with_the_tick_that_decides(serve: Serve) -> None:
    """When `tick` returns, the rollback is journalled and every order handed to its stream."""
    async with serve(*NODES) as lab:
        await lab.join(*NODES)
        await lab.ship(guard=Guard(0.5, 0.0))
        await lab.state("baking")
        await lab.batch(20, 0)
        epoch = lab.driver.plan.epoch
        await lab.batch(40, 40)
        assert (lab.driver.plan.epoch, lab.driver.rollout.state) == (epoch + 1, "reverting")
        await asyncio.gather(*(node.runs(1) for node in lab.nodes.values()))


async def test_a_breach_that_ends_in_time_rolls_nothing_back(serve: Serve) -> None:
    async with serve(*NODES) as lab:
        await lab.join(*NODES)
        await lab.ship(guard=Guard(0.5, 2.0))
        await lab.state("baking")
        await _wall(lab, 1.5)
        await _healthy(lab, 5)
        assert lab.driver.rollout.state == "baking"
        assert [str(one.kind) for one in await lab.journal(EventKind.PAGE, EventKind.CLEARED)] == [
            "page",
            "cleared",
        ]


async def test_without_a_guard_it_pages_and_a_person_rolls_back(serve: Serve) -> None:
    async with serve(*NODES) as lab:
        await lab.join(*NODES)
        await lab.ship(guard=None)
        await lab.state("baking")
        await _wall(lab, 12)
        assert _versions(lab) == {2}
        (page,) = await lab.journal(EventKind.PAGE)
        assert "nothing is rolled back without a person" in page.text
        view = await lab.client.rollback(RollbackRequest("adam", reason="it burns"))
        assert (view.state, view.previous.version) in (("reverting", 1), ("reverted", 1))
        await lab.state("reverted")
        (decision,) = await lab.journal(EventKind.DECISION)
        assert decision.text == "rollback asked for by adam: it burns"
        assert (decision.data["by"], decision.data["culprit_rule"]) == ("adam", "r-2019")
        again = await lab.client.rollback(RollbackRequest("adam"))
        assert (again.id, again.state) == (view.id, "reverted")
        assert len(await lab.journal(EventKind.ROLLBACK)) == 1


async def test_a_manual_rollback_disarms_the_guard(serve: Serve) -> None:
    async with serve(*NODES) as lab:
        await lab.join(*NODES)
        for node in lab.nodes.values():
            node.acks = True
        await lab.ship(guard=Guard(0.5, 1.0))
        await lab.state("baking")
        await _wall(lab, 0.75)
        for node in lab.nodes.values():
            node.acks = False
        await lab.client.rollback(RollbackRequest("adam"))
        await _wall(lab, 4)
        assert lab.driver.rollout.state == "reverting"
        decisions = await lab.journal(EventKind.DECISION)
        assert [one.data["by"] for one in decisions] == ["adam"]


async def test_promotion_moves_the_last_known_good_after_the_soak(serve: Serve) -> None:
    async with serve(*NODES, soak_s=3.0) as lab:
        await lab.join(*NODES)
        await lab.ship()
        await lab.state("baking")
        await _healthy(lab, 2.75)
        assert lab.driver.plan.last_known_good.version == 1
        await _healthy(lab, 0.5)
        assert lab.driver.rollout.state == "promoted"
        assert lab.driver.plan.last_known_good.version == 2
        (promoted,) = await lab.journal(EventKind.PROMOTED)
        assert promoted.data["version"] == 2
        for name in NODES:
            await lab.confirmed(name)
            assert lab.nodes[name].assignments[-1].last_known_good.version == 2
        with pytest.raises(DeployerError, match="v2 is what every node is told to run already"):
            await lab.client.rollback(RollbackRequest("adam"))
        view = await lab.client.rollback(RollbackRequest("adam", to_version=1))
        assert (view.id, view.target.version, view.previous.version) == (2, 2, 1)
        await lab.state("reverted")
        assert _versions(lab) == {1}
        assert lab.driver.plan.last_known_good.version == 1


async def test_a_soak_without_traffic_never_promotes(serve: Serve) -> None:
    async with serve(*NODES, soak_s=2.0) as lab:
        await lab.join(*NODES)
        await lab.ship()
        await lab.state("baking")
        for _ in range(10):
            await lab.batch(0, 0)
        assert lab.driver.rollout.state == "holding"
        assert lab.driver.rollout.reason.startswith("too little evidence")
        assert lab.driver.plan.last_known_good.version == 1
        await lab.client.operate(1, "promote", VerbRequest("adam", "seen enough"))
        assert lab.driver.plan.last_known_good.version == 2


async def test_a_node_that_is_away_makes_it_stuck_until_it_is_back(serve: Serve) -> None:
    async with serve(*NODES) as lab:
        await lab.join(*NODES)
        await lab.ship()
        await lab.state("baking")
        away = lab.nodes.pop("iad-1")
        await away.close()
        await eventually(lambda: lab.driver.fleet.away == ("iad-1",), "iad-1 is away")
        await lab.client.rollback(RollbackRequest("adam"))
        await _healthy(lab, 4.75)
        assert lab.driver.rollout.state == "reverting"
        await _healthy(lab, 0.5)
        assert lab.driver.rollout.state == "stuck"
        (stuck,) = await lab.journal(EventKind.STUCK)
        assert stuck.text == "the rollback to v1 is stuck: iad-1 is away"
        assert (stuck.data["waiting_for"], stuck.data["away"]) == (["iad-1"], ["iad-1"])
        assert (await lab.client.fleet()).rollout.waiting_for == ("iad-1",)
        lab.nodes["iad-1"] = away
        await away.connect()
        await lab.state("reverted")
        assert away.version == 1


async def test_the_kill_switch_keeps_confirmations(serve: Serve) -> None:
    """It is another order, but the set of the rollout is still the one that runs."""
    async with serve(*NODES) as lab:
        await lab.join(*NODES)
        lab.nodes["iad-1"].acks = False
        await lab.ship()
        await eventually(lambda: len(lab.driver.rollout.confirmed) == 2, "two confirmed")
        await lab.client.kill_switch(True, "adam")
        assert lab.driver.rollout.state == "holding"
        assert set(lab.driver.rollout.confirmed) == {"ams-1", "ams-2"}
        await lab.confirmed("ams-1")
        acks = [one.data["phase"] for one in await lab.journal(EventKind.ACK) if one.data["node"] == "ams-1"]
        assert acks == ["assign", "push", "kill_switch"]


async def test_a_restarted_deployer_goes_on_with_the_rollback(serve: Serve) -> None:
    clock = FakeClock()
    async with serve(*NODES, clock=clock) as lab:
        await lab.join(*NODES)
        await lab.ship()
        await lab.state("baking")
        lab.nodes["iad-1"].acks = False
        await lab.client.rollback(RollbackRequest("adam"))
        await eventually(lambda: lab.driver.rollout.waiting_for == ("iad-1",), "two of three")
    async with serve(*NODES, clock=FakeClock(5.0)) as lab:
        assert lab.driver.rollout.state == "reverting"
        assert lab.driver.plan.desired.version == 1
        await lab.driver.tick()
        assert (lab.driver.rollout.since, lab.driver.rollout.away) == (5.0, NODES), "on the new clock, all away"
        await lab.join(*NODES)
        await lab.state("reverted")
        assert len(await lab.journal(EventKind.ROLLBACK)) == 1
        assert (await lab.client.rollouts())[0].state == "reverted"


def _journal_a_rollback(path: Path) -> None:
    """What a deployer has done that is killed before its orders leave."""
    store = Store.open(path)
    draft = Draft(store.plan(), store.rollouts()[-1])
    good, current = draft.plan.last_known_good, draft.plan.desired
    assert good is not None
    assert current is not None
    draft.apply(RollBack(0.0, draft.next_id, good, current, "adam", "", NODES), 0.0)
    store.commit(draft.plan, draft.touched.values(), draft.entries)
    store.close()


async def test_killed_between_journal_and_act_it_converges(serve: Serve, tmp_path: Path) -> None:
    """The rollback is on disk, no order has left, and the deployer is gone: the next one sends them."""
    async with serve(*NODES) as lab:
        await lab.join(*NODES)
        await lab.ship()
        await lab.state("baking")
        before = lab.nodes
    await asyncio.to_thread(_journal_a_rollback, tmp_path / "store.sqlite3")
    async with serve(*NODES) as lab:
        assert lab.driver.rollout.state == "reverting"
        for name in NODES:
            lab.nodes[name] = node = FakeNode(name, lab.base_url)
            node.epoch, node.active = before[name].epoch, before[name].active
            assert node.version == 2
            lab.stack.push_async_callback(node.close)
            await node.connect()
        await lab.state("reverted")
        assert _versions(lab) == {1}
        phases = [one.data["phase"] for one in await lab.journal(EventKind.ACK)][-3:]
        assert phases == ["revert"] * 3


async def test_a_failed_write_changes_nothing_and_the_guard_tries_again(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(*NODES) as lab:
        await lab.join(*NODES)
        await lab.ship(guard=Guard(0.5, 0.0))
        await lab.state("baking")
        await lab.batch(20, 0)

        def _full(*_: Any) -> None:
            raise sqlite3.OperationalError("database or disk is full")

        with monkeypatch.context() as patch:
            patch.setattr(Store, "commit", _full)
            with pytest.raises(Exception, match="disk is full"):
                await lab.batch(40, 40)
        assert lab.driver.rollout.state == "baking"
        assert _versions(lab) == {2}
        await lab.batch(40, 40)
        await lab.state("reverted")


async def test_a_rollout_in_progress_keeps_watch_over_a_restart(serve: Serve) -> None:
    async with serve(*NODES) as lab:
        await lab.join(*NODES)
        await lab.ship(guard=Guard(0.5, 1.0))
        await lab.state("baking")
    async with serve(*NODES) as lab:
        await lab.join(*NODES)
        assert _versions(lab) == {2}
        await lab.batch(20, 0)
        await _wall(lab, 2.5)
        await lab.state("reverted")


async def test_concurrent_requests_are_decided_one_after_the_other(serve: Serve) -> None:
    """A rollback right behind a push finds the push, and only one of two pushes is taken."""
    async with serve(*NODES) as lab:
        await lab.join(*NODES)
        stored = await lab.client.put_rule_set(b"name: s\nrules:\n  - {id: r, pattern: b, targets: [uri]}\n")
        request = RolloutRequest(stored.ref.digest, "eve")
        answers = await asyncio.gather(
            lab.client.start_rollout(request), lab.client.start_rollout(request), return_exceptions=True
        )
        assert sorted(type(one).__name__ for one in answers) == ["DeployerError", "RolloutView"]
        driver = lab.driver

        def _start(draft: Draft) -> Started:
            return Started(driver.now(), draft.next_id, stored.ref, draft.plan.last_known_good, "eve", NODES)

        def _back(draft: Draft) -> RollBack:
            current, good = draft.plan.desired, draft.plan.last_known_good
            return RollBack(driver.now(), draft.next_id, good, current, "adam", "", NODES)

        await driver.post(_back)
        await lab.state("reverted")
        await asyncio.gather(driver.post(_start), driver.post(_back))
        assert isinstance(driver.rollout, Rollout)
        assert driver.rollout.id == 2
        await lab.state("reverted")
        assert _versions(lab) == {1}
        pushes = await lab.journal(EventKind.PUSH)
        assert [one.data["rollout"] for one in pushes] == [1, 2]
