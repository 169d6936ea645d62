"""Orders by table: which are refused and why; and a node that applies them, with an inspection that records."""

import asyncio

import pytest

from contract.messages import Ack, Assignment, Refusal, RuleSetRef, RuleSetText
from contract.vocabulary import RefusalReason
from proxy.assignments import Assignee, AssignmentRefused, verify
from proxy.inspection import ActivationRefused
from proxy.last_good import NodeState
from rules.parse import digest_of


def text_of(yaml, version):
    return RuleSetText(RuleSetRef(digest_of(yaml), version), yaml)


OLD, NEW = text_of(b"name: old", 1), text_of(b"name: new", 2)
FORGED = RuleSetText(NEW.ref, b"name: forged")


def order(active=NEW, sets=(OLD, NEW), epoch=5, node="ams-1", good=OLD, kill_switch=False, taus_s=(0.25, 1.0)):
    return Assignment(node, epoch, active.ref, good and good.ref, kill_switch, sets, taus_s)


@pytest.mark.parametrize(
    ("assignment", "held", "result"),
    [
        (order(), None, NEW),
        (order(), OLD, NEW),
        (order(sets=()), NEW, NEW),
        (order(epoch=4), None, NEW),  # the same epoch again: sent on every reconnect
        (order(active=OLD, epoch=9), NEW, OLD),  # an old set under a new epoch: a rollback
        (order(epoch=3), NEW, RefusalReason.STALE_EPOCH),
        (order(active=OLD, epoch=3), NEW, RefusalReason.STALE_EPOCH),
        (order(node="ams-2"), NEW, RefusalReason.WRONG_NODE),
        (order(node="ams-2", epoch=3), NEW, RefusalReason.WRONG_NODE),
        (order(sets=(FORGED,)), None, RefusalReason.DIGEST_MISMATCH),
        (order(active=OLD, sets=(OLD, FORGED)), None, RefusalReason.DIGEST_MISMATCH),
        (order(sets=()), None, RefusalReason.UNKNOWN_DIGEST),
        (order(sets=()), OLD, RefusalReason.UNKNOWN_DIGEST),
        (order(sets=(OLD,)), OLD, RefusalReason.UNKNOWN_DIGEST),
    ],
)
def test_verify(assignment, held, result):
    if isinstance(result, RuleSetText):
        assert verify(assignment, "ams-1", 4, held) == result
    else:
        with pytest.raises(AssignmentRefused) as refused:
            verify(assignment, "ams-1", 4, held)
        assert refused.value.reason is result
        assert refused.value.detail


def test_a_held_set_takes_the_number_that_the_order_gives_it():
    renumbered = RuleSetRef(NEW.ref.digest, 9)
    assignment = Assignment("ams-1", 5, renumbered, None, False, ())
    assert verify(assignment, "ams-1", 4, NEW) == RuleSetText(renumbered, NEW.yaml)


class RecordingInspection:
    """Activates at once, unless told to refuse or to wait."""

    def __init__(self):
        self.active = None
        self.activated = []
        self.refuses = None
        self.may_go_on = asyncio.Event()
        self.may_go_on.set()

    async def activate(self, active, last_known_good):
        await self.may_go_on.wait()
        if self.refuses is not None:
            raise self.refuses
        self.activated.append((active, last_known_good))
        self.active = active


class Bench:
    def __init__(self, folder):
        self.inspection = RecordingInspection()
        self.taus = []
        self.state = NodeState("ams-1", str(folder))
        self.assignee = Assignee("ams-1", self.inspection, self.state, self.taus.append)

    @property
    def on_disk(self):
        return self.state.load()[0]


@pytest.fixture
async def bench(tmp_path):
    return Bench(tmp_path)


async def test_an_order_is_carried_out_remembered_and_confirmed(bench):
    ack = await bench.assignee.apply(order(kill_switch=True, taus_s=(0.1, 2.0)))
    assert isinstance(ack, Ack)
    assert (ack.epoch, ack.active, ack.kill_switch) == (5, NEW.ref, True)
    assert ack.took_s >= 0
    assert bench.inspection.activated == [(NEW, OLD)]
    assert bench.taus == [(0.1, 2.0)]
    assert (bench.on_disk.epoch, bench.on_disk.last_known_good, bench.on_disk.kill_switch) == (5, OLD, True)


async def test_the_same_order_again_activates_nothing_and_is_confirmed(bench):
    await bench.assignee.apply(order())
    assert isinstance(await bench.assignee.apply(order()), Ack)
    assert len(bench.inspection.activated) == 1


async def test_a_refused_order_changes_nothing(bench):
    await bench.assignee.apply(order())
    before = bench.on_disk
    refusal = await bench.assignee.apply(order(active=OLD, epoch=4, kill_switch=True, taus_s=(9.0,)))
    assert isinstance(refusal, Refusal)
    assert (refusal.epoch, refusal.digest, refusal.reason) == (4, OLD.ref.digest, RefusalReason.STALE_EPOCH)
    assert bench.inspection.active == NEW
    assert (bench.on_disk, bench.taus) == (before, [(0.25, 1.0)])


async def test_a_set_that_does_not_compile_is_refused_and_not_remembered_as_good(bench):
    await bench.assignee.apply(order(active=OLD))
    bench.inspection.refuses = ActivationRefused(RefusalReason.COMPILE, "rule a: position 3")
    refusal = await bench.assignee.apply(order(epoch=6, good=NEW))
    assert (refusal.reason, refusal.detail) == (RefusalReason.COMPILE, "rule a: position 3")
    assert bench.inspection.active == OLD
    assert bench.on_disk.last_known_good == OLD


async def test_the_kill_switch_does_not_wait_for_the_rule_set(bench):
    bench.inspection.may_go_on.clear()
    task = asyncio.ensure_future(bench.assignee.apply(order(kill_switch=True)))
    await asyncio.sleep(0)
    assert bench.assignee.kill_switch
    bench.inspection.may_go_on.set()
    assert (await task).kill_switch


async def test_a_kill_switch_is_heeded_while_another_order_is_being_carried_out(bench):
    """Activation may take seconds on a starved machine; whoever skips inspection has none to lose."""
    bench.inspection.may_go_on.clear()
    task = asyncio.ensure_future(bench.assignee.apply(order(epoch=5)))
    await asyncio.sleep(0)
    bench.assignee.heed(order(epoch=6, kill_switch=True))
    assert bench.assignee.kill_switch
    bench.assignee.heed(order(epoch=4, kill_switch=False))
    bench.assignee.heed(order(epoch=7, node="ams-2", kill_switch=False))
    assert bench.assignee.kill_switch
    bench.inspection.may_go_on.set()
    assert (await task).epoch == 5
    assert isinstance(await bench.assignee.apply(order(epoch=6, kill_switch=True)), Ack)
    assert bench.on_disk.kill_switch


async def test_a_local_kill_switch_wins_until_released_locally(bench, tmp_path):
    await bench.assignee.set_local_kill_switch(True)
    ack = await bench.assignee.apply(order(kill_switch=False))
    assert ack.kill_switch
    restarted = Bench(tmp_path)
    await restarted.assignee.start()
    assert restarted.assignee.kill_switch
    await restarted.assignee.set_local_kill_switch(False)
    assert not restarted.assignee.kill_switch
    assert not restarted.on_disk.kill_switch_local


async def test_a_restart_takes_up_the_last_known_good_and_the_epoch(bench, tmp_path):
    await bench.assignee.apply(order())
    restarted = Bench(tmp_path)
    assert await restarted.assignee.start() is None
    assert restarted.inspection.activated == [(OLD, OLD)]
    assert isinstance(await restarted.assignee.apply(order(epoch=4)), Refusal)


async def test_a_remembered_set_that_no_longer_runs_is_said(bench, tmp_path):
    await bench.assignee.apply(order())
    restarted = Bench(tmp_path)
    restarted.inspection.refuses = ActivationRefused(RefusalReason.COMPILE, "no such engine")
    assert "no such engine" in await restarted.assignee.start()
    assert restarted.assignee.memory.epoch == 5


async def test_a_full_disk_stops_neither_a_rollback_nor_the_kill_switch(bench, monkeypatch, capsys):
    def disk_full(memory):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bench.state, "save", disk_full)
    assert isinstance(await bench.assignee.apply(order()), Ack)
    await bench.assignee.set_local_kill_switch(True)
    assert bench.assignee.kill_switch
    assert "No space left on device" in capsys.readouterr().err
