"""The drill's line to the console: begin and end the run's record, tell what only the runner knows, look."""

import aiohttp
import msgspec

from contract.record import RunBegin, RunEnd, Told, View
from contract.vocabulary import EventKind

_TIMEOUT = aiohttp.ClientTimeout(total=5.0)


class ObserverLost(Exception):
    """The console does not answer: the run cannot be recorded. One line."""


class Observer:
    """`async with Observer(url) as observer`. Every method raises ObserverLost."""

    def __init__(self, url: str) -> None:
        self.url = url

    async def __aenter__(self) -> "Observer":
        self._session = aiohttp.ClientSession(timeout=_TIMEOUT)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def begin(self, begin: RunBegin) -> None:
        await self._post("/api/v1/run", begin)

    async def end(self, end: RunEnd) -> None:
        await self._post("/api/v1/run/end", end)

    async def tell(self, kind: EventKind, text: str, **data: object) -> None:
        await self._post("/api/v1/events", Told(kind, "drill", text, data))

    async def view(self) -> View:
        try:
            async with self._session.get(f"{self.url}/api/v1/view") as answer:
                return msgspec.json.decode(await answer.read(), type=View)
        except (aiohttp.ClientError, TimeoutError, msgspec.DecodeError) as fault:
            raise ObserverLost(f"the console at {self.url} does not answer: {fault}") from None

    async def _post(self, path: str, body: msgspec.Struct) -> None:
        try:
            async with self._session.post(f"{self.url}{path}", data=msgspec.json.encode(body)) as answer:
                if answer.status >= 400:
                    raise ObserverLost(f"the console refused {path}: {(await answer.text()).strip()}")
        except (aiohttp.ClientError, TimeoutError) as fault:
            raise ObserverLost(f"the console at {self.url} does not answer: {fault}") from None
