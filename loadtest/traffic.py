"""One test run: paces the schedule, hands requests to users, counts what became of them.

The order of a request's path: due (`_pace`) → handed to a free user or kept waiting (`handout`) → `begin` when it
leaves → `end` with its outcome, or `_give_up` when nobody could send it in time. Each request of the schedule
leaves here exactly once, with one outcome, into the open bucket and the log.
"""

import os
import time
from collections.abc import Callable

import gevent
import msgspec
from gevent.event import AsyncResult, Event

from contract.messages import Ready
from contract.record import TrafficLogLine
from contract.topology import NodeEndpoint
from contract.vocabulary import Outcome
from loadtest.buckets import Buckets
from loadtest.config import DEADLINE_S, Config
from loadtest.handout import Handout
from loadtest.readiness import ask_all, keep_asking
from loadtest.reporting import ConsoleFeed, TrafficLog
from loadtest.resolver import Resolver
from loadtest.schedule import Schedule, ScheduledRequest


class Sent(msgspec.Struct, frozen=True):
    """A request on its way. `sent_s`: seconds after t = 0."""

    request: ScheduledRequest
    node: NodeEndpoint
    sent_s: float


class Traffic:
    """Everything one run of the test shares between its users.

    `users`: how many there are now. `on_unsent`: told of each request that nobody could send in time.
    `on_exhausted`: called once, when the schedule has ended and all its requests have their outcome.
    """

    def __init__(
        self,
        config: Config,
        users: Callable[[], int],
        on_unsent: Callable[[ScheduledRequest], None],
        on_exhausted: Callable[[], None],
    ) -> None:
        self._config = config
        self._users = users
        self._on_unsent = on_unsent
        self._on_exhausted = on_exhausted
        self._schedule = iter(Schedule(config.seed, config.rate_per_s, config.duration_s))
        self._handout: Handout[AsyncResult] = Handout(config.unsent_after_s)
        self._resolver = Resolver(config.nodes)
        self._buckets = Buckets(config.bucket_s)
        self._log = TrafficLog(config.log_dir)
        self._feed = ConsoleFeed(config.console)
        self._someone_asked = Event()
        self._all_spawned = Event()
        self._closed = False
        self._t0 = 0.0
        self._t0_wall = 0.0
        self._cpu_s = 0.0
        self._bucket_end_s = config.bucket_s
        self._greenlets = [gevent.spawn(self._run), gevent.spawn(self._feed.run)]

    # ---- for users ----

    def take(self) -> ScheduledRequest | None:
        """Waits for the next request that this user shall send at once; None: the run is over."""
        self._someone_asked.set()
        if self._closed:
            return None
        self._give_up_late()
        call: AsyncResult = AsyncResult()
        request = self._handout.ask(call)
        if request is not None:
            return request
        try:
            called: ScheduledRequest | None = call.get()
            return called
        except BaseException:
            # Killed while free, or between the call and the answer: somebody else has to send it.
            self._handout.leave(call)
            if call.ready() and call.value is not None:
                self._hand(call.value)
            raise

    def begin(self, request: ScheduledRequest) -> Sent:
        """The request leaves now, for a node of its region."""
        now_s = self._now_s()
        self._buckets.sent(now_s - request.due_s)
        return Sent(request, self._resolver.pick(request.region), now_s)

    def end(self, sent: Sent, outcome: Outcome, status: int, request_id: str) -> float:
        """The request has its outcome. Returns its latency from the time it was due, in ms."""
        now_s = self._now_s()
        self._buckets.ended(sent.node.name, outcome, now_s - sent.request.due_s)
        self._write(sent.request, sent.node.name, sent.sent_s, now_s, status, outcome, request_id)
        return (now_s - sent.request.due_s) * 1000

    # ---- for Locust's events ----

    def spawned(self) -> None:
        """All users that were asked for are there."""
        self._all_spawned.set()

    def close(self) -> None:
        """No further request leaves; users that wait are told so. What is in flight may still end."""
        if self._closed:
            return
        self._closed = True
        left, free = self._handout.close()
        for request in left:
            self._give_up(request)
        for call in free:
            call.set(None)

    def finish(self) -> None:
        """After the last user has gone: the last bucket, the rest of the log, all greenlets and files."""
        self.close()
        gevent.killall([greenlet for greenlet in self._greenlets if greenlet is not gevent.getcurrent()])
        if self._t0:
            self._close_bucket()
        self._feed.drain()
        self._feed.close()
        self._log.close()

    # ---- the pacer ----

    def _run(self) -> None:
        self._someone_asked.wait()
        self._all_spawned.wait(self._config.begin_within_s)
        ask_all(self._resolver, self._config.nodes, self._config.ready_timeout_s)
        self._t0, self._t0_wall = time.monotonic(), time.time()
        self._cpu_s = time.process_time()
        self._greenlets.append(
            gevent.spawn(
                keep_asking,
                self._resolver,
                self._config.nodes,
                self._config.resolve_ttl_s,
                self._config.ready_timeout_s,
            )
        )
        self._announce()
        self._pace()

    def _pace(self) -> None:
        """Wakes for the next due request or the end of the bucket, whichever is first, so buckets are exact."""
        upcoming = next(self._schedule, None)
        exhausted_at_s: float | None = None
        while not self._closed:
            is_due = upcoming is not None and upcoming.due_s < self._bucket_end_s
            wake_s = upcoming.due_s if upcoming is not None and is_due else self._bucket_end_s
            # Sleeps also when it is late: users have to get their turn.
            gevent.sleep(max(0.0, wake_s - self._now_s()))
            if self._closed:
                return
            if upcoming is not None and is_due:
                self._buckets.due()
                self._hand(upcoming)
                upcoming = next(self._schedule, None)
                continue
            self._close_bucket()
            if upcoming is None and exhausted_at_s is None:
                exhausted_at_s = self._now_s()
            if exhausted_at_s is not None and self._is_over(exhausted_at_s):
                self._on_exhausted()
                return

    def _is_over(self, exhausted_at_s: float) -> bool:
        """The schedule has ended and so has everything that it sent, or its time to do so."""
        quiet = self._buckets.in_flight == 0 and self._handout.waiting == 0
        return quiet or self._now_s() - exhausted_at_s > DEADLINE_S + self._config.unsent_after_s

    def _hand(self, request: ScheduledRequest) -> None:
        if self._closed:
            self._give_up(request)
            return
        user = self._handout.offer(request)
        if user is not None:
            user.set(request)

    def _give_up(self, request: ScheduledRequest) -> None:
        self._buckets.unsent()
        self._on_unsent(request)
        self._write(request, "", None, None, 0, Outcome.UNSENT, "")

    def _give_up_late(self) -> None:
        for request in self._handout.expired(self._now_s()):
            self._give_up(request)

    def _close_bucket(self) -> None:
        self._give_up_late()
        cpu_s = time.process_time()
        sample = self._buckets.close(
            self._bucket_end_s, self._users(), (cpu_s - self._cpu_s) / self._config.bucket_s
        )
        self._cpu_s = cpu_s
        self._bucket_end_s += self._config.bucket_s
        self._feed.put(sample)
        self._log.flush()

    # ---- small things ----

    def _now_s(self) -> float:
        return time.monotonic() - self._t0

    def _write(
        self,
        request: ScheduledRequest,
        node: str,
        sent_s: float | None,
        done_s: float | None,
        status: int,
        outcome: Outcome,
        request_id: str,
    ) -> None:
        self._log.add(
            TrafficLogLine(
                id=request.id,
                due=round(self._t0_wall + request.due_s, 6),
                sent=None if sent_s is None else round(self._t0_wall + sent_s, 6),
                done=None if done_s is None else round(self._t0_wall + done_s, 6),
                node=node,
                region=request.region,
                site=request.site,
                kind=request.kind,
                method=request.method,
                status=status,
                outcome=outcome,
                request_id=request_id,
            )
        )

    def _announce(self) -> None:
        """The Ready line, once in the life of the process, with the wall clock at t = 0."""
        fd = self._config.ready_fd
        if fd is None or fd in _ANNOUNCED:
            return
        _ANNOUNCED.add(fd)
        line = msgspec.json.encode(Ready(os.getpid(), {"t0": repr(self._t0_wall)})) + b"\n"
        try:
            with os.fdopen(fd, "wb", buffering=0) as out:
                out.write(line)
        except OSError:
            # Whoever asked for it has gone; the traffic goes on without.
            return


#: Descriptors that are written and closed: a second test from the web page has nobody to tell.
_ANNOUNCED: set[int] = set()
