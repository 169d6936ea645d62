"""What can happen to a rollout, and what a rollout can ask for: records between `rollout.step` and the driver."""

from dataclasses import dataclass, field
from typing import Any

from contract.messages import Guard, RuleSetRef
from contract.vocabulary import EventKind, Strategy, Verdict
from deployer.plan import Phase

#: Nodes that do not confirm a revert in this time make it STUCK; an activation takes a tenth of a second.
STUCK_AFTER_S = 5.0
#: A slow leak or a daily peak needs time to show; the last known good waits for it.
SOAK_S = 600.0

# ---- Events: what happened, and when ----


@dataclass(frozen=True, slots=True)
class Started:
    """Somebody ships `target`. `refused_because`: a gate's no."""

    t: float
    id: int
    target: RuleSetRef
    previous: RuleSetRef
    by: str
    nodes: tuple[str, ...]
    strategy: Strategy = Strategy.EVERYWHERE
    guard: Guard | None = None
    away: tuple[str, ...] = ()
    soak_s: float = SOAK_S
    stuck_after_s: float = STUCK_AFTER_S
    note: str = ""
    refused_because: str = ""


@dataclass(frozen=True, slots=True)
class RollBack:
    """Somebody wants `to` on every node. `id`, `nodes`, `away` serve when no rollout is in progress."""

    t: float
    id: int
    to: RuleSetRef
    current: RuleSetRef
    by: str
    reason: str
    nodes: tuple[str, ...]
    away: tuple[str, ...] = ()
    stuck_after_s: float = STUCK_AFTER_S
    evidence: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Abort:
    t: float
    by: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Pause:
    t: float
    by: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Resume:
    t: float
    by: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Promote:
    t: float
    by: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class NodeUp:
    """A node's stream opened; it has to confirm again. An unknown node is enrolled."""

    t: float
    node: str


@dataclass(frozen=True, slots=True)
class NodeAway:
    t: float
    node: str


@dataclass(frozen=True, slots=True)
class NodeConfirmed:
    """A node runs `digest`, by an order not older than the last change of the rule set."""

    t: float
    node: str
    digest: str


@dataclass(frozen=True, slots=True)
class NodeRefused:
    t: float
    node: str
    digest: str
    reason: str


@dataclass(frozen=True, slots=True)
class Judged:
    """The analysis's verdict. `evidence`: culprit_rule, held_s."""

    t: float
    verdict: Verdict
    reason: str
    by: str
    evidence: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Restarted:
    """The deployer came back; what it had seen is lost, and no stream is open yet. `nodes`: the enrolled ones."""

    t: float
    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Tick:
    t: float


Event = (
    Started | RollBack | Abort | Pause | Resume | Promote
    | NodeUp | NodeAway | NodeConfirmed | NodeRefused | Judged | Restarted | Tick
)  # fmt: skip

#: Events that somebody asked for: where the table has no entry they are refused. All others are facts, and
#: where the table has no entry they change nothing.
ASKED_FOR = (Started, RollBack, Abort, Pause, Resume, Promote)


# ---- Commands: what the driver has to do, after it has journalled ----


@dataclass(frozen=True, slots=True)
class Journal:
    kind: EventKind
    text: str
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Assign:
    """Order `ref` on every enrolled node, present or not."""

    ref: RuleSetRef
    phase: Phase


@dataclass(frozen=True, slots=True)
class MoveLastKnownGood:
    ref: RuleSetRef


Command = Journal | Assign | MoveLastKnownGood
