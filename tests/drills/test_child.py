"""Children: ready when they say so, and named with their last words when they do not."""

import asyncio
from pathlib import Path

import pytest

from drills.child import Child, ChildFailed, stop_all

#: The ready descriptor comes last on the command line, after `--ready-fd`.
READY = 'import os,sys;os.write(int(sys.argv[-1]),b\'{"pid":1,"urls":{"it":"http://x"}}\\n\');'


async def test_a_child_is_ready_when_it_says_so_and_gone_after_stop(tmp_path: Path) -> None:
    child = Child("it", tmp_path)
    ready = await child.start(["-c", READY + "import time;time.sleep(60)"], 10)
    assert ready.urls == {"it": "http://x"}
    assert child.running
    assert await stop_all([child]) == []
    assert not child.running


async def test_a_child_that_does_not_end_is_killed_and_named(tmp_path: Path) -> None:
    child = Child("deaf", tmp_path)
    deaf = "import signal,time;signal.signal(signal.SIGTERM,signal.SIG_IGN);"
    await child.start(["-c", deaf + READY + "time.sleep(60)"], 10)
    assert await stop_all([child], patience_s=0.2) == ["deaf"]
    assert not child.running


async def test_a_child_that_fails_is_named_with_its_last_words(tmp_path: Path) -> None:
    child = Child("broken", tmp_path)
    try:
        with pytest.raises(ChildFailed, match=r"broken ended before it was ready: 127\.0\.0\.1:80 is in use"):
            await child.start(["-c", "import sys;sys.exit('error: 127.0.0.1:80 is in use')"], 10)
    finally:
        await stop_all([child])


async def test_a_child_that_says_nothing_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    child = Child("mute", tmp_path)
    try:
        with pytest.raises(ChildFailed, match=r"mute was not ready within 0\.2 s"):
            await child.start(["-c", "import time;time.sleep(60)"], 0.2)
    finally:
        await stop_all([child])


async def test_a_cancelled_start_leaves_a_child_that_can_be_stopped(tmp_path: Path) -> None:
    child = Child("slow", tmp_path)
    start = asyncio.ensure_future(child.start(["-c", "import time;time.sleep(60)"], 30))
    async with asyncio.timeout(10):
        while not child.running:  # noqa: ASYNC110  (another process's state)
            await asyncio.sleep(0.01)
    start.cancel()
    await asyncio.gather(start, return_exceptions=True)
    await stop_all([child])
    assert not child.running
