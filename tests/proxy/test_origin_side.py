"""What origins can do to a request, and clients to an origin's answer: each with its one outcome and reason."""

import asyncio
import socket

import pytest

from proxy.pipeline import ORIGIN_BODY_TIMEOUT_S, ORIGIN_HEAD_TIMEOUT_S
from tests.fakes.waiting import eventually
from tests.proxy.bench import Edge, plain, reset

OK, GONE = ("ok", "proxied"), ("client_gone", "client_closed")
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"


def closed_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


async def in_the_future(edge, seconds):
    edge.pipeline.sweep(asyncio.get_running_loop().time() + seconds)


# ---- before the answer ----


@pytest.mark.parametrize("wire", [GET, POST])
async def test_an_origin_that_is_down(origin, tmp_path, wire):
    edge = Edge(origin, str(tmp_path), origin_port=closed_port())
    await edge.start()
    client = await edge.client()
    for _ in range(2):  # the connection to the client is kept
        response = await client.ask(wire)
        assert (response.status, response.all("connection")) == (502, [])
    await edge.settled(*[("bad_gateway", "origin_refused")] * 2)
    await edge.stop()


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"", "origin_reset"),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "origin_reset"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", "origin_reset"),
        (b"SSH-2.0-OpenSSH\r\n", "origin_protocol"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello", "origin_protocol"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", "origin_protocol"),
        (b"HTTP/1.1 200 OK\r\nX: a\nSet-Cookie: forged\r\n\r\n", "origin_protocol"),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "origin_protocol"),
    ],
)
@pytest.mark.parametrize("by_reset", [False, True], ids=["closes", "resets"])
async def test_an_origin_that_breaks_off_before_its_head_is_whole(edge, origin, said, reason, by_reset):
    async def answer(request, reader, writer):
        writer.write(said)
        await asyncio.sleep(0.01)  # so that what was said is not lost with the reset
        reset(writer) if by_reset else writer.close()

    origin.answer = answer
    client = await edge.client()
    assert (await client.ask(GET)).status == 502
    await edge.settled(("bad_gateway", reason))
    assert origin.connections == 1


async def test_an_origin_that_closes_on_accept(tmp_path, origin):
    """Whichever comes first, the connection or its end, the request is settled."""
    server = await asyncio.start_server(lambda _, writer: reset(writer), "127.0.0.1", 0)
    edge = Edge(origin, str(tmp_path), origin_port=server.sockets[0].getsockname()[1])
    await edge.start()
    clients = [await edge.client() for _ in range(30)]
    for response in await asyncio.gather(*(client.ask(GET) for client in clients)):
        assert response.status == 502
    assert set(edge.records) <= {("bad_gateway", "origin_reset"), ("bad_gateway", "origin_refused")}
    assert len(edge.records) == 30
    await edge.stop()
    server.close()


async def test_an_origin_without_a_word(edge, origin):
    async def answer(request, reader, writer):
        await reader.read()

    origin.answer = answer
    client = await edge.client()
    client.send(GET)
    await eventually(lambda: origin.requests, "the request reaches the origin")
    await in_the_future(edge, ORIGIN_HEAD_TIMEOUT_S - 1)
    assert edge.records == []
    await in_the_future(edge, ORIGIN_HEAD_TIMEOUT_S + 1)
    assert (await client.response()).status == 504
    await edge.settled(("gateway_timeout", "origin_head_timeout"))
    await eventually(lambda: origin.open == 0, "the origin's connection is let go")


async def test_a_client_that_takes_its_time_is_not_the_origin_s_silence(edge, origin):
    client = await edge.client()
    client.send(POST[:-1])
    await eventually(lambda: origin.requests, "the head reaches the origin")
    await in_the_future(edge, ORIGIN_HEAD_TIMEOUT_S * 10)
    client.send(POST[-1:])
    assert (await client.response()).status == 200


# ---- kept connections ----


async def test_a_kept_connection_that_the_origin_closed_is_not_used(edge, origin):
    client = await edge.client()
    await client.ask(GET)
    origin.close_all()
    await eventually(lambda: origin.open == 0, "closed")
    assert (await client.ask(POST)).status == 200
    await edge.settled(OK, OK)


def closing_on_second_request(origin):
    """As if the origin's idle limit had run out at the moment of the second request."""

    async def answer(request, reader, writer):
        if len(origin.requests) == 2:
            reset(writer)
        else:
            writer.write(plain())

    origin.answer = answer


async def test_a_get_that_meets_a_closing_connection_is_tried_once_more(edge, origin):
    closing_on_second_request(origin)
    client = await edge.client()
    assert (await client.ask(GET)).status == 200
    assert (await client.ask(GET)).status == 200
    assert (origin.connections, len(origin.requests)) == (2, 3)
    assert len({seen["x-request-id"] for seen in origin.requests}) == 2
    await edge.settled(OK, OK)


async def test_a_post_that_meets_a_closing_connection_is_not_repeated(edge, origin):
    closing_on_second_request(origin)
    client = await edge.client()
    await client.ask(GET)
    assert (await client.ask(POST)).status == 502
    assert len(origin.requests) == 2
    await edge.settled(OK, ("bad_gateway", "origin_reset"))


async def test_a_fresh_connection_that_closes_is_not_tried_again(edge, origin):
    async def answer(request, reader, writer):
        reset(writer)

    origin.answer = answer
    client = await edge.client()
    assert (await client.ask(GET)).status == 502
    assert len(origin.requests) == 1


async def test_what_an_origin_says_unasked_is_nobody_s_answer(edge, origin):
    """Behind a whole answer, in the same segment or later."""
    forged = plain(b"forged")
    origin.response = plain(b"first") + forged
    client = await edge.client()
    assert (await client.ask(GET)).body == b"first"
    origin.response = plain(b"second")
    assert (await client.ask(GET)).body == b"second"
    origin.writers[-1].write(forged)
    await eventually(lambda: origin.open == 0, "the edge closes on unasked bytes")
    origin.response = plain(b"third")
    assert (await client.ask(GET)).body == b"third"
    assert origin.connections == 3


async def test_an_answer_to_head_with_a_body_poisons_nothing(edge, origin):
    origin.response = plain(b"a body that HEAD never has")
    client = await edge.client()
    assert (await client.ask(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", body=False)).status == 200
    origin.response = plain(b"clean")
    assert (await client.ask(GET)).body == b"clean"


# ---- in the middle of the answer ----


async def cut_short(edge, origin, head, wire=GET):
    async def answer(request, reader, writer):
        writer.write(head + b"abc")
        await asyncio.sleep(0.01)
        reset(writer)

    origin.answer = answer
    client = await edge.client()
    client.send(wire)
    await client.cut()
    await edge.settled(("bad_gateway", "origin_reset"))


@pytest.mark.parametrize(
    "head", [b"Content-Length: 5\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n3\r\n", b"\r\n"]
)
async def test_an_answer_cut_short_never_looks_whole(edge, origin, head):
    await cut_short(edge, origin, b"HTTP/1.1 200 OK\r\n" + head)


async def test_an_answer_that_only_its_connection_ends_is_reset(edge, origin):
    """To an HTTP/1.0 client an orderly end would mean a whole body."""
    await cut_short(
        edge, origin, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n", b"GET / HTTP/1.0\r\n\r\n"
    )


async def test_an_answer_that_goes_silent_is_cut(edge, origin):
    async def answer(request, reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab")
        await reader.read()

    origin.answer = answer
    client = await edge.client()
    client.send(GET)
    await eventually(lambda: [e for e in edge.pipeline.in_flight.values() if e.bytes_out], "it begins")
    await in_the_future(edge, ORIGIN_BODY_TIMEOUT_S - 1)
    assert edge.records == []
    await in_the_future(edge, ORIGIN_BODY_TIMEOUT_S + 1)
    await client.cut()
    await edge.settled(("gateway_timeout", "origin_body_timeout"))


async def test_an_origin_that_answers_in_the_middle_of_the_request(edge, origin):
    """Its answer is passed on; the rest of the body is dropped and neither connection is used again."""
    origin.reads_body = False
    origin.response = plain(b"too large", "413 Content Too Large")
    client = await edge.client()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000000\r\n\r\n" + b"x" * 100_000)
    response = await client.response()
    client.send(b"y" * 1_000_000)
    assert (response.status, response.body) == (413, b"too large")
    await client.closed()
    await edge.settled(OK)
    await eventually(lambda: origin.open == 0, "the origin's connection is not kept")


# ---- clients that go ----


async def test_a_client_gone_while_its_origin_works(edge, origin):
    async def answer(request, reader, writer):
        await reader.read()

    origin.answer = answer
    client = await edge.client()
    client.send(GET)
    await eventually(lambda: origin.requests, "the request reaches the origin")
    await client.close()
    await edge.settled(GONE)
    await eventually(lambda: origin.open == 0, "the origin is told at once")


async def test_a_client_gone_while_the_origin_is_being_connected(edge, origin):
    client = await edge.client()
    client.send(GET)
    async with asyncio.timeout(5):
        while not edge.pipeline.in_flight:  # noqa: ASYNC110 - this state lasts a turn of the loop
            await asyncio.sleep(0)
    (exchange,) = edge.pipeline.in_flight.values()
    assert exchange.upstream is None
    edge.pipeline.client_gone(exchange)
    client.reset()
    await edge.settled(GONE)
    await eventually(lambda: origin.connections == 1, "connected in vain")
    client = await edge.client()
    assert (await client.ask(GET)).status == 200
    assert origin.connections == 1, "the spare connection is used"
    assert len(origin.requests) == 1


@pytest.mark.parametrize("code", ["passed", "expired"])
async def test_a_client_gone_during_inspection(edge, origin, code):
    edge.inspection.active = "on"
    client = await edge.client()
    client.send(GET + GET)
    await eventually(lambda: edge.inspection.link.jobs, "inspection")
    client.reset()
    await edge.settled(GONE)
    edge.inspection.answer()
    assert not edge.inspection.link.in_flight
    assert origin.connections == 0


async def test_a_client_gone_in_the_middle_of_its_body(edge, origin):
    client = await edge.client()
    client.send(POST[:-1])
    await eventually(lambda: origin.requests, "the head reaches the origin")
    client.reset()
    await edge.settled(GONE)
    await eventually(lambda: origin.open == 0, "the origin does not wait for the rest")


async def test_a_client_gone_in_the_middle_of_its_answer(edge, origin):
    async def answer(request, reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nabc")
        await reader.read()

    origin.answer = answer
    client = await edge.client()
    client.send(GET)
    async with asyncio.timeout(5):
        await client.reader.readuntil(b"abc")
    client.reset()
    await edge.settled(GONE)


async def test_a_client_gone_with_half_a_head_was_no_request(edge, origin):
    client = await edge.client()
    client.send(b"GET / HT")
    await eventually(lambda: edge.connections, "connected")
    await client.close()
    await eventually(lambda: not edge.connections, "closed")
    assert edge.lines == []
