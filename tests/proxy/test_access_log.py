"""The access log's file: whole lines, appended, and a full disk that stops nobody."""

import asyncio
import json
import threading

import pytest

from contract.vocabulary import Outcome, Reason
from proxy import access_log
from proxy.access_log import AccessLog
from proxy.exchange import Exchange


def exchange(uri):
    record = Exchange(1, None, 0.0, method=b"GET", uri=uri, request_id="ams-1-1")
    record.outcome, record.reason = Outcome.OK, Reason.PROXIED
    return record


@pytest.fixture
async def log(tmp_path):
    access = AccessLog("ams-1", str(tmp_path / "deep" / "logs"))
    await access.open()
    yield access
    await access.close()


async def test_lines_are_appended_also_by_a_restarted_node(log, tmp_path):
    log.write(exchange(b"/1"), 0.5)
    log.write(exchange("/ü".encode("latin-1")), 0.5)
    await log.flush()
    again = AccessLog("ams-1", str(tmp_path / "deep" / "logs"))
    await again.open()
    again.write(exchange(b"/3"), 0.0012345)
    await again.close()
    lines = [json.loads(line) for line in (tmp_path / "deep/logs/access-ams-1.jsonl").read_bytes().splitlines()]
    assert [line["uri"] for line in lines] == ["/1", "/ü", "/3"]
    assert (lines[2]["outcome"], lines[2]["reason"], lines[2]["total_ms"]) == ("ok", "proxied", 1.234)


async def test_lines_being_written_survive_the_end_of_the_task_that_wrote_them(log, tmp_path, monkeypatch):
    """A node that stops cancels its sweep, perhaps in the middle of a write."""
    go = threading.Event()
    write = access_log._write

    def held_up(file, data):
        go.wait(5)
        return write(file, data)

    monkeypatch.setattr("proxy.access_log._write", held_up)
    log.write(exchange(b"/1"), 0.5)
    sweep = asyncio.ensure_future(log.flush())
    await asyncio.sleep(0)
    sweep.cancel()
    await asyncio.gather(sweep, return_exceptions=True)
    log.write(exchange(b"/2"), 0.5)
    go.set()
    await log.close()
    lines = (tmp_path / "deep/logs/access-ams-1.jsonl").read_bytes().splitlines()
    assert [json.loads(line)["uri"] for line in lines] == ["/1", "/2"]


async def test_without_a_folder_nothing_is_kept():
    log = AccessLog("ams-1", None)
    await log.open()
    log.write(exchange(b"/"), 0.1)
    await log.flush()
    assert log.pending == []


async def test_a_full_disk_is_said_once(log, monkeypatch, capsys):
    def disk_full(file, data):
        return OSError(28, "No space left on device")

    monkeypatch.setattr("proxy.access_log._write", disk_full)
    for _ in range(2):
        log.write(exchange(b"/"), 0.1)
        await log.flush()
    assert capsys.readouterr().err == "ams-1: access log: No space left on device\n"
    assert log.pending == []
