"""The control streams: one WebSocket a node, opened by the node. Orders go down, acks and reports come up.

Level-triggered: a stream's first answer is the whole assignment, and only the newest waits to be sent. A frame
that cannot be used ends its own stream, with the reason in the close frame, and changes nothing else. What the
messages mean is the listener's business (the driver).
"""

import asyncio
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Protocol

import msgspec
from aiohttp import WSCloseCode, WSMsgType, web

from contract.messages import (
    MAX_CONTROL_BYTES,
    PROTOCOL,
    Ack,
    Assignment,
    FleetNode,
    Hello,
    Ping,
    Pong,
    Refusal,
    Report,
    RuleSetRef,
    Up,
    decode_up,
    encode,
)
from contract.topology import NODES_BY_NAME
from contract.vocabulary import Cohort

#: A stream that says nothing has this long for its hello.
HELLO_WITHIN_S = 5.0
PING_PERIOD_S = 1.0
#: Nothing heard for this long: the connection is half-open, and the node will have to open another.
DEAD_AFTER_S = 5.0
#: Anyone who can reach the port can say hello, until enrolment needs a token.
MAX_NODES = 1_024
#: What a close frame carries at most, in bytes.
_MAX_REASON = 120
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Listener(Protocol):
    """Who understands the messages. Called from the event loop; must not block."""

    def node_up(self, hello: Hello) -> Assignment | None: ...

    def node_away(self, node: str, why: str) -> None: ...

    def acked(self, node: str, ack: Ack) -> None: ...

    def refused(self, node: str, refusal: Refusal) -> None: ...

    def reported(self, node: str, report: Report) -> None: ...


class _Unusable(Exception):
    """A frame that ends its stream; the message is the reason."""


class Stream:
    """The sending side of one WebSocket: the newest assignment, a ping, or a close, in one task of its own, so
    that a slow node delays nobody else."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self._socket = socket
        self._wake = asyncio.Event()
        self._assignment: Assignment | None = None
        self._ping: Ping | None = None
        self._close: tuple[int, str] | None = None

    def order(self, assignment: Assignment) -> None:
        self._assignment = assignment
        self._wake.set()

    def ping(self, ping: Ping) -> None:
        self._ping = ping
        self._wake.set()

    def end(self, code: int, reason: str) -> None:
        """The first reason stands."""
        self._close = self._close or (code, reason)
        self._wake.set()

    @property
    def ending(self) -> bool:
        return self._close is not None

    async def send_forever(self) -> None:
        """Until the stream is closed by either side."""
        with suppress(ConnectionError):
            while self._close is None:
                await self._wake.wait()
                self._wake.clear()
                assignment, self._assignment = self._assignment, None
                ping, self._ping = self._ping, None
                for message in (assignment, ping):
                    if message is not None:
                        await self._socket.send_bytes(encode(message))
            code, reason = self._close
            await self._socket.close(code=code, message=reason.encode()[:_MAX_REASON])


class Node:
    """One node as far as it is known. `report_at`: when the last report arrived, or since when none has."""

    def __init__(self, name: str, now: float) -> None:
        self.name = name
        self.hello: Hello | None = None
        self.stream: Stream | None = None
        self.heard_at = now
        self.report_at = now
        self.report: Report | None = None
        self.confirmed_epoch = 0
        self.active: RuleSetRef | None = None
        self.control_ms: float | None = None
        self.last_refusal: Refusal | None = None
        self.ping_seq = 0
        self.ping_sent_at: float | None = None
        self.ping_answered = True

    def view(self, now: float) -> FleetNode:
        return FleetNode(
            hello=self.hello or _never_heard(self.name),
            connected=self.stream is not None,
            silent_s=round(now - self.report_at, 3),
            confirmed_epoch=self.confirmed_epoch,
            active=self.active,
            control_ms=self._control_ms(now),
            report=self.report,
            last_refusal=self.last_refusal,
        )

    def _control_ms(self, now: float) -> float | None:
        """The last round trip, or the age of a ping that has been under way for longer: silence is not speed."""
        if self.ping_answered or self.ping_sent_at is None or self.stream is None:
            return self.control_ms
        return max(self.control_ms or 0.0, round((now - self.ping_sent_at) * 1000, 3))


def _never_heard(name: str) -> Hello:
    """An expected node that has not come yet: its place by the topology, protocol 0, no address."""
    spec = NODES_BY_NAME.get(name)
    if spec is None:
        return Hello(name, "", "", Cohort.WORLD, "", "", protocol=0, epoch=0, active=None)
    return Hello(name, spec.pop, spec.region, spec.cohort, "", "", protocol=0, epoch=0, active=None)


class Fleet:
    """All enrolled nodes and their streams. `attach` a listener before the first stream is served."""

    def __init__(self, expected: Iterable[str], now: Callable[[], float]) -> None:
        self._now = now
        self.nodes: dict[str, Node] = {name: Node(name, now()) for name in expected}
        self._listener: Listener | None = None

    def attach(self, listener: Listener) -> None:
        self._listener = listener

    @property
    def listener(self) -> Listener:
        if self._listener is None:
            raise AssertionError("no listener is attached")
        return self._listener

    @property
    def away(self) -> tuple[str, ...]:
        return tuple(node.name for node in self.nodes.values() if node.stream is None)

    def order(self, assignment_for: Callable[[str], Assignment | None]) -> None:
        """Hand every connected node its newest assignment; the others get theirs when they come back."""
        for node in self.nodes.values():
            if node.stream is not None and (assignment := assignment_for(node.name)) is not None:
                node.stream.order(assignment)

    def tick(self, now: float) -> None:
        """Ping every node once a PING_PERIOD_S, one at a time; end streams that have been dead for too long."""
        for node in self.nodes.values():
            if node.stream is None:
                continue
            if now - node.heard_at > DEAD_AFTER_S:
                self._away(node, node.stream, f"nothing heard for {DEAD_AFTER_S:g} s")
            elif node.ping_sent_at is None or (node.ping_answered and now - node.ping_sent_at >= PING_PERIOD_S):
                node.ping_seq += 1
                node.ping_sent_at, node.ping_answered = now, False
                node.stream.ping(Ping(node.ping_seq))

    def close(self) -> None:
        """End every stream, because the deployer goes."""
        for node in self.nodes.values():
            if node.stream is not None:
                node.stream.end(WSCloseCode.GOING_AWAY, "the deployer is stopping")

    # ---- One stream ----

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """`GET /control`: one node's stream, from its hello to its end."""
        socket = web.WebSocketResponse(max_msg_size=MAX_CONTROL_BYTES, compress=False, timeout=1.0)
        await socket.prepare(request)
        stream = Stream(socket)
        async with asyncio.TaskGroup() as tasks:
            sender = tasks.create_task(stream.send_forever())
            await self._follow(socket, stream)
            if not stream.ending:
                sender.cancel()
        return socket

    async def _follow(self, socket: web.WebSocketResponse, stream: Stream) -> None:
        node: Node | None = None
        why = "its stream was closed"
        try:
            async with asyncio.timeout(HELLO_WITHIN_S):
                first = await _receive(socket)
            if first is None:
                return
            node = self._welcome(first, stream)
            while (message := await _receive(socket)) is not None:
                self._take(node, message)
        except TimeoutError:
            stream.end(WSCloseCode.POLICY_VIOLATION, f"no hello within {HELLO_WITHIN_S:g} s")
        except _Unusable as fault:
            why = f"its stream was ended: {fault}"
            stream.end(WSCloseCode.POLICY_VIOLATION, str(fault))
        finally:
            if node is not None:
                self._away(node, stream, why)

    def _welcome(self, first: Up, stream: Stream) -> Node:
        """A newer stream of the same node replaces the older one."""
        if not isinstance(first, Hello):
            raise _Unusable(f"the first message must be a hello, not a {type(first).__name__.lower()}")
        if not _NAME.fullmatch(first.node):
            raise _Unusable("a node's name is 1-64 of A-Z a-z 0-9 . _ -")
        if first.protocol > PROTOCOL:
            raise _Unusable(f"protocol {first.protocol} is newer than this deployer's {PROTOCOL}")
        if first.node not in self.nodes and len(self.nodes) >= MAX_NODES:
            raise _Unusable(f"{MAX_NODES} nodes are enrolled already")
        now = self._now()
        node = self.nodes.setdefault(first.node, Node(first.node, now))
        if node.stream is not None:
            node.stream.end(WSCloseCode.POLICY_VIOLATION, "replaced by a newer stream of the same node")
        node.hello, node.stream, node.active = first, stream, first.active
        node.heard_at = node.report_at = now
        node.ping_sent_at, node.ping_answered = None, True
        assignment = self.listener.node_up(first)
        if assignment is not None:
            stream.order(assignment)
        return node

    def _take(self, node: Node, message: Up) -> None:
        now = node.heard_at = self._now()
        match message:
            case Report():
                if message.node != node.name:
                    raise _Unusable(f"a report of {message.node} on the stream of {node.name}")
                node.report, node.report_at, node.active = message, now, message.active
                self.listener.reported(node.name, message)
            case Ack():
                node.confirmed_epoch = max(node.confirmed_epoch, message.epoch)
                node.active = message.active
                self.listener.acked(node.name, message)
            case Refusal():
                node.last_refusal = message
                self.listener.refused(node.name, message)
            case Pong():
                if message.seq == node.ping_seq and node.ping_sent_at is not None:
                    node.ping_answered = True
                    node.control_ms = round((now - node.ping_sent_at) * 1000, 3)
            case Hello():
                raise _Unusable("a second hello on one stream")

    def _away(self, node: Node, stream: Stream, why: str) -> None:
        if node.stream is not stream:
            return  # replaced, or already said
        node.stream = None
        stream.end(WSCloseCode.GOING_AWAY, why)
        self.listener.node_away(node.name, why)


async def _receive(socket: web.WebSocketResponse) -> Up | None:
    """The next message; None at the end. Raises _Unusable."""
    frame = await socket.receive()
    if frame.type is WSMsgType.BINARY:
        try:
            message: Up = decode_up(frame.data)
            return message
        except msgspec.MsgspecError as fault:
            raise _Unusable(f"not a message of the control stream: {fault}") from None
    if frame.type is WSMsgType.TEXT:
        raise _Unusable("text frames are not used here")
    if frame.type is WSMsgType.ERROR:
        raise _Unusable(f"not a usable frame: {frame.data}")
    return None
