"""The front's hold on its inspectors, against a forkserver that the test plays: which processes live when."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess

import pytest

from contract.messages import RuleSetRef, RuleSetText
from contract.vocabulary import Pool, RefusalReason
from proxy.config import parse_args
from proxy.forkserver import (
    Drop,
    Fork,
    Forked,
    ForkserverHandle,
    Load,
    Loaded,
    LoadRefused,
    decode_request,
    encode,
)
from proxy.frames import READY_ID, Code, pack_verdict, unpack_inspections
from proxy.inspection import ActivationRefused, Inspection
from proxy.pools import Job
from proxy.slot import Slot
from rules.parse import digest_of
from tests.fakes.waiting import eventually


def text_of(yaml, version):
    return RuleSetText(RuleSetRef(digest_of(yaml), version), yaml)


OLD, NEW = text_of(b"old", 1), text_of(b"new", 2)


class Inspector:
    """A process that does nothing, and the socket over which the test speaks for it."""

    def __init__(self, digest, sock, slot):
        self.digest = digest
        self.sock = sock
        self.slot = slot
        self.process = subprocess.Popen(["sleep", "60"])

    def say(self, data):
        self.sock.send(data)

    def frames(self):
        with contextlib.suppress(BlockingIOError):
            return unpack_inspections(bytearray(self.sock.recv(2**20)))
        return []

    def die(self):
        self.process.kill()
        self.sock.close()

    @property
    def alive(self):
        return self.process.poll() is None


class PlayedForkserver:
    """Forks at once, unless `on_fork` says otherwise: it gets each Inspector and may leave it unready."""

    def __init__(self):
        front_end, self._sock = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._sock.setblocking(False)
        self.process = subprocess.Popen(["sleep", "60"])
        self.handle = ForkserverHandle(self.process.pid, front_end)
        self.inspectors = []
        self.rules = {}
        self.refused = None
        self.dropped_all_but = None
        self.on_fork = self.make_ready
        asyncio.get_running_loop().add_reader(self._sock.fileno(), self._serve)

    @staticmethod
    def make_ready(inspector):
        with contextlib.suppress(BrokenPipeError):  # the front has let go of it
            inspector.say(pack_verdict(READY_ID, Code.PASSED))

    def _serve(self):
        data, fds, _, _ = socket.recv_fds(self._sock, 65536, 2)
        if not data:
            self.end()
            return
        match decode_request(data):
            case Load(digest):
                os.close(fds[0])
                answer = self.refused or Loaded(digest, self.rules.get(digest, ("a", "b")))
                self._sock.send(encode(answer))
            case Fork(token, digest):
                sock = socket.socket(fileno=fds[0])
                sock.setblocking(False)
                inspector = Inspector(digest, sock, Slot(fds[1]))
                self.inspectors.append(inspector)
                pidfd = os.pidfd_open(inspector.process.pid)
                socket.send_fds(self._sock, [encode(Forked(token, inspector.process.pid))], [pidfd])
                os.close(pidfd)
                self.on_fork(inspector)
            case Drop(keep):
                self.dropped_all_but = set(keep)

    @property
    def living(self):
        return [inspector for inspector in self.inspectors if inspector.alive]

    def end(self):
        if self._sock.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._sock.fileno())
            self._sock.close()

    def clean_up(self):
        self.end()
        for inspector in self.inspectors:
            inspector.process.kill()
            inspector.process.wait()
            inspector.sock.close()
            inspector.slot.close()
        self.process.kill()
        self.process.wait()


@pytest.fixture
async def forkserver():
    played = PlayedForkserver()
    yield played
    played.clean_up()


@pytest.fixture
async def inspection(forkserver):
    """Already running OLD on one inspector a pool."""
    config = parse_args(["--origin", "http://127.0.0.1:1", "--name", "ams-1"])
    running = Inspection(config, forkserver.handle)
    await running.activate(OLD, OLD)
    yield running
    running.close()
    await eventually(lambda: not forkserver.living, "close ends every inspector")


def submit(inspection, job_id, results):
    now = asyncio.get_running_loop().time()
    inspection.pools.submit(Job(job_id, b"/", b"", b"", now, lambda result: results.append((job_id, result))))


async def test_a_generation_takes_over_whole_and_the_old_one_is_killed(inspection, forkserver):
    old = list(forkserver.inspectors)
    assert [inspector.digest for inspector in old] == [OLD.ref.digest] * 2
    results = []
    submit(inspection, 1, results)
    await inspection.activate(NEW, OLD)
    assert inspection.active == NEW
    await eventually(lambda: not any(inspector.alive for inspector in old), "the old ones are dead")
    assert [inspector.digest for inspector in forkserver.living] == [NEW.ref.digest] * 2
    assert {status.generation for status in inspection.statuses()} == {2}
    await eventually(
        lambda: forkserver.dropped_all_but == {OLD.ref.digest, NEW.ref.digest}, "old texts are dropped"
    )
    primary = forkserver.living[0]
    assert [frame.id for frame in primary.frames()] == [1], "what waited is asked again"
    primary.say(pack_verdict(1, Code.PASSED))
    await eventually(lambda: results, "and answered")


async def test_a_stopped_inspector_is_killed_too(inspection, forkserver):
    for inspector in forkserver.inspectors:
        inspector.process.send_signal(signal.SIGSTOP)
    old = list(forkserver.inspectors)
    await inspection.activate(NEW, OLD)
    await eventually(lambda: not any(inspector.alive for inspector in old), "the old ones are dead")


async def refused(inspection, forkserver, on_fork, words):
    forkserver.on_fork = on_fork
    before = len(forkserver.inspectors)
    with pytest.raises(ActivationRefused) as fault:
        await inspection.activate(NEW, OLD)
    forkserver.on_fork = forkserver.make_ready
    assert fault.value.reason is RefusalReason.ACTIVATION
    assert words in fault.value.detail
    assert inspection.active == OLD
    await eventually(
        lambda: not any(each.alive for each in forkserver.inspectors[before:]), "the new ones are dead"
    )
    assert len(forkserver.living) == 2
    assert {status.generation for status in inspection.statuses()} == {1}


async def test_an_inspector_that_dies_before_it_is_ready_refuses_the_set(inspection, forkserver):
    await refused(inspection, forkserver, Inspector.die, "died before it was ready")


async def test_an_inspector_that_is_never_ready_refuses_the_set(inspection, forkserver, monkeypatch):
    monkeypatch.setattr("proxy.inspection.ACTIVATION_TIMEOUT_S", 0.05)
    await refused(inspection, forkserver, lambda inspector: None, "no inspector ready in 0.05 s")


async def test_an_inspector_that_dies_while_the_next_is_made_ready_refuses_the_set(inspection, forkserver):
    seen = []

    def second_kills_first(inspector):
        seen.append(inspector)
        forkserver.make_ready(inspector)
        if len(seen) == 2:
            seen[0].die()

    await refused(inspection, forkserver, second_kills_first, "died")


async def test_a_set_that_the_forkserver_refuses(inspection, forkserver):
    forkserver.refused = LoadRefused(NEW.ref.digest, RefusalReason.COMPILE, "rule a: position 1")
    with pytest.raises(ActivationRefused, match="rule a: position 1") as fault:
        await inspection.activate(NEW, OLD)
    assert fault.value.reason is RefusalReason.COMPILE
    assert inspection.active == OLD


async def test_after_a_refused_set_a_dead_inspector_is_still_replaced(inspection, forkserver):
    await refused(inspection, forkserver, Inspector.die, "died")
    forked = len(forkserver.inspectors)
    forkserver.living[0].die()
    await eventually(lambda: len(forkserver.inspectors) > forked, "another one is forked")
    await eventually(lambda: len(inspection.statuses()) == 2, "and in the pool")
    assert [inspector.digest for inspector in forkserver.living] == [OLD.ref.digest] * 2


async def test_an_activation_that_is_cancelled_leaves_no_process(inspection, forkserver):
    forkserver.on_fork = lambda inspector: None
    activation = asyncio.ensure_future(inspection.activate(NEW, OLD))
    await eventually(lambda: len(forkserver.inspectors) == 4, "its inspectors are forked")
    activation.cancel()
    with pytest.raises(asyncio.CancelledError):
        await activation
    await eventually(lambda: len(forkserver.living) == 2, "and ended again")
    assert inspection.active == OLD


async def test_a_replacement_that_fails_is_tried_again(inspection, forkserver, monkeypatch, capsys):
    monkeypatch.setattr("proxy.inspection.REFORK_PAUSE_S", 0.01)
    attempts = []

    def third_time_lucky(inspector):
        attempts.append(inspector)
        inspector.die() if len(attempts) < 3 else forkserver.make_ready(inspector)

    forkserver.on_fork = third_time_lucky
    forkserver.inspectors[1].die()
    await eventually(lambda: len(attempts) == 3 and len(inspection.statuses()) == 2, "the pool is whole again")
    assert [status.pool for status in inspection.statuses()] == [Pool.PRIMARY, Pool.STANDBY]
    assert len(attempts) == 3
    assert capsys.readouterr().err.count("standby inspector not forked: ") == 2


async def test_a_replacement_gives_way_to_a_new_generation(inspection, forkserver):
    forkserver.on_fork = lambda inspector: None
    forkserver.inspectors[0].die()
    await eventually(lambda: len(forkserver.inspectors) == 3, "a replacement is forked")
    forkserver.on_fork = forkserver.make_ready
    await inspection.activate(NEW, OLD)
    forkserver.make_ready(forkserver.inspectors[2])
    await eventually(lambda: not forkserver.inspectors[2].alive, "too late: it is ended")
    assert {inspector.digest for inspector in forkserver.living} == {NEW.ref.digest}
    assert len(inspection.statuses()) == 2


async def test_jobs_of_an_inspector_that_dies_go_to_the_other_pool(inspection, forkserver):
    results = []
    submit(inspection, 1, results)
    primary, standby = forkserver.inspectors
    await eventually(primary.frames, "the primary was asked")
    primary.die()
    frames = []
    await eventually(lambda: frames.extend(standby.frames()) or frames, "then the standby")
    standby.say(pack_verdict(1, Code.BLOCKED, (1,)))
    await eventually(lambda: results, "which answers")
    assert results[0][1].blocked
    assert results[0][1].pool is Pool.STANDBY


async def test_a_verdict_cut_in_two_is_one_verdict(inspection, forkserver):
    results = []
    submit(inspection, 1, results)
    wire = pack_verdict(1, Code.PASSED, (0, 1))
    forkserver.inspectors[0].say(wire[:5])
    await asyncio.sleep(0)
    assert results == []
    forkserver.inspectors[0].say(wire[5:])
    await eventually(lambda: results, "the verdict")
    assert results[0][1].hits == (0, 1)


async def test_hits_are_named_by_the_rules_of_whoever_found_them(forkserver):
    config = parse_args(["--origin", "http://127.0.0.1:1", "--standby", "last_known_good"])
    forkserver.rules = {NEW.ref.digest: ("new-0", "new-1"), OLD.ref.digest: ("old-0", "old-1")}
    inspection = Inspection(config, forkserver.handle)
    await inspection.activate(NEW, OLD)
    assert [inspector.digest for inspector in forkserver.inspectors] == [NEW.ref.digest, OLD.ref.digest]
    assert inspection.name_hits((1,), Pool.PRIMARY) == {"new-1": 1}
    assert inspection.name_hits((1, 0), Pool.STANDBY) == {"old-1": 1, "old-0": 1}
    inspection.close()


async def test_the_hottest_rule_is_the_one_held_longest(inspection, forkserver):
    assert inspection.hottest(10.0) is None
    primary, standby = forkserver.inspectors
    primary.slot.write(0, 9.0)
    standby.slot.write(1, 4.0)
    hot = inspection.hottest(10.0)
    assert (hot.rule, hot.held_s, hot.pool) == ("b", 6.0, Pool.STANDBY)
    standby.slot.clear()
    assert inspection.hottest(10.0).rule == "a"


async def test_a_forkserver_that_ends_is_said_at_once(inspection, forkserver):
    forkserver.end()
    for _ in range(2):
        async with asyncio.timeout(1):
            with pytest.raises(ActivationRefused, match="the forkserver has ended: restart this node"):
                await inspection.activate(NEW, OLD)
    assert inspection.active == OLD
    assert len(forkserver.living) == 2
