"""A made-up outage for the console's tests: eight nodes, a bad push at 18 s, a wall, an automated rollback.

The samples and the deployer's events are made up, from a seed; everything that the console has to say about
them is said by the console's own judges, at its own pace.
"""

import random
from collections.abc import Iterator
from pathlib import Path

from console.judge import JUDGES
from console.record import RecordWriter
from console.state import RunState
from contract.messages import RuleSetRef
from contract.record import (
    Event,
    Line,
    NodeSample,
    OriginSample,
    ProbeSample,
    RunHead,
    StackSample,
    TrafficSample,
)
from contract.topology import FLEET, REGION_SHARES
from contract.vocabulary import EventKind

HEAD = RunHead(
    drill="cloudflare-2019",
    title="2 July 2019: one regular expression",
    stamp="20190702T134200Z",
    seed=2019,
    procedure="builtin",
    started_at=1562074920.0,
)
GOOD = RuleSetRef("5f" * 32, 1)
BAD = RuleSetRef("b0" * 32, 2)
CULPRIT = "waf-100531"
RATE = 150

NODES_UP, TRAFFIC, PUSH, ROLLBACK, END = 0.6, 3.0, 18.0, 27.4, 45.0
RECOVERED_BY = 32.5
#: When each node has the bad rules, and the good ones again.
BAD_FROM = {spec.name: PUSH + 0.04 + 0.004 * i for i, spec in enumerate(FLEET)}
GOOD_FROM = {spec.name: ROLLBACK + 0.05 + 0.012 * i for i, spec in enumerate(FLEET)}


def outage(period_s: float = 0.25) -> list[Line]:
    """The whole record, in order. `period_s`: between two samples of a node."""
    rng = random.Random(HEAD.seed)
    made = sorted([*_told(), *_samples(rng, period_s)], key=lambda line: line.t)
    return judged(made, END)


def judged(made: list[Line], end_t: float) -> list[Line]:
    """`made` with what the judges say about it every 250 ms, and nothing after its end."""
    state = RunState(HEAD)
    lines: list[Line] = []
    waiting = iter(made)
    line = next(waiting, None)
    for turn in range(int(end_t * 4) + 1):
        while line is not None and line.t <= turn / 4:
            state.apply(line)
            lines.append(line)
            line = next(waiting, None)
        for judge in JUDGES:
            for event in judge(state, turn / 4):
                state.apply(event)
                lines.append(event)
    return lines


def write(folder: Path, lines: list[Line]) -> Path:
    writer = RecordWriter(folder, HEAD)
    for line in lines:
        writer.append(line)
    writer.close()
    return folder


def is_bad(node: str, t: float) -> bool:
    return BAD_FROM[node] <= t < GOOD_FROM[node]


def _told() -> Iterator[Event]:
    names = [spec.name for spec in FLEET]
    yield Event(0.0, EventKind.RUN_BEGIN, "console", f"{HEAD.title} begins", {"nodes": names})
    yield Event(0.2, EventKind.NOTE, "console", "The deployer answers", {"deployer_up": True})
    yield Event(TRAFFIC, EventKind.TRAFFIC_START, "loadtest", "150 requests a second from four regions")
    push = {"rollout": 1, "digest": BAD.digest, "version": 2, "strategy": "everywhere", "by": "waf-team"}
    yield Event(PUSH, EventKind.PUSH, "deployer", "waf-team ships v2 to every node at once", push)
    for name in names:
        yield _ack(name, BAD_FROM[name], BAD, "push")
    yield Event(PUSH + 1.3, EventKind.PAGE, "deployer", "91 % of 153 requests bad, above 50 %; waf-100531 burns")
    why = "absolute guard: 94 % of requests bad for 8 s; waf-100531 held 8 of 8 nodes"
    yield Event(ROLLBACK, EventKind.DECISION, "deployer", why, {"by": "absolute_guard", "culprit_rule": CULPRIT})
    back = {"to_version": 1, "to_digest": GOOD.digest, "by": "absolute_guard", "rollout": 1}
    yield Event(
        ROLLBACK, EventKind.ROLLBACK, "deployer", "v1 goes back to 8 nodes, by order of absolute_guard", back
    )
    for name in names:
        yield _ack(name, GOOD_FROM[name], GOOD, "revert")
    done = {"rollout": 1, "digest": GOOD.digest, "version": 1}
    yield Event(
        max(GOOD_FROM.values()), EventKind.REVERTED, "deployer", "every enrolled node confirmed v1: 8 of 8", done
    )
    end = {"verdict": "met", "sentence": "Objectives met", "report": "report.html"}
    yield Event(END, EventKind.RUN_END, "console", "Objectives met", end)


def _ack(name: str, t: float, ref: RuleSetRef, phase: str) -> Event:
    data = {"node": name, "digest": ref.digest, "version": ref.version, "phase": phase, "took_s": 0.04}
    return Event(round(t, 3), EventKind.ACK, "deployer", f"{name} runs {ref.label} after 40 ms", data)


def _samples(rng: random.Random, period_s: float) -> Iterator[Line]:
    for spec in FLEET:
        share = REGION_SHARES[spec.region] / 2
        for i in range(1, int((END - NODES_UP) / period_s)):
            yield _node(rng, spec.name, share, NODES_UP + i * period_s, period_s)
    for i in range(int((END - TRAFFIC) * 2)):
        yield _traffic(rng, TRAFFIC + (i + 1) * 0.5)
    for i in range(int((END - 1) * 2)):
        t, node = 1.0 + i / 2, FLEET[i % len(FLEET)].name
        bad = is_bad(node, t)
        ms = 1000 + rng.random() * 8 if bad else 14 + rng.expovariate(0.2)
        yield ProbeSample(t, node, "news.example", 502 if bad else 200, round(ms, 1))
    for i in range(int(END * 2)):
        yield _origin(rng, i / 2)
    for i in range(int(END / 5)):
        pss = {
            "front": 210.0,
            "inspector": 160.0,
            "locust": 95.0,
            "origins": 48.0,
            "deployer": 52.0,
            "console": 50.0,
        }
        cpu = {"front": 0.11, "inspector": 0.9, "locust": 0.1, "origins": 0.06, "deployer": 0.02, "console": 0.03}
        yield StackSample(i * 5.0, sum(pss.values()), pss, cpu)


def _requests(rng: random.Random, t: float, width_s: float, share: float, bad: bool) -> tuple[int, int]:
    """(served, 502) in a bucket that ends at `t`."""
    if t < TRAFFIC:
        return 0, 0
    n = round(RATE * share * width_s + rng.gauss(0, 0.6))
    wall = 0.0 if not bad else min(0.97, 0.5 + 0.35 * (t - PUSH)) if t < PUSH + 1.4 else 0.9 + 0.08 * rng.random()
    failed = round(max(n, 0) * wall)
    return max(n, 0) - failed, failed


def _node(rng: random.Random, name: str, share: float, t: float, width_s: float) -> NodeSample:
    bad = is_bad(name, t)
    ok, failed = _requests(rng, t, width_s, share, bad)
    pools = {"primary": 0.49 + rng.random() * 0.02, "standby": 0.48 + rng.random() * 0.02}
    if not bad:
        pools = {"primary": 0.02 + share * 0.15 + rng.random() * 0.015, "standby": 0.001}
    held_s = round((t - BAD_FROM[name]) % 2.9, 3) if bad else 0.0
    return NodeSample(
        t=round(t, 3),
        node=name,
        up=True,
        version=BAD if bad else GOOD,
        kill_switch=False,
        due=ok + failed,
        ok=ok,
        bad_gateway=failed,
        other=0,
        cpu_of_quota=round(sum(pools.values()), 4),
        pool_cpu_of_quota={pool: round(value, 4) for pool, value in pools.items()},
        cpu_source="psutil",
        loop_lag_ms=round(0.4 + rng.random(), 3),
        status_ms=round(1.5 + rng.random() * 2, 3),
        metrics_ms=round(2 + rng.random() * 2, 3),
        control_ms=round(1 + rng.random(), 3),
        oldest_in_flight_s=round(min(held_s, 1.0), 3),
        hot_rule=CULPRIT if bad else None,
        hot_rule_held_s=held_s,
    )


def _traffic(rng: random.Random, t: float) -> TrafficSample:
    by_node: dict[str, dict[str, int]] = {}
    for spec in FLEET:
        # What was asked just before the rollback is answered just after it.
        bad = is_bad(spec.name, t - 0.25) or (is_bad(spec.name, t - 0.75) and rng.random() < 0.3)
        ok, failed = _requests(rng, t, 0.5, REGION_SHARES[spec.region] / 2, bad)
        by_node[spec.name] = {"ok": ok, **({"bad_gateway": failed} if failed else {})}
    outcomes: dict[str, int] = {}
    for counts in by_node.values():
        for outcome, n in counts.items():
            outcomes[outcome] = outcomes.get(outcome, 0) + n
    if PUSH + 1 < t < ROLLBACK:
        outcomes["timeout"] = rng.randrange(3)
    wall = PUSH + 0.5 < t < ROLLBACK + 0.5
    return TrafficSample(
        t=t,
        width_s=0.5,
        intended=round(RATE / 2),
        sent=round(RATE / 2),
        outcomes=outcomes,
        by_node=by_node,
        latency_ms_p50=1001.0 if wall else 19.0,
        latency_ms_p99=round(1030 + rng.random() * 40 if wall else 52 + rng.random() * 20, 1),
        send_lag_ms_p99=round(1 + rng.random(), 2),
        in_flight=150 if wall else 4,
        users=320,
        cpu_share=0.12,
    )


def _origin(rng: random.Random, t: float) -> OriginSample:
    share = 0.1 if PUSH < t < ROLLBACK else 1.0
    requests = round(RATE / 2 * share + rng.gauss(0, 2)) if t > TRAFFIC else 0
    return OriginSample(t, True, round(1.2 + rng.random() * 2, 2), max(requests, 0), 0, 60)
