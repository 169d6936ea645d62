"""A deployer as a node sees it: a real WebSocket that records what comes up and sends what the test says."""

import asyncio
import contextlib

from aiohttp import WSMsgType, web

from contract.messages import (
    Ack,
    Assignment,
    Hello,
    Ping,
    Pong,
    Refusal,
    Report,
    RuleSetRef,
    RuleSetText,
    decode_up,
    encode,
)
from rules.parse import digest_of
from tests.fakes.waiting import eventually


def text_of(yaml, version):
    return RuleSetText(RuleSetRef(digest_of(yaml), version), yaml)


def order(epoch, active, good=None, sets=None, kill_switch=False, node="ams-1", taus_s=(0.25, 1.0)):
    sets = (
        sets if sets is not None else tuple({text.ref.digest: text for text in (active, good) if text}.values())
    )
    return Assignment(node, epoch, active.ref, good and good.ref, kill_switch, sets, taus_s)


class Stream:
    """One connection of a node. `received`: (loop time, message)."""

    def __init__(self, socket):
        self.socket = socket
        self.received = []
        self.ended = asyncio.Event()

    def of(self, kind):
        return [message for _, message in self.received if isinstance(message, kind)]

    async def send(self, message):
        await self.socket.send_bytes(encode(message))

    async def answer(self, message):
        """Send an order; its Ack or Refusal."""
        before = len(self.of(Ack | Refusal))
        await self.send(message)
        await eventually(lambda: len(self.of(Ack | Refusal)) > before, f"an answer to epoch {message.epoch}", 15)
        return self.of(Ack | Refusal)[before]

    async def ping(self, seq):
        """Seconds until the Pong."""
        started = asyncio.get_running_loop().time()
        await self.send(Ping(seq))
        await eventually(lambda: any(pong.seq == seq for pong in self.of(Pong)), f"pong {seq}")
        return asyncio.get_running_loop().time() - started

    @property
    def hello(self):
        (hello,) = self.of(Hello)
        return hello

    @property
    def reports(self):
        return self.of(Report)


class FakeDeployer:
    """`streams`: every connection so far. `first_word`, if set, is sent on each new one."""

    def __init__(self):
        self.streams = []
        self.first_word = None
        self._runner = None
        self.port = 0

    async def start(self):
        app = web.Application()
        app.router.add_get("/control", self._control)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        self.port = self._runner.addresses[0][1]

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    async def _control(self, request):
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        stream = Stream(socket)
        self.streams.append(stream)
        if self.first_word is not None:
            await stream.send(self.first_word)
        async for frame in socket:
            assert frame.type is WSMsgType.BINARY
            stream.received.append((asyncio.get_running_loop().time(), decode_up(frame.data)))
        stream.ended.set()
        return socket

    async def stream(self, number=0):
        """The node's `number`-th connection, once its first message is there."""
        await eventually(
            lambda: len(self.streams) > number and self.streams[number].received, f"stream {number}", 15
        )
        return self.streams[number]

    async def stop(self):
        for stream in self.streams:
            with contextlib.suppress(ConnectionError):
                await stream.socket.close()
        await self._runner.cleanup()
