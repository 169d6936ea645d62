"""An edge node as a deployer sees it: a real WebSocket that records every order and answers as it was told."""

import asyncio

import aiohttp

from contract.messages import (
    PROTOCOL,
    Ack,
    Assignment,
    Counters,
    Down,
    Hello,
    HotRule,
    Ping,
    Pong,
    Refusal,
    Report,
    RuleSetRef,
    decode_down,
    encode,
)
from contract.topology import NODES_BY_NAME
from contract.vocabulary import Cohort, Pool, RefusalReason
from tests.fakes.waiting import eventually


class FakeNode:
    """`acks`, `refuses`, `pongs` can be changed at any time; `received` keeps all that came down."""

    def __init__(self, name: str, base_url: str) -> None:
        self.name = name
        self.acks = True
        self.pongs = True
        self.refuses: RefusalReason | None = None
        self.epoch = 0
        self.active: RuleSetRef | None = None
        self.kill_switch = False
        self.protocol = PROTOCOL
        self.received: list[Down] = []
        self.close_code: int | None = None
        self.close_reason = ""
        self.due = self.bad = 0
        self.seq = 0
        self.uptime_s = 100.0
        self._url = base_url + "/control"
        self._session: aiohttp.ClientSession | None = None
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._reader: asyncio.Task[None] | None = None

    @property
    def socket(self) -> aiohttp.ClientWebSocketResponse:
        assert self._socket is not None
        return self._socket

    @property
    def assignments(self) -> list[Assignment]:
        return [message for message in self.received if isinstance(message, Assignment)]

    @property
    def version(self) -> int | None:
        return None if self.active is None else self.active.version

    async def open(self) -> None:
        """Connect without a word."""
        self._session = aiohttp.ClientSession()
        self._socket = await self._session.ws_connect(self._url, max_msg_size=0)
        self._reader = asyncio.get_running_loop().create_task(self._read(self._socket))

    async def connect(self) -> "FakeNode":
        """Connect and say hello."""
        await self.open()
        spec = NODES_BY_NAME.get(self.name)
        await self.send(Hello(
            self.name,
            spec.pop if spec else "lab",
            spec.region if spec else "lab",
            spec.cohort if spec else Cohort.WORLD,
            "http://127.0.0.1:1", "http://127.0.0.1:2", self.protocol, self.epoch, self.active,
        ))  # fmt: skip
        return self

    async def send(self, message: Hello | Ack | Refusal | Report | Pong) -> None:
        await self.socket.send_bytes(encode(message))

    async def report(self, due: int = 0, bad: int = 0, hot: HotRule | None = None) -> None:
        """Report `due` more requests, `bad` of them failed."""
        self.due += due
        self.bad += bad
        self.seq += 1
        self.uptime_s += 0.25
        counters = Counters(self.due, self.bad, (0, 0), {}, {}, {})
        await self.send(Report(
            node=self.name, seq=self.seq, uptime_s=self.uptime_s, epoch=self.epoch, active=self.active,
            kill_switch=self.kill_switch, kill_switch_local=False, draining=False, counters=counters,
            in_flight=0, oldest_in_flight_s=0.0, inspector_cpu_s=0.0, cpu_quota=0.12, loop_lag_s=0.0,
            hottest=hot, inspectors=(), pid=4711,
        ))  # fmt: skip

    async def close(self) -> None:
        if self._session is None:
            return
        await self.socket.close()
        assert self._reader is not None
        await self._reader
        await self._session.close()
        self._session = None

    async def runs(self, version: int) -> None:
        await eventually(lambda: self.version == version, f"{self.name} runs v{version}")

    async def ended(self) -> None:
        await eventually(lambda: self.close_code is not None, f"the stream of {self.name} is ended")

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        while True:
            frame = await socket.receive()
            if frame.type is aiohttp.WSMsgType.CLOSE:
                self.close_code, self.close_reason = frame.data, frame.extra or ""
            if frame.type is not aiohttp.WSMsgType.BINARY:
                return
            message = decode_down(frame.data)
            self.received.append(message)
            if isinstance(message, Ping):
                if self.pongs:
                    await self.send(Pong(message.seq))
            elif self.refuses is not None:
                await self.send(Refusal(message.epoch, message.active.digest, self.refuses, "as told"))
            elif self.acks:
                self.obey(message)
                await self.send(Ack(message.epoch, message.active, message.kill_switch, took_s=0.05))

    def obey(self, assignment: Assignment) -> None:
        """Run what it says, without an ack."""
        self.epoch, self.active = assignment.epoch, assignment.active
        self.kill_switch = assignment.kill_switch


def burning(rule: str, held_s: float) -> HotRule:
    return HotRule(rule, held_s, Pool.PRIMARY)
