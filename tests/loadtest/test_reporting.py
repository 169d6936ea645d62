from pathlib import Path

import gevent
import msgspec
import pytest

from contract.record import TrafficLogLine, TrafficReport, TrafficSample
from loadtest.reporting import KEPT_REPORTS, ConsoleFeed, TrafficLog

LINE = TrafficLogLine("7-000001", 1.0, 1.1, 1.2, "ams-1", "europe", "a.example", "page", "GET", 200, "ok", "e-1")


def sample(t: float) -> TrafficSample:
    return TrafficSample(t, 0.25, 1, 1, {"ok": 1}, {}, 1.0, 1.0, 0.1, 0, 1, 0.1)


def test_lines_are_written_when_flushed_and_a_new_run_begins_a_new_file(tmp_path: Path) -> None:
    path = tmp_path / "traffic.jsonl"
    for _ in range(2):
        log = TrafficLog(tmp_path)
        log.add(LINE)
        assert path.read_bytes() == b""
        log.flush()
        assert len(path.read_bytes().splitlines()) == 1
        log.add(LINE)
        log.close()
    lines = [msgspec.json.decode(line, type=TrafficLogLine) for line in path.read_bytes().splitlines()]
    assert lines == [LINE, LINE]


def test_without_a_folder_nothing_is_kept() -> None:
    log = TrafficLog(None)
    log.add(LINE)
    assert log._lines == []
    log.close()


def test_buckets_reach_the_console_in_order_with_their_age(server) -> None:
    now = 100.0
    feed = ConsoleFeed(server.url, lambda: now)
    feed.put(sample(0.25))
    feed.put(sample(0.5))
    now = 100.4
    feed.drain()
    feed.close()
    assert {path for path, _ in server.asked} == {"/ingest/traffic"}
    reports = [msgspec.json.decode(body, type=TrafficReport) for _, body in server.asked]
    assert [report.sample.t for report in reports] == [0.25, 0.5]
    assert [report.age_s for report in reports] == [pytest.approx(0.4)] * 2


def test_a_running_feed_posts_what_is_put(server) -> None:
    feed = ConsoleFeed(server.url)
    running = gevent.spawn(feed.run)
    try:
        with gevent.Timeout(5):
            feed.put(sample(0.25))
            while len(server.asked) < 1:
                gevent.sleep(0.002)
            feed.put(sample(0.5))
            while len(server.asked) < 2:
                gevent.sleep(0.002)
    finally:
        running.kill()
        feed.close()


def test_a_console_that_is_away_or_refuses_costs_a_bucket_and_nothing_else(server) -> None:
    server.answer = lambda path, body: "500 Broken"
    feed = ConsoleFeed(server.url)
    feed.put(sample(0.25))
    feed.drain()
    assert len(server.asked) == 1
    server.stop()
    for number in range(3 * KEPT_REPORTS):
        feed.put(sample(number))
    assert len(feed._waiting) == KEPT_REPORTS
    feed.drain()
    assert not feed._waiting
    feed.close()


def test_without_a_console_nothing_is_kept() -> None:
    feed = ConsoleFeed(None)
    feed.put(sample(0.25))
    assert not feed._waiting
    feed.drain()
    feed.close()
