"""The console's HTTP: the page, the feed, and the API that drills and Locust speak to.

In: requests. Out: what `Live` or `Replay` answers, as JSON of `contract`; a refusal is an `ApiError`.
"""

import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from aiohttp import web

from console.feed import Feed
from console.live import Live, NoRun, RunIsOn
from console.replay import Replay, ReplayControl
from console.state import OWN
from contract.messages import ApiError
from contract.record import RunBegin, RunEnd, Told, TrafficReport, View

PAGE = Path(__file__).parent / "page"

#: A rule set or a report never comes this way; events and buckets are small.
MAX_BODY_BYTES = 1024 * 1024

#: The page loads nothing but itself.
CONTENT_SECURITY_POLICY = "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
T = TypeVar("T")


class Refused(Exception):
    """A status of 400 and above, and the sentence that goes with it."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def application(source: Live | Replay, feed: Feed) -> web.Application:
    """Routes over a live console, or over a replay, which takes no part in the recording API."""
    app = web.Application(middlewares=[_answer_refusals, _same_origin], client_max_size=MAX_BODY_BYTES)
    app.add_routes(
        [
            web.get("/", _page),
            web.get("/healthz", _healthz),
            web.get("/feed", _feed(feed)),
            web.get("/api/v1/view", _view(source)),
            *(Recording(source).routes() if isinstance(source, Live) else _replay_routes(source)),
            web.static("/page", PAGE),
        ]
    )
    app.on_response_prepare.append(_headers)

    async def let_go(_: web.Application) -> None:
        feed.close()

    app.on_shutdown.append(let_go)
    return app


class Recording:
    """The API of a live console."""

    def __init__(self, live: Live) -> None:
        self._live = live

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/api/v1/run", self.begin),
            web.get("/api/v1/run", self.which),
            web.post("/api/v1/run/end", self.end),
            web.post("/api/v1/events", self.tell),
            web.post("/ingest/traffic", self.traffic),
        ]

    async def begin(self, request: web.Request) -> web.Response:
        begin = await _body(request, RunBegin)
        if not Path(begin.dir).is_absolute():
            raise Refused(400, f"dir: {begin.dir!r} is not absolute, and this process runs in another folder")
        try:
            run = await self._live.begin(begin)
        except RunIsOn as fault:
            raise Refused(409, str(fault)) from None
        except OSError as fault:
            raise Refused(400, f"dir: {begin.dir} cannot be written: {fault.strerror}") from None
        return _json({"dir": str(run.folder), "head": begin.head, "t": run.now_t()}, 201)

    async def which(self, _: web.Request) -> web.Response:
        run = self._live.on
        if run is None:
            raise Refused(404, "no run is on; begin one with POST /api/v1/run")
        return _json({"dir": str(run.folder), "head": run.begin.head, "t": run.now_t()})

    async def end(self, request: web.Request) -> web.Response:
        try:
            return _json(await self._live.end(await _body(request, RunEnd)))
        except NoRun as fault:
            raise Refused(409, str(fault)) from None

    async def tell(self, request: web.Request) -> web.Response:
        told = await _body(request, Told)
        if told.kind in OWN:
            raise Refused(400, f"kind: {told.kind.value} is for the console itself to say")
        try:
            self._live.recording().tell(told)
        except NoRun as fault:
            raise Refused(409, str(fault)) from None
        return _json({}, 202)

    async def traffic(self, request: web.Request) -> web.Response:
        report = await _body(request, TrafficReport)
        try:
            self._live.recording().traffic(report)
        except NoRun as fault:
            raise Refused(409, str(fault)) from None
        return _json({}, 202)


def _replay_routes(replay: Replay) -> list[web.RouteDef]:
    async def which(_: web.Request) -> web.Response:
        return _json({"dir": str(replay.folder), "head": replay.head, "t": replay.now_t()})

    async def control(request: web.Request) -> web.Response:
        try:
            replay.control(await _body(request, ReplayControl))
        except ValueError as fault:
            raise Refused(400, str(fault)) from None
        return _json({"speed": replay.speed, "t": replay.now_t(), "end_t": replay.end_t})

    async def refuse(_: web.Request) -> web.Response:
        raise Refused(409, "this console plays a recorded run; nothing can be recorded here")

    recording = ("/api/v1/run", "/api/v1/run/end", "/api/v1/events", "/ingest/traffic")
    return [
        web.get("/api/v1/run", which),
        web.post("/api/v1/replay", control),
        *(web.post(path, refuse) for path in recording),
    ]


def _view(source: Live | Replay) -> Handler:
    async def view(_: web.Request) -> web.Response:
        return _json(source.view())

    return view


def _feed(feed: Feed) -> Handler:
    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        await response.prepare(request)
        # A browser that loses us tries again after a second.
        await response.write(b"retry: 1000\n\n")
        seen = 0
        with contextlib.suppress(ConnectionError):
            while (news := await feed.after(seen)) is not None:
                seen, message = news
                # Waits while the page is behind; by then there is a newer view.
                await response.write(b"data: " + message + b"\n\n")
        return response

    return stream


async def _page(_: web.Request) -> web.FileResponse:
    return web.FileResponse(PAGE / "index.html")


async def _healthz(_: web.Request) -> web.Response:
    return web.Response(text="ok\n")


async def _headers(request: web.Request, response: web.StreamResponse) -> None:
    if request.path == "/" or request.path.startswith("/page/"):
        response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
        response.headers["Cache-Control"] = "no-cache"
        response.headers["X-Content-Type-Options"] = "nosniff"


@web.middleware
async def _answer_refusals(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except Refused as refused:
        return _json(ApiError(str(refused)), refused.status)
    except web.HTTPException as refused:
        if refused.status < 400:
            raise
        return _json(ApiError(f"{request.method} {request.path}: {refused.reason}"), refused.status)


@web.middleware
async def _same_origin(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Only pages of this console may change something: a browser names the page that asks, a program does not."""
    origin = request.headers.get("Origin")
    if request.method == "POST" and origin is not None and origin.partition("://")[2] != request.host:
        raise Refused(403, f"a page of {origin} may not command this console")
    return await handler(request)


async def _body(request: web.Request, type_: type[T]) -> T:
    try:
        return msgspec.json.decode(await request.read(), type=type_)
    except msgspec.MsgspecError as fault:
        raise Refused(400, f"the body is no {type_.__name__}: {fault}") from None


def _json(value: View | ApiError | dict[str, Any], status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), status=status, content_type="application/json")
