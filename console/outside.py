"""Asks as a customer would, and asks the origins past the edge: who is to blame is seen from both.

In: a page through one node after another; the origins' `GET /-/status`. Out: `ProbeSample`s, `OriginSample`s.
"""

import itertools
import time

import aiohttp
import msgspec

from console.fetch import NO_ANSWER, get, get_json
from console.run import Run
from contract.record import OriginSample, ProbeSample
from contract.topology import NodeEndpoint

#: As long as a patient customer waits.
PROBE_TIMEOUT_S = 3.0
ORIGINS_TIMEOUT_S = 1.0


class OriginsStatus(msgspec.Struct, frozen=True):
    """The part of the origins' status that is read here; counts since their start."""

    requests: int
    errors: int
    sites: int
    uptime_s: float


class Probe:
    """One page through the nodes in turn."""

    def __init__(
        self, run: Run, session: aiohttp.ClientSession, nodes: tuple[NodeEndpoint, ...], host: str
    ) -> None:
        self._run = run
        self._session = session
        self._turn = itertools.cycle(nodes)
        self._host = host

    async def fetch(self) -> None:
        node = next(self._turn, None)
        if node is None:
            return
        begun = time.monotonic()
        headers = {"Host": self._host, "User-Agent": "badgateway-probe", "Accept": "text/html"}
        try:
            status, _, ms = await get(self._session, f"{node.edge}/", PROBE_TIMEOUT_S, headers)
        except NO_ANSWER:
            status, ms = 0, (time.monotonic() - begun) * 1000
        self._run.add(ProbeSample(round(self._run.now_t(), 3), node.name, self._host, status, round(ms, 3)))


class OriginWatch:
    """The origins' own counters, as differences."""

    def __init__(self, run: Run, session: aiohttp.ClientSession, origins: str) -> None:
        self._run = run
        self._session = session
        self._url = f"{origins}/-/status"
        self._before: OriginsStatus | None = None

    async def ask(self) -> None:
        try:
            status, ms = await get_json(self._session, self._url, ORIGINS_TIMEOUT_S, OriginsStatus)
        except NO_ANSWER:
            self._run.add(OriginSample(round(self._run.now_t(), 3), False, None, 0, 0, 0))
            return
        requests, errors = grown(self._before, status)
        self._before = status
        t = round(self._run.now_t(), 3)
        self._run.add(OriginSample(t, True, round(ms, 3), requests, errors, status.sites))


def grown(before: OriginsStatus | None, after: OriginsStatus) -> tuple[int, int]:
    """(requests, errors) since `before`, through a restart of the origins."""
    if before is None:
        return 0, 0
    if after.uptime_s < before.uptime_s or after.requests < before.requests:
        return after.requests, after.errors
    return after.requests - before.requests, max(after.errors - before.errors, 0)
