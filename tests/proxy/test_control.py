"""The control stream from the node's end: the agent alone on a real WebSocket, then whole nodes."""

import asyncio
import contextlib
import itertools
import json
import random
import signal
from pathlib import Path

import pytest

from contract.messages import (
    PROTOCOL,
    REPORT_PERIOD_S,
    Ack,
    Counters,
    Hello,
    Pong,
    Refusal,
    Report,
)
from contract.topology import NODES_BY_NAME
from contract.vocabulary import RefusalReason
from proxy.control import ControlAgent, backoff_s
from tests.fakes.waiting import eventually
from tests.proxy.fake_deployer import FakeDeployer, order, text_of
from tests.proxy.nodes import BAD, DANGEROUS, MANAGED, NodeProcess, ThreadedOrigin, until

GOOD_SET = text_of(Path(MANAGED).read_bytes(), 1)
BAD_SET = text_of(Path(BAD).read_bytes(), 2)
BROKEN_SET = text_of(b"name: x\nrules:\n  - {id: broken, pattern: '(a', targets: [uri]}\n", 3)


def test_the_back_off_grows_to_its_limit_and_is_spread():
    waits = [[backoff_s(failures, random.Random(seed)) for seed in range(200)] for failures in range(11)]
    assert [round(max(each), 1) for each in waits[:4]] == [0.1, 0.2, 0.4, 0.8]
    assert 4.5 < max(waits[-1]) <= 5.0
    assert all(min(each) < max(each) / 10 for each in waits)


# ---- the agent alone ----


class RecordingAssignee:
    """Confirms every order, once it may."""

    def __init__(self):
        self.heeded = []
        self.begun = []
        self.applied = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    def heed(self, assignment):
        self.heeded.append(assignment.epoch)

    async def apply(self, assignment):
        self.begun.append(assignment.epoch)
        await self.may_answer.wait()
        self.applied.append(assignment.epoch)
        return Ack(assignment.epoch, assignment.active, assignment.kill_switch, 0.0)


@pytest.fixture
async def deployer():
    fake = FakeDeployer()
    await fake.start()
    yield fake
    await fake.stop()


class Agent:
    def __init__(self, url):
        self.assignee = RecordingAssignee()
        self.seq = 0
        hello = Hello("ams-1", "ams", "europe", NODES_BY_NAME["ams-1"].cohort, "e", "a", PROTOCOL, 3, None)
        self.task = asyncio.ensure_future(
            ControlAgent(url, self.assignee, lambda: hello, self._report, random.Random(1)).run()
        )

    def _report(self):
        self.seq += 1
        counters = Counters(self.seq, 0, (0, 0), {}, {}, {})
        return Report(
            "ams-1", self.seq, 0.0, 3, None, False, False, False, counters, 0, 0.0, 0.0, 0.1, 0.0, None, (), 1
        )


@pytest.fixture
async def agent(deployer):
    running = Agent(deployer.url + "/")
    yield running
    running.task.cancel()
    await asyncio.wait([running.task])
    assert running.task.cancelled()


async def test_hello_comes_first_then_reports_at_their_period(agent, deployer):
    stream = await deployer.stream()
    await eventually(lambda: len(stream.reports) >= 5, "five reports")
    assert isinstance(stream.received[0][1], Hello)
    assert [report.seq for report in stream.reports[:5]] == [1, 2, 3, 4, 5]
    times = [at for at, message in stream.received if isinstance(message, Report)]
    assert times[4] - times[0] == pytest.approx(4 * REPORT_PERIOD_S, rel=0.2)


async def test_only_the_newest_of_the_orders_that_wait_is_carried_out(agent, deployer):
    stream = await deployer.stream()
    agent.assignee.may_answer.clear()
    await stream.send(order(5, GOOD_SET))
    await eventually(lambda: agent.assignee.begun, "the first is under way")
    for epoch in (6, 7):
        await stream.send(order(epoch, GOOD_SET))
    await eventually(lambda: agent.assignee.heeded == [5, 6, 7], "each is heeded as it comes")
    assert await stream.ping(1) < 0.25, "and the stream answers meanwhile"
    agent.assignee.may_answer.set()
    await eventually(lambda: len(stream.of(Ack)) == 2, "two answers")
    assert agent.assignee.applied == [5, 7]
    assert [ack.epoch for ack in stream.of(Ack)] == [5, 7]


async def test_an_order_under_way_outlives_the_stream_it_came_by(agent, deployer):
    stream = await deployer.stream()
    agent.assignee.may_answer.clear()
    await stream.send(order(5, GOOD_SET))
    await eventually(lambda: agent.assignee.heeded, "it has arrived")
    await stream.socket.close()
    again = await deployer.stream(1)
    agent.assignee.may_answer.set()
    await eventually(lambda: again.of(Ack), "its answer goes where the node now is")
    assert agent.assignee.applied == [5]


@pytest.mark.parametrize("frame", [b"", b"garbage", b"\x93\x01\x02\x03", b"\x81\xa4type\xa6report"])
async def test_a_frame_that_is_no_message_closes_the_stream_and_the_node_comes_back(agent, deployer, frame):
    stream = await deployer.stream()
    await stream.socket.send_bytes(frame)
    again = await deployer.stream(1)
    assert again.hello.node == "ams-1"
    assert stream.ended.is_set()
    assert stream.socket.close_code == 1003


async def test_a_frame_above_the_limit_closes_the_stream(agent, deployer):
    stream = await deployer.stream()
    with contextlib.suppress(ConnectionError):  # closed before it was sent
        await stream.socket.send_bytes(b"x" * (8 * 1024 * 1024 + 1))
    await deployer.stream(1)
    assert agent.assignee.applied == []


async def test_text_frames_are_passed_over(agent, deployer):
    stream = await deployer.stream()
    await stream.socket.send_str("hello?")
    await stream.ping(1)
    assert isinstance(await stream.answer(order(5, GOOD_SET)), Ack)
    assert len(deployer.streams) == 1


async def test_a_deployer_that_comes_back_is_found_again(agent, deployer):
    await deployer.stream()
    await deployer.stop()
    await deployer.start()
    assert (await deployer.stream(1)).hello.epoch == 3


async def test_a_deployer_that_accepts_and_says_nothing_is_given_up(monkeypatch):
    monkeypatch.setattr("proxy.control._HANDSHAKE_TIMEOUT_S", 0.05)
    attempts = 0

    async def silent(reader, writer):
        nonlocal attempts
        attempts += 1
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    agent = Agent(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    await eventually(lambda: attempts >= 2, "a second attempt")
    agent.task.cancel()
    await asyncio.wait([agent.task])
    server.close()


async def test_a_fault_of_the_node_s_own_is_not_reconnected_away(deployer):
    agent = Agent(deployer.url)
    agent._report = None  # the agent holds the bound method: break what that calls
    agent.seq = "no number"
    await asyncio.wait([agent.task], timeout=5)
    assert agent.task.done()
    assert isinstance(agent.task.exception(), ExceptionGroup)


# ---- whole nodes ----


@pytest.fixture(scope="module")
def origin():
    threaded = ThreadedOrigin()
    yield threaded
    threaded.stop()


@pytest.fixture
def start(origin, deployer, tmp_path):
    nodes = []

    def start(*flags):
        nodes.append(
            NodeProcess(
                "--origin",
                origin.url,
                "--deployer",
                deployer.url,
                "--state",
                str(tmp_path),
                *flags,
                env={"BADGATEWAY_BREAK_GLASS_TOKEN": "break-it"},
            )
        )
        return nodes[-1]

    yield start
    for node in nodes:
        node.kill()
        until(lambda node=node: not node.descendants, "no process is left")


def ask(node, path="/", body=None):
    return asyncio.to_thread(lambda: node.ask(path, body)[0])


@pytest.mark.slow
async def test_a_node_says_who_it_is_and_what_it_runs(start, deployer):
    node = start()
    stream = await deployer.stream()
    hello = stream.hello
    assert (hello.node, hello.pop, hello.region, hello.cohort) == ("ams-1", "ams", "europe", "hold_back")
    assert (hello.edge, hello.admin) == (node.ready.urls["edge"], node.ready.urls["admin"])
    assert (hello.protocol, hello.epoch, hello.active) == (PROTOCOL, 0, None)
    assert (await asyncio.to_thread(node.admin_ask, "/ready"))[0] == 503, "a set is coming"
    ack = await stream.answer(order(5, GOOD_SET, GOOD_SET))
    assert (ack.epoch, ack.active, ack.kill_switch) == (5, GOOD_SET.ref, False)
    assert 0 < ack.took_s < 5
    assert (await asyncio.to_thread(node.admin_ask, "/ready"))[0] == 200
    assert await ask(node, "/?q=<script>") == 403
    await eventually(lambda: stream.reports[-1].counters.due == 1, "the report counts it")
    report = stream.reports[-1]
    assert (report.epoch, report.active, report.counters.by_outcome) == (5, GOOD_SET.ref, {"blocked": 1})


@pytest.mark.slow
async def test_a_refused_order_changes_nothing(start, deployer):
    node = start()
    stream = await deployer.stream()
    assert isinstance(await stream.answer(order(5, GOOD_SET, GOOD_SET)), Ack)
    forged = text_of(GOOD_SET.yaml, 9)
    forged = type(forged)(BAD_SET.ref, forged.yaml)
    for refused, reason, words in [
        (order(4, BAD_SET), RefusalReason.STALE_EPOCH, "epoch 4 is below 5"),
        (order(6, BAD_SET, node="ams-2"), RefusalReason.WRONG_NODE, "ams-2"),
        (order(6, BAD_SET, sets=(forged,)), RefusalReason.DIGEST_MISMATCH, BAD_SET.ref.digest[:12]),
        (order(6, BAD_SET, sets=()), RefusalReason.UNKNOWN_DIGEST, BAD_SET.ref.digest[:12]),
        (order(6, BROKEN_SET), RefusalReason.COMPILE, "rule broken: pattern does not compile at position 0"),
        (order(7, text_of(b"name: [", 4)), RefusalReason.PARSE, "not valid YAML"),
    ]:
        answer = await stream.answer(refused)
        assert isinstance(answer, Refusal)
        assert (answer.epoch, answer.digest, answer.reason) == (refused.epoch, refused.active.digest, reason)
        assert words in answer.detail
        assert await ask(node, "/?q=<script>") == 403
    assert (await asyncio.to_thread(node.status)).active == GOOD_SET.ref
    assert len(deployer.streams) == 1


@pytest.mark.slow
async def test_after_a_refused_set_a_killed_inspector_is_still_replaced(start, deployer):
    node = start()
    stream = await deployer.stream()
    await stream.answer(order(5, GOOD_SET, GOOD_SET))
    await stream.answer(order(6, BROKEN_SET))
    before = {inspector.pid for inspector in stream.reports[-1].inspectors}
    for process in node.descendants:
        if process.pid in before:
            process.send_signal(signal.SIGKILL)
    await eventually(
        lambda: len({inspector.pid for inspector in stream.reports[-1].inspectors} - before) == 2, "two others"
    )
    assert await ask(node, "/?q=<script>") == 403


@pytest.mark.slow
async def test_push_outage_and_rollback(start, deployer):
    """The front answers its deployer while every inspector burns, and the rollback reaches it."""
    node = start("--cpu-quota", "0.12", "--inspection-deadline", "0.4")
    stream = await deployer.stream()
    await stream.answer(order(1, GOOD_SET, GOOD_SET))
    await stream.answer(order(2, BAD_SET, GOOD_SET))
    posts = [asyncio.ensure_future(ask(node, "/", DANGEROUS)) for _ in range(12)]
    await eventually(lambda: stream.reports[-1].hottest is not None, "the culprit is reported")
    assert [await stream.ping(seq) < 0.25 for seq in range(8)] == [True] * 8
    assert await asyncio.gather(*posts) == [502] * 12
    late = [asyncio.ensure_future(ask(node, "/", DANGEROUS)) for _ in range(4)]
    await eventually(lambda: stream.reports[-1].in_flight >= 4, "requests wait for a verdict")
    ack = await stream.answer(order(3, GOOD_SET, GOOD_SET))
    assert (ack.epoch, ack.active) == (3, GOOD_SET.ref)
    assert await asyncio.gather(*late) == [200] * 4, "what waited is asked of the new inspectors"
    assert await ask(node) == 200
    counters = [report.counters for report in stream.reports]
    assert all(one.due <= other.due and one.bad <= other.bad for one, other in itertools.pairwise(counters))
    assert [pong.seq for pong in stream.of(Pong)] == list(range(8))


@pytest.mark.slow
async def test_the_kill_switch_holds_at_once_while_inspectors_burn(start, deployer):
    node = start("--cpu-quota", "0.12", "--inspection-deadline", "0.4")
    stream = await deployer.stream()
    await stream.answer(order(1, BAD_SET))
    assert await ask(node, "/", DANGEROUS) == 502
    ack = await stream.answer(order(2, BAD_SET, kill_switch=True))
    assert ack.kill_switch
    assert ack.took_s < 0.25
    assert await ask(node, "/", DANGEROUS) == 200
    await eventually(lambda: stream.reports[-1].kill_switch, "and is reported")
    assert not stream.reports[-1].kill_switch_local


@pytest.mark.slow
async def test_without_its_deployer_a_node_starts_from_its_last_known_good(start, deployer):
    node = start()
    stream = await deployer.stream()
    await stream.answer(order(7, BAD_SET, GOOD_SET))
    order_on = json.dumps({"on": True, "by": "test"})
    headers = {"Authorization": "Bearer break-it"}
    assert (await asyncio.to_thread(node.admin_ask, "/kill-switch", order_on, headers))[0] == 200
    node.kill()
    await deployer.stop()
    node = start()
    report = await asyncio.to_thread(node.status)
    assert (report.active, report.epoch, report.kill_switch_local) == (GOOD_SET.ref, 7, True)
    assert (await asyncio.to_thread(node.admin_ask, "/ready"))[0] == 200
    await deployer.start()
    again = await deployer.stream(1)
    assert (again.hello.epoch, again.hello.active) == (7, GOOD_SET.ref)
    assert (await again.answer(order(6, BAD_SET))).reason is RefusalReason.STALE_EPOCH
    assert isinstance(await again.answer(order(7, GOOD_SET)), Ack)


@pytest.mark.slow
async def test_a_standby_pinned_to_the_last_known_good_keeps_the_node_serving(start, deployer):
    """The counterfactual: the push burns the primary alone."""
    node = start("--standby", "last_known_good", "--cpu-quota", "0.5", "--inspection-deadline", "0.8")
    stream = await deployer.stream()
    await stream.answer(order(1, BAD_SET, GOOD_SET))
    assert await asyncio.gather(*(ask(node, "/", DANGEROUS) for _ in range(8))) == [200] * 8
    report = await asyncio.to_thread(node.status)
    assert {each.pool: each.in_flight > 0 for each in report.inspectors} == {"primary": True, "standby": False}
