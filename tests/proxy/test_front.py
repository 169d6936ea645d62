"""What a client and an origin see of the path between them: real sockets, one process."""

import asyncio
import random

import pytest

from proxy.frames import Code
from tests.fakes.waiting import eventually
from tests.proxy.bench import Edge, plain

OK = ("ok", "proxied")
GET = b"GET /a?b=c HTTP/1.1\r\nHost: shop.example\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


def post(body, *headers):
    lines = "".join(f"{header}\r\n" for header in headers)
    return f"POST /p HTTP/1.1\r\nHost: a\r\n{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body


# ---- requests and responses pass ----


async def test_get(edge, origin):
    client = await edge.client()
    origin.response = plain(b"hello", "200 Fine", "X-Origin-Site: shop", "X-Request-Id: theirs")
    response = await client.ask(GET)
    assert response.start == "HTTP/1.1 200 Fine"
    assert (response.body, response["x-origin-site"], response["x-edge-node"]) == (b"hello", "shop", "ams-1")
    (seen,) = origin.requests
    assert (seen.start, seen["host"]) == ("GET /a?b=c HTTP/1.1", "shop.example")
    assert seen["x-request-id"] == response["x-request-id"]
    assert not seen.all("content-length")
    (line,) = edge.lines
    assert (line.request_id, line.host, line.method, line.uri, line.status, line.bytes_out) == (
        response["x-request-id"],
        "shop.example",
        "GET",
        "/a?b=c",
        200,
        5,
    )
    await edge.settled(OK)


@pytest.mark.parametrize("body", [b"", b"x", b"y" * 100_000])
async def test_post_with_a_length(edge, origin, body):
    client = await edge.client()
    assert (await client.ask(post(body))).body == b"hello"
    (seen,) = origin.requests
    assert (seen.body, seen["content-length"], seen.all("transfer-encoding")) == (body, str(len(body)), [])
    await edge.settled(OK)
    assert edge.lines[0].bytes_in == len(body)


async def test_chunked_request_of_known_end_gets_a_length(edge, origin):
    """Whole before it is passed on, so that the origin need not be asked for chunked."""
    edge.inspection.active = "on"
    client = await edge.client()
    client.send(CHUNKED + b"3;x=1\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
    await eventually(lambda: edge.inspection.link.jobs, "the request is inspected")
    assert edge.inspection.link.jobs[0].body == b"abcde"
    edge.inspection.answer()
    assert (await client.response()).status == 200
    (seen,) = origin.requests
    assert (seen.body, seen["content-length"], seen.all("transfer-encoding")) == (b"abcde", "5", [])


async def test_chunked_request_of_unknown_end_stays_chunked(edge, origin):
    client = await edge.client()
    client.send(CHUNKED + b"3\r\nabc\r\n")
    await eventually(lambda: origin.requests, "the head reaches the origin before the body ends")
    client.send(b"2\r\nde\r\n0\r\nX-Trailer: t\r\n\r\n")
    assert (await client.response()).status == 200
    (seen,) = origin.requests
    assert (seen.body, seen["transfer-encoding"], seen.all("content-length")) == (b"abcde", "chunked", [])


async def test_trailers_are_not_headers(edge, origin):
    """A field that arrives behind the body was neither checked nor framed as a header (RFC 9110, 6.5.1)."""
    edge.inspection.active = "on"
    client = await edge.client()
    client.send(CHUNKED + b"1\r\na\r\n0\r\nAuthorization: evil\r\n\r\n")
    await eventually(lambda: edge.inspection.link.jobs, "the request is inspected")
    edge.inspection.answer()
    await client.response()
    assert not origin.requests[0].all("authorization")


async def test_chunked_response_stays_chunked(edge, origin):
    origin.response = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n"
    client = await edge.client()
    for _ in range(2):
        response = await client.ask(GET)
        assert (response.body, response["transfer-encoding"]) == (b"abcd", "chunked")
    assert origin.connections == 1


async def test_response_that_ends_with_its_connection(edge, origin):
    async def answer(request, reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nuntil the end")
        writer.close()

    origin.answer = answer
    client = await edge.client()
    for _ in range(2):
        response = await client.ask(GET)
        assert (response.body, response["transfer-encoding"]) == (b"until the end", "chunked")
    await edge.settled(OK, OK)


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 5\r\n",
        b"Content-Length: 0\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"",
    ],
)
async def test_head_has_no_body_and_keeps_the_connection(edge, origin, head):
    origin.response = b"HTTP/1.1 200 OK\r\nETag: x\r\n" + head + b"\r\n"
    client = await edge.client()
    for _ in range(2):
        response = await client.ask(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", body=False)
        assert (response.status, response["etag"]) == (200, "x")
        assert response.all("content-length") == ([head[16:17].decode()] if b"Length" in head else [])
    origin.response = plain()
    assert (await client.ask(GET)).body == b"hello"
    await edge.settled(OK, OK, OK)


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
async def test_statuses_without_a_body(edge, origin, status):
    origin.response = f"HTTP/1.1 {status}\r\nETag: x\r\n\r\n".encode()
    client = await edge.client()
    for _ in range(2):
        response = await client.ask(GET)
        assert (response.start, response["etag"]) == (f"HTTP/1.1 {status}", "x")
        assert not response.all("content-length")
        assert not response.all("transfer-encoding")
    assert origin.connections == 1
    await edge.settled(OK, OK)


async def test_interim_responses_are_passed_over(edge, origin):
    origin.response = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + plain(b"final")
    client = await edge.client()
    assert (await client.ask(GET)).body == b"final"


@pytest.mark.parametrize("status", ["404 Not Found", "500 Oops", "502 Bad Gateway"])
async def test_an_origin_s_own_error_is_its_answer(edge, origin, status):
    origin.response = plain(b"theirs", status)
    client = await edge.client()
    assert (await client.ask(GET)).start == f"HTTP/1.1 {status}"
    await edge.settled(OK)


# ---- versions, persistence, order ----


async def test_http_1_0_is_answered_and_closed(edge, origin):
    origin.response = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    client = await edge.client()
    response = await client.ask(b"GET / HTTP/1.0\r\n\r\n")
    assert (response.body, response["connection"], response.all("transfer-encoding")) == (b"abc", "close", [])
    await client.closed()
    await edge.settled(OK)


async def test_http_1_0_with_keep_alive(edge, origin):
    client = await edge.client()
    for _ in range(2):
        response = await client.ask(b"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n")
        assert (response.body, response["connection"]) == (b"hello", "keep-alive")


async def test_connection_close_is_honoured(edge, origin):
    client = await edge.client()
    response = await client.ask(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert response["connection"] == "close"
    await client.closed()


async def test_connections_are_kept_on_both_sides(edge, origin):
    client = await edge.client()
    for _ in range(5):
        assert (await client.ask(GET)).status == 200
    assert (origin.connections, len(edge.connections)) == (1, 1)
    await edge.settled(*[OK] * 5)


async def test_pipelined_requests_are_answered_in_order(edge, origin):
    async def answer(request, reader, writer):
        writer.write(plain(request.target.encode()))

    origin.answer = answer
    client = await edge.client()
    client.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number for number in range(40)))
    bodies = [(await client.response()).body for _ in range(40)]
    assert bodies == [b"/%d" % number for number in range(40)]
    await edge.settled(*[OK] * 40)


async def test_a_pipelined_body_waits_for_its_turn(edge, origin):
    client = await edge.client()
    client.send(GET + post(b"z" * 1000) + GET)
    for _ in range(3):
        assert (await client.response()).status == 200
    assert [len(seen.body) for seen in origin.requests] == [0, 1000, 0]


async def test_a_request_cut_into_single_bytes_is_whole(edge, origin):
    client = await edge.client()
    for byte in post(b"abc"):
        client.send(bytes([byte]))
        await asyncio.sleep(0)
    assert (await client.response()).status == 200
    assert origin.requests[0].body == b"abc"


# ---- headers ----


async def test_headers_of_one_hop_stay_on_it(edge, origin):
    origin.response = plain(b"", "200 OK", "Connection: x-hop", "X-Hop: 1", "Keep-Alive: timeout=5", "X-End: 2")
    client = await edge.client()
    response = await client.ask(
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, X-Secret\r\nX-Secret: 1\r\nKeep-Alive: 5\r\n"
        b"TE: trailers\r\nProxy-Connection: x\r\nProxy-Authorization: Basic x\r\nX-Kept: 2\r\nCookie: a=b\r\n\r\n"
    )
    (seen,) = origin.requests
    for name in ("connection", "x-secret", "keep-alive", "te", "proxy-connection", "proxy-authorization"):
        assert not seen.all(name), name
    assert (seen["x-kept"], seen["cookie"]) == ("2", "a=b")
    for name in ("x-hop", "keep-alive", "connection"):
        assert not response.all(name), name
    assert response["x-end"] == "2"


async def test_what_the_edge_asserts_cannot_be_forged(edge, origin):
    client = await edge.client()
    await client.ask(
        b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 9.9.9.9\r\nX-Request-Id: forged\r\n"
        b"Forwarded: for=9.9.9.9\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\n"
        b"X-Client-Request-Id: mine\r\n\r\n"
    )
    (seen,) = origin.requests
    assert (seen["x-forwarded-for"], seen["x-forwarded-proto"], seen["x-forwarded-host"]) == (
        "127.0.0.1",
        "http",
        "a",
    )
    assert seen["x-request-id"].startswith("ams-1-")
    assert not seen.all("forwarded")
    assert seen["x-client-request-id"] == "mine"
    assert edge.lines[0].client_id == "mine"


async def test_naming_a_header_in_connection_does_not_remove_the_edge_s_own(edge, origin):
    client = await edge.client()
    client.send(
        b"POST / HTTP/1.1\r\nHost: a\r\nConnection: host, content-length, x-forwarded-for, x-request-id\r\n"
        b"Content-Length: 3\r\n\r\nabc"
    )
    assert (await client.response()).status == 200
    (seen,) = origin.requests
    assert (seen.body, seen["host"], seen["x-forwarded-for"]) == (b"abc", "a", "127.0.0.1")


async def test_absolute_form_names_the_host(edge, origin):
    client = await edge.client()
    await client.ask(b"GET http://shop.example:81/p?q#f HTTP/1.1\r\nHost: other\r\n\r\n")
    await client.ask(b"GET http://shop.example?q HTTP/1.1\r\nHost: other\r\n\r\n")
    await client.ask(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n")
    assert [(seen.target, seen["host"]) for seen in origin.requests] == [
        ("/p?q", "shop.example:81"),
        ("/?q", "shop.example"),
        ("*", "a"),
    ]


# ---- Expect ----


@pytest.mark.parametrize("inspected", [False, True])
async def test_a_client_that_waits_is_told_to_continue(edge, origin, inspected):
    edge.inspection.active = "on" if inspected else None
    client = await edge.client()
    client.send(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
    async with asyncio.timeout(5):
        assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.send(b"abc")
    if inspected:
        await eventually(lambda: edge.inspection.link.jobs, "inspection")
        edge.inspection.answer()
    assert (await client.response()).status == 200
    (seen,) = origin.requests
    assert (seen.body, seen.all("expect")) == (b"abc", [])


async def test_a_body_that_came_unasked_is_not_asked_for(edge, origin):
    client = await edge.client()
    client.send(post(b"abc", "Expect: 100-continue"))
    async with asyncio.timeout(5):
        assert (await client.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 ")
    await edge.settled(OK)


# ---- inspection decides ----


async def test_a_blocked_request_never_reaches_the_origin(edge, origin):
    edge.inspection.active = "on"
    client = await edge.client()
    client.send(GET)
    await eventually(lambda: edge.inspection.link.jobs, "inspection")
    (job,) = edge.inspection.link.jobs
    assert (job.uri, job.headers) == (b"/a?b=c", b"shop.example")
    edge.inspection.answer(Code.BLOCKED, (3,))
    assert (await client.response()).status == 403
    await edge.settled(("blocked", "rule_matched"))
    assert edge.lines[0].pool == "primary"
    assert origin.requests == []
    assert edge.counters.snapshot().hits_by_rule == {"rule-3": 1}


async def test_only_the_first_bytes_of_a_body_are_inspected_and_waited_for(edge, origin):
    edge.inspection.active = "on"
    client = await edge.client()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 20000\r\n\r\n" + b"x" * 8192)
    await eventually(lambda: edge.inspection.link.jobs, "inspection before the body has ended")
    assert len(edge.inspection.link.jobs[0].body) == 8192
    edge.inspection.answer()
    await eventually(lambda: origin.requests, "the head passes on")
    client.send(b"y" * (20000 - 8192))
    assert (await client.response()).status == 200
    assert origin.requests[0].body == b"x" * 8192 + b"y" * (20000 - 8192)


async def test_a_large_body_s_sender_still_reads_that_it_was_blocked(edge, origin):
    """Closing on unread bytes would reset the connection and take the answer with it."""
    edge.inspection.active = "on"
    client = await edge.client()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n" + b"x" * 1_000_000)
    await eventually(lambda: edge.inspection.link.jobs, "inspection")
    edge.inspection.answer(Code.BLOCKED, (0,))
    client.send(b"y" * 1_000_000)
    response = await client.response()
    assert (response.status, response["connection"]) == (403, "close")
    await client.closed()
    await edge.settled(("blocked", "rule_matched"))


async def test_no_verdict_in_time_is_a_502_with_that_reason(edge, origin):
    edge.inspection.active = "on"
    client = await edge.client()
    client.send(GET)
    await eventually(lambda: edge.inspection.link.jobs, "inspection")
    edge.inspection.pools.sweep(edge.inspection.link.sent[0][1])
    response = await client.response()
    assert response.start == "HTTP/1.1 502 Bad Gateway"
    assert response["x-request-id"].encode() in response.body
    edge.inspection.answer()  # too late
    await edge.settled(("bad_gateway", "inspection_timeout"))


@pytest.mark.parametrize(
    ("policy", "record"), [("allow", OK), ("bad_gateway", ("bad_gateway", "inspection_pool_down"))]
)
async def test_what_a_failed_inspection_means_is_configured(origin, tmp_path, policy, record):
    edge = Edge(origin, str(tmp_path), flags=("--on-inspection-failure", policy))
    await edge.start()
    edge.inspection.active = "on"
    edge.inspection.pools.replace([])
    client = await edge.client()
    await client.ask(GET)
    await edge.settled(record)
    await edge.stop()


async def test_the_kill_switch_skips_inspection_from_the_next_request_on(edge, origin):
    edge.inspection.active = "on"
    edge.kill_switch = True
    client = await edge.client()
    assert (await client.ask(GET)).status == 200
    assert edge.inspection.link.jobs == []


# ---- random traffic ----


@pytest.mark.parametrize("seed", range(4))
async def test_any_mixture_on_one_connection_is_answered_in_order(edge, origin, seed):
    """Methods, bodies and framings at random, written in random pieces."""

    async def answer(request, reader, writer):
        body = request.target.encode() + b"|" + request.body
        if request.method == "HEAD":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
        elif len(body) % 2:
            writer.write(plain(body))
        else:
            chunk = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk)

    origin.answer = answer
    rng = random.Random(seed)
    wire, expected = b"", []
    for number in range(60):
        method = rng.choice(["GET", "POST", "HEAD", "PUT"])
        body = rng.randbytes(rng.choice([0, 1, 700, 9000])) if method in ("POST", "PUT") else b""
        head = f"{method} /{number} HTTP/1.1\r\nHost: a\r\n"
        if body and rng.random() < 0.5:
            cut = rng.randrange(1, len(body) + 1)
            chunks = [chunk for chunk in (body[:cut], body[cut:]) if chunk]
            wire += head.encode() + b"Transfer-Encoding: chunked\r\n\r\n"
            wire += b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
        else:
            wire += head.encode() + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        expected.append(b"" if method == "HEAD" else b"/%d|%b" % (number, body))
    client = await edge.client(limit=2**20)

    async def send():
        position = 0
        while position < len(wire):
            size = rng.choice([1, 30, 500, 20_000])
            client.send(wire[position : position + size])
            position += size
            await asyncio.sleep(0)

    sending = asyncio.ensure_future(send())
    for body in expected:
        response = await client.response(body=body != b"")
        assert response.body == body
    await sending
    await edge.settled(*[OK] * 60)
