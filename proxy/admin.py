"""The node's own port: /status, /metrics, /ready, and the break-glass kill switch; aiohttp."""

import hmac
from typing import Protocol

import msgspec
from aiohttp import web

from contract.messages import KillSwitchRequest, Report


class AdminNode(Protocol):
    """What the admin port may ask of its node."""

    break_glass_token: str | None

    @property
    def ready(self) -> bool: ...
    def report(self) -> Report: ...
    def metrics(self) -> bytes: ...
    async def break_glass(self, on: bool) -> None: ...


def admin_app(node: AdminNode) -> web.Application:
    async def status(_: web.Request) -> web.Response:
        return web.Response(body=msgspec.json.encode(node.report()), content_type="application/json")

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=node.metrics(), headers={"Content-Type": "text/plain; version=0.0.4"})

    async def ready(_: web.Request) -> web.Response:
        return web.Response(text="ready\n") if node.ready else web.Response(status=503, text="not ready\n")

    async def kill_switch(request: web.Request) -> web.Response:
        """Works with the deployer dead; wins until released here."""
        offered = request.headers.get("Authorization", "").removeprefix("Bearer ")
        expected = node.break_glass_token
        if expected is None or not hmac.compare_digest(offered.encode(), expected.encode()):
            return web.Response(status=401, text="the node's own break-glass token is needed\n")
        try:
            order = msgspec.json.decode(await request.read(), type=KillSwitchRequest)
        except msgspec.DecodeError as fault:
            return web.Response(status=400, text=f"{fault}\n")
        await node.break_glass(order.on)
        return web.Response(text=f"inspection {'skipped' if order.on else 'on again'}\n")

    app = web.Application(client_max_size=4096)
    app.add_routes(
        [
            web.get("/status", status),
            web.get("/metrics", metrics),
            web.get("/ready", ready),
            web.post("/kill-switch", kill_switch),
        ]
    )
    return app
