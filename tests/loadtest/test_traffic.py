import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import gevent
import msgspec
import pytest

from contract.record import TrafficLogLine, TrafficReport
from contract.topology import NodeEndpoint
from contract.vocabulary import Outcome
from loadtest.config import Config
from loadtest.schedule import Schedule, ScheduledRequest
from loadtest.traffic import Traffic


class Bench:
    """A Traffic with simple users instead of Locust's, and what it told."""

    def __init__(self, config: Config) -> None:
        self.unsent: list[ScheduledRequest] = []
        self.over = gevent.event.Event()
        self.traffic = Traffic(config, lambda: 3, self.unsent.append, self.over.set)
        self.carried: list[ScheduledRequest] = []

    def user(self, outcome: Outcome, takes_s: float) -> None:
        while (request := self.traffic.take()) is not None:
            self.carried.append(request)
            sent = self.traffic.begin(request)
            gevent.sleep(takes_s)
            assert self.traffic.end(sent, outcome, 200, "e-1") >= 0


@contextmanager
def run(config: Config, users: int, outcome: Outcome = Outcome.OK, takes_s: float = 0.0) -> Iterator[Bench]:
    bench = Bench(config)
    greenlets = [gevent.spawn(bench.user, outcome, takes_s) for _ in range(users)]
    bench.traffic.spawned()
    try:
        with gevent.Timeout(10):
            yield bench
    finally:
        bench.traffic.close()
        gevent.joinall(greenlets, timeout=2)
        bench.traffic.finish()
        assert all(greenlet.ready() for greenlet in greenlets)


@pytest.fixture
def config(server, tmp_path: Path) -> Config:
    nodes = (NodeEndpoint("ams-1", server.url, server.url), NodeEndpoint("nrt-1", server.url, server.url))
    return Config(nodes, seed=3, rate_per_s=100, duration_s=0.6, log_dir=tmp_path, console=server.url)


def lines(config: Config) -> list[TrafficLogLine]:
    assert config.log_dir
    text = (config.log_dir / "traffic.jsonl").read_bytes()
    return [msgspec.json.decode(line, type=TrafficLogLine) for line in text.splitlines()]


def test_every_request_of_the_schedule_is_carried_once_at_its_time_and_logged(config: Config) -> None:
    intended = list(Schedule(3, 100, 0.6))
    with run(config, users=5) as bench:
        assert bench.over.wait(5)
    assert bench.carried == intended
    logged = lines(config)
    assert sorted(line.id for line in logged) == [request.id for request in intended]
    assert {line.outcome for line in logged} == {"ok"}
    assert {line.node for line in logged} == {"ams-1", "nrt-1"}
    for line in logged:
        assert line.sent is not None
        assert line.done is not None
        assert line.due - 0.001 <= line.sent <= line.done < line.due + 2
        assert (line.status, line.request_id) == (200, "e-1")


def test_buckets_add_up_to_the_schedule(config: Config, server) -> None:
    with run(config, users=5, outcome=Outcome.BAD_GATEWAY) as bench:
        assert bench.over.wait(5)
    count = len(list(Schedule(3, 100, 0.6)))
    reports = [msgspec.json.decode(body, type=TrafficReport) for path, body in server.asked if "ingest" in path]
    samples = [report.sample for report in reports]
    assert sum(sample.intended for sample in samples) == count
    assert sum(sample.sent for sample in samples) == count
    assert sum((Counter(sample.outcomes) for sample in samples), Counter()) == {"bad_gateway": count}
    assert [sample.t for sample in samples] == [0.25 * (number + 1) for number in range(len(samples))]
    firsts = Counter(int(request.due_s / 0.25) for request in Schedule(3, 100, 0.6))
    assert [sample.intended for sample in samples[:3]] == [firsts[0], firsts[1], firsts[2]]
    assert samples[0].users == 3


def test_what_nobody_can_send_in_time_is_unsent_and_told(config: Config) -> None:
    config = msgspec.structs.replace(config, unsent_after_s=0.1)
    with run(config, users=1, takes_s=0.3) as bench:
        assert bench.over.wait(5)
    outcomes = Counter(line.outcome for line in lines(config))
    assert outcomes["unsent"] > 40
    assert outcomes["ok"] >= 2
    assert outcomes["ok"] + outcomes["unsent"] == len(list(Schedule(3, 100, 0.6)))
    assert len(bench.unsent) == outcomes["unsent"]
    late = [line.sent - line.due for line in lines(config) if line.sent]
    assert max(late) <= 0.25
    assert all(line.node == "" and line.done is None for line in lines(config) if line.sent is None)


def test_a_user_that_is_killed_while_it_waits_loses_nothing(config: Config) -> None:
    bench = Bench(config)
    victim = gevent.spawn(bench.user, Outcome.OK, 0.0)
    survivor = gevent.spawn(bench.user, Outcome.OK, 0.0)
    bench.traffic.spawned()
    with gevent.Timeout(10):
        while len(bench.carried) < 10:
            gevent.sleep(0.001)
        victim.kill()
        assert bench.over.wait(5)
    bench.traffic.close()
    survivor.join(timeout=2)
    bench.traffic.finish()
    assert bench.carried == list(Schedule(3, 100, 0.6))


def test_closing_ends_the_waiting_users_and_nothing_leaves_afterwards(config: Config) -> None:
    with run(msgspec.structs.replace(config, duration_s=None), users=3) as bench:
        while len(bench.carried) < 5:
            gevent.sleep(0.001)
        bench.traffic.close()
        carried = len(bench.carried)
        assert bench.traffic.take() is None
    assert len(bench.carried) == carried
    assert not bench.over.is_set()


def test_the_ready_line_carries_the_wall_clock_of_the_beginning(config: Config) -> None:
    read, write = os.pipe()
    with run(msgspec.structs.replace(config, ready_fd=write), users=5) as bench:
        assert bench.over.wait(5)
    with os.fdopen(read, "rb") as pipe:
        ready = json.loads(pipe.read())
    assert ready["pid"] == os.getpid()
    t0 = float(ready["urls"]["t0"])
    first = min(lines(config), key=lambda line: line.due)
    assert first.due == pytest.approx(t0 + next(iter(Schedule(3, 100))).due_s, abs=1e-4)


def test_a_traffic_nobody_used_ends_too(config: Config) -> None:
    bench = Bench(config)
    bench.traffic.finish()
    assert lines(config) == []
