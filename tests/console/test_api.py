"""The console over real sockets, watching a fake stack: what it records, shows and refuses."""

import asyncio
import itertools
import json
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import msgspec
import pytest
from aiohttp import web

from console import live as live_module
from console.cpu import Times
from console.feed import Feed
from console.live import Live
from console.record import read_lines
from console.replay import Replay
from console.run import Run
from console.web import application
from contract.messages import HotRule, InspectorStatus
from contract.record import (
    Event,
    Line,
    NodeSample,
    OriginSample,
    ProbeSample,
    RunBegin,
    RunEnd,
    RunHead,
    StackSample,
    Told,
    TrafficReport,
    TrafficSample,
    View,
)
from contract.vocabulary import EventKind, Pool, StatusWord
from tests.fakes.edge import V2, report
from tests.fakes.outage import outage, write
from tests.fakes.stack import FakeStack, fake_stack
from tests.fakes.waiting import eventually

HEAD = RunHead("drill", "A drill", "stamp", 1, "builtin", 0.0)
BUCKET = next(line for line in outage() if isinstance(line, TrafficSample))


class Client:
    """The console's API, from outside."""

    def __init__(self, session: aiohttp.ClientSession, url: str, live: Live) -> None:
        self.session = session
        self.url = url
        self.live = live

    async def post(self, path: str, body: object, **headers: str) -> tuple[int, dict[str, object]]:
        data = body if isinstance(body, bytes) else msgspec.json.encode(body)
        async with self.session.post(self.url + path, data=data, headers=headers) as answer:
            return answer.status, json.loads(await answer.read())

    async def view(self) -> View:
        async with self.session.get(f"{self.url}/api/v1/view") as answer:
            return msgspec.json.decode(await answer.read(), type=View)

    async def view_when(self, what: str, holds: Callable[[View], bool]) -> View:
        """The first view for which it holds."""
        async with asyncio.timeout(8):
            while not holds(view := await self.view()):  # noqa: ASYNC110 (another process's state)
                await asyncio.sleep(0.02)
        return view

    async def begin(self, folder: Path, stack: FakeStack, root_pid: int | None = None) -> None:
        assert stack.endpoints is not None
        status, answer = await self.post("/api/v1/run", RunBegin(str(folder), HEAD, stack.endpoints, root_pid))
        assert (status, answer["dir"]) == (201, str(folder))


@asynccontextmanager
async def console(read_cpu: Callable[[int], Times | None] = lambda pid: None) -> AsyncIterator[Client]:
    feed = Feed()
    async with asyncio.TaskGroup() as group:
        live = Live(group, feed, time.monotonic, "news.example", read_cpu)
        runner = web.AppRunner(application(live, feed), shutdown_timeout=0.2)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        turning = group.create_task(live.run())
        url = "http://{}:{}".format(*runner.addresses[0][:2])
        async with aiohttp.ClientSession() as session:
            try:
                yield Client(session, url, live)
            finally:
                turning.cancel()
                await live.close()
                await runner.cleanup()


def of(lines: list[Line], kind: type) -> list[Line]:
    return [line for line in lines if isinstance(line, kind)]


async def test_a_run_is_watched_recorded_and_ended(tmp_path: Path) -> None:
    cpu = {10: Times(1.0, 1.0)}
    async with fake_stack("ams-1", "iad-1") as stack, console(cpu.get) as client:
        inspector = InspectorStatus(10, Pool.PRIMARY, 1, 0.0, 0, 0, True)
        for node in stack.nodes.values():
            node.report = report(node.name, inspectors=(inspector,), due=5, ok=5)
        stack.origin_requests = 100
        await client.begin(tmp_path, stack)
        await client.view_when("HEALTHY by the probe", lambda view: view.status is StatusWord.HEALTHY)

        ams = stack.nodes["ams-1"]
        cpu[10] = Times(1.0, 1.02)
        hot = HotRule("waf-1", 0.8, Pool.PRIMARY)
        ams.report = report(
            "ams-1", seq=2, due=45, ok=15, bad_gateway=30, active=V2, inspectors=(inspector,), hottest=hot
        )
        stack.origin_requests = 140
        push = {"rollout": 1, "digest": V2.digest, "version": 2}
        stack.tell(EventKind.PUSH, "someone ships v2", age_s=0.1, **push)
        view = await client.view_when("PUSHING", lambda view: view.status is StatusWord.PUSHING)
        assert view.t_plus is not None
        view = await client.view_when("v2", lambda view: view.tiles[0].version == "v2")
        tile = view.tiles[0]
        assert (tile.node, tile.version, tile.hot_rule) == ("ams-1", "v2", "waf-1")

        status, answer = await client.post("/api/v1/run/end", RunEnd("met", "All objectives met", "report.html"))
        assert (status, answer["ended"]) == (200, True)
        after = await client.view()
        assert (after.ended, after.report) == (True, "report.html")
        assert after.sentence.endswith(". All objectives met")

    lines = read_lines(tmp_path)
    assert json.loads((tmp_path / "run.json").read_bytes())["title"] == "A drill"
    kinds = [line.kind for line in of(lines, Event)]  # type: ignore[union-attr]
    assert kinds[0] is EventKind.RUN_BEGIN
    assert kinds[-1] is EventKind.RUN_END
    assert {EventKind.NODE_UP, EventKind.STATUS, EventKind.PUSH} <= set(kinds)
    nodes = [line for line in lines if isinstance(line, NodeSample) and line.node == "ams-1"]
    assert sum(sample.bad_gateway for sample in nodes) == 30
    assert sum(sample.ok for sample in nodes) == 10
    assert (nodes[-1].cpu_source, nodes[-1].hot_rule, nodes[-1].control_ms) == ("psutil", "waf-1", 1.25)
    assert any((sample.cpu_of_quota or 0) > 0 for sample in nodes)
    assert all(sample.status_ms and sample.metrics_ms for sample in nodes[2:])
    probes = [line for line in lines if isinstance(line, ProbeSample)]
    assert {probe.status for probe in probes} == {200}
    assert {probe.node for probe in probes} == {"ams-1", "iad-1"}
    assert stack.nodes["ams-1"].asked_hosts[0] == "news.example"
    origins = [line for line in lines if isinstance(line, OriginSample)]
    assert sum(sample.requests for sample in origins) == 40
    pushed = next(e for e in lines if isinstance(e, Event) and e.kind is EventKind.PUSH)
    assert pushed.t < view.t
    assert pushed.source == "deployer"


async def test_a_node_that_hangs_is_silent_and_delays_nobody(tmp_path: Path) -> None:
    async with fake_stack("ams-1", "iad-1") as stack, console() as client:
        await client.begin(tmp_path, stack)
        await client.view_when(
            "up", lambda view: all(tile.state == "ok" for tile in view.tiles) and bool(view.tiles)
        )
        stack.nodes["ams-1"].answers = False
        view = await client.view_when("silent", lambda view: view.tiles[0].state == "silent")
        assert view.tiles[1].state == "ok"
        stack.nodes["ams-1"].answers = True
        stack.nodes["ams-1"].hangs.set()
        await client.view_when("back", lambda view: view.tiles[0].state == "ok")
        await client.post("/api/v1/run/end", RunEnd("met", ""))
    lines = read_lines(tmp_path)
    steps = [e.kind for e in lines if isinstance(e, Event) and e.data.get("node") == "ams-1"]
    assert steps == [EventKind.NODE_UP, EventKind.NODE_DOWN, EventKind.NODE_UP]
    other = [line.t for line in lines if isinstance(line, NodeSample) and line.node == "iad-1"]
    assert max(b - a for a, b in itertools.pairwise(other)) < 0.9


async def test_what_others_tell(tmp_path: Path) -> None:
    async with fake_stack("ams-1") as stack, console() as client:
        assert (await client.post("/api/v1/events", Told(EventKind.NOTE, "drill", "early")))[0] == 409
        assert (await client.post("/ingest/traffic", TrafficReport(0.1, BUCKET)))[0] == 409
        await client.begin(tmp_path, stack)
        run = client.live.on
        assert run is not None
        stack.tell(EventKind.NOTE, "long before the run", age_s=60.0)
        await eventually(lambda: run.now_t() > 0.4, "the run is a little on")
        told = Told(EventKind.TRAFFIC_START, "loadtest", "150 requests a second", age_s=0.2)
        assert (await client.post("/api/v1/events", told))[0] == 202
        traffic = msgspec.structs.replace(BUCKET, t=0.0, intended=75, outcomes={"ok": 5, "bad_gateway": 70})
        before = run.now_t()
        assert (await client.post("/ingest/traffic", TrafficReport(0.25, traffic)))[0] == 202
        view = await client.view_when("traffic", lambda view: view.intended_per_s > 0)
        assert view.bad_per_s == 140
        status, answer = await client.post("/api/v1/events", Told(EventKind.STATUS, "drill", "HEALTHY"))
        assert (status, answer["error"]) == (400, "kind: status is for the console itself to say")
        await client.post("/api/v1/run/end", RunEnd("met", ""))
    lines = read_lines(tmp_path)
    bucket = next(line for line in lines if isinstance(line, TrafficSample))
    assert bucket.t == pytest.approx(before - 0.25, abs=0.1)
    texts = [e.text for e in lines if isinstance(e, Event)]
    assert "150 requests a second" in texts
    assert "long before the run" not in texts


async def test_refusals(tmp_path: Path) -> None:
    async with fake_stack("ams-1") as stack, console() as client:
        assert stack.endpoints is not None
        assert (await client.view()).sentence == "Waiting for a run to begin"
        async with client.session.get(f"{client.url}/api/v1/run") as answer:
            assert answer.status == 404
        status, said = await client.post("/api/v1/run", b"{")
        assert status == 400
        assert "the body is no RunBegin" in str(said["error"])
        status, said = await client.post("/api/v1/run", {"dir": 3})
        assert (status, "$.dir" in str(said["error"])) == (400, True)
        relative = RunBegin("runs/x", HEAD, stack.endpoints)
        assert (await client.post("/api/v1/run", relative))[0] == 400
        (tmp_path / "file").touch()
        blocked = RunBegin(str(tmp_path / "file" / "run"), HEAD, stack.endpoints)
        status, said = await client.post("/api/v1/run", blocked)
        assert (status, "cannot be written" in str(said["error"])) == (400, True)
        assert (await client.post("/api/v1/run/end", RunEnd("met", "")))[0] == 409
        await client.begin(tmp_path / "a", stack)
        second = RunBegin(str(tmp_path / "b"), HEAD, stack.endpoints)
        assert (await client.post("/api/v1/run", second))[0] == 409
        assert not (tmp_path / "b").exists()
        assert (await client.post("/api/v1/nonsense", b"{}"))[0] == 404
        status, said = await client.post("/api/v1/run/end", RunEnd("met", ""), Origin="http://evil.example")
        assert status == 403
        assert client.live.on is not None


async def test_a_drill_takes_the_place_of_a_standing_stack_and_gives_it_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_module, "END_SHOWN_S", 0.0)
    async with fake_stack("ams-1") as stack, console() as client:
        assert stack.endpoints is not None
        standing = RunBegin(
            str(tmp_path / "stack"), RunHead("stack", "The stack", "", 0, "", 0.0), stack.endpoints
        )
        client.live.begin_stack(Run(standing, time.monotonic))
        await client.view_when("the stack", lambda view: view.status is StatusWord.HEALTHY)
        await client.begin(tmp_path / "drill", stack)
        assert (await client.view()).title == "A drill"
        stack.tell(EventKind.NOTE, "told during the drill")
        await client.view_when("a drill", lambda view: any("during" in mark.text for mark in view.log))
        # Longer than a node may be silent: what was not asked in the meantime was not silent.
        await client.view_when("a drill of some length", lambda view: view.t > 1.3)
        ams = stack.nodes["ams-1"]
        ams.answers = False
        assert (await client.post("/api/v1/run/end", RunEnd("met", "")))[0] == 200
        view = await client.view_when("the stack again", lambda view: view.title == "The stack")
        assert not view.ended
        await client.view_when("a turn or two", lambda later: later.t > view.t + 0.4)
        ams.answers = True
        ams.hangs.set()
        await client.view_when("its journal", lambda view: any("during" in mark.text for mark in view.log))
        seen = (await client.view()).t
        await client.view_when("fresh samples", lambda view: view.probe_status == 200 and view.t > seen + 1.5)
    lines = read_lines(tmp_path / "stack")
    assert [e.kind for e in lines if isinstance(e, Event)].count(EventKind.NODE_DOWN) == 0
    assert [e.text for e in lines if isinstance(e, Event)].count("told during the drill") == 1


async def test_the_feed_streams_views(tmp_path: Path) -> None:
    async with fake_stack("ams-1") as stack, console() as client:
        await client.begin(tmp_path, stack)
        times: list[float] = []
        async with asyncio.timeout(8), client.session.get(f"{client.url}/feed") as stream:
            assert stream.headers["Content-Type"] == "text/event-stream"
            while len(times) < 4:
                row = await stream.content.readline()
                if row.startswith(b"data: "):
                    times.append(msgspec.json.decode(row[6:], type=View).t)
        assert times == sorted(set(times))


async def test_the_page_and_its_parts(tmp_path: Path) -> None:
    async with console() as client:
        for path, what in (
            ("/", "status-word"),
            ("/page/console.js", "EventSource"),
            ("/page/style.css", "--bad"),
        ):
            async with client.session.get(client.url + path) as answer:
                assert answer.status == 200
                assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
                assert what in await answer.text()
        async with client.session.get(f"{client.url}/page/../app.py") as answer:
            assert answer.status == 404
        async with client.session.get(f"{client.url}/healthz") as answer:
            assert await answer.text() == "ok\n"


async def test_a_dead_stack_is_watched_on(tmp_path: Path) -> None:
    async with fake_stack("ams-1") as stack:
        pass  # every port is closed again
    async with console() as client:
        await client.begin(tmp_path, stack)
        view = await client.view_when("the probe", lambda view: view.probe_status == 0)
        assert view.status is StatusWord.STARTING
        assert view.sentence == "Starting: 0 of 1 nodes answer"
        view = await client.view_when("the deployer", lambda view: view.deployer_up is False)
        assert (view.origins_up, view.tiles[0].state) == (False, "silent")
        await client.post("/api/v1/run/end", RunEnd("invalid", ""))
    assert all(not sample.up for sample in read_lines(tmp_path) if isinstance(sample, NodeSample))


async def test_memory_and_cpu_of_the_stack_by_role(tmp_path: Path) -> None:
    async with fake_stack("ams-1") as stack, console() as client:
        await client.begin(tmp_path, stack, root_pid=os.getpid())
        run = client.live.on
        assert run is not None
        await eventually(lambda: run.now_t() > 0.3, "a first measurement")
        await client.post("/api/v1/run/end", RunEnd("met", ""))
    sample = next(line for line in read_lines(tmp_path) if isinstance(line, StackSample))
    assert sample.pss_mib > 10
    assert sample.pss_mib_by_role["runner"] > 10
    assert sum(sample.pss_mib_by_role.values()) == pytest.approx(sample.pss_mib, abs=0.1)


async def test_a_replay_records_nothing_and_takes_commands(tmp_path: Path) -> None:
    feed = Feed()
    replay = Replay(write(tmp_path, outage()), 1.0, time.monotonic, feed)
    runner = web.AppRunner(application(replay, feed))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = "http://{}:{}".format(*runner.addresses[0][:2])
    async with aiohttp.ClientSession() as session:
        client = Client(session, url, None)  # type: ignore[arg-type]
        assert (await client.post("/ingest/traffic", TrafficReport(0.1, BUCKET)))[0] == 409
        status, answer = await client.post("/api/v1/replay", {"t": 24.0, "speed": 0})
        assert (status, answer["t"], answer["speed"]) == (200, 24.0, 0.0)
        view = await client.view()
        assert (view.status, view.replay_speed) == (StatusWord.BAD_GATEWAY, 0.0)
        assert (await client.post("/api/v1/replay", {"speed": -2}))[0] == 400
    await runner.cleanup()
