"""The nodes as the screen shows them: one tile each.

In: `NodeSample`s, and the node_up / node_down events. Out: tiles, and which nodes run which rule set. Pure.
"""

from collections import deque
from dataclasses import dataclass, field

from console.evidence import BAD_ABOVE
from contract.messages import SILENT_AFTER_S, RuleSetRef
from contract.record import NodeSample, Tile
from contract.topology import NODES_BY_NAME

#: Rates on a tile are means over this long.
RATE_WINDOW_S = 1.0

#: CPU too, for longer: a quota of 0.12 core is a dozen of the system's CPU ticks a second.
CPU_WINDOW_S = 2.0

#: Below this a rule in evaluation is ordinary work, not a culprit.
HOT_AFTER_S = 0.5


@dataclass
class Node:
    """One node, from its samples. `up` follows the recorded events, so that a replay shows what was shown."""

    name: str
    up: bool = False
    latest: NodeSample | None = None
    last_up_t: float | None = None
    version: RuleSetRef | None = None
    _window: deque[tuple[float, NodeSample]] = field(default_factory=deque)

    def add(self, sample: NodeSample) -> None:
        dt = sample.t - self.latest.t if self.latest else RATE_WINDOW_S
        self.latest = sample
        self._window.append((dt, sample))
        while self._window[0][1].t <= sample.t - CPU_WINDOW_S + 1e-6:
            self._window.popleft()
        if sample.up:
            self.last_up_t = sample.t
            self.version = sample.version

    def answers(self, now_t: float) -> bool:
        """Heard of within SILENT_AFTER_S."""
        return self.last_up_t is not None and now_t - self.last_up_t <= SILENT_AFTER_S

    @property
    def kill_switch(self) -> bool:
        return self.up and self.latest is not None and self.latest.kill_switch

    @property
    def hot(self) -> tuple[str, float] | None:
        """(rule, seconds it has been in evaluation) when that is out of the ordinary."""
        sample = self.latest
        if not self.up or sample is None or sample.hot_rule is None or sample.hot_rule_held_s <= HOT_AFTER_S:
            return None
        return sample.hot_rule, sample.hot_rule_held_s

    def _recent(self) -> list[tuple[float, NodeSample]]:
        """What rates are taken over."""
        now = self._window[-1][1].t if self._window else 0.0
        return [(dt, sample) for dt, sample in self._window if sample.t > now - RATE_WINDOW_S + 1e-6]

    def per_s(self) -> tuple[float, float]:
        """(ok, 502) a second."""
        recent = self._recent()
        span_s = sum(dt for dt, _ in recent)
        if not self.up or span_s <= 0:
            return 0.0, 0.0
        ok = sum(sample.ok for _, sample in recent)
        bad = sum(sample.bad_gateway for _, sample in recent)
        return ok / span_s, bad / span_s

    def cpu_of_quota(self) -> tuple[float | None, dict[str, float]]:
        """(all inspectors, by pool). A mean, as the system counts CPU in hundredths of a second: in one sample of
        a small quota that is a third of it."""
        read = [(dt, sample) for dt, sample in self._window if sample.cpu_of_quota is not None]
        span_s = sum(dt for dt, _ in read)
        if not self.up or span_s <= 0:
            return None, {}
        total = sum(dt * (sample.cpu_of_quota or 0.0) for dt, sample in read) / span_s
        pools = {pool for _, sample in read for pool in sample.pool_cpu_of_quota}
        by_pool = {
            pool: sum(dt * sample.pool_cpu_of_quota.get(pool, 0.0) for dt, sample in read) / span_s
            for pool in sorted(pools)
        }
        return total, by_pool

    def state(self) -> str:
        """ok | bad | silent | unprotected. Silence is not health."""
        if not self.up:
            return "silent"
        recent = self._recent()
        bad = sum(sample.bad_gateway for _, sample in recent)
        ended = sum(sample.ok + sample.bad_gateway + sample.other for _, sample in recent)
        if bad and bad / ended > BAD_ABOVE:
            return "bad"
        return "unprotected" if self.kill_switch else "ok"

    def tile(self) -> Tile:
        spec = NODES_BY_NAME.get(self.name)
        ok_per_s, bad_per_s = self.per_s()
        rule, held_s = self.hot or (None, 0.0)
        cpu, by_pool = self.cpu_of_quota()
        return Tile(
            node=self.name,
            pop=spec.pop if spec else self.name.partition("-")[0],
            region=spec.region if spec else "",
            cohort=spec.cohort if spec else "",
            state=self.state(),
            version=self.version.label if self.version else "",
            digest=self.version.digest if self.version else "",
            cpu_of_quota=cpu,
            pool_cpu_of_quota=by_pool,
            ok_per_s=ok_per_s,
            bad_per_s=bad_per_s,
            hot_rule=rule,
            hot_rule_held_s=held_s,
        )


class Fleet:
    """All nodes of the run, in the order in which they were named."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}

    def node(self, name: str) -> Node:
        return self.nodes.setdefault(name, Node(name))

    @property
    def up(self) -> list[Node]:
        return [node for node in self.nodes.values() if node.up]

    @property
    def silent(self) -> tuple[str, ...]:
        return tuple(node.name for node in self.nodes.values() if not node.up)

    def on(self, ref: RuleSetRef | None) -> tuple[str, ...]:
        """Names of the nodes that run this rule set."""
        if ref is None:
            return ()
        return tuple(n.name for n in self.nodes.values() if n.version and n.version.digest == ref.digest)

    def mostly(self) -> RuleSetRef | None:
        """The rule set that most of the nodes that are up run."""
        refs = sorted((node.version for node in self.up if node.version), key=lambda ref: ref.version)
        return max(refs, key=refs.count) if refs else None

    def culprit(self) -> str | None:
        """The rule that most nodes are stuck in."""
        rules = [node.hot[0] for node in self.nodes.values() if node.hot]
        return max(sorted(set(rules)), key=rules.count) if rules else None

    def tiles(self) -> tuple[Tile, ...]:
        return tuple(node.tile() for node in self.nodes.values())
