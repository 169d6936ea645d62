"""The record of a run: one JSON object a line, each tagged with `type`.

`events.jsonl` holds `Event`s, `samples.jsonl` the samples; the page, the report, `replay` and `compare` read
nothing else. `t` is seconds since the run began, on the console's monotonic clock; what was reported late
carries an age, so no two clocks are ever compared. The access logs beside them carry wall-clock seconds
(`at`), which one machine shares.
"""

from typing import Any

import msgspec

from contract.messages import RuleSetRef
from contract.topology import Endpoints
from contract.vocabulary import EventKind, StatusWord


class Event(msgspec.Struct, frozen=True, tag="event", omit_defaults=True):
    """Something happened. `text` is a sentence for people, `data` what it was made from."""

    t: float
    kind: EventKind
    source: str
    text: str
    data: dict[str, Any] = {}


class JournalEntry(msgspec.Struct, frozen=True):
    """An event as the deployer tells it (`GET /api/v1/journal?after=SEQ&wait_s=S`): `age_s` at sending."""

    seq: int
    age_s: float
    kind: EventKind
    text: str
    data: dict[str, Any] = {}


class NodeSample(msgspec.Struct, frozen=True, tag="node"):
    """One node, seen from outside. Counts are differences since this node's previous sample."""

    t: float
    node: str
    #: Answered its admin port within a second.
    up: bool
    version: RuleSetRef | None
    kill_switch: bool
    due: int
    ok: int
    bad_gateway: int
    other: int
    #: User + system CPU of the node's inspectors by psutil, divided by wall time and quota; None: not readable.
    cpu_of_quota: float | None
    #: The same for each pool.
    pool_cpu_of_quota: dict[str, float]
    cpu_source: str  # "psutil" (from outside) or "reported" (by the node: other PID namespace)
    loop_lag_ms: float
    status_ms: float | None
    metrics_ms: float | None
    control_ms: float | None
    oldest_in_flight_s: float
    hot_rule: str | None
    hot_rule_held_s: float


class TrafficSample(msgspec.Struct, frozen=True, tag="traffic"):
    """What Locust's users met in a bucket of `width_s` ending at `t`, by the time of the answer.

    `intended`: due in the bucket by the schedule; `outcomes`: Outcome → count of those that ended in it.
    """

    t: float
    width_s: float
    intended: int
    sent: int
    outcomes: dict[str, int]
    by_node: dict[str, dict[str, int]]
    latency_ms_p50: float | None
    latency_ms_p99: float | None
    send_lag_ms_p99: float | None
    in_flight: int
    users: int
    cpu_share: float


class TrafficReport(msgspec.Struct, frozen=True):
    """`POST /ingest/traffic` on the console: a finished bucket, and how long ago it ended."""

    age_s: float
    sample: TrafficSample


class ProbeSample(msgspec.Struct, frozen=True, tag="probe"):
    """The outside probe: one page, fetched through one node as a customer would."""

    t: float
    node: str
    site: str
    status: int  # 0: no HTTP answer
    ms: float


class OriginSample(msgspec.Struct, frozen=True, tag="origin"):
    """The origins, asked directly, past the edge. Counts are differences since the previous sample."""

    t: float
    up: bool
    status_ms: float | None
    requests: int
    errors: int
    sites: int


class StackSample(msgspec.Struct, frozen=True, tag="stack"):
    """Memory (PSS) and CPU of everything that belongs to the run, by role; CPU in cores since the last one."""

    t: float
    pss_mib: float
    pss_mib_by_role: dict[str, float]
    cpu_cores_by_role: dict[str, float]


Sample = NodeSample | TrafficSample | ProbeSample | OriginSample | StackSample
Line = Event | Sample


class RunHead(msgspec.Struct, frozen=True):
    """`run.json`: what the run is. `started_at` is the wall clock at t = 0, seconds since the epoch."""

    drill: str
    title: str
    stamp: str
    seed: int
    procedure: str
    started_at: float
    settings: dict[str, Any] = {}
    environment: dict[str, Any] = {}


class RunBegin(msgspec.Struct, frozen=True):
    """`POST /api/v1/run` on the console: record into `dir` from now on (t = 0). `root_pid`: the process whose
    descendants are the stack, for memory and CPU from outside; None where they cannot be seen (containers)."""

    dir: str
    head: RunHead
    endpoints: Endpoints
    root_pid: int | None = None


class RunEnd(msgspec.Struct, frozen=True):
    """`POST /api/v1/run/end`: the run is over; files are flushed before the answer. `report`: where to look."""

    verdict: str
    sentence: str
    report: str | None = None


class Told(msgspec.Struct, frozen=True):
    """`POST /api/v1/events` on the console: something happened `age_s` ago, told by another process."""

    kind: EventKind
    source: str
    text: str
    data: dict[str, Any] = {}
    age_s: float = 0.0


class TrafficLogLine(msgspec.Struct, frozen=True):
    """One scheduled request in Locust's `traffic.jsonl`. Times are wall-clock seconds; latency is from `due`."""

    id: str
    due: float
    sent: float | None
    done: float | None
    node: str
    region: str
    site: str
    kind: str
    method: str
    status: int
    outcome: str
    request_id: str


class AccessLogLine(msgspec.Struct, frozen=True):
    """One request in a front's `access-NODE.jsonl`. `client_id` is the sender's X-Client-Request-Id."""

    at: float
    node: str
    request_id: str
    client_id: str
    host: str
    method: str
    uri: str
    status: int
    outcome: str
    reason: str
    pool: str
    inspection_ms: float
    total_ms: float
    bytes_in: int
    bytes_out: int


class OriginLogLine(msgspec.Struct, frozen=True):
    """One request in the origins' `origins.jsonl`."""

    at: float
    request_id: str
    client_id: str
    site: str
    method: str
    uri: str
    status: int
    ms: float


# ---- The console's live view: what the page and the terminal draw, made by one fold over the record ----


class Mark(msgspec.Struct, frozen=True):
    """A labelled moment on the timeline."""

    t: float
    kind: EventKind
    text: str


class Second(msgspec.Struct, frozen=True):
    """One column of the outcome chart."""

    t: int
    intended: int
    ok: int
    bad_gateway: int
    other: int
    unsent: int


class Tile(msgspec.Struct, frozen=True):
    """One node's tile. `state`: ok | bad | silent | unprotected."""

    node: str
    pop: str
    region: str
    cohort: str
    state: str
    version: str
    digest: str
    cpu_of_quota: float | None
    pool_cpu_of_quota: dict[str, float]
    ok_per_s: float
    bad_per_s: float
    hot_rule: str | None
    hot_rule_held_s: float


class View(msgspec.Struct, frozen=True):
    """Everything on screen at one moment (`GET /api/v1/view`, and each message of `/feed`)."""

    t: float
    #: Seconds since the push; None before it.
    t_plus: float | None
    drill: str
    title: str
    status: StatusWord
    sentence: str
    seconds: tuple[Second, ...]
    marks: tuple[Mark, ...]
    tiles: tuple[Tile, ...]
    log: tuple[Mark, ...]
    intended_per_s: float
    ok_per_s: float
    bad_per_s: float
    latency_ms_p99: float | None
    probe_status: int | None
    probe_ms: float | None
    origins_up: bool | None
    origin_ms: float | None
    origin_requests_per_s: float
    origin_errors: int
    deployer_up: bool | None
    ended: bool
    replay_speed: float | None = None
    report: str | None = None


encode_line = msgspec.json.Encoder().encode
decode_line = msgspec.json.Decoder(Line).decode
