"""Whoever is slow slows the other end: what the front itself holds stays small, and no byte is lost."""

import asyncio
import hashlib
import random

import pytest

from proxy.front import BODY_HIGH_WATER, MAX_PIPELINED
from proxy.pipeline import ORIGIN_BODY_TIMEOUT_S, ORIGIN_HEAD_TIMEOUT_S
from tests.fakes.waiting import eventually
from tests.proxy.bench import plain

#: One read of the loop (256 KiB) above the mark at which reading pauses, on either side.
HELD_BYTES = BODY_HIGH_WATER + 512 * 1024
LARGE = random.Random(1).randbytes(20_000_000)
SHA = hashlib.sha256(LARGE).hexdigest()
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
OK = ("ok", "proxied")


def held(edge):
    """The most bytes that one connection of the front holds, in a body or in a write buffer."""
    sizes = [0]
    for exchange in edge.pipeline.in_flight.values():
        sizes.append(len(exchange.body))
        if exchange.upstream is not None:
            sizes.append(exchange.upstream._transport.get_write_buffer_size())
    sizes += [connection._transport.get_write_buffer_size() for connection in edge.connections]
    return max(sizes)


async def stalled(progress, what):
    """`progress()` stands still: the same for 60 ms."""
    async with asyncio.timeout(10):
        last, since = None, 0
        while since < 30:
            value = progress()
            since = since + 1 if value == last else 0
            last = value
            await asyncio.sleep(0.002)
    assert last, what


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
async def test_a_large_download_by_a_slow_reader(edge, origin, framing):
    sent = 0

    async def answer(request, reader, writer):
        nonlocal sent
        head = {"length": b"Content-Length: %d\r\n" % len(LARGE), "chunked": b"Transfer-Encoding: chunked\r\n"}
        writer.write(b"HTTP/1.1 200 OK\r\n" + head.get(framing, b"") + b"\r\n")
        for start in range(0, len(LARGE), 50_000):
            piece = LARGE[start : start + 50_000]
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece) if framing == "chunked" else piece)
            await writer.drain()
            sent += len(piece)
        if framing == "chunked":
            writer.write(b"0\r\n\r\n")
        if framing == "close":
            writer.close()

    origin.answer = answer
    client = await edge.client(receive_buffer=65536, limit=2**18)
    client.send(GET)
    await stalled(lambda: sent, "the download begins")
    assert sent < len(LARGE)
    assert held(edge) < HELD_BYTES
    edge.pipeline.sweep(asyncio.get_running_loop().time() + 10 * ORIGIN_BODY_TIMEOUT_S)
    response = await client.response()
    assert hashlib.sha256(response.body).hexdigest() == SHA
    await edge.settled(OK)
    assert edge.lines[0].bytes_out == len(LARGE)


@pytest.mark.parametrize("inspected", [False, True])
async def test_a_large_upload_to_a_slow_origin(edge, origin, inspected):
    may_read = asyncio.Event()
    received = hashlib.sha256()

    async def answer(request, reader, writer):
        await may_read.wait()
        left = len(LARGE)
        while left:
            piece = await reader.read(min(left, 65536))
            received.update(piece)
            left -= len(piece)
        writer.write(plain())

    origin.reads_body, origin.answer = False, answer
    edge.inspection.active = "on" if inspected else None
    client = await edge.client()
    client.send(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(LARGE) + LARGE)
    unsent = client.writer.transport.get_write_buffer_size
    if inspected:
        await eventually(lambda: edge.inspection.link.jobs, "inspection")
        await stalled(unsent, "the upload begins")
        assert held(edge) < HELD_BYTES
        edge.inspection.answer()
    await eventually(lambda: origin.requests, "the head reaches the origin")
    await stalled(unsent, "the upload begins")
    assert held(edge) < HELD_BYTES
    may_read.set()
    assert (await client.response()).status == 200
    assert received.hexdigest() == SHA
    await edge.settled(OK)
    assert edge.lines[0].bytes_in == len(LARGE)


async def test_an_origin_that_stops_reading_is_given_up(edge, origin):
    async def answer(request, reader, writer):
        await writer.wait_closed()

    origin.reads_body, origin.answer = False, answer
    client = await edge.client()
    client.send(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(LARGE) + LARGE)
    await eventually(lambda: origin.requests, "the head reaches the origin")
    await stalled(client.writer.transport.get_write_buffer_size, "the upload begins")
    edge.pipeline.sweep(asyncio.get_running_loop().time() + ORIGIN_HEAD_TIMEOUT_S + 1)
    assert (await client.response()).status == 504
    await edge.settled(("gateway_timeout", "origin_head_timeout"))


async def test_pipelined_answers_that_nobody_reads_wait_at_the_origin(edge, origin):
    """Else a client that only asks fills the front's memory."""
    origin.response = plain(b"z" * 200_000)
    client = await edge.client(receive_buffer=65536, limit=2**18)
    client.send(GET * 200)
    await stalled(lambda: len(origin.requests), "some are served")
    assert len(origin.requests) < 100
    assert held(edge) < HELD_BYTES
    for _ in range(200):
        assert len((await client.response()).body) == 200_000
    await edge.settled(*[OK] * 200)


async def test_a_flood_of_pipelined_requests_is_not_read_ahead(edge, origin):
    """Each request served makes room for one, not for another read of thousands."""
    edge.inspection.active = "on"
    client = await edge.client()
    client.send(GET * 100_000)
    (connection,) = edge.connections
    for _ in range(50):
        await eventually(lambda: edge.inspection.link.in_flight, "the next one is inspected")
        edge.inspection.answer()
        await client.response()
    assert len(connection._waiting) <= MAX_PIPELINED + 2 * 262_144 // len(GET)
    connection._transport.abort()  # it is not being read from, and so does not hear that its client goes


async def test_small_and_large_bodies_behind_each_other(edge, origin):
    """Pausing and resuming leaves no connection asleep."""
    edge.inspection.active = "on"
    client = await edge.client()
    sizes = [10, 600_000, 0, 8192, 1_000_000, 8191, 300_000]
    for size in sizes:
        client.send(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size + LARGE[:size])
    for size in sizes:
        await eventually(lambda: edge.inspection.link.in_flight, f"inspection of {size} bytes")
        edge.inspection.answer()
        assert (await client.response()).status == 200
    assert [len(seen.body) for seen in origin.requests] == sizes


async def test_an_early_answer_larger_than_the_lingering_is_read_whole(edge, origin, monkeypatch):
    """The half-closed connection waits for a slow reader, however little the client has left to say."""
    monkeypatch.setattr("proxy.front.LINGER_S", 0.02)
    origin.reads_body = False
    origin.response = plain(LARGE, "413 Content Too Large")
    client = await edge.client(receive_buffer=65536, limit=2**18)
    client.send(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc")
    await stalled(lambda: sum(e.bytes_out for e in edge.pipeline.in_flight.values()), "the answer begins")
    response = await client.response()
    assert hashlib.sha256(response.body).hexdigest() == SHA
    await client.closed()
    await edge.settled(OK)
