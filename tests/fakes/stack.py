"""A stack as the console sees it: admin and edge ports of nodes, a deployer, origins; real sockets, one process.

Everything that they answer can be changed while they run.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
from aiohttp import web

from contract.messages import FleetNode, FleetView, Hello, Report
from contract.record import JournalEntry
from contract.topology import NODES_BY_NAME, Endpoints, NodeEndpoint
from contract.vocabulary import EventKind
from tests.fakes.edge import V1, report


class FakeAdmin:
    """One node: its report, what its edge answers, and whether it answers at all."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.report: Report = report(name)
        self.edge_status = 200
        self.hangs = asyncio.Event()
        self.answers = True
        self.asked_hosts: list[str] = []

    async def status(self, _: web.Request) -> web.Response:
        if not self.answers:
            await self.hangs.wait()
        return _json(self.report)

    async def metrics(self, _: web.Request) -> web.Response:
        return web.Response(text="# metrics\n")

    async def page(self, request: web.Request) -> web.Response:
        self.asked_hosts.append(request.headers.get("Host", ""))
        return web.Response(status=self.edge_status, text="page")


class FakeStack:
    """`tell` adds to the deployer's journal."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.nodes = {name: FakeAdmin(name) for name in names}
        self.origin_requests = 0
        self.origin_errors = 0
        self._journal: list[tuple[float, EventKind, str, dict[str, object]]] = []
        self._news = asyncio.Event()
        self.endpoints: Endpoints | None = None

    def tell(self, kind: EventKind, text: str, age_s: float = 0.0, **data: object) -> None:
        at = asyncio.get_running_loop().time() - age_s
        self._journal.append((at, kind, text, data))
        self._news.set()
        self._news = asyncio.Event()

    async def journal(self, request: web.Request) -> web.Response:
        after, wait_s = int(request.query["after"]), float(request.query["wait_s"])
        if after >= len(self._journal):
            try:
                async with asyncio.timeout(wait_s):
                    await self._news.wait()
            except TimeoutError:
                return _json([])
        now = asyncio.get_running_loop().time()
        return _json(
            [
                JournalEntry(seq, now - at, kind, text, data)
                for seq, (at, kind, text, data) in enumerate(self._journal, start=1)
                if seq > after
            ]
        )

    async def fleet(self, _: web.Request) -> web.Response:
        nodes = tuple(_fleet_node(name) for name in self.nodes)
        return _json(FleetView(1, V1, V1, False, None, nodes))

    async def origins(self, _: web.Request) -> web.Response:
        return _json(
            {"requests": self.origin_requests, "errors": self.origin_errors, "sites": 60, "uptime_s": 9.0}
        )


@asynccontextmanager
async def fake_stack(*names: str) -> AsyncIterator[FakeStack]:
    """Answering on ports of 127.0.0.1 that the system chose."""
    stack = FakeStack(names)
    runners: list[web.AppRunner] = []

    async def serve(*routes: web.RouteDef) -> str:
        app = web.Application()
        app.add_routes(routes)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        runners.append(runner)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return "http://{}:{}".format(*runner.addresses[0][:2])

    nodes = []
    for node in stack.nodes.values():
        admin = await serve(web.get("/status", node.status), web.get("/metrics", node.metrics))
        nodes.append(NodeEndpoint(node.name, await serve(web.get("/", node.page)), admin))
    deployer = await serve(web.get("/api/v1/journal", stack.journal), web.get("/api/v1/fleet", stack.fleet))
    stack.endpoints = Endpoints(await serve(web.get("/-/status", stack.origins)), deployer, "", tuple(nodes))
    try:
        yield stack
    finally:
        for node in stack.nodes.values():
            node.hangs.set()
        stack._news.set()
        for runner in runners:
            await runner.cleanup()


def _fleet_node(name: str) -> FleetNode:
    spec = NODES_BY_NAME[name]
    hello = Hello(name, spec.pop, spec.region, spec.cohort, "", "", 1, 1, V1)
    return FleetNode(hello, True, 0.1, 1, V1, 1.25, None, None)


def _json(value: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), content_type="application/json")
