"""The aiohttp application: counts a request, lets the site think, answers, logs.

In: any request for any host. Out: the answer that `answers.py` decided, after the time that `latency.py` drew.
`/healthz` and everything under `/-/` belong to the process and not to a site, are not delayed and not counted.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress

import msgspec
from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, generate_latest

from contract.metrics import ORIGIN_REQUESTS
from contract.record import OriginLogLine
from contract.sites import ORIGIN_HEADER, SiteSpec
from origins.access_log import AccessLog
from origins.answers import Answer, Answers
from origins.latency import delay_s
from origins.sites import KINDS, SITES, site_of

#: Larger bodies are answered 413; the visitors' largest upload is 20 kB.
MAX_BODY_BYTES = 1024 * 1024

#: What the log says where the client left before its answer, as nginx does.
CLIENT_GONE = 499


class Status(msgspec.Struct, frozen=True):
    """`GET /-/status`: what the console asks past the edge. Cumulative; `errors`: answers of 500 and above."""

    requests: int
    errors: int
    sites: int
    uptime_s: float


class Origins:
    """All sites of one process: their answers, counters and log."""

    def __init__(self, seed: int, log: AccessLog) -> None:
        self._seed = seed
        self._answers = Answers(seed)
        self._log = log
        self._began = time.monotonic()
        self._requests = 0
        self._errors = 0
        self._registry = CollectorRegistry()
        self._counter = Counter(
            ORIGIN_REQUESTS.removesuffix("_total"), "Requests answered by the origins", ["kind", "status"],
            registry=self._registry,
        )  # fmt: skip

    def application(self) -> web.Application:
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/-/status", self._status)
        app.router.add_get("/-/metrics", self._metrics)
        app.router.add_route("*", "/{path:.*}", self._serve)
        app.cleanup_ctx.append(self._logging)
        return app

    async def _logging(self, app: web.Application) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(self._log.run())
            yield
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await asyncio.to_thread(self._log.close)

    async def _healthz(self, request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _status(self, request: web.Request) -> web.Response:
        status = Status(self._requests, self._errors, len(SITES), time.monotonic() - self._began)
        return web.Response(body=msgspec.json.encode(status), content_type="application/json")

    async def _metrics(self, request: web.Request) -> web.Response:
        return web.Response(
            body=generate_latest(self._registry), headers={"Content-Type": "text/plain; version=0.0.4"}
        )

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        begun = time.monotonic()
        site = site_of(request.headers.get("Host", ""))
        status = 500
        try:
            response = await self._answer(request, site)
            status = response.status
            return response
        except web.HTTPException as refusal:
            # aiohttp's own refusals, above all 413 for a body over the limit.
            refusal.headers[ORIGIN_HEADER] = site.host
            status = refusal.status
            raise
        except (ConnectionError, web.RequestPayloadError, asyncio.CancelledError):
            # The client hung up half-way: no fault of the site's.
            status = CLIENT_GONE
            raise
        finally:
            self._count(request, site, status, time.monotonic() - begun)

    async def _answer(self, request: web.Request, site: SiteSpec) -> web.Response:
        body = await request.read() if request.can_read_body else b""
        path, _, query = request.raw_path.partition("?")
        await asyncio.sleep(
            delay_s(self._seed, site.host, request.method, request.raw_path, KINDS[site.kind].median_ms)
        )
        return self._response(request, site, self._answers.answer(site, request.method, path, query, body))

    @staticmethod
    def _response(request: web.Request, site: SiteSpec, answer: Answer) -> web.Response:
        response = web.Response(status=answer.status, body=bytes(answer.body))
        response.headers["Content-Type"] = answer.content_type
        response.headers[ORIGIN_HEADER] = site.host
        for name, value in answer.headers:
            response.headers.add(name, value)
        nonce = request.headers.get("X-Nonce")
        if nonce is not None:
            response.headers["X-Nonce"] = nonce
        return response

    def _count(self, request: web.Request, site: SiteSpec, status: int, took_s: float) -> None:
        self._requests += 1
        self._errors += status >= 500
        self._counter.labels(site.kind, str(status)).inc()
        self._log.add(
            OriginLogLine(
                at=time.time(),
                request_id=request.headers.get("X-Request-Id", ""),
                client_id=request.headers.get("X-Client-Request-Id", ""),
                site=site.host,
                method=request.method,
                uri=request.raw_path,
                status=status,
                ms=round(took_s * 1000, 3),
            )
        )
