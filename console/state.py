"""The fold over a run's record: what the page, the terminal and the status word are made from.

In: the record's lines, live or from a file, and a moment. Out: `Facts` and the `View`. Pure: the same lines
give the same view, which is why a replay shows what was shown. The status word itself is read from the
record's status events; `judge` decides it, once, when the run happens.
"""

from collections import deque
from collections.abc import Callable
from functools import singledispatchmethod

import msgspec

from console.chart import KEPT_S, OutcomeChart
from console.evidence import BAD_ABOVE, BadRatio
from console.facts import Facts
from console.fleet import Fleet
from console.outcomes import bad_and_ended, split
from console.push import Push, ref_in
from console.sentence import sentence
from contract.record import (
    Event,
    Line,
    Mark,
    NodeSample,
    OriginSample,
    ProbeSample,
    RunHead,
    StackSample,
    TrafficSample,
    View,
)
from contract.vocabulary import EventKind, Outcome, StatusWord

#: Who says what only the observer can say: whether a node answers, and the status word.
SOURCE = "console"
OWN = frozenset(
    {
        EventKind.RUN_BEGIN,
        EventKind.NODE_UP,
        EventKind.NODE_DOWN,
        EventKind.STATUS,
        EventKind.RECOVERED,
        EventKind.RUN_END,
    }
)

LOG_LINES = 30

#: A figure older than this is not shown as the present.
STALE_AFTER_S = 3.0

#: Moments drawn across the chart.
MARKED = frozenset(
    {
        EventKind.TRAFFIC_START,
        EventKind.PUSH,
        EventKind.PAGE,
        EventKind.DECISION,
        EventKind.ROLLBACK,
        EventKind.REVERTED,
        EventKind.STUCK,
        EventKind.PROMOTED,
        EventKind.KILL_SWITCH,
        EventKind.NODE_DOWN,
        EventKind.RECOVERED,
    }
)

#: Said better elsewhere on the screen: acks by the tiles and one line when all are in, the word by the word.
NOT_LOGGED = frozenset({EventKind.ACK, EventKind.STATUS, EventKind.ROLLOUT_STATE})


class RunState:
    """One run so far. `apply` takes lines in about the order in which they happened."""

    def __init__(self, head: RunHead) -> None:
        self.head = head
        self.status = StatusWord.STARTING
        self.fleet = Fleet()
        self.push: Push | None = None
        self.deployer_up: bool | None = None
        self.ended: Event | None = None
        self._chart = OutcomeChart()
        # A second of traffic; the probe asks twice a second, so four answers of it.
        self._by_traffic = BadRatio(window_s=1.0, stale_after_s=2.5)
        self._by_probe = BadRatio(window_s=2.0, stale_after_s=5.0)
        self._recent: deque[TrafficSample] = deque()
        self._intended = 0
        self._unsent = 0
        self._started = False
        self._probe: ProbeSample | None = None
        self._origins: deque[OriginSample] = deque(maxlen=3)
        self._origin_errors = 0
        self._marks: deque[Mark] = deque(maxlen=200)
        self._log: deque[Mark] = deque(maxlen=LOG_LINES)

    # ---- Lines in ----

    @singledispatchmethod
    def apply(self, line: Line) -> None:
        raise TypeError(f"not a line of the record: {line!r}")

    @apply.register
    def _event(self, event: Event) -> None:
        mark = Mark(event.t, event.kind, event.text)
        if event.kind in MARKED and (event.source == SOURCE or event.kind is not EventKind.NODE_DOWN):
            self._marks.append(mark)
        # Eight nodes that come up at the start are no news.
        if event.kind not in NOT_LOGGED and (self._started or event.kind is not EventKind.NODE_UP):
            self._log.append(mark)
        handler = HANDLERS.get(event.kind)
        if handler and (event.source == SOURCE or event.kind not in OWN):
            handler(self, event)
        if self.push is not None and event.kind is not EventKind.PUSH:
            self.push.apply(event)
            self._note_confirmed(event.t)

    @apply.register
    def _node_sample(self, sample: NodeSample) -> None:
        node = self.fleet.node(sample.node)
        node.add(sample)
        self._chart.add_node(sample)
        if self.push is None:
            return
        if sample.up and sample.kill_switch and self.push.kill_switch_t is None:
            self.push.kill_switch_t = sample.t
        self._note_confirmed(sample.t)

    @apply.register
    def _traffic(self, sample: TrafficSample) -> None:
        self._chart.add_traffic(sample)
        self._recent.append(sample)
        while self._recent[0].t <= sample.t - 1.0 + 1e-6:
            self._recent.popleft()
        bad, ended = bad_and_ended(sample.outcomes)
        self._by_traffic.add(sample.t, bad, ended, sample.outcomes.get(Outcome.BAD_GATEWAY, 0))
        self._intended += sample.intended
        self._unsent += split(sample.outcomes).unsent
        self._note_outage(sample.t)

    @apply.register
    def _probe_sample(self, sample: ProbeSample) -> None:
        self._probe = sample
        bad = sample.status == 0 or sample.status >= 500
        self._by_probe.add(sample.t, int(bad), 1, int(sample.status == 502))
        self._note_outage(sample.t)

    @apply.register
    def _origin_sample(self, sample: OriginSample) -> None:
        self._origins.append(sample)
        self._origin_errors += sample.errors

    @apply.register
    def _stack_sample(self, sample: StackSample) -> None:
        """Memory and CPU of the stack are for the report; the page does not show them yet."""

    def _run_begin(self, event: Event) -> None:
        for name in event.data.get("nodes", ()):
            self.fleet.node(str(name))

    def _pushed(self, event: Event) -> None:
        evidence = self._evidence(event.t)
        down = evidence is not None and (evidence.ratio() or 0.0) > BAD_ABOVE
        target = ref_in(event.data)
        self.push = Push(event.t, target, self.fleet.mostly(), as_remedy=down, outage=down)
        self._started = True

    def _rolled_back(self, event: Event) -> None:
        if self.push is None:
            self.push = Push(event.t, pushed=False)

    def _status(self, event: Event) -> None:
        self.status = StatusWord(event.data["word"])
        self._started = self._started or self.status is StatusWord.HEALTHY

    def _node_up(self, event: Event) -> None:
        self.fleet.node(str(event.data["node"])).up = True

    def _node_down(self, event: Event) -> None:
        self.fleet.node(str(event.data["node"])).up = False

    def _note(self, event: Event) -> None:
        if "deployer_up" in event.data:
            self.deployer_up = bool(event.data["deployer_up"])

    def _run_end(self, event: Event) -> None:
        self.ended = event

    def _note_outage(self, t: float) -> None:
        evidence = self._evidence(t)
        if self.push and evidence and t > self.push.t and (evidence.ratio() or 0.0) > BAD_ABOVE:
            self.push.outage = True

    def _note_confirmed(self, t: float) -> None:
        push = self.push
        if push is None or push.confirmed_all_t is not None or push.rollback_t is not None:
            return
        up = {node.name for node in self.fleet.up}
        if up and up <= push.confirmed | set(self.fleet.on(push.target)):
            push.confirmed_all_t = t
            what = push.target.label if push.target else "the new rule set"
            self._log.append(Mark(t, EventKind.ACK, f"All {len(up)} nodes run {what}"))

    # ---- What it amounts to ----

    def _evidence(self, now_t: float) -> BadRatio | None:
        """Users' own answers where there are users, else the outside probe's; None when neither is fresh."""
        return next((by for by in (self._by_traffic, self._by_probe) if by.fresh(now_t)), None)

    def facts(self, now_t: float) -> Facts:
        evidence, push = self._evidence(now_t), self.push
        up = self.fleet.up
        version = self.fleet.mostly()
        known = Facts(
            now_t=now_t,
            previous=self.status,
            started=self._started,
            nodes=len(self.fleet.nodes),
            nodes_up=len(up),
            silent=self.fleet.silent,
            bad_ratio=evidence.ratio() if evidence else None,
            bad_gateway_share=evidence.bad_gateway_share() if evidence else 0.0,
            good_since=evidence.good_since if evidence else None,
            intended=self._intended,
            unsent=self._unsent,
            version=version.label if version else "",
            kill_switch_on=sum(node.kill_switch for node in up),
            culprit=self.fleet.culprit(),
            origins_up=self._origins[-1].up if self._origins else None,
        )
        return known if push is None else _with_push(known, push, self.fleet)

    def view(self, now_t: float) -> View:
        """Everything on screen at `now_t`; once the run has ended, what was on screen at its end."""
        if self.ended is not None:
            now_t = self.ended.t
        facts, parts = self.facts(now_t), self._parts_per_s(now_t)
        said = f". {self.ended.text}" if self.ended else ""
        tiles = self.fleet.tiles()
        probe = self._probe if self._probe and now_t - self._probe.t <= STALE_AFTER_S else None
        origin = self._origins[-1] if self._origins else None
        return View(
            t=now_t,
            t_plus=now_t - self.push.t if self.push and self.push.pushed else None,
            drill=self.head.drill,
            title=self.head.title,
            status=self.status,
            sentence=sentence(self.status, facts) + said,
            seconds=self._chart.seconds(now_t),
            marks=tuple(mark for mark in self._marks if mark.t >= now_t - KEPT_S),
            tiles=tiles,
            log=tuple(sorted(self._log, key=lambda mark: mark.t)),
            intended_per_s=self._per_s(now_t, lambda sample: sample.intended),
            ok_per_s=parts[0] if parts else sum(tile.ok_per_s for tile in tiles),
            bad_per_s=parts[1] if parts else sum(tile.bad_per_s for tile in tiles),
            latency_ms_p99=self._recent[-1].latency_ms_p99 if parts else None,
            probe_status=probe.status if probe else None,
            probe_ms=probe.ms if probe else None,
            origins_up=origin.up if origin else None,
            origin_ms=origin.status_ms if origin else None,
            origin_requests_per_s=self._origin_per_s(),
            origin_errors=self._origin_errors,
            deployer_up=self.deployer_up,
            ended=self.ended is not None,
            report=self.ended.data.get("report") if self.ended else None,
        )

    def _parts_per_s(self, now_t: float) -> tuple[float, float] | None:
        """(ok, bad) a second by Locust; None when it is not reporting."""
        if not self._by_traffic.fresh(now_t):
            return None
        return (
            self._per_s(now_t, lambda sample: split(sample.outcomes).ok),
            self._per_s(now_t, lambda sample: bad_and_ended(sample.outcomes)[0]),
        )

    def _per_s(self, now_t: float, count: Callable[[TrafficSample], int]) -> float:
        width_s = sum(sample.width_s for sample in self._recent)
        if not width_s or not self._by_traffic.fresh(now_t):
            return 0.0
        return sum(count(sample) for sample in self._recent) / width_s

    def _origin_per_s(self) -> float:
        span_s = self._origins[-1].t - self._origins[0].t if self._origins else 0.0
        newer = list(self._origins)[1:]
        return sum(sample.requests for sample in newer) / span_s if span_s > 0 else 0.0


HANDLERS: dict[EventKind, Callable[[RunState, Event], None]] = {
    EventKind.RUN_BEGIN: RunState._run_begin,
    EventKind.PUSH: RunState._pushed,
    EventKind.ROLLBACK: RunState._rolled_back,
    EventKind.STATUS: RunState._status,
    EventKind.NODE_UP: RunState._node_up,
    EventKind.NODE_DOWN: RunState._node_down,
    EventKind.NOTE: RunState._note,
    EventKind.RUN_END: RunState._run_end,
}


def _with_push(known: Facts, push: Push, fleet: Fleet) -> Facts:
    confirmed = push.confirmed | set(fleet.on(push.target))
    on_the_way = push.confirmed_all_t is None and not push.over and push.rollback_t is None
    back = fleet.on(push.previous)
    return msgspec.structs.replace(
        known,
        push_t=push.t if push.pushed else None,
        target=push.target.label if push.target else "",
        earlier=push.previous.label if push.previous else "",
        confirmed=len(confirmed),
        out=on_the_way,
        confirmed_all_t=push.confirmed_all_t,
        outage=push.outage,
        automated=push.automated,
        rollback_t=push.rollback_t,
        back=len(back),
        stuck=push.stuck_t is not None,
        waiting_for=push.waiting_for or tuple(sorted(set(fleet.nodes) - set(back))),
        reverted_t=push.reverted_t,
        remedied_t=push.remedied_t(),
        recovered=push.recovered_t is not None,
        served_again_t=push.served_again_t,
    )
