"""What the front refuses: answered once, closed, counted once, and nothing of it reaches the origin."""

import asyncio

import pytest

from proxy.front import MAX_HEAD_BYTES, MAX_HEADERS
from tests.fakes.waiting import eventually

GET = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
MALFORMED, HOST_MISSING, TOO_LARGE = "malformed", "host_missing", "head_too_large"


def get(*lines, target=b"/", version=b"1.1", method=b"GET"):
    return b"%b %b HTTP/%b\r\n%b\r\n" % (method, target, version, b"".join(line + b"\r\n" for line in lines))


REFUSED = {
    "bare garbage": (b"\x16\x03\x01\x02\x00\x01\x00", 400, MALFORMED),
    "no version": (b"GET /\r\n\r\n", 400, MALFORMED),
    "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, MALFORMED),
    "unknown version": (get(b"Host: a", version=b"1.2"), 400, MALFORMED),
    "bare LF": (b"GET / HTTP/1.1\nHost: a\n\n", 400, MALFORMED),
    "space before colon": (get(b"Host : a"), 400, MALFORMED),
    "folded header": (get(b"Host: a", b"X: 1", b" 2"), 400, MALFORMED),
    "NUL": (get(b"Host: a\x00b"), 400, MALFORMED),
    "CR in a value": (get(b"Host: a\rX: b"), 400, MALFORMED),
    "two hosts": (get(b"Host: a", b"Host: b"), 400, MALFORMED),
    "the same host twice": (get(b"Host: a", b"Host: a"), 400, MALFORMED),
    "no host": (get(), 400, HOST_MISSING),
    "empty host": (get(b"Host:"), 400, HOST_MISSING),
    "two lengths": (get(b"Host: a", b"Content-Length: 3", b"Content-Length: 3") + b"abc", 400, MALFORMED),
    "two other lengths": (get(b"Host: a", b"Content-Length: 3", b"Content-Length: 0") + b"abc", 400, MALFORMED),
    "signed length": (get(b"Host: a", b"Content-Length: +3") + b"abc", 400, MALFORMED),
    "length with underscore": (get(b"Host: a", b"Content-Length: 1_0") + b"0123456789", 400, MALFORMED),
    "length list": (get(b"Host: a", b"Content-Length: 3, 3") + b"abc", 400, MALFORMED),
    "length overflow": (get(b"Host: a", b"Content-Length: 99999999999999999999"), 400, MALFORMED),
    "length and chunked": (
        get(b"Host: a", b"Content-Length: 3", b"Transfer-Encoding: chunked") + b"0\r\n\r\n",
        400,
        MALFORMED,
    ),
    "chunked and length": (
        get(b"Host: a", b"Transfer-Encoding: chunked", b"Content-Length: 3") + b"0\r\n\r\n",
        400,
        MALFORMED,
    ),
    "other coding": (get(b"Host: a", b"Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n", 400, MALFORMED),
    "chunked twice": (
        get(b"Host: a", b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked") + b"0\r\n\r\n",
        400,
        MALFORMED,
    ),
    "chunked in 1.0": (
        get(b"Host: a", b"Transfer-Encoding: chunked", version=b"1.0") + b"0\r\n\r\n",
        400,
        MALFORMED,
    ),
    "relative target": (get(b"Host: a", target=b"a/b"), 400, MALFORMED),
    "other scheme": (get(b"Host: a", target=b"ftp://a/b"), 400, MALFORMED),
    "user in the target": (get(b"Host: a", target=b"http://u@a/b"), 400, MALFORMED),
    "upgrade": (get(b"Host: a", b"Connection: upgrade", b"Upgrade: websocket"), 501, "upgrade_refused"),
    "CONNECT": (get(b"Host: a:443", target=b"a:443", method=b"CONNECT"), 405, "method_refused"),
    "TRACE": (get(b"Host: a", method=b"TRACE"), 405, "method_refused"),
    "many headers": (get(b"Host: a", *[b"X: 1"] * MAX_HEADERS), 431, TOO_LARGE),
    "long target": (get(b"Host: a", target=b"/" + b"a" * MAX_HEAD_BYTES), 431, TOO_LARGE),
    "long header": (get(b"Host: a", b"X: " + b"a" * MAX_HEAD_BYTES), 431, TOO_LARGE),
    "endless header": (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * (MAX_HEAD_BYTES + 1), 431, TOO_LARGE),
}


@pytest.mark.parametrize("piecewise", [False, True], ids=["at once", "in pieces"])
@pytest.mark.parametrize(("wire", "status", "reason"), REFUSED.values(), ids=REFUSED)
async def test_refused(edge, origin, wire, status, reason, piecewise):
    """The request behind it is not served either: where it began is the sender's word."""
    client = await edge.client()
    if piecewise:
        step = max(1, len(wire) // 20)
        for start in range(0, len(wire), step):
            client.send(wire[start : start + step])
            await asyncio.sleep(0)
        client.send(GET)
    else:
        client.send(wire + GET)
    response = await client.response()
    assert (response.status, response["connection"]) == (status, "close")
    assert f"<h1>{status} ".encode() in response.body
    await client.closed()
    await edge.settled(("bad_request", reason))
    assert origin.requests == []
    assert not edge.pipeline.in_flight


async def test_what_the_limits_allow(edge, origin):
    client = await edge.client()
    client.send(get(b"Host: a", *[b"X: 1"] * (MAX_HEADERS - 1)))
    assert (await client.response()).status == 200
    client.send(get(b"Host: a", b"X: " + b"a" * (MAX_HEAD_BYTES - 100)) * 3)
    for _ in range(3):
        assert (await client.response()).status == 200


async def test_a_refused_head_waits_for_the_answers_before_it(edge, origin):
    may_answer = asyncio.Event()

    async def answer(request, reader, writer):
        await may_answer.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    origin.answer = answer
    client = await edge.client()
    client.send(get(b"Host: a", target=b"/first") + b"garbage\r\n\r\n" + GET)
    await eventually(lambda: origin.requests, "the first request reaches the origin")
    may_answer.set()
    assert (await client.response()).status == 200
    assert (await client.response()).status == 400
    await client.closed()
    await edge.settled(("ok", "proxied"), ("bad_request", MALFORMED))
    assert len(origin.requests) == 1


CHUNKED = get(b"Host: a", b"Transfer-Encoding: chunked", method=b"POST")
BROKEN_CHUNK = b"zz\r\nabc\r\n"


async def test_a_body_that_goes_wrong_on_its_way(edge, origin):
    client = await edge.client()
    client.send(CHUNKED + b"3\r\nabc\r\n")
    await eventually(lambda: origin.requests, "the head reaches the origin")
    client.send(BROKEN_CHUNK + GET)
    assert (await client.response()).status == 400
    await client.closed()
    await edge.settled(("bad_request", MALFORMED))
    await eventually(lambda: origin.open == 0, "the origin's connection is cut")
    assert not origin.requests[0].complete


async def test_a_body_that_goes_wrong_while_its_beginning_is_inspected(edge, origin):
    """The verdict comes after the refusal: nothing may be forwarded by it."""
    client = await edge.client()
    await client.ask(get(b"Host: a"))  # leaves a connection to forward on
    edge.inspection.active = "on"
    client.send(CHUNKED + b"2000\r\n" + b"x" * 0x2000 + b"\r\n")
    await eventually(lambda: edge.inspection.link.jobs, "inspection")
    client.send(BROKEN_CHUNK)
    assert (await client.response()).status == 400
    edge.inspection.answer()
    edge.inspection.active = None
    await (await edge.client()).ask(get(b"Host: a"))
    assert [seen.method for seen in origin.requests] == ["GET", "GET"]
    await edge.settled(("ok", "proxied"), ("bad_request", MALFORMED), ("ok", "proxied"))


async def test_a_body_that_goes_wrong_while_it_waits_for_its_turn(edge, origin):
    edge.inspection.active = "on"
    client = await edge.client()
    client.send(get(b"Host: a", target=b"/first") + CHUNKED + b"3\r\nabc\r\n" + BROKEN_CHUNK)
    await eventually(lambda: edge.inspection.link.jobs, "inspection")
    edge.inspection.answer()
    assert (await client.response()).status == 200
    assert (await client.response()).status == 400
    await client.closed()
    await edge.settled(("ok", "proxied"), ("bad_request", MALFORMED))


@pytest.mark.parametrize("flood", [b"0\r\nX-Trailer: ", b"3;extension="])
async def test_a_trailer_or_chunk_extension_without_end_is_refused(edge, origin, flood):
    client = await edge.client()
    client.send(CHUNKED + flood)
    for _ in range(20):
        client.send(b"a" * 10_000)
        await asyncio.sleep(0.001)
    assert (await client.response()).status == 431
    await edge.settled(("bad_request", TOO_LARGE))
