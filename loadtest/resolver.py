"""Which node a visitor is sent to: the ready nodes of its region, in turn. Pure; `readiness.py` asks them.

Stands in for anycast and DNS. Where no node of a region is ready the last thing known is that there is one, so
all of them are answered (fail static); a region without any node of its own is served by the rest of the fleet.
"""

from collections.abc import Mapping
from itertools import count

from contract.topology import NODES_BY_NAME, NodeEndpoint


class Resolver:
    """The current answer for each region. Before the first `update`, every node counts as ready."""

    def __init__(self, nodes: tuple[NodeEndpoint, ...]) -> None:
        if not nodes:
            raise ValueError("a resolver needs at least one node")
        self._nodes = nodes
        self._ready = {node.name: True for node in nodes}
        self._answers: dict[str, tuple[NodeEndpoint, ...]] = {}
        self._turns: dict[str, count[int]] = {}

    def update(self, ready: Mapping[str, bool]) -> None:
        """What was heard from each node, by name; a node that is not named keeps its state."""
        self._ready |= ready
        self._answers.clear()

    def pick(self, region: str) -> NodeEndpoint:
        """The next node for a visitor of `region`, round-robin."""
        answer = self._answers.get(region)
        if answer is None:
            answer = self._answers[region] = self.answer(region)
        turn = next(self._turns.setdefault(region, count()))
        return answer[turn % len(answer)]

    def answer(self, region: str) -> tuple[NodeEndpoint, ...]:
        """All nodes that visitors of `region` are sent to now; never empty."""
        own = tuple(node for node in self._nodes if NODES_BY_NAME[node.name].region == region) or self._nodes
        return tuple(node for node in own if self._ready[node.name]) or own
