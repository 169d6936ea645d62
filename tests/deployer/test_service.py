"""The process: ready when it answers, one line and exit code 2 for bad input, gone at the first signal."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
import pytest

from contract.messages import Guard, Ready, RolloutRequest
from contract.topology import FLEET
from contract.vocabulary import EventKind
from deployer.client import DeployerClient
from tests.fakes.node import FakeNode

pytestmark = pytest.mark.slow

RULES = b"name: first\nrules:\n  - {id: r-1, pattern: a, targets: [uri]}\n"


class Process:
    """`python -m deployer`, started and answering."""

    def __init__(self, *arguments: str) -> None:
        read_fd, write_fd = os.pipe()
        self.popen = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "deployer",
                "--listen",
                "127.0.0.1:0",
                *arguments,
                "--ready-fd",
                str(write_fd),
            ],
            pass_fds=(write_fd,),
            stderr=subprocess.PIPE,
        )
        os.close(write_fd)
        with os.fdopen(read_fd, "rb") as pipe:
            line = pipe.read()  # to its end: the process has to close it
        assert line, self.popen.communicate(timeout=10)
        self.ready = msgspec.json.decode(line, type=Ready)

    @property
    def url(self) -> str:
        return self.ready.urls["api"]

    def end(self, number: int = signal.SIGTERM) -> tuple[int, bytes]:
        self.popen.send_signal(number)
        _, said = self.popen.communicate(timeout=5)
        return self.popen.returncode, said


@pytest.fixture
def store(tmp_path: Path) -> Path:
    (tmp_path / "first.yaml").write_bytes(RULES)
    return tmp_path / "store.sqlite3"


@pytest.fixture
def process(store: Path) -> Iterator[Process]:
    running = Process("--store", str(store), "--rules", str(store.with_name("first.yaml")))
    yield running
    if running.popen.poll() is None:
        running.end(signal.SIGKILL)


def _refused(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "deployer", *arguments], capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 2, done
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_ready_then_gone_at_the_first_signal(process: Process, number: int) -> None:
    assert process.ready.pid == process.popen.pid
    async with DeployerClient(process.url) as client:
        view = await client.fleet()
        assert view.desired is not None
        assert (view.desired.version, len(view.nodes)) == (1, 8)
    assert process.end(number) == (0, b"")


async def test_the_store_is_read_again_and_rules_do_not_overrule_it(process: Process, store: Path) -> None:
    async with DeployerClient(process.url) as client:
        first = (await client.fleet()).desired
        await client.kill_switch(True, "tester")
    process.end(signal.SIGKILL)
    other = store.with_name("other.yaml")
    other.write_bytes(RULES.replace(b"first", b"other"))
    again = Process("--store", str(store), "--rules", str(other), "--expect", "a,b")
    try:
        async with DeployerClient(again.url) as client:
            view = await client.fleet()
        assert (view.desired, view.kill_switch, view.epoch) == (first, True, 2)
        assert [node.hello.node for node in view.nodes] == ["a", "b"]
    finally:
        assert again.end()[0] == 0


async def test_the_clock_of_a_real_deployer_rolls_back(process: Process) -> None:
    """Nobody calls `tick` here: eight nodes go bad, and the real ticks see it, decide and order."""
    nodes = [FakeNode(spec.name, process.url) for spec in FLEET]
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(DeployerClient(process.url))
        for node in nodes:
            stack.push_async_callback(node.close)
            await node.connect()
            await node.report()
        stored = await client.put_rule_set(RULES.replace(b"first", b"second"))
        await client.start_rollout(RolloutRequest(stored.ref.digest, "tester", guard=Guard(0.5, 0.0)))
        for node in nodes:
            await node.runs(2)
        seen = 0
        kinds: list[EventKind] = []
        async with asyncio.timeout(10):
            while EventKind.REVERTED not in kinds:
                for node in nodes:
                    await node.report(10, 9)
                entries = await client.journal(seen, wait_s=0.1)
                seen = entries[-1].seq if entries else seen
                kinds += [entry.kind for entry in entries]
        assert kinds.index(EventKind.PAGE) < kinds.index(EventKind.DECISION) < kinds.index(EventKind.ROLLBACK)
        assert {node.version for node in nodes} == {1}
        assert (await client.fleet()).nodes[0].control_ms is not None


def test_a_second_deployer_on_the_store_is_refused(process: Process, store: Path) -> None:
    said = _refused("--listen", "127.0.0.1:0", "--store", str(store))
    assert f"in use by another deployer (pid {process.popen.pid}); stop it" in said


def test_a_busy_port_is_named_and_nothing_is_created(store: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = _refused("--listen", f"127.0.0.1:{port}", "--store", str(store))
    assert f"127.0.0.1:{port} is in use; " in said
    assert not list(store.parent.glob("store*"))


def test_bad_rules_are_refused_before_anything_is_created(store: Path) -> None:
    bad = store.with_name("bad.yaml")
    bad.write_bytes(RULES.replace(b"pattern: a", b"pattern: '('"))
    said = _refused("--listen", "127.0.0.1:0", "--store", str(store), "--rules", str(bad))
    assert "rule r-1: pattern does not compile at position 0" in said
    assert "No such file" in _refused("--store", str(store), "--rules", str(store.with_name("missing.yaml")))
    assert "--ready-fd 77" in _refused("--listen", "127.0.0.1:0", "--store", str(store), "--ready-fd", "77")
    assert not list(store.parent.glob("store*"))
