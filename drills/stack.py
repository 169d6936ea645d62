"""Starts the whole stack as local processes, and ends it: origins, deployer, console, nodes, traffic.

Each process says itself where it answers; nothing is slept for. Whatever was started is ended by `stop`,
also when the start itself failed half-way.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

import msgspec

from contract.topology import Endpoints, NodeEndpoint, NodeSpec
from drills.child import Child, stop_all
from drills.drill import Edge, Traffic

T = TypeVar("T")

#: Processes start in a second on a quiet machine; this is for one that is busy with something else.
START_TIMEOUT_S = 30.0
_RULES = "rules-healthy.yaml"


@dataclass(frozen=True)
class Ports:
    """Where the stack listens on 127.0.0.1; node n has edge + n and admin + n. 0: any free port."""

    origins: int = 0
    deployer: int = 0
    console: int = 0
    edge: int = 0
    admin: int = 0

    def of_node(self, index: int) -> tuple[int, int]:
        return (self.edge + index if self.edge else 0, self.admin + index if self.admin else 0)


#: Known addresses for `badgateway up`, so that a browser, curl and Locust find them again.
FIXED_PORTS = Ports(origins=9000, deployer=8070, console=8090, edge=8081, admin=9081)


@dataclass(frozen=True)
class StackPlan:
    """`folder`: where state is kept; `logs`: where logs are written; `rules`: the first rule set's bytes."""

    folder: Path
    logs: Path
    nodes: Sequence[NodeSpec]
    edge: Edge
    rules: bytes
    seed: int
    ports: Ports = Ports()


class Stack:
    """The running processes. `tell(sentence)` is called as the start gets on."""

    def __init__(self, plan: StackPlan, tell: Callable[[str], None]) -> None:
        self._plan = plan
        self._tell = tell
        self._children: list[Child] = []
        self.console_url = ""
        self.endpoints: Endpoints

    async def start_observer(self) -> str:
        """The console first: whoever watches sees the rest come up. Returns its address."""
        self.console_url = await self._start("console", command("console", {}), self._plan.ports.console)
        return self.console_url

    async def start(self) -> Endpoints:
        """Origins and deployer, then every node. Raises ChildFailed."""
        plan = self._plan
        rules = plan.folder / _RULES
        rules.write_bytes(plan.rules)
        origins, deployer = await _together(
            self._start(
                "origins",
                command("origins", {"--seed": plan.seed, "--log": plan.logs / "origins.jsonl"}),
                plan.ports.origins,
            ),
            self._start(
                "deployer",
                command(
                    "deployer",
                    {
                        "--store": plan.folder / "deployer.sqlite3",
                        "--rules": rules,
                        "--expect": ",".join(node.name for node in plan.nodes),
                    },
                ),
                plan.ports.deployer,
            ),
        )
        self._tell(f"origins and deployer are up; starting {len(plan.nodes)} edge nodes")
        nodes = await _together(
            *(self._start_node(index, node, origins, deployer) for index, node in enumerate(plan.nodes))
        )
        self.endpoints = Endpoints(origins, deployer, self.console_url, tuple(nodes))
        (plan.folder / "endpoints.json").write_bytes(msgspec.json.format(msgspec.json.encode(self.endpoints)))
        return self.endpoints

    async def start_traffic(self, traffic: Traffic, seed: int) -> None:
        """Locust's users, on the schedule that the seed fixes."""
        package = find_spec("loadtest")
        assert package is not None
        assert package.submodule_search_locations is not None
        locustfile = Path(package.submodule_search_locations[0]) / "locustfile.py"
        child = self._child("locust")
        await child.start(
            command(
                "locust",
                {
                    "-f": locustfile,
                    "-u": traffic.users,
                    "-r": traffic.users,
                    "--loglevel": "WARNING",
                    "--stop-timeout": 2,
                    "--exit-code-on-error": 0,
                    "--headless": None,
                    "--only-summary": None,
                },
            ),
            START_TIMEOUT_S,
            env={
                "BADGATEWAY_ENDPOINTS": str(self._plan.folder / "endpoints.json"),
                "BADGATEWAY_SEED": str(seed),
                "BADGATEWAY_RATE": str(traffic.rate_per_s),
                "BADGATEWAY_LOG_DIR": str(self._plan.logs),
                "BADGATEWAY_CONSOLE": self.console_url,
            },
            ready_by_env="BADGATEWAY_READY_FD",
        )

    async def stop_traffic(self) -> None:
        """Users finish what they have begun; the log is whole afterwards."""
        await stop_all([child for child in self._children if child.name == "locust"], patience_s=8.0)
        self._children = [child for child in self._children if child.name != "locust"]

    async def stop(self) -> None:
        """End everything, the console last, so that it sees the rest go."""
        rest = [child for child in self._children if child.name != "console"]
        await stop_all(rest)
        await stop_all([child for child in self._children if child.name == "console"])
        self._children = []

    def dead(self) -> list[Child]:
        """Processes that ended although nobody asked them to."""
        return [child for child in self._children if child.ready is not None and not child.running]

    def _child(self, name: str) -> Child:
        child = Child(name, self._plan.logs)
        self._children.append(child)
        return child

    async def _start(self, name: str, arguments: list[str], port: int) -> str:
        ready = await self._child(name).start([*arguments, "--listen", f"127.0.0.1:{port}"], START_TIMEOUT_S)
        return next(iter(ready.urls.values()))

    async def _start_node(self, index: int, node: NodeSpec, origins: str, deployer: str) -> NodeEndpoint:
        plan, edge = self._plan, self._plan.edge
        port, admin_port = plan.ports.of_node(index)
        ready = await self._child(node.name).start(
            command(
                "proxy",
                {
                    "--name": node.name,
                    "--listen": f"127.0.0.1:{port}",
                    "--admin": f"127.0.0.1:{admin_port}",
                    "--origin": origins,
                    "--deployer": deployer,
                    "--inspectors": edge.inspectors,
                    "--standby": edge.standby,
                    "--on-inspection-failure": edge.on_inspection_failure,
                    "--cpu-quota": edge.cpu_quota,
                    "--inspection-deadline": edge.inspection_deadline_s,
                    "--inspect-body-bytes": edge.inspect_body_bytes,
                    "--state": plan.folder / "nodes",
                    "--log-dir": plan.logs,
                },
            ),
            START_TIMEOUT_S,
        )
        return NodeEndpoint(node.name, ready.urls["edge"], ready.urls["admin"])


def command(module: str, options: Mapping[str, object]) -> list[str]:
    """`-m MODULE` and its options; None for one without a value."""
    words = ["-m", module]
    for option, value in options.items():
        words += [option] if value is None else [option, str(value)]
    return words


async def _together(*starts: Awaitable[T]) -> list[T]:
    """All of them, or the first failure once none is under way any more."""
    tasks = [asyncio.ensure_future(start) for start in starts]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
