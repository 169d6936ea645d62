"""A deployer on real sockets, with a clock and ticks that the test moves."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest

from contract.messages import Guard, RolloutRequest, RuleSetRef
from contract.record import JournalEntry
from contract.vocabulary import EventKind
from deployer.client import DeployerClient
from deployer.config import Config
from deployer.driver import Driver
from deployer.service import FirstRules, bind, running
from deployer.store import Store
from tests.fakes.clock import FakeClock
from tests.fakes.node import FakeNode, burning
from tests.fakes.waiting import eventually


def rules_yaml(name: str, pattern: str = "a") -> bytes:
    return f"name: {name}\nrules:\n  - {{id: r-1, pattern: '{pattern}', targets: [uri]}}\n".encode()


FIRST = rules_yaml("first")
SECOND = rules_yaml("second", "b")
QUICK = Guard(0.5, 1.0)


@dataclass
class Lab:
    """One running deployer and the nodes that came to it."""

    driver: Driver
    client: DeployerClient
    base_url: str
    clock: FakeClock
    stack: AsyncExitStack
    nodes: dict[str, FakeNode] = field(default_factory=dict)

    async def join(self, *names: str) -> None:
        """Connect nodes; returns when each runs what the deployer says."""
        for name in names:
            node = self.nodes[name] = FakeNode(name, self.base_url)
            self.stack.push_async_callback(node.close)
            await node.connect()
        for name in names:
            await self.confirmed(name)

    async def confirmed(self, name: str) -> None:
        nodes = self.driver.fleet.nodes
        await eventually(
            lambda: name in nodes and nodes[name].confirmed_epoch == self.driver.plan.epoch,
            f"{name} confirmed order {self.driver.plan.epoch}",
        )

    async def ship(self, yaml: bytes = SECOND, guard: Guard | None = QUICK, by: str = "tester") -> RuleSetRef:
        stored = await self.client.put_rule_set(yaml)
        await self.client.start_rollout(RolloutRequest(stored.ref.digest, by, guard=guard))
        return stored.ref

    async def state(self, wanted: str) -> None:
        await eventually(
            lambda: self.driver.rollout is not None and self.driver.rollout.state == wanted,
            f"the rollout is {wanted}, not {self.driver.rollout}",
        )

    async def batch(self, due: int = 0, bad: int = 0, hot: str | None = None) -> None:
        """250 ms: every connected node reports, then the deployer ticks."""
        self.clock.advance(0.25)
        there = [node for node in self.nodes.values() if self.driver.fleet.nodes[node.name].stream is not None]
        for node in there:
            await node.report(due, bad, None if hot is None else burning(hot, 2.0))
        for node in there:
            await eventually(lambda node=node: self._seq(node.name) == node.seq, f"{node.name}'s report")  # type: ignore[misc]
        await self.driver.tick()

    def _seq(self, name: str) -> int:
        report = self.driver.fleet.nodes[name].report
        return 0 if report is None else report.seq

    async def journal(self, *kinds: EventKind) -> list[JournalEntry]:
        entries = await self.client.journal()
        return [entry for entry in entries if not kinds or entry.kind in kinds]


Serve = Callable[..., AbstractAsyncContextManager[Lab]]


@pytest.fixture
def serve(tmp_path: Path) -> Serve:
    """`async with serve("a", "b") as lab`: expects these nodes; the store stays the same within one test."""

    @asynccontextmanager
    async def _serve(*expect: str, clock: FakeClock | None = None, **config: float) -> AsyncIterator[Lab]:
        clock = clock or FakeClock()
        path = tmp_path / "store.sqlite3"
        first_file = tmp_path / "first.yaml"
        first_file.write_bytes(FIRST)
        settings = msgspec.convert(
            {"host": "127.0.0.1", "port": 0, "store": str(path), "expect": expect or None, **config},
            Config,
            dec_hook=lambda kind, value: kind(value),
        )
        first = await asyncio.to_thread(FirstRules.load, first_file)
        async with AsyncExitStack() as stack:
            service = await stack.enter_async_context(
                running(
                    settings,
                    bind("127.0.0.1", 0),
                    await asyncio.to_thread(Store.open, path),
                    first,
                    now=clock,
                    ticking=False,
                )
            )
            client = await stack.enter_async_context(DeployerClient(service.base_url))
            yield Lab(service.driver, client, service.base_url, clock, stack)

    return _serve
