"""The deployer's HTTP routes, as `contract.messages` lists them: decode, call, encode. No decisions.

Every answer of 400 and above is an `ApiError`. A page in somebody's browser may read nothing and order
nothing: requests that carry an Origin are refused.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec
from aiohttp import hdrs, web

from contract.messages import (
    MAX_CONTROL_BYTES,
    ApiError,
    KillSwitchRequest,
    RollbackRequest,
    RolloutRequest,
    VerbRequest,
)
from contract.record import JournalEntry
from deployer.driver import Driver
from deployer.faults import BadRequest, Fault, Invalid
from deployer.fleet import Fleet
from deployer.metrics import render
from deployer.operations import Operations
from deployer.store import Kept, Store

#: The longest that a reader of the journal may be kept waiting.
MAX_WAIT_S = 30.0

_log = logging.getLogger("deployer")
_T = TypeVar("_T")
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Api:
    """One method a route; `application()` is the list of them."""

    def __init__(self, driver: Driver, operations: Operations, fleet: Fleet) -> None:
        self._driver = driver
        self._operations = operations
        self._fleet = fleet

    def application(self) -> web.Application:
        app = web.Application(middlewares=[_answer_faults, _keep_browsers_out], client_max_size=MAX_CONTROL_BYTES)
        app.add_routes([
            web.get("/control", self._fleet.serve),
            web.get("/healthz", self.healthz),
            web.get("/metrics", self.metrics),
            web.get("/api/v1/rulesets", self.rule_sets),
            web.post("/api/v1/rulesets", self.put_rule_set),
            web.get("/api/v1/rollouts", self.rollouts),
            web.post("/api/v1/rollouts", self.start_rollout),
            web.post("/api/v1/rollouts/{id}/{verb}", self.operate),
            web.post("/api/v1/rollback", self.rollback),
            web.post("/api/v1/kill-switch", self.kill_switch),
            web.get("/api/v1/fleet", self.fleet),
            web.get("/api/v1/journal", self.journal),
        ])  # fmt: skip
        return app

    async def healthz(self, _: web.Request) -> web.Response:
        return _json({"status": "ok", "epoch": self._driver.plan.epoch})

    async def metrics(self, _: web.Request) -> web.Response:
        body, content_type = render(self._driver)
        return web.Response(body=body, headers={hdrs.CONTENT_TYPE: content_type})

    async def rule_sets(self, _: web.Request) -> web.Response:
        return _json(await self._driver.in_store(Store.rule_sets))

    async def put_rule_set(self, request: web.Request) -> web.Response:
        return _json(await self._operations.put_rule_set(await request.read()))

    async def rollouts(self, _: web.Request) -> web.Response:
        return _json([rollout.view() for rollout in await self._driver.in_store(Store.rollouts)])

    async def start_rollout(self, request: web.Request) -> web.Response:
        return _json(await self._operations.start_rollout(await _body(request, RolloutRequest)))

    async def operate(self, request: web.Request) -> web.Response:
        rollout_id = _whole(request.match_info["id"], "rollout")
        asked = await _body(request, VerbRequest)
        return _json(await self._operations.operate(rollout_id, request.match_info["verb"], asked))

    async def rollback(self, request: web.Request) -> web.Response:
        return _json(await self._operations.rollback(await _body(request, RollbackRequest)))

    async def kill_switch(self, request: web.Request) -> web.Response:
        return _json(await self._operations.kill_switch(await _body(request, KillSwitchRequest)))

    async def fleet(self, _: web.Request) -> web.Response:
        return _json(self._driver.fleet_view())

    async def journal(self, request: web.Request) -> web.Response:
        after = _whole(request.query.get("after", "0"), "after")
        wait_s = _seconds(request.query.get("wait_s", "0"), "wait_s")
        kept = await self._driver.journal_after(after, min(wait_s, MAX_WAIT_S))
        wall = self._driver.wall()
        return _json([_told(one, wall) for one in kept])


def _told(kept: Kept, wall: float) -> JournalEntry:
    """An age, because the reader's clock is not ours; never below 0, should ours have been set back."""
    return JournalEntry(kept.seq, max(0.0, wall - kept.at), kept.kind, kept.text, kept.data)


@web.middleware
async def _answer_faults(request: web.Request, handler: _Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except Fault as fault:
        return _error(fault.status, str(fault), fault.nearest)
    except web.HTTPException as answer:
        if answer.status < 400:
            raise
        if answer.status == 404:
            paths = {resource.canonical for resource in request.app.router.resources()}
            return _error(404, f"nothing at {request.path}", tuple(sorted(paths)))
        return _error(answer.status, f"{request.method} {request.path}: {answer.reason}", ())
    except Exception:
        _log.exception("%s %s", request.method, request.path)
        return _error(500, f"{request.method} {request.path}: a fault of the deployer; see its log", ())


@web.middleware
async def _keep_browsers_out(request: web.Request, handler: _Handler) -> web.StreamResponse:
    if hdrs.ORIGIN in request.headers:
        return _error(403, "the deployer takes no orders from web pages; use the badgateway command", ())
    return await handler(request)


def _json(value: Any) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), content_type="application/json")


def _error(status: int, message: str, nearest: tuple[str, ...]) -> web.Response:
    body = msgspec.json.encode(ApiError(message, nearest))
    return web.Response(status=status, body=body, content_type="application/json")


async def _body(request: web.Request, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(await request.read(), type=kind)
    except msgspec.ValidationError as fault:
        raise Invalid(str(fault)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as fault:
        raise BadRequest(f"the body is not JSON: {fault}") from None


def _whole(text: str, name: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise BadRequest(f"{name} must be a whole number from 0, not {text[:40]!r}")
    return int(text)


def _seconds(text: str, name: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e9:
        raise BadRequest(f"{name} must be a number of seconds from 0, not {text[:40]!r}")
    return value
