"""The order of a request's path. Every branch stands here; what is called does not branch on the path.

    head → admission → inspection → upstream → reply → one record to counters and access log

Callbacks, no task per request. The front never runs a rule and never blocks: a 502 comes about because no
inspector answered in time, or because the origin did not.
"""

import itertools
import time
from collections.abc import Callable

from contract.vocabulary import FailurePolicy, Outcome, Reason
from proxy.access_log import AccessLog
from proxy.config import NodeConfig
from proxy.counters import FrontCounters
from proxy.exchange import Exchange
from proxy.inspection import Inspection
from proxy.page import error_page
from proxy.pools import Inspected, Job
from proxy.upstream import OriginPool, ResponseHead

#: Reason → (status, outcome) of an answer that this edge makes itself.
EDGE_ANSWERS: dict[Reason, tuple[int, Outcome]] = {
    Reason.MALFORMED: (400, Outcome.BAD_REQUEST),
    Reason.HOST_MISSING: (400, Outcome.BAD_REQUEST),
    Reason.METHOD_REFUSED: (405, Outcome.BAD_REQUEST),
    Reason.HEAD_TOO_LARGE: (431, Outcome.BAD_REQUEST),
    Reason.UPGRADE_REFUSED: (501, Outcome.BAD_REQUEST),
    Reason.RULE_MATCHED: (403, Outcome.BLOCKED),
    Reason.INSPECTION_TIMEOUT: (502, Outcome.BAD_GATEWAY),
    Reason.INSPECTION_QUEUE_FULL: (502, Outcome.BAD_GATEWAY),
    Reason.INSPECTION_POOL_DOWN: (502, Outcome.BAD_GATEWAY),
    Reason.ORIGIN_REFUSED: (502, Outcome.BAD_GATEWAY),
    Reason.ORIGIN_RESET: (502, Outcome.BAD_GATEWAY),
    Reason.ORIGIN_PROTOCOL: (502, Outcome.BAD_GATEWAY),
    Reason.DRAINING: (503, Outcome.UNAVAILABLE),
    Reason.ORIGIN_CONNECT_TIMEOUT: (504, Outcome.GATEWAY_TIMEOUT),
    Reason.ORIGIN_HEAD_TIMEOUT: (504, Outcome.GATEWAY_TIMEOUT),
    Reason.ORIGIN_BODY_TIMEOUT: (504, Outcome.GATEWAY_TIMEOUT),
}

#: Unanswered origin for this long: 504. Above any mock origin's latency, below a client's patience.
ORIGIN_HEAD_TIMEOUT_S = 10.0
ORIGIN_BODY_TIMEOUT_S = 30.0

_REFUSED_METHODS = frozenset({b"CONNECT", b"TRACE"})
#: Tried again on a fresh connection when a kept one turns out to be closed (RFC 9110 section 9.2.2).
_IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"})


class Pipeline:
    """One per node. `skip_inspection` is asked for every request: the kill switch."""

    def __init__(
        self,
        config: NodeConfig,
        inspection: Inspection,
        origins: OriginPool,
        counters: FrontCounters,
        access_log: AccessLog,
        skip_inspection: Callable[[], bool],
    ) -> None:
        self._config = config
        self._inspection = inspection
        self._origins = origins
        self._counters = counters
        self._log = access_log
        self._skip_inspection = skip_inspection
        self._ids = itertools.count(1)
        self._request_prefix = f"{config.name}-{time.time_ns() // 1_000_000:x}-"
        self.in_flight: dict[int, Exchange] = {}

    def next_id(self) -> int:
        return next(self._ids)

    # ---- head → admission ----

    def begin(self, exchange: Exchange) -> None:
        """The head is complete, or refused as malformed; its turn on the connection has come."""
        exchange.request_id = f"{self._request_prefix}{exchange.id:x}"
        self.in_flight[exchange.id] = exchange
        exchange.refused = exchange.refused or self._admit(exchange)
        if exchange.refused is not None:
            self.answer(exchange, exchange.refused)
        else:
            self._continue_to_inspection(exchange)

    def _admit(self, exchange: Exchange) -> Reason | None:
        if exchange.method in _REFUSED_METHODS:
            return Reason.METHOD_REFUSED
        if not exchange.host and exchange.version != "1.0":
            return Reason.HOST_MISSING
        return None

    # ---- inspection ----

    def body_arrived(self, exchange: Exchange) -> None:
        """More of the body, or its end."""
        if exchange.id not in self.in_flight:
            return
        if exchange.inspected:
            if exchange.upstream is not None:
                exchange.upstream.send_body(exchange)
        elif not exchange.inspecting:
            self._continue_to_inspection(exchange)

    def _continue_to_inspection(self, exchange: Exchange) -> None:
        if self._skip_inspection() or self._inspection.active is None:
            self._forward(exchange)
        elif exchange.body_complete or len(exchange.body) >= self._config.inspect_body_bytes:
            self._inspect(exchange)
        else:
            exchange.client.send_continue(exchange)

    def _inspect(self, exchange: Exchange) -> None:
        exchange.inspecting = True
        started = time.monotonic()

        def done(inspected: Inspected) -> None:
            exchange.inspecting = False
            exchange.inspection_s = time.monotonic() - started
            self._judged(exchange, inspected)

        self._inspection.pools.submit(
            Job(
                exchange.id,
                exchange.uri,
                b"\n".join([value for _, _, value in exchange.headers]),
                bytes(exchange.body[: self._config.inspect_body_bytes]),
                started,
                done,
            )
        )

    def _judged(self, exchange: Exchange, inspected: Inspected) -> None:
        exchange.pool = inspected.pool
        if inspected.hits:
            self._counters.hits_by_rule.update(self._inspection.name_hits(inspected.hits, inspected.pool))
        if inspected.blocked:
            self.answer(exchange, Reason.RULE_MATCHED)
        elif inspected.failure is None or self._config.on_inspection_failure is FailurePolicy.ALLOW:
            self._forward(exchange)
        else:
            self.answer(exchange, inspected.failure)

    # ---- upstream → reply ----

    def _forward(self, exchange: Exchange) -> None:
        exchange.inspected = True
        exchange.upstream_since = time.monotonic()
        exchange.tries += 1
        if not exchange.body_complete:
            exchange.client.send_continue(exchange)
        self._origins.send(exchange)

    def origin_failed(self, exchange: Exchange, reason: Reason, stale: bool) -> None:
        """`stale`: a kept connection was closed before it said anything."""
        exchange.upstream = None
        if stale and exchange.tries == 1 and exchange.method in _IDEMPOTENT and exchange.bytes_in == 0:
            self._forward(exchange)
        else:
            self.answer(exchange, reason)

    def response_head(self, exchange: Exchange, head: ResponseHead) -> None:
        exchange.status = head.status
        exchange.upstream_since = time.monotonic()
        exchange.client.send_head(exchange, head)

    def response_body(self, exchange: Exchange, data: bytes) -> None:
        exchange.upstream_since = time.monotonic()
        exchange.client.send_body(exchange, data)

    def response_complete(self, exchange: Exchange) -> None:
        exchange.upstream = None
        if not exchange.body_complete:
            exchange.keep_alive = False  # answered early: what is left of the body is not worth reading
        exchange.client.send_end(exchange)
        self._finish(exchange, Outcome.OK, Reason.PROXIED)

    def answer(self, exchange: Exchange, reason: Reason) -> None:
        """Answer from the edge itself."""
        status, outcome = EDGE_ANSWERS[reason]
        if exchange.response_head_sent:
            exchange.client.cut(exchange)  # too late for another status; a short body must not look whole
        else:
            if not exchange.body_complete or outcome is Outcome.BAD_REQUEST:
                exchange.keep_alive = False
            now = time.time()
            host = exchange.host.decode("latin-1")
            page = error_page(status, host, self._config.name, self._config.pop, exchange.request_id, now)
            exchange.status = status
            exchange.client.send_page(exchange, status, page)
        self._finish(exchange, outcome, reason)

    def client_gone(self, exchange: Exchange) -> None:
        if exchange.id in self.in_flight:
            self._let_go(exchange)
            self._finish(exchange, Outcome.CLIENT_GONE, Reason.CLIENT_CLOSED)

    def give_up(self, exchange: Exchange, reason: Reason) -> None:
        """Answer although its inspector or its origin is still at work."""
        self._let_go(exchange)
        self.answer(exchange, reason)

    def _let_go(self, exchange: Exchange) -> None:
        self._inspection.pools.cancel(exchange.id)
        if exchange.upstream is not None:
            exchange.upstream.abandon()
            exchange.upstream = None

    # ---- one record ----

    def _finish(self, exchange: Exchange, outcome: Outcome, reason: Reason) -> None:
        exchange.outcome, exchange.reason = outcome, reason
        del self.in_flight[exchange.id]
        age_s = time.monotonic() - exchange.started
        self._counters.finish(exchange, age_s)
        self._log.write(exchange, age_s)
        exchange.client.exchange_finished(exchange)

    # ---- time ----

    def sweep(self, now: float) -> None:
        """Age what is in flight, and give up on origins that say nothing."""
        for exchange in list(self.in_flight.values()):
            self._counters.age(exchange, now - exchange.started)
            upstream = exchange.upstream
            if not exchange.inspected or upstream is None or upstream.paused:
                continue
            if not exchange.body_complete and not upstream.write_paused:
                continue  # it is the client that takes its time
            silent_s = now - exchange.upstream_since
            if exchange.response_head_sent:
                if silent_s > ORIGIN_BODY_TIMEOUT_S:
                    self.give_up(exchange, Reason.ORIGIN_BODY_TIMEOUT)
            elif silent_s > ORIGIN_HEAD_TIMEOUT_S:
                self.give_up(exchange, Reason.ORIGIN_HEAD_TIMEOUT)
