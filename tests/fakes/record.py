"""A made-up run whose every answer is known by arithmetic, with the sums written down beside it.

200 requests/s for 43 s, request `i` due at `i * 5` ms, to node `i % 8` and site `i % 20`. A push at 20 s; from
20.5 s on nine of ten requests wait a second for their 502; an absolute guard rolls back at 30.01 s; node `j`
confirms at 30.05 + j/100 s and releases what waits 4 ms later. Here and there one thing goes wrong by itself.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from contract.messages import RuleSetRef
from contract.record import (
    AccessLogLine,
    Event,
    NodeSample,
    OriginLogLine,
    RunHead,
    Sample,
    StackSample,
    TrafficLogLine,
    TrafficSample,
    encode_line,
)
from contract.topology import FLEET
from contract.vocabulary import EventKind, Outcome, Reason
from drills.rundir import Record, RunDir, create_run_dir

STARTED_AT = 1_700_000_000.0
END = 45.2
BEFORE, PUSH, PAGE, ROLLBACK = 4.0, 20.0, 22.0, 30.01
CULPRIT, OTHER_RULE = "100531", "100007"
NODES = tuple(spec.name for spec in FLEET)
GOOD, BAD = RuleSetRef("a" * 64, 1), RuleSetRef("b" * 64, 2)

FIRST, LAST = 400, 8999  # due 2.000 s to 44.995 s
UNSENT = frozenset({5001, 5003})
FLAWED = 2000  # due 10.0 s: a lone 503 before the push
RESET_SEEN, RESET_UNSEEN = 6060, 6100  # due 30.3 and 30.5 s
BLOCKED = 8000  # due 40.0 s
RETRIED = 1000  # due 5.0 s

#: What the score of this record must be.
INTENDED, SENT = 8600, 8598
#: i = 4100 to 5809 less every tenth (1710 - 171), 7 more up to the acks, less the two unsent.
BAD_GATEWAYS = 1544
OTHER_FAILURES = 3
OKS = SENT - BAD_GATEWAYS - OTHER_FAILURES - 1 - 1  # less the blocked one and the one in flight
EFFECTIVE_LAST = 30.124
RECOVERED = 30.5


def ack_at(node: int) -> float:
    return 30.05 + node / 100


def make_record() -> Record:
    traffic = tuple(_traffic())
    return Record(
        head=_head(),
        end=END,
        events=tuple(_events()),
        samples=tuple(sorted(_samples(), key=lambda sample: sample.t)),
        traffic=traffic,
        access=tuple(_access(traffic)),
        origins=tuple(_origins(traffic)),
    )


def write_run(root: Path, record: Record) -> RunDir:
    """The same, as the files of a run's folder."""
    run_dir = create_run_dir(root, record.head.drill, record.head.stamp)
    (run_dir.path / "run.json").write_bytes(msgspec.json.encode(record.head))
    _write(run_dir.path / "events.jsonl", record.events)
    _write(run_dir.path / "samples.jsonl", record.samples)
    _write(run_dir.logs / "traffic.jsonl", record.traffic)
    _write(run_dir.logs / "origins.jsonl", record.origins)
    for node in NODES:
        lines = [line for line in record.access if line.node == node]
        _write(run_dir.logs / f"access-{node}.jsonl", lines)
    return run_dir


def _write(path: Path, lines: Any) -> None:
    path.write_bytes(b"".join(encode_line(line) + b"\n" for line in lines))


def _head() -> RunHead:
    return RunHead(
        drill="cloudflare-2019",
        title="The 2019 outage and its automated rollback",
        stamp="20231114T221320Z",
        seed=20190702,
        procedure="absolute_guard",
        started_at=STARTED_AT,
        settings={"engine": "backtracking", "requests_per_s": 200},
        environment={"cores": 2, "memory_mib": 7812, "python": "3.11.7", "kernel": "6.1.0"},
    )


def _events() -> Iterator[Event]:
    yield Event(0.0, EventKind.RUN_BEGIN, "console", "the record begins", {"ready_s": 3.2})
    yield Event(2.0, EventKind.TRAFFIC_START, "drill", "users arrive")
    yield Event(BEFORE, EventKind.NOTE, "drill", "warm-up is over", {"phase": "before"})
    yield Event(PUSH, EventKind.PUSH, "deployer", "v2 goes to every node at once")
    for j, node in enumerate(NODES):
        yield Event(PUSH + 0.03 + j / 1000, EventKind.ACK, "deployer", "", {"node": node, "phase": "push"})
    yield Event(PAGE, EventKind.PAGE, "deployer", "the fleet's bad ratio is above 50 %")
    decided = "89.6 % bad for 8 s; an absolute guard cannot tell a bad deploy from an attack"
    yield Event(30.0, EventKind.DECISION, "deployer", decided, {"by": "absolute_guard"})
    yield Event(ROLLBACK, EventKind.ROLLBACK, "deployer", "back to v1")
    for j, node in enumerate(NODES):
        yield Event(ack_at(j), EventKind.ACK, "deployer", "", {"node": node, "phase": "revert"})
    yield Event(30.13, EventKind.REVERTED, "deployer", "all 8 nodes confirm v1")
    yield Event(35.5, EventKind.RECOVERED, "console", "traffic is back to normal")
    yield Event(END, EventKind.RUN_END, "console", "the record ends")


def _fate(i: int) -> tuple[float | None, str, int]:
    """When request `i` is done (run seconds), its outcome and status."""
    due = i * 5 / 1000
    if i == LAST:
        return None, Outcome.TIMEOUT, 0
    if i in (RESET_SEEN, RESET_UNSEEN):
        return due + 0.1, Outcome.RESET, 0
    if i == FLAWED:
        return due + 0.008, Outcome.UNAVAILABLE, 503
    if i == BLOCKED:
        return due + 0.008, Outcome.BLOCKED, 403
    ack_ms = 30050 + 10 * (i % 8)
    if i * 5 < 20500 or i * 5 >= ack_ms or i % 10 == 0:
        return due + 0.008, Outcome.OK, 200
    if i * 5 + 1000 <= ack_ms:
        return due + 1.0, Outcome.BAD_GATEWAY, 502
    return ack_ms / 1000 + 0.004, Outcome.OK, 200


def _traffic() -> Iterator[TrafficLogLine]:
    for i in range(FIRST, LAST + 1):
        due = STARTED_AT + i * 5 / 1000
        done, outcome, status = _fate(i)
        late = 0.003 if i % 50 == 1 else 0.001
        late *= 3 if 22.0 <= i * 5 / 1000 <= 30.01 else 1
        spec = FLEET[i % 8]
        unsent = i in UNSENT
        yield TrafficLogLine(
            id=f"u{i}",
            due=due,
            sent=None if unsent else due + late,
            done=None if unsent or done is None else STARTED_AT + done,
            node=spec.name,
            region=spec.region,
            site=f"site-{i % 20:02d}",
            kind="page",
            method="GET",
            status=0 if unsent else status,
            outcome=Outcome.UNSENT if unsent else outcome,
            request_id=f"f{i}",
        )


def _access(traffic: tuple[TrafficLogLine, ...]) -> Iterator[AccessLogLine]:
    for line in traffic:
        if line.id == f"u{RESET_SEEN}":
            yield access_line(line, 0, Outcome.CLIENT_GONE, Reason.CLIENT_CLOSED)
        elif line.done is not None and line.id != f"u{RESET_UNSEEN}":
            if line.id == f"u{RETRIED}":
                yield access_line(line, 502, Outcome.BAD_GATEWAY, Reason.ORIGIN_RESET)
            yield access_line(line, line.status, Outcome(line.outcome), _REASONS[Outcome(line.outcome)])
    for second in range(5):
        yield msgspec.structs.replace(access_line(traffic[second], 200, Outcome.OK, Reason.PROXIED), client_id="")


def _origins(traffic: tuple[TrafficLogLine, ...]) -> Iterator[OriginLogLine]:
    for line in traffic:
        if line.outcome == Outcome.OK:
            yield origin_line(line)
    for second in range(5):
        yield msgspec.structs.replace(origin_line(traffic[second]), client_id="")


_REASONS = {
    Outcome.OK: Reason.PROXIED,
    Outcome.BLOCKED: Reason.RULE_MATCHED,
    Outcome.BAD_GATEWAY: Reason.INSPECTION_TIMEOUT,
    Outcome.UNAVAILABLE: Reason.DRAINING,
}


def access_line(line: TrafficLogLine, status: int, outcome: str, reason: str) -> AccessLogLine:
    return AccessLogLine(
        at=line.done or line.due,
        node=line.node,
        request_id=line.request_id,
        client_id=line.id,
        host=line.site,
        method=line.method,
        uri="/",
        status=status,
        outcome=outcome,
        reason=reason,
        pool="primary",
        inspection_ms=0.4,
        total_ms=7.5,
        bytes_in=300,
        bytes_out=4000,
    )


def origin_line(line: TrafficLogLine) -> OriginLogLine:
    return OriginLogLine(
        at=line.done or line.due,
        request_id=line.request_id,
        client_id=line.id,
        site=line.site,
        method=line.method,
        uri="/",
        status=200,
        ms=4.0,
    )


def _samples() -> Iterator[Sample]:
    for j in range(len(NODES)):
        yield from _node_samples(j)
    for second in range(1, 46):
        yield _traffic_sample(float(second), 0.65 if 21 <= second <= 30 else 0.2)
    for at, pss_mib in ((5.0, 610.0), (25.0, 912.5), (40.0, 700.0)):
        yield StackSample(at, pss_mib, {"front": pss_mib}, {"front": 0.2})


def _node_samples(j: int) -> Iterator[NodeSample]:
    """Every 0.25 s. `ams-1` misses three samples from 25.25 s on, and then says 0.6 for that whole second."""
    for quarter in range(4, 181):
        t = quarter / 4
        if j == 0 and t in (25.25, 25.5, 25.75):
            continue
        burning = 20.5 < t <= 30.05
        spiking = j == 3 and t in (24.0, 25.0, 26.0)
        yield node_sample(
            t,
            NODES[j],
            version=BAD if PUSH + 0.1 < t <= 30.05 else GOOD,
            cpu=0.6 if j == 0 and t == 26.0 else 1.0 if burning else 0.1,
            ms=130.0 if spiking else 8.0 if burning else 2.0,
            hot=_hot(j, t) if burning else (None, 0.0),
        )


def _hot(j: int, t: float) -> tuple[str, float]:
    """Node 1 never holds a rule for long; node 7 is stuck in another rule for a second."""
    if j == 1:
        return OTHER_RULE, 0.1
    return (OTHER_RULE, 0.5) if j == 7 and 23.0 < t <= 24.0 else (CULPRIT, 0.9)


def node_sample(
    t: float, node: str, version: RuleSetRef, cpu: float | None, ms: float, hot: tuple[str | None, float]
) -> NodeSample:
    return NodeSample(
        t=t,
        node=node,
        up=True,
        version=version,
        kill_switch=False,
        due=6,
        ok=6,
        bad_gateway=0,
        other=0,
        cpu_of_quota=cpu,
        pool_cpu_of_quota={},
        cpu_source="psutil",
        loop_lag_ms=ms / 4,
        status_ms=ms,
        metrics_ms=ms + 1,
        control_ms=ms / 2,
        oldest_in_flight_s=0.1,
        hot_rule=hot[0],
        hot_rule_held_s=hot[1],
    )


def _traffic_sample(t: float, cpu_share: float) -> TrafficSample:
    return TrafficSample(
        t=t,
        width_s=1.0,
        intended=200,
        sent=200,
        outcomes={"ok": 200},
        by_node={},
        latency_ms_p50=8.0,
        latency_ms_p99=9.0,
        send_lag_ms_p99=1.0,
        in_flight=2,
        users=320,
        cpu_share=cpu_share,
    )
