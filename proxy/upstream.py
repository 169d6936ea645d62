"""The origin side: kept connections to one origin, one exchange at a time on each, replies streamed back.

A response's bytes go to the pipeline as they come; when the client is slow, reading from the origin pauses.
"""

import asyncio
import time
from collections import deque
from dataclasses import dataclass
from typing import Protocol, cast

import httptools

from contract.vocabulary import Reason
from proxy.config import Address
from proxy.exchange import ASSERTED, HOP_BY_HOP, Exchange, Header, connection_tokens

#: Kept connections are closed before the origin's own idle limit (aiohttp: 75 s) can race with a request.
IDLE_LIMIT_S = 30.0
IDLE_MAX = 64
CONNECT_TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """`body`: whether one may follow. `length`: its Content-Length, or None where it must be framed anew."""

    status: int
    phrase: bytes
    headers: list[Header]
    body: bool
    length: int | None


class Downstream(Protocol):
    """Whom an origin connection tells; the pipeline."""

    def origin_failed(self, exchange: Exchange, reason: Reason, stale: bool) -> None: ...
    def response_head(self, exchange: Exchange, head: ResponseHead) -> None: ...
    def response_body(self, exchange: Exchange, data: bytes) -> None: ...
    def response_complete(self, exchange: Exchange) -> None: ...


class OriginPool:
    """Idle connections, newest first out, so that those too many grow old and are closed."""

    def __init__(self, origin: Address) -> None:
        self._origin = origin
        self._idle: deque[OriginConnection] = deque()
        self._connecting: set[asyncio.Task[None]] = set()
        self.downstream: Downstream

    def send(self, exchange: Exchange) -> None:
        """On an idle connection at once, else on a new one. A second try never takes a kept connection."""
        while self._idle and exchange.tries == 1:
            connection = self._idle.pop()
            if connection.usable:
                connection.start(exchange)
                return
        task = asyncio.get_running_loop().create_task(self._connect(exchange))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _connect(self, exchange: Exchange) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                _, connection = await loop.create_connection(
                    lambda: OriginConnection(self), self._origin.host, self._origin.port
                )
        except TimeoutError:
            reason = Reason.ORIGIN_CONNECT_TIMEOUT
        except OSError:
            reason = Reason.ORIGIN_REFUSED
        else:
            if exchange.outcome is not None:  # its client went away meanwhile
                connection.release()
                return
            if connection.usable:
                connection.start(exchange)
                return
            reason = Reason.ORIGIN_RESET  # before this task had its turn
        if exchange.outcome is None:
            self.downstream.origin_failed(exchange, reason, stale=False)

    def keep(self, connection: "OriginConnection") -> None:
        if len(self._idle) >= IDLE_MAX:
            connection.abandon()
        else:
            self._idle.append(connection)

    def sweep(self, now: float) -> None:
        while self._idle and (not self._idle[0].usable or now - self._idle[0].idle_since > IDLE_LIMIT_S):
            self._idle.popleft().abandon()

    def close(self) -> None:
        for task in self._connecting:
            task.cancel()
        while self._idle:
            self._idle.pop().abandon()


class OriginConnection(asyncio.Protocol):
    """One connection; `_exchange` is what it is working on, None while idle."""

    def __init__(self, pool: OriginPool) -> None:
        self._pool = pool
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._exchange: Exchange | None = None
        self._used_before = False
        self._chunked_request = False
        self._answered = False
        self._keep = True
        self._phrase = b""
        self._headers: list[Header] = []
        self._ends_at_close = False
        self.write_paused = False
        self.idle_since = 0.0
        self.paused = False

    @property
    def usable(self) -> bool:
        return self._transport is not None and not self._transport.is_closing() and self._exchange is None

    # ---- sending ----

    def start(self, exchange: Exchange) -> None:
        self._exchange = exchange
        exchange.upstream = self
        self._answered = False
        self._ends_at_close = False
        self._chunked_request = exchange.chunked and not exchange.body_complete
        self._write(_request_head(exchange, self._chunked_request))
        self.send_body(exchange)

    def send_body(self, exchange: Exchange) -> None:
        """Pass on what has come in of the body, and its end."""
        data = bytes(exchange.body)
        exchange.body.clear()
        exchange.upstream_since = time.monotonic()
        if data:
            self._write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked_request else data)
        if exchange.body_complete and self._chunked_request:
            self._chunked_request = False
            self._write(b"0\r\n\r\n")
        if not self.write_paused:
            exchange.client.resume_reading()

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    # ---- transport ----

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def pause_writing(self) -> None:
        self.write_paused = True
        if self._exchange is not None:
            self._exchange.client.pause_reading()

    def resume_writing(self) -> None:
        self.write_paused = False
        if self._exchange is not None:
            self._exchange.client.resume_reading()

    def pause_reading(self) -> None:
        if self._transport is not None and not self.paused and not self._transport.is_closing():
            self.paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self._transport is not None and self.paused and not self._transport.is_closing():
            self.paused = False
            self._transport.resume_reading()
            if self._exchange is not None:  # the silence until here was the client's
                self._exchange.upstream_since = time.monotonic()

    def data_received(self, data: bytes) -> None:
        if self._exchange is None:
            self.abandon()  # nobody asked
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail(Reason.ORIGIN_PROTOCOL)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._exchange is None:
            return
        if self._ends_at_close and exc is None:
            self._keep = False
            self._complete()
        else:
            self._fail(Reason.ORIGIN_RESET)

    # ---- parser ----

    def on_message_begin(self) -> None:
        if self._exchange is None:
            self.abandon()  # behind the answer's end: nobody asked
        self._headers = []
        self._phrase = b""

    def on_status(self, phrase: bytes) -> None:
        self._phrase += phrase

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name, name.lower(), value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if self._exchange is None or 100 <= status < 200:
            return
        self._answered = True
        self._keep = self._parser.should_keep_alive()
        length, chunked = _framing(self._headers) if status != 204 else (None, False)
        body = self._exchange.method != b"HEAD" and status not in (204, 304)
        self._ends_at_close = body and length is None and not chunked
        head = ResponseHead(status, self._phrase, self._headers, body, length)
        self._pool.downstream.response_head(self._exchange, head)
        if self._exchange is not None and self._exchange.method == b"HEAD" and length != 0:
            # llhttp waits for the body that a HEAD never has; a new parser does not.
            self._parser = httptools.HttpResponseParser(self)
            self._complete()

    def on_body(self, data: bytes) -> None:
        if self._exchange is not None:
            self._pool.downstream.response_body(self._exchange, data)

    def on_message_complete(self) -> None:
        if self._answered and not self._ends_at_close:
            self._complete()

    # ---- ends ----

    def _complete(self) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is None:
            return
        whole_request = exchange.body_complete
        self._pool.downstream.response_complete(exchange)
        if self._keep and whole_request:
            self.release()
        else:
            self.abandon()

    def release(self) -> None:
        """Idle from now on."""
        self._used_before = True
        self.resume_reading()
        self.idle_since = time.monotonic()
        self._pool.keep(self)

    def abandon(self) -> None:
        """Close without a word; whoever calls this has settled the exchange."""
        self._exchange = None
        if self._transport is not None:
            self._transport.abort()

    def _fail(self, reason: Reason) -> None:
        exchange, self._exchange = self._exchange, None
        stale = self._used_before and not self._answered and reason is Reason.ORIGIN_RESET
        if self._transport is not None:
            self._transport.abort()
        if exchange is not None:
            self._pool.downstream.origin_failed(exchange, reason, stale)


def _framing(headers: list[Header]) -> tuple[int | None, bool]:
    length, chunked = None, False
    for _, name, value in headers:
        if name == b"content-length":
            length = int(value)
        elif name == b"transfer-encoding":
            chunked = value.lower().endswith(b"chunked")
    return (None if chunked else length), chunked


def _request_head(exchange: Exchange, chunked: bool) -> bytes:
    """The head as the origin gets it (RFC 9110 section 7.6): nothing of the client's hop, our own assertions."""
    named = connection_tokens(exchange.headers)
    parts = [exchange.method, b" ", exchange.uri, b" HTTP/1.1\r\n"]
    for name, lower, value in exchange.headers:
        if lower in HOP_BY_HOP or lower in ASSERTED or lower in named or lower in _REFRAMED:
            continue
        parts += (name, b": ", value, b"\r\n")
    if chunked:
        parts.append(b"Transfer-Encoding: chunked\r\n")
    elif exchange.content_length is not None:
        parts.append(b"Content-Length: %d\r\n" % exchange.content_length)
    elif exchange.chunked:
        parts.append(b"Content-Length: %d\r\n" % len(exchange.body))
    peer = exchange.client.peer
    parts.append(
        b"Host: %b\r\nVia: 1.1 badgateway\r\nX-Request-Id: %b\r\nX-Forwarded-For: %b\r\n"
        b"X-Forwarded-Proto: http\r\nX-Forwarded-Host: %b\r\n\r\n"
        % (exchange.host, exchange.request_id.encode(), peer, exchange.host)
    )
    return b"".join(parts)


_REFRAMED = frozenset({b"content-length", b"host"})
