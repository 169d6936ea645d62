"""The control stream and the deployer's API: what travels between a node, its deployer and its watchers.

Control stream: one WebSocket a node, opened by the node at `/control`; each binary frame is one msgpack
message. Down: `Assignment`, `Ping`. Up: `Hello`, `Ack`, `Refusal`, `Report`, `Pong`. It is level-triggered:
the whole assignment is sent again on every reconnect, counters are cumulative, a lost message costs nothing.
"""

import msgspec

from contract.vocabulary import Cohort, Pool, RefusalReason, RolloutState, Strategy

#: Grows when a message changes its meaning; a node may be older than its deployer.
PROTOCOL = 1

#: A control message above this size is refused unread: 64 rule sets of a megabyte are no rule sets.
MAX_CONTROL_BYTES = 8 * 1024 * 1024

#: Nodes report, and the deployer closes a batch, this often: one human blink.
REPORT_PERIOD_S = 0.25

#: A node not heard of for this long is silent, and silence is evidence.
SILENT_AFTER_S = 1.0


class RuleSetRef(msgspec.Struct, frozen=True):
    """A stored rule set: its SHA-256 (hex, over the author's exact YAML bytes) and its number in the store."""

    digest: str
    version: int

    @property
    def label(self) -> str:
        return f"v{self.version}"


class RuleSetText(msgspec.Struct, frozen=True):
    """A rule set in-line: the author's exact YAML bytes, whose SHA-256 must be the digest."""

    ref: RuleSetRef
    yaml: bytes


class Assignment(msgspec.Struct, frozen=True, tag="assignment"):
    """What a node shall run from now on. Refused when its epoch is below one already seen."""

    node: str
    epoch: int
    active: RuleSetRef
    last_known_good: RuleSetRef | None
    kill_switch: bool
    sets: tuple[RuleSetText, ...]
    #: Ages above which a request counts as slow, seconds, one counter each.
    taus_s: tuple[float, ...] = (0.25, 1.0)
    #: Reserved for the deployer's Ed25519 signature over everything above.
    signature: bytes = b""


class Ping(msgspec.Struct, frozen=True, tag="ping"):
    """Asks the node's front for a sign of life through the same stream that orders take."""

    seq: int


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """A node's first message on a stream."""

    node: str
    pop: str
    region: str
    cohort: Cohort
    edge: str
    admin: str
    protocol: int
    epoch: int
    active: RuleSetRef | None
    #: Reserved for the enrolment token.
    token: str = ""


class Ack(msgspec.Struct, frozen=True, tag="ack"):
    """The node runs what the assignment of this epoch says. `took_s`: from its receipt to the swap."""

    epoch: int
    active: RuleSetRef
    kill_switch: bool
    took_s: float


class Refusal(msgspec.Struct, frozen=True, tag="refusal"):
    """The node goes on with what it has."""

    epoch: int
    digest: str
    reason: RefusalReason
    detail: str


class Counters(msgspec.Struct, frozen=True):
    """Cumulative since the front started. `due`: reached its verdict (finished, or older than the last tau)."""

    due: int
    bad: int
    slow: tuple[int, ...]
    by_outcome: dict[str, int]
    by_reason: dict[str, int]
    hits_by_rule: dict[str, int]


class HotRule(msgspec.Struct, frozen=True):
    """The rule that an inspector is evaluating at this moment, and for how long it has been."""

    rule: str
    held_s: float
    pool: Pool


class InspectorStatus(msgspec.Struct, frozen=True):
    """One inspector as its front sees it. `cpu_s`: user + system seconds since its fork."""

    pid: int
    pool: Pool
    generation: int
    cpu_s: float
    in_flight: int
    queued: int
    alive: bool


class Report(msgspec.Struct, frozen=True, tag="report"):
    """A node's state, every REPORT_PERIOD_S, and the body of its `GET /status`."""

    node: str
    seq: int
    uptime_s: float
    epoch: int
    active: RuleSetRef | None
    kill_switch: bool
    kill_switch_local: bool
    draining: bool
    counters: Counters
    in_flight: int
    oldest_in_flight_s: float
    #: User + system CPU of all inspectors that this front ever had, seconds.
    inspector_cpu_s: float
    #: Share of one core that they may use together.
    cpu_quota: float
    #: Worst delay of the front's event loop since the last report, seconds.
    loop_lag_s: float
    hottest: HotRule | None
    inspectors: tuple[InspectorStatus, ...]
    pid: int


class Pong(msgspec.Struct, frozen=True, tag="pong"):
    seq: int


Down = Assignment | Ping
Up = Hello | Ack | Refusal | Report | Pong

encode = msgspec.msgpack.Encoder().encode
decode_down = msgspec.msgpack.Decoder(Down).decode
decode_up = msgspec.msgpack.Decoder(Up).decode


# ---- The deployer's HTTP API (JSON under /api/v1) ----


class Guard(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The absolute guard: revert when the fleet's bad ratio stays above `above` for `for_s` seconds.

    It has no control group to compare with, so it cannot tell a bad deploy from an attack; its verdict says so.
    The default waits 8 s because an audience has to see the wall; 0 is allowed.
    """

    above: float = 0.5
    for_s: float = 8.0


class RolloutRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /api/v1/rollouts`: ship a stored set. `guard: null` switches automated rollback off."""

    digest: str
    by: str
    strategy: Strategy = Strategy.EVERYWHERE
    guard: Guard | None = Guard()
    note: str = ""


class RollbackRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /api/v1/rollback`: to a stored version's number, or (null) to the last known good."""

    by: str
    to_version: int | None = None
    reason: str = ""


class KillSwitchRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /api/v1/kill-switch`: skip inspection on every node, or inspect again."""

    on: bool
    by: str


class VerbRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /api/v1/rollouts/ID/VERB`: pause, resume, promote or abort the rollout in progress."""

    by: str
    reason: str = ""


class StoredRuleSet(msgspec.Struct, frozen=True):
    """`POST /api/v1/rulesets` (body: YAML) answers with this; `GET` lists them."""

    ref: RuleSetRef
    name: str
    rules: int


class RolloutView(msgspec.Struct, frozen=True):
    """A rollout as the API shows it."""

    id: int
    state: RolloutState
    strategy: Strategy
    target: RuleSetRef
    previous: RuleSetRef
    by: str
    reason: str
    confirmed: tuple[str, ...]
    waiting_for: tuple[str, ...]


class FleetNode(msgspec.Struct, frozen=True):
    """A node as the deployer knows it. `control_ms`: last round trip of a Ping; None before the first."""

    hello: Hello
    connected: bool
    silent_s: float
    confirmed_epoch: int
    active: RuleSetRef | None
    control_ms: float | None
    report: Report | None
    last_refusal: Refusal | None


class FleetView(msgspec.Struct, frozen=True):
    """`GET /api/v1/fleet`."""

    epoch: int
    desired: RuleSetRef | None
    last_known_good: RuleSetRef | None
    kill_switch: bool
    rollout: RolloutView | None
    nodes: tuple[FleetNode, ...]


class ApiError(msgspec.Struct, frozen=True):
    """The body of every answer of 400 and above."""

    error: str
    nearest: tuple[str, ...] = ()


class Ready(msgspec.Struct, frozen=True):
    """The one JSON line a process writes to `--ready-fd` once it answers: its base URLs by purpose."""

    pid: int
    urls: dict[str, str]
