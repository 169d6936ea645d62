"""Hands the newest view to every open page. One that reads slowly skips views; none is ever queued up."""

import asyncio

import msgspec

from contract.record import View


class Feed:
    """`publish` from one loop, `after` from many."""

    def __init__(self) -> None:
        self._number = 0
        self._message = b""
        self._news = asyncio.Event()
        self._closed = False

    def publish(self, view: View) -> None:
        self._number += 1
        self._message = msgspec.json.encode(view)
        self._wake()

    def close(self) -> None:
        """Everyone who waits is let go."""
        self._closed = True
        self._wake()

    async def after(self, seen: int) -> tuple[int, bytes] | None:
        """(number, JSON of the view) of the newest view once it is newer than `seen`; None: closed."""
        while self._number <= seen and not self._closed:
            await self._news.wait()
        return None if self._closed else (self._number, self._message)

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()
