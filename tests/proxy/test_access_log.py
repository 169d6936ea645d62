"""The access log's file: whole lines, appended, and a full disk that stops nobody."""

import json

import pytest

from contract.vocabulary import Outcome, Reason
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


async def test_without_a_folder_nothing_is_kept():
    log = AccessLog("ams-1", None)
    await log.open()
    log.write(exchange(b"/"), 0.1)
    await log.flush()
    assert log.pending == []


async def test_a_full_disk_is_said_once(log, monkeypatch, capsys):
    def disk_full(file, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("proxy.access_log._write", disk_full)
    for _ in range(2):
        log.write(exchange(b"/"), 0.1)
        await log.flush()
    assert capsys.readouterr().err == "ams-1: access log: No space left on device\n"
    assert log.pending == []
