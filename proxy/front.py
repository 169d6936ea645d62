"""The client side: HTTP/1.1 connections on the event loop. Parses, hands exchanges to the pipeline, writes.

Requests that a client pipelines wait their turn here; what a client sends is not read on while the part of
the path behind it is full.
"""

import asyncio
import socket
import struct
import time
from collections import deque
from typing import cast
from urllib.parse import urlsplit

import httptools

from contract.vocabulary import Reason
from proxy.exchange import HOP_BY_HOP, Exchange, connection_tokens
from proxy.pipeline import Pipeline
from proxy.upstream import ResponseHead

#: A head larger than this is refused (nginx: 4 x 8 KiB, HAProxy: 16 KiB).
MAX_HEAD_BYTES = 32 * 1024
MAX_HEADERS = 128
#: Body bytes that may wait for their inspection or their origin before reading pauses.
BODY_HIGH_WATER = 256 * 1024
MAX_PIPELINED = 8
#: What a client still sends is read and dropped this long after its answer (nginx: lingering_timeout 5 s).
LINGER_S = 2.0
_NO_LINGER = struct.pack("ii", 1, 0)

_PHRASES = {
    400: b"Bad Request",
    403: b"Forbidden",
    405: b"Method Not Allowed",
    431: b"Request Header Fields Too Large",
    501: b"Not Implemented",
    502: b"Bad Gateway",
    503: b"Service Unavailable",
    504: b"Gateway Timeout",
}


class ClientConnection(asyncio.Protocol):
    """`_receiving`: the exchange whose bytes come in; `_current`: the one being answered."""

    def __init__(self, pipeline: Pipeline, connections: "set[ClientConnection]", node: bytes) -> None:
        self._pipeline = pipeline
        self._connections = connections
        self._node = node
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._receiving: Exchange | None = None
        self._current: Exchange | None = None
        self._waiting: deque[Exchange] = deque()
        #: Bytes of a head, a trailer or a chunk's frame that have led to nothing yet.
        self._head_bytes = 0
        self._closing = False
        self._paused = False
        self._write_paused = False
        self._linger: asyncio.TimerHandle | None = None
        self.peer = b"unknown"

    # ---- transport ----

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._connections.add(self)
        name = transport.get_extra_info("peername")
        if name:
            self.peer = name[0].encode()

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)
        self._closing = True
        self._waiting.clear()
        if self._linger is not None:
            self._linger.cancel()
        if self._current is not None:
            self._pipeline.client_gone(self._current)

    def pause_writing(self) -> None:
        """The client does not read: neither its answer nor its next request goes on."""
        self._write_paused = True
        if self._current is not None and self._current.upstream is not None:
            self._current.upstream.pause_reading()

    def resume_writing(self) -> None:
        self._write_paused = False
        if self._current is None:
            self._next_turn()
        elif self._current.upstream is not None:
            self._current.upstream.resume_reading()

    def pause_reading(self) -> None:
        if self._transport is not None and not self._paused and not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self._transport is None or self._transport.is_closing() or self._closing or self._full:
            return
        if self._paused:
            self._paused = False
            self._transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return
        self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._refuse(Reason.UPGRADE_REFUSED)
        except httptools.HttpParserCallbackError as fault:
            if not isinstance(fault.__context__, _HeadTooLarge):
                raise
            self._refuse(Reason.HEAD_TOO_LARGE)
        except httptools.HttpParserError:
            self._refuse(Reason.MALFORMED)
        else:
            if self._receiving is not None and self._head_bytes > MAX_HEAD_BYTES:
                self._refuse(Reason.HEAD_TOO_LARGE)
            if self._full:
                self.pause_reading()

    @property
    def _full(self) -> bool:
        """What has been read is as much as may wait here."""
        body_bytes = len(self._receiving.body) if self._receiving is not None else 0
        return body_bytes > BODY_HIGH_WATER or len(self._waiting) >= MAX_PIPELINED

    def _refuse(self, reason: Reason) -> None:
        """What comes after a request that cannot be trusted cannot be trusted either: answer, then close."""
        if self._closing:  # said already, from inside the parser
            return
        exchange, self._receiving = self._receiving or self._new_exchange(), None
        exchange.refused, exchange.keep_alive = reason, False
        self._stop_reading()
        if exchange is self._current:  # its body went wrong while it was on its way
            self._pipeline.give_up(exchange, reason)
        elif exchange not in self._waiting:
            self._take_turn(exchange)

    def _stop_reading(self) -> None:
        self._closing = True
        self.pause_reading()

    # ---- parser ----

    def _new_exchange(self) -> Exchange:
        return Exchange(self._pipeline.next_id(), self, time.monotonic())

    # The parser reads to the end of what it was given: nothing behind the last request counts any more.

    def on_message_begin(self) -> None:
        self._receiving = None if self._closing else self._new_exchange()

    def on_url(self, url: bytes) -> None:
        if self._receiving is not None:
            self._receiving.uri += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._receiving is None or self._receiving.head_complete:
            return  # a trailer is no header
        headers = self._receiving.headers
        headers.append((name, name.lower(), value))
        if len(headers) > MAX_HEADERS:
            raise _HeadTooLarge

    def on_headers_complete(self) -> None:
        exchange = self._receiving
        if exchange is None:
            return
        exchange.head_complete = True
        exchange.method = self._parser.get_method()
        exchange.version = self._parser.get_http_version()
        exchange.keep_alive = self._parser.should_keep_alive()
        exchange.refused = _read_head(exchange)
        if self._head_bytes > MAX_HEAD_BYTES and _head_size(exchange) > MAX_HEAD_BYTES:
            exchange.refused = Reason.HEAD_TOO_LARGE
        if self._parser.should_upgrade():
            exchange.refused = exchange.refused or Reason.UPGRADE_REFUSED
        if exchange.content_length is None and not exchange.chunked:
            exchange.body_complete = True
        if exchange.refused is not None:
            self._receiving = None
            exchange.keep_alive = False
            self._stop_reading()
        self._head_bytes = 0
        self._take_turn(exchange)

    def on_body(self, data: bytes) -> None:
        self._head_bytes = 0
        exchange = self._receiving
        if exchange is None or exchange.outcome is not None:
            return
        exchange.bytes_in += len(data)
        exchange.body += data
        if exchange is self._current:
            self._pipeline.body_arrived(exchange)

    def on_message_complete(self) -> None:
        self._head_bytes = 0
        exchange, self._receiving = self._receiving, None
        if exchange is None or exchange.outcome is not None or exchange.body_complete:
            return
        exchange.body_complete = True
        if exchange is self._current:
            self._pipeline.body_arrived(exchange)

    # ---- turns ----

    def _take_turn(self, exchange: Exchange) -> None:
        if self._current is None and not self._waiting and not self._write_paused:
            self._current = exchange
            self._pipeline.begin(exchange)
        else:
            self._waiting.append(exchange)

    def exchange_finished(self, exchange: Exchange) -> None:
        """Called by the pipeline, once an exchange."""
        self._current = None
        if self._transport is None or self._transport.is_closing():
            return
        if not exchange.keep_alive:
            self._waiting.clear()
            self._close(whole=exchange.body_complete and exchange.refused is None and not self._closing)
        elif self._waiting:
            # Not from inside the call that finished its predecessor: a long pipeline would nest as deep.
            asyncio.get_running_loop().call_soon(self._next_turn)
        else:
            self.resume_reading()

    def _next_turn(self) -> None:
        if self._current is None and self._waiting and not self._write_paused:
            exchange = self._current = self._waiting.popleft()
            exchange.started = time.monotonic()
            self._pipeline.begin(exchange)
        self.resume_reading()

    def _close(self, whole: bool) -> None:
        """Closing on unread bytes would reset the connection, and the answer could be lost with it."""
        assert self._transport is not None
        self._closing = True
        if whole:
            self._transport.close()
            return
        self._transport.write_eof()
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        self._linger = asyncio.get_running_loop().call_later(LINGER_S, self._transport.close)

    # ---- answering ----

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def send_continue(self, exchange: Exchange) -> None:
        if exchange.expects_continue:
            exchange.expects_continue = False
            self._write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def send_head(self, exchange: Exchange, head: ResponseHead) -> None:
        exchange.response_head_sent = True
        named = connection_tokens(head.headers)
        parts = [b"HTTP/1.1 %d %b\r\n" % (head.status, head.phrase)]
        for name, lower, value in head.headers:
            if lower in HOP_BY_HOP or lower in named or lower == b"content-length" or lower == b"x-request-id":
                continue
            parts += (name, b": ", value, b"\r\n")
        if head.length is not None:
            parts.append(b"Content-Length: %d\r\n" % head.length)
        elif head.body:
            if exchange.version == "1.1":
                exchange.response_chunked = True
                parts.append(b"Transfer-Encoding: chunked\r\n")
            else:
                exchange.keep_alive = False
        parts.append(self._assertions(exchange))
        self._write(b"".join(parts))

    def send_body(self, exchange: Exchange, data: bytes) -> None:
        exchange.bytes_out += len(data)
        self._write(b"%x\r\n%b\r\n" % (len(data), data) if exchange.response_chunked else data)

    def send_end(self, exchange: Exchange) -> None:
        if exchange.response_chunked:
            self._write(b"0\r\n\r\n")

    def send_page(self, exchange: Exchange, status: int, page: bytes) -> None:
        exchange.response_head_sent = True
        exchange.bytes_out = len(page)
        head = (
            b"HTTP/1.1 %d %b\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: %d\r\n"
            b"Cache-Control: no-store\r\n" % (status, _PHRASES[status], len(page))
        )
        self._write(head + self._assertions(exchange) + (b"" if exchange.method == b"HEAD" else page))

    def cut(self, exchange: Exchange) -> None:
        """End the connection so that what was sent of the answer does not look whole."""
        exchange.keep_alive = False
        if self._transport is None or self._transport.is_closing():
            return
        if exchange.version == "1.0":  # nothing but the connection's end may frame the body: reset it
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self._transport.abort()

    def _assertions(self, exchange: Exchange) -> bytes:
        """The end of every answer's head: what this edge says of itself."""
        connection = b"" if exchange.keep_alive and exchange.version == "1.1" else (
            b"Connection: keep-alive\r\n" if exchange.keep_alive else b"Connection: close\r\n"
        )  # fmt: skip
        return b"Via: 1.1 badgateway\r\nX-Edge-Node: %b\r\nX-Request-Id: %b\r\n%b\r\n" % (
            self._node,
            exchange.request_id.encode(),
            connection,
        )


class _HeadTooLarge(Exception):
    """More headers than anyone needs."""


def _head_size(exchange: Exchange) -> int:
    return len(exchange.uri) + sum(len(name) + len(value) + 4 for name, _, value in exchange.headers)


def _read_head(exchange: Exchange) -> Reason | None:
    """Fill in what the path needs; returns why the head is refused, if it is (RFC 9112 sections 3.2, 6.1)."""
    hosts = 0
    for _, lower, value in exchange.headers:
        if lower == b"host":
            hosts += 1
            exchange.host = value
        elif lower == b"content-length":
            if exchange.content_length is not None:
                return Reason.MALFORMED
            exchange.content_length = int(value)
        elif lower == b"transfer-encoding":
            if exchange.chunked or value.strip().lower() != b"chunked" or exchange.version == "1.0":
                return Reason.MALFORMED
            exchange.chunked = True
        elif lower == b"x-client-request-id":
            exchange.client_id = value[:64]
        elif lower == b"expect" and value.lower() == b"100-continue":
            exchange.expects_continue = exchange.version == "1.1"
    if (
        exchange.version not in ("1.0", "1.1")
        or hosts > 1
        or (exchange.chunked and exchange.content_length is not None)
    ):
        return Reason.MALFORMED
    if not exchange.uri.startswith(b"/"):
        return _read_absolute_form(exchange)
    return None


def _read_absolute_form(exchange: Exchange) -> Reason | None:
    """`GET http://host/path`: the URI's host wins over Host (RFC 9112 section 3.2.2)."""
    if exchange.uri == b"*" and exchange.method == b"OPTIONS":
        return None
    if exchange.method == b"CONNECT":
        return Reason.METHOD_REFUSED
    try:
        parts = urlsplit(exchange.uri.decode("ascii"))
    except ValueError:
        return Reason.MALFORMED
    if parts.scheme not in ("http", "https") or not parts.netloc or "@" in parts.netloc:
        return Reason.MALFORMED
    exchange.host = parts.netloc.encode()
    exchange.uri = (parts.path or "/").encode() + (f"?{parts.query}".encode() if parts.query else b"")
    return None
