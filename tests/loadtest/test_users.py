"""Locust itself, as a process: importing it here would patch the sockets of every other test."""

import asyncio
import json
import os
import re
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import msgspec
import pytest
from aiohttp import web

from contract.record import TrafficLogLine, TrafficReport
from contract.sites import ORIGIN_HEADER
from contract.topology import FLEET, Endpoints, NodeEndpoint
from loadtest.config import DEADLINE_S
from loadtest.schedule import Schedule
from tests.fakes.waiting import eventually

pytestmark = pytest.mark.slow

RATE = 60
PAGE = "<h1>502 Bad Gateway</h1>" + "x" * 6000

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class FakeEdge:
    """All nodes, the console and the origins in one server; answers by kind of request, keeps what it got."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, str, dict[str, str], bytes]] = []
        self.reports: list[TrafficReport] = []
        self.connections: set[object] = set()
        self.hanging = 0
        self.url = ""

    def application(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/ready", self._ready)
        app.router.add_post("/ingest/traffic", self._ingest)
        app.router.add_route("*", "/{path:.*}", self._serve)
        return app

    async def _ready(self, request: web.Request) -> web.Response:
        return web.Response()

    async def _ingest(self, request: web.Request) -> web.Response:
        self.reports.append(msgspec.json.decode(await request.read(), type=TrafficReport))
        return web.Response()

    async def _serve(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.requests.append((request.method, request.host, request.raw_path, dict(request.headers), body))
        self.connections.add(request.transport)
        headers = {"X-Request-Id": f"e-{len(self.requests)}", "Set-Cookie": "leak=1; Path=/"}
        if request.method == "POST":
            return web.Response(status=502, text=PAGE, headers=headers)
        if request.path.startswith("/api/"):
            assert request.transport
            request.transport.abort()
        if request.path == "/search":
            return web.Response(status=404, headers=headers | {ORIGIN_HEADER: request.host})
        if request.path.startswith("/download/"):
            self.hanging += 1
            await asyncio.sleep(60)
        return web.Response(text="hello", headers=headers | {ORIGIN_HEADER: request.host})


@pytest.fixture
async def edge() -> AsyncIterator[FakeEdge]:
    edge = FakeEdge()
    runner = web.AppRunner(edge.application(), shutdown_timeout=0.05)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    edge.url = f"http://{host}:{port}"
    yield edge
    await runner.cleanup()


async def start(
    edge: FakeEdge, folder: Path, *argv: str, pass_fds: tuple[int, ...] = (), **env: str
) -> asyncio.subprocess.Process:
    nodes = tuple(NodeEndpoint(spec.name, edge.url, edge.url) for spec in FLEET)
    endpoints = folder / "endpoints.json"
    await asyncio.to_thread(
        endpoints.write_bytes, msgspec.json.encode(Endpoints(edge.url, edge.url, edge.url, nodes))
    )
    settings = {
        "BADGATEWAY_ENDPOINTS": str(endpoints),
        "BADGATEWAY_SEED": "7",
        "BADGATEWAY_RATE": str(RATE),
        "BADGATEWAY_LOG_DIR": str(folder),
    }
    clean = {name: value for name, value in os.environ.items() if not name.startswith("BADGATEWAY_")}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "locust", "-f", "loadtest/locustfile.py", "--headless", "-u", "40", "-r", "100",
        "--loglevel", "ERROR", "--only-summary", "--exit-code-on-error", "0", *argv,
        env=clean | settings | env, pass_fds=pass_fds,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def finish(process: asyncio.subprocess.Process, within_s: float = 20.0) -> str:
    """Waits for the end and returns what stderr had; kills the process if it does not end."""
    try:
        _, err = await asyncio.wait_for(process.communicate(), within_s)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
    return err.decode()


def traffic(folder: Path) -> list[TrafficLogLine]:
    lines = (folder / "traffic.jsonl").read_bytes().splitlines()
    return [msgspec.json.decode(line, type=TrafficLogLine) for line in lines]


def failures(report: str) -> dict[str, int]:
    """Locust's own list of failures, as it prints it at the end: error → occurrences."""
    found: Counter[str] = Counter()
    for count, error in re.findall(r"^(\d+) +(?:GET|POST|HEAD) \w+: (.+?) *$", report, re.MULTILINE):
        found[error] += int(count)
    return dict(found)


@pytest.fixture
async def stopped(edge: FakeEdge, tmp_path: Path) -> tuple[str, int | None, dict[str, object]]:
    """One run, stopped by SIGTERM after two seconds' worth of requests: stderr, exit code, ready line."""
    read, write = os.pipe()
    process = await start(edge, tmp_path, pass_fds=(write,), BADGATEWAY_READY_FD=str(write))
    os.close(write)
    try:
        ready = json.loads(await asyncio.wait_for(asyncio.to_thread(os.read, read, 4096), 15))
        await eventually(lambda: len(edge.requests) > 2 * RATE and edge.hanging, "two seconds of requests", 15)
        process.send_signal(signal.SIGTERM)
    finally:
        os.close(read)
        err = await finish(process)
    return err, process.returncode, ready


async def test_a_run_ends_cleanly_with_every_outcome_counted_and_named(
    edge: FakeEdge, tmp_path: Path, stopped: tuple[str, int | None, dict[str, dict[str, str]]]
) -> None:
    err, code, ready = stopped
    assert code == 0
    assert "Traceback" not in err
    lines = traffic(tmp_path)
    assert len({line.id for line in lines}) == len(lines) > 2 * RATE
    assert {line.id for line in lines if line.sent} == {sent[3]["X-Client-Request-Id"] for sent in edge.requests}
    assert float(ready["urls"]["t0"]) <= min(line.due for line in lines)

    outcomes: dict[str, set[str]] = {}
    for line in lines:
        outcomes.setdefault(line.kind, set()).add(line.outcome)
    assert outcomes["page"] == outcomes["item"] == outcomes["search"] == {"ok"}
    assert outcomes["comment"] == outcomes["upload"] == {"bad_gateway"}
    assert outcomes["data"] == {"reset"}
    assert outcomes["download"] == {"client_gone"}
    answered = [line for line in lines if line.outcome in ("ok", "bad_gateway")]
    assert {line.status for line in answered} == {200, 404, 502}
    assert all(line.request_id.startswith("e-") for line in answered)

    counts = Counter(line.outcome for line in lines)
    assert failures(err) == {
        "502 Bad Gateway": counts["bad_gateway"],
        "connection refused, reset or cut short": counts["reset"],
    }


async def test_what_is_sent_is_the_schedule_and_nothing_else(
    edge: FakeEdge, tmp_path: Path, stopped: tuple[str, int | None, dict[str, object]]
) -> None:
    """No cookie leaks from one visitor to another, nothing is sent twice, bodies and hosts are the schedule's."""
    sent = {
        headers["X-Client-Request-Id"]: (method, host, path, headers, body)
        for method, host, path, headers, body in edge.requests
    }
    assert len(sent) == len(edge.requests)
    for request in Schedule(7, RATE, 10):
        if request.id not in sent:
            continue
        method, host, path, headers, body = sent.pop(request.id)
        assert (method, host, path, body) == (request.method, request.site, request.path, request.body)
        for name, value in request.headers:
            assert headers[name] == value
    assert not sent
    resets = sum(line.outcome == "reset" for line in traffic(tmp_path))
    assert len(edge.connections) < resets + edge.hanging + 30


async def test_the_console_hears_of_everything(edge: FakeEdge, tmp_path: Path, stopped: object) -> None:
    samples = [report.sample for report in edge.reports]
    lines = traffic(tmp_path)
    heard = sum((Counter(sample.outcomes) for sample in samples), Counter[str]())
    assert heard == Counter(line.outcome for line in lines)
    assert sum(sample.sent for sample in samples) == len(lines)
    assert {node for sample in samples for node in sample.by_node} == {spec.name for spec in FLEET}
    assert max(sample.users for sample in samples) == 40
    assert all(0 <= sample.cpu_share < 2 for sample in samples)


async def test_a_missing_endpoints_file_is_one_line_and_exit_code_2(edge: FakeEdge, tmp_path: Path) -> None:
    process = await start(edge, tmp_path, BADGATEWAY_ENDPOINTS=str(tmp_path / "none.json"))
    err = await finish(process)
    assert process.returncode == 2
    assert err.startswith(f"error: {tmp_path / 'none.json'} is missing: start the stack with `badgateway up`")
    assert err.count("\n") == 1


async def test_locusts_workers_are_refused_in_one_line(edge: FakeEdge, tmp_path: Path) -> None:
    process = await start(edge, tmp_path, "--master", "--master-bind-port", "0")
    err = await finish(process)
    assert process.returncode == 2
    assert err.startswith("error: one Locust process carries the schedule")


async def test_a_schedule_that_ends_ends_the_run_once_the_last_visitor_has_given_up(
    edge: FakeEdge, tmp_path: Path
) -> None:
    process = await start(edge, tmp_path, BADGATEWAY_DURATION_S="0.4", BADGATEWAY_SEED="8")
    err = await finish(process)
    assert process.returncode == 0
    assert "Traceback" not in err
    lines = traffic(tmp_path)
    assert {line.id for line in lines} == {request.id for request in Schedule(8, RATE, 0.4)}
    waits = [line.done - line.sent for line in lines if line.outcome == "timeout" and line.done and line.sent]
    assert len(waits) == edge.hanging > 0
    assert all(DEADLINE_S <= wait < DEADLINE_S + 1 for wait in waits)
