"""Control streams on real sockets: orders down at once, and a bad stream harms only itself."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any

import pytest

from contract.messages import MAX_CONTROL_BYTES, PROTOCOL, Ack, Assignment, Ping, RuleSetRef, encode
from contract.vocabulary import EventKind, RefusalReason
from tests.fakes.node import FakeNode
from tests.fakes.waiting import eventually

Serve = Callable[..., AbstractAsyncContextManager[Any]]


@pytest.fixture
async def lab(serve: Serve) -> AsyncIterator[Any]:
    async with serve("ams-1", "iad-1") as running:
        yield running


def _view(lab: Any, name: str) -> Any:
    return next(node for node in lab.driver.fleet_view().nodes if node.hello.node == name)


async def test_a_hello_is_answered_with_the_whole_assignment(lab: Any) -> None:
    await lab.join("ams-1")
    (order,) = lab.nodes["ams-1"].assignments
    assert isinstance(order, Assignment)
    assert (order.node, order.epoch, order.active.version, order.kill_switch) == ("ams-1", 1, 1, False)
    assert order.last_known_good == order.active
    assert [text.ref for text in order.sets] == [order.active]
    view = _view(lab, "ams-1")
    assert (view.connected, view.confirmed_epoch, view.active) == (True, 1, order.active)
    assert view.hello.edge == "http://127.0.0.1:1"


async def test_an_expected_node_that_never_came_is_shown_as_that(lab: Any) -> None:
    view = _view(lab, "iad-1")
    assert (view.connected, view.confirmed_epoch, view.report, view.control_ms) == (False, 0, None, None)
    assert (view.hello.region, view.hello.protocol) == ("us_east", 0)


async def test_a_node_that_was_not_expected_is_enrolled(lab: Any) -> None:
    await lab.join("lab-9")
    assert [node.hello.node for node in lab.driver.fleet_view().nodes] == ["ams-1", "iad-1", "lab-9"]


async def test_pings_measure_the_round_trip_once_a_second(lab: Any) -> None:
    await lab.join("ams-1")
    node = lab.nodes["ams-1"]
    for pings in ([1], [1, 2], [1, 2, 3]):
        for _ in range(4):  # 1 s
            await lab.batch()
        await eventually(
            lambda pings=pings: [one.seq for one in node.received if isinstance(one, Ping)] == pings, str(pings)
        )
        await eventually(lambda: lab.driver.fleet.nodes["ams-1"].ping_answered, "a round trip")
    assert _view(lab, "ams-1").control_ms is not None


async def test_an_unanswered_ping_is_shown_by_its_age(lab: Any) -> None:
    await lab.join("ams-1")
    lab.nodes["ams-1"].pongs = False
    for _ in range(8):  # the first ping leaves with the first of them
        await lab.batch()
    assert (_view(lab, "ams-1").control_ms or 0) >= 1500
    await eventually(lambda: any(isinstance(one, Ping) for one in lab.nodes["ams-1"].received), "a ping")
    assert len([one for one in lab.nodes["ams-1"].received if isinstance(one, Ping)]) == 1


async def test_a_silent_node_is_shown_and_a_dead_stream_is_ended(lab: Any) -> None:
    await lab.join("ams-1")
    lab.clock.advance(1.5)
    assert _view(lab, "ams-1").silent_s == 1.5
    lab.nodes["ams-1"].pongs = False
    lab.clock.advance(4.0)
    await lab.driver.tick()
    await lab.nodes["ams-1"].ended()
    assert "nothing heard for 5 s" in lab.nodes["ams-1"].close_reason
    assert not _view(lab, "ams-1").connected
    (down,) = await lab.journal(EventKind.NODE_DOWN)
    assert down.data["node"] == "ams-1"


async def test_a_newer_stream_replaces_the_older(lab: Any) -> None:
    """Without a node_down: the node is there."""
    await lab.join("ams-1")
    older = lab.nodes["ams-1"]
    await lab.join("ams-1")
    await older.ended()
    assert "replaced by a newer stream" in older.close_reason
    assert _view(lab, "ams-1").connected
    assert await lab.journal(EventKind.NODE_DOWN) == []
    assert len(await lab.journal(EventKind.NODE_UP)) == 2
    await lab.client.kill_switch(True, "tester")
    await lab.confirmed("ams-1")
    assert lab.nodes["ams-1"].kill_switch
    assert not older.kill_switch


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (b"\xc1garbage", "not a message of the control stream"),
        (encode({"type": "hello", "node": "x"}), "not a message of the control stream"),
        (encode(Ping(1)), "not a message of the control stream"),
        (encode(Ack(1, RuleSetRef("d", 1), False, 0.1)), "the first message must be a hello, not a ack"),
        ("a text frame", "text frames are not used here"),
    ],
)
async def test_a_bad_frame_ends_its_own_stream_only(lab: Any, frame: bytes | str, reason: str) -> None:
    await lab.join("ams-1")
    odd = FakeNode("iad-1", lab.base_url)
    await odd.open()
    try:
        if isinstance(frame, str):
            await odd.socket.send_str(frame)
        else:
            await odd.socket.send_bytes(frame)
        await odd.ended()
    finally:
        await odd.close()
    assert reason in odd.close_reason
    assert not _view(lab, "iad-1").connected
    await lab.client.kill_switch(True, "tester")
    await lab.confirmed("ams-1")


@pytest.mark.parametrize("what", ["name", "protocol", "second hello", "foreign report"])
async def test_unusable_messages_end_the_stream_with_a_reason(lab: Any, what: str) -> None:
    node = FakeNode("bad name!" if what == "name" else "ams-1", lab.base_url)
    if what == "protocol":
        node.protocol = PROTOCOL + 1
    try:
        await node.connect()
        if what == "second hello":
            await node.socket.send_bytes(encode(_view(lab, "iad-1").hello))
        elif what == "foreign report":
            node.name = "iad-1"
            await node.report()
        await node.ended()
        reason = {
            "name": "1-64 of", "protocol": "is newer than this deployer's", "second hello": "a second hello",
            "foreign report": "a report of iad-1 on the stream of ams-1",
        }[what]  # fmt: skip
        assert reason in node.close_reason
        assert node.close_code == 1008
        await eventually(lambda: not _view(lab, "ams-1").connected, "it counts as away")
    finally:
        await node.close()


async def test_a_message_above_the_limit_is_not_taken(lab: Any) -> None:
    await lab.join("ams-1", "iad-1")
    # The deployer hangs up while the rest is still being sent.
    with suppress(ConnectionError):
        await lab.nodes["ams-1"].socket.send_bytes(b"x" * (MAX_CONTROL_BYTES + 1))
    await eventually(lambda: not _view(lab, "ams-1").connected, "it counts as away")
    assert _view(lab, "iad-1").connected


async def test_a_refusal_is_kept_and_journalled(lab: Any) -> None:
    await lab.join("ams-1", "iad-1")
    lab.nodes["iad-1"].refuses = RefusalReason.COMPILE
    await lab.ship()
    await lab.state("holding")
    assert _view(lab, "iad-1").last_refusal.reason is RefusalReason.COMPILE
    (refusal,) = await lab.journal(EventKind.REFUSAL)
    assert (refusal.data["node"], refusal.data["reason"], refusal.data["detail"]) == (
        "iad-1",
        "compile",
        "as told",
    )
    assert lab.nodes["iad-1"].version == 1
    assert lab.driver.rollout.waiting_for == ("iad-1",)


async def test_reports_stand_for_an_ack_that_was_lost(lab: Any) -> None:
    await lab.join("ams-1", "iad-1")
    lab.nodes["iad-1"].acks = False
    await lab.ship()
    await eventually(lambda: len(lab.nodes["iad-1"].assignments) == 2, "the order")
    lab.nodes["iad-1"].obey(lab.nodes["iad-1"].assignments[-1])
    await lab.batch()
    assert lab.driver.rollout.state == "staging"
    await lab.batch()
    assert lab.driver.rollout.state == "baking"
    ack = (await lab.journal(EventKind.ACK))[-1]
    assert (ack.data["node"], ack.data["took_s"], ack.data["phase"]) == ("iad-1", None, "push")


async def test_a_node_with_a_higher_epoch_is_overtaken(lab: Any) -> None:
    """It was under another deployer, or ours lost its store: all orders go on above it."""
    await lab.join("iad-1")
    ahead = lab.nodes["ams-1"] = FakeNode("ams-1", lab.base_url)
    ahead.epoch = 70
    lab.stack.push_async_callback(ahead.close)
    await ahead.connect()
    await eventually(lambda: ahead.epoch == 71, "an order above its epoch")
    await eventually(lambda: lab.nodes["iad-1"].epoch == 71, "the same order to the others")
    assert [order.epoch for order in ahead.assignments] == [71]


async def test_a_slow_node_holds_up_nobody(lab: Any) -> None:
    """One node does not read its socket; the others get their orders all the same."""
    await lab.join("ams-1", "iad-1")
    slow = lab.nodes["iad-1"]
    assert slow._reader is not None
    slow._reader.cancel()
    await asyncio.gather(slow._reader, return_exceptions=True)
    slow._reader = asyncio.get_running_loop().create_task(asyncio.sleep(0))
    for on in (True, False, True, False, True):
        await lab.client.kill_switch(on, "tester")
        await lab.confirmed("ams-1")
    assert lab.nodes["ams-1"].kill_switch
