import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from origins.server import BadInput, Options, parse


def test_defaults() -> None:
    assert parse([]) == Options("127.0.0.1", 9000, None, None, 1)


@pytest.mark.parametrize(
    ("argv", "word"),
    [
        (["--listen", "nine"], "HOST:PORT"),
        (["--listen", "127.0.0.1:99999"], "HOST:PORT"),
        (["--seed", "x"], "--seed"),
        (["--ready-fd", "999"], "--ready-fd 999"),
        (["--nonsense"], "--nonsense"),
    ],
)
def test_bad_input_is_named(argv: list[str], word: str) -> None:
    with pytest.raises(BadInput, match=word):
        parse(argv)


async def start(*argv: str, pass_fds: tuple[int, ...] = ()) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "origins", *argv, pass_fds=pass_fds, stderr=asyncio.subprocess.PIPE
    )


@asynccontextmanager
async def running(*argv: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    read, write = os.pipe()
    process = await start("--listen", "127.0.0.1:0", "--ready-fd", str(write), *argv, pass_fds=(write,))
    os.close(write)
    try:
        line = await asyncio.wait_for(asyncio.to_thread(os.read, read, 4096), 10)
        ready = json.loads(line)
        assert ready["pid"] == process.pid
        yield process, ready["urls"]["origins"]
    finally:
        os.close(read)
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_says_when_it_is_ready_and_ends_cleanly_with_its_log_written(
    number: signal.Signals, tmp_path: Path
) -> None:
    log = tmp_path / "origins.jsonl"
    async with running("--log", str(log)) as (process, url):
        async with (
            aiohttp.ClientSession() as session,
            session.get(url, headers={"Host": "shop.example"}) as answer,
        ):
            assert answer.status == 200
        process.send_signal(number)
        assert await asyncio.wait_for(process.wait(), 5) == 0
    assert len(log.read_bytes().splitlines()) == 1


@pytest.mark.slow
async def test_a_busy_port_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        process = await start("--listen", address, "--log", str(tmp_path / "never.jsonl"))
        _, err = await asyncio.wait_for(process.communicate(), 10)
    assert process.returncode == 2
    assert err.decode().startswith(f"error: {address} is in use;")
    assert err.count(b"\n") == 1
    assert not (tmp_path / "never.jsonl").exists()


@pytest.mark.slow
async def test_a_log_that_cannot_be_written_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    process = await start("--listen", "127.0.0.1:0", "--log", str(tmp_path / "nowhere" / "x"))
    _, err = await asyncio.wait_for(process.communicate(), 10)
    assert process.returncode == 2
    assert err.decode().startswith("error: --log ")
    assert err.count(b"\n") == 1
