from asyncio import TaskGroup
from pathlib import Path

import msgspec
import pytest

from contract.record import OriginLogLine
from origins.access_log import AccessLog
from tests.fakes.waiting import eventually

LINE = OriginLogLine(1.0, "r", "7-000001", "a.example", "GET", "/", 200, 1.5)


async def test_lines_reach_the_file_without_being_asked(tmp_path: Path) -> None:
    path = tmp_path / "origins.jsonl"
    log = AccessLog(path)
    async with TaskGroup() as group:
        task = group.create_task(log.run())
        log.add(LINE)
        assert path.read_bytes() == b""
        await eventually(lambda: path.stat().st_size, "the first line in the file", within_s=1.0)
        task.cancel()
    log.close()
    assert msgspec.json.decode(path.read_bytes(), type=OriginLogLine) == LINE


def test_closing_writes_what_is_left_and_appends_to_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "origins.jsonl"
    for _ in range(2):
        log = AccessLog(path)
        log.add(LINE)
        log.add(LINE)
        log.close()
    lines = path.read_bytes().splitlines()
    assert [msgspec.json.decode(line, type=OriginLogLine) for line in lines] == [LINE] * 4


def test_without_a_file_nothing_is_kept() -> None:
    log = AccessLog(None)
    log.add(LINE)
    assert log._lines == []
    log.close()


def test_a_file_that_cannot_be_opened_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        AccessLog(tmp_path / "nowhere" / "x")
