"""The control stream from the node's end: hello, orders down, reports up, reconnect with jittered back-off.

It carries no request and needs no inspector, so it answers while every inspector burns.
"""

import asyncio
import contextlib
import random
from collections.abc import Callable

import aiohttp
import msgspec

from contract.messages import (
    MAX_CONTROL_BYTES,
    REPORT_PERIOD_S,
    Assignment,
    Hello,
    Ping,
    Pong,
    Report,
    Up,
    decode_down,
    encode,
)
from proxy.assignments import Assignee

_BACKOFF_FIRST_S = 0.1
_BACKOFF_MAX_S = 5.0
_HANDSHAKE_TIMEOUT_S = 3.0
#: A deployer that is stopped or cut off does not close its stream; this notices after one and a half of it.
_HEARTBEAT_S = 5.0


def backoff_s(failures: int, rng: random.Random) -> float:
    """Full jitter, so that a fleet that lost its deployer does not come back in one wave."""
    return rng.uniform(0, min(_BACKOFF_MAX_S, _BACKOFF_FIRST_S * 2.0**failures))


class ControlAgent:
    def __init__(
        self,
        url: str,
        assignee: Assignee,
        hello: Callable[[], Hello],
        report: Callable[[], Report],
        rng: random.Random,
    ) -> None:
        self._url = url.rstrip("/") + "/control"
        self._assignee = assignee
        self._hello = hello
        self._report = report
        self._rng = rng
        self._newest: Assignment | None = None
        self._arrived = asyncio.Event()
        self._stream: aiohttp.ClientWebSocketResponse | None = None

    async def run(self) -> None:
        """For the node's life."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_connected())
            group.create_task(self._obey())

    async def _keep_connected(self) -> None:
        failures = 0
        async with aiohttp.ClientSession() as session:
            while True:
                with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
                    async with asyncio.timeout(_HANDSHAKE_TIMEOUT_S):
                        stream = await session.ws_connect(
                            self._url, max_msg_size=MAX_CONTROL_BYTES, heartbeat=_HEARTBEAT_S
                        )
                    async with stream:
                        failures = 0
                        await self._converse(stream)
                await asyncio.sleep(backoff_s(failures, self._rng))
                failures = min(failures + 1, 10)

    async def _converse(self, stream: aiohttp.ClientWebSocketResponse) -> None:
        """Until the stream ends, whoever ends it."""
        await self._send(stream, self._hello())
        self._stream = stream
        works = [asyncio.ensure_future(work) for work in (self._listen(stream), self._report_for_ever(stream))]
        try:
            done, _ = await asyncio.wait(works, return_when=asyncio.FIRST_COMPLETED)
            for work in done:
                work.result()  # raises what ended it
        finally:
            self._stream = None
            for work in works:
                work.cancel()
            await asyncio.gather(*works, return_exceptions=True)

    async def _listen(self, stream: aiohttp.ClientWebSocketResponse) -> None:
        async for frame in stream:
            if frame.type is not aiohttp.WSMsgType.BINARY:
                continue
            try:
                message = decode_down(frame.data)
            except msgspec.DecodeError:
                await stream.close(code=aiohttp.WSCloseCode.UNSUPPORTED_DATA, message=b"not a control message")
                return
            if isinstance(message, Ping):
                await self._send(stream, Pong(message.seq))
            else:
                self._assignee.heed(message)
                self._newest = message
                self._arrived.set()

    async def _obey(self) -> None:
        """An order that has arrived is carried out also when its stream ends; only its answer is lost then, and
        the deployer sends the order again."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            assignment, self._newest = self._newest, None
            if assignment is None:
                continue
            answer = await self._assignee.apply(assignment)
            if self._stream is not None:
                with contextlib.suppress(aiohttp.ClientError, OSError):
                    await self._send(self._stream, answer)

    async def _report_for_ever(self, stream: aiohttp.ClientWebSocketResponse) -> None:
        while True:
            await self._send(stream, self._report())
            await asyncio.sleep(REPORT_PERIOD_S)

    async def _send(self, stream: aiohttp.ClientWebSocketResponse, message: Up) -> None:
        await stream.send_bytes(encode(message))
